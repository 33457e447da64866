// Package replaytest has a day of a stream that never was: each frame says its number, so
// that who is given some of it can be told which they are.
package replaytest

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/format/mp4"
	"github.com/cleave-video/cleave/index"
	"github.com/cleave-video/cleave/store"
)

// The day: chunks of two GOPs at 30000/1001 frames a second, each a second of 30 frames
// with B pictures, and sound.
const (
	Name      = "live/day"
	Chunks    = 43000
	PerChunk  = 60 // frames
	PerGOP    = 30
	Scale     = 30000
	FrameDur  = 1001
	SoundRate = 48000
	SoundDur  = 1024
	// Broken is the first chunk of another epoch, which comes Hole later, and Missing the
	// one that was not stored.
	Broken  = 20000
	Missing = 30000
	Hole    = 5 * time.Minute

	skipped = 3    // numbers between both epochs
	zero    = 1000 // seconds, at which both begin
)

// Begin is when the day begins.
var begin = time.Date(2026, 3, 1, 6, 0, 0, 123_456_789, time.UTC)

// Day makes the chunks.
type Day struct {
	tracks []av.Track
	Inits  [2][]byte // of video0 and audio0
	names  [2]string
}

// NewDay returns the day.
func NewDay() (*Day, error) {
	src := avtest.NewSynthetic(avtest.Spec{
		Video: avtest.Video{Frames: 1, Timebase: av.Timebase{Num: 1, Den: Scale}, FrameDur: FrameDur}, Audio: avtest.Audio{Frames: 1, SampleRate: SoundRate},
	})
	defer src.Close()
	_, _ = src.ReadPacket(av.Heap{}) // says the tracks
	d := &Day{tracks: src.Tracks()}
	for i := range d.Inits {
		var err error
		if d.Inits[i], err = mp4.AppendInit(nil, &d.tracks[i], uint32(i+1), 0); err != nil {
			return nil, err
		}
		d.names[i] = fmt.Sprintf("init-%d.mp4", i)
	}
	return d, nil
}

// Wall is when a frame is shown.
func Wall(frame int) time.Time {
	at := begin.Add(av.Timebase{Num: FrameDur, Den: Scale}.Duration(int64(frame)))
	if frame >= Broken*PerChunk {
		at = at.Add(Hole)
	}
	return at
}

// epoch returns the epoch of a chunk, its number, and the frames before the epoch.
func epoch(chunk int) (n uint32, seq int64, before int) {
	if chunk >= Broken {
		return 2, int64(chunk + skipped), Broken * PerChunk
	}
	return 1, int64(chunk), 0
}

// order is the number of the kth frame of a GOP in the order of decoding: each but the
// first and the last pairs a P picture with the B picture before it.
func order(k int) int {
	switch {
	case k == 0 || k == PerGOP-1:
		return k
	case k%2 == 1:
		return k + 1
	}
	return k - 1
}

// sound returns the first frame of sound that belongs to a chunk of an epoch, by its middle.
func sound(chunk int) int64 {
	at := int64(chunk) * PerChunk * FrameDur * SoundRate / Scale
	return (at - SoundDur/2 + SoundDur - 1) / SoundDur
}

