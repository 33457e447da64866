package verify

import (
	"net/url"
	"strings"
	"time"

	"github.com/cleave-video/cleave/format/hls"
)

// checkLiveHead checks what the first version of a live playlist must have.
func (c *checker) checkLiveHead(p *playlist) {
	c.saw("A11", "A15", "A17", "H30")
	if !dated(p) {
		c.find("A11", p.at(0), "no EXT-X-PROGRAM-DATE-TIME in a live playlist")
	}
	if p.m.Type == hls.VOD {
		c.find("H30", p.at(p.line("EXT-X-PLAYLIST-TYPE")), "PLAYLIST-TYPE:VOD in a playlist without EXT-X-ENDLIST")
	}
	if n := len(p.m.Segments); n < 6 && p.m.Type == hls.Live && p.m.Sequence > 1 {
		c.find("A15", p.at(0), "%d segments in a live playlist that slides", n)
	}
	if p.line("EXT-X-DISCONTINUITY-SEQUENCE") == 0 && p.m.Type == hls.Live {
		c.find("A17", p.at(0), "no EXT-X-DISCONTINUITY-SEQUENCE in a live playlist")
	}
}

// late is what the network may add before a stream is called late.
const late = 500 * time.Millisecond

// compare checks a version against the one before it.
func (f *follow) compare(a, b *version) {
	c, x, y := f.c, a.p.m, b.p.m
	same := a.p == b.p
	grown := !same && f.compareSegments(a, b)
	f.compareTimes(a, b, grown)
	if same {
		return
	}
	c.saw("H3", "H30")
	if x.TargetDuration != y.TargetDuration {
		c.find("H3", b.p.at(b.p.line("EXT-X-TARGETDURATION")), "TARGETDURATION was %d and is %d", x.TargetDuration, y.TargetDuration)
	}
	if a.p.low() || b.p.low() || x.Control != y.Control {
		c.saw("L4")
		if x.PartTarget != y.PartTarget || x.Control != y.Control {
			c.find("L4", b.p.at(b.p.line("EXT-X-SERVER-CONTROL")), "PART-TARGET %s and %+v became %s and %+v", x.PartTarget, x.Control, y.PartTarget, y.Control)
		}
	}
	if x.Type == hls.VOD {
		c.find("H30", b.p.at(0), "a playlist of type VOD has changed")
	}
	if x.Type != y.Type {
		c.find("H30", b.p.at(b.p.line("EXT-X-PLAYLIST-TYPE")), "PLAYLIST-TYPE was %q and is %q", x.Type, y.Type)
	}
	if x.EndList {
		c.find("H23", b.p.at(0), "the playlist has changed behind EXT-X-ENDLIST")
	}
	f.compareParts(a, b)
	f.compareRanges(a, b)
	f.compareReports(b)
	f.compareDates(b)
}

// compareSegments checks that b only appends and removes in order. It reports
// whether there are new segments.
func (f *follow) compareSegments(a, b *version) bool {
	c, x, y := f.c, a.p.m, b.p.m
	c.saw("H23", "H24", "H25")
	if y.Sequence < x.Sequence {
		c.find("H24", b.p.at(b.p.line("EXT-X-MEDIA-SEQUENCE")), "MEDIA-SEQUENCE was %d and is %d", x.Sequence, y.Sequence)
		return false
	}
	aEnd, _ := edge(x)
	bEnd, _ := edge(y)
	if bEnd < aEnd {
		c.find("H23", b.p.at(0), "the last segment was %d and is %d", aEnd, bEnd)
	}
	removed := int(y.Sequence - x.Sequence)
	breaks := int64(0)
	for i := range x.Segments {
		msn := x.Sequence + x.Skipped + int64(i)
		s := &x.Segments[i]
		if msn < y.Sequence {
			if s.Discontinuity {
				breaks++
			}
			f.remove(msn, b.at)
			continue
		}
		k := int(msn - y.Sequence - y.Skipped)
		if s.URI == "" || k < 0 || k >= len(y.Segments) {
			continue
		}
		f.compareOne(b, msn, s, &y.Segments[k], a.p.keyOf(i), b.p.keyOf(k))
	}
	if x.Skipped == 0 && removed <= len(x.Segments) && y.DiscontinuitySequence != x.DiscontinuitySequence+breaks {
		c.find("H25", b.p.at(b.p.line("EXT-X-DISCONTINUITY-SEQUENCE")), "DISCONTINUITY-SEQUENCE was %d and is %d; %d EXT-X-DISCONTINUITY were removed", x.DiscontinuitySequence, y.DiscontinuitySequence, breaks)
	}
	if removed > 0 {
		f.checkRemoval(b)
	}
	if bEnd > aEnd+int64(len(y.Segments)) {
		c.note("%s: segments %d to %d were listed and removed between two reloads", f.name, aEnd+1, y.Sequence-1)
	}
	return bEnd > aEnd
}

