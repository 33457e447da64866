package mp4

import "github.com/cleave-video/cleave/av"

// Protection says how samples are encrypted: what tenc and seig hold.
// ISO 23001-7 8.2, 6
type Protection struct {
	Scheme      string // "cenc" or "cbcs"
	KID         [16]byte
	IVSize      uint8    // of the IV that each sample has; 0: ConstantIV is every sample's
	ConstantIV  [16]byte // if IVSize is 0
	Crypt, Skip uint8    // blocks of the pattern; 0, 0 is none
}

// Sealed says what a fragment's samples need to be decrypted. ISO 23001-7 7
type Sealed struct {
	IVSize  uint8 // of each sample's IV: 8, or 0 if Protection has a constant one
	Samples []SealedSample
	// Subsamples: senc says of each sample which bytes of it are in the clear.
	// Without them and without IVs there is nothing to say, and no senc.
	Subsamples bool
	// Group is another protection than the track's header states, nil if that holds.
	Group *Protection
	KIDs  [][16]byte // of the pssh written into moof, none if empty
}

// SealedSample is one sample of a Sealed.
type SealedSample struct {
	IV         uint64
	Subsamples []Subsample
}

// Subsample is bytes in the clear and protected ones behind them.
type Subsample struct {
	Clear     uint16
	Protected uint32
}

// commonSystem is the SystemID of a pssh that every system reads, ClearKey above
// all: 1077efec-c0b2-4d02-ace3-3c1e52e2fb4b. W3C "cenc" Initialization Data Format
var commonSystem = [16]byte{0x10, 0x77, 0xef, 0xec, 0xc0, 0xb2, 0x4d, 0x02, 0xac, 0xe3, 0x3c, 0x1e, 0x52, 0xe2, 0xfb, 0x4b}

// AppendPSSH appends a pssh box of the W3C's common system that names keys.
// ISO 23001-7 8.1
func AppendPSSH(dst []byte, kids [][16]byte) []byte {
	w := writer{b: dst}
	w.full("pssh", 1, 0)
	w.bytes(commonSystem[:])
	w.u32(uint32(len(kids)))
	for i := range kids {
		w.bytes(kids[i][:])
	}
	w.u32(0)
	w.end()
	return w.b
}

// protectEntry turns a sample entry into encv or enca, with a sinf that says what
// it was. ISO 14496-12 8.12, ISO 23001-7 4.1
func protectEntry(entry []byte, kind av.Kind, p *Protection) []byte {
	w := writer{b: append([]byte(nil), entry...)}
	w.n = 1 // the entry is open again
	w.begin("sinf")
	w.begin("frma")
	w.bytes(entry[4:8])
	w.end()
	w.full("schm", 0, 0)
	w.string(p.Scheme)
	w.u32(0x10000)
	w.end()
	w.begin("schi")
	version := uint8(0)
	if p.Crypt|p.Skip != 0 {
		version = 1
	}
	w.full("tenc", version, 0)
	w.u8(0)
	w.protection(p)
	w.end()
	w.end()
	w.end()
	w.end()
	name := "encv"
	if kind == av.Audio {
		name = "enca"
	}
	copy(w.b[4:], name)
	return w.b
}

// protection writes the fields that tenc and seig share, from the pattern on.
func (w *writer) protection(p *Protection) {
	w.u8(p.Crypt<<4 | p.Skip)
	w.u8(1)
	w.u8(p.IVSize)
	w.bytes(p.KID[:])
	if p.IVSize == 0 {
		w.u8(16)
		w.bytes(p.ConstantIV[:])
	}
}

// useSubsamples is a flag of senc. ISO 23001-7 7.2.2
const useSubsamples = 2

// sealed writes senc with saiz and saio, and sbgp with sgpd, into a traf whose
// moof begins at moof. ISO 23001-7 7, ISO 23000-19 8.2
func (w *writer) sealed(s *Sealed, moof int) {
	if s.IVSize > 0 || s.Subsamples {
		w.auxiliary(s, moof)
	}
	if s.Group != nil {
		w.group(s)
	}
}

func (w *writer) auxiliary(s *Sealed, moof int) {
	flags := uint32(0)
	if s.Subsamples {
		flags = useSubsamples
	}
	w.full("senc", 0, flags)
	w.u32(uint32(len(s.Samples)))
	first := len(w.b) - moof
	for i := range s.Samples {
		x := &s.Samples[i]
		if s.IVSize == 8 {
			w.u64(x.IV)
		}
		if s.Subsamples {
			w.u16(uint16(len(x.Subsamples)))
			for _, sub := range x.Subsamples {
				w.u16(sub.Clear)
				w.u32(sub.Protected)
			}
		}
	}
	w.end()
	same, most := true, 0
	for i := range s.Samples {
		n := s.size(i)
		same, most = same && n == s.size(0), max(most, n)
	}
	if most > 255 {
		// saiz has a byte for each size. A picture of more than 40 slices has more
		// to say; then senc, which says it all, stands alone.
		return
	}
	w.full("saiz", 0, 0)
	if same {
		w.u8(uint8(most))
	} else {
		w.u8(0)
	}
	w.u32(uint32(len(s.Samples)))
	if !same {
		for i := range s.Samples {
			w.u8(uint8(s.size(i)))
		}
	}
	w.end()
	w.full("saio", 0, 0)
	w.words(1, uint32(first))
	w.end()
}

// size is how many bytes senc has for sample i.
func (s *Sealed) size(i int) int {
	n := int(s.IVSize)
	if s.Subsamples {
		n += 2 + 6*len(s.Samples[i].Subsamples)
	}
	return n
}

// fragmentGroup is added to the index of a group description that stands in the
// fragment itself. ISO 14496-12 8.9.4
const fragmentGroup = 0x10000

// group puts all samples into one seig group. ISO 23001-7 6
func (w *writer) group(s *Sealed) {
	w.full("sbgp", 0, 0)
	w.string("seig")
	w.words(1, uint32(len(s.Samples)), fragmentGroup+1)
	w.end()
	w.full("sgpd", 1, 0)
	w.string("seig")
	size := uint32(20)
	if s.Group.IVSize == 0 {
		size += 1 + 16
	}
	w.words(size, 1)
	w.u8(0)
	w.protection(s.Group)
	w.end()
}
