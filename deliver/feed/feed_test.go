package feed_test

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/deliver/feed"
	cflv "github.com/cleave-video/cleave/deliver/flv"
	"github.com/cleave-video/cleave/format/flv"
	"github.com/cleave-video/cleave/httpio"
	"github.com/cleave-video/cleave/live"
	"github.com/cleave-video/cleave/store/disk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// spec is 100 s of pictures of 5 kB and sound, at ten times the speed.
func spec() avtest.Spec {
	return avtest.Spec{
		Video: avtest.Video{Frames: 2500, Size: 5000, KeySize: 20000, Timebase: av.Timebase{Num: 1, Den: 1000}, FrameDur: 40},
		Audio: avtest.Audio{Frames: 2500},
	}
}

// camera gives a packet for each tick, until it is switched off.
type camera struct {
	*avtest.Synthetic
	hub  *live.Hub // that it publishes to
	tick *time.Ticker
	off  <-chan struct{}
	sums sync.Map // of pictures, by DTS
}

func (c *camera) ReadPacket(a av.Allocator) (av.Packet, error) {
	select {
	case <-c.tick.C:
	case <-c.off:
		return av.Packet{}, io.EOF
	}
	p, err := c.Synthetic.ReadPacket(a)
	if err == nil && p.Track == 0 {
		c.sums.Store(p.DTS, crc32.ChecksumIEEE(p.Data))
	}
	return p, err
}

// serve publishes live/cam and delivers it; stop checks that nothing is left.
func serve(t *testing.T) (address string, cam *camera, stop func()) {
	t.Helper()
	return serveWith(t, live.Config{Viewer: 200 << 10})
}

func serveWith(t *testing.T, cfg live.Config) (address string, cam *camera, stop func()) {
	t.Helper()
	st, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cfg.Store = st
	hub, err := live.NewHub(cfg)
	if err != nil {
		t.Fatal(err)
	}
	off := make(chan struct{})
	cam = &camera{Synthetic: avtest.NewSynthetic(spec()), hub: hub, tick: time.NewTicker(2 * time.Millisecond), off: off}
	published := make(chan error, 1)
	go func() { published <- hub.Publish(context.Background(), "live/cam", cam) }()
	h := feed.New(feed.Config{Hub: hub, Formats: []feed.Format{cflv.Format()}, Route: httpio.NewRoute("feed", httpio.Direct, 1500*time.Millisecond)})
	s := httptest.NewUnstartedServer(h)
	s.Listener = narrow{s.Listener}
	s.Start()
	for hub.Lookup("live/cam") == nil {
		time.Sleep(time.Millisecond)
	}
	return s.Listener.Addr().String(), cam, func() {
		h.Close()
		h.Close()
		s.Close()
		close(off)
		if err := <-published; err != nil {
			t.Error("publishing ended with", err)
		}
		if err := hub.Close(); err != nil {
			t.Error(err)
		}
		if n := hub.InUse(); n != 0 {
			t.Errorf("%d bytes of slabs did not come home", n)
		}
		if n := hub.Viewers().In; n != 0 {
			t.Errorf("%d viewers did not leave their places", n)
		}
	}
}

// narrow gives connections small send buffers, so that the slow are soon behind.
type narrow struct{ net.Listener }

func (l narrow) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		err = c.(*net.TCPConn).SetWriteBuffer(32 << 10)
	}
	return c, err
}

// transport makes connections with a receive buffer of the size given unless it is 0.
func transport(buffer int) *http.Transport {
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if buffer > 0 {
			cerr := c.Control(func(fd uintptr) {
				err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, buffer)
			})
			err = errors.Join(err, cerr)
		}
		return err
	}}
	return &http.Transport{DialContext: d.DialContext, DisableKeepAlives: true, ReadBufferSize: 4096}
}

// watch asks for the stream, with a receive buffer of the size given unless it is 0.
func watch(ctx context.Context, t *testing.T, address string, buffer int) io.ReadCloser {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/live/cam.flv", nil)
	if err != nil {
		t.Error(err)
		return nil
	}
	res, err := transport(buffer).RoundTrip(req)
	if err != nil || res.StatusCode != 200 {
		t.Errorf("%v %v", res, err)
		return nil
	}
	return res.Body
}

