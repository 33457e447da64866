package replay

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/cleave-video/cleave/format/mp4"
	"github.com/cleave-video/cleave/index"
	"github.com/cleave-video/cleave/store"
)

// filmReader reads a film: what it has in memory is a buffer. It belongs to one goroutine.
type filmReader struct {
	ctx context.Context // of the request
	f   *film
	pos int64

	n      int // piece that is read; -1: none
	key    string
	object store.Object
	buf    *bufio.Reader
	moof   []byte // changed, not read yet
	plain  int64  // bytes that follow as they are
	left   int64  // of the piece, behind both
	order  uint32 // of the fragment in the piece
}

// readAhead is how much of an object is read at a time.
const readAhead = 256 << 10

var _ io.ReadSeeker = (*filmReader)(nil)

func newFilmReader(ctx context.Context, f *film) *filmReader {
	return &filmReader{ctx: ctx, f: f, n: -1, buf: bufio.NewReaderSize(nil, readAhead)}
}

// Close lets go of the object that is open.
func (r *filmReader) Close() {
	if r.object != nil {
		r.object.Close() // it was only read
	}
	r.object, r.key = nil, ""
}

// Seek implements io.Seeker.
func (r *filmReader) Seek(off int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		off += r.pos
	case io.SeekEnd:
		off += r.f.size
	}
	if off < 0 {
		return 0, errors.New("replay: before the beginning")
	}
	if off != r.pos {
		r.pos, r.n = off, -1
	}
	return off, nil
}

// Read implements io.Reader.
func (r *filmReader) Read(b []byte) (int, error) {
	if r.pos >= r.f.size {
		return 0, io.EOF
	}
	if n := int64(len(r.f.header)); r.pos < n {
		k := copy(b, r.f.header[r.pos:])
		r.pos += int64(k)
		return k, nil
	}
	if r.n < 0 || r.left == 0 && r.plain == 0 && len(r.moof) == 0 {
		if err := r.open(); err != nil {
			return 0, err
		}
	}
	n, err := r.read(b)
	r.pos += int64(n)
	return n, err
}

// open goes to the piece that pos lies in, and there.
func (r *filmReader) open() error {
	at := r.pos - int64(len(r.f.header))
	i, found := slices.BinarySearchFunc(r.f.pieces, at, func(p piece, at int64) int { return int(max(-1, min(1, p.at-at))) })
	if !found {
		i--
	}
	p := &r.f.pieces[i]
	r.n, r.moof, r.plain, r.left, r.order = i, nil, 0, p.size, 0
	if p.data != nil {
		r.buf.Reset(bytes.NewReader(p.data))
	} else {
		if r.key != p.object {
			r.Close()
			o, err := r.f.h.cfg.Store.Open(r.ctx, p.object)
			if err != nil {
				return err
			}
			r.object, r.key = o, p.object
		}
		r.buf.Reset(io.NewSectionReader(r.object, p.off, p.size))
	}
	var skipped [4096]byte
	for skip := at - p.at; skip > 0; {
		n, err := r.read(skipped[:min(skip, int64(len(skipped)))])
		if err != nil {
			return err
		}
		skip -= int64(n)
	}
	return nil
}

// read returns bytes of the piece; there are some.
func (r *filmReader) read(b []byte) (int, error) {
	if len(r.moof) == 0 && r.plain == 0 {
		if err := r.next(); err != nil {
			return 0, err
		}
	}
	if len(r.moof) > 0 {
		n := copy(b, r.moof)
		r.moof = r.moof[n:]
		return n, nil
	}
	n, err := r.buf.Read(b[:min(int64(len(b)), r.plain)])
	r.plain -= int64(n)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// next takes the next box of the piece; a moof gets what it has in the film.
func (r *filmReader) next() error {
	p := &r.f.pieces[r.n]
	if r.f.plain {
		r.plain, r.left = r.left, 0
		return nil
	}
	head, err := r.buf.Peek(8)
	if err != nil {
		return r.damaged(p, err)
	}
	size := int64(binary.BigEndian.Uint32(head))
	if size < 8 || size > r.left {
		return r.damaged(p, fmt.Errorf("a box of %d bytes in %d", size, r.left))
	}
	r.left -= size
	if string(head[4:8]) != "moof" {
		r.plain = size
		return nil
	}
	if size > maxMoof {
		return r.damaged(p, errFragment)
	}
	r.moof = slices.Grow(r.moof[:0], int(size))[:size]
	if _, err := io.ReadFull(r.buf, r.moof); err != nil {
		return r.damaged(p, err)
	}
	t := r.f.tracks[p.track]
	r.order++
	err = mp4.Retime(r.moof, mp4.Retimed{
		Sequence: uint32(r.n)<<8 + min(r.order, 1<<8), TrackID: uint32(p.track + 1), Description: p.description, Shift: p.shift + t.delay,
	})
	if err != nil {
		return r.damaged(p, err)
	}
	return nil
}

// damaged is an error of a piece: bytes that are not what the index says.
func (r *filmReader) damaged(p *piece, err error) error {
	if errors.Is(err, store.ErrTransient) || r.ctx.Err() != nil {
		return err
	}
	return &index.CorruptError{Path: p.object, Offset: p.off, Why: err.Error()}
}
