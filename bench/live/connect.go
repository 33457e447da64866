package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/cleave-video/cleave/format/flv/amf0"
)

// path is the stream's name.
const path = "live/cam"

// connect asks for the stream and returns the connection on which it comes, and what
// reads it. Bytes that were read already were fed.
func connect(protocol, address string, whole func(m *message)) (net.Conn, scanner, error) {
	c, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		return nil, nil, err
	}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	var s scanner
	if protocol == "flv" {
		s = newFLVScanner(whole)
		_, err = fmt.Fprintf(c, "GET /%s.flv HTTP/1.1\r\nHost: %s\r\n\r\n", path, address)
	} else {
		s, err = play(c, address, whole)
	}
	if err != nil {
		c.Close()
		return nil, nil, err
	}
	return c, s, c.SetDeadline(time.Time{})
}

// play does the handshake of RTMP and asks for the stream. RTMP 5.2, 7.2
func play(c net.Conn, address string, whole func(m *message)) (*rtmpScanner, error) {
	const packet = 1536
	hello := make([]byte, 1+2*packet)
	hello[0] = 3
	for i := range hello[9 : 1+packet] {
		hello[9+i] = byte(i * 7)
	}
	if _, err := c.Write(hello[:1+packet]); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(c, hello); err != nil {
		return nil, err
	}
	if _, err := c.Write(hello[1 : 1+packet]); err != nil {
		return nil, err
	}
	b := amf0.AppendObject(amf0.AppendNumber(amf0.AppendString(nil, "connect"), 1))
	for _, kv := range [][2]string{{"app", "live"}, {"flashVer", "LNX 9,0,124,2"}, {"tcUrl", "rtmp://" + address + "/live"}} {
		b = amf0.AppendString(amf0.AppendKey(b, kv[0]), kv[1])
	}
	results := 0
	s := newRTMPScanner(func(m *message) {
		if m.kind == command && bytes.Contains(m.head, []byte("_result")) {
			results++
		}
		whole(m)
	})
	if err := ask(c, 0, amf0.AppendEnd(b)); err != nil {
		return nil, err
	}
	if err := await(c, s, &results, 1); err != nil {
		return nil, err
	}
	if err := ask(c, 0, amf0.AppendNull(amf0.AppendNumber(amf0.AppendString(nil, "createStream"), 2))); err != nil {
		return nil, err
	}
	if err := await(c, s, &results, 2); err != nil {
		return nil, err
	}
	s.whole = whole
	return s, ask(c, 1, amf0.AppendString(amf0.AppendNull(amf0.AppendNumber(amf0.AppendString(nil, "play"), 3)), "cam"))
}

const command = 20 // message type. RTMP 7.1.1

// ask sends a command in chunks of 128 bytes.
func ask(c net.Conn, stream byte, body []byte) error {
	const id, chunk = 3, 128
	b := []byte{id, 0, 0, 0, 0, byte(len(body) >> 8), byte(len(body)), command, stream, 0, 0, 0}
	for len(body) > chunk {
		b = append(append(b, body[:chunk]...), 3<<6|id)
		body = body[chunk:]
	}
	_, err := c.Write(append(b, body...))
	return err
}

// await reads until n results have come.
func await(c net.Conn, s *rtmpScanner, results *int, n int) error {
	b := make([]byte, 4096)
	for *results < n {
		k, err := c.Read(b)
		if err != nil {
			return err
		}
		if err := s.feed(b[:k]); err != nil {
			return err
		}
	}
	return nil
}
