package seal

import (
	"fmt"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/format/mp4"
)

// Track is the sealing of one track's samples.
type Track struct {
	s       *Stream
	init    *Period // whose key the track's header names
	pattern bool
	units   *mapper // nil: samples have no clear part

	period  *Period // of the fragment
	sealed  mp4.Sealed
	group   mp4.Protection
	samples []mp4.SealedSample
	subs    []mp4.Subsample
	ends    []int // of each sample's in subs
	kids    [1][16]byte
}

// Track returns the sealing of a track. Its header will name the newest key that
// was asked for, or the first. The error wraps av.ErrUnsupported if the scheme
// does not encrypt samples or not this codec's, else it is the Source's or that
// of a damaged configuration.
func (s *Stream) Track(t *av.Track) (*Track, error) {
	if !s.cfg.Scheme.Samples() {
		return nil, fmt.Errorf("seal: %w: %s encrypts whole segments, which a part of one is not", av.ErrUnsupported, s.cfg.Scheme)
	}
	out := &Track{s: s, init: s.current}
	if t.Kind == av.Video {
		var err error
		if out.units, err = newMapper(t, s.cfg.Scheme == CENC); err != nil {
			return nil, err
		}
		out.pattern = s.cfg.Scheme == CBCS
	}
	if out.init == nil {
		var err error
		if out.init, err = s.Period(0); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Protection is what the track's header says.
func (t *Track) Protection() *mp4.Protection {
	p := t.protection(t.init)
	return &p
}

// Use makes the track's header name the key of a period from now on. Fragments of others
// name theirs.
func (t *Track) Use(p *Period) { t.init = p }

// InitKey is the key that the track's header names.
func (t *Track) InitKey() *Key { return &t.init.Key }

func (t *Track) protection(p *Period) mp4.Protection {
	out := mp4.Protection{Scheme: string(t.s.cfg.Scheme), KID: p.Key.ID}
	if t.s.cfg.Scheme == CENC {
		out.IVSize = ivSize
		return out
	}
	out.ConstantIV = p.Key.IV
	if t.pattern {
		out.Crypt, out.Skip = cryptBlocks, skipBlocks
	}
	return out
}

// ivSize is of a sample's IV under cenc; the other half of the counter counts
// blocks. ISO 23000-19 8.2.3.1
const ivSize = 8

// Opaque is of how many slices so far the header could not be read. They are
// protected right behind their NAL header.
func (t *Track) Opaque() int {
	if t.units == nil {
		return 0
	}
	return t.units.opaque
}

// Fragment begins a fragment of the packets, and returns what it must say, valid
// until the next call. first marks the first fragment of a segment, which names
// the key if keys change.
func (t *Track) Fragment(packets []av.Packet, p *Period, first bool) *mp4.Sealed {
	t.period = p
	t.samples, t.subs, t.ends = t.samples[:0], t.subs[:0], t.ends[:0]
	t.sealed = mp4.Sealed{Subsamples: t.units != nil}
	cenc := t.s.cfg.Scheme == CENC
	if cenc {
		t.sealed.IVSize = ivSize
	}
	for i := range packets {
		var s mp4.SealedSample
		if cenc {
			s.IV = p.next
			p.next++
		}
		if t.units != nil {
			t.subs = t.units.appendMap(t.subs, packets[i].Data)
		}
		t.samples, t.ends = append(t.samples, s), append(t.ends, len(t.subs))
	}
	if t.units != nil {
		from := 0
		for i, end := range t.ends {
			t.samples[i].Subsamples = t.subs[from:end:end]
			from = end
		}
	}
	t.sealed.Samples = t.samples
	if p != t.init {
		t.group = t.protection(p)
		t.sealed.Group = &t.group
	}
	if first && t.s.Rotates() {
		t.kids[0] = p.Key.ID
		t.sealed.KIDs = t.kids[:]
	}
	return &t.sealed
}

// Seal writes the Data of packet i of the fragment, sealed, to dst, which is as
// long and does not overlap it.
func (t *Track) Seal(dst []byte, i int, data []byte) {
	s := &t.samples[i]
	if t.s.cfg.Scheme == CENC {
		t.period.cenc(dst[:len(data)], data, s.IV, s.Subsamples)
	} else {
		t.period.cbcs(dst[:len(data)], data, s.Subsamples)
	}
}
