package httpio

import "time"

// watch is what was given to an adaptive response since it looked at its client.
type watch struct {
	looked time.Time
	begun  bool // it has looked
	bytes  int64
	pieces int64
}

// look counts n bytes that are given, and now and then makes another plan. p.mu is held.
func (p *Response) look(n int) {
	if p.route.Strategy() != Adaptive {
		p.plan, p.watch.begun = plan{}, false
		return
	}
	p.watch.bytes += int64(n)
	p.watch.pieces++
	past := time.Since(p.watch.looked)
	if past < lookEvery {
		return
	}
	f := facts{rate: int64(float64(p.watch.bytes) / past.Seconds()), piece: int(p.watch.bytes / p.watch.pieces)}
	if p.way != nil {
		if info, err := p.way.Read(); err == nil {
			f.way = &info
		}
	}
	next, why := p.plan.next(f)
	if next != p.plan || !p.watch.begun {
		p.route.reasons[why].Add(1)
	}
	p.plan = next
	p.watch = watch{looked: p.watch.looked.Add(past), begun: true}
}

// bounds are how much may wait, and how long; zero: nothing may. p.mu is held.
func (p *Response) bounds() plan {
	switch p.route.Strategy() {
	case Buffered:
		return plan{maxBatch, maxHold}
	case Adaptive:
		return p.plan
	}
	return plan{}
}

// fits reports whether n bytes more may wait. p.mu is held.
func (p *Response) fits(n int) bool { return len(p.batch)+n < p.bounds().size }

// hold copies bufs into the batch, which the first of them gives a time to leave at.
// p.mu is held.
func (p *Response) hold(bufs [][]byte) {
	if len(p.batch) == 0 {
		wait := p.bounds().wait
		p.due = time.Now().Add(wait)
		if p.timer == nil {
			p.timer = time.AfterFunc(wait, p.expire)
		} else {
			p.timer.Reset(wait)
		}
	}
	for _, b := range bufs {
		p.batch = append(p.batch, b...)
	}
	p.account()
}

// expire sends a batch that has waited long enough. What fails is told to the next call.
func (p *Response) expire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ready() != nil || len(p.batch) == 0 {
		return
	}
	if wait := time.Until(p.due); wait > 0 { // another batch than the one it was set for
		p.timer.Reset(wait)
		return
	}
	_ = p.flush(nil, ByTime) // it is in p.err
}

// account tells the route how much waits. p.mu is held.
func (p *Response) account() {
	n := int64(len(p.batch))
	p.route.held.Add(n - p.counted)
	p.counted = n
}
