package mp4

import (
	"slices"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec"
)

// Table gathers the samples of a track for a file whose moov has them all. Samples are
// added in the order in which they are decoded. ISO 14496-12 8.5 to 8.7
type Table struct {
	sizes  []uint32
	stts   []pair
	ctts   []pair
	sync   []uint32 // numbers, from 1
	chunks []laidChunk
	last   int64 // decode time of the last sample
	dur    int64 // its duration
	total  int64 // of those before
	moved  bool  // some are presented at another time than they are decoded at
}

type pair struct{ n, v uint32 }

// laidChunk are samples that lie one behind the other.
type laidChunk struct {
	off         int64
	end         int64
	n           uint32
	description uint32
}

// Len is the number of samples.
func (t *Table) Len() int { return len(t.sizes) }

// Add adds a sample that lies at an offset of the media, with the number of its sample
// description. One that is decoded before the one added last is decoded with it.
func (t *Table) Add(s Sample, description uint32) {
	if len(t.sizes) > 0 {
		d := max(0, s.DTS-t.last)
		t.stts = run(t.stts, uint32(d))
		t.total += d
		t.last += d
	} else {
		t.last = s.DTS
	}
	t.dur = s.Dur
	t.sizes = append(t.sizes, uint32(s.Size))
	t.ctts = run(t.ctts, uint32(int32(s.PTS-t.last)))
	t.moved = t.moved || s.PTS != t.last
	if s.Sync {
		t.sync = append(t.sync, uint32(len(t.sizes)))
	}
	if n := len(t.chunks); n > 0 && t.chunks[n-1].end == s.Offset && t.chunks[n-1].description == description {
		t.chunks[n-1].n++
		t.chunks[n-1].end += s.Size
		return
	}
	t.chunks = append(t.chunks, laidChunk{s.Offset, s.Offset + s.Size, 1, description})
}

// run adds a value to a table that counts those that are the same.
func run(list []pair, v uint32) []pair {
	if n := len(list); n > 0 && list[n-1].v == v {
		list[n-1].n++
		return list
	}
	return append(list, pair{1, v})
}

// Laid is a track of a file whose samples lie in it.
type Laid struct {
	ID     uint32
	Tracks []av.Track // as of Recorded
	Table  *Table
	// Start is the decode time of the first sample. From is the presentation time that is
	// shown first, in ticks of the timescale, for which the file has an edit list.
	Start, From int64
}

// AppendLaid appends ftyp, moov and the header of mdat of a file of such tracks, which
// shows length ticks of a timescale from each track's From on. The media, whose offsets
// Tables have, are media bytes and follow. The error wraps av.ErrUnsupported if there is
// no sample entry for one of them.
func AppendLaid(dst []byte, tracks []Laid, scale uint32, length, media int64) ([]byte, error) {
	w := writer{b: dst}
	w.begin("ftyp")
	w.string("isom")
	w.u32(0)
	w.string("isomiso6mp41")
	w.end()
	w.begin("moov")
	w.full("mvhd", 1, 0)
	w.u64(0)
	w.u64(0)
	w.u32(scale)
	w.u64(uint64(length))
	w.words(0x10000, 0x1000000, 0, 0)
	w.matrix()
	w.words(0, 0, 0, 0, 0, 0, uint32(len(tracks)+1))
	w.end()
	var offsets []int // of the tables of offsets
	for i := range tracks {
		l := &tracks[i]
		r := Recorded{ID: l.ID, Tracks: l.Tracks}
		entries, info, err := r.entries()
		if err != nil {
			return dst, err
		}
		offsets = append(offsets, w.laid(l, info, entries, length))
	}
	w.end()
	w.u32(1) // the size follows in 64 bits
	w.string("mdat")
	w.u64(uint64(media) + 16)
	base := int64(len(w.b) - len(dst))
	for i := range tracks {
		at := offsets[i]
		for _, c := range tracks[i].Table.chunks {
			be.PutUint64(w.b[at:], uint64(base+c.off))
			at += 8
		}
	}
	return w.b, nil
}

// laid writes a trak, and returns where its table of offsets lies.
func (w *writer) laid(l *Laid, info codec.Info, entries [][]byte, length int64) int {
	t, x := &l.Tracks[0], l.Table
	scale, _ := t.Timebase.Timescale()
	w.begin("trak")
	at := len(w.b)
	w.trackHeader(t, info, l.ID)
	be.PutUint32(w.b[at+28:], uint32(min(length, 1<<32-2))) // duration: behind version, two times, ID and reserved
	w.begin("edts")
	w.full("elst", 1, 0)
	w.u32(1)
	w.u64(uint64(length))
	w.u64(uint64(l.From - l.Start)) // media time begins with the first sample
	w.u32(0x10000)
	w.end()
	w.end()
	w.begin("mdia")
	w.mediaHeader(t, scale, uint64(x.total+x.dur))
	w.begin("minf")
	w.mediaInfo(t)
	w.begin("stbl")
	w.descriptions(entries)
	w.tables(x)
	w.full("co64", 0, 0)
	w.u32(uint32(len(x.chunks)))
	offsets := len(w.b)
	for range x.chunks {
		w.u64(0)
	}
	w.end()
	w.end()
	w.end()
	w.end()
	w.end()
	return offsets
}

// tables writes what stbl has of samples, but for where they lie.
func (w *writer) tables(x *Table) {
	w.full("stts", 0, 0)
	w.pairs(run(slices.Clone(x.stts), uint32(x.dur)))
	if x.moved {
		w.full("ctts", 1, 0)
		w.pairs(x.ctts)
	}
	if len(x.sync) < len(x.sizes) {
		w.full("stss", 0, 0)
		w.u32(uint32(len(x.sync)))
		w.words(x.sync...)
		w.end()
	}
	w.full("stsz", 0, 0)
	w.words(0, uint32(len(x.sizes)))
	w.words(x.sizes...)
	w.end()
	w.full("stsc", 0, 0)
	count := len(w.b)
	w.u32(0)
	n, before := uint32(0), laidChunk{}
	for i, c := range x.chunks {
		if c.n != before.n || c.description != before.description {
			w.words(uint32(i+1), c.n, c.description)
			n++
		}
		before = c
	}
	be.PutUint32(w.b[count:], n)
	w.end()
}

// pairs writes the entries of stts or ctts, and ends the box.
func (w *writer) pairs(list []pair) {
	w.u32(uint32(len(list)))
	for _, p := range list {
		w.words(p.n, p.v)
	}
	w.end()
}
