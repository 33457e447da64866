package mp4

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
)

// fault returns what an input of one track ends with.
func fault(t *testing.T, b []byte) *av.Error {
	t.Helper()
	d := New(readerAt(b), int64(len(b)))
	for {
		p, err := d.ReadPacket(av.Heap{})
		if err != nil && !errors.Is(err, av.ErrTracks) {
			var place *av.Error
			errors.As(err, &place)
			return place
		}
		if p.DTS > 1<<61 || p.DTS < -1<<61 || p.PTS > 1<<61 || p.PTS < -1<<61 {
			t.Errorf("%+v", p)
		}
	}
}

type readerAt []byte

func (b readerAt) ReadAt(p []byte, off int64) (int, error) {
	return copy(p, b[min(off, int64(len(b))):]), nil
}

func edit(version byte, list ...int64) box {
	w := writer{}
	w.begin("edts")
	w.begin("elst")
	w.u32(uint32(version) << 24)
	w.u32(uint32(len(list) / 2))
	for i := 0; i < len(list); i += 2 {
		w.b = binary.BigEndian.AppendUint64(w.b, uint64(list[i]))
		w.b = binary.BigEndian.AppendUint64(w.b, uint64(list[i+1]))
		w.u32(1 << 16)
	}
	w.end()
	w.end()
	return box{kind: cc("trak"), off: 100, body: w.b}
}

// TestTimesOutOfReach: times near the end of 64 bits are named by their place and field,
// not computed with.
func TestTimesOutOfReach(t *testing.T) {
	second := av.Timebase{Num: 1, Den: 1}
	for _, c := range []struct {
		tb    av.Timebase
		list  []int64
		field string
	}{
		{second, []int64{0, 1<<63 - 1}, "elst.media_time"},
		{second, []int64{0, 1 << 62}, "elst.media_time"},
		{av.Timebase{Num: 1, Den: 1<<32 - 1}, []int64{1 << 62, -1, 1 << 62, -1}, "elst.segment_duration"},
		{second, []int64{3e9, -1, 3e9, -1}, "elst.segment_duration"},
		{second, []int64{1<<63 - 1, 0}, ""},      // how long the edit is does not count
		{second, []int64{1_764_000_000, -1}, ""}, // now, since 1970
		{av.Timebase{Num: 1, Den: 1e7}, []int64{1_764_000_000, -1, 0, 40}, ""},
	} {
		tr := &track{tb: c.tb, reach: reachOf(c.tb)}
		var warnings []string
		err := tr.readEdits(edit(1, c.list...), second, &warnings)
		var place *av.Error
		if errors.As(err, &place); err == nil && c.field != "" || err != nil && (place == nil || place.Field != c.field || place.Offset <= 0) {
			t.Errorf("%v at 1/%d: %v, want %s", c.list, c.tb.Den, err, c.field)
		}
	}
	g := avtest.ReadAll(t, avtest.NewSynthetic(avtest.Spec{Video: avtest.Video{Frames: 10}}))[0]
	for _, c := range []struct {
		scale uint32
		start int64
		dur   int64
		field string
	}{
		{25, 1 << 61, 1, "tfdt.baseMediaDecodeTime"},
		{1e7, 1 << 61, 1, "tfdt.baseMediaDecodeTime"},
		{1, 1 << 33, 1, "tfdt.baseMediaDecodeTime"},
		{1e7, 17_640_000_000_000_000, 400_000, ""},
		{1, 0, 1<<32 - 1, "trun.sample_duration"},
	} {
		tr := g.Tracks[0]
		tr.Timebase = av.Timebase{Num: 1, Den: c.scale}
		b, err := AppendInit(nil, &tr, 1, 0)
		if err != nil {
			t.Fatal(err)
		}
		f := Fragment{Sequence: 1, TrackID: 1, Factor: 1, Packets: g.Packets}
		for i := range f.Packets {
			p := &f.Packets[i]
			p.DTS, p.PTS, p.Dur = c.start+int64(i)*c.dur, c.start+int64(i)*c.dur, c.dur
		}
		b = f.Append(AppendSegmentType(b))
		for i := range f.Packets {
			b = append(b, f.Packets[i].Data...)
		}
		if got := fault(t, b); (got == nil) != (c.field == "") || got != nil && (got.Field != c.field || got.Offset <= 0) {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

// TestDeltasOutOfReach: the durations of a table may add up to what is none, too.
func TestDeltasOutOfReach(t *testing.T) {
	tr := &track{id: 1, tb: av.Timebase{Num: 1, Den: 1}, reach: reachOf(av.Timebase{Num: 1, Den: 1})}
	for range 9 {
		tr.tables.stts = binary.BigEndian.AppendUint64(tr.tables.stts, 1<<32|1<<31)
	}
	tr.tables.count, tr.tables.fixed = 9, 1
	tr.tables.stsc = append(binary.BigEndian.AppendUint64(nil, 1<<32|9), 0, 0, 0, 1)
	tr.tables.stco = []byte{0, 0, 0, 100}
	tr.cur = tr.tables.cursor()
	n := 0
	for {
		ok, err := tr.peek()
		if err != nil {
			var place *av.Error
			if !errors.As(err, &place) || place.Field != "stts.sample_delta" || n != 3 {
				t.Errorf("%d samples, %v", n, err)
			}
			return
		}
		if !ok {
			t.Fatal("all of it is read")
		}
		tr.peeked = false
		n++
	}
}
