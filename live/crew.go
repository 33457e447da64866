package live

import (
	"context"
	"sync"
	"time"

	"github.com/cleave-video/cleave/mem"
)

// Sink is where Viewer.Send puts what it reads: a connection.
type Sink interface {
	// Write sends bufs, one behind the other, behind what TryWrite has left. It waits
	// until that is done, and fails if it takes too long.
	Write(bufs [][]byte) error
	// TryWrite is Write that does not wait. False: a part of bufs, or all, is left
	// and stays valid until the next call, of Write, has returned. It keeps the
	// pieces, not the slice, which is shared. It is called from another goroutine.
	TryWrite(bufs [][]byte) (whole bool, err error)
}

const (
	// crewSize is how many viewers one goroutine writes to: half of what a core does
	// in the time between two pictures.
	crewSize = 512
	// crewPieces is how many items a crew writes by one call at most.
	crewPieces = 8
	// crewRest is how many times as long as it has written a crew rests, but not longer
	// than maxRest: what comes meanwhile is written by one call for each viewer. Few
	// viewers get each picture at once; many, or a machine that has no time, cost less.
	crewRest = 50
	maxRest  = 60 * time.Millisecond
)

// crew writes to the viewers of a feed that have got everything so far, one after
// the other, in one goroutine: to wake one for each, for each picture, costs more
// than the writing. It never waits for one: who cannot take a batch at once is handed
// back to its own goroutine.
type crew struct {
	f     *Feed
	users int // viewers that may join; guarded by Feed.crewMu

	mu      sync.Mutex // guards what follows, and is held while a batch is written
	next    uint64     // number of the first item that was not written
	head    *feedHeader
	members []*Viewer
	blocks  []*mem.Block // of the batch
	bufs    [][]byte
	counts  []counted
}

// crew returns one with room for another viewer.
func (f *Feed) crew() *crew {
	f.crewMu.Lock()
	defer f.crewMu.Unlock()
	for _, l := range f.crews {
		if l.users < crewSize {
			l.users++
			return l
		}
	}
	l := &crew{f: f, users: 1}
	f.crews = append(f.crews, l)
	f.group.Go(l.run)
	return l
}

// free gives the place of a viewer to another.
func (l *crew) free() {
	l.f.crewMu.Lock()
	defer l.f.crewMu.Unlock()
	l.users--
}

// run writes until the feed is over.
func (l *crew) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		start := time.Now()
		woken, wrote, over := l.push()
		if over {
			return
		}
		if wrote {
			timer.Reset(min(crewRest*time.Since(start), maxRest))
			select {
			case <-timer.C:
			case <-l.f.done:
			}
		}
		<-woken
	}
}

// push writes what is there; woken is closed when there is more.
func (l *crew) push() (woken <-chan struct{}, wrote, over bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		woken, special, over := l.take()
		if special || over {
			l.dismiss()
		}
		if len(l.bufs) == 0 {
			return woken, wrote, over
		}
		l.write()
		wrote = true
	}
}

// take collects the items of the next batch. It is special if what comes is more
// than the next items: viewers then read it by themselves.
func (l *crew) take() (woken <-chan struct{}, special, over bool) {
	f := l.f
	f.mu.Lock()
	defer f.mu.Unlock()
	end := f.base + uint64(len(f.items))
	if len(l.members) == 0 || l.next >= end {
		return f.wakes.wait(), false, f.err != nil
	}
	if l.next < f.base || f.items[l.next-f.base].head != l.head {
		return f.wakes.wait(), true, false
	}
	bytes := 0
	for i := l.next - f.base; i < uint64(len(f.items)) && len(l.bufs) < crewPieces; i++ {
		item := &f.items[i]
		b := item.block.Bytes()
		if item.head != l.head || bytes > 0 && bytes+len(b) > maxBatch {
			break
		}
		item.block.Retain()
		l.blocks = append(l.blocks, item.block)
		l.bufs = append(l.bufs, b)
		l.counts = append(l.counts, item.count)
		bytes += len(b)
	}
	return nil, false, false
}

// write gives the batch to all members.
func (l *crew) write() {
	end := l.next + uint64(len(l.bufs))
	kept := l.members[:0]
	for _, v := range l.members {
		skip := v.next - l.next // items that it had got before it joined
		if v.next >= end {
			kept = append(kept, v)
			continue
		}
		whole, err := v.sink.TryWrite(l.bufs[skip:])
		v.next = end
		for _, c := range l.counts[skip:] {
			v.tally.add(c)
		}
		if whole && err == nil {
			kept = append(kept, v)
			continue
		}
		for _, b := range l.blocks[skip:] {
			b.Retain()
		}
		v.held = append(v.held, l.blocks[skip:]...)
		v.back <- err
	}
	clear(l.members[len(kept):])
	l.members = kept
	l.next = end
	for i, b := range l.blocks {
		b.Release()
		l.blocks[i], l.bufs[i] = nil, nil
	}
	l.blocks, l.bufs, l.counts = l.blocks[:0], l.bufs[:0], l.counts[:0]
}

// dismiss hands all members back.
func (l *crew) dismiss() {
	for i, v := range l.members {
		v.back <- nil
		l.members[i] = nil
	}
	l.members = l.members[:0]
}

// join takes v as a member if it has got everything so far.
func (l *crew) join(v *Viewer) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.members) == 0 {
		l.next, l.head = v.next, v.head
	}
	if v.next < l.next || v.head != l.head || !l.f.reached(v.next) {
		return false
	}
	l.members = append(l.members, v)
	return true
}

// reached reports whether item next is what comes next. Asked with crew.mu held: if
// it is, the crew will be woken by it, or is awake.
func (f *Feed) reached(next uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err == nil && next == f.base+uint64(len(f.items))
}

// leave takes v out, or takes back that it was handed back meanwhile.
func (l *crew) leave(v *Viewer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, m := range l.members {
		if m == v {
			last := len(l.members) - 1
			l.members[i], l.members[last] = l.members[last], nil
			l.members = l.members[:last]
			return
		}
	}
	select {
	case <-v.back:
	default:
	}
}

// sendPieces is how many pieces a viewer writes by one call, at least 2 more than an
// item needs.
const sendPieces = 16

// Send gives s what Next would return, until ctx or the stream ends; the caller's
// goroutine is not woken for it while s takes everything at once. It returns the
// error of Next or of s, which must not be written to meanwhile.
func (v *Viewer) Send(ctx context.Context, s Sink) error {
	v.sink = s
	if v.crew == nil {
		v.crew, v.back = v.f.crew(), make(chan error, 1)
	}
	for {
		woken, err := v.catchUp()
		if err != nil {
			return err
		}
		if v.begun && v.crew.join(v) {
			woken = nil // for ever
		}
		select {
		case <-woken:
			continue
		case err = <-v.back:
		case <-ctx.Done():
			v.crew.leave(v)
			return context.Cause(ctx)
		}
		if err == nil {
			err = s.Write(nil) // what is left of a batch
		}
		if err != nil {
			return err
		}
	}
}

// catchUp writes by itself until there is nothing more; woken is closed when there
// is.
func (v *Viewer) catchUp() (woken <-chan struct{}, err error) {
	bufs := make([][]byte, 0, sendPieces)
	for {
		v.release()
		if v.closed {
			return nil, ErrClosed
		}
		bufs, woken, err = v.take(bufs[:0])
		if len(bufs) == 0 || err != nil {
			return woken, err
		}
		if err := v.sink.Write(bufs); err != nil {
			return nil, err
		}
	}
}