// compareOne compares a segment that is in both versions, and the methods of its keys.
func (f *follow) compareOne(b *version, msn int64, was, is *hls.Segment, keyed, keys string) {
	if is.URI == "" {
		return
	}
	where := b.p.at(is.Line)
	f.c.saw("H16")
	switch {
	case keyed != "NONE" && keys == "NONE":
		f.c.find("H16", where, "EXT-X-KEY of segment %d, %s, was removed while the segment is listed", msn, keyed)
	case was.URI != is.URI || was.Range != is.Range:
		f.c.find("H23", where, "segment %d was %s and is %s", msn, was.URI, is.URI)
	case was.Span.Dur != is.Span.Dur:
		f.c.find("H23", where, "EXTINF of segment %d was %.6f and is %.6f", msn, seconds(was.Span.Dur), seconds(is.Span.Dur))
	case was.Discontinuity != is.Discontinuity:
		f.c.find("H23", where, "EXT-X-DISCONTINUITY of segment %d has come or gone", msn)
	case !was.ProgramDateTime.Equal(is.ProgramDateTime) && !was.ProgramDateTime.IsZero() && !is.ProgramDateTime.IsZero():
		f.c.find("H23", where, "EXT-X-PROGRAM-DATE-TIME of segment %d was %s and is %s", msn, was.ProgramDateTime.Format(time.RFC3339Nano), is.ProgramDateTime.Format(time.RFC3339Nano))
	}
}

// checkRemoval checks what is left after segments were removed.
func (f *follow) checkRemoval(b *version) {
	m := b.p.m
	f.c.saw("H26")
	if td := time.Duration(m.TargetDuration) * time.Second; b.p.duration < 3*td && m.Skipped == 0 && !m.EndList {
		f.c.find("H26", b.p.at(0), "segments were removed, and %.3f s are left: less than three target durations of %s", b.p.duration.Seconds(), td)
	}
	if m.Type != hls.Live {
		f.c.find("H30", b.p.at(b.p.line("EXT-X-PLAYLIST-TYPE")), "segments were removed from a playlist of type %s", m.Type)
	}
}

// remove notes that a segment has left the playlist. A live one must stay for its
// duration and that of the longest playlist with it from when it first appeared
// (RFC 8216bis 6.2.2); of those that were there before the watch that is not known.
func (f *follow) remove(msn int64, at time.Time) {
	r := f.seen[msn]
	if r == nil {
		return
	}
	delete(f.seen, msn)
	if r.first.IsZero() {
		return
	}
	r.removedAt, r.until, r.latest = at, r.first.Add(r.dur+r.longest), r.noticed.Add(r.dur+r.longest)
	f.removed = append(f.removed, r)
}