// Chunk returns an entry and its object.
func (d *Day) Chunk(n int) (index.Entry, []byte) {
	ep, seq, before := epoch(n)
	first := int64(n*PerChunk - before)
	e := index.Entry{
		Epoch: ep, Seq: seq, Timebase: av.Timebase{Num: 1, Den: Scale}, Start: first*FrameDur + zero*Scale, Duration: PerChunk * FrameDur,
		Wall: Wall(n * PerChunk), Independent: true, Discontinuity: n == Broken, Reason: 1,
	}
	var b []byte
	for g := 0; g < PerChunk; g += PerGOP {
		f := mp4.Fragment{Sequence: uint32(n*2 + g/PerGOP + 1), TrackID: 1, Factor: 1, Offset: zero * Scale}
		for k := range PerGOP {
			i := order(k)
			p := av.Packet{DTS: (first + int64(g+k) - 1) * FrameDur, PTS: (first + int64(g+i)) * FrameDur, Dur: FrameDur, Data: number(int64(n*PerChunk + g + i))}
			if k == 0 {
				p.Flags = av.Key
			}
			f.Packets = append(f.Packets, p)
		}
		at := int64(len(b))
		b = f.Append(b)
		e.Keys = append(e.Keys, index.Key{Time: f.Packets[0].PTS + zero*Scale, Offset: at, Size: int64(len(b)) - at + 8})
		for i := range f.Packets {
			b = append(b, f.Packets[i].Data...)
		}
	}
	e.Tracks = append(e.Tracks, index.Track{Name: "video0", Init: d.names[0], Timescale: Scale, Start: e.Start, Duration: e.Duration, Size: int64(len(b)), Independent: true})
	f := mp4.Fragment{Sequence: uint32(n + 1), TrackID: 2, Factor: 1, Offset: zero * SoundRate}
	from, to := sound(n-before/PerChunk), sound(n+1-before/PerChunk)
	for k := from; k < to; k++ {
		f.Packets = append(f.Packets, av.Packet{DTS: k * SoundDur, PTS: k * SoundDur, Dur: SoundDur, Flags: av.Key, Data: number(k)})
	}
	at := int64(len(b))
	b = f.Append(b)
	for i := range f.Packets {
		b = append(b, f.Packets[i].Data...)
	}
	e.Tracks = append(e.Tracks, index.Track{
		Name: "audio0", Init: d.names[1], Timescale: SoundRate, Start: from*SoundDur + zero*SoundRate, Duration: (to - from) * SoundDur, Offset: at, Size: int64(len(b)) - at, Independent: true,
	})
	if n == Missing {
		e.Gap, e.Keys = true, nil
		for i := range e.Tracks {
			e.Tracks[i].Gap, e.Tracks[i].Offset, e.Tracks[i].Size = true, 0, 0
		}
		return e, nil
	}
	e.Object = fmt.Sprintf("%s/%d/%010d.chunk", Name, ep, seq)
	e.Size = int64(len(b))
	description := index.AppendDescription(nil, Name, &e)
	b = append(b, description...)
	e.Size = int64(len(b))
	return e, b
}

func number(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

// Fill puts the day into an index, and into a store unless that is nil.
func (d *Day) Fill(ctx context.Context, ix index.Batcher, s store.Store) error {
	var list []index.Entry
	for n := range Chunks {
		e, b := d.Chunk(n)
		if s != nil && b != nil {
			if err := s.Put(ctx, e.Object, bytes.NewReader(b), int64(len(b))); err != nil {
				return err
			}
		}
		if list = append(list, e); len(list) < 1000 && n < Chunks-1 {
			continue
		}
		if err := ix.AddAll(ctx, Name, list); err != nil {
			return err
		}
		list = list[:0]
	}
	for i := range d.Inits {
		if s == nil {
			break
		}
		if err := s.Put(ctx, Name+"/"+d.names[i], bytes.NewReader(d.Inits[i]), int64(len(d.Inits[i]))); err != nil {
			return err
		}
	}
	return nil
}

// Store is the day as a store that makes its objects when they are opened.
type Store struct{ Day *Day }

var _ store.Store = (*Store)(nil)

type object struct{ *bytes.Reader }

func (object) Close() error { return nil }

// Open implements store.Store.
func (s *Store) Open(_ context.Context, key string) (store.Object, error) {
	for i, name := range s.Day.names {
		if key == Name+"/"+name {
			return object{bytes.NewReader(s.Day.Inits[i])}, nil
		}
	}
	parts := strings.Split(strings.TrimPrefix(strings.TrimSuffix(key, ".chunk"), Name+"/"), "/")
	n, err := strconv.Atoi(parts[len(parts)-1])
	if err != nil || len(parts) != 2 {
		return nil, store.ErrNotExist
	}
	if parts[0] == "2" {
		n -= skipped
	}
	if n < 0 || n >= Chunks {
		return nil, store.ErrNotExist
	}
	e, b := s.Day.Chunk(n)
	if e.Object != key {
		return nil, store.ErrNotExist
	}
	return object{bytes.NewReader(b)}, nil
}

// Put implements store.Store: it takes nothing.
func (*Store) Put(context.Context, string, io.ReaderAt, int64) error { return store.ErrFull }

// Delete implements store.Store.
func (*Store) Delete(context.Context, string) error { return nil }

// List implements store.Store: it is not listed.
func (*Store) List(context.Context, string) iter.Seq2[store.Info, error] {
	return func(func(store.Info, error) bool) {}
}
