package frames

import (
	"context"
	"errors"
	"io"

	"github.com/cleave-video/cleave/format/mp4"
	"github.com/cleave-video/cleave/live"
	"github.com/cleave-video/cleave/mem"
	"github.com/cleave-video/cleave/store"
)

// headRead is how much of a part is read from the store to find its moof: that of a
// part of 200 ms has some 200 bytes.
const headRead = 4 << 10

var errLost = errors.New("no longer kept")

// reader reads a segment: parts from memory, or all of it from the store.
type reader struct {
	seg    *live.Segment
	blocks []*mem.Block // nil: object
	object store.Object
	base   int64 // of the segment in object
}

// open returns a reader of a segment, to be closed. The error wraps errLost if neither
// memory nor the store has it.
func (h *Handler) open(ctx context.Context, seg *live.Segment) (*reader, error) {
	if b := seg.Retain(); b != nil {
		return &reader{seg: seg, blocks: b}, nil
	}
	key, at, ok := seg.Stored()
	if !ok {
		return nil, errLost
	}
	o, err := h.cfg.Store.Open(ctx, key)
	if errors.Is(err, store.ErrNotExist) {
		return nil, errLost
	}
	return &reader{seg: seg, object: o, base: at}, err
}

// Close lets go of the blocks, and so of the bytes that data returned.
func (r *reader) Close() {
	for _, b := range r.blocks {
		b.Release()
	}
	if r.blocks = nil; r.object != nil {
		r.object.Close() // it was only read
		r.object = nil
	}
}

// take hands the blocks over to who releases them.
func (r *reader) take() []*mem.Block {
	b := r.blocks
	r.blocks = nil
	return b
}

// data returns bytes of a part: those in memory, which nobody may change, or a copy of
// those in the store.
func (r *reader) data(part int, off, size int64) ([]byte, error) {
	p := &r.seg.Parts[part]
	if off < 0 || size < 0 || off+size > p.Size {
		return nil, io.ErrUnexpectedEOF
	}
	if r.blocks != nil {
		return r.blocks[part].Bytes()[off : off+size], nil
	}
	b := make([]byte, size)
	n, err := r.object.ReadAt(b, r.base+p.Offset+off)
	if int64(n) == size {
		return b, nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return nil, err
}

// samples lists those of a part; their offsets count from the part's first byte.
func (r *reader) samples(part int) ([]mp4.Sample, uint32, error) {
	size := r.seg.Parts[part].Size
	head := size
	if r.blocks == nil {
		head = min(size, headRead)
	}
	b, err := r.data(part, 0, head)
	if err != nil {
		return nil, 0, err
	}
	off, n := mp4.MoofSize(b)
	if n == 0 || off+n > size {
		return nil, 0, store.ErrCorrupt
	}
	if off+n > head {
		if b, err = r.data(part, 0, off+n); err != nil {
			return nil, 0, err
		}
	}
	list, id, err := mp4.AppendSamples(nil, b[off:off+n], size-off)
	for i := range list {
		list[i].Offset += off
	}
	return list, id, err
}
