package feed_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/deliver/feed"
	cflv "github.com/cleave-video/cleave/deliver/flv"
	"github.com/cleave-video/cleave/format/flv"
	"github.com/cleave-video/cleave/httpio"
	"github.com/cleave-video/cleave/live"
	"github.com/cleave-video/cleave/store/disk"
)

// dial opens a WebSocket, with a receive buffer of the size given unless it is 0.
func dial(ctx context.Context, t *testing.T, address string, buffer int) *websocket.Conn {
	t.Helper()
	client := &http.Client{Transport: transport(buffer)}
	// The page of another origin, as for the answer without a WebSocket.
	c, res, err := websocket.Dial(ctx, "ws://"+address+"/live/cam.flv", &websocket.DialOptions{
		HTTPClient: client, HTTPHeader: http.Header{"Origin": {"https://elsewhere.example"}},
	})
	if err != nil {
		t.Error(err)
		return nil
	}
	if h := res.Header; h.Get("Access-Control-Allow-Origin") != "*" || h.Get("Content-Type") != "" || h.Get("Cache-Control") != "no-store" {
		t.Error(h)
	}
	c.SetReadLimit(-1)
	return c
}

// packets reads n packets: what they are, by track and DTS.
func packets(body io.Reader, n int) (tracks []av.Track, got map[[2]int64]string, err error) {
	d := flv.NewDemuxer(body)
	got = make(map[[2]int64]string)
	for len(got) < n {
		p, err := d.ReadPacket(av.Heap{})
		if errors.Is(err, av.ErrTracks) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		got[[2]int64{int64(p.Track), p.DTS}] = fmt.Sprintf("%d %v %08x", p.PTS, p.Flags, crc32.ChecksumIEEE(p.Data))
	}
	return d.Tracks(), got, nil
}

// TestSocketEqual: the messages of a WebSocket are the body of HTTP-FLV.
func TestSocketEqual(t *testing.T) {
	address, _, stop := serve(t)
	defer stop()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	body, c := watch(ctx, t, address, 0), dial(ctx, t, address, 0)
	if body == nil || c == nil {
		t.FailNow()
	}
	defer body.Close()
	defer c.CloseNow()
	type side struct {
		tracks []av.Track
		got    map[[2]int64]string
		err    error
	}
	var sides [2]side
	var group sync.WaitGroup
	for i, r := range []io.Reader{body, websocket.NetConn(ctx, c, websocket.MessageBinary)} {
		group.Go(func() { s := &sides[i]; s.tracks, s.got, s.err = packets(r, 400) })
	}
	group.Wait()
	a, b := sides[0], sides[1]
	if a.err != nil || b.err != nil {
		t.Fatal(a.err, b.err)
	}
	if x, y := fmt.Sprintf("%+v", a.tracks), fmt.Sprintf("%+v", b.tracks); x != y || len(a.tracks) != 2 {
		t.Errorf("tracks\n%s\n%s", x, y)
	}
	same := 0
	for at, x := range a.got {
		if y, ok := b.got[at]; ok && x == y {
			same++
		} else if ok {
			t.Errorf("%v: %s by HTTP, %s by WebSocket", at, x, y)
		}
	}
	if same < 200 {
		t.Errorf("only %d packets of 400 are in both", same)
	}
}

