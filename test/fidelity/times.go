package fidelity

import (
	"context"
	"fmt"
	"math"
	"os/exec"
	"regexp"
	"strconv"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/cut"
)

// residue is got minus want, exact: in units of 1/(got.Den*want.Den) seconds.
type residue struct {
	w, g       av.Timebase
	least, top int64
	n          int
}

func newResidue(w, g av.Timebase) *residue {
	return &residue{w: w, g: g, least: math.MaxInt64, top: math.MinInt64}
}

func (r *residue) add(want, got int64) {
	if want == unknown || got == unknown {
		return
	}
	d := got*int64(r.g.Num)*int64(r.w.Den) - want*int64(r.w.Num)*int64(r.g.Den)
	r.least, r.top = min(r.least, d), max(r.top, d)
	r.n++
}

// constant reports whether one offset explains all: in one timebase none may
// differ, from one to the other each is rounded once.
func (r *residue) constant() bool { return r.n == 0 || r.top-r.least < r.tick() }

func (r *residue) tick() int64   { return int64(r.g.Num) * int64(r.w.Den) }
func (r *residue) second() int64 { return int64(r.g.Den) * int64(r.w.Den) }

// whole returns the offset less shift ticks of the source as whole seconds; ok is
// false if it is none. Clocks of transport streams are known modulo 2^33: near is
// what the seconds are about, if they wrap.
func (r *residue) whole(shift, near int64, wraps bool) (seconds int64, ok bool) {
	d := r.least + (r.top-r.least)/2 - shift*int64(r.w.Num)*int64(r.g.Den)
	turns := []int64{0}
	if wraps {
		turn := float64(wrapTicks) / 90000
		n := int64(math.Round((float64(near) - float64(d)/float64(r.second())) / turn))
		turns = []int64{0, n, 1, -1}
	}
	for _, k := range turns {
		x := d + k*(wrapTicks*(r.second()/90000))
		seconds = int64(math.Round(float64(x) / float64(r.second())))
		if off := x - seconds*r.second(); off < r.tick() && off > -r.tick() {
			return seconds, true
		}
	}
	return 0, false
}

// wraps reports whether times are of 33 bits on one side.
func (c *comparison) wraps() bool { return c.source.media.ts() || c.Container == cut.TS }

// times: every PTS and DTS is the source's plus one offset, in whole seconds and
// the same for all tracks, as long as the timeline goes on.
func (c *comparison) times(ctx context.Context, w *written, s *track, want []packet) error {
	c.order(w)
	n := len(s.packets) - len(want)
	if ok, _ := c.offsets(ctx, w, s, want, false); ok {
		return nil
	}
	m, err := c.source.asWritten(ctx)
	if err != nil {
		return err
	}
	l := m.tracks[s.index].packets
	if len(l) != len(s.packets) {
		c.fault("%s: times differ from those that ffprobe fills in", w)
		return nil
	}
	front := 0
	for front < n && differs(s.packets[front:front+len(want)], want) >= 0 {
		front++
	}
	l = append([]packet(nil), l[front:front+len(want)]...)
	bad := rising(l)
	if bad >= 0 {
		for k := range l {
			l[k].dts = unknown
		}
	}
	if ok, why := c.offsets(ctx, w, s, l, true); !ok {
		c.fault("%s: %s", w, why)
		return nil
	}
	if bad >= 0 {
		c.note("%s: the source's DTS do not rise or are later than its PTS (first at packet %d); all are derived, the PTS are kept", w, bad)
		return nil
	}
	c.note("%s: the source has no time for %d of its packets; theirs are derived, and not where FFmpeg's are (at most %d us apart)", w, lacking(l), c.apart(w, s, want))
	return nil
}

func lacking(l []packet) (n int) {
	for k := range l {
		if l[k].pts == unknown {
			n++
		}
	}
	return n
}

// apart returns how far the output's times are from what ffprobe fills in, in
// microseconds, once the offset is taken off.
func (c *comparison) apart(w *written, s *track, want []packet) int64 {
	r := newResidue(s.tb, w.tb)
	for k := range w.packets {
		r.add(want[k].pts, w.packets[k].pts)
	}
	return int64(float64(r.top-r.least) / float64(r.second()) * 1e6)
}

