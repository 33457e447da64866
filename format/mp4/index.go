package mp4

import (
	"errors"
	"io"
	"sort"

	"github.com/cleave-video/cleave/av"
)

// Index is where the samples of a file's first video track lie, in the order of
// decoding, and which of them the file calls sync samples. It is immutable: any number
// of goroutines may look things up in it.
type Index struct {
	entries []entryAt
	keys    []uint32 // numbers of the sync samples
	tracks  []trackFrom
	tb      av.Timebase
	early   int64 // what DTS is less than an entry's dts
	last    int64 // duration of the last sample
	end     int64 // where the last one presented ends
}

// entryAt is one sample.
type entryAt struct {
	off, dts int64
	size     uint32
	cts      int32 // PTS is dts + cts
}

// trackFrom is what samples are decoded with, from one on.
type trackFrom struct {
	first int
	track av.Track
}

// ErrNoVideo: the file has no video track whose samples are known.
var ErrNoVideo = errors.New("mp4: no video track")

// ReadIndex reads the tables, or the heads of the fragments, of an input of size bytes,
// and of the samples nothing. It indexes at most limit samples; more are an error that
// wraps av.ErrTooLarge. A file that ends early, or whose fragments are at fault, is
// indexed as far as it goes. Other errors are those of Demuxer.ReadPacket.
func ReadIndex(r io.ReaderAt, size int64, limit int) (*Index, error) {
	d := New(r, size)
	if err := d.open(); err != nil {
		return nil, err
	}
	for _, t := range d.movie.tracks {
		if d.tracks[t.index].Kind != av.Video {
			continue
		}
		x := &Index{tb: t.tb}
		if err := x.fill(d, t, limit); err != nil {
			return nil, err
		}
		if len(x.entries) > 0 {
			return x, nil
		}
		break
	}
	return nil, ErrNoVideo
}

// fill walks the samples of t.
func (x *Index) fill(d *Demuxer, t *track, limit int) error {
	for {
		ok, err := t.peek()
		if err == nil && !ok {
			err = d.nextFragment()
			for _, o := range d.movie.tracks {
				if o != t {
					o.cur, o.frags, o.frag, o.peeked = nil, o.frags[:0], 0, false
				}
			}
			if err == nil {
				continue
			}
		}
		if err != nil || !x.add(d, t) { // the file ends here, or what can be read of it
			x.finish(t)
			return nil
		}
		if len(x.entries) > limit {
			return av.Errorf("mp4", -1, "stbl", "%w: more than %d samples of video", av.ErrTooLarge, limit)
		}
	}
}

// add adds the sample that was looked at; false: it is not in the input.
func (x *Index) add(d *Demuxer, t *track) bool {
	s := &t.s
	t.peeked = false
	if ok, err := d.admit(t); err != nil || s.off < 0 {
		return false
	} else if !ok {
		return !t.done
	}
	if t.changes() {
		t.peeked = true // describe looks at it, too
		err := d.describe(t)
		t.peeked = false
		if err != nil {
			return false
		}
	}
	if n := len(x.tracks); n == 0 || !sameTrack(&x.tracks[n-1].track, &d.tracks[t.index]) {
		x.tracks = append(x.tracks, trackFrom{len(x.entries), d.tracks[t.index]})
	}
	if s.sync {
		x.keys = append(x.keys, uint32(len(x.entries)))
	}
	x.entries = append(x.entries, entryAt{s.off, s.dts + t.shift, s.size, s.cts})
	x.last = int64(s.dur)
	return true
}

func sameTrack(a, b *av.Track) bool {
	return a.Codec == b.Codec && string(a.Config) == string(b.Config)
}

// finish finds where the track ends.
func (x *Index) finish(t *track) {
	x.early = t.early
	for i := range x.entries {
		e := &x.entries[i]
		if end := e.dts + int64(e.cts) + x.dur(i); i == 0 || end > x.end {
			x.end = end
		}
	}
}

// dur is how long sample i lasts: to the decode time of the next.
func (x *Index) dur(i int) int64 {
	if i+1 < len(x.entries) {
		return max(0, x.entries[i+1].dts-x.entries[i].dts)
	}
	return x.last
}

// Timebase returns the unit of all times: 1/Den.
func (x *Index) Timebase() av.Timebase { return x.tb }

// Len returns how many samples there are.
func (x *Index) Len() int { return len(x.entries) }

// Keys returns how many of them are sync samples.
func (x *Index) Keys() int { return len(x.keys) }

// Key returns the number of the nth sync sample, counted from 0.
func (x *Index) Key(n int) int { return int(x.keys[n]) }

// Bytes returns the memory that the index takes.
func (x *Index) Bytes() int64 { return int64(cap(x.entries))*24 + int64(cap(x.keys))*4 + 1<<10 }

// Span returns when the first sync sample is presented, and where the last sample ends.
// There must be a sync sample.
func (x *Index) Span() (start, end int64) {
	e := &x.entries[x.keys[0]]
	return e.dts + int64(e.cts), x.end
}

// Sample returns sample i. Its Offset counts from the first byte of the input; Dur lasts
// to the decode time of the next.
func (x *Index) Sample(i int) Sample {
	e := &x.entries[i]
	s := Sample{DTS: e.dts - x.early, PTS: e.dts + int64(e.cts), Dur: x.dur(i), Offset: e.off, Size: int64(e.size)}
	k := sort.Search(len(x.keys), func(k int) bool { return int(x.keys[k]) >= i })
	s.Sync = k < len(x.keys) && int(x.keys[k]) == i
	return s
}

// Track returns what sample i is decoded with.
func (x *Index) Track(i int) av.Track {
	k := sort.Search(len(x.tracks), func(k int) bool { return x.tracks[k].first > i })
	return x.tracks[k-1].track
}

// Delay is what must be added to the decode times for none to be negative.
func (x *Index) Delay() int64 { return max(0, x.early-x.entries[0].dts) }

// KeyAt returns which sync sample is the last one presented at pts or before; -1: none
// is. Sync samples are presented in the order in which they are decoded.
func (x *Index) KeyAt(pts int64) int {
	return sort.Search(len(x.keys), func(k int) bool {
		e := &x.entries[x.keys[k]]
		return e.dts+int64(e.cts) > pts
	}) - 1
}
