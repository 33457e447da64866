package file

import (
	"io"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/internal/hist"
)

// Step is one part of the way from an input to what is done with its packets.
type Step uint8

// The steps.
const (
	Refill Step = iota // reads of the input
	Parse              // the demuxer, without those; with its temporary file, if it needs one
	Fixup              // the timeline normaliser
	Output             // what the caller does between two packets
	steps
)

var stepNames = [steps]string{"refill", "parse", "fix-up", "output"}

func (s Step) String() string { return stepNames[s] }

// Timing measures where the time of a reading goes. Make one with NewTiming and give
// it to Open in Options; without it nothing is measured and nothing is in the way.
// One clock is read whenever a step begins or ends, so that the steps add up to all
// of the time; its cost, some 50 ns, is in the numbers. It belongs to the goroutine
// that reads the input.
type Timing struct {
	base    time.Time
	last    time.Duration // of the newest change of step, since base
	step    Step          // under way
	spent   [steps]time.Duration
	hists   [steps]hist.Histogram
	rest    [steps]time.Duration // not part of any packet
	bytes   [steps]int64
	pending int // bytes of the packet that the caller has; -1 if it has none
}

// NewTiming returns a Timing whose clock runs.
func NewTiming() *Timing { return &Timing{base: time.Now(), step: Output, pending: -1} }

// enter begins a step and returns the one that it interrupts.
func (t *Timing) enter(s Step) (before Step) {
	now := time.Since(t.base)
	t.spent[t.step] += now - t.last
	t.last, before, t.step = now, t.step, s
	return before
}

// record closes what was spent on a step.
func (t *Timing) record(s Step, bytes int) {
	t.hists[s].Record(t.spent[s])
	t.bytes[s] += int64(bytes)
	t.spent[s] = 0
}

// StepTime is what Timing says of one step. Refill counts reads of the input,
// the others packets.
type StepTime struct {
	Step          Step
	Count         uint64
	Bytes         int64
	Total         time.Duration
	P50, P99, Max time.Duration
}

// Steps ends what is under way and returns all steps. Their Totals add up to the time
// since NewTiming.
func (t *Timing) Steps() []StepTime {
	t.enter(Output)
	if t.pending >= 0 {
		t.record(Output, t.pending)
		t.pending = -1
	}
	var out []StepTime
	for s := range steps {
		t.rest[s] += t.spent[s]
		t.spent[s] = 0
		h := &t.hists[s]
		out = append(out, StepTime{
			Step: s, Count: h.Count(), Bytes: t.bytes[s], Total: h.Sum() + t.rest[s],
			P50: h.Quantile(0.5), P99: h.Quantile(0.99), Max: h.Max(),
		})
	}
	return out
}

// reader measures r, if t is not nil.
func (t *Timing) reader(r io.Reader) io.Reader {
	if t == nil {
		return r
	}
	return &timedReader{r, t}
}

// readerAt measures r, if t is not nil.
func (t *Timing) readerAt(r io.ReaderAt) io.ReaderAt {
	if t == nil {
		return r
	}
	if v, ok := r.(av.VectorReaderAt); ok {
		return &timedVector{timedReaderAt{r, t}, v}
	}
	return &timedReaderAt{r, t}
}

// demuxer measures d as the step s, if t is not nil; the outermost one tells packets
// apart.
func (t *Timing) demuxer(d av.Demuxer, s Step, outer bool) av.Demuxer {
	if t == nil {
		return d
	}
	return &timedDemuxer{d, t, s, outer}
}

type timedReader struct {
	r io.Reader
	t *Timing
}

func (r *timedReader) Read(b []byte) (int, error) {
	defer r.t.leave(r.t.enter(Refill))
	n, err := r.r.Read(b)
	r.t.bytes[Refill] += int64(n)
	return n, err
}

// leave ends a read of the input.
func (t *Timing) leave(before Step) {
	t.enter(before)
	t.record(Refill, 0)
}

type timedReaderAt struct {
	r io.ReaderAt
	t *Timing
}

func (r *timedReaderAt) ReadAt(b []byte, off int64) (int, error) {
	defer r.t.leave(r.t.enter(Refill))
	n, err := r.r.ReadAt(b, off)
	r.t.bytes[Refill] += int64(n)
	return n, err
}

type timedVector struct {
	timedReaderAt
	v av.VectorReaderAt
}

func (r *timedVector) ReadVAt(bufs [][]byte, off int64) (int, error) {
	defer r.t.leave(r.t.enter(Refill))
	n, err := r.v.ReadVAt(bufs, off)
	r.t.bytes[Refill] += int64(n)
	return n, err
}

// timedDemuxer passes on what d can do.
type timedDemuxer struct {
	av.Demuxer
	t     *Timing
	step  Step
	outer bool
}

func (d *timedDemuxer) ReadPacket(a av.Allocator) (av.Packet, error) {
	t := d.t
	before := t.enter(d.step)
	if d.outer && t.pending >= 0 {
		t.record(Output, t.pending)
		t.pending = -1
	}
	p, err := d.Demuxer.ReadPacket(a)
	t.enter(before)
	if d.outer && err == nil {
		t.record(Parse, len(p.Data))
		if d.step == Fixup {
			t.record(Fixup, len(p.Data))
		}
		t.pending = len(p.Data)
	}
	return p, err
}

// WrapBits implements timeline.Wrapper: 0 says that times do not wrap.
func (d *timedDemuxer) WrapBits() int {
	if w, ok := d.Demuxer.(interface{ WrapBits() int }); ok {
		return w.WrapBits()
	}
	return 0
}

// Progress implements av.Progress.
func (d *timedDemuxer) Progress() (done, total int64) {
	if p, ok := d.Demuxer.(av.Progress); ok {
		return p.Progress()
	}
	return 0, 0
}

// Duration implements av.Durationer.
func (d *timedDemuxer) Duration() (int64, av.Timebase, bool) {
	if p, ok := d.Demuxer.(av.Durationer); ok {
		return p.Duration()
	}
	return 0, av.Timebase{}, false
}

// Warnings implements av.Warner.
func (d *timedDemuxer) Warnings() []string {
	if w, ok := d.Demuxer.(av.Warner); ok {
		return w.Warnings()
	}
	return nil
}