// TestSocketCrowd: viewers by WebSocket get every picture, beside those by HTTP; a slow
// one jumps from key frame to key frame; one that stopped is cut off; pings are answered.
func TestSocketCrowd(t *testing.T) {
	address, cam, stop := serve(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	stopped := dial(ctx, t, address, 4096)
	if stopped == nil {
		t.FailNow()
	}
	defer stopped.CloseNow()
	var group sync.WaitGroup
	for i := range 12 {
		group.Go(func() {
			c := dial(ctx, t, address, 0)
			if c == nil {
				return
			}
			defer c.CloseNow()
			group.Go(func() {
				if err := c.Ping(ctx); err != nil {
					t.Error("a ping:", err)
				}
				// What a client says is not read, but does no harm.
				if err := c.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
					t.Error(err)
				}
			})
			if gaps, err := pictures(websocket.NetConn(ctx, c, websocket.MessageBinary), cam, 300+i); gaps > 0 || err != nil {
				t.Errorf("viewer %d: %d gaps, %v", i, gaps, err)
			}
		})
	}
	group.Go(func() {
		c := dial(ctx, t, address, 4096)
		if c == nil {
			return
		}
		defer c.CloseNow()
		slow := &trickle{websocket.NetConn(ctx, c, websocket.MessageBinary), time.NewTicker(4 * time.Millisecond), 2000}
		if gaps, err := pictures(slow, cam, 200); gaps == 0 || err != nil {
			t.Errorf("the slow viewer: %d gaps, %v", gaps, err)
		}
	})
	group.Wait()
	if n, err := io.Copy(io.Discard, websocket.NetConn(ctx, stopped, websocket.MessageBinary)); err == nil || ctx.Err() != nil {
		t.Errorf("the viewer that stopped was not cut off: %d bytes, %v, %v", n, err, ctx.Err())
	}
	stop()
}

