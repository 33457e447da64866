package rtmp

import (
	"encoding/binary"
	"io"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/mem"
)

// A chunk. RTMP 5.3.1
//
//	basic header    fmt(2) csid(6)   0: csid-64(8) follows; 1: csid-64(16, low byte first)
//	message header  fmt 0: timestamp(24) length(24) type(8) stream id(32, low byte first)
//	                fmt 1: delta(24) length(24) type(8);   fmt 2: delta(24);   fmt 3: nothing
//	extended        timestamp or delta(32), if the 24 bits are all ones
//	payload         what is left of the message, at most the chunk size
const (
	defaultChunkSize = 128
	maxChunkSize     = 0xffffff // as long as the longest message
	maxChunkStreams  = 64
	maxBasicHeader   = 3
	extendedMark     = 0xffffff
)

const (
	readSize   = 128 << 10 // of who publishes
	talkSize   = 4 << 10   // of who has not said yet what it wants
	idleSize   = 512       // of who plays, and says next to nothing
	maxNoReads = 100       // empty reads in a row
	minBlock   = 256 << 10
)

// chunkReader puts messages together. A message that lies in one chunk is read
// where it is in the buffer; others are gathered in a block of their length, of
// which the kernel backs only what was received.
type chunkReader struct {
	r        io.Reader
	filled   func() error // called after each read, if not nil
	size     int          // that buf is to have
	buf      []byte
	pos, end int
	received int64 // bytes read
	err      error // of the reader, sticky

	chunkSize int
	maxVideo  int // bytes of a video message
	streams   []chunkStream
	partial   int // bytes of messages that are not whole
	used      int // bytes of buf that the last message lies in
	pool      *mem.Pool
	given     *mem.Block // the last message lies in it
	spare     *mem.Block
}

// chunkStream is what headers that are left out repeat.
type chunkStream struct {
	id        uint32
	kind      byte
	stream    uint32
	length    int
	timestamp uint32
	delta     uint32 // the last header's timestamp field
	extended  bool   // which was of 32 bits
	open      bool   // a message has begun
	got       int
	block     *mem.Block
}

func newChunkReader(r io.Reader, maxVideo int) *chunkReader {
	// Address space: what is touched is bounded by partial.
	limit := int64(maxChunkStreams+2) * int64(maxVideo+minBlock)
	return &chunkReader{r: r, size: talkSize, chunkSize: defaultChunkSize, maxVideo: maxVideo, pool: mem.NewPool(limit)}
}

// resize has messages read in pieces of another size from now on.
func (c *chunkReader) resize(size int) {
	c.size = max(size, 2*(c.end-c.pos)) // what was read may be the front of a message
	if c.buf != nil {
		b := make([]byte, c.size)
		c.pos, c.end = 0, copy(b, c.buf[c.pos:c.end])
		c.buf = b
	}
}

// direct is how long a message is at most that is read in place.
func (c *chunkReader) direct() int { return c.size / 2 }

// close gives the memory back; next must not be called again.
func (c *chunkReader) close() {
	for i := range c.streams {
		c.drop(&c.streams[i])
	}
	for _, b := range []*mem.Block{c.given, c.spare} {
		if b != nil {
			b.Release()
		}
	}
	c.given, c.spare, c.buf = nil, nil, nil
	c.pos, c.end, c.used, c.err = 0, 0, 0, io.ErrClosedPipe
	c.pool.Close()
}

// offset is the place in the connection, behind the handshake, of the next byte.
func (c *chunkReader) offset() int64 { return c.received - int64(c.end-c.pos) }

func (c *chunkReader) fault(field, text string, args ...any) error {
	return av.Errorf("rtmp", c.offset(), field, text, args...)
}

