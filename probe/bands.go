package probe

import (
	"fmt"
	"math"

	"github.com/cleave-video/cleave/internal/plain"
)

// stretch is a GOP or a chunk on the time axis.
type stretch struct {
	from, to float64
	class    int // index into the band's classes
}

// look is how a band shows the classes of its stretches.
type look struct {
	each  [][2]string // classes of neighbours, in turn
	mean  []string
	most  []string
	names []string
}

// maxBoxes is how many stretches are drawn one by one.
const maxBoxes = 300

// columnWidth is that of a column of a band that sums up.
const columnWidth = 3

// bars draws stretches into b. Few are drawn one by one; many as columns that show
// the mean and the longest of those that lie there. The height is the length in
// proportion to longest, or all of b if flat and one by one.
func (d *drawing) bars(b box, list []stretch, longest float64, flat bool, l look, tip func(i int) string) {
	if len(list) > maxBoxes {
		d.columns(b, list, longest, l)
		return
	}
	for i, s := range list {
		x0, x1 := d.x(s.from), d.x(s.to)
		h := b.h
		if !flat {
			h = max(b.h*px((s.to-s.from)/longest), 1)
		}
		class := l.each[s.class][i%2]
		d.rect(box{x0, b.y + b.h - h, max(x1-x0-min(1.2, (x1-x0)*0.2), 0.6), h}, "q "+class, tip(i))
	}
}

// column sums up the stretches that touch it.
type column struct {
	n, sum, most float64
	class        [3]int
}

func (d *drawing) columns(b box, list []stretch, longest float64, l look) {
	cols := make([]column, plot/columnWidth+1)
	for _, s := range list {
		first, last := int((d.x(s.from)-left)/columnWidth), int((d.x(s.to)-left-0.01)/columnWidth)
		for i := max(first, 0); i <= min(max(first, last), len(cols)-1); i++ {
			c := &cols[i]
			c.n++
			c.sum += s.to - s.from
			c.most = max(c.most, s.to-s.from)
			c.class[s.class]++
		}
	}
	mean, most := make([]steps, len(l.mean)), make([]steps, len(l.mean))
	for k := range mean {
		mean[k], most[k] = steps{base: b.y + b.h, area: true}, steps{base: b.y + b.h, area: true}
	}
	for i, c := range cols {
		x0 := px(left + i*columnWidth)
		below := 0.0 // the classes stand on each other, each with its share
		for k := range mean {
			if c.class[k] == 0 {
				continue
			}
			below += float64(c.class[k]) / c.n
			mean[k].add(x0, min(x0+columnWidth, right), b.y+b.h-b.h*px(min(c.sum/c.n*below/longest, 1)))
			most[k].add(x0, min(x0+columnWidth, right), b.y+b.h-b.h*px(min(c.most*below/longest, 1)))
		}
	}
	for k := len(mean) - 1; k >= 0; k-- {
		d.path(most[k].String(), l.most[k])
	}
	for k := len(mean) - 1; k >= 0; k-- {
		d.path(mean[k].String(), l.mean[k])
	}
	for i, c := range cols {
		if c.n == 0 {
			continue
		}
		tip := fmt.Sprintf("about %s: ", short(d.from+(d.to-d.from)*float64(i*columnWidth)/plot))
		for k, n := range c.class {
			if n > 0 {
				tip += fmt.Sprintf("%d %s, ", n, l.names[k])
			}
		}
		x0 := px(left + i*columnWidth)
		d.rect(box{x0, b.y, min(columnWidth, right-x0), b.h}, "hit", tip+fmt.Sprintf("mean %s, longest %s", short(c.sum/c.n), short(c.most)))
	}
}

