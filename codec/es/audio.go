package es

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/cleave-video/cleave/av"
)

// Frame is what the head of an audio frame says.
type Frame struct {
	Size    int    // bytes, with what the packet leaves out
	Header  int    // bytes at the front that the packet leaves out
	Samples int    // at Rate
	Rate    int    // samples a second, positive
	Sig     uint32 // equal in frames of one configuration, not 0
}

// Syntax is one coding of audio.
type Syntax interface {
	// Name is the package's, for errors and warnings.
	Name() string
	// HeadLen is how many bytes Parse needs.
	HeadLen() int
	// Parse reads a frame's head. An error that wraps av.ErrUnsupported ends the
	// stream if no frame was found before.
	Parse(b []byte) (Frame, error)
	// Config returns the track's codec and configuration as of a whole frame.
	Config(frame []byte) (av.Codec, []byte)
	// Drop reports whether a whole frame is no media. first is set for the first
	// frame and for the first behind a tag.
	Drop(frame []byte, first bool) (text string, drop bool)
}

// maxJunk bounds the bytes searched for a frame.
const maxJunk = 1 << 20

// warning is a kind of fault that is repaired or skipped.
type warning uint8

const (
	warnJunk warning = iota
	warnCut
	warnDrop
	numWarnings
)

var warningTexts = [numWarnings]string{
	warnJunk: "bytes between frames skipped",
	warnCut:  "bytes of an incomplete frame at the end dropped",
}

// Audio is an av.Demuxer of one audio track.
//
// PTS and DTS count samples from 0 in ticks of one sample; every packet has a
// duration. ID3v2, ID3v1 and APE tags are passed over. Where no frame is, one is
// looked for whose successor agrees with it; the packet behind such a place is
// marked Discont. A change of configuration is a new track, whose time goes on.
type Audio struct {
	s      Syntax
	in     *Input
	tracks []av.Track

	synced bool   // a frame ended where the input is
	tagged bool   // nothing but tags since the start or a frame
	sig    uint32 // of the track
	next   int64  // PTS of the next frame
	junk   int64  // bytes skipped since the last frame
	broke  bool   // since the last packet
	refuse error  // why the first frame cannot be read

	count    [numWarnings]int64
	dropText string
}

// NewAudio returns a demuxer of r. Close closes r if it is an io.Closer.
func NewAudio(r io.Reader, s Syntax) *Audio {
	return &Audio{s: s, in: NewInput(r), tagged: true}
}

// Tracks implements av.Demuxer.
func (d *Audio) Tracks() []av.Track { return d.tracks }

// Close implements av.Demuxer.
func (d *Audio) Close() error { return d.in.Close() }

// Progress implements av.Progress; the total is unknown.
func (d *Audio) Progress() (done, total int64) { return d.in.Progress() }

// Warnings implements av.Warner.
func (d *Audio) Warnings() []string {
	var l []string
	for w, n := range d.count {
		text := warningTexts[w]
		if warning(w) == warnDrop {
			text = d.dropText
		}
		if n > 0 {
			l = append(l, fmt.Sprintf("%s: %d %s", d.s.Name(), n, text))
		}
	}
	return l
}

// ReadPacket implements av.Demuxer. It returns fs.ErrClosed after Close, the
// reader's error when that fails, and an *av.Error where the input holds no
// frames.
func (d *Audio) ReadPacket(a av.Allocator) (av.Packet, error) {
	for {
		if d.in.Closed() {
			return av.Packet{}, fs.ErrClosed
		}
		f, err := d.find()
		if err != nil {
			return av.Packet{}, d.end(err)
		}
		frame := d.in.Bytes()[:f.Size]
		if text, drop := d.s.Drop(frame, d.tagged); drop {
			d.pass(f)
			if text != "" {
				d.count[warnDrop]++
				d.dropText = text
				d.next += int64(f.Samples)
			}
			continue
		}
		if f.Sig != d.sig {
			d.adopt(f, frame)
			return av.Packet{}, av.ErrTracks
		}
		return d.deliver(a, f, frame)
	}
}

// deliver makes a packet of the frame at the front.
func (d *Audio) deliver(a av.Allocator, f Frame, frame []byte) (av.Packet, error) {
	data, err := a.Alloc(0, f.Size-f.Header)
	if err != nil {
		return av.Packet{}, err
	}
	copy(data, frame[f.Header:])
	// Every frame of these codings can be decoded by itself.
	p := av.Packet{DTS: d.next, PTS: d.next, Dur: int64(f.Samples), Flags: av.Key, Data: data}
	if d.broke {
		p.Flags |= av.Discont
		d.broke = false
	}
	d.next += p.Dur
	d.pass(f)
	return p, nil
}

