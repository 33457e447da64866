package seal

import (
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"

	"github.com/cleave-video/cleave/format/mp4"
)

// blockSize is AES's.
const blockSize = 16

// ctrBatch is how many bytes of key stream are made at once where the standard
// library's CTR, which is faster by far but allocates, does not pay.
const ctrBatch = 16 * blockSize

// longCTR is from how many protected bytes of a sample on it does.
const longCTR = 4 << 10

// cenc seals a sample: src to dst, which have the same length and do not overlap.
// Without subsamples all of it is protected. The key stream goes on from one
// subsample to the next. ISO 23001-7 9.4, 9.5
func (p *Period) cenc(dst, src []byte, iv uint64, subs []mp4.Subsample) {
	x := keyStream{p: p, iv: iv, used: ctrBatch}
	protected := len(src)
	if subs != nil {
		protected = 0
		for _, s := range subs {
			protected += int(s.Protected)
		}
	}
	if protected >= longCTR {
		var counter [blockSize]byte
		binary.BigEndian.PutUint64(counter[:], iv)
		x.long = cipher.NewCTR(p.block, counter[:])
	}
	if subs == nil {
		x.xor(dst, src)
		return
	}
	for _, s := range subs {
		n := copy(dst[:s.Clear], src)
		dst, src = dst[n:], src[n:]
		x.xor(dst[:s.Protected], src[:s.Protected])
		dst, src = dst[s.Protected:], src[s.Protected:]
	}
}

// keyStream is the key stream of a sample.
type keyStream struct {
	p       *Period
	long    cipher.Stream // nil: made here
	iv      uint64
	counter uint64
	used    int // bytes of p.ctr
}

func (x *keyStream) xor(dst, src []byte) {
	if x.long != nil {
		x.long.XORKeyStream(dst, src)
		return
	}
	for len(src) > 0 {
		if x.used == ctrBatch {
			x.fill(len(src))
		}
		n := min(len(src), ctrBatch-x.used)
		subtle.XORBytes(dst[:n], src[:n], x.p.ctr[x.used:])
		x.used += n
		dst, src = dst[n:], src[n:]
	}
}

// fill makes key stream for up to n bytes, at the end of the batch.
func (x *keyStream) fill(n int) {
	blocks := min((n+blockSize-1)/blockSize, ctrBatch/blockSize)
	x.used = ctrBatch - blocks*blockSize
	for at := x.used; at < ctrBatch; at += blockSize {
		b := x.p.ctr[at : at+blockSize]
		binary.BigEndian.PutUint64(b, x.iv)
		binary.BigEndian.PutUint64(b[8:], x.counter)
		x.counter++
		x.p.block.Encrypt(b, b)
	}
}

// The pattern of video under cbcs: one block of ten. ISO 23001-7 10.4.2
const (
	cryptBlocks = 1
	skipBlocks  = 9
)

// cbcs seals a sample as cenc does. Each subsample begins with the constant IV
// and with the pattern; bytes behind the last whole block stay in the clear.
// Without subsamples there is no pattern. ISO 23001-7 9.6, 9.7, 10.4
func (p *Period) cbcs(dst, src []byte, subs []mp4.Subsample) {
	if subs == nil {
		p.cbc = p.Key.IV
		n := len(src) / blockSize * blockSize
		p.chain(dst[:n], src[:n])
		copy(dst[n:], src[n:])
		return
	}
	for _, s := range subs {
		n := copy(dst[:s.Clear], src)
		dst, src = dst[n:], src[n:]
		p.pattern(dst[:s.Protected], src[:s.Protected])
		dst, src = dst[s.Protected:], src[s.Protected:]
	}
}

func (p *Period) pattern(dst, src []byte) {
	p.cbc = p.Key.IV
	for len(src) >= cryptBlocks*blockSize {
		p.chain(dst[:cryptBlocks*blockSize], src)
		n := min(len(src), (cryptBlocks+skipBlocks)*blockSize)
		copy(dst[cryptBlocks*blockSize:n], src[cryptBlocks*blockSize:n])
		dst, src = dst[n:], src[n:]
	}
	copy(dst, src)
}

// chain encrypts the whole blocks that dst holds.
func (p *Period) chain(dst, src []byte) {
	for at := 0; at < len(dst); at += blockSize {
		subtle.XORBytes(p.cbc[:], p.cbc[:], src[at:at+blockSize])
		p.block.Encrypt(p.cbc[:], p.cbc[:])
		copy(dst[at:], p.cbc[:])
	}
}
