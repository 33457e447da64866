package mp4

import (
	"errors"
	"io"
	"slices"
	"sync/atomic"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec"
)

// Limits on what is read at once.
const (
	maxMoov    = 64 << 20  // bytes of a moov or moof
	maxSample  = 64 << 20  // bytes of one sample
	batchBytes = 256 << 10 // stays in the cache from read to write
	batchCount = 512
)

// Demuxer reads one ISO base media file. Samples come in the order of their
// decode times across tracks, with the edit list applied and none left out.
// ReadPacket returns an *av.Error that wraps av.ErrTruncated after the last whole
// sample of a file that ends too early.
type Demuxer struct {
	r    io.ReaderAt
	vec  av.VectorReaderAt // r, if it can
	size int64             // of the input; -1 unknown

	movie    *movie
	tracks   []av.Track
	fragPos  int64 // where to look for the next moof; -1 when there are none
	moof     []byte
	batch    []planned
	order    []int // of batch, by offset in the input
	bufs     [][]byte
	sums     []int
	queue    []av.Packet // read, not yet returned
	head     int
	checked  bool  // queue[head] was checked for new parameter sets
	eofAt    int64 // the input ends here, as a short read showed
	fault    error // the first in a track's tables
	last     int64 // where the samples so far end in the input
	total    int64 // bytes of them
	err      error
	warnings warnings

	done   atomic.Int64
	closed atomic.Bool
}

// planned is a sample about to be read.
type planned struct {
	t    *track
	s    sample
	data []byte
	ok   bool
}

// New returns a demuxer of r, which has size bytes, or -1 if that is unknown. It
// reads ahead of what it returns by about 256 KiB. If r also is an
// av.VectorReaderAt, samples that lie together are read by one call into the
// memory of their tracks. r is not closed.
func New(r io.ReaderAt, size int64) *Demuxer {
	d := &Demuxer{r: r, size: size, fragPos: -1, eofAt: 1<<63 - 1}
	d.vec, _ = r.(av.VectorReaderAt)
	return d
}

var (
	_ av.Demuxer    = (*Demuxer)(nil)
	_ av.Progress   = (*Demuxer)(nil)
	_ av.Durationer = (*Demuxer)(nil)
	_ av.Warner     = (*Demuxer)(nil)
)

// Sniff returns how sure it is, 0 to 100, that head begins an ISO base media file.
func Sniff(head []byte) int {
	if len(head) < 8 {
		return 0
	}
	switch cc(string(head[4:8])) {
	case cc("ftyp"), cc("styp"):
		return 100
	case cc("moov"), cc("moof"), cc("mdat"), cc("wide"), cc("free"), cc("skip"), cc("sidx"), cc("pnot"), cc("uuid"):
		return 80
	}
	return 0
}

// Tracks implements av.Demuxer.
func (d *Demuxer) Tracks() []av.Track { return d.tracks }

// Close implements av.Demuxer. It does not unblock a read of r: close that.
func (d *Demuxer) Close() error {
	d.closed.Store(true)
	return nil
}

// Progress implements av.Progress: bytes of samples read, and the input's size.
func (d *Demuxer) Progress() (done, total int64) { return d.done.Load(), max(d.size, 0) }

// Duration implements av.Durationer.
func (d *Demuxer) Duration() (ticks int64, tb av.Timebase, ok bool) {
	if d.movie == nil {
		return 0, tb, false
	}
	for _, t := range d.movie.tracks {
		if t.dur > 0 && t.dur < 1<<62 && (!ok || t.tb.Compare(t.dur, tb, ticks) > 0) {
			ticks, tb, ok = t.dur, t.tb, true
		}
	}
	return ticks, tb, ok
}

// Warnings implements av.Warner.
func (d *Demuxer) Warnings() []string { return d.warnings.list(d.movie) }

// ReadPacket implements av.Demuxer.
func (d *Demuxer) ReadPacket(a av.Allocator) (av.Packet, error) {
	if d.movie == nil && d.err == nil {
		if d.err = d.open(); d.err == nil {
			return av.Packet{}, av.ErrTracks
		}
	}
	for d.head == len(d.queue) {
		if d.err != nil {
			return av.Packet{}, d.err
		}
		if d.closed.Load() {
			return av.Packet{}, io.ErrClosedPipe
		}
		if err := d.fill(a); err != nil {
			if errors.Is(err, av.ErrTracks) {
				return av.Packet{}, err
			}
			d.err = err
		}
	}
	p := &d.queue[d.head]
	if !d.checked && p.Flags&av.Key != 0 && d.newConfig(p) {
		d.checked = true
		return av.Packet{}, av.ErrTracks
	}
	d.checked = false
	d.head++
	return *p, nil
}

