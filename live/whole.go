package live

import (
	"context"
	"fmt"
	"sync"

	"github.com/cleave-video/cleave/mem"
	"github.com/cleave-video/cleave/pack"
	"github.com/cleave-video/cleave/seal"
)

// samples is the encryption of samples; nil if they stay in the clear.
func (s *Stream) samples() *seal.Stream {
	if x := s.sealer; x != nil && x.cfg.Scheme.Samples() {
		return x.stream
	}
	return nil
}

// keepKeys has keys readied until the function returned is called.
func (s *Stream) keepKeys(ctx context.Context) (end func()) {
	if !s.sealer.cfg.rotates() {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	group.Go(func() { s.sealer.run(ctx) })
	return func() {
		cancel()
		group.Wait()
	}
}

// wholeSegments reports whether segments are encrypted when they end, as a whole.
func (x *sealer) wholeSegments() bool { return x != nil && x.cfg.Scheme == seal.AES128 }

// owns returns an error unless a part is encrypted with the key of its chunk, or in the
// clear as this is: what belongs to another chunk must not get any further.
func (o *opened) owns(part *pack.Part) error {
	var want [16]byte
	if o.period != nil && o.samples {
		want = o.period.Key.ID
	}
	if part.Chunk != o.c.ID || part.KeyID != want {
		return fmt.Errorf("live: part %d of %v with key %x in %v with key %x", part.Index, part.Chunk, part.KeyID, o.c.ID, want)
	}
	return nil
}

// sealed is how segments of the chunk are encrypted.
func (o *opened) sealed() *Sealed {
	if o.period == nil {
		return nil
	}
	return &Sealed{KeyID: o.period.Key.ID}
}

// hide keeps a part that is in the clear out of the segment, which gets its times.
func (l *lane) hide(part *pack.Part) {
	s := &l.seg
	if dts := part.DTS*l.factor + l.off; len(l.clear) == 0 && !l.holed {
		s.DTS = dts
	}
	s.Dur = part.DTS*l.factor + l.off + part.Dur*l.factor - s.DTS
	l.clear = append(l.clear, part.Block)
}

// bare lets go of what is in the clear.
func (l *lane) bare() {
	for i, b := range l.clear {
		b.Release()
		l.clear[i] = nil
	}
	l.clear = l.clear[:0]
}

// wholeSegments is the memory that segments are encrypted in.
type wholeSegments struct{ buf []byte }

// sealWhole puts what was hidden into the lane's segment, encrypted as a whole: it is
// one part, which is not listed.
func (p *publisher) sealWhole(l *lane) error {
	defer l.bare()
	size := 0
	for _, b := range l.clear {
		size += len(b.Bytes())
	}
	block, err := p.blocks.NewBlock(l.track, seal.SegmentSize(size))
	if err != nil {
		return fmt.Errorf("live: segment %d of %s cannot be encrypted: %w", l.seg.MSN, l.r.Name, err)
	}
	out := filler{block.Bytes()}
	enc := l.in.period.Segment(&out, p.whole.buf)
	for _, b := range l.clear {
		_, _ = enc.Write(b.Bytes()) // Close returns it, too
	}
	if p.whole.buf, err = enc.Close(); err != nil {
		block.Release()
		return fmt.Errorf("live: segment %d of %s cannot be encrypted: %w", l.seg.MSN, l.r.Name, err)
	}
	s := &l.seg
	s.Sealed = &Sealed{KeyID: s.Sealed.KeyID, IV: enc.IV} // that of the open one is shown already
	s.Size = enc.Size
	s.Parts = append(s.Parts, Part{DTS: s.DTS, Dur: s.Dur, Size: enc.Size, Independent: true, block: block})
	block.Retain()
	l.in.blocks[l.section] = append(l.in.blocks[l.section], block)
	p.journalPart(l, block)
	return nil
}

// filler writes into memory of the right size.
type filler struct{ left []byte }

func (f *filler) Write(b []byte) (int, error) {
	n := copy(f.left, b)
	f.left = f.left[n:]
	if n < len(b) {
		return n, mem.ErrFull
	}
	return n, nil
}
