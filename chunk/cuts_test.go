package chunk_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/chunk"
	"github.com/cleave-video/cleave/mem"
)

var update = flag.Bool("update", false, "write the golden files")

var tick = av.Timebase{Num: 1, Den: 25}

// TestCut asks each policy about one packet.
func TestCut(t *testing.T) {
	key := chunk.Head{Lead: true, PTS: 50, DTS: 48, Dur: 1, Flags: av.Key, Size: 1000}
	at := func(h chunk.Head, pts int64) chunk.Head { h.PTS, h.DTS = pts, pts-2; return h }
	inside := key
	inside.Flags = 0
	audio := key
	audio.Lead = false
	gop := chunk.Span{Timebase: tick, MaxPTS: 50, Frames: 50, Bytes: 90_000, Keys: 2, LastKey: 25, GOPFrames: 25, GOPBytes: 45_000}
	ticks := chunk.Span{Timebase: av.Clock90k, Frames: 49}
	safe := gop
	safe.Safe = true
	ahead := safe
	ahead.GOPBytes, ahead.LastGOPBytes = 38_000, 36_000
	large := safe
	large.GOPBytes, large.LastGOPBytes = 46_000, 36_000
	late := gop
	late.Start, late.LastKey = 30, 30
	for _, c := range []struct {
		name   string
		policy chunk.Policy
		span   chunk.Span
		head   chunk.Head
		want   chunk.Reason
	}{
		{"keyframe on the grid", chunk.Keyframe{Target: 2 * time.Second}, gop, key, chunk.Grid},
		{"keyframe a frame early", chunk.Keyframe{Target: 2 * time.Second}, gop, at(key, 49), chunk.None},
		{"keyframe less than half a frame early", chunk.Keyframe{Target: 2 * time.Second}, ticks, chunk.Head{Lead: true, PTS: 178_500, Dur: 3600, Flags: av.Key}, chunk.Grid},
		{"keyframe more than half a frame early", chunk.Keyframe{Target: 2 * time.Second}, ticks, chunk.Head{Lead: true, PTS: 178_000, Dur: 3600, Flags: av.Key}, chunk.None},
		{"keyframe that began late keeps the grid", chunk.Keyframe{Target: 2 * time.Second}, late, key, chunk.Grid},
		{"keyframe inside a GOP", chunk.Keyframe{Target: time.Second}, safe, inside, chunk.None},
		{"keyframe of sound", chunk.Keyframe{Target: time.Second}, gop, audio, chunk.None},
		{"keyframe, the next GOP breaks the promise", chunk.Keyframe{Target: time.Hour, TD: 2 * time.Second}, gop, key, chunk.NextGOP},
		{"keyframe, the next GOP fits the promise", chunk.Keyframe{Target: time.Hour, TD: 3 * time.Second}, gop, key, chunk.None},
		{"keyframe in an empty chunk", chunk.Keyframe{Target: time.Second}, chunk.Span{Timebase: tick}, key, chunk.None},
		{"fixed at a key frame", chunk.Fixed{Target: 2 * time.Second}, gop, key, chunk.Wall},
		{"fixed inside a GOP", chunk.Fixed{Target: 2 * time.Second}, safe, inside, chunk.Wall},
		{"fixed among reordered pictures", chunk.Fixed{Target: 2 * time.Second}, gop, inside, chunk.None},
		{"fixed before the wall", chunk.Fixed{Target: 3 * time.Second}, safe, inside, chunk.None},
		{"memory, room for one more GOP", chunk.Memory{MaxBytes: 200_000}, gop, key, chunk.None},
		{"memory, no room for one more GOP", chunk.Memory{MaxBytes: 120_000}, gop, key, chunk.Bytes},
		{"memory, full", chunk.Memory{MaxBytes: 90_999}, gop, inside, chunk.Bytes},
		{"memory, to the byte", chunk.Memory{MaxBytes: 91_000}, gop, inside, chunk.None},
		{"memory, nearly full at a safe place", chunk.Memory{MaxBytes: 100_000}, safe, inside, chunk.Bytes},
		{"memory, nearly full before a key frame", chunk.Memory{MaxBytes: 100_000}, ahead, inside, chunk.None},
		{"memory, nearly full in a large GOP", chunk.Memory{MaxBytes: 100_000}, large, inside, chunk.Bytes},
		{"memory, no room for a GOP that is a little larger", chunk.Memory{MaxBytes: 140_000}, gop, key, chunk.Bytes},
		{"adaptive, frames enough", chunk.AdaptiveGOP{MinGOP: 50, MaxGOP: 100}, gop, key, chunk.Frames},
		{"adaptive, too few", chunk.AdaptiveGOP{MinGOP: 51, MaxGOP: 100}, gop, key, chunk.None},
		{"adaptive, another GOP is too many", chunk.AdaptiveGOP{MinGOP: 60, MaxGOP: 70}, gop, key, chunk.Frames},
		{"adaptive, frames enough but too short", chunk.AdaptiveGOP{MinGOP: 1, MaxGOP: 100, MinDur: 3 * time.Second}, gop, key, chunk.None},
		{"adaptive, another GOP is too long", chunk.AdaptiveGOP{MinGOP: 60, MaxGOP: 100, MaxDur: 2900 * time.Millisecond}, gop, key, chunk.Frames},
		{"adaptive inside a GOP", chunk.AdaptiveGOP{MinGOP: 1, MaxGOP: 10}, safe, inside, chunk.None},
	} {
		if got := c.policy.Cut(c.span, c.head); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestParse: the parameters and their limits.
func TestParse(t *testing.T) {
	for _, name := range chunk.Names() {
		if _, err := chunk.Parse(name, chunk.Options{}); err != nil {
			t.Errorf("%s with defaults: %v", name, err)
		}
	}
	for _, c := range []struct {
		name string
		o    chunk.Options
	}{
		{"", chunk.Options{}},
		{"gop", chunk.Options{}},
		{"keyframe", chunk.Options{Target: time.Millisecond}},
		{"fixed", chunk.Options{Target: 2 * time.Hour}},
		{"memory", chunk.Options{MaxBytes: 1}},
		{"memory", chunk.Options{MaxBytes: 1 << 40}},
		{"adaptive_gop", chunk.Options{MinGOP: 30, MaxGOP: 20}},
		{"adaptive_gop", chunk.Options{MinGOP: -1}},
		{"adaptive_gop", chunk.Options{MinDur: 2, MaxDur: 1}},
	} {
		if _, err := chunk.Parse(c.name, c.o); !errors.Is(err, chunk.ErrPolicy) {
			t.Errorf("%s %+v: %v", c.name, c.o, err)
		}
	}
}

// cutList cuts a synthetic stream and writes a line for each chunk.
func cutList(t *testing.T, spec avtest.Spec, policy chunk.Policy) []byte {
	t.Helper()
	pool := mem.NewPool(0)
	defer pool.Close()
	arena := pool.NewFailingArena()
	defer arena.Close()
	c, err := chunk.New(chunk.Config{Policy: policy, Arena: arena})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%-5s %8s %6s %6s %8s %s\n", "chunk", "start", "frames", "audio", "bytes", "why")
	take := func(events []chunk.Event, err error) {
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.Op != chunk.Close {
				continue
			}
			k := e.Chunk
			audio, marks := 0, ""
			for i, run := range k.Runs {
				if i != k.Lead {
					audio += len(run)
				}
			}
			if !k.Independent {
				marks += " dependent"
			}
			if k.Discont {
				marks += " discontinuity"
			}
			fmt.Fprintf(&b, "%5d %8d %6d %6d %8d %v%s\n", k.Seq, k.ID.Start, len(k.Runs[k.Lead]), audio, k.Bytes(), k.Why, marks)
			k.Release()
		}
	}
	for d := avtest.NewSynthetic(spec); ; {
		p, err := d.ReadPacket(arena)
		switch {
		case errors.Is(err, av.ErrTracks):
			take(c.SetTracks(d.Tracks()))
		case err != nil:
			take(c.Close(chunk.End), nil)
			return b.Bytes()
		default:
			take(c.Write(p))
		}
	}
}

// TestGolden: where each policy cuts the usual kinds of streams.
func TestGolden(t *testing.T) {
	sound := avtest.Audio{Frames: 940}
	specs := map[string]avtest.Spec{
		"closed": {Video: avtest.Video{Frames: 500, B: 2, GOPs: []int{25}}, Audio: sound},
		"open":   {Video: avtest.Video{Frames: 500, B: 2, GOPs: []int{30}, Open: true}, Audio: sound},
		"uneven": {Video: avtest.Video{Frames: 500, B: 1, GOPs: []int{7, 60, 13, 31}}, Audio: sound},
		"long":   {Video: avtest.Video{Frames: 500, GOPs: []int{250}}, Audio: sound},
		"break": {
			Video: avtest.Video{Frames: 500, GOPs: []int{25}}, Audio: sound,
			Jumps: []avtest.Jump{{At: 7 * time.Second, By: time.Hour, Marked: true}},
		},
		"ends early": {Video: avtest.Video{Frames: 100, GOPs: []int{25}}, Audio: avtest.Audio{Frames: 4000}},
	}
	for _, name := range chunk.Names() {
		policy, err := chunk.Parse(name, chunk.Options{MaxBytes: 64 << 10})
		if err != nil {
			t.Fatal(err)
		}
		for kind, spec := range specs {
			got := cutList(t, spec, policy)
			file := filepath.Join("testdata/golden", name+"-"+kind+".txt")
			if *update {
				if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s:\n%s\nwant\n%s", file, got, want)
			}
		}
	}
}

// TestBoundAhead: a bound is kept at the key frame before it, not inside a GOP.
func TestBoundAhead(t *testing.T) {
	for name, spec := range map[string]avtest.Spec{
		"7 s": {Video: avtest.Video{Frames: 4000, GOPs: []int{175}}},
		// They last a minute but for what their times are rounded by.
		"2 s and a tick": {Video: avtest.Video{Frames: 4000, GOPs: []int{50}, Timebase: av.Timebase{Num: 1, Den: 12799}, FrameDur: 512}},
	} {
		got := cutList(t, spec, chunk.Memory{MaxBytes: 1 << 30})
		if !bytes.Contains(got, []byte("max_duration")) || bytes.Contains(got, []byte("dependent")) {
			t.Errorf("%s:\n%s", name, got)
		}
	}
}

// TestWriteDoesNotAllocate: once its lists have grown, cutting costs no memory.
func TestWriteDoesNotAllocate(t *testing.T) {
	c, err := chunk.New(chunk.Config{Policy: chunk.Keyframe{Target: time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.SetTracks([]av.Track{
		{Kind: av.Video, Codec: av.H264, Timebase: tick}, {Kind: av.Audio, Codec: av.AAC, Timebase: av.Timebase{Num: 1, Den: 50}},
	}); err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 100)
	n := int64(0)
	write := func() {
		for range 25 {
			p := av.Packet{DTS: n, PTS: n, Dur: 1, Data: data}
			if n%25 == 0 {
				p.Flags = av.Key
			}
			for _, p := range [...]av.Packet{p, {Track: 1, DTS: 2 * n, PTS: 2 * n, Dur: 1, Data: data}, {Track: 1, DTS: 2*n + 1, PTS: 2*n + 1, Dur: 1, Data: data}} {
				events, err := c.Write(p)
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range events {
					if e.Op == chunk.Close {
						e.Chunk.Release()
					}
				}
			}
			n++
		}
	}
	for range 8 {
		write()
	}
	if got := testing.AllocsPerRun(20, write); got > 1 { // the chunk itself
		t.Errorf("%v allocations a chunk of 75 packets", got)
	}
}
