package indextest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/chunk"
	"github.com/cleave-video/cleave/index"
)

// Entries returns n entries as a camera gives them: about 2 s long, a picture and
// a sound track, one to four key frames, now and then a gap, a new epoch, or a
// change of tracks. The same seed gives the same entries, and fewer are the first
// of more.
func Entries(seed uint64, n int) []index.Entry {
	g := NewGenerator(seed)
	list := make([]index.Entry, n)
	for i := range list {
		list[i] = g.Next()
	}
	return list
}

// Generator makes entries one after the other.
type Generator struct {
	rng    *rand.Rand
	epoch  uint32
	seq    int64
	start  int64
	audio  int64
	wall   time.Time
	init   int
	Steady bool // without epochs, gaps and changes
}

// NewGenerator returns a generator; the same seed gives the same entries.
func NewGenerator(seed uint64) *Generator {
	return &Generator{
		rng: rand.New(rand.NewPCG(seed, 7)), epoch: 1 + uint32(seed%3), seq: int64(seed * 3), start: 90000,
		wall: time.Date(2026, 3, 29, 0, 59, 0, int(seed)*1000, time.UTC),
	}
}

// Next returns the next entry.
func (g *Generator) Next() index.Entry {
	r := g.rng
	e := index.Entry{Timebase: av.Clock90k, Start: g.start, Wall: g.wall, Independent: true, Reason: chunk.Grid}
	if !g.Steady && r.IntN(40) == 0 {
		g.epoch++
		g.wall = g.wall.Add(time.Duration(r.IntN(20000)) * time.Millisecond)
		e.Wall, e.Discontinuity = g.wall, true
	}
	if !g.Steady && r.IntN(60) == 0 {
		g.init++
		e.Discontinuity, e.Reason = true, chunk.Tracks
	}
	if !g.Steady && r.IntN(50) == 0 {
		g.seq += 2
	}
	e.Epoch, e.Seq = g.epoch, g.seq
	frames := int64(50 + 5*r.IntN(2))
	e.Duration = frames * 3600
	e.Object = fmt.Sprintf("live/cam1/%d/%010d.chunk", e.Epoch, e.Seq)
	g.tracks(&e)
	if !g.Steady && r.IntN(30) == 0 {
		e.Gap, e.Independent = true, false
		for i := range e.Tracks {
			e.Tracks[i].Gap = true
		}
	} else {
		g.keys(&e)
	}
	for i := 0; i < len(e.Digest); i += 8 {
		v := r.Uint64()
		for k := range 8 {
			e.Digest[i+k] = byte(v >> (8 * k))
		}
	}
	g.seq++
	g.start += e.Duration
	g.wall = e.End()
	return e
}

func (g *Generator) tracks(e *index.Entry) {
	video := int64(400000 + g.rng.IntN(800000))
	// Sound frames are 1024 samples long and do not end with the picture.
	frames := (e.Timebase.Rescale(e.Start+e.Duration, av.Timebase{Num: 1, Den: 48000}) - g.audio) / 1024
	sound := frames*340 + int64(g.rng.IntN(2000))
	e.Tracks = []index.Track{
		{Name: "video0", Init: fmt.Sprintf("init-%016x.mp4", g.init*7+1), Timescale: 90000, Start: e.Start, Duration: e.Duration, Size: video, Independent: true},
		{Name: "audio0", Init: "init-00000000000000aa.mp4", Timescale: 48000, Start: g.audio, Duration: frames * 1024, Offset: video, Size: sound, Independent: true},
	}
	g.audio += frames * 1024
	e.Size = video + sound + 180
}

func (g *Generator) keys(e *index.Entry) {
	n := int64(1)
	if !g.Steady {
		n = int64(1 + g.rng.IntN(4))
	}
	for k := range n {
		e.Keys = append(e.Keys, index.Key{Time: e.Start + k*e.Duration/n, Offset: 900 + k*100000, Size: int64(30000 + g.rng.IntN(20000))})
	}
}

