package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/cleave-video/cleave/format/hls"
)

// hinted is what came of a request for a hinted resource.
type hinted struct {
	a     *answer
	err   error
	known time.Time // when a playlist came that may list it
}

// probeHint asks for the hinted part before it is there, as a player does, and
// checks that it comes once the part is listed, at one go, with the part's bytes.
func (f *follow) probeHint(td time.Duration) {
	p, _, _ := f.ask("", td)
	if p == nil {
		return
	}
	hint := partHint(p)
	if hint == nil {
		return
	}
	name, err := f.c.src.resolve(f.name, hint.URI)
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(f.c.ctx, 3*td+time.Second)
	got := make(chan hinted, 1)
	go func() {
		a, err := f.c.src.fetch(ctx, name, hint.Start, hint.Length)
		got <- hinted{a: a, err: err}
	}()
	msn, part := edge(p)
	next, _, _ := f.ask(fmt.Sprintf("_HLS_msn=%d&_HLS_part=%d", msn+1, part+1), 3*td+time.Second)
	known := f.w.cfg.Now()
	listed, wait := partOf(next, hint), late
	if listed != nil && hint.Length == 0 && listed.Range.Length > 0 {
		wait = 2 * td // the answer goes on to the end of the segment
	}
	stop := time.AfterFunc(wait, cancel)
	h := <-got
	stop.Stop()
	cancel()
	h.known = known
	if listed != nil && f.c.ctx.Err() == nil {
		f.checkHinted(name, p.PartTarget, listed, h, wait)
	}
}

// partHint returns the hint of a part; nil if there is none, the last if there are more.
func partHint(m *hls.Media) *hls.PreloadHint {
	for i := range slices.Backward(m.Hints) {
		if m.Hints[i].Type == "PART" {
			return &m.Hints[i]
		}
	}
	return nil
}

// partOf returns the part that a hint spoke of; nil if it is not listed.
func partOf(m *hls.Media, hint *hls.PreloadHint) *hls.Part {
	if m == nil {
		return nil
	}
	for i := range m.Segments {
		for k := range m.Segments[i].Parts {
			p := &m.Segments[i].Parts[k]
			if p.URI == hint.URI && p.Range.Offset == hint.Start && !p.Gap {
				return p
			}
		}
	}
	return nil
}

// checkHinted compares the answer to the request for a hint with the part that was
// listed then.
func (f *follow) checkHinted(name string, target time.Duration, part *hls.Part, h hinted, wait time.Duration) {
	c, at := f.c, Place{File: name, group: f.name}
	c.saw("L14")
	switch {
	case h.a == nil:
		c.should("L14", at, "the hinted part was asked for before it was there, and is listed; %s later there is no answer: %v", wait, h.err)
		return
	case h.err != nil && !errors.Is(h.err, errStatus):
		c.should("L14", at, "the hinted part was asked for before it was there, and is listed; the answer: %v", h.err)
		return
	case h.err != nil:
		c.find("L14", at, "the hinted part was asked for before it was there, and is listed; the answer: %v", h.err)
		return
	case part.Range.Offset > 0 && h.a.status == http.StatusOK:
		c.should("L14", at, "the hint has a range from byte %d on, and the answer is the whole", part.Range.Offset)
		return
	}
	// One part is sent at one go; in an open range others follow.
	whole := h.a.ended
	if n := int(part.Range.Length); n > 0 && len(h.a.body) >= n {
		whole = h.a.reached(n)
	}
	if took := whole.Sub(h.a.first); took > target/2+100*time.Millisecond {
		c.should("L14", at, "the hinted part took %s from its first byte to its last: it was sent before it was whole", took.Round(time.Millisecond))
	}
	if behind := whole.Sub(h.known); behind > late {
		c.should("L14", at, "the hinted part came %s after it was listed", behind.Round(time.Millisecond))
	}
	want, err := c.src.fetch(c.ctx, name, part.Range.Offset, part.Range.Length)
	if err != nil {
		return // what is listed and not there is told elsewhere
	}
	body := h.a.body
	if n := len(want.body); part.Range.Length > 0 && len(body) > n {
		body = body[:n]
	}
	if !bytes.Equal(body, want.body) {
		c.find("L14", at, "the answer to the hint has %d bytes, the part of %d bytes that is listed then is another", len(h.a.body), len(want.body))
	}
}
