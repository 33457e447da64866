package probe

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/cleave-video/cleave/internal/plain"
)

// frames draws the sizes of the lead's frames over the time they are shown at.
func (d *drawing) frames() {
	var n [kinds]int
	for i := range d.p.series.b {
		for k := range kinds {
			n[k] += int(d.p.series.b[i].n[k])
		}
	}
	var legend []entry
	for _, k := range [...]kind{kindKey, kindI, kindP, kindB, kindDisposable, kindUnknown, kindAudio, kindEarly} {
		if n[k] > 0 {
			legend = append(legend, entry{fmt.Sprintf("k%d", k), fmt.Sprintf("%s (%d)", k, n[k])})
		}
	}
	remarks := []string{"when shown"}
	sums := d.p.series.coarser(max(d.columnTime(), d.gopTime(1, 120)))
	if d.p.many {
		remarks = []string{"mean in " + seconds(sums.width), "line: the largest"}
	}
	b := d.panel(178, "Frame sizes", append(remarks, "√ scale"), legend)
	largest := int32(1)
	for i := range d.p.series.b {
		_, _, m := d.p.series.b[i].lead()
		largest = max(largest, m)
	}
	height := func(v float64) px { return (b.h - 6) * px(math.Sqrt(v/float64(largest))) }
	last := b.y - 100
	for _, v := range roundSizes(float64(largest)) {
		if y := b.y + b.h - height(v); y-last > 26 && b.y+b.h-y > 16 {
			d.scale(b, y, plain.Bytes(int64(v)))
			last = y
		}
	}
	if d.p.many {
		d.summed(&sums, b, height)
	} else {
		d.each(b, height)
	}
	d.line(b.x, b.y+b.h, b.x+b.w, b.y+b.h, "base")
	d.breaks(b, true)
}

// each draws the frames one by one, in the order they are shown.
func (d *drawing) each(b box, height func(float64) px) {
	shown := slices.Clone(d.p.frames)
	slices.SortStableFunc(shown, func(x, y frame) int { return cmp.Compare(x.pts, y.pts) })
	var dists []time.Duration
	for i := 1; i < len(shown); i++ {
		dists = append(dists, shown[i].pts-shown[i-1].pts)
	}
	usual := time.Duration(0)
	if slices.Sort(dists); len(dists) > 0 {
		usual = dists[len(dists)/2]
	}
	for i, f := range shown {
		until := f.pts + max(f.dur, usual)
		if i+1 < len(shown) {
			until = min(max(shown[i+1].pts, f.pts), f.pts+2*max(f.dur, usual)) // a gap is no frame
		}
		x0, x1 := d.x(f.pts.Seconds()), d.x(until.Seconds())
		w := max(x1-x0-min(1, (x1-x0)*0.15), 0.6)
		h := max(height(float64(f.size)), 0.5)
		d.rect(box{x0, b.y + b.h - h, w, h}, fmt.Sprintf("f k%d", f.kind), fmt.Sprintf("frame %d, decoded as number %d: %s, %s, shown at %.3f s, decoded at %.3f s",
			i, f.n, f.kind, plain.Bytes(int64(f.size)), f.pts.Seconds(), f.dts.Seconds()))
	}
}

// summed draws the mean size of each kind in each bucket, and the largest frame as a line.
func (d *drawing) summed(s *series, b box, height func(float64) px) {
	var areas [kinds]steps
	peak := steps{}
	for k := range areas {
		areas[k] = steps{base: b.y + b.h, area: true}
	}
	at := func(i int) (px, px) {
		t := time.Duration(s.first+int64(i)) * s.width
		return d.x(t.Seconds()), d.x((t + s.width).Seconds())
	}
	for i := range s.b {
		x0, x1 := at(i)
		k := &s.b[i]
		for kind := range kindOther {
			if k.n[kind] > 0 {
				areas[kind].add(x0, x1, b.y+b.h-height(float64(k.bytes[kind])/float64(k.n[kind])))
			}
		}
		if n, _, most := k.lead(); n > 0 {
			peak.add(x0, x1, b.y+b.h-height(float64(most)))
		}
	}
	for kind := range kindOther {
		d.path(areas[kind].String(), fmt.Sprintf("k%d a%d", kind, kind))
	}
	d.path(peak.String(), "peak")
	for i := range s.b {
		n, bytes, most := s.b[i].lead()
		if x0, x1 := at(i); n > 0 && x1 > x0 {
			t := time.Duration(s.first+int64(i)) * s.width
			d.rect(box{x0, b.y, x1 - x0, b.h}, "hit", fmt.Sprintf("from %s: %s, %s, the largest %s", short(t.Seconds()), plain.Count(n, "frame"), plain.Bytes(bytes), plain.Bytes(int64(most))))
		}
	}
}

