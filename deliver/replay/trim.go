package replay

import (
	"context"
	"errors"
	"io"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/format/mp4"
	"github.com/cleave-video/cleave/index"
)

const (
	// headRead is how much is read at first to find a moof and have all of it.
	headRead = 4 << 10
	// maxMoof bounds one, and maxTrimmed the share of a track that is trimmed.
	maxMoof    = 1 << 20
	maxTrimmed = 16 << 20
)

var errFragment = errors.New("there is no fragment where one must be")

// firstSamples returns the samples of the first fragment in size bytes from off on.
func firstSamples(o io.ReaderAt, off, size int64) ([]mp4.Sample, error) {
	at, moof, err := readMoof(o, off, size)
	if err != nil {
		return nil, err
	}
	if moof == nil {
		return nil, errFragment
	}
	list, _, err := mp4.AppendSamples(nil, moof, size-at)
	if err == nil && len(list) == 0 {
		err = errFragment
	}
	return list, err
}

func readFull(o io.ReaderAt, b []byte, off int64) error {
	n, err := o.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// fragments calls f with the samples of each fragment in b, whose offsets count from the
// first byte of b.
func fragments(b []byte, f func(list []mp4.Sample) error) error {
	var list []mp4.Sample
	for rest := b; len(rest) > 0; {
		at, n := mp4.MoofSize(rest)
		if n == 0 {
			return nil // what is behind the last one
		}
		if at+n > int64(len(rest)) {
			return errFragment
		}
		var err error
		if list, _, err = mp4.AppendSamples(list[:0], rest[at:at+n], int64(len(rest))-at); err != nil {
			return err
		}
		for i := range list {
			list[i].Offset += at + int64(len(b)-len(rest))
		}
		if err := f(list); err != nil {
			return err
		}
		rest = rest[at+n:]
	}
	return nil
}

// trim makes one fragment of those samples of a share of sound that lie, by their middle,
// between two key frames of the lead.
func (f *film) trim(ctx context.Context, e *index.Entry, x *index.Track, p piece, from, until key) (piece, error) {
	if x.Size > maxTrimmed {
		return p, nil
	}
	b := make([]byte, x.Size)
	if err := f.read(ctx, b, e.Object, x.Offset); err != nil {
		return p, err
	}
	tb := av.Timebase{Num: 1, Den: x.Timescale}
	out := mp4.Fragment{TrackID: uint32(p.track + 1), Factor: 1}
	size := int64(0)
	err := fragments(b, func(list []mp4.Sample) error {
		for i := range list {
			s := &list[i]
			middle := s.PTS + s.Dur/2
			if from.some && tb.Compare(middle, e.Timebase, from.time) < 0 || until.some && tb.Compare(middle, e.Timebase, until.time) >= 0 {
				continue
			}
			out.Packets = append(out.Packets, av.Packet{DTS: s.DTS, PTS: s.PTS, Dur: s.Dur, Flags: av.Key, Data: b[s.Offset : s.Offset+s.Size]})
			size += s.Size
		}
		return nil
	})
	if err != nil {
		return p, &index.CorruptError{Path: e.Object, Offset: x.Offset, Why: err.Error()}
	}
	p.size = 0
	t := f.tracks[p.track]
	if len(out.Packets) == 0 {
		return p, nil
	}
	last := &out.Packets[len(out.Packets)-1]
	t.end = last.PTS + last.Dur + t.shift
	t.delay = max(t.delay, -(out.Packets[0].DTS + t.shift))
	p.data = out.Append(make([]byte, 0, size+headRead))
	for i := range out.Packets {
		p.data = append(p.data, out.Packets[i].Data...)
	}
	p.size = int64(len(p.data))
	return p, nil
}

// read reads bytes of an object.
func (f *film) read(ctx context.Context, b []byte, object string, off int64) error {
	o, err := f.h.cfg.Store.Open(ctx, object)
	if err != nil {
		return err
	}
	defer o.Close()
	return readFull(o, b, off)
}
