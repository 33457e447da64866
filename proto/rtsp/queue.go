package rtsp

import (
	"sync"
	"time"

	"github.com/pion/rtp"
)

// item is an RTP packet, or a sender report, of one track.
type item struct {
	track  int
	packet *rtp.Packet // nil: a report
	ntp    uint64
	ts     uint32
	at     time.Time // of arrival
}

// overhead is what an item takes beyond its payload.
const overhead = 256

func (i *item) size() int {
	if i.packet == nil {
		return overhead
	}
	return overhead + len(i.packet.Payload)
}

// queue hands what the network's goroutines receive to the one that reads. Its
// bound is in bytes. Over it whoever may wait waits: the peer is slowed. Others
// drop.
type queue struct {
	max int

	mu      sync.Mutex // guards what follows
	items   []item
	bytes   int
	dropped int64
	err     error // why nothing follows
	more    chan struct{}
	room    chan struct{}
}

func newQueue(limit int) *queue {
	return &queue{max: limit, more: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// signal wakes who waits on c, or who comes to it next.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// put adds an item, or drops it if there is no room and wait is false.
func (q *queue) put(i item, wait bool) {
	for !q.offer(i, wait) {
		<-q.room
	}
}

// offer returns false if the caller has to wait for room.
func (q *queue) offer(i item, wait bool) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err != nil {
		signal(q.room) // for others that wait
		return true
	}
	if q.bytes > 0 && q.bytes+i.size() > q.max {
		if wait {
			return false
		}
		q.dropped++
		return true
	}
	q.items = append(q.items, i)
	q.bytes += i.size()
	signal(q.more)
	return true
}

// take waits for items and returns all there are; spare is memory for the next.
// What was put before the end comes before its error.
func (q *queue) take(spare []item) ([]item, error) {
	for {
		q.mu.Lock()
		items, err := q.items, q.err
		if len(items) > 0 {
			clear(spare)
			q.items, q.bytes = spare[:0], 0
			signal(q.room)
			q.mu.Unlock()
			return items, nil
		}
		q.mu.Unlock()
		if err != nil {
			signal(q.more)
			return nil, err
		}
		<-q.more
	}
}

// close ends the queue; the first error stays.
func (q *queue) close(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err == nil {
		q.err = err
	}
	signal(q.more)
	signal(q.room)
}

// drops returns how many items were dropped.
func (q *queue) drops() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.dropped
}
