package verify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/cleave-video/cleave/format/hls"
)

// ask fetches the playlist with delivery directives, waiting at most limit. The
// status is 0 if there was no answer in time.
func (f *follow) ask(query string, limit time.Duration) (p *hls.Media, a *answer, status int) {
	ctx, cancel := context.WithTimeout(f.c.ctx, limit)
	defer cancel()
	a, err := f.c.src.fetch(ctx, withQuery(f.name, query), 0, 0)
	if a == nil || err != nil && !errors.Is(err, errStatus) {
		return nil, a, 0
	}
	if a.status != http.StatusOK {
		return nil, a, a.status
	}
	r := reader(func(*hls.LineError) {})
	r.Import, r.Query = f.vars, f.c.query
	p, err = r.Media(a.body)
	if err != nil {
		return nil, a, a.status
	}
	return p, a, a.status
}

// probe asks what players ask seldom: each once.
func (f *follow) probe(v *version) {
	c, m := f.c, v.p.m
	at := Place{File: f.name, group: f.name}
	td := time.Duration(m.TargetDuration) * time.Second
	end, _ := edge(m)
	c.saw("L20", "L21", "L22")
	if _, _, status := f.ask("_HLS_part=0", 2*time.Second); status != http.StatusBadRequest && c.ctx.Err() == nil {
		c.find("L20", at, "_HLS_part=0 alone is answered by %s, not by 400", statusText(status))
	}
	began := f.w.cfg.Now()
	if _, _, status := f.ask(fmt.Sprintf("_HLS_msn=%d", end+20), 2*time.Second); status != http.StatusBadRequest && c.ctx.Err() == nil {
		c.find("L21", at, "_HLS_msn=%d, 20 ahead of the last segment, is answered by %s, not by 400 at once", end+20, statusText(status))
	} else if took := f.w.cfg.Now().Sub(began); took > time.Second {
		c.find("L21", at, "_HLS_msn=%d, 20 ahead, was answered after %s, not at once", end+20, took.Round(time.Millisecond))
	}
	if m.PartTarget > 0 {
		f.probeAhead(at)
	}
	if old := m.Sequence - 5; old >= 0 {
		p, _, status := f.ask(fmt.Sprintf("_HLS_msn=%d", old), 2*time.Second)
		if p == nil && c.ctx.Err() == nil {
			c.find("L22", at, "_HLS_msn=%d, which was removed, is answered by %s, not by the playlist", old, statusText(status))
		}
	}
	f.probeUnknown(v)
	if p, _, _ := f.ask("", td); p != nil { // those that were not refused took their time
		end, _ = edge(p)
	}
	f.probeWaits(end, td, v.p.low())
	f.probeSkip(td)
	f.probeHint(td)
}

// probeAhead asks for a part that is farther ahead than the Advance Part Limit
// (RFC 8216bis 6.2.5.2) of the last one there is, or will be meanwhile.
func (f *follow) probeAhead(at Place) {
	p, _, _ := f.ask("", 2*time.Second)
	if p == nil || p.PartTarget <= 0 {
		return
	}
	end, part := edge(p)
	limit := max(int64(3*time.Second/p.PartTarget), 3)
	query := fmt.Sprintf("_HLS_msn=%d&_HLS_part=%d", end+1, part+2*limit+10)
	if _, _, status := f.ask(query, 2*time.Second); status != http.StatusBadRequest && f.c.ctx.Err() == nil {
		f.c.find("L21", at, "%s, %d parts ahead, is answered by %s, not by 400 at once", query, 2*limit+10, statusText(status))
	}
}

func statusText(status int) string {
	if status == 0 {
		return "nothing within two seconds"
	}
	return fmt.Sprint(status)
}

// probeUnknown asks for a segment that was never listed.
func (f *follow) probeUnknown(v *version) {
	for i := range v.p.m.Segments {
		s := &v.p.m.Segments[i]
		if s.URI == "" {
			continue
		}
		name, err := f.c.src.resolve(f.name, "no-such-segment-"+s.URI)
		if err != nil {
			return
		}
		ctx, cancel := context.WithTimeout(f.c.ctx, 2*time.Second)
		defer cancel()
		a, _ := f.c.src.fetch(ctx, name, 0, 0)
		f.c.saw("L15")
		status := 0
		if a != nil {
			status = a.status
		}
		if status != http.StatusNotFound && f.c.ctx.Err() == nil {
			f.c.find("L15", Place{File: name, group: f.name}, "a segment that was never listed is answered by %s, not by 404", statusText(status))
		}
		return
	}
}

