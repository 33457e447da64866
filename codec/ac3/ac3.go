// Package ac3 reads frames of AC-3 and E-AC-3. ETSI TS 102 366
package ac3

import (
	"fmt"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/internal/bits"
)

// Frame is what the head of a syncframe says.
type Frame struct {
	Size       int // bytes
	SampleRate int
	Channels   int // with LFE
	Samples    int // 256 for each block
	EAC3       bool

	fscod, bsid, bsmod, acmod uint8
	rateCode                  uint8 // frmsizecod >> 1
	lfe                       bool
	strmtyp                   uint8
}

var sampleRates = [3]int{48000, 44100, 32000}

// bitrates in kbit/s by frmsizecod>>1. TS 102 366 table 4.13
var bitrates = [19]int{32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640}

var channels = [8]int{2, 1, 2, 3, 3, 4, 4, 5}

// ParseFrame reads the head of the frame at the start of b, which needs 8 bytes.
func ParseFrame(b []byte) (Frame, error) {
	if len(b) < 8 {
		return Frame{}, fmt.Errorf("ac3: syncframe: %w: %d bytes", av.ErrTruncated, len(b))
	}
	if b[0] != 0x0b || b[1] != 0x77 {
		return Frame{}, fmt.Errorf("ac3: syncword: %w: %x", av.ErrInvalid, b[:2])
	}
	bsid := b[5] >> 3
	switch {
	case bsid <= 10:
		return parseAC3(b)
	case bsid <= 16:
		return parseEAC3(b)
	}
	return Frame{}, fmt.Errorf("ac3: bsid: %w: %d", av.ErrUnsupported, bsid)
}

// parseAC3 reads syncinfo and bsi. TS 102 366 4.3
func parseAC3(b []byte) (Frame, error) {
	f := Frame{Samples: 1536}
	r := bits.New(b[4:])
	f.fscod = uint8(r.U(2))
	code := int(r.U(6))
	if f.fscod == 3 || code >= 38 {
		return f, fmt.Errorf("ac3: frmsizecod: %w: %d at rate %d", av.ErrInvalid, code, f.fscod)
	}
	f.SampleRate = sampleRates[f.fscod]
	f.rateCode = uint8(code >> 1)
	rate := bitrates[f.rateCode]
	switch f.fscod {
	case 0:
		f.Size = rate * 4
	case 1:
		f.Size = 2 * (rate*1536*1000/44100/16 + code&1)
	default:
		f.Size = rate * 6
	}
	f.bsid, f.bsmod, f.acmod = uint8(r.U(5)), uint8(r.U(3)), uint8(r.U(3))
	if f.acmod&1 == 1 && f.acmod != 1 {
		r.Skip(2)
	}
	if f.acmod&4 != 0 {
		r.Skip(2)
	}
	if f.acmod == 2 {
		r.Skip(2)
	}
	f.lfe = r.Flag()
	if f.bsid > 8 { // half and quarter rates
		f.SampleRate >>= f.bsid - 8
	}
	f.count()
	return f, r.Err()
}

// parseEAC3 reads syncinfo and bsi. TS 102 366 E.1.2
func parseEAC3(b []byte) (Frame, error) {
	f := Frame{EAC3: true}
	r := bits.New(b[2:])
	f.strmtyp = uint8(r.U(2))
	r.Skip(3)
	f.Size = 2 * (int(r.U(11)) + 1)
	f.fscod = uint8(r.U(2))
	blocks := 6
	if f.fscod == 3 {
		half := r.U(2)
		if half == 3 {
			return f, fmt.Errorf("ac3: fscod2: %w", av.ErrInvalid)
		}
		f.SampleRate = sampleRates[half] / 2
	} else {
		f.SampleRate = sampleRates[f.fscod]
		blocks = []int{1, 2, 3, 6}[r.U(2)]
	}
	f.Samples = 256 * blocks
	f.acmod = uint8(r.U(3))
	f.lfe = r.Flag()
	f.bsid = uint8(r.U(5))
	f.count()
	return f, r.Err()
}

func (f *Frame) count() {
	f.Channels = channels[f.acmod]
	if f.lfe {
		f.Channels++
	}
}

// Dependent reports whether an E-AC-3 frame belongs to the one before it.
func (f Frame) Dependent() bool { return f.EAC3 && f.strmtyp == 1 }

// Config returns the payload of dac3 or dec3 for a stream of such frames. A dec3
// from one frame describes one independent substream. TS 102 366 F.4, F.6
func (f Frame) Config() []byte {
	lfe := byte(0)
	if f.lfe {
		lfe = 1
	}
	if !f.EAC3 {
		v := uint32(f.fscod)<<22 | uint32(f.bsid)<<17 | uint32(f.bsmod)<<14 | uint32(f.acmod)<<11 | uint32(lfe)<<10 | uint32(f.rateCode)<<5
		return []byte{byte(v >> 16), byte(v >> 8), byte(v)}
	}
	kbits := 0
	if f.Samples > 0 {
		kbits = (f.Size*8*f.SampleRate/f.Samples + 500) / 1000
	}
	return []byte{byte(kbits >> 5), byte(kbits << 3), f.fscod<<6 | f.bsid<<1, f.acmod<<1 | lfe, 0}
}

// ParseConfig reads rate and channels from dac3, or from dec3 if eac3.
func ParseConfig(b []byte, eac3 bool) (sampleRate, channelCount int, err error) {
	r := bits.New(b)
	var fscod, acmod uint64
	if eac3 {
		r.Skip(16)
		fscod = r.U(2)
		r.Skip(5 + 1 + 1 + 3) // bsid, reserved, asvc, bsmod
	} else {
		fscod = r.U(2)
		r.Skip(5 + 3)
	}
	acmod = r.U(3)
	lfe := r.Flag()
	if r.Err() != nil {
		return 0, 0, fmt.Errorf("ac3: dac3: %w: %d bytes", av.ErrTruncated, len(b))
	}
	if fscod < 3 {
		sampleRate = sampleRates[fscod]
	}
	channelCount = channels[acmod]
	if lfe {
		channelCount++
	}
	return sampleRate, channelCount, nil
}
