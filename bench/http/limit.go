package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"

	"github.com/cleave-video/cleave/httpio"
)

// What net/http could do at most, and what an own loop could: both answer every GET with
// one file from memory and nothing else, in a process of their own.
const (
	bareName = "bare net/http"
	loopName = "own GET loop"
)

// limits starts both.
func (b *bench) limits(ctx context.Context, file string) ([]*process, error) {
	var out []*process
	for command, name := range map[string]string{"bare": bareName, "loop": loopName} {
		p, err := b.run(ctx, name, b.self, func(p *process) ([]string, error) {
			return []string{command, p.http, p.https, b.cert, b.key, file}, nil
		})
		if err != nil {
			for _, p := range out {
				p.stop()
			}
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// limit serves until it is ended: args are the command, both addresses, certificate, key
// and file.
func limit(args []string) error {
	body, err := os.ReadFile(args[5])
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(args[3], args[4])
	if err != nil {
		return err
	}
	plain, err := net.Listen("tcp", args[1])
	if err != nil {
		return err
	}
	below, err := net.Listen("tcp", args[2])
	if err != nil {
		return err
	}
	secure := tls.NewListener(new(httpio.Coalescing).Listener(below), &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}})
	serve := func(l net.Listener) error { return loop(l, body) }
	if args[0] == "bare" {
		serve = func(l net.Listener) error {
			return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "video/mp4")
				w.Header().Set("Content-Length", strconv.Itoa(len(body)))
				_, _ = w.Write(body)
			}))
		}
	}
	ended := make(chan error, 2)
	go func() { ended <- serve(plain) }()
	go func() { ended <- serve(secure) }()
	return <-ended
}

// loop answers requests without a body, of which it looks at the first line and for the
// empty one: less than any server has to do.
func loop(l net.Listener, body []byte) error {
	answer := append([]byte("HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: "+strconv.Itoa(len(body))+"\r\n\r\n"), body...)
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			_ = talk(c, answer) // until the client goes
		}()
	}
}

func talk(c net.Conn, answer []byte) error {
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if !bytes.HasPrefix(line, []byte("GET /")) {
			return errors.New("not GET")
		}
		for len(bytes.TrimRight(line, "\r\n")) > 0 {
			if line, err = r.ReadSlice('\n'); err != nil {
				return err
			}
		}
		if n, err := c.Write(answer); n < len(answer) || err != nil {
			return errors.Join(err, io.ErrShortWrite)
		}
	}
}
