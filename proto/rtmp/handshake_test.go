package rtmp

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
)

// pipe is a connection whose input is known.
type pipe struct {
	io.Reader
	bytes.Buffer
}

func (p *pipe) Read(b []byte) (int, error) { return p.Reader.Read(b) }

// hello is C0, C1 and C2; signed tells where C1's digest lies, -1: nowhere.
func hello(signed int) []byte {
	b := make([]byte, 1+2*packetLen)
	b[0] = version
	c1 := b[1 : 1+packetLen]
	for i := range c1[8:] {
		c1[8+i] = byte(i * 7)
	}
	if signed >= 0 {
		copy(c1[4:], "\x09\x00\x7c\x02")
		putDigest(c1, offsets[signed], clientName)
	}
	return b
}

// TestHandshake: a plain C1 is echoed; a signed one is answered by signatures
// that a client can check.
func TestHandshake(t *testing.T) {
	for _, signed := range []int{-1, 0, 1} {
		in := hello(signed)
		p := &pipe{Reader: bytes.NewReader(in)}
		if err := acceptHandshake(p); err != nil {
			t.Fatal(err)
		}
		out := p.Bytes()
		if len(out) != 1+2*packetLen || out[0] != version {
			t.Fatalf("%d bytes", len(out))
		}
		c1, s1, s2 := in[1:1+packetLen], out[1:1+packetLen], out[1+packetLen:]
		if signed < 0 {
			if !bytes.Equal(s2, c1) || !bytes.Equal(s1[4:8], make([]byte, 4)) {
				t.Error("the plain form does not echo")
			}
			continue
		}
		base, _, ok := findDigest(s1, serverName)
		if !ok || base != offsets[signed] {
			t.Errorf("S1 is signed: %v at %d", ok, base)
		}
		at := place(c1, base)
		key := sign([]byte(serverName+secret), c1[at:at+digestLen])
		if !bytes.Equal(s2[packetLen-digestLen:], sign(key, s2[:packetLen-digestLen])) {
			t.Error("S2's signature is wrong")
		}
	}
}

// TestHandshakeEverySum: a digest may lie anywhere that its four bytes say.
func TestHandshakeEverySum(t *testing.T) {
	for sum := range 4 * 255 {
		for _, base := range offsets {
			p := hello(-1)[1 : 1+packetLen]
			p[4] = 9
			for i := range 4 {
				p[base+i] = byte(min(max(sum-255*i, 0), 255))
			}
			putDigest(p, base, clientName)
			if got, _, ok := findDigest(p, clientName); !ok || got != base {
				t.Fatalf("sum %d at %d: %v", sum, base, ok)
			}
		}
	}
}

// TestHandshakeErrors: what is cut, or of another version.
func TestHandshakeErrors(t *testing.T) {
	in := hello(0)
	avtest.Prefixes(t, in, func(b []byte) {
		err := acceptHandshake(&pipe{Reader: bytes.NewReader(b)})
		if (err == nil) != (len(b) == len(in)) || err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			t.Fatalf("%d bytes: %v", len(b), err)
		}
	})
	for _, v := range []byte{0, 2, 6, 'G', 0x16} {
		in[0] = v
		if err := acceptHandshake(&pipe{Reader: bytes.NewReader(in)}); !errors.Is(err, av.ErrUnsupported) {
			t.Errorf("version %d: %v", v, err)
		}
		if err := dialHandshake(&pipe{Reader: bytes.NewReader(in)}); !errors.Is(err, av.ErrUnsupported) {
			t.Errorf("version %d: %v", v, err)
		}
	}
	in[0] = version
	if err := dialHandshake(&pipe{Reader: bytes.NewReader(in)}); !errors.Is(err, av.ErrInvalid) {
		t.Errorf("no echo: %v", err)
	}
}

// FuzzHandshake: no C1 panics.
func FuzzHandshake(f *testing.F) {
	f.Add(hello(-1)[:1+packetLen])
	f.Add(hello(0)[:1+packetLen])
	f.Fuzz(func(t *testing.T, b []byte) {
		acceptHandshake(&pipe{Reader: io.MultiReader(bytes.NewReader(b), bytes.NewReader(make([]byte, packetLen)))})
	})
}
