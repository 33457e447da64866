package hls

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-video/cleave/live"
)

// pipes is a listener of connections in memory, which have deadlines.
type pipes struct {
	ch   chan net.Conn
	once sync.Once
	done chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.ch:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{} }

// A client that takes a byte a second is closed, and what it held comes home; the
// stream goes on.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, live.Config{})
		defer r.end()
		r.at()
		l := &pipes{ch: make(chan net.Conn), done: make(chan struct{})}
		srv := &http.Server{Handler: r.h}
		var wg sync.WaitGroup
		wg.Go(func() { _ = srv.Serve(l) })
		defer wg.Wait()
		defer srv.Close()
		client, server := net.Pipe()
		defer client.Close()
		l.ch <- server
		if _, err := io.WriteString(client, "GET "+video+"1-3.m4s HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReaderSize(client, 16)
		began := time.Now()
		for {
			if _, err := in.ReadByte(); err != nil {
				break
			}
			time.Sleep(time.Second)
		}
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("it was closed after %v", took)
		}
		if a := r.get(video + "index.m3u8?_HLS_msn=5"); a.Code != 200 && a.Code != 400 {
			t.Errorf("the stream: %d", a.Code)
		}
		// A connection that is kept alive has no deadline left from the answer before.
		client, server = net.Pipe()
		defer client.Close()
		l.ch <- server
		in = bufio.NewReader(client)
		list := strings.TrimPrefix(video, "/")
		for _, path := range []string{list + "index.m3u8", list + "1-3.m4s", list + "iframes.m3u8", list + "init-0.mp4", "cam/index.m3u8"} {
			if _, err := io.WriteString(client, "GET /"+path+" HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			res, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, res.Body); err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			time.Sleep(20 * time.Second)
		}
	})
}
