package torture

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"
)

// Handshakes of SRT, draft-sharabayko-srt-01 3.2.1.
const (
	induction  = 1
	conclusion = 0xFFFFFFFF
	extHello   = 1
	extKey     = 3
	extStream  = 5
)

// caller calls by hand.
type caller struct {
	net.Conn
	peer uint32
}

func (r *rig) call(ctx context.Context) (*caller, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "udp", r.SRT)
	return &caller{Conn: conn}, err
}

// control sends a control packet.
func (c *caller) control(kind, sub uint16, to uint32, body []byte) {
	b := binary.BigEndian.AppendUint16(nil, 0x8000|kind)
	b = binary.BigEndian.AppendUint16(b, sub)
	b = append(b, make([]byte, 8)...)
	b = binary.BigEndian.AppendUint32(b, to)
	_, _ = c.Write(append(b, body...)) // the server may be gone: the next answer tells
}

func handshake(version uint32, field uint16, kind, cookie uint32) []byte {
	b := make([]byte, 48)
	binary.BigEndian.PutUint32(b, version)
	binary.BigEndian.PutUint16(b[6:], field)
	binary.BigEndian.PutUint32(b[12:], 1500)
	binary.BigEndian.PutUint32(b[16:], 8192)
	binary.BigEndian.PutUint32(b[20:], kind)
	binary.BigEndian.PutUint32(b[24:], 77)
	binary.BigEndian.PutUint32(b[28:], cookie)
	return b
}

// answer returns the next handshake's fields; nil if none comes in two seconds.
func (c *caller) answer() []byte {
	b := make([]byte, 2048)
	_ = c.SetReadDeadline(time.Now().Add(2 * time.Second))
	for {
		n, err := c.Read(b)
		if err != nil {
			return nil
		}
		if n >= 64 && b[0] == 0x80 && b[1] == 0 {
			return b[16:n]
		}
	}
}

func (c *caller) cookie() (uint32, error) {
	c.control(0, 0, 0, handshake(4, 2, induction, 0))
	a := c.answer()
	if a == nil {
		return 0, errors.New("no answer to an induction")
	}
	return binary.BigEndian.Uint32(a[28:]), nil
}

func extension(kind uint16, body []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, kind)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(body)/4)), body...)
}

func hello() []byte {
	return extension(extHello, []byte{0, 1, 4, 1, 0, 0, 0, 0xBF &^ 0x40, 0, 120, 0, 120})
}

// streamID is its extension: words with their bytes turned round.
func streamID(s string) []byte {
	b := []byte(s)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	for i := 0; i < len(b); i += 4 {
		b[i], b[i+1], b[i+2], b[i+3] = b[i+3], b[i+2], b[i+1], b[i]
	}
	return extension(extStream, b)
}

// conclude sends a conclusion and returns the type of the answer: conclusion itself, the
// reason of a refusal, or 0 for none.
func (c *caller) conclude(version uint32, field uint16, extensions ...[]byte) (uint32, error) {
	cookie, err := c.cookie()
	if err != nil {
		return 0, err
	}
	c.control(0, 0, 0, append(handshake(version, field, conclusion, cookie), bytes.Join(extensions, nil)...))
	a := c.answer()
	if a == nil {
		return 0, nil
	}
	c.peer = binary.BigEndian.Uint32(a[24:])
	return binary.BigEndian.Uint32(a[20:]), nil
}

// refuses is a trial of a conclusion that must be refused, or not answered.
func refuses(sent string, version uint32, field uint16, extensions ...[]byte) trial {
	return trial{row: 52, sent: sent, alone: true, run: func(ctx context.Context, r *rig) (string, error) {
		c, err := r.call(ctx)
		if err != nil {
			return "", err
		}
		defer c.Close()
		got, err := c.conclude(version, field, extensions...)
		switch {
		case err != nil:
			return "", err
		case got == conclusion:
			return "taken", errors.New("it was accepted")
		case got == 0:
			return "no answer", nil
		}
		return fmt.Sprintf("refused with %d", got), nil
	}}
}

func srtTrials() []trial {
	km := make([]byte, 16+16+24)
	copy(km, "\x12\x20\x29\x01\x00\x00\x00\x00\x02\x00\x02\x00\x00\x00\x04\x04")
	list := []trial{
		refuses("version 4", 4, 2, hello(), streamID("publish:torture/a")),
		refuses("no stream id", 5, 5, hello()),
		refuses("#!::r=../.. as stream id", 5, 5, hello(), streamID("#!::r=../../etc,m=publish")),
		refuses("a line break in the stream id", 5, 5, hello(), streamID("publish:a\nb")),
		refuses("a mode that is none", 5, 5, hello(), streamID("#!::r=torture/a,m=bidirectional")),
		{row: 52, sent: "handshakes cut at every byte, with lengths that lie, oversize KMREQ; then an honest one", alone: true, run: mangled},
	}
	for n := range 12 {
		list = append(list, refuses(fmt.Sprintf("a key that unwraps with no passphrase here, attempt %d", n+1), 5, 7, hello(), extension(extKey, km), streamID("publish:torture/a")))
	}
	return list
}

// mangled sends handshakes that no caller would; one that is whole is taken.
func mangled(ctx context.Context, r *rig) (string, error) {
	c, err := r.call(ctx)
	if err != nil {
		return "", err
	}
	defer c.Close()
	cookie, err := c.cookie()
	if err != nil {
		return "", err
	}
	whole := append(handshake(5, 5, conclusion, cookie), append(hello(), streamID("publish:torture/cut")...)...)
	for n := range whole {
		c.control(0, 0, 0, whole[:n])
	}
	for _, ext := range [][]byte{
		extension(extKey, make([]byte, 1400)), {0, extKey, 0xFF, 0xFF}, {0, extStream, 0xFF, 0xFF, 'a'}, extension(extKey, make([]byte, 4)), {0, 9, 0, 0}, {1},
	} {
		c.control(0, 0, 0, append(handshake(5, 7, conclusion, cookie), ext[:min(len(ext), 1400)]...))
	}
	for kind := range uint16(9) {
		c.control(kind, 3, 1234, []byte{1, 2, 3})
	}
	honest, err := r.call(ctx)
	if err != nil {
		return "", err
	}
	defer honest.Close()
	got, err := honest.conclude(5, 5, hello(), streamID("publish:torture/honest"))
	if err == nil && got != conclusion {
		err = fmt.Errorf("an honest caller is answered %d", got)
	}
	if err != nil {
		return "", err
	}
	for _, sub := range []uint16{1, 2, 3, 4} { // forged KMREQ and KMRSP within the connection
		honest.control(0x7FFF, sub, honest.peer, nil)
		honest.control(0x7FFF, sub, honest.peer, []byte{0, 0, 0, 3})
		honest.control(0x7FFF, sub, honest.peer, make([]byte, 1000))
	}
	honest.control(5, 0, honest.peer, nil) // shutdown
	return "the honest one was taken", nil
}
