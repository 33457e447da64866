// Package bits reads bit fields, most significant first.
package bits

import "io"

// Reader reads bit fields. The first read past the end makes every later one
// return 0; check Err once when done. A Reader does not allocate.
type Reader struct {
	b    []byte
	pos  int // in bits
	over bool
}

// New returns a Reader of b.
func New(b []byte) Reader { return Reader{b: b} }

// Err returns io.ErrUnexpectedEOF if more was read than there is.
func (r *Reader) Err() error {
	if r.over {
		return io.ErrUnexpectedEOF
	}
	return nil
}

// Left returns how many bits are unread.
func (r *Reader) Left() int { return len(r.b)*8 - r.pos }

// Pos returns how many bits were read.
func (r *Reader) Pos() int { return r.pos }

// Skip passes over n bits.
func (r *Reader) Skip(n int) {
	if n < 0 || n > r.Left() {
		r.over = true
		r.pos = len(r.b) * 8
		return
	}
	r.pos += n
}

// U reads an unsigned field of n bits, at most 64.
func (r *Reader) U(n int) uint64 {
	if n > r.Left() || r.over {
		r.over = true
		r.pos = len(r.b) * 8
		return 0
	}
	v := uint64(0)
	for n > 0 {
		take := min(n, 8-r.pos&7)
		cur := r.b[r.pos>>3] >> (8 - r.pos&7 - take) & (1<<take - 1)
		v = v<<take | uint64(cur)
		r.pos += take
		n -= take
	}
	return v
}

// Flag reads one bit.
func (r *Reader) Flag() bool { return r.U(1) == 1 }

// UE reads an unsigned Exp-Golomb code. ITU-T H.264 9.1
func (r *Reader) UE() uint64 {
	zeros := 0
	for r.U(1) == 0 {
		if zeros++; r.over || zeros > 32 {
			r.over = true
			return 0
		}
	}
	return 1<<zeros - 1 + r.U(zeros)
}

// SE reads a signed Exp-Golomb code. ITU-T H.264 9.1.1
func (r *Reader) SE() int64 {
	v := r.UE()
	if v&1 == 1 {
		return int64(v/2) + 1
	}
	return -int64(v / 2)
}