// gops draws the length and class of each GOP.
func (d *drawing) gops() {
	if len(d.r.GOPs) == 0 {
		return
	}
	l := look{
		each: [][2]string{{"g0", "g0"}, {"g1", "g1"}, {"g2", "g2"}}, mean: []string{"g0", "g1", "g2"},
		most: []string{"g0x", "g1x", "g2x"}, names: []string{closedGOP, openGOP, gradualGOP},
	}
	var list []stretch
	var count [3]int
	longest := 1e-9
	for i := range d.r.GOPs {
		g := &d.r.GOPs[i]
		class := map[string]int{closedGOP: 0, openGOP: 1, gradualGOP: 2}[g.Class]
		count[class]++
		longest = max(longest, g.Length)
		list = append(list, stretch{g.Seconds, g.Seconds + g.Length, class})
	}
	var legend []entry
	for k, n := range count {
		if n > 0 {
			legend = append(legend, entry{l.mean[k], fmt.Sprintf("%s (%d)", l.names[k], n)})
		}
	}
	remarks := []string{"height: length"}
	if len(list) > maxBoxes {
		remarks = append(remarks, "mean, longest paler")
	}
	b := d.panel(58, "GOPs", remarks, legend)
	d.scale(b, b.y+4, short(longest))
	d.bars(box{b.x, b.y + 4, b.w, b.h - 4}, list, longest, false, l, func(i int) string {
		g := &d.r.GOPs[i]
		return fmt.Sprintf("GOP %d at %s: %s, %s, %s, %s, %s", i, short(g.Seconds), g.Class, short(g.Length), plain.Count(g.Frames, "frame"), plain.Bytes(g.Bytes), pattern(g))
	})
	d.breaks(b, false)
}

// The measures of the lanes.
const (
	laneHeight = 24
	laneGap    = 9
)

// lanes draws where each strategy would cut.
func (d *drawing) lanes() {
	if len(d.r.Strategies) == 0 {
		d.axis()
		return
	}
	total, dependent := 0, false
	for i := range d.r.Strategies {
		s := &d.r.Strategies[i]
		total, dependent = max(total, s.Chunks), dependent || s.Independent < s.Chunks
	}
	n := px(len(d.r.Strategies))
	legend := []entry{{"i0", "independent chunk: decodes alone"}}
	if dependent {
		legend = append(legend, entry{"d0", "dependent: needs the one before"})
	}
	if d.keys() {
		legend = append(legend, entry{"k1", "key frames"})
	}
	if total > maxBoxes {
		legend = append(legend, entry{"ix", "longest nearby; where chunks are many, height is their mean length"})
	}
	b := d.panel(n*(laneHeight+laneGap)+laneGap, "", nil, legend)
	if d.keys() {
		for i := range d.r.GOPs {
			x := d.x(d.r.GOPs[i].Seconds)
			d.line(x, b.y, x, b.y+b.h, "key")
		}
	}
	d.breaks(b, false)
	for i := range d.r.Strategies {
		d.lane(box{b.x, b.y + laneGap + px(i)*(laneHeight+laneGap), b.w, laneHeight}, &d.r.Strategies[i])
	}
	d.axis()
}

// keys reports whether there are few enough key frames to mark them.
func (d *drawing) keys() bool { return len(d.r.GOPs) > 0 && len(d.r.GOPs) <= 150 }

func (d *drawing) lane(b box, s *Strategy) {
	d.text(margin, b.y+10, "h", s.Name)
	d.text(margin, b.y+23, "s", s.Parameter+": "+plain.Count(s.Chunks, "chunk"))
	d.raw(`<g id="%s">`, escape(s.Name))
	var list []stretch
	for i := range s.list {
		c := &s.list[i]
		class := 0
		if !c.independent {
			class = 1
		}
		list = append(list, stretch{c.begin().Seconds(), c.end().Seconds(), class})
	}
	l := look{
		each: [][2]string{{"i0", "i1"}, {"d0", "d1"}}, mean: []string{"i0", "d0"}, most: []string{"ix", "dx"},
		names: []string{"independent", "dependent"},
	}
	d.bars(b, list, max(s.Longest, 1e-9), true, l, func(i int) string {
		c := &s.list[i]
		what := "independent"
		if !c.independent {
			what = "dependent"
		}
		return fmt.Sprintf("chunk %d of %s: PTS %d, %s to %s, %s, %s, %s, %s; ended by: %s", i+1, s.Name, c.start, short(c.begin().Seconds()), short(c.end().Seconds()),
			short(c.tb.Seconds(c.dur)), plain.Count(c.packets, "packet"), plain.Bytes(c.bytes), what, c.why)
	})
	d.raw("</g>")
	if len(list) > maxBoxes {
		return
	}
	for i, c := range list {
		x0, x1 := d.x(c.from), d.x(c.to)
		text := fmt.Sprintf("%.2f s", c.to-c.from)
		if c.to-c.from >= 60 {
			text = short(math.Round(c.to - c.from))
		}
		if x1-x0 > px(8+6*len(text)) {
			d.text((x0+x1)/2, b.y+16, [...]string{"in", "on"}[list[i].class], text)
		}
	}
}