// pictures reads n pictures and compares them with those of the camera. Between two
// that do not follow each other there must be a key frame; it returns how often
// that was so.
func pictures(body io.Reader, cam *camera, n int) (gaps int, err error) {
	d := flv.NewDemuxer(body)
	for last := int64(-1); n > 0; {
		p, err := d.ReadPacket(av.Heap{})
		switch {
		case errors.Is(err, av.ErrTracks):
			continue
		case err != nil:
			return gaps, fmt.Errorf("%d before the end: %w", n, err)
		case d.Tracks()[p.Track].Kind != av.Video:
			continue
		}
		key := p.Flags.Has(av.Key)
		if p.DTS != last+40 && last >= 0 {
			gaps++
		}
		if p.DTS != last+40 && !key {
			return gaps, fmt.Errorf("behind %d comes %d, which is no key frame", last, p.DTS)
		}
		if sum, ok := cam.sums.Load(p.DTS); !ok || sum != crc32.ChecksumIEEE(p.Data) {
			return gaps, fmt.Errorf("picture %d is not the one that was sent", p.DTS)
		}
		last = p.DTS
		n--
	}
	return gaps, nil
}

// trickle reads a little at a time.
type trickle struct {
	r    io.Reader
	tick *time.Ticker
	n    int
}

func (t *trickle) Read(b []byte) (int, error) {
	<-t.tick.C
	return t.r.Read(b[:min(len(b), t.n)])
}

// TestCrowd: 48 viewers get every picture; a slow one jumps from key frame to key
// frame; one that stopped is cut off; then nothing is left.
func TestCrowd(t *testing.T) {
	address, cam, stop := serve(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	stopped := watch(ctx, t, address, 4096)
	if stopped == nil {
		t.FailNow()
	}
	defer stopped.Close()
	var group sync.WaitGroup
	for i := range 48 {
		group.Go(func() {
			body := watch(ctx, t, address, 0)
			if body == nil {
				return
			}
			defer body.Close()
			if gaps, err := pictures(body, cam, 400+i); gaps > 0 || err != nil {
				t.Errorf("viewer %d: %d gaps, %v", i, gaps, err)
			}
		})
	}
	group.Go(func() {
		body := watch(ctx, t, address, 4096)
		if body == nil {
			return
		}
		defer body.Close()
		slow := &trickle{body, time.NewTicker(4 * time.Millisecond), 2000} // half of what comes, or less
		if gaps, err := pictures(slow, cam, 200); gaps == 0 || err != nil {
			t.Errorf("the slow viewer: %d gaps, %v", gaps, err)
		}
	})
	group.Wait()
	for cam.hub.Viewers().In > 0 && ctx.Err() == nil { // else it would go on reading
		time.Sleep(time.Millisecond)
	}
	if n, err := io.Copy(io.Discard, stopped); err == nil || ctx.Err() != nil {
		t.Errorf("the viewer that stopped was not cut off: %d bytes, %v, %v", n, err, ctx.Err())
	}
	stop()
}

// TestAnswers: what is not there, not asked for, or not offered.
func TestAnswers(t *testing.T) {
	address, _, stop := serve(t)
	defer stop()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, c := range []struct {
		method, path string
		code         int
	}{
		{"GET", "/live/none.flv", 404},
		{"GET", "/live/cam.ts", 404},
		{"GET", "/live/cam", 404},
		{"GET", "/.flv", 404},
		{"HEAD", "/live/cam.flv", 200},
		{"OPTIONS", "/live/cam.flv", 204},
		{"POST", "/live/cam.flv", 405},
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, "http://"+address+c.path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != c.code || res.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s %s: %d, %v", c.method, c.path, res.StatusCode, res.Header)
		}
	}
}

// TestAdmission: one more viewer than there are places for is told so, over HTTP and
// before the handshake of a WebSocket.
func TestAdmission(t *testing.T) {
	for _, c := range []struct {
		cfg  live.Config
		code int
	}{{live.Config{Viewers: 1}, 503}, {live.Config{ViewersPerAddress: 1}, 429}} {
		address, _, stop := serveWith(t, c.cfg)
		first := watch(t.Context(), t, address, 0)
		if first == nil {
			t.FailNow()
		}
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		for _, upgrade := range []string{"", "websocket"} {
			req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+address+"/live/cam.flv", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			if upgrade != "" {
				req.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {upgrade}, "Sec-WebSocket-Version": {"13"}, "Sec-WebSocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}}
			}
			res, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			b, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if res.StatusCode != c.code || res.Header.Get("Retry-After") == "" || !strings.Contains(string(b), "too many viewers") {
				t.Errorf("%q: %d %v %s", upgrade, res.StatusCode, res.Header, b)
			}
		}
		first.Close()
		stop()
	}
}
