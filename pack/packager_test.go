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
	// After so many packets, the packager promises; 0 never.
	promiseAt int
	promised  time.Duration
	change    func(*av.Packet) // of each packet's times
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
		if r.promiseAt > 0 && n == r.promiseAt {
			r.promised = k.Promise()
		}
		p, err := d.ReadPacket(in)
		if r.change != nil {
			r.change(&p)
		}
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

// TestPromiseIsKept: behind the chunk in which it was made, no part is longer than
// PART-TARGET, and none but the last of a segment and independent ones much shorter,
// whatever the tracks' frames.
func TestPromiseIsKept(t *testing.T) {
	millis := func(num, den int64) avtest.Spec { // frames of num/den ms, rounded as FLV rounds
		return avtest.Spec{
			Video: avtest.Video{Frames: 300, Timebase: av.Timebase{Num: 1, Den: 1000}, FrameDur: num / den, GOPs: []int{30}},
			Audio: avtest.Audio{Frames: int(300 * num / den * 48 / 1024)},
		}
	}
	for _, c := range []struct {
		name   string
		spec   avtest.Spec
		target time.Duration
		want   time.Duration
		change func(*av.Packet)
	}{
		{name: "25 a second", spec: specs["25 a second"], want: 201 * time.Millisecond},
		{name: "29.97", spec: specs["29.97"], want: 201 * time.Millisecond},
		{name: "B-frames", spec: specs["B-frames"], want: 201 * time.Millisecond},
		{name: "audio", spec: specs["audio"], want: 193 * time.Millisecond},
		{name: "100 ms", spec: specs["25 a second"], target: 100 * time.Millisecond, want: 121 * time.Millisecond},
		{name: "FLV 30", spec: millis(100, 3), want: 201 * time.Millisecond, change: func(p *av.Packet) {
			if p.Track == 0 {
				n := p.DTS / 33
				p.DTS, p.PTS, p.Dur = (n*100+1)/3, (n*100+1)/3, 0
			}
		}},
		{name: "uneven", spec: millis(40, 1), want: 364 * time.Millisecond, change: func(p *av.Packet) {
			if p.Track == 0 { // 32 or 47 ms
				p.DTS += p.DTS / 40 * 7 % 15
				p.PTS, p.Dur = p.DTS, 0
			}
		}},
		{name: "four a second", spec: avtest.Spec{Video: avtest.Video{Frames: 60, Timebase: av.Timebase{Num: 1, Den: 4}, GOPs: []int{8}}}, want: 251 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &rig{t: t, promiseAt: 60, change: c.change}
			defer func() { r.release() }()
			r.run(c.spec, chunk.Keyframe{Target: time.Second}, pack.PackagerConfig{Target: c.target})
			if r.promised != c.want {
				t.Errorf("promised %v, want %v", r.promised, c.want)
			}
			r.keeps(3)
		})
	}
}

func (r *rig) keeps(from uint64) {
	r.t.Helper()
	for seq := from; seq < uint64(len(r.parts)); seq++ {
		for track, list := range r.parts[seq] {
			for i, p := range list {
				d := r.tracks[track].Timebase.Duration(p.Dur)
				if d > r.promised {
					r.t.Errorf("chunk %d, track %d, part %d of %d lasts %v of %v", seq, track, i, len(list), d, r.promised)
				}
				if d < r.promised*85/100 && i < len(list)-1 && !p.Independent {
					r.t.Errorf("chunk %d, track %d, part %d of %d lasts only %v of %v", seq, track, i, len(list), d, r.promised)
				}
			}
		}
	}
}

// TestKeyRange: a part that begins with a key frame says where its moof and that
// frame are.
func TestKeyRange(t *testing.T) {
	r := &rig{t: t}
	defer func() { r.release() }()
	r.run(specs["B-frames"], chunk.Keyframe{Target: 2 * time.Second}, pack.PackagerConfig{})
	keys := 0
	for seq := uint64(0); seq < uint64(len(r.parts)); seq++ {
		for _, p := range r.parts[seq][0] {
			b := p.Block.Bytes()
			if (p.Index == 0) != (p.Key.Size > 0) && p.Index == 0 {
				t.Errorf("chunk %d begins without a key frame", seq)
			}
			if p.Key.Size == 0 {
				continue
			}
			keys++
			if string(b[p.Key.Offset+4:][:4]) != "moof" || !bytes.HasSuffix(b[:p.Key.Offset+p.Key.Size], r.packets[seq][0][keyOf(r.packets[seq][0], p.DTS)].Data) {
				t.Errorf("chunk %d part %d: the range is not its moof and first frame", seq, p.Index)
			}
		}
	}
	if keys < 3 {
		t.Errorf("%d key frames", keys)
	}
}

func keyOf(packets []av.Packet, dts int64) int {
	for i := range packets {
		if packets[i].DTS == dts {
			return i
		}
	}
	return 0
}
