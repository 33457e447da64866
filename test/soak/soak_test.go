package soak

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestShort: a soak of a quarter of a minute leaves nothing, is within its budget, and
// every client of it is gone.
func TestShort(t *testing.T) {
	dir := t.TempDir()
	binary := filepath.Join(dir, "cleave")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../../cmd/cleave").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	r, err := Run(t.Context(), Config{Binary: binary, Dir: dir, For: 15 * time.Second, Every: 500 * time.Millisecond, Publishers: 9, Viewers: 16})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range r.Verdicts {
		if !v.OK && !strings.HasSuffix(v.What, "does not grow") && !strings.HasPrefix(v.What, "every kind") { // it is never warm
			t.Errorf("%s: %s\n%s", v.What, v.Seen, r.Log)
		}
	}
	if len(r.Samples) < 10 || r.Acts["HTTP-FLV"].Begun.Load() == 0 {
		t.Errorf("%d samples", len(r.Samples))
	}
	var page bytes.Buffer
	if err := r.Print(&page, "here"); err != nil || !strings.Contains(page.String(), "| HTTP-FLV |") {
		t.Errorf("%v %s", err, &page)
	}
}

// rising makes a report of 300 samples of goroutines that grow by so many a minute, with
// noise and peaks.
func rising(rate float64) *Report {
	random := rand.New(rand.NewPCG(1, 2))
	r := &Report{}
	for i := range 300 {
		s := Sample{At: time.Duration(i) * 2 * time.Second}
		s.Values[goroutines] = 200 + rate*s.At.Minutes() + 30*random.Float64()
		if i%40 == 0 {
			s.Values[goroutines] += 500
		}
		r.Samples = append(r.Samples, s)
	}
	return r
}

// TestFlat: a leak is seen through noise and peaks, and these are none.
func TestFlat(t *testing.T) {
	for rate, flat := range map[float64]bool{0: true, 1: true, -20: true, 20: false, 100: false} {
		if v := rising(rate).flat(goroutines); v.OK != flat {
			t.Errorf("%+v a minute: %+v", rate, v)
		}
	}
	if v := (&Report{Samples: make([]Sample, 5)}).flat(heap); v.OK {
		t.Error("of five samples nothing can be said")
	}
	late := rising(0) // what grows while it warms up is no leak
	for i := range 60 {
		late.Samples[i].Values[goroutines] = float64(i)
	}
	if v := late.flat(goroutines); !v.OK {
		t.Errorf("%+v", v)
	}
}

func TestTheilSen(t *testing.T) {
	x, y := make([]float64, 4000), make([]float64, 4000)
	for i := range x {
		x[i], y[i] = float64(i), 3+2*float64(i)
		if i%3 == 0 {
			y[i] = 1e6
		}
	}
	if got := theilSen(x, y); math.Abs(got-2) > 2 {
		t.Errorf("%v", got)
	}
	if got := theilSen(x[:2], []float64{1, 4}); got != 3 {
		t.Errorf("%v", got)
	}
	if got := theilSen(x[:1], y[:1]); !math.IsNaN(got) {
		t.Errorf("%v", got)
	}
}

// TestLeft: what is there after all have gone and was not before is a leak; what was there
// before, and memory that the runtime keeps, is not.
func TestLeft(t *testing.T) {
	var before, now Sample
	before.Values[goroutines], before.Values[files] = 20, 15
	now = before
	now.Values[resident], now.Values[heap], now.Values[goroutines] = 90, 30, 22
	if l := left(&before, &now); len(l) != 0 {
		t.Error(l)
	}
	now.Values[goroutines], now.Values[slabs], now.Values[viewers], now.Values[files] = 30, 0.1, 1, 60
	if l := left(&before, &now); len(l) != 4 {
		t.Error(l)
	}
	r := &Report{Before: before, After: now}
	if r.judge(errors.New("exit status 2")); r.Passed() {
		t.Error("it passed")
	}
}

// TestEverybody: each kind of viewer must have got something.
func TestEverybody(t *testing.T) {
	r := &rig{}
	for _, idle := range append(r.viewers(), kind{name: "nobody"}) {
		report := &Report{Acts: newActs(r.publishers(), r.viewers())}
		for _, a := range report.Acts {
			a.Begun.Add(1)
		}
		for _, k := range r.viewers() {
			if k.name != idle.name {
				report.Acts[k.name].Bytes.Add(1)
			}
		}
		if v := report.everybody(); v.OK != (idle.name == "nobody") {
			t.Errorf("%s got nothing: %+v", idle.name, v)
		}
	}
}

// TestSVG: the graph is XML that is whole, also of nothing.
func TestSVG(t *testing.T) {
	for _, r := range []*Report{{}, rising(3)} {
		var b bytes.Buffer
		if err := r.SVG(&b); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), "NaN") || strings.Contains(b.String(), "Inf") {
			t.Error("numbers that are none")
		}
		for d := xml.NewDecoder(&b); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
	}
}