// rising returns the first packet whose DTS does not rise, or is later than its
// PTS, or -1.
func rising(l []packet) int {
	last := unknown
	for k := range l {
		if l[k].dts == unknown {
			continue
		}
		if last != unknown && l[k].dts <= last || l[k].pts != unknown && l[k].dts > l[k].pts {
			return k
		}
		last = l[k].dts
	}
	return -1
}

// order: the output's own times are in order, whatever the source's are.
func (c *comparison) order(w *written) {
	if w.data() {
		return
	}
	for n, l := range w.parts {
		if k := rising(l); k >= 0 {
			c.fault("%s: part %d, packet %d: DTS %d, PTS %d, and DTS must rise up to PTS", w, n, k, l[k].dts, l[k].pts)
			return
		}
	}
}

// offsets compares part by part.
func (c *comparison) offsets(ctx context.Context, w *written, s *track, want []packet, quiet bool) (ok bool, why string) {
	shift, known := c.source.edit(ctx, s)
	at, lacks := 0, 0
	var begun *int64 // seconds of the timeline that began early, in the part before
	for n, l := range w.parts {
		if len(l) == 0 {
			continue
		}
		var early *int64
		lacks += lacking(want[at : at+len(l)])
		r, k := residues(s.tb, w, want[at:at+len(l)], l)
		if k >= 0 && w != c.lead() && len(l)-k <= mostEarly && n+1 < len(w.parts) {
			// The first of a new timeline may be heard before its first picture is shown.
			r, _ = residues(s.tb, w, want[at:at+k], l[:k])
			rest, bad := residues(s.tb, w, want[at+k:at+len(l)], l[k:])
			if seconds, ok := rest.whole(shift, c.out.chunks[0].Offset, c.wraps()); bad < 0 && ok && known {
				if why := c.timeline(w, s.tb, want, n+1, at+k, seconds, c.before(n)); why != "" {
					return false, why
				}
				k, early = -1, &seconds
			}
		}
		if k >= 0 {
			return false, fmt.Sprintf("part %d, packet %d of %d: PTS %d DTS %d became %d %d", n, k, len(l), want[at+k].pts, want[at+k].dts, l[k].pts, l[k].dts)
		}
		if r.n > 0 && known {
			seconds, ok := c.moved(ctx, w, s, r, shift)
			if !ok {
				return false, fmt.Sprintf("part %d: the offset from the source's times is no whole number of seconds: %d/%d", n, r.least, r.second())
			}
			if begun == nil || *begun != seconds {
				if why := c.timeline(w, s.tb, want, n, at, seconds, c.before(n-1)); why != "" {
					return false, why
				}
			}
		}
		at, begun = at+len(l), early
	}
	if lacks > 0 && !quiet {
		c.note("%s: the source has no time for %d of its packets; theirs are derived", w, lacks)
	}
	return true, ""
}

// box compares with what the edit list itself says: where it begins between two
// pictures, FFmpeg begins with the next one instead.
func (c *comparison) box(ctx context.Context, w *written, s *track, r *residue, shift int64) (int64, bool) {
	own, ok := c.source.editBox(ctx, s)
	if !ok || own == shift {
		return 0, false
	}
	seconds, ok := r.whole(own, c.out.chunks[0].Offset, c.wraps())
	if ok {
		c.note("%s: the edit list begins between two pictures; FFmpeg shifts it to the next, by %d ticks of 1/%d", w, own-shift, s.tb.Den)
	}
	return seconds, ok
}

// mostEarly is how many packets of audio or data may belong to the chunk before
// the picture with which their timeline begins.
const mostEarly = 8

// moved returns the seconds that a residue is, by what ffprobe makes of the edit list or by
// what its box says.
func (c *comparison) moved(ctx context.Context, w *written, s *track, r *residue, shift int64) (int64, bool) {
	if seconds, ok := r.whole(shift, c.out.chunks[0].Offset, c.wraps()); ok {
		return seconds, true
	}
	return c.box(ctx, w, s, r, shift)
}

