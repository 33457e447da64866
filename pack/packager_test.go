package pack_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/chunk"
	"github.com/cleave-video/cleave/format/mp4"
	"github.com/cleave-video/cleave/mem"
	"github.com/cleave-video/cleave/pack"
)

// rig cuts a synthetic stream and renders its parts.
type rig struct {
	t       *testing.T
	pool    *mem.Pool
	parts   map[uint64][][]pack.Part // by chunk and track
	packets map[uint64][][]av.Packet
	why     map[uint64]chunk.Reason
	tracks  []av.Track
	inits   [][]byte
	stopAt  int // packets, then the context ends; 0 never
}

func (r *rig) run(spec avtest.Spec, policy chunk.Policy, cfg pack.PackagerConfig) {
	r.t.Helper()
	r.parts, r.packets, r.why = map[uint64][][]pack.Part{}, map[uint64][][]av.Packet{}, map[uint64]chunk.Reason{}
	r.pool = mem.NewPool(32 << 20)
	ctx, cancel := context.WithCancel(r.t.Context())
	defer cancel()
	in, blocks := r.pool.NewArena(ctx), r.pool.NewArena(ctx)
	defer in.Close()
	defer blocks.Close()
	cfg.Blocks = blocks
	d := avtest.NewSynthetic(spec)
	k := pack.NewPackager(cfg)
	c, err := chunk.New(chunk.Config{Stream: "s", Epoch: 1, Policy: policy, Arena: in})
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { r.take(k, c.Close(chunk.End)) }()
	for n := 0; ; n++ {
		if r.stopAt > 0 && n == r.stopAt {
			cancel()
		}
		p, err := d.ReadPacket(in)
		switch {
		case errors.Is(err, av.ErrTracks):
			r.tracks = d.Tracks()
			events, err := c.SetTracks(r.tracks)
			if err != nil {
				r.t.Fatal(err)
			}
			r.take(k, events)
			if err := k.SetTracks(r.tracks); err != nil {
				r.t.Fatal(err)
			}
			for i := range r.tracks {
				r.inits = append(r.inits, k.Init(i))
			}
		case err != nil:
			return
		default:
			events, err := c.Write(p)
			if err != nil {
				r.t.Fatal(err)
			}
			if !r.take(k, events) {
				return
			}
		}
	}
}

// take gives events to the packager; false means that it failed.
func (r *rig) take(k *pack.Packager, events []chunk.Event) bool {
	ok := true
	for _, e := range events {
		var l []pack.Part
		var err error
		switch e.Op {
		case chunk.Add:
			l, err = k.Write(e.Packet, e.Chunk)
		case chunk.Close:
			l, err = k.Close(e.Chunk)
			for i, run := range e.Chunk.Runs {
				r.packets[e.Chunk.Seq] = append(r.packets[e.Chunk.Seq], nil)
				for _, p := range run {
					p.Data = bytes.Clone(p.Data)
					r.packets[e.Chunk.Seq][i] = append(r.packets[e.Chunk.Seq][i], p)
				}
			}
			r.why[e.Chunk.Seq] = e.Chunk.Why
			e.Chunk.Release()
		}
		for _, p := range l {
			seq := e.Chunk.Seq
			if p.Chunk != e.Chunk.ID { // the chunk before, which the lead has left
				seq--
			}
			for len(r.parts[seq]) < len(r.tracks) {
				r.parts[seq] = append(r.parts[seq], nil)
			}
			r.parts[seq][p.Track] = append(r.parts[seq][p.Track], p)
		}
		if err != nil {
			if !errors.Is(err, context.Canceled) {
				r.t.Fatal(err)
			}
			ok = false
		}
	}
	return ok
}

// release gives every block back; nothing is left.
func (r *rig) release() {
	r.t.Helper()
	for _, tracks := range r.parts {
		for _, l := range tracks {
			for _, p := range l {
				p.Block.Release()
			}
		}
	}
	if n := r.pool.InUse(); n != 0 {
		r.t.Errorf("%d bytes are not home", n)
	}
	r.pool.Close()
}

// file joins the parts of a track to a file that the demuxer reads.
func (r *rig) file(track int) []byte {
	b := bytes.Clone(r.inits[track])
	for seq := uint64(0); seq < uint64(len(r.parts)); seq++ {
		for _, p := range r.parts[seq][track] {
			b = append(b, p.Block.Bytes()...)
		}
	}
	return b
}