// checkRemoved asks for what was removed: at once, as the next version may come too
// late, and again shortly before it may be gone. What is gone while it may have been
// long enough, as nobody looked when it appeared, is a SHOULD.
func (f *follow) checkRemoved(all bool) {
	now := f.w.cfg.Now()
	var rest []*record
	for _, r := range f.removed {
		due := r.removedAt.Add(r.until.Sub(r.removedAt) * 4 / 5)
		if now.After(r.until) && (r.asked || now.After(r.latest)) || f.c.ctx.Err() != nil {
			continue
		}
		if !all && r.asked && now.Before(due) {
			rest = append(rest, r)
			continue
		}
		name, err := f.c.src.resolve(f.name, r.uri)
		if err != nil {
			continue
		}
		rule := "H27"
		if r.part {
			rule = "L11"
		}
		f.c.saw(rule)
		_, err = f.c.src.fetch(f.c.ctx, name, r.rng.Offset, 1)
		if err != nil && gone(err) {
			// A live stream is not made to the millisecond: half of what is owed may lack.
			if at := (Place{File: name, group: f.name}); f.w.cfg.Now().Before(r.until.Add(-r.dur / 2)) {
				f.c.find(rule, at, "%s was removed %s ago and is gone; it must stay for %s: %v", r.what(), now.Sub(r.removedAt).Round(time.Millisecond), r.until.Sub(r.removedAt).Round(time.Millisecond), err)
			} else {
				f.c.should(rule, at, "%s is gone %s after it was removed; it must stay for %s from when it appeared, which may be %s ago: %v",
					r.what(), now.Sub(r.removedAt).Round(time.Millisecond), r.latest.Sub(r.noticed), now.Sub(r.noticed).Round(time.Millisecond), err)
			}
			continue
		}
		if r.asked = true; now.Before(due) {
			rest = append(rest, r)
		}
	}
	f.removed = rest
}

// compareTimes checks that new segments come in time.
func (f *follow) compareTimes(a, b *version, grown bool) {
	m := b.p.m
	if m.EndList {
		return
	}
	f.c.saw("H22")
	td := time.Duration(a.p.m.TargetDuration) * time.Second
	// What came while nobody looked may have come at once: the wait does not count.
	gap := b.at.Sub(f.newest) - f.waited
	if b.blocking {
		gap = b.at.Sub(f.newest)
	}
	if gap > td*3/2+late {
		f.c.find("H22", b.p.at(0), "no new segment for %.1f s, TARGETDURATION is %s", b.at.Sub(f.newest).Seconds(), td)
		f.newest = b.at // told once for each stall
	}
	if grown {
		f.newest = b.at
	}
}

// compareParts checks what changed among the parts.
func (f *follow) compareParts(a, b *version) {
	c, x, y := f.c, a.p.m, b.p.m
	if !b.p.low() || !a.p.low() {
		return
	}
	aEnd, aPart := edge(x)
	bEnd, bPart := edge(y)
	if aEnd < bEnd || aPart < bPart {
		c.saw("L10")
		if gap := b.at.Sub(f.newPart); b.blocking && !f.newPart.IsZero() && gap > x.PartTarget*5/4+100*time.Millisecond {
			if gap > 2*x.PartTarget+late {
				c.find("L10", b.p.at(0), "no new part for %s, PART-TARGET is %s", gap.Round(time.Millisecond), x.PartTarget)
			} else {
				c.should("L10", b.p.at(0), "no new part for %s, PART-TARGET is %s", gap.Round(time.Millisecond), x.PartTarget)
			}
		}
		f.newPart = b.at
		f.arrive(Arrival{Kind: "part", Took: b.at.Sub(b.began), MSN: bEnd + 1, Dur: y.PartTarget}, b.at)
		f.compareHint(a, b, aEnd, aPart)
	}
	f.dropParts(a, b)
	c.saw("L11")
	var behind int64
	for i := len(y.Segments) - 1; i >= 0; i-- {
		s := &y.Segments[i]
		if behind > 3*y.TargetDuration*1e9 && len(s.Parts) > 0 {
			c.should("L11", b.p.at(s.Line), "parts of a segment that ends %.1f s before the end of the playlist", seconds(behind))
			break
		}
		behind += s.Span.Dur
	}
	f.compareListed(a, b)
}

