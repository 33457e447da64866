package fidelity

import (
	"context"
	"path/filepath"
	"slices"

	"github.com/cleave-video/cleave/cut"
)

// mostCutOff is how many packets may end with the file.
const mostCutOff = 2

// payload compares the bytes of pictures and frames, and returns the packets of
// the source that w has. Those it has not must lie before the first key picture,
// or be the last, which ends with the file.
func (c *comparison) payload(w *written, s *track) ([]packet, bool) {
	less := len(s.packets) - len(w.packets)
	if less < 0 {
		if want, ok := c.lossy(w, s); ok {
			return want, true
		}
		c.fault("%s: %d packets, source %d", w, len(w.packets), len(s.packets))
		return nil, false
	}
	at := -1
	for tail := 0; tail <= min(less, mostCutOff); tail++ {
		front := less - tail
		want := s.packets[front : front+len(w.packets)]
		k := differs(want, w.packets)
		if k >= 0 {
			at = max(at, k)
			continue
		}
		if front > 0 && !c.beforeKey(w, s, front) {
			return nil, false
		}
		c.dropped += front
		c.cutOff += tail
		if front > 0 {
			c.note("%s: the %d packets before the first key picture are dropped, and reported", w, front)
		}
		if tail > 0 {
			c.note("%s: the last packet ends with the file; it is dropped, and reported", w)
		}
		return want, true
	}
	if want, ok := c.lossy(w, s); ok {
		return want, true
	}
	c.fault("%s: packet %d of %d differs from the source's (%d)", w, at, len(w.packets), len(s.packets))
	return nil, false
}

// lossy compares what is whole on both sides where packets of a transport stream
// were lost: each loss may touch two packets, of which FFmpeg makes what it likes.
func (c *comparison) lossy(w *written, s *track) (want []packet, ok bool) {
	const window = 64 // packets
	losses := c.told("continuity_counter errors: packets were lost")
	parts, at, left := make([][]packet, len(w.parts)), 0, 0
	for n, l := range w.parts {
		for _, p := range l {
			k := slices.IndexFunc(s.packets[at:min(at+window, len(s.packets))], func(q packet) bool { return q.sum == p.sum })
			if k < 0 {
				left++
				continue
			}
			parts[n], want = append(parts[n], p), append(want, s.packets[at+k])
			at += k + 1
		}
	}
	if losses == 0 || left > 2*losses || len(s.packets)-len(want) > 2*losses {
		return nil, false
	}
	c.note("%s: %d losses in the source; %d packets next to them are not as FFmpeg has them, the other %d are", w, losses, left, len(want))
	w.parts, w.packets = parts, slices.Concat(parts...)
	return want, true
}

// differs returns the first packet whose payload differs, or -1.
func differs(want, got []packet) int {
	for k := range want {
		if want[k].sum != got[k].sum {
			return k
		}
	}
	return -1
}

// beforeKey: packets may be missing only before the first key picture, and other
// tracks' only before that one's time.
func (c *comparison) beforeKey(w *written, s *track, front int) bool {
	if w.kind == "video" {
		for k := range front {
			if s.packets[k].key {
				c.fault("%s: packet %d is missing, a key picture", w, k)
				return false
			}
		}
		return true
	}
	for _, v := range c.source.media.video() {
		for _, p := range v.packets {
			if p.key {
				last := s.packets[front-1]
				if s.tb.Compare(last.pts, v.tb, p.pts) > 0 {
					c.fault("%s: packet %d is missing, after the first key picture", w, front-1)
					return false
				}
				return true
			}
		}
	}
	c.fault("%s: %d packets are missing at the start", w, front)
	return false
}

