package avtest

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"testing"
	"unsafe"

	"github.com/cleave-video/cleave/av"
)

// Options says what a demuxer promises beyond av.Demuxer.
type Options struct {
	// Bits is how many bits its times have; 0: they do not wrap.
	Bits int
	// Composed: the PTS of every packet is not before its DTS.
	Composed bool
	// Input, with Open, is the input that the open function of Run reads, for
	// demuxers that read front to back: they are also tried with readers that give
	// little, fail, and never end.
	Input []byte
	Open  func(r io.Reader) av.Demuxer
}

// Run checks what every demuxer promises; open returns a new one of the same
// input each time, and the input has no fault. It closes what it opened.
func Run(t *testing.T, open func(tb testing.TB) av.Demuxer, o Options) {
	t.Helper()
	opened := func(t *testing.T) av.Demuxer {
		t.Helper()
		d := open(t)
		t.Cleanup(func() { d.Close() })
		return d
	}
	t.Run("contract", func(t *testing.T) { contract(t, opened(t), o) })
	t.Run("end", func(t *testing.T) { end(t, opened(t)) })
	t.Run("close", func(t *testing.T) { closing(t, opened(t)) })
	t.Run("allocator", func(t *testing.T) { failingAllocator(t, opened(t)) })
	t.Run("again", func(t *testing.T) {
		equal(t, ReadAll(t, opened(t)), ReadAll(t, opened(t)))
	})
	if o.Open != nil {
		readers(t, o)
	}
}

// checker follows one demuxer through its input.
type checker struct {
	t      *testing.T
	o      Options
	tracks []av.Track // a deep copy
	last   []int64    // DTS by track
	seen   []bool
	alloc  recorder
	kept   []kept
	seed   maphash.Seed
}

type kept struct {
	data []byte
	sum  uint64
}

// contract: the first call returns ErrTracks; tracks are valid and stay; DTS rise;
// data are of the allocator, by track and in order, and nobody writes to them.
func contract(t *testing.T, d av.Demuxer, o Options) {
	c := &checker{t: t, o: o, seed: maphash.MakeSeed()}
	if _, err := d.ReadPacket(&c.alloc); !errors.Is(err, av.ErrTracks) {
		t.Fatalf("the first ReadPacket returned %v, want %v", err, av.ErrTracks)
	}
	if len(c.alloc.given) > 0 {
		t.Error("memory was allocated before the first av.ErrTracks")
	}
	c.retrack(d)
	progress, hasProgress := d.(av.Progress)
	before := int64(0)
	for n := 0; ; n++ {
		p, err := d.ReadPacket(&c.alloc)
		switch {
		case errors.Is(err, av.ErrTracks):
			c.unchanged()
			c.retrack(d)
			continue
		case err == nil:
			c.packet(n, p)
		case !errors.Is(err, io.EOF):
			t.Fatalf("packet %d: %v", n, err)
		}
		if hasProgress {
			done, total := progress.Progress()
			if done < before || total > 0 && done > total {
				t.Fatalf("packet %d: progress %d of %d after %d", n, done, total, before)
			}
			before = done
		}
		if err != nil {
			break
		}
	}
	c.unchanged()
	if len(c.kept) == 0 {
		t.Error("no packets")
	}
	if dur, ok := d.(av.Durationer); ok {
		if n, tb, ok := dur.Duration(); ok && (n < 0 || !tb.Valid()) {
			t.Errorf("duration %d of timebase %v", n, tb)
		}
	}
	if w, ok := d.(av.Warner); ok && len(w.Warnings()) > 0 {
		t.Logf("warnings: %q", w.Warnings())
	}
}

func (c *checker) retrack(d av.Demuxer) {
	c.t.Helper()
	c.tracks = c.tracks[:0]
	if len(d.Tracks()) == 0 {
		c.t.Fatal("no tracks behind av.ErrTracks")
	}
	for i, tr := range d.Tracks() {
		switch {
		case tr.Kind < av.Video || tr.Kind > av.Data:
			c.t.Errorf("track %d: kind %v", i, tr.Kind)
		case tr.Codec <= av.CodecUnknown || tr.Codec > av.Private:
			c.t.Errorf("track %d: codec %v", i, tr.Codec)
		case !tr.Timebase.Valid():
			c.t.Errorf("track %d: timebase %v", i, tr.Timebase)
		case len(tr.Config) == 0:
			c.t.Errorf("track %d: no configuration", i)
		case (tr.Codec == av.Private) != (tr.Private != av.PrivateNone):
			c.t.Errorf("track %d: codec %v with private format %d", i, tr.Codec, tr.Private)
		}
		tr.Config = bytes.Clone(tr.Config)
		c.tracks = append(c.tracks, tr)
	}
	c.last, c.seen = make([]int64, len(c.tracks)), make([]bool, len(c.tracks))
}

