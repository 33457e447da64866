package flv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"runtime"
	"sync/atomic"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/mem"
)

// DefaultMaxUnit is the size of the largest tag that a Demuxer reads.
const DefaultMaxUnit = 8 << 20

const (
	maxResync = 64 << 10 // bytes searched for a tag before the input is given up
	maxHeader = 64 << 10 // largest DataOffset
)

// Demuxer reads an FLV file or stream. Its packets are those of Tags. Where a tag
// is damaged the next is one whose previous_tag_size agrees with it; the packets
// behind such a place are marked Discont. Not safe for concurrent use except
// Close and Progress.
type Demuxer struct {
	// MaxUnit bounds the bytes of one tag; what claims more counts as damaged.
	// Set it before the first ReadPacket; 0 is DefaultMaxUnit.
	MaxUnit int

	r      io.Reader
	src    source
	done   atomic.Int64
	closed atomic.Bool
	tags   Tags
	began  bool // the file header was read
	used   int  // bytes of the tag that is being read
	ended  bool // Finish was called
	err    error

	cleanup runtime.Cleanup // of src.big
}

var (
	_ av.Demuxer    = (*Demuxer)(nil)
	_ av.Progress   = (*Demuxer)(nil)
	_ av.Durationer = (*Demuxer)(nil)
	_ av.Warner     = (*Demuxer)(nil)
)

// NewDemuxer returns a Demuxer that reads r in large blocks. Close closes r if it
// is an io.Closer.
func NewDemuxer(r io.Reader) *Demuxer { return &Demuxer{r: r, src: source{r: r}} }

// WrapBits is the width of the timestamps.
func (d *Demuxer) WrapBits() int { return WrapBits }

// Tracks implements av.Demuxer.
func (d *Demuxer) Tracks() []av.Track { return d.tags.Tracks() }

// Progress implements av.Progress; the total is unknown.
func (d *Demuxer) Progress() (done, total int64) { return d.done.Load(), 0 }

// Duration implements av.Durationer by the metadata's duration.
func (d *Demuxer) Duration() (int64, av.Timebase, bool) { return d.tags.Duration() }

// Warnings implements av.Warner.
func (d *Demuxer) Warnings() []string { return d.tags.Warnings() }

