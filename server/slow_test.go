package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-video/cleave/httpio"
)

// pipes is a listener whose connections are in memory, and take nothing by themselves.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipes) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// TestUnread: a client that asks and does not read what comes, or not its end, is given up,
// whatever it asked for.
func TestUnread(t *testing.T) {
	routed := (&routes{push: http.NotFoundHandler()}).handler()
	mux := http.NewServeMux()
	mux.Handle("/", routed)
	mux.HandleFunc("/grows", func(w http.ResponseWriter, r *http.Request) {
		p, err := httpio.Start(w, r, httpio.Options{Route: httpio.NewRoute("test", httpio.Direct, 0), Keep: true})
		if err == nil {
			err = errors.Join(p.Write([][]byte{[]byte("0123456789")}), p.Close(true))
		}
		if err != nil {
			t.Error(err)
		}
	})
	mux.HandleFunc("/text", func(w http.ResponseWriter, r *http.Request) {
		_ = httpio.StreamText(w, r, httpio.Text{}, nil, func(w io.Writer) error {
			_, err := io.WriteString(w, "0123456789")
			return err
		})
	})
	for _, test := range []struct {
		request string
		until   string // is read
	}{
		{"GET /frames.js", ""},
		{"HEAD /frames.js", ""},
		{"GET /favicon.ico", ""},
		{"GET /a/../b", ""},
		{"GET /grows", "0123456789\r\n"},
		{"GET /text", "0123456789\r\n"},
	} {
		t.Run(test.request, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- serveHTTP(ctx, l, mux, nil) }()
				client, server := net.Pipe()
				l.conns <- server
				fmt.Fprintf(client, "%s HTTP/1.1\r\nHost: a\r\n\r\n", test.request)
				readUntil(t, client, test.until)
				time.Sleep(90 * time.Second)
				synctest.Wait()
				if n, err := client.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
					t.Errorf("it is waited for: %d, %v", n, err)
				}
				client.Close()
				cancel()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// readUntil reads up to a text, byte by byte.
func readUntil(t *testing.T, r io.Reader, text string) {
	t.Helper()
	var all []byte
	for b := make([]byte, 1); len(text) > 0 && (len(all) < len(text) || string(all[len(all)-len(text):]) != text); all = append(all, b[0]) {
		if _, err := r.Read(b); err != nil {
			t.Fatal(err)
		}
	}
}

// keeper is a listener that keeps its last connection.
type keeper struct {
	net.Listener
	conn chan *net.TCPConn
}

func (l *keeper) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if tcp, ok := c.(*net.TCPConn); ok {
		l.conn <- tcp
	}
	return c, err
}

// TestShut: a client of HTTP/2 that takes nothing from the connection is given up by the
// kernel; on HTTP/1.1 the deadlines of answers do that.
func TestShut(t *testing.T) {
	certFile, key := writePair(t, t.TempDir(), "localhost", time.Now())
	cert, err := loadCertificate(certFile, key, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for _, h2 := range []bool{false, true} {
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l := &keeper{tcp, make(chan *net.TCPConn, 1)}
		var all httpio.Coalescing
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- serveHTTP(ctx, all.Listener(l), http.NotFoundHandler(), cert.config("h2", "http/1.1"))
		}()
		tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: h2}
		res, err := (&http.Client{Transport: tr}).Get("https://" + tcp.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		raw, err := (<-l.conn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		const userTimeout = 18 // TCP_USER_TIMEOUT
		got, want := 0, map[bool]int{true: int(shut.Milliseconds())}[h2]
		cerr := raw.Control(func(fd uintptr) { got, err = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, userTimeout) })
		if err != nil || cerr != nil || got != want || res.ProtoMajor == 2 != h2 {
			t.Errorf("%s: %d ms, want %d: %v, %v", res.Proto, got, want, err, cerr)
		}
		tr.CloseIdleConnections()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