// pass moves behind the frame at the front.
func (d *Audio) pass(f Frame) {
	d.in.Skip(f.Size)
	d.synced, d.tagged, d.junk = true, false, 0
}

// adopt makes a track of the configuration that begins with frame.
func (d *Audio) adopt(f Frame, frame []byte) {
	c, config := d.s.Config(frame)
	t := av.Track{Kind: av.Audio, Codec: c, Timebase: av.Timebase{Num: 1, Den: uint32(f.Rate)}, Config: config}
	if len(d.tracks) > 0 {
		d.next = d.tracks[0].Timebase.Rescale(d.next, t.Timebase)
	}
	d.tracks, d.sig = []av.Track{t}, f.Sig
	d.synced = true
}

// find moves to the next frame; it is whole in the input's buffer.
func (d *Audio) find() (Frame, error) {
	for {
		if d.junk > maxJunk {
			return Frame{}, av.Errorf(d.s.Name(), d.in.Offset(), "syncword", "%w: no frames within %d bytes", av.ErrInvalid, maxJunk)
		}
		err := d.need(max(tagHead, d.s.HeadLen()))
		b := d.in.Bytes()
		if len(b) == 0 {
			return Frame{}, err
		}
		if n := tagLen(b); n > 0 {
			if err := d.in.Discard(n); err != nil && !errors.Is(err, io.EOF) {
				return Frame{}, err
			}
			d.tagged = true
			continue
		}
		f, ok, err := d.look()
		if err != nil {
			return f, err
		}
		if ok {
			return f, nil
		}
		d.hunt()
	}
}

// need reads until n bytes are there or no more come.
func (d *Audio) need(n int) error {
	for len(d.in.Bytes()) < n {
		if err := d.in.Fill(); err != nil {
			return err
		}
	}
	return nil
}

// look reads the frame at the front, if there is one that can be trusted: it
// continues the track behind another frame, or its successor agrees with it, or
// the input ends behind it.
func (d *Audio) look() (f Frame, ok bool, err error) {
	head := d.s.HeadLen()
	if b := d.in.Bytes(); len(b) < head {
		return f, false, d.cut()
	}
	f, err = d.s.Parse(d.in.Bytes())
	if err != nil {
		if d.sig == 0 && d.junk == 0 && errors.Is(err, av.ErrUnsupported) {
			d.refuse = err
		}
		return f, false, nil
	}
	known := d.synced && f.Sig == d.sig
	n := f.Size
	if !known {
		n += max(head, tagHead)
	}
	err = d.need(n)
	b := d.in.Bytes()
	switch {
	case len(b) < f.Size && (known || d.sig == 0 && d.junk == 0):
		if !errors.Is(err, io.EOF) {
			return f, false, err
		}
		return f, false, d.cut()
	case len(b) < f.Size:
		return f, false, nil
	case known:
		return f, true, nil
	}
	return f, d.agrees(f, b, b[f.Size:]), nil
}

// agrees reports whether what follows a frame is its successor, a tag, or nothing;
// of a successor that the end of the input cuts, whether it begins like the frame.
func (d *Audio) agrees(f Frame, frame, b []byte) bool {
	if n := min(len(b), 2); len(b) < d.s.HeadLen() { // the two bytes of the syncword
		return bytes.Equal(frame[:n], b[:n])
	}
	if tagLen(b) > 0 {
		return true
	}
	g, err := d.s.Parse(b)
	return err == nil && g.Sig == f.Sig
}

// cut drops what is left at the end of the input.
func (d *Audio) cut() error {
	n := len(d.in.Bytes())
	d.in.Skip(n)
	if d.junk == 0 {
		d.count[warnCut] += int64(n)
	} else {
		d.count[warnJunk] += int64(n)
	}
	return io.EOF
}

// hunt moves to the next byte that may begin a frame.
func (d *Audio) hunt() {
	b := d.in.Bytes()
	n := len(b)
	if i := bytes.IndexByte(b[1:], 0xff); i >= 0 {
		n = 1 + i
	}
	d.in.Skip(n)
	d.count[warnJunk] += int64(n)
	d.junk += int64(n)
	d.synced = false
	d.broke = d.sig != 0
}

// end returns the error that ends the stream.
func (d *Audio) end(err error) error {
	if !errors.Is(err, io.EOF) || d.sig != 0 {
		return err
	}
	if d.refuse != nil {
		return &av.Error{Format: d.s.Name(), Field: "header", Err: d.refuse}
	}
	kind := av.ErrInvalid
	if d.junk == 0 {
		kind = av.ErrTruncated
	}
	return av.Errorf(d.s.Name(), d.in.Offset(), "syncword", "%w: no whole frame", kind)
}
