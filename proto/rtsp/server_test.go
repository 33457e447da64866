package rtsp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"
)

// client speaks RTSP by hand.
type client struct {
	t *testing.T
	net.Conn
	r       *bufio.Reader
	cseq    int
	session string
	url     string
}

func dial(t *testing.T, addr string) *client {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return &client{t: t, Conn: c, r: bufio.NewReader(c), url: "rtsp://" + addr + "/live/cam"}
}

// do sends a request and returns its status; 0 if the connection ended.
func (c *client) do(method, path, body string, headers ...string) int {
	c.t.Helper()
	c.cseq++
	fmt.Fprintf(c, "%s %s%s RTSP/1.0\r\nCSeq: %d\r\n", method, c.url, path, c.cseq)
	for _, h := range headers {
		fmt.Fprintf(c, "%s\r\n", h)
	}
	if c.session != "" {
		fmt.Fprintf(c, "Session: %s\r\n", c.session)
	}
	if body != "" {
		fmt.Fprintf(c, "Content-Type: application/sdp\r\nContent-Length: %d\r\n", len(body))
	}
	fmt.Fprintf(c, "\r\n%s", body)
	code := 0
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return 0
		}
		line = strings.TrimSpace(line)
		if line == "" {
			return code
		}
		if strings.HasPrefix(line, "RTSP/1.0 ") {
			fmt.Sscanf(line, "RTSP/1.0 %d", &code)
		}
		if s, ok := strings.CutPrefix(line, "Session: "); ok {
			c.session, _, _ = strings.Cut(s, ";")
		}
	}
}

const opusSDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=audio 0 RTP/AVP 96\r\na=rtpmap:96 opus/48000/2\r\na=control:trackID=0\r\n"

const interleaved = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1;mode=record"

// record brings a session to where it publishes.
func (c *client) record() {
	c.t.Helper()
	for _, r := range [][]string{{"ANNOUNCE", "", opusSDP}, {"SETUP", "/trackID=0", "", interleaved}, {"RECORD", "", ""}} {
		if code := c.do(r[0], r[1], r[2], r[3:]...); code != 200 {
			c.t.Fatalf("%s: %d", r[0], code)
		}
	}
}

// send sends Opus packets of 20 ms.
func (c *client) send(from, n int) {
	c.t.Helper()
	for i := from; i < from+n; i++ {
		p := rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 96, SequenceNumber: uint16(i), Timestamp: uint32(960 * i), SSRC: 7}, Payload: []byte{0xfc, 1, 2, 3}}
		b, err := p.Marshal()
		if err != nil {
			c.t.Fatal(err)
		}
		c.Write(append([]byte{'$', 0, byte(len(b) >> 8), byte(len(b))}, b...))
	}
}

func TestPublish(t *testing.T) {
	out := make(chan result, 1)
	c := dial(t, serve(t, Config{Publish: collect(out)}))
	c.record()
	c.send(0, 20)
	c.do("TEARDOWN", "", "")
	r := <-out
	if r.err != io.EOF || r.name != "live/cam" || len(r.sets) != 1 || len(r.sets[0].Packets) != 20 {
		t.Errorf("%q %v: %d sets", r.name, r.err, len(r.sets))
	}
}

// A client that hangs up has ended its stream.
func TestHangsUp(t *testing.T) {
	out := make(chan result, 1)
	c := dial(t, serve(t, Config{Publish: collect(out)}))
	c.record()
	c.send(0, 5)
	c.Close()
	if r := <-out; r.err != io.EOF || len(r.sets) != 1 {
		t.Errorf("%v", r.err)
	}
}

// A client that falls silent is closed.
func TestSilent(t *testing.T) {
	out := make(chan result, 1)
	c := dial(t, serve(t, Config{Publish: collect(out), IdleTimeout: 300 * time.Millisecond}))
	c.record()
	if r := <-out; r.err == nil {
		t.Error("no error")
	}
}

// A publisher that is refused is told so before it sends.
func TestRefused(t *testing.T) {
	for want, err := range map[int]error{403: &Refused{403, "taken"}, 503: &Refused{503, "crowded"}, 500: errors.New("fault")} {
		c := dial(t, serve(t, Config{Publish: func(context.Context, *Publisher) error { return err }}))
		c.do("ANNOUNCE", "", opusSDP)
		c.do("SETUP", "/trackID=0", "", interleaved)
		if code := c.do("RECORD", "", ""); code != want {
			t.Errorf("%d, want %d", code, want)
		}
	}
}

