package httpio_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
)

// TestChunkedRequests: what publishers send by chunks net/http reads, as RFC 9112 7.1 has
// it, however it comes: sizes in both cases, extensions ignored and not endless, exact
// line ends, and no end without the last chunk.
func TestChunkedRequests(t *testing.T) {
	type result struct {
		body string
		err  error
	}
	got := make(chan result, 1)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		got <- result{string(b), err}
	}))
	defer s.Close()
	abc := strings.Repeat("x", 0xABC)
	for _, c := range []struct {
		body, want string
		ok         bool
	}{
		{"3\r\none\r\n0\r\n\r\n", "one", true},
		{"abc\r\n" + abc + "\r\n0\r\n\r\n", abc, true},
		{"ABC\r\n" + abc + "\r\n0\r\n\r\n", abc, true},
		{"00003\r\none\r\n3\r\ntwo\r\n0\r\n\r\n", "onetwo", true},
		{"3;given=1764077199123456;a=\"b;c\"\r\none\r\n0;x\r\n\r\n", "one", true},
		{"3\r\none\r\n0\r\nX-Frames-Sent: 1\r\n\r\n", "one", true},
		{"3;" + strings.Repeat("x", 64<<10) + "\r\none\r\n0\r\n\r\n", "", false},
		{strings.Repeat("1;"+strings.Repeat("x", 2000)+"\r\na\r\n", 100) + "0\r\n\r\n", "", false},
		{"3\r\none\r\n", "one", false},
		{"3\r\non", "on", false},
		{"3\r\nonetwo\r\n0\r\n\r\n", "one", false},
		{"g\r\none\r\n0\r\n\r\n", "", false},
		{"-3\r\none\r\n0\r\n\r\n", "", false},
		{"11111111111111111\r\none\r\n0\r\n\r\n", "", false},
	} {
		conn, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		request := "PUT / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + c.body
		var r io.Reader = strings.NewReader(request)
		if len(request) < 1000 {
			r = iotest.OneByteReader(r)
		}
		// A server that has seen enough may close before everything is written.
		_, _ = io.Copy(struct{ io.Writer }{conn}, r)
		_ = conn.(*net.TCPConn).CloseWrite()
		x := <-got
		_, _ = io.Copy(io.Discard, conn)
		conn.Close()
		if (x.err == nil) != c.ok || c.ok && x.body != c.want || !strings.HasPrefix(c.want, x.body) && c.want != "" {
			t.Errorf("%.60q: %.60q, %v", c.body, x.body, x.err)
		}
		if !c.ok && errors.Is(x.err, io.EOF) {
			t.Errorf("%.60q ends as if it were whole", c.body)
		}
	}
}
