package main

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/cleave-video/cleave/format/flv"
)

// pictures are bodies of video messages, key and not, each with its time.
func pictures(n int) (bodies [][]byte, times []int64) {
	for i := range n {
		now := time.Unix(int64(i), 5)
		body := []byte{0x27, 1, 0, 0, 0}
		if i%3 == 0 {
			body[0] = 0x17
		}
		body = append(appendMark(body, now), bytes.Repeat([]byte{byte(i)}, 100*i)...)
		bodies, times = append(bodies, body), append(times, now.UnixNano())
	}
	return bodies, times
}

// TestScanners: the pictures and their times are found, wherever what comes is cut.
func TestScanners(t *testing.T) {
	bodies, times := pictures(10)
	tags := flv.AppendHeader(nil, true, false)
	var chunks []byte
	for i, b := range bodies {
		tags = flv.AppendTag(tags, flv.TypeVideo, uint32(i), nil, b)
		tags = flv.AppendTag(tags, flv.TypeAudio, uint32(i), nil, []byte{0xaf, 1, 2})
		chunks = append(chunks, 6, 0, 0, byte(i), byte(len(b)>>16), byte(len(b)>>8), byte(len(b)), flv.TypeVideo, 1, 0, 0, 0)
		for first := true; len(b) > 0; first = false {
			if !first {
				chunks = append(chunks, 3<<6|6)
			}
			n := min(len(b), 128)
			chunks = append(chunks, b[:n]...)
			b = b[n:]
		}
	}
	const head = "HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\n"
	answer := head + "Transfer-Encoding: chunked\r\n\r\n"
	for b := tags; len(b) > 0; {
		n := min(len(b), 333)
		answer += fmt.Sprintf("%x\r\n%s\r\n", n, b[:n])
		b = b[n:]
	}
	for name, c := range map[string]struct {
		in   string
		make func(whole func(m *message)) scanner
	}{
		"chunked": {answer, func(w func(m *message)) scanner { return newFLVScanner(w) }},
		"plain":   {head + "\r\n" + string(tags), func(w func(m *message)) scanner { return newFLVScanner(w) }},
		"rtmp":    {string(chunks), func(w func(m *message)) scanner { return newRTMPScanner(w) }},
	} {
		for _, size := range []int{1, 2, 7, 100, 4096, 1 << 20} {
			i := 0
			s := c.make(func(m *message) {
				is, key, sent := m.picture()
				if !is {
					return
				}
				if key != (i%3 == 0) || sent != times[i] {
					t.Errorf("%s by %d: picture %d: %v, %d", name, size, i, key, sent)
				}
				i++
			})
			for b := []byte(c.in); len(b) > 0; {
				n := min(len(b), size)
				if err := s.feed(b[:n]); err != nil {
					t.Fatal(err)
				}
				b = b[n:]
			}
			if i != len(bodies) {
				t.Errorf("%s by %d: %d pictures of %d", name, size, i, len(bodies))
			}
		}
	}
	if newFLVScanner(nil).feed([]byte("HTTP/1.1 404 Not Found\r\n")) == nil {
		t.Error("404 is no stream")
	}
}
