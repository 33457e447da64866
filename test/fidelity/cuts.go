package fidelity

import (
	"fmt"
	"slices"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/cut"
)

// inside are the reasons for which a chunk may end where no key picture follows.
var inside = []string{"wall", "bytes", "max_bytes", "max_duration", "max_frames", "lead"}

// cutsAreTrue: chunks.json, which users cut and seek by, says what is in the files.
func (c *comparison) cutsAreTrue() {
	files := c.out.files()
	lead := c.lead()
	keys := 0
	for i := range c.out.chunks {
		e := &c.out.chunks[i]
		keys += len(e.Keyframes)
		inFiles := 0
		var led []packet
		for _, name := range e.Files {
			f, ok := files[name]
			if !ok {
				c.fault("chunk %d: %s is in no playlist", i, name)
				continue
			}
			for _, l := range f.packets {
				inFiles += len(l)
			}
			if lead != nil && f.rendition == lead.rendition {
				led = f.packets[lead.index]
			}
			delete(files, name)
		}
		if inFiles != e.Packets {
			c.fault("chunk %d: %d packets, its files have %d", i, e.Packets, inFiles)
		}
		if i > 0 && e.Start <= c.out.chunks[i-1].Start || e.Duration <= 0 {
			c.fault("chunk %d: start %d, duration %d; the one before starts at %d", i, e.Start, e.Duration, c.out.chunks[max(i-1, 0)].Start)
		}
		if lead != nil {
			c.begins(lead, i, led)
		}
	}
	for name := range files {
		c.fault("%s is in no chunk", name)
	}
	c.promises()
	if lead != nil && c.source.Keys != nil {
		c.keys(lead, keys)
	}
}

// promises: where a playlist says that its segments are independent, each begins
// with a key picture.
func (c *comparison) promises() {
	if c.Container != cut.CMAF { // in TS, libavformat guesses
		return
	}
	files := c.out.files()
	for _, w := range c.out.tracks() {
		for _, p := range w.rendition.parts {
			for _, s := range p.segments {
				if l := files[s.name].packets[w.index]; w.rendition.independent && len(l) > 0 && !l[0].key {
					c.fault("%s: the playlist promises independent segments, %s does not begin with a key picture", w, s.name)
				}
			}
		}
	}
}

// lead is the video track that decides cuts, nil if there is none.
func (c *comparison) lead() *written {
	for _, w := range c.out.tracks() {
		if w.kind == "video" {
			return w
		}
	}
	return nil
}

// begins: chunk i begins at its start and has key pictures where it says; a chunk
// that does not begin with one was cut for a reason that allows it.
func (c *comparison) begins(lead *written, i int, led []packet) {
	e := &c.out.chunks[i]
	var num, den uint32
	if _, err := fmt.Sscanf(e.Timebase, "%d/%d", &num, &den); err != nil {
		c.fault("chunk %d: timebase %q", i, e.Timebase)
		return
	}
	place := func(t int64) int64 {
		tb := av.Timebase{Num: num, Den: den}
		return tb.Rescale(t, lead.tb) + e.Offset*int64(lead.tb.Den)/int64(lead.tb.Num)
	}
	same := func(a, b int64) bool { return a == b || c.Container == cut.TS && (a-b)%wrapTicks == 0 }
	if len(led) == 0 {
		c.fault("chunk %d has no picture", i)
		return
	}
	first := led[0].pts
	if !led[0].key { // the first decoded need not be the first shown
		for _, p := range led {
			first = min(first, p.pts)
		}
	}
	if !same(first, place(e.Start)) {
		c.fault("chunk %d: starts at %d, its first picture is at %d", i, place(e.Start), first)
	}
	var at []int64
	for _, p := range led {
		if p.key {
			at = append(at, p.pts)
		}
	}
	if c.Container == cut.CMAF { // in TS, libavformat guesses
		want := make([]int64, len(e.Keyframes))
		for k := range e.Keyframes {
			want[k] = place(e.Keyframes[k])
		}
		if !slices.Equal(at, want) {
			c.fault("chunk %d: key pictures at %v, the file has them at %v", i, want, at)
		}
	}
	for _, k := range e.Keyframes {
		if !slices.ContainsFunc(led, func(p packet) bool { return same(p.pts, place(k)) }) {
			c.fault("chunk %d: no picture at %d, which should be a key picture", i, place(k))
		}
	}
	switch {
	case len(e.Keyframes) > 0 && e.Keyframes[0] == e.Start:
	case e.Independent:
		c.fault("chunk %d is independent and does not begin with a key picture", i)
	case i == 0 || !slices.Contains(inside, c.out.chunks[i-1].Reason):
		c.fault("chunk %d does not begin with a key picture, and does not say why: %q", i, c.out.chunks[max(i-1, 0)].Reason)
	}
}

// keys: the key pictures are those that the bitstream has.
func (c *comparison) keys(lead *written, count int) {
	want := c.source.Keys
	if count != len(want) {
		c.fault("%d key pictures in chunks.json, the bitstream has %d", count, len(want))
		return
	}
	if c.Container != cut.CMAF {
		return
	}
	var got []int
	first := max(want[0]-firstKey(lead.packets), 0) // packets before the first key picture are not there
	for k, p := range lead.packets {
		if p.key {
			got = append(got, k+first)
		}
	}
	if !slices.Equal(got, want) {
		c.fault("key pictures at packets %v, the bitstream has them at %v", got, want)
	}
}

func firstKey(l []packet) int {
	return slices.IndexFunc(l, func(p packet) bool { return p.key })
}

// content is what a file of the output has.
type content struct {
	rendition *rendition
	packets   map[int][]packet // by stream
}

// files assigns the packets of the joined parts to the files that they lie in.
func (o *output) files() map[string]content {
	l := map[string]content{}
	for _, r := range o.renditions {
		for _, p := range r.parts {
			for _, s := range p.segments {
				l[s.name] = content{r, map[int][]packet{}}
			}
			for i := range p.media.tracks {
				at := 0
				for _, q := range p.media.tracks[i].packets {
					for at+1 < len(p.segments) && q.pos >= p.segments[at].end {
						at++
					}
					m := l[p.segments[at].name].packets
					m[i] = append(m[i], q)
				}
			}
		}
	}
	return l
}