// Close implements av.Demuxer.
func (d *Demuxer) Close() error {
	if d.closed.Swap(true) {
		return nil
	}
	if c, ok := d.r.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// ReadPacket implements av.Demuxer. It returns fs.ErrClosed after Close, the
// reader's error when that fails, a's error, after which it may be called again,
// and an *av.Error where the input is no FLV, holds no track or is damaged beyond
// repair.
func (d *Demuxer) ReadPacket(a av.Allocator) (av.Packet, error) {
	for {
		if d.closed.Load() && d.err == nil {
			d.fail(fs.ErrClosed)
		}
		if d.err != nil && !d.ended {
			return av.Packet{}, d.err
		}
		p, err := d.tags.ReadPacket(a)
		if err != ErrMore {
			return p, err
		}
		if d.ended {
			d.ended = false
			d.release()
			return av.Packet{}, d.err
		}
		if err := d.next(); err != nil {
			d.fail(err)
		}
	}
}

// fail ends the stream with err; at the end of the input what the tags still
// hold is given first.
func (d *Demuxer) fail(err error) {
	if d.closed.Load() {
		err = fs.ErrClosed
	}
	d.err = err
	d.done.Store(d.src.offset())
	if errors.Is(err, io.EOF) {
		d.tags.Offset = d.src.offset()
		if none := d.tags.Finish(); none != nil {
			d.err = none
		} else {
			d.ended = true
		}
	}
	if !d.ended {
		d.release()
	}
}

// release gives the large buffer back.
func (d *Demuxer) release() {
	if d.src.big != nil {
		d.cleanup.Stop()
		d.src.big.Release()
		d.src.big, d.src.buf, d.src.pos, d.src.end = nil, nil, 0, 0
	}
}

func (d *Demuxer) maxUnit() int {
	if d.MaxUnit > 0 {
		return min(d.MaxUnit, 1<<24-1)
	}
	return DefaultMaxUnit
}

// need reads ahead until n bytes are there.
func (d *Demuxer) need(n int) error {
	had := d.src.big != nil
	err := d.src.need(n, d.maxUnit()+2*tagHeaderLen+prevLen)
	if !had && d.src.big != nil {
		d.cleanup = runtime.AddCleanup(d, func(b *mem.Block) { b.Release() }, d.src.big)
	}
	return err
}

// next gives the tags one more body.
func (d *Demuxer) next() error {
	if !d.began {
		if err := d.header(); err != nil {
			return err
		}
		d.began = true
	}
	d.src.skip(d.used)
	d.used = 0
	d.done.Store(d.src.offset())
	whole, err := d.whole()
	if err == nil && !whole {
		err = d.resync()
	}
	if err != nil {
		return err
	}
	b := d.src.bytes()
	h := parseTagHeader(b)
	body := b[tagHeaderLen : tagHeaderLen+h.size : tagHeaderLen+h.size]
	d.used = min(tagHeaderLen+h.size+prevLen, len(b))
	d.tags.Offset = d.src.offset()
	switch {
	case h.filter:
		d.tags.stats.add(warnEncrypted, 1)
		d.tags.unknown = "encrypted tags"
	case h.kind == TypeVideo:
		return d.tags.Video(h.timestamp, body)
	case h.kind == TypeAudio:
		return d.tags.Audio(h.timestamp, body)
	case h.kind == TypeScript:
		d.tags.Script(body)
	default:
		d.tags.stats.add(warnOtherTag, 1)
	}
	return nil
}

// header reads the file header. FLV E.2
func (d *Demuxer) header() error {
	if err := d.need(headerLen); err != nil {
		if err == io.EOF {
			return av.Errorf("flv", 0, "FLVHeader", "%w: %d < %d", av.ErrTruncated, len(d.src.bytes()), headerLen)
		}
		return err
	}
	b := d.src.bytes()
	if string(b[:3]) != "FLV" {
		return av.Errorf("flv", 0, "Signature", "%w: %q", av.ErrInvalid, b[:3])
	}
	size := binary.BigEndian.Uint32(b[5:])
	if size < headerLen || size > maxHeader {
		return av.Errorf("flv", 5, "DataOffset", "%w: %d", av.ErrInvalid, size)
	}
	d.tags.Expect(b[4]&flagVideo != 0, b[4]&flagAudio != 0)
	if err := d.need(int(size) + prevLen); err != nil {
		if err == io.EOF {
			return av.Errorf("flv", d.src.offset(), "PreviousTagSize0", "%w", av.ErrTruncated)
		}
		return err
	}
	d.src.skip(int(size) + prevLen)
	return nil
}

// whole reads one tag ahead and reports whether it can be trusted: its
// previous_tag_size agrees, or the tag behind it looks like one.
func (d *Demuxer) whole() (bool, error) {
	if err := d.need(tagHeaderLen); err != nil {
		return false, d.cut(err)
	}
	h := parseTagHeader(d.src.bytes())
	n := tagHeaderLen + h.size
	if h.reserved || h.kind == 0 || h.size > d.maxUnit() {
		return false, nil
	}
	if err := d.need(n + prevLen); err != nil {
		if err == io.EOF && h.plausible() && d.sizeCut(n) {
			return true, nil
		}
		if err == io.EOF {
			return false, nil // or a length that lies
		}
		return false, err
	}
	if binary.BigEndian.Uint32(d.src.bytes()[n:]) == uint32(n) {
		return true, nil
	}
	if !h.plausible() {
		return false, nil
	}
	if err := d.need(n + prevLen + tagHeaderLen); err != nil {
		ok := err == io.EOF && len(d.src.bytes()) == n+prevLen
		if ok {
			d.tags.stats.add(warnPrevSize, 1)
			return true, nil
		}
		if err == io.EOF {
			return false, nil
		}
		return false, err
	}
	next := parseTagHeader(d.src.bytes()[n+prevLen:])
	if next.strict() && next.size <= d.maxUnit() {
		d.tags.stats.add(warnPrevSize, 1)
		return true, nil
	}
	return false, nil
}

// sizeCut reports whether the input ends with a whole tag of n bytes and as much of
// its previous_tag_size as there is.
func (d *Demuxer) sizeCut(n int) bool {
	b := d.src.bytes()
	return len(b) >= n && bytes.HasPrefix(binary.BigEndian.AppendUint32(nil, uint32(n)), b[n:])
}

// cut counts what is left at the end of the input.
func (d *Demuxer) cut(err error) error {
	if n := len(d.src.bytes()); err == io.EOF && n > 0 {
		d.tags.stats.add(warnCutTag, 1)
		d.src.skip(n)
	}
	return err
}

// resync moves to the next tag whose previous_tag_size agrees with its size.
func (d *Demuxer) resync() error {
	from := d.src.offset()
	for {
		d.src.skip(1)
		n := d.src.offset() - from
		if n > maxResync && d.src.err == io.EOF {
			return d.cut(io.EOF) // a long tag whose end is missing
		}
		if n > maxResync {
			return av.Errorf("flv", from, "tag", "%w: no tag within %d bytes", av.ErrInvalid, maxResync)
		}
		if err := d.need(tagHeaderLen); err != nil {
			return d.cut(err)
		}
		h := parseTagHeader(d.src.bytes())
		if !h.strict() || h.size > d.maxUnit() {
			continue
		}
		size := tagHeaderLen + h.size
		if err := d.need(size + prevLen); err != nil {
			if err != io.EOF {
				return err
			}
			continue
		}
		if binary.BigEndian.Uint32(d.src.bytes()[size:]) == uint32(size) {
			d.tags.stats.add(warnResync, 1)
			d.tags.stats.add(warnSkipped, n)
			d.tags.Lost()
			return nil
		}
	}
}
