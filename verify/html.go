package verify

import (
	_ "embed" // the page
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"
)

//go:embed report.html
var page string

// The timeline's drawing, in pixels.
const (
	drawWidth  = 1160
	drawLeft   = 150
	laneHeight = 64
	// Room that a label needs: of each digit, and the lines of its text.
	labelWidth  = 10
	labelHeight = 14
)

// WriteHTML writes the report as one page without references to anything else.
func (r *Report) WriteHTML(w io.Writer) error {
	t, err := template.New("report").Parse(page)
	if err != nil {
		return err
	}
	return t.Execute(w, r.view())
}

// view is the report as the page shows it.
type view struct {
	*Report
	Verdict, Class string
	Must, Should   int
	Passed         int
	When           string
	Groups         []group
	Families       []familyView
	Plain          []string
	Drawing        *drawing
}

type group struct {
	Rule
	Class    string
	Findings []Finding
	Count    int
}

type familyView struct {
	Name  string
	Rules []ruleView
}

type ruleView struct{ ID, Title, Class string }

var familyNames = [...][2]string{
	{"S", "Syntax"}, {"H", "HLS"}, {"L", "Low latency"}, {"A", "Apple's authoring rules"}, {"C", "CMAF"}, {"D", "DASH"}, {"T", "MPEG-TS"},
}

func (r *Report) view() view {
	v := view{Report: r, Must: r.Count(Must), Should: r.Count(Should), Plain: r.effects()}
	switch {
	case v.Must > 0:
		v.Verdict, v.Class = "A MUST is broken", "must"
	case v.Should > 0:
		v.Verdict, v.Class = "Plays; not every SHOULD is kept", "should"
	default:
		v.Verdict, v.Class = "Nothing is wrong", "good"
	}
	state := map[string]string{}
	for id := range r.Checked {
		state[id] = "good"
	}
	rule := map[string]Rule{}
	for _, x := range rules() {
		rule[x.ID] = x
	}
	for _, f := range r.Findings {
		class := strings.ToLower(string(f.Severity))
		if state[f.Rule] != "must" {
			state[f.Rule] = class
		}
		if n := len(v.Groups); n == 0 || v.Groups[n-1].ID != f.Rule || v.Groups[n-1].Class != class {
			g := group{Rule: rule[f.Rule], Class: class}
			g.Severity = f.Severity
			v.Groups = append(v.Groups, g)
		}
		g := &v.Groups[len(v.Groups)-1]
		g.Findings = append(g.Findings, f)
		g.Count += 1 + f.More
	}
	for _, name := range familyNames {
		f := familyView{Name: name[1]}
		for _, x := range rules() {
			if strings.HasPrefix(x.ID, name[0]) {
				f.Rules = append(f.Rules, ruleView{x.ID, x.Title, state[x.ID]})
			}
		}
		v.Families = append(v.Families, f)
	}
	for _, s := range state {
		if s == "good" {
			v.Passed++
		}
	}
	if r.Timeline != nil {
		v.When = r.Timeline.Start.UTC().Format("2006-01-02 15:04:05 UTC")
		v.Drawing = r.draw()
	}
	return v
}

// drawing is the timeline as shapes.
type drawing struct {
	Width, Height int
	Left          int
	Lanes         []laneView
	Ticks         []tick
	Marks         []mark
	MarkY         int
}

type laneView struct {
	Name, Role    string
	Y, Mid        int
	Shapes        []shape
	Gaps          []shape
	Reloads, Segs int
}

type shape struct {
	X, Y, W, H  string
	Class, Text string
	Label, Mid  string // written in it, and where
}

type tick struct {
	X    string
	Text string
}

type mark struct {
	X           string
	Class, Text string
}

func px(f float64) string { return fmt.Sprintf("%.1f", f) }

func (r *Report) draw() *drawing {
	total := max(r.Watched, time.Second)
	scale := float64(drawWidth-drawLeft-10) / float64(total)
	x := func(d time.Duration) float64 { return drawLeft + float64(d)*scale }
	d := &drawing{Width: drawWidth, Left: drawLeft}
	for i, l := range r.Timeline.Renditions {
		v := laneView{Name: l.Name, Role: l.Role, Y: 30 + i*laneHeight}
		v.Mid = v.Y + 20
		v.draw(l, x, scale)
		d.Lanes = append(d.Lanes, v)
	}
	d.MarkY = 30 + len(r.Timeline.Renditions)*laneHeight
	d.Height = d.MarkY + 40
	step := time.Second
	for _, s := range [...]time.Duration{1, 2, 5, 10, 30, 60, 300, 600, 3600} {
		if step = s * time.Second; total/step <= 16 {
			break
		}
	}
	for t := time.Duration(0); t <= total; t += step {
		d.Ticks = append(d.Ticks, tick{px(x(t)), t.String()})
	}
	for _, f := range r.Findings {
		if !f.At.IsZero() {
			at := min(max(f.At.Sub(r.Timeline.Start), 0), total)
			d.Marks = append(d.Marks, mark{px(x(at)), strings.ToLower(string(f.Severity)), f.Rule + ": " + f.Text})
		}
	}
	return d
}

// draw places what arrived: segments as bars of the length of their media that end
// where they arrived, parts and reloads as strokes below.
func (v *laneView) draw(l Lane, x func(time.Duration) float64, scale float64) {
	most := 1
	for _, e := range l.Events {
		if e.Kind == "segment" {
			most = max(most, e.Bytes)
		}
	}
	for _, e := range l.Events {
		switch e.Kind {
		case "segment":
			v.Segs++
			width := max(float64(e.Dur)*scale-1, 2)
			left := max(x(e.At)-width, drawLeft)
			height := 8 + 28*float64(e.Bytes)/float64(most)
			class := "seg"
			if !e.Key && l.Role == "video" {
				class = "seg nokey"
			}
			s := shape{
				X: px(left), Y: px(float64(v.Y) + 38 - height), W: px(x(e.At) - left), H: px(height), Class: class,
				Text: fmt.Sprintf("segment %d: %s of media, %d bytes, loaded in %s", e.MSN, e.Dur.Round(time.Millisecond), e.Bytes, e.Took.Round(time.Millisecond)),
			}
			if label := fmt.Sprint(e.MSN); x(e.At)-left >= labelWidth*float64(len(label)) && height >= labelHeight {
				s.Label, s.Mid = label, px((left+x(e.At))/2)
			}
			v.Shapes = append(v.Shapes, s)
		case "part":
			v.Shapes = append(v.Shapes, shape{X: px(x(e.At)), Y: px(float64(v.Y) + 40), W: "1.5", H: "6", Class: "part", Text: fmt.Sprintf("part of segment %d", e.MSN)})
		case "playlist":
			v.Reloads++
			class := "reload"
			if e.New {
				class = "reload new"
			}
			v.Shapes = append(v.Shapes, shape{X: px(x(e.At)), Y: px(float64(v.Y) + 48), W: "1.5", H: "6", Class: class, Text: fmt.Sprintf("playlist of %d bytes in %s", e.Bytes, e.Took.Round(time.Millisecond))})
		}
	}
}