// next returns the next whole message. At the end of the connection it returns
// io.EOF between messages, else io.ErrUnexpectedEOF.
func (c *chunkReader) next() (message, error) {
	c.pos += c.used
	c.used = 0
	if c.given != nil {
		c.recycle(c.given)
		c.given = nil
	}
	for {
		s, err := c.header()
		if err != nil {
			return message{}, err
		}
		body, whole, err := c.payload(s)
		if err != nil {
			return message{}, unexpected(err)
		}
		if whole {
			return message{kind: s.kind, stream: s.stream, timestamp: s.timestamp, body: body}, nil
		}
	}
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// recycle keeps the larger of a block and the spare one.
func (c *chunkReader) recycle(b *mem.Block) {
	if c.spare == nil {
		c.spare = b
		return
	}
	if len(b.Bytes()) > len(c.spare.Bytes()) {
		b, c.spare = c.spare, b
	}
	b.Release()
}

// header reads a chunk's headers and moves behind them.
func (c *chunkReader) header() (*chunkStream, error) {
	if err := c.need(1); err != nil {
		if c.partial > 0 {
			err = unexpected(err)
		}
		return nil, err
	}
	format, id, n := c.buf[c.pos]>>6, uint32(c.buf[c.pos]&0x3f), 1
	if id < 2 {
		n = 2 + int(id)
		if err := c.need(n); err != nil {
			return nil, unexpected(err)
		}
		b := c.buf[c.pos:]
		if id == 0 {
			id = 64 + uint32(b[1])
		} else {
			id = 64 + uint32(b[1]) + uint32(b[2])<<8
		}
	}
	s, err := c.find(id, format)
	if err != nil {
		return nil, err
	}
	c.pos += n
	if format == 3 {
		return s, unexpected(c.repeat(s))
	}
	return s, unexpected(c.messageHeader(s, format))
}

// find returns the chunk stream of an id; its first chunk must say everything.
func (c *chunkReader) find(id uint32, format byte) (*chunkStream, error) {
	for i := range c.streams {
		if c.streams[i].id == id {
			return &c.streams[i], nil
		}
	}
	switch {
	case format != 0:
		return nil, c.fault("fmt", "%w: %d begins chunk stream %d", av.ErrInvalid, format, id)
	case len(c.streams) == maxChunkStreams:
		return nil, c.fault("csid", "%w: more than %d chunk streams", av.ErrTooLarge, maxChunkStreams)
	}
	c.streams = append(c.streams, chunkStream{id: id})
	return &c.streams[len(c.streams)-1], nil
}

// messageHeader reads the header of a new message. One that is not whole is
// dropped.
func (c *chunkReader) messageHeader(s *chunkStream, format byte) error {
	c.drop(s)
	n := 11 - 4*int(format)
	if err := c.need(n); err != nil {
		return err
	}
	b := c.buf[c.pos:]
	ts := u24(b)
	if format < 2 {
		s.length, s.kind = int(u24(b[3:])), b[6]
		if most := c.limit(s.kind); s.length > most {
			return c.fault("message length", "%w: %d bytes of type %d, at most %d", av.ErrTooLarge, s.length, s.kind, most)
		}
	}
	if format == 0 {
		s.stream = binary.LittleEndian.Uint32(b[7:])
	}
	if s.extended = ts == extendedMark; s.extended {
		if err := c.need(n + 4); err != nil {
			return err
		}
		ts = binary.BigEndian.Uint32(c.buf[c.pos+n:])
		n += 4
	}
	c.pos += n
	s.delta = ts
	if format == 0 {
		s.timestamp = ts
	} else {
		s.timestamp += ts
	}
	return nil
}

// repeat reads what follows a fmt 3: an extended timestamp again, which some
// senders leave out.
func (c *chunkReader) repeat(s *chunkStream) error {
	if !s.open { // RTMP 5.3.1.2.4: also behind fmt 0, whose timestamp is the delta then
		s.timestamp += s.delta
	}
	if !s.extended {
		return nil
	}
	left := min(c.chunkSize, s.length-s.got, 4)
	for n := left; ; n = 4 {
		if err := c.need(n); err != nil {
			return err
		}
		var want [4]byte
		binary.BigEndian.PutUint32(want[:], s.delta)
		if string(c.buf[c.pos:c.pos+n]) != string(want[:n]) {
			binary.BigEndian.PutUint32(want[:], s.timestamp)
			if string(c.buf[c.pos:c.pos+n]) != string(want[:n]) {
				return nil
			}
		}
		if n == 4 {
			c.pos += 4
			return nil
		}
	}
}

// limit returns the largest message of a type.
func (c *chunkReader) limit(kind byte) int {
	switch kind {
	case typeVideo, typeAggregate:
		return c.maxVideo
	case typeAudio, typeDataAMF0, typeDataAMF3:
		return maxAudio
	case typeSetChunkSize, typeAbort, typeAck, typeUserControl, typeWindowAckSize, typePeerBandwidth:
		return maxControl
	}
	return maxCommand
}

// payload reads a chunk's payload; whole tells that its message is complete.
func (c *chunkReader) payload(s *chunkStream) (body []byte, whole bool, err error) {
	left := min(c.chunkSize, s.length-s.got)
	if !s.open && left == s.length && left <= c.direct() {
		if err := c.need(left); err != nil {
			return nil, false, err
		}
		c.used = left
		return c.buf[c.pos : c.pos+left : c.pos+left], true, nil
	}
	if s.block == nil {
		if s.block, err = c.block(s.length); err != nil {
			return nil, false, err
		}
	}
	s.open = true
	for left > 0 {
		if err := c.need(1); err != nil {
			return nil, false, err
		}
		n := copy(s.block.Bytes()[s.got:s.got+left], c.buf[c.pos:c.end])
		c.pos += n
		s.got += n
		left -= n
		if c.partial += n; c.partial > c.maxVideo+minBlock {
			return nil, false, c.fault("message", "%w: more than %d bytes in messages that are not whole", av.ErrTooLarge, c.maxVideo+minBlock)
		}
	}
	if s.got < s.length {
		return nil, false, nil
	}
	c.partial -= s.got
	c.given, s.block = s.block, nil
	s.open, s.got = false, 0
	return c.given.Bytes()[:s.length:s.length], true, nil
}

// block returns one that holds n bytes. Sizes are rounded up, so that the next
// message, a little longer, fits too.
func (c *chunkReader) block(n int) (*mem.Block, error) {
	if c.spare != nil && len(c.spare.Bytes()) >= n {
		b := c.spare
		c.spare = nil
		return b, nil
	}
	size := minBlock
	for size < n {
		size *= 2
	}
	return c.pool.TryNewBlock(min(size, max(c.maxVideo, minBlock)))
}

// drop forgets a message that is not whole.
func (c *chunkReader) drop(s *chunkStream) {
	if s.block != nil {
		c.recycle(s.block)
		s.block = nil
	}
	c.partial -= s.got
	s.open, s.got = false, 0
}

// abort drops the message of a chunk stream. RTMP 5.4.2
func (c *chunkReader) abort(id uint32) {
	for i := range c.streams {
		if c.streams[i].id == id {
			c.drop(&c.streams[i])
		}
	}
}

// need reads until n bytes are there, at most direct.
func (c *chunkReader) need(n int) error {
	for empty := 0; c.end-c.pos < n; {
		if c.err != nil {
			return c.err
		}
		if c.buf == nil {
			c.buf = make([]byte, c.size)
		}
		if c.pos == c.end {
			c.pos, c.end = 0, 0
		}
		if len(c.buf)-c.end < c.size/4 {
			c.end = copy(c.buf, c.buf[c.pos:c.end])
			c.pos = 0
		}
		m, err := c.r.Read(c.buf[c.end:])
		if m < 0 || m > len(c.buf)-c.end {
			m, err = 0, io.ErrNoProgress
		}
		if empty++; m > 0 {
			empty = 0
		}
		if empty == maxNoReads && err == nil {
			err = io.ErrNoProgress
		}
		c.end += m
		c.received += int64(m)
		c.err = err
		if err == nil && c.filled != nil {
			c.err = c.filled()
		}
	}
	return nil
}

func u24(b []byte) uint32 { return uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]) }