// probeSkip compares a delta update with the whole playlist.
func (f *follow) probeSkip(td time.Duration) {
	whole, _, _ := f.ask("", td)
	if whole == nil || whole.Control.CanSkipUntil == 0 {
		return
	}
	delta, _, status := f.ask("_HLS_skip=YES", td)
	if f.c.ctx.Err() != nil {
		return
	}
	f.c.saw("L25")
	at := Place{File: f.name, group: f.name}
	if delta == nil {
		f.c.find("L25", at, "_HLS_skip=YES is answered by %s", statusText(status))
		return
	}
	f.compareDelta(at, whole, delta)
	if whole.Control.CanSkipDateRanges {
		f.probeSkipDates(at, td)
	}
}

// probeSkipDates asks for a delta update that may leave date ranges out. Those that
// it calls removed must not be in it, nor in a whole playlist that is asked for after
// it: what is removed between the two is no contradiction.
func (f *follow) probeSkipDates(at Place, td time.Duration) {
	delta, _, status := f.ask("_HLS_skip=v2", td)
	whole, _, _ := f.ask("", td)
	if whole == nil || f.c.ctx.Err() != nil {
		return
	}
	f.c.saw("L26")
	if delta == nil {
		f.c.find("L26", at, "CAN-SKIP-DATERANGES, and _HLS_skip=v2 is answered by %s", statusText(status))
		return
	}
	if delta.Skipped == 0 {
		return // it may be sent whole
	}
	there := map[string]bool{}
	for _, m := range []*hls.Media{whole, delta} {
		for i := range m.Dates {
			there[m.Dates[i].ID] = true
		}
	}
	for _, id := range delta.Removed {
		if there[id] {
			f.c.find("L26", at, "date range %q is in RECENTLY-REMOVED-DATERANGES and in the playlist", id)
		}
	}
}

// compareDelta checks that a delta update says what the whole playlist, fetched
// just before, said of the segments that are in both.
func (f *follow) compareDelta(at Place, whole, delta *hls.Media) {
	c := f.c
	if delta.Sequence < whole.Sequence || delta.DiscontinuitySequence < whole.DiscontinuitySequence || delta.TargetDuration != whole.TargetDuration {
		c.find("L25", at, "the delta update says MEDIA-SEQUENCE %d, DISCONTINUITY-SEQUENCE %d, TARGETDURATION %d; the playlist before %d, %d, %d",
			delta.Sequence, delta.DiscontinuitySequence, delta.TargetDuration, whole.Sequence, whole.DiscontinuitySequence, whole.TargetDuration)
	}
	if delta.Skipped == 0 {
		return // it may be sent whole
	}
	// How far the first segment that is there lies from the end.
	var behind time.Duration
	for i := range delta.Segments {
		behind += time.Duration(delta.Segments[i].Span.Dur)
	}
	// The last one that is left out may be meant by where it begins.
	last := time.Duration(whole.TargetDuration) * time.Second
	if k := int(delta.Sequence + delta.Skipped - 1 - whole.Sequence); k >= 0 && k < len(whole.Segments) {
		last = time.Duration(whole.Segments[k].Span.Dur)
	}
	if until := delta.Control.CanSkipUntil; behind < until {
		tell := c.find
		if behind+last >= until {
			tell = c.should
		}
		tell("L25", at, "SKIPPED-SEGMENTS=%d leaves %.3f s, CAN-SKIP-UNTIL is %s: later segments are left out, too", delta.Skipped, behind.Seconds(), until)
	}
	for i := range delta.Segments {
		k := int(delta.Sequence + delta.Skipped + int64(i) - whole.Sequence)
		if k < 0 || k >= len(whole.Segments) || delta.Segments[i].URI == "" || whole.Segments[k].URI == "" {
			continue
		}
		a, b := &whole.Segments[k], &delta.Segments[i]
		if a.URI != b.URI || a.Span.Dur != b.Span.Dur || a.Discontinuity != b.Discontinuity {
			c.find("L25", at, "segment %d is %s of %.6f s in the delta update, %s of %.6f s in the playlist", delta.Sequence+delta.Skipped+int64(i), b.URI, seconds(b.Span.Dur), a.URI, seconds(a.Span.Dur))
			return
		}
	}
}

// probeEnded checks that directives are ignored once the stream has ended.
func (f *follow) probeEnded() {
	if f.last == nil || !f.last.p.m.Control.CanBlockReload {
		return
	}
	end, _ := edge(f.last.p.m)
	p, _, status := f.ask(fmt.Sprintf("_HLS_msn=%d", end+1), 2*time.Second)
	if f.c.ctx.Err() != nil {
		return
	}
	f.c.saw("L24")
	if p == nil {
		f.c.find("L24", Place{File: f.name, group: f.name}, "the stream has ended, and _HLS_msn=%d is answered by %s", end+1, statusText(status))
	}
}
