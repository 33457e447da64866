package probe

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/chunk"
)

// drawn is a rectangle of a drawn picture.
type drawn struct {
	x, w float64
	tip  string
}

// parseSVG reads a picture, which must be well formed, of numbers that are numbers,
// with nothing in it that runs or that is fetched. It returns the rectangles of each
// group.
func parseSVG(t testing.TB, b []byte) map[string][]drawn {
	t.Helper()
	out := map[string][]drawn{}
	group, inRect := "", false
	for d := xml.NewDecoder(bytes.NewReader(b)); ; {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatalf("not well formed: %v", err)
		}
		switch e := tok.(type) {
		case xml.StartElement:
			switch e.Name.Local {
			case "svg", "title", "style", "defs", "pattern", "text", "path":
			case "g":
				group = e.Attr[0].Value
			case "rect":
				inRect = true
				out[group] = append(out[group], drawn{x: number(t, e, "x"), w: number(t, e, "width")})
			default:
				t.Errorf("element %s", e.Name.Local)
			}
			for _, a := range e.Attr {
				if n := a.Name.Local; strings.HasPrefix(n, "on") || strings.Contains(n, "href") || strings.Contains(a.Value, "NaN") || strings.Contains(a.Value, "Inf") {
					t.Errorf("%s=%q", n, a.Value)
				}
			}
		case xml.EndElement:
			switch e.Name.Local {
			case "g":
				group = ""
			case "rect":
				inRect = false
			}
		case xml.CharData:
			if l := out[group]; inRect && len(l) > 0 {
				l[len(l)-1].tip += string(e)
			}
		case xml.ProcInst, xml.Directive:
			t.Errorf("%T", e)
		}
	}
}

func number(t testing.TB, e xml.StartElement, name string) float64 {
	t.Helper()
	for _, a := range e.Attr {
		if a.Name.Local == name {
			v, err := strconv.ParseFloat(a.Value, 64)
			if err != nil || v < 0 {
				t.Errorf("%s=%q", name, a.Value)
			}
			return v
		}
	}
	return 0 // of a pattern's rectangle
}

// maxSVG bounds a picture's bytes.
const maxSVG = 1 << 20

func draw(t testing.TB, r *Report) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := r.SVG(&b); err != nil {
		t.Fatal(err)
	}
	if b.Len() > maxSVG {
		t.Errorf("%d bytes of picture", b.Len())
	}
	return b.Bytes()
}