// newConfig takes over parameter sets that a key packet carries itself.
func (d *Demuxer) newConfig(p *av.Packet) bool {
	for _, t := range d.movie.tracks {
		if t.index != p.Track || t.inspect == nil {
			continue
		}
		config, changed := t.inspect.NewConfig(p.Data)
		if !changed {
			return false
		}
		track := d.tracks[p.Track]
		track.Config = config
		in, err := codec.NewInspector(&track)
		if err != nil {
			return false
		}
		t.inspect = in
		d.replace(p.Track, track)
		return true
	}
	return false
}

// replace makes a new list of tracks: those who hold the old one keep it.
func (d *Demuxer) replace(i int, t av.Track) {
	d.tracks = slices.Clone(d.tracks)
	d.tracks[i] = t
}

// open finds and reads moov.
func (d *Demuxer) open() error {
	moov, err := d.findMoov()
	if err != nil {
		return err
	}
	m, err := readMovie(moov)
	if err != nil {
		return err
	}
	needSample := false
	for _, t := range m.tracks {
		if err := d.clampFixed(t); err != nil {
			return err
		}
		t.cur = t.tables.cursor()
		t.decodeEarlier(t.tables.leastOffset())
		needSample = needSample || t.tables.count == 0 && t.configIsInSample()
	}
	d.movie = m
	if m.fragmented {
		d.fragPos = moov.off + int64(moov.head+len(moov.body))
	}
	if needSample && d.fragPos >= 0 {
		if err := d.nextFragment(); err != nil {
			return err
		}
	}
	for _, t := range m.tracks {
		t.index = len(d.tracks)
		if err := d.describe(t); err != nil {
			return err
		}
	}
	d.sums = make([]int, len(d.tracks))
	return nil
}

// clampFixed checks a sample count that no table of sizes backs.
func (d *Demuxer) clampFixed(t *track) error {
	if f := t.tables.fixed; f > 0 && d.size >= 0 && int64(t.tables.count) > d.size/int64(f)+1 {
		return av.Errorf("mp4", -1, "stsz.sample_count", "%w: track %d: %d samples of %d bytes in an input of %d",
			av.ErrInvalid, t.id, t.tables.count, f, d.size)
	}
	return nil
}

// describe sets or adds the av.Track of t for its next sample.
func (d *Demuxer) describe(t *track) error {
	var first [4]byte
	t.desc = 1
	switch ok, err := t.peek(); {
	case err != nil:
		d.endTrack(t, err)
	case ok:
		t.desc = t.s.desc
		if _, err := readFull(d.r, first[:min(4, t.s.size)], t.s.off); err != nil {
			first = [4]byte{}
		}
	}
	track, err := t.describe(t.desc, first[:])
	if err != nil {
		return av.Errorf("mp4", t.s.off, "stsd", "track %d: %w", t.id, err)
	}
	if track.Codec != av.Private {
		if t.inspect, err = codec.NewInspector(&track); err != nil {
			return av.Errorf("mp4", -1, "stsd", "track %d: %w", t.id, err)
		}
	}
	if t.index == len(d.tracks) {
		d.tracks = append(d.tracks, track)
	} else {
		d.replace(t.index, track)
	}
	return nil
}

// findMoov walks the top-level boxes up to moov and reads it.
func (d *Demuxer) findMoov() (box, error) {
	var head [16]byte
	for pos := int64(0); ; {
		n, err := readFull(d.r, head[:], pos)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return box{}, err
		}
		if n < 8 {
			return box{}, av.Errorf("mp4", pos, "moov", "%w: no moov box in the input", av.ErrTruncated)
		}
		kind, hl, size, err := header(head[:n], pos)
		if err != nil {
			return box{}, err
		}
		if kind == cc("moov") {
			return d.load(kind, pos, hl, size, nil)
		}
		if size < 0 || size > 1<<62-pos {
			return box{}, av.Errorf("mp4", pos, "moov", "%w: no moov before %s, which reaches to the end", av.ErrTruncated, kind)
		}
		pos += size
	}
}

// load reads a whole box into memory, into buf if it fits.
func (d *Demuxer) load(kind fourcc, pos int64, head int, size int64, buf []byte) (box, error) {
	if size < 0 && d.size >= 0 {
		size = d.size - pos
	}
	if size < int64(head) || size > maxMoov {
		return box{}, av.Errorf("mp4", pos, kind.String()+".size", "%w: %d bytes, at most %d", av.ErrTooLarge, size, maxMoov)
	}
	if d.size >= 0 && size > d.size-pos {
		return box{}, av.Errorf("mp4", pos, kind.String()+".size", "%w: %d bytes declared, %d in the input", av.ErrTruncated, size, d.size-pos)
	}
	body := size - int64(head)
	if int64(cap(buf)) < body {
		buf = make([]byte, body)
	}
	buf = buf[:body]
	if n, err := readFull(d.r, buf, pos+int64(head)); err != nil {
		return box{}, av.Errorf("mp4", pos+int64(head+n), kind.String(), "%w: %d bytes of %d: %w", av.ErrTruncated, n, body, err)
	}
	return box{kind: kind, off: pos, head: head, body: buf}, nil
}