// pictures compares what the decoder shows. The whole output is decoded once for
// each container, and each chunk that says it is independent alone; what has the
// payload of one that was decoded is not decoded again.
func (c *comparison) pictures(ctx context.Context, w *written, s *track, dropped int) error {
	c.turned(w, s)
	d := c.source.decode(ctx, s)
	if d.err != nil {
		return d.err
	}
	if d.unsteady {
		c.note("%s: the source is damaged, and FFmpeg conceals it differently each time: only the payload is compared", w)
		return nil
	}
	if len(d.frames) == 0 {
		c.note("%s: ffmpeg decodes no picture of the source", w)
		return nil
	}
	pr := c.source.cuts[c.Container]
	if pr == nil {
		pr = &proof{payload: map[string]string{}, shown: map[string][]frame{}}
		c.source.cuts[c.Container] = pr
	}
	key := payloadKey(w)
	if was, ok := pr.payload[w.rendition.name]; ok && was == key {
		if !c.decodesAlone(w) {
			return nil
		}
		return c.firstPictures(ctx, w, s, pr)
	}
	var got []frame
	complained := false
	if c.Alone && c.decodesAlone(w) && huge(s) {
		// Of so many pictures those of the chunks, each decoded alone, must do.
		pr.payload[w.rendition.name], pr.shown[w.rendition.name] = key, d.frames
		return c.alone(ctx, w, s, d.frames, d)
	}
	for n, p := range w.rendition.parts {
		l, complaints, err := pictures(ctx, p.media, w.nth, hashOf(s)...)
		if err != nil {
			return err
		}
		got = append(got, l...)
		if complaints != "" && d.complaints == "" && !complained {
			complained = true
			c.fault("%s: the decoder complains of part %d, not of the source: %.200s", w, n, complaints)
		}
	}
	if !c.equal(w, "", d.frames, got, dropped > 0 || c.cutOff > 0) {
		return nil
	}
	pr.payload[w.rendition.name], pr.shown[w.rendition.name] = key, got
	switch {
	case !c.decodesAlone(w):
		return nil
	case c.Alone:
		return c.alone(ctx, w, s, got, d)
	}
	return c.firstPictures(ctx, w, s, pr)
}

// turned compares by how much the picture is to be turned.
func (c *comparison) turned(w *written, s *track) {
	switch {
	case s.rotation == w.rotation:
	case c.Container == cut.TS && len(c.report.Warnings) > 0:
		c.note("%s: is to be turned by %d degrees when shown; TS cannot say so, and the report does", w, -s.rotation)
	default:
		c.fault("%s: turned by %d degrees, the source by %d", w, -w.rotation, -s.rotation)
	}
}

// decodesAlone: what chunks.json says of a chunk is said of the track that decides
// cuts; of another, its playlist may say it.
func (c *comparison) decodesAlone(w *written) bool {
	lead := c.lead()
	return w.rendition.independent || w.rendition == lead.rendition && w.index == lead.index
}

// equal compares pictures; if packets of the source are missing, so may be the
// pictures that it begins or ends with.
func (c *comparison) equal(w *written, what string, want, got []frame, part bool) bool {
	a, b := sums(want), sums(got)
	if part && len(a) > len(b) {
		for front := len(a) - len(b); front >= max(len(a)-len(b)-mostCutOff, 0); front-- {
			if l := a[front : front+len(b)]; equalPrefix(l, b) == len(b) {
				return true
			}
		}
	}
	if n := equalPrefix(a, b); n < max(len(a), len(b)) {
		c.fault("%s%s: picture %d differs (of %d, source %d)", w, what, n, len(b), len(a))
		return false
	}
	for i := 1; i < len(got); i++ {
		if got[i].pts <= got[i-1].pts && want[i].pts > want[i-1].pts {
			c.fault("%s%s: picture %d is shown at %d, that before at %d", w, what, i, got[i].pts, got[i-1].pts)
			return false
		}
	}
	return true
}

// decode decodes a video track of the source, once.
func (s *Source) decode(ctx context.Context, t *track) *decoding {
	if d := s.shown[t.index]; d != nil {
		return d
	}
	d := &decoding{}
	s.shown[t.index] = d
	for n, v := range s.media.video() {
		if v.index != t.index {
			continue
		}
		d.frames, d.complaints, d.err = pictures(ctx, s.media, n, hashOf(t)...)
		for range 2 {
			if d.err != nil || d.complaints == "" || d.unsteady {
				break
			}
			again, _, err := pictures(ctx, s.media, n, hashOf(t)...)
			d.err = err
			d.unsteady = len(again) != len(d.frames) || equalPrefix(sums(again), sums(d.frames)) < len(again)
		}
	}
	return d
}