// residues compares a run of packets; k is the first whose offset is another than
// that of those before, or -1.
func residues(tb av.Timebase, w *written, want, got []packet) (r *residue, k int) {
	r, k = newResidue(tb, w.tb), -1
	for i := range got {
		r.add(want[i].pts, got[i].pts)
		if !w.data() { // they come when they like: only PTS have a meaning
			r.add(want[i].dts, got[i].dts)
		}
		if k < 0 && !r.constant() {
			k = i
		}
	}
	return r, k
}

// Beyond these a step of the source's clock is a jump: see timeline.Options.
const (
	jumpForward = 10 // seconds
	jumpBack    = 1
)

// timeline: all tracks have one offset, and it changes only where the source's
// own clock jumps.
func (c *comparison) timeline(w *written, tb av.Timebase, want []packet, n, at int, seconds int64, before *int64) string {
	if other, ok := c.seconds[n]; ok && other != seconds && len(w.rendition.parts) == len(c.out.renditions[0].parts) {
		return fmt.Sprintf("part %d: %d s are added to its times, %d s to those of another track", n, seconds, other)
	}
	c.seconds[n] = seconds
	if before == nil || *before == seconds || at == 0 {
		return ""
	}
	step := tb.Duration(want[at].dts - want[at-1].dts).Seconds()
	if step < jumpForward && step > -jumpBack {
		return fmt.Sprintf("part %d: the offset changes by %d s where the source's clock goes on by %.3f s", n, seconds-*before, step)
	}
	c.note("the source's clock jumps by %.3f s at packet %d of %s: a new timeline there, marked as discontinuity", step, at, w)
	return ""
}

// before returns the seconds of part n, nil if they are not known.
func (c *comparison) before(n int) *int64 {
	if s, ok := c.seconds[n]; ok {
		return &s
	}
	return nil
}

// asWritten reads the source again without what FFmpeg fills in.
func (s *Source) asWritten(ctx context.Context) (*media, error) {
	if s.written != nil {
		return s.written, nil
	}
	m, err := packets(ctx, media{file: s.File, format: s.media.format}, asWritten...)
	s.written = m
	return m, err
}

// edit returns by how many ticks the file's edit list moves a track; ok is false
// if no packet shows it.
func (s *Source) edit(ctx context.Context, t *track) (shift int64, ok bool) {
	if !s.media.mp4() {
		return 0, true
	}
	if p, done := s.shift[t.index]; done {
		if p == nil {
			return 0, false
		}
		return *p, true
	}
	if s.edited == nil {
		m, err := packets(ctx, media{file: s.File, format: s.media.format}, withEdits...)
		if err != nil {
			return 0, false
		}
		s.edited = m
	}
	s.shift[t.index] = nil
	at := map[int64]int64{}
	for _, p := range s.edited.tracks[t.index].packets {
		at[p.pos] = p.pts
	}
	for _, p := range t.packets {
		if pts, ok := at[p.pos]; ok && pts != unknown {
			d := pts - p.pts
			s.shift[t.index] = &d
			return d, true
		}
	}
	return 0, false
}

var editLine = regexp.MustCompile(`Processing st: (\d+), edit list \d+ - media time: (-?\d+), duration: (\d+)`)

// editBox returns by how many ticks the edit list box moves a track: by its empty
// edits, less where its first edit begins.
func (s *Source) editBox(ctx context.Context, t *track) (shift int64, ok bool) {
	b, err := exec.CommandContext(ctx, "ffprobe", "-v", "debug", s.File).CombinedOutput()
	if err != nil {
		return 0, false
	}
	for _, m := range editLine.FindAllStringSubmatch(string(b), -1) {
		at, err1 := strconv.ParseInt(m[2], 10, 64)
		dur, err2 := strconv.ParseInt(m[3], 10, 64)
		if m[1] != strconv.Itoa(t.index) || err1 != nil || err2 != nil {
			continue
		}
		if at >= 0 {
			return shift - at, true
		}
		shift += dur
	}
	return 0, false
}