// dropParts notes of each segment whose parts are listed no longer the first: it must
// stay for three target durations (RFC 8216bis 6.2.2).
func (f *follow) dropParts(a, b *version) {
	x, y := a.p.m, b.p.m
	stay := 3 * time.Duration(y.TargetDuration) * time.Second
	for i := range x.Segments {
		msn := x.Sequence + x.Skipped + int64(i)
		k := int(msn - y.Sequence - y.Skipped)
		if len(x.Segments[i].Parts) == 0 || k < 0 || k >= len(y.Segments) || len(y.Segments[k].Parts) > 0 {
			continue
		}
		p := &x.Segments[i].Parts[0]
		if p.Gap {
			continue
		}
		f.removed = append(f.removed, &record{
			msn: msn, uri: p.URI, rng: p.Range, part: true, removedAt: b.at,
			until: a.sure().Add(stay), noticed: b.at, latest: b.at.Add(stay),
		})
	}
}

// compareListed checks that parts of a segment do not change once listed.
func (f *follow) compareListed(a, b *version) {
	x, y := a.p.m, b.p.m
	for i := range x.Segments {
		k := int(x.Sequence + x.Skipped + int64(i) - y.Sequence - y.Skipped)
		if k < 0 || k >= len(y.Segments) {
			continue
		}
		was, is := x.Segments[i].Parts, y.Segments[k].Parts
		for n := range min(len(was), len(is)) {
			if was[n].URI != is[n].URI || was[n].Span.Dur != is[n].Span.Dur || was[n].Range != is[n].Range || was[n].Independent != is[n].Independent {
				f.c.find("H23", b.p.at(is[n].Line), "part %d of segment %d has changed since it was listed", n, y.Sequence+y.Skipped+int64(k))
			}
		}
	}
}

// compareHint compares the part behind a's last with a's hint.
func (f *follow) compareHint(a, b *version, msn, part int64) {
	hint := partHint(a.p.m)
	if hint == nil || hint.URI == "" {
		return
	}
	k := int(msn + 1 - b.p.m.Sequence - b.p.m.Skipped)
	n := int(part + 1)
	if k < 0 || k >= len(b.p.m.Segments) || n >= len(b.p.m.Segments[k].Parts) {
		return // the segment has ended before that part: the hint is the next one's first
	}
	f.c.saw("L14")
	switch p := b.p.m.Segments[k].Parts[n]; {
	case p.URI != hint.URI:
		f.c.should("L14", b.p.at(p.Line), "the hint said %s, the part is %s", hint.URI, p.URI)
	case p.Range.Length > 0 && p.Range.Offset != hint.Start, hint.Length > 0 && p.Range.Length != hint.Length:
		f.c.should("L14", b.p.at(p.Line), "the hint said %d bytes from byte %d on of %s, the part is %d bytes from byte %d on", hint.Length, hint.Start, hint.URI, p.Range.Length, p.Range.Offset)
	}
}

// compareReports checks that rendition reports are as fresh as the playlist: not
// behind what the other rendition itself has said before.
func (f *follow) compareReports(b *version) {
	for i := range b.p.m.Reports {
		r := &b.p.m.Reports[i]
		name, err := f.c.src.resolve(f.name, r.URI)
		if err != nil {
			continue
		}
		for _, o := range f.w.follows {
			if o == f || o.name != name {
				continue
			}
			o.mu.Lock()
			msn, part, at := o.lastMS, o.lastPt, o.lastAt
			o.mu.Unlock()
			if at.IsZero() || !at.Before(b.began) {
				continue
			}
			f.c.saw("L27")
			// LAST-MSN counts the open segment if it has a part.
			if part >= 0 {
				msn++
			}
			if r.LastMSN < msn {
				f.c.find("L27", b.p.at(r.Line), "LAST-MSN=%d of %s, which itself had %d %s before", r.LastMSN, r.URI, msn, b.began.Sub(at).Round(time.Millisecond))
			}
		}
	}
}

