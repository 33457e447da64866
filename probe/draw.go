package probe

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/cleave-video/cleave/internal/plain"
	"github.com/cleave-video/cleave/internal/whole"
)

// The picture's measures in pixels. The time axis goes from left to right.
const (
	width  = 1280
	margin = 28
	left   = 186
	right  = 1252
	plot   = right - left
)

// maxTrackLines is how many tracks the head of the picture names.
const maxTrackLines = 5

// drawing is one picture being drawn, from the top down.
type drawing struct {
	*canvas
	r        *Report
	p        *picture
	y        px      // what is above is done
	from, to float64 // the time axis, seconds
	ticks    []float64
	step     float64
}

// SVG draws the report. Run must have been told to gather the picture. The size of
// what is written is bounded, however long the input.
func (r *Report) SVG(w io.Writer) error {
	if r.picture == nil {
		return errors.New("probe: the picture was not asked for")
	}
	var body bytes.Buffer
	d := &drawing{canvas: newCanvas(&body), r: r, p: r.picture}
	d.extent()
	d.head()
	d.frames()
	d.rates()
	d.gops()
	d.lanes()
	d.orders()
	if err := d.flush(); err != nil {
		return err
	}
	c := newCanvas(w)
	c.raw(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %s" width="%d" height="%s" role="img">`, width, d.y, width, d.y)
	c.raw("<title>%s</title>\n%s", escape(r.name), style)
	c.rect(box{0, 0, width, d.y}, "paper", "")
	if c.err == nil {
		_, c.err = c.w.Write(body.Bytes())
	}
	c.raw("</svg>")
	return c.flush()
}

// WriteFile draws r into a file, which appears when it is whole.
func WriteFile(name string, r *Report) error { return whole.WriteFile(name, r.SVG) }

// extent finds the stretch of time that is drawn.
func (d *drawing) extent() {
	e := d.p.span
	for i := range d.r.Strategies {
		for k := range d.r.Strategies[i].list {
			s := &d.r.Strategies[i].list[k]
			e.add(s.begin(), s.end())
		}
	}
	d.from, d.to = e.from.Seconds(), e.to.Seconds()
	if d.to-d.from < 1e-3 {
		d.to = d.from + 1e-3
	}
	d.step = tickStep(d.to - d.from)
	d.ticks = ticksOf(d.from, d.to, d.step)
}

// x is where a time lies.
func (d *drawing) x(seconds float64) px {
	f := (seconds - d.from) / (d.to - d.from)
	return left + px(min(max(f, 0), 1))*plot
}

// head writes what the picture is of.
func (d *drawing) head() {
	d.text(margin, 44, "t1", fit(d.r.name, 84))
	facts := []string{d.r.Format, short(d.r.Duration)}
	if n := len(d.r.GOPs); n > 0 {
		facts = append(facts, plain.Count(n, "GOP"))
	}
	if d.r.Broken != "" {
		facts = append(facts, fit("broken off: "+d.r.Broken, 110))
	}
	d.text(margin, 68, "t2", strings.Join(facts, " · "))
	d.y = 80
	for i := range d.r.Tracks {
		if i == maxTrackLines {
			d.y += 18
			d.text(margin, d.y, "fact", fmt.Sprintf("and %d more", len(d.r.Tracks)-i))
			break
		}
		x := &d.r.Tracks[i]
		words := append([]string{strings.TrimSpace(x.Codec + " " + x.CodecString)}, x.shape()...)
		words = append(words, x.counts()...)
		if x.Kind == "video" {
			words = append(words, x.FrameRate.String(), plain.Count(x.Keyframes, "key frame"))
		}
		d.y += 18
		d.text(margin, d.y, "fact b", x.Kind)
		d.text(margin+48, d.y, "fact", fit(strings.Join(words, " · "), 180))
	}
	d.y += 14
}

// entry is one line of a legend.
type entry struct{ class, text string }

// panel begins a panel of height h: its name and remarks at the left, its legend
// above, the grid of time inside.
func (d *drawing) panel(h px, name string, remarks []string, legend []entry) box {
	d.y += 14
	x := px(left)
	for _, e := range legend {
		d.rect(box{x, d.y, 11, 11}, e.class, "")
		d.text(x+16, d.y+10, "l", e.text)
		x += px(16 + 6.3*float64(len([]rune(e.text))) + 20)
	}
	d.y += 18
	b := box{left, d.y, plot, h}
	d.text(margin, d.y+11, "h", name)
	for i, s := range remarks {
		d.text(margin, d.y+27+px(i)*14, "s", s)
	}
	d.rect(b, "panel", "")
	for _, t := range d.ticks {
		d.line(d.x(t), b.y, d.x(t), b.y+b.h, "grid")
	}
	d.y += h
	return b
}

// axis writes the times below a panel.
func (d *drawing) axis() {
	for _, t := range d.ticks {
		text := tickLabel(t, d.step)
		half := px(3.5 * float64(len([]rune(text)))) // of what stands in the middle
		d.text(min(d.x(t), width-4-half), d.y+15, "m", text)
	}
	d.y += 18
}

// scale writes the value that stands at height y of the axis at the left.
func (d *drawing) scale(b box, y px, text string) {
	d.line(b.x, y, b.x+b.w, y, "grid")
	d.text(b.x-7, y+4, "e", text)
}

// breaks draws where tracks change or the timeline breaks.
func (d *drawing) breaks(b box, names bool) {
	last := px(-1)
	for _, m := range d.p.marks {
		x := d.x(m.at.Seconds())
		d.line(x, b.y, x, b.y+b.h, "mark")
		if names && (last < 0 || x-last > 80) {
			d.text(min(x+4, right-78), b.y+11, "markt", m.text)
			last = x
		}
	}
}