// columnTime is how long a column lasts that is wide enough to be seen.
func (d *drawing) columnTime() time.Duration {
	return time.Duration((d.to - d.from) * columnWidth / plot * float64(time.Second))
}

// gopTime is how long n GOPs last on average: what is summed up over less shows
// where key frames lie, not how the stream changes. It leaves that many columns.
func (d *drawing) gopTime(n, columns float64) time.Duration {
	gops := float64(max(len(d.r.GOPs), 1))
	return time.Duration((d.to - d.from) * min(n/gops, 1/columns) * float64(time.Second))
}

// minRateWidth is the shortest time a bit rate is given for; less shows frames.
const minRateWidth = 320 * time.Millisecond

// sliver is the share of that below which a time says nothing.
const sliver = 0.25

// rates draws the bit rate of the lead and of all tracks.
func (d *drawing) rates() {
	s := d.p.series.coarser(max(minRateWidth, d.columnTime(), d.gopTime(2, 24)))
	if len(s.b) == 0 || d.to-d.from < sliver*s.width.Seconds() { // a frame or two have no rate
		return
	}
	most, sum, others := 1.0, 0.0, false
	for i := range s.b {
		_, lead, _ := s.b[i].lead()
		all := lead + s.b[i].bytes[kindOther]
		others = others || s.b[i].n[kindOther] > 0
		most, sum = max(most, d.rate(&s, i, all)), sum+float64(all)
	}
	mean := sum * 8 / (d.to - d.from)
	name := "video"
	if d.p.audio {
		name = "audio"
	}
	legend := []entry{{"lead", name}}
	if others {
		legend = append(legend, entry{"k8", "all tracks"})
	}
	b := d.panel(84, "Bit rate", []string{"over " + seconds(s.width), "mean " + bitrate(mean)}, legend)
	height := func(v float64) px { return (b.h - 6) * px(v/most) }
	for i, v := range roundValues(most) {
		if i == 0 || i == 1 && b.h/2 > height(v) && height(v) > 20 {
			d.scale(b, b.y+b.h-height(v), bitrate(v))
		}
	}
	area, line, all := steps{base: b.y + b.h, area: true}, steps{}, steps{}
	for i := range s.b {
		t := time.Duration(s.first+int64(i)) * s.width
		x0, x1 := d.x(t.Seconds()), d.x((t + s.width).Seconds())
		_, lead, _ := s.b[i].lead()
		y := b.y + b.h - height(d.rate(&s, i, lead))
		area.add(x0, x1, y)
		line.add(x0, x1, y)
		all.add(x0, x1, b.y+b.h-height(d.rate(&s, i, lead+s.b[i].bytes[kindOther])))
	}
	d.path(area.String(), "lead")
	d.path(line.String(), "leadl")
	if others {
		d.path(all.String(), "all")
	}
	d.line(b.x, b.y+b.h-height(mean), b.x+b.w, b.y+b.h-height(mean), "mean")
	d.breaks(b, false)
}

// rate is the bit rate of bytes in bucket i, of which only what lies on the axis
// counts.
func (d *drawing) rate(s *series, i int, bytes int64) float64 {
	t := time.Duration(s.first+int64(i)) * s.width
	w := min((t+s.width).Seconds(), d.to) - max(t.Seconds(), d.from)
	if w < sliver*s.width.Seconds() { // at either end
		w = s.width.Seconds()
	}
	return float64(bytes) * 8 / w
}
