package frames

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec"
	"github.com/cleave-video/cleave/codec/h264"
	"github.com/cleave-video/cleave/codec/h265"
	"github.com/cleave-video/cleave/format/mp4"
	"github.com/cleave-video/cleave/internal/nal"
	"github.com/cleave-video/cleave/live"
	"github.com/cleave-video/cleave/mem"
)

// maxGOP bounds the bytes of a GOP that is answered with.
const maxGOP = 64 << 20

var errGOP = &refusal{507, fmt.Sprintf("the GOP has more than %d MiB", maxGOP>>20)}

// origin is where clips come from.
type origin interface {
	// cut returns the key frame at p, or with gop what follows up to the next, too. The
	// error is a *refusal if there is none. The clip is to be released.
	cut(ctx context.Context, p place, gop bool) (*clip, error)
}

// liveStream is where clips of a live stream come from.
type liveStream struct {
	h *Handler
	s *live.Stream
}

var _ origin = (*liveStream)(nil)

// cut implements origin.
func (o *liveStream) cut(ctx context.Context, p place, gop bool) (*clip, error) {
	x, err := begun(ctx, o.s)
	if err != nil {
		return nil, err
	}
	f, err := o.h.find(ctx, x, p)
	if err != nil {
		return nil, err
	}
	return o.h.cut(ctx, o.s, f, gop)
}

// clip is a key frame, or a GOP, as it is to be written.
type clip struct {
	meta    Meta
	track   av.Track
	info    codec.Info
	id      uint32 // of the track in init
	init    []byte
	packets []av.Packet // times in ticks of meta.Timebase; Data as ISO BMFF stores it
	window  [2]mark     // where what is served begins and ends
	name    string      // of this content, in ETags
	// modified is when a file was; zero for what is live. delay is added to decode times
	// in MP4, none of which may be negative.
	modified time.Time
	delay    int64
	open     bool  // the GOP may go on
	next     *mark // PTS of the key frame behind the GOP; nil: not known
	bytes    int64 // of the packets

	held   []*mem.Block // that packets lie in
	copied int64        // bytes of packets that are copies
	h      *Handler
}

// release lets go of the packets' memory.
func (c *clip) release() {
	for _, b := range c.held {
		b.Release()
	}
	c.h.copied.Add(-c.copied)
	c.held, c.copied = nil, 0
}

// cut returns the key frame at f, or with gop what follows up to the next key frame,
// too. The clip is to be released.
func (h *Handler) cut(ctx context.Context, s *live.Stream, f spot, gop bool) (c *clip, err error) {
	seg := f.segments[f.at]
	c = &clip{h: h}
	defer func() {
		if err != nil {
			c.release()
		}
	}()
	if err := c.header(ctx, s, seg); err != nil {
		return nil, err
	}
	part, sample := f.part, f.sample
	for at := f.at; ; at-- {
		ended, err := c.add(ctx, f.segments[at], part, sample, gop)
		if err != nil {
			return nil, err
		}
		if ended || !gop {
			break
		}
		part, sample = 0, 0
		if c.open = at == 0; c.open {
			break
		}
		if newer := f.segments[at-1]; !continues(f.segments[at], newer) {
			c.next = &mark{newer.Start, timebase(newer)}
			break
		}
	}
	p := &c.packets[0]
	c.meta = Meta{PTS: p.PTS, DTS: p.DTS, Dur: p.Dur, Timebase: timebase(seg), Key: true, Codec: c.info.String}
	c.window = f.window()
	c.name = fmt.Sprintf("%d-%d-%d", seg.Epoch, p.DTS, len(c.packets))
	return c, nil
}

// continues reports whether next goes on where seg ended, with the same header.
func continues(seg, next *live.Segment) bool {
	return next.Epoch == seg.Epoch && next.Init == seg.Init && next.MSN == seg.MSN+1 && !next.Discontinuity
}

// header reads the initialization section that a segment names.
func (c *clip) header(ctx context.Context, s *live.Stream, seg *live.Segment) error {
	if c.init = s.Init(seg.Init); c.init == nil {
		o, err := c.h.cfg.Store.Open(ctx, s.Name()+"/"+seg.Init)
		if err != nil {
			return errLost
		}
		defer o.Close()
		if c.init, err = io.ReadAll(io.NewSectionReader(o, 0, min(o.Size(), 1<<20))); err != nil {
			return err
		}
	}
	d := mp4.New(bytes.NewReader(c.init), int64(len(c.init)))
	defer d.Close()
	if _, err := d.ReadPacket(av.Heap{}); !errors.Is(err, av.ErrTracks) || len(d.Tracks()) == 0 {
		return fmt.Errorf("initialization section: %w", err)
	}
	c.track = d.Tracks()[0]
	var err error
	c.info, err = codec.Describe(&c.track)
	return err
}

