package probe

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// canvas writes SVG and keeps the first error. Numbers are in pixels; texts are
// escaped.
type canvas struct {
	w   *bufio.Writer
	err error
}

func newCanvas(w io.Writer) *canvas { return &canvas{w: bufio.NewWriter(w)} }

func (c *canvas) raw(format string, args ...any) {
	if c.err == nil {
		_, c.err = fmt.Fprintf(c.w, format+"\n", args...)
	}
}

// flush writes what is held and returns the first error.
func (c *canvas) flush() error {
	if c.err == nil {
		c.err = c.w.Flush()
	}
	return c.err
}

// px is a number as SVG wants it, to a hundredth of a pixel.
type px float64

func (p px) String() string {
	s := strings.TrimRight(strconv.FormatFloat(float64(p), 'f', 2, 64), "0")
	s = strings.TrimSuffix(s, ".")
	if s == "-0" || s == "" {
		return "0"
	}
	return s
}

// escape makes s safe as character data and in attributes in double quotes.
func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;", "'", "&#39;").Replace(clean(s))
}

// text writes s with its baseline at x, y.
func (c *canvas) text(x, y px, class, s string) {
	c.raw(`<text x="%s" y="%s" class="%s">%s</text>`, x, y, class, escape(s))
}

func (c *canvas) line(x1, y1, x2, y2 px, class string) {
	c.raw(`<path d="M%s %sL%s %s" class="%s"/>`, x1, y1, x2, y2, class)
}

// box is a rectangle.
type box struct{ x, y, w, h px }

// rect draws a box; tip, if any, is shown when the pointer rests on it.
func (c *canvas) rect(b box, class, tip string) {
	if tip == "" {
		c.raw(`<rect x="%s" y="%s" width="%s" height="%s" class="%s"/>`, b.x, b.y, b.w, b.h, class)
		return
	}
	c.raw(`<rect x="%s" y="%s" width="%s" height="%s" class="%s"><title>%s</title></rect>`, b.x, b.y, b.w, b.h, class, escape(tip))
}

// path draws d, which must be SVG path data.
func (c *canvas) path(d, class string) {
	if d != "" {
		c.raw(`<path d="%s" class="%s"/>`, d, class)
	}
}

// steps is an outline that goes up and down over stretches of the axis: the border of
// an area, or a line.
type steps struct {
	b    strings.Builder
	base px // where the area stands; the line breaks there
	area bool
	to   px // where the last stretch ended
	open bool
}

// add draws a stretch from x0 to x1 at height y.
func (s *steps) add(x0, x1, y px) {
	if s.open && x0-s.to > 0.01 {
		s.end()
	}
	if !s.open {
		if s.area {
			fmt.Fprintf(&s.b, "M%s %sV%s", x0, s.base, y)
		} else {
			fmt.Fprintf(&s.b, "M%s %s", x0, y)
		}
		s.open = true
	} else {
		fmt.Fprintf(&s.b, "V%s", y)
	}
	fmt.Fprintf(&s.b, "H%s", x1)
	s.to = x1
}

// end closes the stretches so far.
func (s *steps) end() {
	if s.open && s.area {
		fmt.Fprintf(&s.b, "V%sZ", s.base)
	}
	s.open = false
}

func (s *steps) String() string {
	s.end()
	return s.b.String()
}
