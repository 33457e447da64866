package srt

import (
	"bytes"
	"context"
	"encoding/binary"
	"log/slog"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/datarhei/gosrt/packet"
	"go.uber.org/goleak"

	"github.com/cleave-video/cleave/av/avtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve runs a server on the loopback until the test ends, and returns its address.
func serve(t *testing.T, c Config) string {
	t.Helper()
	s, err := Listen("127.0.0.1:0", c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return s.Addr().String()
}

// result is what came of one publisher.
type result struct {
	name string
	sets []avtest.Generation
	warn []string
	err  error
}

// collect is a Config.Publish that reads everything and sends what came.
func collect(out chan<- result) func(context.Context, *Publisher) error {
	return func(ctx context.Context, p *Publisher) error {
		l, err := avtest.Read(p)
		select {
		case out <- result{p.Name(), l, p.Warnings(), err}:
		case <-ctx.Done():
		}
		return err
	}
}

func need(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("%s is not installed: a foreign publisher is left out", program)
	}
	return path
}

// journal is a log that can be waited for.
type journal struct {
	mu    sync.Mutex // guards lines
	lines bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.lines.Write(b)
}

func (j *journal) log() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

func (j *journal) text() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.lines.String()
}

// until waits for a line with all of want.
func (j *journal) until(t *testing.T, want ...string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		for line := range strings.Lines(j.text()) {
			all := true
			for _, w := range want {
				all = all && strings.Contains(line, w)
			}
			if all {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("no line has %q:\n%s", want, j.text())
		}
	}
}

// caller is a caller by hand.
type caller struct {
	t *testing.T
	net.Conn
	id, peer uint32
	seq      uint32
}

const (
	induction  = 1
	conclusion = 0xFFFFFFFF
	extHS      = 1
	extKM      = 3
	extSID     = 5
)

func dial(t *testing.T, address string) *caller {
	t.Helper()
	c, err := net.Dial("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &caller{t: t, Conn: c, id: 77}
}

// packet sends a control packet.
func (c *caller) control(kind, sub uint16, to uint32, body []byte) {
	c.t.Helper()
	b := binary.BigEndian.AppendUint16(nil, 0x8000|kind)
	b = binary.BigEndian.AppendUint16(b, sub)
	b = append(b, make([]byte, 8)...)
	b = binary.BigEndian.AppendUint32(b, to)
	if _, err := c.Write(append(b, body...)); err != nil {
		c.t.Fatal(err)
	}
}

// data sends a data packet for a time.
func (c *caller) data(at uint32, payload []byte) {
	c.t.Helper()
	b := binary.BigEndian.AppendUint32(nil, c.seq)
	b = binary.BigEndian.AppendUint32(b, 0xC0000000|c.seq+1)
	b = binary.BigEndian.AppendUint32(b, at)
	b = binary.BigEndian.AppendUint32(b, c.peer)
	c.seq++
	if _, err := c.Write(append(b, payload...)); err != nil {
		c.t.Fatal(err)
	}
}

// handshake makes a handshake's fields.
func (c *caller) handshake(version uint32, field uint16, kind, cookie uint32) []byte {
	b := make([]byte, 48)
	binary.BigEndian.PutUint32(b, version)
	binary.BigEndian.PutUint16(b[6:], field)
	binary.BigEndian.PutUint32(b[12:], 1500)
	binary.BigEndian.PutUint32(b[16:], 8192)
	binary.BigEndian.PutUint32(b[20:], kind)
	binary.BigEndian.PutUint32(b[24:], c.id)
	binary.BigEndian.PutUint32(b[28:], cookie)
	return b
}

// answer returns the next handshake's fields; nil if none comes within a second.
func (c *caller) answer() []byte {
	c.t.Helper()
	b := make([]byte, 2048)
	if err := c.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		c.t.Fatal(err)
	}
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

func (c *caller) cookie() uint32 {
	c.t.Helper()
	c.control(0, 0, 0, c.handshake(4, 2, induction, 0))
	a := c.answer()
	if a == nil {
		c.t.Fatal("no answer to an induction")
	}
	return binary.BigEndian.Uint32(a[28:])
}

func extension(kind uint16, body []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, kind)
	b = binary.BigEndian.AppendUint16(b, uint16(len(body)/4))
	return append(b, body...)
}

// hello is the handshake extension of a caller of our version.
func hello() []byte {
	b := binary.BigEndian.AppendUint32(nil, 0x010401)
	b = binary.BigEndian.AppendUint32(b, 0xBF&^0x40) // all flags but STREAM and FILTER
	return extension(extHS, append(b, 0, 120, 0, 120))
}

// streamID is its extension: words with their bytes turned round. SRT 3.2.1.3
func streamID(s string) []byte {
	b := []byte(s)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	for i := 0; i < len(b); i += 4 {
		b[i], b[i+1], b[i+2], b[i+3] = b[i+3], b[i+2], b[i+1], b[i]
	}
	return extension(extSID, b)
}

// conclude sends a conclusion and returns the type of the answer, 0 for none.
func (c *caller) conclude(version uint32, field uint16, extensions ...[]byte) uint32 {
	c.t.Helper()
	b := c.handshake(version, field, conclusion, c.cookie())
	c.control(0, 0, 0, append(b, bytes.Join(extensions, nil)...))
	a := c.answer()
	if a == nil {
		return 0
	}
	c.peer = binary.BigEndian.Uint32(a[24:])
	return binary.BigEndian.Uint32(a[20:])
}

// unmarshal reads a handshake as the library does.
func unmarshal(b []byte) { _ = new(packet.CIFHandshake).Unmarshal(b) }
