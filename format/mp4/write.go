package mp4

import "github.com/cleave-video/cleave/av"

// writer appends boxes; begin and end nest.
type writer struct {
	b    []byte
	open [16]int
	n    int
}

func (w *writer) begin(kind string) {
	w.open[w.n] = len(w.b)
	w.n++
	w.b = append(w.b, 0, 0, 0, 0)
	w.b = append(w.b, kind...)
}

func (w *writer) full(kind string, version uint8, flags uint32) {
	w.begin(kind)
	w.u32(uint32(version)<<24 | flags)
}

func (w *writer) end() {
	w.n--
	at := w.open[w.n]
	be.PutUint32(w.b[at:], uint32(len(w.b)-at))
}

func (w *writer) u8(v uint8)      { w.b = append(w.b, v) }
func (w *writer) u16(v uint16)    { w.b = be.AppendUint16(w.b, v) }
func (w *writer) u32(v uint32)    { w.b = be.AppendUint32(w.b, v) }
func (w *writer) u64(v uint64)    { w.b = be.AppendUint64(w.b, v) }
func (w *writer) bytes(b []byte)  { w.b = append(w.b, b...) }
func (w *writer) string(s string) { w.b = append(w.b, s...) }
func (w *writer) words(v ...uint32) {
	for _, x := range v {
		w.u32(x)
	}
}

// AppendSegmentType appends the styp box that opens a CMAF segment.
// ISO 23000-19 7.3.3.1
func AppendSegmentType(dst []byte) []byte {
	w := writer{b: dst}
	w.begin("styp")
	w.string("msdh")
	w.u32(0)
	w.string("msdhcmfs")
	w.end()
	return w.b
}

// Fragment is a CMAF chunk: moof and mdat with samples of one track.
type Fragment struct {
	Sequence uint32 // of mfhd: 1 for the first fragment of a track
	TrackID  uint32
	Factor   int64 // what ticks of the packets are multiplied by: Timebase.Timescale
	Offset   int64 // added to the packets' times, in their ticks; the sum is >= 0
	Packets  []av.Packet
	Sealed   *Sealed // how the samples are encrypted; nil: they are not
}

// Sample flags. ISO 14496-12 8.8.3.1
const (
	sampleIsLeading  = 1 << 26 // cannot be decoded after the sync sample before it
	sampleDepends    = 1 << 24
	sampleStandsOn   = 2 << 24 // on no other
	sampleDisposable = 2 << 22
)

func sampleFlags(f av.Flags) uint32 {
	v := uint32(sampleDepends | sampleIsNonSync)
	if f&av.Key != 0 && f&av.Gradual == 0 {
		v = sampleStandsOn
	}
	if f&av.Disposable != 0 {
		v |= sampleDisposable
	}
	if f&av.Leading != 0 {
		v |= sampleIsLeading
	}
	return v
}

// Append appends moof and the header of mdat; the packets' Data must follow, one
// behind the other. Packets must not be empty and must have their Dur.
// ISO 14496-12 8.8, ISO 23000-19 7.3.2
func (f *Fragment) Append(dst []byte) []byte {
	w := writer{b: dst}
	start := len(dst)
	w.begin("moof")
	w.full("mfhd", 0, 0)
	w.u32(f.Sequence)
	w.end()
	if f.Sealed != nil && len(f.Sealed.KIDs) > 0 {
		w.b = AppendPSSH(w.b, f.Sealed.KIDs)
	}
	w.begin("traf")
	w.full("tfhd", 0, tfhdBaseIsMoof|tfhdDesc|tfhdDuration|tfhdSize|tfhdFlags)
	last := &f.Packets[len(f.Packets)-1]
	w.words(f.TrackID, 1, f.ticks(f.Packets[0].Dur), uint32(len(f.Packets[0].Data)), sampleFlags(last.Flags))
	w.end()
	w.full("tfdt", 1, 0)
	w.u64(uint64(f.Packets[0].DTS*f.Factor + f.Offset))
	w.end()
	payload, dataOffset := f.run(&w, f.vary())
	if f.Sealed != nil {
		w.sealed(f.Sealed, start)
	}
	w.end()
	w.end()
	be.PutUint32(w.b[dataOffset:], uint32(len(w.b)-start+8))
	w.u32(uint32(payload + 8))
	w.string("mdat")
	return w.b
}

func (f *Fragment) ticks(v int64) uint32 { return uint32(v * f.Factor) }

// vary returns which fields trun must carry per sample. A first sample that
// alone has other flags than the rest needs one field only.
func (f *Fragment) vary() (bits uint32) {
	first, last := &f.Packets[0], &f.Packets[len(f.Packets)-1]
	if sampleFlags(first.Flags) != sampleFlags(last.Flags) {
		bits |= trunFirstFlags
	}
	for i := range f.Packets {
		p := &f.Packets[i]
		if p.Dur != first.Dur {
			bits |= trunDuration
		}
		if len(p.Data) != len(first.Data) {
			bits |= trunSize
		}
		if i > 0 && sampleFlags(p.Flags) != sampleFlags(last.Flags) {
			bits = bits&^trunFirstFlags | trunFlags
		}
		if p.PTS != p.DTS {
			bits |= trunCTS
		}
	}
	if bits&trunFlags != 0 {
		bits &^= trunFirstFlags
	}
	return bits
}

// run writes trun and returns the payload's size and where data_offset stands.
// ISO 14496-12 8.8.8
func (f *Fragment) run(w *writer, bits uint32) (payload, dataOffset int) {
	w.full("trun", 1, trunDataOffset|bits)
	w.u32(uint32(len(f.Packets)))
	dataOffset = len(w.b)
	w.u32(0)
	if bits&trunFirstFlags != 0 {
		w.u32(sampleFlags(f.Packets[0].Flags))
	}
	for i := range f.Packets {
		p := &f.Packets[i]
		payload += len(p.Data)
		if bits&trunDuration != 0 {
			w.u32(f.ticks(p.Dur))
		}
		if bits&trunSize != 0 {
			w.u32(uint32(len(p.Data)))
		}
		if bits&trunFlags != 0 {
			w.u32(sampleFlags(p.Flags))
		}
		if bits&trunCTS != 0 {
			w.u32(f.ticks(p.PTS - p.DTS))
		}
	}
	w.end()
	return payload, dataOffset
}