// Model is an index that is a list: slow, and plain to see through.
type Model struct {
	list  []index.Entry
	times []time.Time
	first int
}

// Add appends entries.
func (m *Model) Add(list ...index.Entry) {
	for _, e := range list {
		at := e.Wall
		if n := len(m.times); n > 0 && m.times[n-1].After(at) {
			at = m.times[n-1]
		}
		m.list, m.times = append(m.list, e), append(m.times, at)
	}
}

// shown returns the number of the entry that is shown at a time, -1 before all.
func (m *Model) shown(at time.Time) int {
	for i := len(m.times) - 1; i >= 0; i-- {
		if !m.times[i].After(at) {
			return i
		}
	}
	return -1
}

func (m *Model) ended(i int, at time.Time) bool {
	return !m.times[i].Add(m.list[i].Timebase.Duration(m.list[i].Duration)).After(at)
}

// Drop does what index.Index says.
func (m *Model) Drop(before time.Time) {
	i := m.shown(before)
	if i >= 0 && m.ended(i, before) {
		i++
	}
	m.first = max(m.first, i)
}

// Range does what index.Index says.
func (m *Model) Range(from, to time.Time) []index.Entry {
	start := m.first
	if !from.IsZero() {
		start = max(start, m.shown(from))
	}
	var list []index.Entry
	for i := start; i < len(m.list); i++ {
		if !to.IsZero() && !m.times[i].Before(to) {
			break
		}
		if !from.IsZero() && !m.times[i].After(from) && m.ended(i, from) {
			continue
		}
		list = append(list, m.list[i])
	}
	return list
}

// Seek does what index.Index says.
func (m *Model) Seek(at time.Time) (index.Entry, index.Key, bool) {
	for i := m.shown(at); i >= m.first; i-- {
		e := &m.list[i]
		for k := len(e.Keys) - 1; k >= 0; k-- {
			if !m.times[i].Add(e.Timebase.Duration(e.Keys[k].Time - e.Start)).After(at) {
				return *e, e.Keys[k], true
			}
		}
		if len(e.Keys) == 0 && e.Independent && !e.Gap && len(e.Tracks) > 0 {
			return *e, index.Key{Time: e.Start, Offset: e.Tracks[0].Offset}, true
		}
	}
	return index.Entry{}, index.Key{}, false
}

// Entries returns what was added, dropped or not.
func (m *Model) Entries() []index.Entry { return m.list }

func (m *Model) someTime(rng *rand.Rand) time.Time {
	if len(m.times) == 0 {
		return time.Unix(1, 0)
	}
	i := rng.IntN(len(m.times))
	return m.times[i].Add(time.Duration(rng.IntN(4000)-1000) * time.Millisecond)
}

// Compare asks ix and the model the same.
func (m *Model) Compare(t *testing.T, ix index.Index, rng *rand.Rand) {
	t.Helper()
	at := m.someTime(rng)
	e, k, err := ix.Seek(t.Context(), stream, at)
	we, wk, ok := m.Seek(at)
	if ok != (err == nil) || err != nil && !errors.Is(err, index.ErrNotFound) {
		t.Fatalf("Seek(%v): %v, want one: %v", at, err, ok)
	}
	if k != wk {
		t.Errorf("Seek(%v): %+v, want %+v", at, k, wk)
	}
	equal(t, fmt.Sprintf("Seek(%v)", at), e, we)
	to := at.Add(time.Duration(rng.IntN(60)) * time.Second)
	equal(t, fmt.Sprintf("Range(%v, %v)", at, to), collect(t, ix, at, to), m.Range(at, to))
	last, err := ix.Last(t.Context(), stream)
	if len(m.list) == 0 {
		if !errors.Is(err, index.ErrNotFound) {
			t.Errorf("Last: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "Last", last, m.list[len(m.list)-1])
}