// compareDates checks that PROGRAM-DATE-TIME does not drift from the clock.
func (f *follow) compareDates(b *version) {
	now := latency(b)
	if now == 0 {
		return
	}
	if f.latency == 0 {
		f.latency = now
		return
	}
	f.c.saw("H12")
	td := time.Duration(b.p.m.TargetDuration) * time.Second
	if off := now - f.latency; off.Abs() > td+time.Second {
		f.c.should("H12", b.p.at(0), "the end of the playlist was %s old by its dates and is %s: PROGRAM-DATE-TIME drifts, or segments come late", f.latency.Round(time.Millisecond), now.Round(time.Millisecond))
		f.latency = now
	}
}

// checkTransport checks the URL itself.
func (c *checker) checkTransport(name string) {
	u, err := url.Parse(name)
	if err != nil {
		return
	}
	c.saw("A33")
	if u.Scheme != "https" {
		c.find("A33", Place{File: u.Scheme + "://" + u.Host}, "plain HTTP")
	}
}

// types are the media types of each form (Apple 10.4).
func typesOf(form string) []string {
	switch form {
	case "playlist":
		return []string{"application/vnd.apple.mpegurl", "audio/mpegurl"}
	case "ts":
		return []string{"video/mp2t"}
	case "mp4":
		return []string{"video/mp4", "audio/mp4", "video/iso.segment", "application/mp4"}
	case "audio":
		return []string{"audio/aac", "audio/mpeg", "audio/ac3", "audio/eac3"}
	case "vtt":
		return []string{"text/vtt"}
	}
	return nil
}

// checkAnswer checks what HTTP says of a resource.
func (c *checker) checkAnswer(name, form string, a *answer, td time.Duration) {
	if a.header == nil {
		return
	}
	at := Place{File: name, group: form}
	if types := typesOf(form); types != nil {
		c.saw("A32")
		got, _, _ := strings.Cut(strings.ToLower(a.header.Get("Content-Type")), ";")
		known := false
		for _, t := range types {
			known = known || strings.TrimSpace(got) == t
		}
		if !known {
			c.find("A32", at, "Content-Type is %q, not %s", got, strings.Join(types, " or "))
		}
	}
	if form != "playlist" {
		c.saw("A18")
		if a.url != name {
			c.find("A18", at, "redirected to %s", a.url)
		}
		return
	}
	c.saw("H31", "A31")
	if a.header.Get("X-Uncompressed") != "true" && len(a.body) > 400 {
		c.find("H31", at, "gzip was offered, the playlist of %d bytes came without", len(a.body))
		c.find("A31", at, "the playlist of %d bytes came without gzip", len(a.body))
	}
	if td == 0 {
		return
	}
	c.saw("L31")
	if age := maxAge(a.header.Get("Cache-Control")); age > td {
		c.find("L31", at, "Cache-Control: max-age of %s hides updates that come every %s", age, td)
	}
	if mod, err := time.Parse(time.RFC1123, a.header.Get("Last-Modified")); err == nil {
		date, err := time.Parse(time.RFC1123, a.header.Get("Date"))
		c.saw("A21")
		if err == nil && date.Sub(mod) > 3*td {
			c.find("A21", at, "Last-Modified is %s before Date", date.Sub(mod))
		}
	}
}

func maxAge(control string) time.Duration {
	for _, d := range strings.Split(control, ",") {
		if n, ok := strings.CutPrefix(strings.TrimSpace(strings.ToLower(d)), "max-age="); ok {
			if s, err := time.ParseDuration(n + "s"); err == nil {
				return s
			}
		}
	}
	return 0
}
