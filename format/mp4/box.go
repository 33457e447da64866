// Package mp4 reads ISO base media files (MP4, MOV, CMAF; progressive and
// fragmented) and renders CMAF headers and fragments.
package mp4

import (
	"encoding/binary"
	"errors"
	"io"

	"github.com/cleave-video/cleave/av"
)

var be = binary.BigEndian

// fourcc is a box type, brand, handler or sample entry name.
type fourcc [4]byte

func (f fourcc) String() string {
	b := f
	for i, c := range b {
		if c < 0x20 || c > 0x7e {
			b[i] = '?'
		}
	}
	return string(b[:])
}

func cc(s string) (f fourcc) {
	copy(f[:], s)
	return f
}

// box is one box whose bytes are in memory. ISO 14496-12 4.2
type box struct {
	kind fourcc
	off  int64  // of the box's first byte in the input
	head int    // bytes of header
	body []byte // without the header
}

// header reads a box header from b, which begins at off in the input and may hold
// less than the box. size is -1 for a box that reaches to the end.
func header(b []byte, off int64) (kind fourcc, head int, size int64, err error) {
	if len(b) < 8 {
		return kind, 0, 0, av.Errorf("mp4", off, "box.size", "%w: %d bytes of a header of 8", av.ErrTruncated, len(b))
	}
	copy(kind[:], b[4:])
	switch size = int64(be.Uint32(b)); size {
	case 0:
		return kind, 8, -1, nil
	case 1:
		if len(b) < 16 {
			return kind, 0, 0, av.Errorf("mp4", off, kind.String()+".largesize", "%w: %d bytes of a header of 16", av.ErrTruncated, len(b))
		}
		large := be.Uint64(b[8:])
		if large < 16 || large > 1<<62 {
			return kind, 0, 0, av.Errorf("mp4", off, kind.String()+".largesize", "%w: %d", av.ErrInvalid, large)
		}
		return kind, 16, int64(large), nil
	}
	if size < 8 {
		return kind, 0, 0, av.Errorf("mp4", off, kind.String()+".size", "%w: %d is less than the header", av.ErrInvalid, size)
	}
	return kind, 8, size, nil
}

// boxes walks the boxes in body, which begins at off in the input.
type boxes struct {
	body []byte
	off  int64
	err  error
}

func (b box) children(skip int) boxes {
	if skip > len(b.body) {
		return boxes{err: av.Errorf("mp4", b.off, b.kind.String(), "%w: %d bytes, %d before its first child", av.ErrTruncated, len(b.body), skip)}
	}
	return boxes{body: b.body[skip:], off: b.off + int64(b.head+skip)}
}

// next returns the next box; ok is false at the end or at an error, kept in err.
func (w *boxes) next() (x box, ok bool) {
	if w.err != nil || len(w.body) < 8 { // QuickTime ends a container by four zero bytes
		return box{}, false
	}
	kind, head, size, err := header(w.body, w.off)
	if err != nil {
		w.err = err
		return box{}, false
	}
	if size < 0 {
		size = int64(len(w.body))
	}
	if size > int64(len(w.body)) {
		w.err = av.Errorf("mp4", w.off, kind.String()+".size", "%w: %d bytes declared, %d in the parent", av.ErrTruncated, size, len(w.body))
		return box{}, false
	}
	x = box{kind: kind, off: w.off, head: head, body: w.body[head:size]}
	w.body = w.body[size:]
	w.off += size
	return x, true
}

// find returns the first child of that kind.
func (b box) find(skip int, kind string) (box, bool) {
	for w := b.children(skip); ; {
		x, ok := w.next()
		if !ok || x.kind == cc(kind) {
			return x, ok
		}
	}
}

// fields reads a box body front to back; the first fault sticks.
type fields struct {
	b   box
	pos int
	err error
}

func (f *fields) take(n int, name string) []byte {
	if f.err == nil && n > len(f.b.body)-f.pos {
		f.err = av.Errorf("mp4", f.b.off+int64(f.b.head+f.pos), f.b.kind.String()+"."+name,
			"%w: %d bytes wanted, %d left", av.ErrTruncated, n, len(f.b.body)-f.pos)
	}
	if f.err != nil {
		return zeros[:min(n, len(zeros))]
	}
	f.pos += n
	return f.b.body[f.pos-n : f.pos]
}

var zeros [64]byte

func (f *fields) u8(name string) uint8   { return f.take(1, name)[0] }
func (f *fields) u16(name string) uint16 { return be.Uint16(f.take(2, name)) }
func (f *fields) u32(name string) uint32 { return be.Uint32(f.take(4, name)) }
func (f *fields) u64(name string) uint64 { return be.Uint64(f.take(8, name)) }

// full reads the version and flags of a FullBox. ISO 14496-12 4.2
func (f *fields) full() (version uint8, flags uint32) {
	v := f.u32("version")
	return uint8(v >> 24), v & 0xffffff
}

// u32or64 reads a field that version 1 widens.
func (f *fields) u32or64(version uint8, name string) uint64 {
	if version == 1 {
		return f.u64(name)
	}
	return uint64(f.u32(name))
}

// table takes count entries of size bytes, checked against what is there.
func (f *fields) table(count uint32, size int, name string) []byte {
	if f.err == nil && int64(count)*int64(size) > int64(len(f.b.body)-f.pos) {
		f.err = av.Errorf("mp4", f.b.off+int64(f.b.head+f.pos), f.b.kind.String()+"."+name,
			"%w: %d entries of %d bytes declared, %d bytes present", av.ErrTruncated, count, size, len(f.b.body)-f.pos)
	}
	if f.err != nil {
		return nil
	}
	return f.take(int(count)*size, name)
}

// readFull reads len(b) bytes at off; short is io.EOF or io.ErrUnexpectedEOF.
func readFull(r io.ReaderAt, b []byte, off int64) (int, error) {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return n, nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
		if n == 0 {
			err = io.EOF
		}
	}
	return n, err
}