// HOSTILE: requests out of order and twice, headers and descriptions that lie: the
// connection is answered or closed, and the next one served.
func TestHostileRequests(t *testing.T) {
	out := make(chan result, 1)
	addr := serve(t, Config{Publish: collect(out), IdleTimeout: time.Second})
	media := "m=audio 0 RTP/AVP 96\r\na=rtpmap:96 opus/48000/2\r\n"
	head := "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\n"
	for name, do := range map[string]func(c *client) int{
		"RECORD first": func(c *client) int { return c.do("RECORD", "", "") },
		"PLAY first":   func(c *client) int { return c.do("PLAY", "", "") },
		"SETUP to play": func(c *client) int {
			return c.do("SETUP", "/trackID=0", "", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
		},
		"DESCRIBE":       func(c *client) int { return c.do("DESCRIBE", "", "") },
		"ANNOUNCE twice": func(c *client) int { c.do("ANNOUNCE", "", opusSDP); return c.do("ANNOUNCE", "", opusSDP) },
		"SETUP twice": func(c *client) int {
			c.do("ANNOUNCE", "", opusSDP)
			c.do("SETUP", "/trackID=0", "", interleaved)
			return c.do("SETUP", "/trackID=0", "", interleaved)
		},
		"SETUP of another": func(c *client) int {
			c.do("ANNOUNCE", "", opusSDP)
			return c.do("SETUP", "/trackID=9", "", interleaved)
		},
		"10,000 media": func(c *client) int {
			return c.do("ANNOUNCE", "", head+strings.Repeat("m=audio 0 RTP/AVP 96\r\n", 5000))
		},
		"17 media": func(c *client) int { return c.do("ANNOUNCE", "", head+strings.Repeat(media, 17)) },
		"unknown codec": func(c *client) int {
			return c.do("ANNOUNCE", "", head+"m=video 0 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n")
		},
		"not an SDP":   func(c *client) int { return c.do("ANNOUNCE", "", "\x00\xff") },
		"length -1":    func(c *client) int { return c.do("ANNOUNCE", "", "", "Content-Length: -1") },
		"length 2^63":  func(c *client) int { return c.do("ANNOUNCE", "", "", "Content-Length: 9223372036854775808") },
		"long header":  func(c *client) int { return c.do("OPTIONS", "", "", "X: "+strings.Repeat("x", 1<<20)) },
		"many headers": func(c *client) int { return c.do("OPTIONS", "", "", strings.Repeat("X: 1\r\n", 10000)+"Y: 1") },
		"continuation": func(c *client) int { return c.do("OPTIONS", "", "", "X: 1\r\n 2") },
		"garbage":      func(c *client) int { return c.do("\x16\x03\x01\x02\x00\x01 \xff", "\r\n\r\n", "") },
	} {
		t.Run(name, func(t *testing.T) {
			if code := do(dial(t, addr)); code == 200 {
				t.Error("it was answered with 200")
			}
		})
	}
	c := dial(t, addr)
	c.record()
	c.send(0, 3)
	c.do("TEARDOWN", "", "")
	if r := <-out; r.err != io.EOF || len(r.sets[0].Packets) != 3 {
		t.Errorf("the next one: %v", r.err)
	}
}

// HOSTILE: frames of a channel that was not set up, and more of them.
func TestHostileFrames(t *testing.T) {
	for name, frame := range map[string][]byte{
		"unknown channel": {'$', 9, 0, 2, 1, 2},
		"empty":           {'$', 0, 0, 0},
		"short RTP":       {'$', 0, 0, 2, 0x80, 96},
		"padding":         {'$', 0, 0, 13, 0xA0, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7, 0xFF},
		"extension":       {'$', 0, 0, 16, 0x90, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7, 1, 2, 0xFF, 0xFF},
		"bad RTCP":        {'$', 1, 0, 4, 0x80, 200, 0xFF, 0xFF},
		"large":           append([]byte{'$', 0, 0xFF, 0xFF}, make([]byte, 65535)...),
	} {
		t.Run(name, func(t *testing.T) {
			out := make(chan result, 1)
			c := dial(t, serve(t, Config{Publish: collect(out)}))
			c.record()
			c.send(0, 2)
			for range 64 {
				c.Write(frame)
			}
			c.do("TEARDOWN", "", "")
			c.Close()
			if r := <-out; r.err == nil || len(r.sets) != 1 || len(r.sets[0].Packets) < 2 {
				t.Errorf("%v", r.err)
			}
		})
	}
}

// Connections over the bound are closed, and let in later.
func TestMaxConns(t *testing.T) {
	addr := serve(t, Config{Publish: func(context.Context, *Publisher) error { return nil }, MaxConns: 1})
	first := dial(t, addr)
	if code := first.do("OPTIONS", "", ""); code != 200 {
		t.Fatal(code)
	}
	if code := dial(t, addr).do("OPTIONS", "", ""); code != 0 {
		t.Errorf("the second: %d", code)
	}
	first.Close()
	for range 200 {
		if dial(t, addr).do("OPTIONS", "", "") == 200 {
			return
		}
	}
	t.Error("nobody is let in again")
}

// The end of the server is told to ReadPacket.
func TestServerEnds(t *testing.T) {
	out := make(chan error, 1)
	why := errors.New("the end")
	s, err := Listen("127.0.0.1:0", Config{Publish: func(_ context.Context, p *Publisher) error {
		_, err := p.ReadPacket(nil)
		out <- err
		return err
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx) }()
	dial(t, s.Addr().String()).record()
	cancel(why)
	if err := <-out; !errors.Is(err, why) {
		t.Errorf("%v", err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestValidate(t *testing.T) {
	ok := func(context.Context, *Publisher) error { return nil }
	for _, c := range []Config{{}, {Publish: ok, UDP: "127.0.0.1:7001"}, {Publish: ok, UDP: "x"}, {Publish: ok, MaxConns: -1}} {
		if _, err := Listen("127.0.0.1:0", c); err == nil {
			t.Errorf("%+v is valid", c)
		}
	}
}

// The queue's bound holds: who may wait waits, others drop.
func TestQueue(t *testing.T) {
	q := newQueue(3 * overhead)
	for range 5 {
		q.put(item{}, false)
	}
	if q.drops() != 2 || q.offer(item{}, true) {
		t.Errorf("%d dropped", q.drops())
	}
	put := make(chan struct{})
	go func() {
		q.put(item{track: 9}, true)
		close(put)
	}()
	first, err := q.take(nil)
	if len(first) != 3 || err != nil {
		t.Fatalf("%d %v", len(first), err)
	}
	<-put
	q.close(io.EOF)
	q.close(io.ErrUnexpectedEOF)
	if l, err := q.take(first); len(l) != 1 || l[0].track != 9 || err != nil {
		t.Errorf("%v %v", l, err)
	}
	if _, err := q.take(nil); err != io.EOF {
		t.Error(err)
	}
	q.put(item{}, true) // does not wait
	if _, err := q.take(nil); err != io.EOF {
		t.Error(err)
	}
}