// unchanged checks what nobody may write to.
func (c *checker) unchanged() {
	c.t.Helper()
	for i, k := range c.kept {
		if maphash.Bytes(c.seed, k.data) != k.sum {
			c.t.Fatalf("packet %d: its data changed after ReadPacket returned it", i)
		}
	}
}

func (c *checker) packet(n int, p av.Packet) {
	c.t.Helper()
	if p.Track < 0 || p.Track >= len(c.tracks) {
		c.t.Fatalf("packet %d: track %d of %d", n, p.Track, len(c.tracks))
	}
	if p.Dur < 0 {
		c.t.Errorf("packet %d: duration %d", n, p.Dur)
	}
	if c.seen[p.Track] && c.sub(p.DTS, c.last[p.Track]) <= 0 && !p.Flags.Has(av.Discont) {
		c.t.Errorf("packet %d of track %d: DTS %d after %d", n, p.Track, p.DTS, c.last[p.Track])
	}
	if c.o.Composed && c.sub(p.PTS, p.DTS) < 0 {
		c.t.Errorf("packet %d of track %d: PTS %d before DTS %d", n, p.Track, p.PTS, p.DTS)
	}
	if bits := c.o.Bits; bits > 0 && (uint64(p.DTS)>>bits != 0 || uint64(p.PTS)>>bits != 0) {
		c.t.Errorf("packet %d: DTS %d, PTS %d of %d bits", n, p.DTS, p.PTS, bits)
	}
	if err := c.alloc.returned(p.Track, p.Data); err != nil {
		c.t.Errorf("packet %d of track %d: %v", n, p.Track, err)
	}
	c.last[p.Track], c.seen[p.Track] = p.DTS, true
	c.kept = append(c.kept, kept{p.Data, maphash.Bytes(c.seed, p.Data)})
}

// sub returns a - b, by the nearest way round if times wrap.
func (c *checker) sub(a, b int64) int64 {
	if c.o.Bits == 0 {
		return a - b
	}
	return (a - b) << (64 - c.o.Bits) >> (64 - c.o.Bits)
}

// recorder is an Allocator that knows what it gave.
type recorder struct{ given [][][]byte }

func (r *recorder) Alloc(track, n int) ([]byte, error) {
	if track < 0 || n < 0 {
		return nil, fmt.Errorf("avtest: %d bytes for track %d were asked for", n, track)
	}
	for len(r.given) <= track {
		r.given = append(r.given, nil)
	}
	b := make([]byte, n)
	r.given[track] = append(r.given[track], b)
	return b, nil
}

// returned checks that data lies in memory given to track, in the order in which
// it was given.
func (r *recorder) returned(track int, data []byte) error {
	if len(data) == 0 {
		return nil
	}
	if track >= len(r.given) {
		return errors.New("its data are not of the allocator")
	}
	at := uintptr(unsafe.Pointer(unsafe.SliceData(data)))
	for i, b := range r.given[track] {
		from := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
		if at >= from && at+uintptr(len(data)) <= from+uintptr(len(b)) {
			r.given[track] = r.given[track][i:]
			return nil
		}
	}
	return errors.New("its data are not of the allocator, of another track, or out of order")
}

// end: io.EOF repeats.
func end(t *testing.T, d av.Demuxer) {
	ReadAll(t, d)
	for range 3 {
		if _, err := d.ReadPacket(av.Heap{}); !errors.Is(err, io.EOF) {
			t.Fatalf("behind the end: %v, want %v", err, io.EOF)
		}
	}
}

// closing: Close is idempotent, and ReadPacket fails behind it, at the latest once what
// was read ahead is given.
func closing(t *testing.T, d av.Demuxer) {
	for range 2 {
		if _, err := d.ReadPacket(av.Heap{}); err != nil && !errors.Is(err, av.ErrTracks) {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		if err := d.Close(); err != nil {
			t.Errorf("Close, time %d: %v", i+1, err)
		}
	}
	for range readAhead {
		if _, err := d.ReadPacket(av.Heap{}); err != nil && !errors.Is(err, av.ErrTracks) {
			return
		}
	}
	t.Errorf("%d packets behind Close", readAhead)
}

// readAhead is how many packets a demuxer may have read and still give behind
// Close.
const readAhead = 4096

var errFull = errors.New("avtest: no memory")

type full struct{}

func (full) Alloc(int, int) ([]byte, error) { return nil, errFull }

// failingAllocator: its error is returned.
func failingAllocator(t *testing.T, d av.Demuxer) {
	for {
		_, err := d.ReadPacket(full{})
		switch {
		case errors.Is(err, av.ErrTracks):
		case errors.Is(err, errFull):
			return
		default:
			t.Fatalf("ReadPacket without memory: %v, want %v", err, errFull)
		}
	}
}
