package ts

// backlog is a queue of packets in blocks, which are let go as they are read.
type backlog struct {
	blocks [][]byte
	at     int // read position in the first block
	size   int // bytes in it
}

const backlogBlock = 256 * packetSize

// spare is a block that was read, for the next that is needed: a stream whose PMT changes
// with every picture is not to take a block for each.
type spare struct{ last, free []byte }

func (s *spare) take() []byte {
	b := s.free
	if s.free = nil; b == nil {
		b = make([]byte, 0, backlogBlock)
	}
	return b
}

func (q *backlog) push(p []byte, s *spare) {
	n := len(q.blocks)
	if n == 0 || len(q.blocks[n-1]) == cap(q.blocks[n-1]) {
		q.blocks = append(q.blocks, s.take())
		n++
	}
	q.blocks[n-1] = append(q.blocks[n-1], p...)
	q.size += packetSize
}

// pop returns the oldest packet, valid until the next call with s.
func (q *backlog) pop(s *spare) ([]byte, bool) {
	if s.last != nil {
		s.free, s.last = s.last, nil
	}
	if len(q.blocks) == 0 {
		return nil, false
	}
	b := q.blocks[0]
	p := b[q.at : q.at+packetSize : q.at+packetSize]
	q.at += packetSize
	q.size -= packetSize
	if q.at == len(b) {
		q.blocks, q.at = q.blocks[1:], 0
		if cap(b) == backlogBlock {
			s.last = b[:0]
		}
	}
	return p, true
}

func (q *backlog) empty() bool { return len(q.blocks) == 0 }

// pushAll moves every packet of o to the end of q.
func (q *backlog) pushAll(o *backlog) {
	if o.empty() {
		return
	}
	o.blocks[0] = o.blocks[0][o.at:]
	q.blocks = append(q.blocks, o.blocks...)
	q.size += o.size
	*o = backlog{}
}