// TestSocketStreamEnd: 1000 when the stream ends; by TLS.
func TestSocketStreamEnd(t *testing.T) {
	st, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	hub, err := live.NewHub(live.Config{Store: st, Grace: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	off := make(chan struct{})
	cam := &camera{Synthetic: avtest.NewSynthetic(spec()), tick: time.NewTicker(2 * time.Millisecond), off: off}
	var group sync.WaitGroup
	group.Go(func() {
		if err := hub.Publish(ctx, "live/cam", cam); err != nil {
			t.Error(err)
		}
	})
	running, end := context.WithCancel(ctx)
	group.Go(func() { _ = hub.Run(running) })
	h := feed.New(feed.Config{Hub: hub, Formats: []feed.Format{cflv.Format()}, Route: httpio.NewRoute("feed", httpio.Direct, 15*time.Second)})
	s := httptest.NewTLSServer(h)
	for hub.Lookup("live/cam") == nil {
		time.Sleep(time.Millisecond)
	}
	c, _, err := websocket.Dial(ctx, "wss://"+s.Listener.Addr().String()+"/live/cam.flv", &websocket.DialOptions{HTTPClient: s.Client()})
	if err != nil {
		t.Fatal(err)
	}
	c.SetReadLimit(-1)
	if gaps, err := pictures(websocket.NetConn(ctx, c, websocket.MessageBinary), cam, 100); gaps > 0 || err != nil {
		t.Error(gaps, err)
	}
	close(off)
	if code := closed(ctx, c); code != websocket.StatusNormalClosure {
		t.Error("at the end of the stream:", code)
	}
	end()
	group.Wait()
	h.Close()
	s.Close()
	if err := hub.Close(); err != nil || hub.InUse() != 0 {
		t.Error(err, hub.InUse())
	}
}

// closed reads up to the end and returns the code the server gave.
func closed(ctx context.Context, c *websocket.Conn) websocket.StatusCode {
	for {
		if _, _, err := c.Read(ctx); err != nil {
			return websocket.CloseStatus(err)
		}
	}
}

// TestSocketEnd: 1001 when the server ends, also for a client that does not answer; 1009
// for a message that is too long.
func TestSocketEnd(t *testing.T) {
	address, _, stop := serve(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	long, open := dial(ctx, t, address, 0), dial(ctx, t, address, 0)
	if long == nil || open == nil {
		t.FailNow()
	}
	defer long.CloseNow()
	defer open.CloseNow()
	if err := long.Write(ctx, websocket.MessageBinary, make([]byte, 64<<10)); err != nil {
		t.Error(err)
	}
	if code := closed(ctx, long); code != websocket.StatusMessageTooBig {
		t.Error("behind a long message:", code)
	}
	mute := shake(t, address, handshake)
	defer mute.Close()
	code := make(chan websocket.StatusCode, 1)
	go func() { code <- closed(ctx, open) }()
	stop()
	if c := <-code; c != websocket.StatusGoingAway {
		t.Error("at the end of the server:", c)
	}
}

const handshake = "GET /live/cam.flv HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// shake sends a request and whatever follows, at once.
func shake(t *testing.T, address, request string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	return conn
}

// TestSocketHandshake: RFC 6455 1.3's example, and what is refused (4.2.2).
func TestSocketHandshake(t *testing.T) {
	address, _, stop := serve(t)
	defer stop()
	for _, c := range []struct {
		old, with string
		code      int
	}{
		{"", "", http.StatusSwitchingProtocols},
		{"Version: 13", "Version: 8", http.StatusBadRequest},
		{"Sec-WebSocket-Version: 13\r\n", "", http.StatusBadRequest},
		{"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", http.StatusBadRequest},
		{"dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ=", http.StatusBadRequest},
		{"dGhlIHNhbXBsZSBub25jZQ==", strings.Repeat("A", 4000), http.StatusBadRequest},
		{"Connection: keep-alive, Upgrade\r\n", "", http.StatusUpgradeRequired},
		{"HTTP/1.1", "HTTP/1.0", http.StatusUpgradeRequired},
		{"GET", "POST", http.StatusMethodNotAllowed},
		{"/live/cam.flv", "/live/none.flv", http.StatusNotFound},
		{"Upgrade: websocket", "Upgrade: h2c", http.StatusOK}, // as if it had not asked
	} {
		conn := shake(t, address, strings.Replace(handshake, c.old, c.with, 1))
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		conn.Close()
		if err != nil {
			t.Errorf("%s instead of %s: %v", c.with, c.old, err)
			continue
		}
		res.Body.Close()
		if res.StatusCode != c.code || res.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%.40s instead of %s: %s, want %d, %v", c.with, c.old, res.Status, c.code, res.Header)
		}
		if accept := res.Header.Get("Sec-WebSocket-Accept"); c.code == http.StatusSwitchingProtocols && accept != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
			t.Error("Sec-WebSocket-Accept is", accept)
		}
	}
}

// TestSocketHostile: frames that are none end their connection only, and soon: a message
// is not waited for, and the end of a frame of 2^62 bytes neither.
func TestSocketHostile(t *testing.T) {
	address, _, stop := serve(t)
	defer stop()
	huge := binary.BigEndian.AppendUint64([]byte{0x82, 0xff}, 1<<62)
	huge = append(huge, make([]byte, 8<<10)...)
	for name, frame := range map[string][]byte{
		"unmasked":            {0x82, 0x01, 'a'},
		"huge":                huge,
		"reserved bits":       {0xf2, 0x80, 1, 2, 3, 4},
		"unknown opcode":      {0x83, 0x80, 1, 2, 3, 4},
		"long ping":           {0x89, 0xfe, 0x01, 0x00, 1, 2, 3, 4},
		"fragmented ping":     {0x09, 0x80, 1, 2, 3, 4},
		"lone continuation":   {0x80, 0x80, 1, 2, 3, 4},
		"negative length":     {0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4},
		"close of one byte":   {0x88, 0x81, 1, 2, 3, 4, 5},
		"close of a bad code": {0x88, 0x82, 0, 0, 0, 0, 0x03, 0xed},
	} {
		conn := shake(t, address, handshake+string(frame))
		n, err := io.Copy(io.Discard, conn) // up to the end, which the server makes
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			t.Errorf("%s: the server went on, %d bytes", name, n)
		}
		conn.Close()
	}
	// Half a frame, and gone: stop sees that nothing is left.
	shake(t, address, handshake+string(huge[:9])).Close()
}
