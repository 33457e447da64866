package ts

// backlog is a queue of packets in blocks, which are let go as they are read.
type backlog struct {
	blocks [][]byte
	at     int // read position in the first block
	size   int // bytes in it
}

const backlogBlock = 256 * packetSize

func (q *backlog) push(p []byte) {
	n := len(q.blocks)
	if n == 0 || len(q.blocks[n-1]) == cap(q.blocks[n-1]) {
		q.blocks = append(q.blocks, make([]byte, 0, backlogBlock))
		n++
	}
	q.blocks[n-1] = append(q.blocks[n-1], p...)
	q.size += packetSize
}

// pop returns the oldest packet, valid as long as it is referred to.
func (q *backlog) pop() ([]byte, bool) {
	if len(q.blocks) == 0 {
		return nil, false
	}
	b := q.blocks[0]
	p := b[q.at : q.at+packetSize : q.at+packetSize]
	q.at += packetSize
	q.size -= packetSize
	if q.at == len(b) {
		q.blocks, q.at = q.blocks[1:], 0
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