// payloadKey names all that a decoder is given: configurations and packets.
func payloadKey(w *written) string {
	var b []byte
	for n, p := range w.rendition.parts {
		if w.index < len(p.media.tracks) {
			b = append(b, p.media.tracks[w.index].extra...)
		}
		for _, q := range w.parts[n] {
			b = append(append(b, q.sum...), ' ')
		}
	}
	return string(b)
}

// alone decodes each chunk that says it is independent alone, with those that
// depend on it behind it: pictures of all are those of the whole.
func (c *comparison) alone(ctx context.Context, w *written, s *track, whole []frame, d *decoding) error {
	at := 0
	file := filepath.Join(c.dir, "alone")
	for _, p := range w.rendition.parts {
		for from := 0; from < len(p.segments); {
			to := from + 1
			for to < len(p.segments) && !c.independent(p.segments[to].name) {
				to++
			}
			m, err := c.out.alone(p, from, to, file)
			if err != nil {
				return err
			}
			got, complaints, err := pictures(ctx, m, w.nth, hashOf(s)...)
			if err != nil {
				return err
			}
			if complaints != "" && d.complaints == "" {
				c.fault("%s: the decoder complains of %s alone: %.200s", w, p.segments[from].name, complaints)
			}
			n := min(len(got), len(whole)-at)
			same := equalPrefix(sums(got), sums(whole[at:at+n]))
			switch {
			case same == len(got) && same > 0:
			case d.complaints != "" && len(got) == n && same >= n-mostCutOff && at+n >= len(whole)-mostCutOff:
				c.note("%s: the last picture ends with the file; how FFmpeg conceals that depends on what it decoded before", w)
			default:
				c.fault("%s: %s decoded alone has other pictures than the source", w, p.segments[from].name)
				return nil
			}
			at += n
			from = to
		}
	}
	if at != len(whole) {
		c.fault("%s: chunks decoded alone show %d pictures, the whole %d", w, at, len(whole))
	}
	return nil
}

// firstPictures decodes the first picture of each independent chunk alone: it is
// whole, and the one that the source shows there.
func (c *comparison) firstPictures(ctx context.Context, w *written, s *track, pr *proof) error {
	at := map[int64]string{}
	clock := func(pts int64) int64 { // in TS, ffmpeg may count on past the wrap
		if c.Container == cut.TS {
			return pts & (wrapTicks - 1)
		}
		return pts
	}
	for _, f := range pr.shown[w.rendition.name] {
		at[clock(f.pts)] = f.sum
	}
	file, shown := filepath.Join(c.dir, "first"), 0
	files := c.out.files()
	for _, p := range w.rendition.parts {
		for i := range p.segments {
			before := shown // every packet shows a picture
			shown += len(files[p.segments[i].name].packets[w.index])
			if !c.independent(p.segments[i].name) {
				continue
			}
			m, err := c.out.alone(p, i, i+1, file)
			if err != nil {
				return err
			}
			got, _, err := pictures(ctx, m, w.nth, append([]string{"-frames:v", "1"}, hashOf(s)...)...)
			if err != nil {
				return err
			}
			whole := pr.shown[w.rendition.name]
			if len(got) == 0 || at[clock(got[0].pts)] != got[0].sum && (before >= len(whole) || whole[before].sum != got[0].sum) {
				c.fault("%s: %s decoded alone begins with another picture than the source there", w, p.segments[i].name)
				return nil
			}
		}
	}
	return nil
}

// independent reports whether the chunk that a file belongs to says so.
func (c *comparison) independent(file string) bool {
	for i := range c.out.chunks {
		for _, f := range c.out.chunks[i].Files {
			if f == file {
				return c.out.chunks[i].Independent
			}
		}
	}
	return false
}
