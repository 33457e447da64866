package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
)

// scanner reads what a server sends, in pieces of any size.
type scanner interface {
	feed(b []byte) error
}

// headBytes is how much of a message is looked at: enough for a mark.
const headBytes = 96

// message is an audio or video message that is being received.
type message struct {
	kind byte
	left int
	head []byte
}

func (m *message) begin(kind byte, size int) { m.kind, m.left, m.head = kind, size, m.head[:0] }

// take consumes what of b belongs to m.
func (m *message) take(b []byte) int {
	n := min(len(b), m.left)
	if keep := min(n, headBytes-len(m.head)); keep > 0 {
		m.head = append(m.head, b[:keep]...)
	}
	m.left -= n
	return n
}

// picture reports whether m is a coded picture, whether of a key frame, and when it
// was published; 0 if it does not say.
func (m *message) picture() (is, key bool, sent int64) {
	const video, avc, nalUnits = 9, 7, 1
	if m.kind != video || len(m.head) < 5 || m.head[0]&0x80 == 0 && (m.head[0]&15 != avc || m.head[1] != nalUnits) {
		return false, false, 0
	}
	if i := bytes.Index(m.head, []byte(mark)); i >= 0 && len(m.head) >= i+len(mark)+digits {
		sent, _ = strconv.ParseInt(string(m.head[i+len(mark):][:digits]), 16, 64)
	}
	return true, m.head[0]>>4&7 == 1, sent
}

// flvScanner reads an HTTP response of FLV.
type flvScanner struct {
	whole func(m *message) // gets each tag

	state   int
	line    []byte // of the response's head, or of a chunk's size
	chunked bool
	room    int // bytes left of the chunk
	skip    int // bytes that are of no interest
	header  []byte
	tag     message
	inTag   bool
}

// The states of flvScanner: what comes next.
const (
	inHead = iota
	inSize
	inBody
	inEnd // of a chunk
)

func newFLVScanner(whole func(m *message)) *flvScanner {
	return &flvScanner{whole: whole, skip: 9 + 4}
}

func (s *flvScanner) feed(b []byte) error {
	for len(b) > 0 {
		if s.state == inBody {
			n := len(b)
			if s.chunked {
				n = min(n, s.room)
				s.room -= n
			}
			s.tags(b[:n])
			b = b[n:]
			if s.chunked && s.room == 0 {
				s.state = inEnd
			}
			continue
		}
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			s.line = append(s.line, b...)
			return nil
		}
		s.line = append(s.line, b[:i]...)
		b = b[i+1:]
		if err := s.endLine(bytes.TrimRight(s.line, "\r")); err != nil {
			return err
		}
		s.line = s.line[:0]
	}
	return nil
}

// endLine takes a line of HTTP.
func (s *flvScanner) endLine(line []byte) error {
	switch s.state {
	case inHead:
		lower := bytes.ToLower(line)
		switch {
		case bytes.HasPrefix(lower, []byte("http/")) && !bytes.Contains(lower, []byte(" 200")):
			return fmt.Errorf("answer %q", line)
		case bytes.HasPrefix(lower, []byte("transfer-encoding:")) && bytes.Contains(lower, []byte("chunked")):
			s.chunked = true
		case len(line) == 0 && s.chunked:
			s.state = inSize
		case len(line) == 0:
			s.state = inBody
		}
	case inSize:
		n, err := strconv.ParseUint(string(line), 16, 31)
		if err != nil || n == 0 {
			return fmt.Errorf("chunk of %q bytes", line)
		}
		s.room, s.state = int(n), inBody
	case inEnd:
		s.state = inSize
	}
	return nil
}

// tags reads FLV.
func (s *flvScanner) tags(b []byte) {
	const tagHeader, previous = 11, 4
	for len(b) > 0 {
		switch {
		case s.skip > 0:
			n := min(len(b), s.skip)
			s.skip -= n
			b = b[n:]
		case s.inTag:
			b = b[s.tag.take(b):]
			if s.tag.left == 0 {
				s.whole(&s.tag)
				s.inTag, s.skip = false, previous
			}
		default:
			n := min(len(b), tagHeader-len(s.header))
			s.header = append(s.header, b[:n]...)
			b = b[n:]
			if len(s.header) == tagHeader {
				s.tag.begin(s.header[0]&31, int(binary.BigEndian.Uint32(s.header)&0xffffff))
				s.inTag, s.header = s.tag.left > 0, s.header[:0]
				if !s.inTag {
					s.skip = previous
				}
			}
		}
	}
}

// rtmpScanner reads the chunks that a server of RTMP sends, behind the handshake.
type rtmpScanner struct {
	whole func(m *message)

	chunk   int
	streams [64]chunkStream
	header  []byte
	now     *chunkStream // whose payload comes
	room    int          // bytes left of the chunk
}

type chunkStream struct {
	message
	size     int
	extended bool
}

func newRTMPScanner(whole func(m *message)) *rtmpScanner {
	return &rtmpScanner{whole: whole, chunk: 128}
}

var errChunk = errors.New("chunk stream of a number that is not expected")

func (s *rtmpScanner) feed(b []byte) error {
	for len(b) > 0 {
		if s.now == nil {
			s.header = append(s.header, b[0])
			b = b[1:]
			if err := s.begin(); err != nil {
				return err
			}
			continue
		}
		n := s.now.take(b[:min(len(b), s.room)])
		b = b[n:]
		s.room -= n
		if s.now.left == 0 {
			s.end(&s.now.message)
		}
		if s.room == 0 || s.now.left == 0 {
			s.now = nil
		}
	}
	return nil
}

// begin looks whether the header is whole, and then obeys it. RTMP 5.3.1
func (s *rtmpScanner) begin() error {
	h := s.header
	id, form := int(h[0]&63), h[0]>>6
	if id < 2 {
		return errChunk
	}
	c := &s.streams[id]
	n := 1 + [4]int{11, 7, 3, 0}[form]
	if len(h) < n {
		return nil
	}
	if form < 3 {
		c.extended = h[1]&h[2]&h[3] == 0xff
	}
	if c.extended {
		n += 4
	}
	if len(h) < n {
		return nil
	}
	if form < 2 {
		c.size, c.kind = int(h[4])<<16|int(h[5])<<8|int(h[6]), h[7]
	}
	if c.left == 0 {
		c.message.begin(c.kind, c.size)
	}
	s.now, s.room, s.header = c, s.chunk, h[:0]
	if c.size == 0 {
		s.now = nil
	}
	return nil
}

// end takes a whole message.
func (s *rtmpScanner) end(m *message) {
	const setChunkSize = 1
	if m.kind == setChunkSize && len(m.head) >= 4 {
		s.chunk = int(binary.BigEndian.Uint32(m.head) & 0x7fffffff)
		return
	}
	s.whole(m)
}
