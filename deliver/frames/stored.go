package frames

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec"
	"github.com/cleave-video/cleave/format/mp4"
	"github.com/cleave-video/cleave/mem"
)

// storedFile is where clips of a stored file come from.
type storedFile struct {
	h    *Handler
	name string
}

var _ origin = (*storedFile)(nil)

// cut implements origin. The file is not needed any more when it returns.
func (o *storedFile) cut(ctx context.Context, p place, gop bool) (*clip, error) {
	files := o.h.cfg.Files
	f, err := files.acquire(ctx, o.name)
	if err != nil {
		return nil, err
	}
	defer files.release(f)
	k, err := f.key(p)
	if err != nil {
		return nil, err
	}
	c := &clip{h: o.h, id: 1, modified: f.info.ModTime(), delay: f.index.Delay()}
	if err := c.read(files.pool, f, k, gop); err != nil {
		c.release()
		return nil, err
	}
	return c, nil
}

// key returns the number of the key frame asked for.
func (f *file) key(p place) (int, error) {
	x := f.index
	tb, n := x.Timebase(), int64(x.Keys())
	_, end := x.Span()
	k := int64(-1)
	switch p.kind {
	case newest:
		k = n - 1
	case atTime:
		k = int64(x.KeyAt(tb.Ticks(p.at)))
	case beforeEdge:
		k = int64(x.KeyAt(tb.Ticks(tb.Duration(end) - p.at)))
	case numbered:
		k = p.n
	case fromNewest:
		k = n - 1 - p.n
	}
	switch {
	case k >= 0 && k < n:
		return int(k), nil
	case p.kind == numbered || p.kind == fromNewest:
		return 0, missing(fmt.Sprintf("the file has %d key frames", n))
	}
	return 0, missing("the file's first key frame is later")
}

// read reads key frame k, or with gop what follows up to the next, too.
func (c *clip) read(pool *mem.Pool, f *file, k int, gop bool) error {
	x := f.index
	first := x.Key(k)
	last := first + 1
	if gop {
		last = x.Len()
	}
	if k+1 < x.Keys() {
		at := x.Key(k + 1)
		c.next = &mark{x.Sample(at).PTS, x.Timebase()}
		last = min(last, at)
	}
	samples := make([]mp4.Sample, 0, last-first)
	for i := first; i < last; i++ {
		s := x.Sample(i)
		if c.bytes += s.Size; c.bytes > maxGOP {
			return errGOP
		}
		samples = append(samples, s)
	}
	if err := c.fetch(pool, f, samples); err != nil {
		return err
	}
	if err := c.decodedWith(x.Track(first), f.info.Size()); err != nil {
		return err
	}
	p, tb := &c.packets[0], x.Timebase()
	start, end := x.Span()
	c.meta = Meta{PTS: p.PTS, DTS: p.DTS, Dur: p.Dur, Timebase: tb, Key: true, Codec: c.info.String}
	c.window = [2]mark{{start, tb}, {end, tb}}
	c.name = fmt.Sprintf("%x-%x-%d-%d", f.info.ModTime().UnixNano(), f.info.Size(), p.DTS, len(c.packets))
	return nil
}

// fetch reads samples into one block: by one call each run that lies together.
func (c *clip) fetch(pool *mem.Pool, f *file, samples []mp4.Sample) error {
	block, err := pool.TryNewBlock(int(c.bytes))
	if errors.Is(err, mem.ErrFull) {
		return later("too many answers from files are under way")
	}
	if err != nil {
		return err
	}
	c.held = append(c.held, block)
	b := block.Bytes()
	for i := 0; i < len(samples); {
		off := samples[i].Offset
		n := int64(0)
		for ; i < len(samples) && samples[i].Offset == off+n; i++ {
			s := &samples[i]
			p := av.Packet{DTS: s.DTS, PTS: s.PTS, Dur: s.Dur, Data: b[n : n+s.Size : n+s.Size]}
			if s.Sync {
				p.Flags = av.Key
			}
			c.packets = append(c.packets, p)
			n += s.Size
		}
		if k, err := f.f.ReadAt(b[:n], off); int64(k) < n {
			if errors.Is(err, io.EOF) {
				err = later("the file is being changed")
			}
			return err
		}
		b = b[n:]
	}
	return nil
}

// decodedWith sets what the clip is decoded with: the track, with the parameter sets that
// its key frame may carry itself.
func (c *clip) decodedWith(t av.Track, size int64) error {
	in, err := codec.NewInspector(&t)
	if err != nil {
		return explain(err, size)
	}
	if config, changed := in.NewConfig(c.packets[0].Data); changed {
		t.Config = config
	}
	c.track = t
	if c.info, err = codec.Describe(&t); err != nil {
		return explain(err, size)
	}
	c.init, err = mp4.AppendInit(nil, &t, c.id, c.delay)
	if errors.Is(err, av.ErrUnsupported) {
		err = &refusal{415, "the file's video cannot be carried here"}
	}
	return err
}