// add adds samples of a segment from one on: that one alone, or with gop up to the
// next key frame. ended: there was one.
func (c *clip) add(ctx context.Context, seg *live.Segment, part, sample int, gop bool) (ended bool, err error) {
	r, err := c.h.open(ctx, seg)
	if err != nil {
		return false, err
	}
	defer func() {
		c.held = append(c.held, r.take()...)
		r.Close()
	}()
	for ; part < len(seg.Parts); part, sample = part+1, 0 {
		list, id, err := r.samples(part)
		if err != nil {
			return false, err
		}
		c.id = id
		for ; sample < len(list); sample++ {
			s := &list[sample]
			if s.Sync && len(c.packets) > 0 {
				c.next = &mark{s.PTS, timebase(seg)}
				return true, nil
			}
			if err := c.take(r, part, s); err != nil || !gop {
				return false, err
			}
		}
	}
	return false, nil
}

// take adds one sample.
func (c *clip) take(r *reader, part int, s *mp4.Sample) error {
	p := av.Packet{DTS: s.DTS, PTS: s.PTS, Dur: s.Dur}
	if s.Sync {
		p.Flags = av.Key
	}
	if r.blocks == nil {
		c.copied += s.Size
		if c.h.copied.Add(s.Size) > maxCopied {
			return later("too many answers from the store are under way")
		}
	}
	var err error
	if p.Data, err = r.data(part, s.Offset, s.Size); err != nil {
		return err
	}
	c.packets = append(c.packets, p)
	if c.bytes += s.Size; c.bytes > maxGOP {
		return errGOP
	}
	return nil
}

// mp4 returns the clip as one fragment behind its header.
func (c *clip) mp4() (out pieces) {
	f := mp4.Fragment{Sequence: 1, TrackID: c.id, Factor: 1, Offset: c.delay, Packets: c.packets}
	out.add(c.init)
	out.add(f.Append(nil))
	for i := range c.packets {
		out.add(c.packets[i].Data)
	}
	return out
}

// messages returns the clip as messages of the binary stream, the configuration of the
// decoder first.
func (c *clip) messages() (out pieces) {
	tb := c.meta.Timebase
	form := &multiplex{}
	out.add(form.config(nil, decoderOf(&c.track, c.info, tb)))
	for i := range c.packets {
		p := c.packets[i]
		if p.PTS < c.meta.PTS {
			p.Flags |= av.Leading
		}
		head, data := form.packet(nil, tb, &p)
		out.add(head)
		out.add(data)
	}
	return out
}

// annexB returns the clip as a byte stream, its parameter sets first. ITU-T H.264
// annex B, ITU-T H.265 annex B
func (c *clip) annexB() (out pieces, err error) {
	sets, err := c.parameterSets()
	if err != nil {
		return out, err
	}
	code := []byte{0, 0, 0, 1}
	for _, set := range sets {
		out.add(code)
		out.add(set)
	}
	for i := range c.packets {
		units := nal.Split(c.packets[i].Data, c.info.NALLength)
		for {
			u, ok := units.Next()
			if !ok {
				break
			}
			if len(u) > 0 {
				out.add(code)
				out.add(u)
			}
		}
		if err := units.Err(); err != nil {
			return out, err
		}
	}
	return out, nil
}

// hasAnnexB reports whether a codec has a byte stream.
func hasAnnexB(c av.Codec) bool { return c == av.H264 || c == av.H265 }

func (c *clip) parameterSets() (sets [][]byte, err error) {
	if c.track.Codec == av.H265 {
		var r h265.Config
		r, err = h265.ParseConfig(c.track.Config)
		return append(append(append(append(sets, r.VPS...), r.SPS...), r.PPS...), r.SEI...), err
	}
	r, err := h264.ParseConfig(c.track.Config)
	return append(append(sets, r.SPS...), r.PPS...), err
}

// pieces is bytes one behind the other.
type pieces [][]byte

func (p *pieces) add(b []byte) { *p = append(*p, b) }