var specs = map[string]avtest.Spec{
	"25 a second": {Video: avtest.Video{Frames: 260}, Audio: avtest.Audio{Frames: 480}},
	"B-frames":    {Video: avtest.Video{Frames: 260, B: 2, GOPs: []int{25, 50, 13}}, Audio: avtest.Audio{Frames: 480, SampleRate: 44100}},
	"open GOPs":   {Video: avtest.Video{Frames: 200, B: 2, Open: true}},
	"29.97":       {Video: avtest.Video{Frames: 300, Timebase: av.Timebase{Num: 1, Den: 30000}, FrameDur: 1001}, Audio: avtest.Audio{Frames: 460}},
	"audio":       {Audio: avtest.Audio{Frames: 500}},
	"all intra":   {Video: avtest.Video{Frames: 100, GOPs: []int{1}}},
}

// TestPartsAreTheChunk: joined, the parts hold every packet of the chunk in order,
// with its times and durations; each is as long as it may be.
func TestPartsAreTheChunk(t *testing.T) {
	for name, spec := range specs {
		t.Run(name, func(t *testing.T) {
			r := &rig{t: t}
			defer func() { r.release() }()
			r.run(spec, chunk.Keyframe{Target: 2 * time.Second}, pack.PackagerConfig{Offset: 3})
			for track := range r.tracks {
				var want []av.Packet
				for seq := uint64(0); seq < uint64(len(r.packets)); seq++ {
					want = append(want, r.packets[seq][track]...)
					r.lengths(seq, track)
				}
				compare(t, r.tracks[track], want, r.file(track), 3)
			}
		})
	}
}

// lengths checks the parts of one segment.
func (r *rig) lengths(seq uint64, track int) {
	tb := r.tracks[track].Timebase
	list := r.parts[seq][track]
	var frame int64
	for _, p := range r.packets[seq][track] {
		frame = max(frame, p.Dur)
	}
	for i, p := range list {
		d := tb.Duration(p.Dur)
		if d > pack.DefaultPart+tb.Duration(frame)/2+time.Millisecond || p.Index != i {
			r.t.Errorf("chunk %d, track %d, part %d (Index %d) lasts %v", seq, track, i, p.Index, d)
		}
		if i < len(list)-1 && d < (pack.DefaultPart-tb.Duration(frame)/2)*85/100 {
			r.t.Errorf("chunk %d, track %d, part %d of %d lasts only %v", seq, track, i, len(list), d)
		}
		if i == 0 && !p.Independent {
			r.t.Errorf("chunk %d, track %d: its first part is not independent", seq, track)
		}
	}
}

// compare reads a file back.
func compare(t *testing.T, tr av.Track, want []av.Packet, file []byte, offset int64) {
	t.Helper()
	l := avtest.ReadAll(t, mp4.New(bytes.NewReader(file), int64(len(file))))
	if len(l) != 1 {
		t.Fatalf("%d sets of tracks", len(l))
	}
	scale, factor := tr.Timebase.Timescale()
	got := l[0].Of(0)
	if len(got) != len(want) {
		t.Fatalf("%d packets of %d", len(got), len(want))
	}
	for i := range want {
		w, g := want[i], got[i]
		w.DTS, w.PTS, w.Dur = w.DTS*factor+offset*int64(scale), w.PTS*factor+offset*int64(scale), w.Dur*factor
		w.Track, w.Flags, g.Flags = 0, 0, 0
		if d := cmp.Diff(w, g); d != "" {
			t.Fatalf("packet %d: %s", i, d)
		}
	}
}

// TestPackagerCancelled: at whatever packet the context ends, every slab comes home.
func TestPackagerCancelled(t *testing.T) {
	spec := specs["B-frames"]
	for n := 1; n < 400; n += 7 {
		r := &rig{t: t, stopAt: n}
		r.run(spec, chunk.Keyframe{Target: time.Second}, pack.PackagerConfig{})
		r.release()
	}
}

// TestNegativeTimes: what would begin before 0 is left out and counted.
func TestNegativeTimes(t *testing.T) {
	spec := specs["25 a second"]
	spec.Start = -2 * time.Second
	r := &rig{t: t}
	defer func() { r.release() }()
	r.run(spec, chunk.Keyframe{Target: 2 * time.Second}, pack.PackagerConfig{Offset: 1})
	for track := range r.tracks {
		l := avtest.ReadAll(t, mp4.New(bytes.NewReader(r.file(track)), -1))
		if first := l[0].Of(0)[0].DTS; first < 0 {
			t.Errorf("track %d begins at %d", track, first)
		}
	}
}

// TestUnsupported: a packager of tracks that CMAF cannot carry says so.
func TestUnsupported(t *testing.T) {
	k := pack.NewPackager(pack.PackagerConfig{})
	if err := k.SetTracks([]av.Track{{Kind: av.Data, Codec: av.Private}}); !errors.Is(err, av.ErrUnsupported) {
		t.Error(err)
	}
	if err := k.SetTracks([]av.Track{{Kind: av.Video, Codec: av.H264, Config: []byte{1}}}); err == nil {
		t.Error("a damaged configuration was taken")
	}
}