func TestSVG(t *testing.T) {
	name := writeTS(t, "stream.ts", stream)
	r, err := Run(t.Context(), name, Config{Picture: true, Cut: chunk.Options{Target: time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	b := draw(t, r)
	golden(t, "stream.svg", b)
	groups := parseSVG(t, b)
	for i := range r.Strategies {
		checkLane(t, r, &r.Strategies[i], groups[r.Strategies[i].Name])
	}
	file := filepath.Join(t.TempDir(), "out.svg")
	if err := WriteFile(file, r); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, b) {
		t.Errorf("the file is not the picture: %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(file), ".*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	if err := WriteFile(filepath.Join(t.TempDir(), "none", "out.svg"), r); err == nil {
		t.Error("a file in no folder was written")
	}
	if r, err = Run(t.Context(), name, Config{}); err != nil || r.SVG(io.Discard) == nil {
		t.Errorf("%v: a picture nobody asked for was drawn", err)
	}
}

// checkLane compares a lane's rectangles with the chunks, to a pixel's hundredth.
func checkLane(t *testing.T, r *Report, s *Strategy, lane []drawn) {
	t.Helper()
	if len(lane) != len(s.list) || len(lane) != s.Chunks {
		t.Errorf("%s: %d rectangles for %d chunks", s.Name, len(lane), s.Chunks)
		return
	}
	d := &drawing{r: r, p: r.picture}
	d.extent()
	for i, c := range s.list {
		if x := float64(d.x(c.begin().Seconds())); math.Abs(x-lane[i].x) > 0.006 {
			t.Errorf("%s: chunk %d begins at %v, not %v", s.Name, i, lane[i].x, x)
		}
		if end := float64(d.x(c.end().Seconds())); lane[i].x+lane[i].w > end+0.7 || lane[i].x+lane[i].w < end-1.3 {
			t.Errorf("%s: chunk %d ends at %v, not %v", s.Name, i, lane[i].x+lane[i].w, end)
		}
		if want := fmt.Sprintf("PTS %d,", c.start); !strings.Contains(lane[i].tip, want) {
			t.Errorf("%s: chunk %d: %q lacks %s", s.Name, i, lane[i].tip, want)
		}
	}
}

// Whatever an input calls itself, the picture is well formed and shows no more than
// a name's worth of it.
func TestHostileNames(t *testing.T) {
	dir := t.TempDir()
	b, err := os.ReadFile(writeTS(t, "s.ts", stream))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"</title><script>alert(1)</script>.ts", `" onload="alert(1)`, "a&b;<!--.ts", "]]>.ts", "\x01\x1b[2J\x7f\u202e\ufffe.ts", "\xff\xfe.ts",
		strings.Repeat("界", 80) + ".ts", strings.Repeat("w", 250),
	} {
		file := filepath.Join(dir, strings.ReplaceAll(name, "/", "∕"))
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := Run(t.Context(), file, Config{Picture: true})
		if err != nil {
			t.Fatal(err)
		}
		r.Broken = name + strings.Repeat("<&", 1000)
		r.Tracks[0].Language, r.Tracks[0].CodecString = name, name
		r.Warnings = []string{name}
		out := draw(t, r)
		parseSVG(t, out)
		if len(out) > 60_000 {
			t.Errorf("%q: %d bytes", name, len(out))
		}
	}
}

// feed gives a prober hours of 10 pictures a second, of many sizes.
func feed(t testing.TB, hours int, gop int) *prober {
	t.Helper()
	p, err := newProber("long", &Config{Picture: true})
	if err != nil {
		t.Fatal(err)
	}
	spec := avtest.Spec{Video: avtest.Video{Frames: 1, Timebase: av.Clock90k, FrameDur: 9000}}
	s := avtest.NewSynthetic(spec)
	if _, err := s.ReadPacket(av.Heap{}); !errors.Is(err, av.ErrTracks) {
		t.Fatal(err)
	}
	if err := p.setTracks(s.Tracks()); err != nil {
		t.Fatal(err)
	}
	pkt, err := s.ReadPacket(av.Heap{})
	if err != nil {
		t.Fatal(err)
	}
	data := append(pkt.Data, make([]byte, 9000)...)
	for i := range hours * 3600 * 10 {
		pkt.DTS, pkt.PTS, pkt.Flags = int64(i)*9000, int64(i)*9000, 0
		pkt.Data = data[:200+i*7919%5000]
		if i%gop == 0 {
			pkt.Flags, pkt.Data = av.Key, data[:5000+i%4000]
		}
		if err := p.packet(&pkt); err != nil {
			t.Fatal(err)
		}
	}
	p.finish(nil)
	return p
}

// A long input costs no memory for its frames, and the file stays small.
func TestLongInput(t *testing.T) {
	for gop, chunks := range map[int]int{1: 6_000, 15: 4_800} {
		p := feed(t, 2, gop)
		pic := p.report.picture
		if pic.frames != nil || len(pic.series.b) > maxBuckets || cap(pic.series.b) > 2*maxBuckets || len(pic.order) != maxOrder {
			t.Errorf("%d frames, %d buckets", len(pic.frames), cap(pic.series.b))
		}
		if s := p.report.Strategies[3]; s.Chunks != chunks {
			t.Errorf("adaptive_gop: %d chunks, want %d", s.Chunks, chunks)
		}
		b := draw(t, p.report)
		parseSVG(t, b)
		t.Logf("GOP of %d: %d bytes", gop, len(b))
	}
}

// What a packet costs once the lists are there: nothing that stays, and hardly
// anything that does not.
func TestPictureDoesNotGrow(t *testing.T) {
	pic := &picture{}
	for i := range 100_000 {
		pic.take(frame{pts: time.Duration(i) * 40 * time.Millisecond, dur: 40 * time.Millisecond, size: 1000, kind: kindP})
	}
	i := 100_000
	if n := testing.AllocsPerRun(1000, func() {
		pic.take(frame{pts: time.Duration(i) * 40 * time.Millisecond, dur: 40 * time.Millisecond, size: 1000, kind: kindP})
		i++
	}); n != 0 {
		t.Errorf("%v allocations a frame", n)
	}
}

// A series loses no packet and no byte, whatever the times.
func TestSeries(t *testing.T) {
	var s series
	times := []time.Duration{0, 5, -3, 70, -1000, 1 << 40, -1 << 45, 1<<62 + 1, -1 << 62, 1<<63 - 1, -1 << 63}
	for i, at := range times {
		s.add(at, kind(i)%kinds, 1000+i)
		if len(s.b) > maxBuckets {
			t.Fatalf("%d buckets", len(s.b))
		}
	}
	n, bytes := 0, int64(0)
	for i := range s.b {
		for k := range kinds {
			n += int(s.b[i].n[k])
			bytes += s.b[i].bytes[k]
		}
	}
	if n != len(times) || bytes != 1000*int64(n)+int64(n*(n-1)/2) {
		t.Errorf("%d packets of %d, %d bytes", n, len(times), bytes)
	}
	fine := series{}
	for i := range 1000 {
		fine.add(time.Duration(i)*10*time.Millisecond, kindP, 10)
	}
	if c := fine.coarser(time.Second); c.width != 1280*time.Millisecond || c.b[0].n[kindP] != 128 || fine.b[0].n[kindP] != 1 {
		t.Errorf("%v, %d in its first bucket", c.width, c.b[0].n[kindP])
	}
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		from, to float64
		want     string
	}{
		{0, 4, "0.0 s 0.5 s 1.0 s 1.5 s 2.0 s 2.5 s 3.0 s 3.5 s 4.0 s"},
		{-0.455, 2.1, "−0.4 s −0.2 s 0.0 s 0.2 s 0.4 s 0.6 s 0.8 s 1.0 s 1.2 s 1.4 s 1.6 s 1.8 s 2.0 s"},
		{55, 66, "55 s 56 s 57 s 58 s 59 s 1:00 1:01 1:02 1:03 1:04 1:05 1:06"},
		{59857.4, 59857.7, "16:37:37.40 16:37:37.45 16:37:37.50 16:37:37.55 16:37:37.60 16:37:37.65 16:37:37.70"},
		{0, 7200, "0:00 10:00 20:00 30:00 40:00 50:00 1:00:00 1:10:00 1:20:00 1:30:00 1:40:00 1:50:00 2:00:00"},
	} {
		step := tickStep(c.to - c.from)
		var got []string
		for _, v := range ticksOf(c.from, c.to, step) {
			got = append(got, tickLabel(v, step))
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%v to %v: %s", c.from, c.to, text)
		}
	}
	for length := 1e-3; length < 1e9; length *= 1.37 {
		for _, from := range []float64{0, -length / 3, 1e6} {
			if n := len(ticksOf(from, from+length, tickStep(length))); n < 3 || n > 15 {
				t.Errorf("%v from %v: %d marks", length, from, n)
			}
		}
	}
}

// Lengths are written as the axis writes times.
func TestShort(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0.000 s", 59.99: "59.990 s", 59.999: "1:00", 60: "1:00", 61.2: "1:01.2", 119.994: "1:59.99", 180: "3:00", 3600: "1:00:00", 3750.25: "1:02:30.25", -0.5: "-0.500 s",
	} {
		if got := short(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
}

// Of a frame that lasts no time there is no bit rate, and what stands below the axis
// ends inside the picture.
func TestOneFrame(t *testing.T) {
	p := feed(t, 0, 1)
	pkt := av.Packet{PTS: 61*90000 + 18000, DTS: 61*90000 + 18000, Flags: av.Key, Data: make([]byte, 1230)}
	if err := p.packet(&pkt); err != nil {
		t.Fatal(err)
	}
	p.finish(nil)
	b := draw(t, p.report)
	parseSVG(t, b)
	if bytes.Contains(b, []byte("Bit rate")) || bytes.Contains(b, []byte("bit/s")) {
		t.Error("a bit rate of one frame")
	}
	labels := regexp.MustCompile(`<text x="([0-9.]+)" y="[0-9.]+" class="m">([^<]+)<`).FindAllSubmatch(b, -1)
	if len(labels) < 5 {
		t.Errorf("%d labels", len(labels))
	}
	for _, l := range labels {
		if x, err := strconv.ParseFloat(string(l[1]), 64); err != nil || x+3.5*float64(len(l[2])) > width {
			t.Errorf("%s at %s", l[2], l[1])
		}
	}
}

func TestFit(t *testing.T) {
	for in, want := range map[string]string{"short": "short", "0123456789abcdef": "01234…cdef", "界界界界界界界界": "界界…界界"} {
		if got := fit(in, 10); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
