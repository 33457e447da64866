// Package pack renders packets as CMAF: whole segments for files, whose payload
// stays where it lies, and parts for the live edge, each one contiguous block.
package pack

import (
	"slices"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/format/mp4"
	"github.com/cleave-video/cleave/seal"
)

// Segment is one track of one chunk as CMAF: styp, then a fragment for each GOP,
// so that every key frame can be fetched by a byte range that begins with its
// moof. Reuse it for the next chunk; it does not copy payload, unless it seals it.
type Segment struct {
	// Bufs is the segment, to be written one behind the other. The payload in it
	// belongs to the chunk, or to the Segment if it is sealed; a writer may consume
	// the slices themselves.
	Bufs [][]byte
	Size int64
	Keys []KeyRange

	head   []byte
	cuts   []fragment
	sealed []byte // payload
}

// KeyRange is where a key frame of a segment lies: its moof and its sample.
type KeyRange struct {
	PTS          int64 // ticks of the track, without offset
	Offset, Size int64 // bytes in the segment
}

// fragment is packets[from:to] and the end of its header in head.
type fragment struct{ from, to, head int }

// Style is how the packets of a track are rendered.
type Style struct {
	TrackID  uint32
	Timebase av.Timebase
	Offset   int64 // whole seconds added to every time
	// Delay is what the initialization section takes off, in output ticks: see
	// mp4.AppendInit. With it and Offset, no DTS is negative.
	Delay  int64
	Video  bool
	Seal   *seal.Track  // nil: in the clear
	Period *seal.Period // of the chunk, with Seal
}

// Render renders packets, which are one track of a chunk with Dur set and not
// empty. sequence is of the first moof; the next to use is returned.
func (s *Segment) Render(packets []av.Packet, st Style, sequence uint32) uint32 {
	scale, factor := st.Timebase.Timescale()
	s.head = mp4.AppendSegmentType(s.head[:0])
	s.cuts = s.cuts[:0]
	s.makeRoom(packets, st)
	for from := 0; from < len(packets); {
		to := s.fragmentEnd(packets, from, st)
		f := mp4.Fragment{Sequence: sequence, TrackID: st.TrackID, Factor: factor, Offset: st.Offset*int64(scale) + st.Delay, Packets: packets[from:to]}
		if st.Seal != nil {
			f.Sealed = st.Seal.Fragment(f.Packets, st.Period, from == 0)
			for i := range f.Packets {
				at := len(s.sealed)
				s.sealed = s.sealed[:at+len(f.Packets[i].Data)]
				st.Seal.Seal(s.sealed[at:], i, f.Packets[i].Data)
			}
		}
		s.head = f.Append(s.head)
		s.cuts = append(s.cuts, fragment{from, to, len(s.head)})
		sequence++
		from = to
	}
	s.assemble(packets, st)
	return sequence
}

// makeRoom readies the memory for all of the sealed payload.
func (s *Segment) makeRoom(packets []av.Packet, st Style) {
	s.sealed = s.sealed[:0]
	if st.Seal == nil {
		return
	}
	size := 0
	for i := range packets {
		size += len(packets[i].Data)
	}
	s.sealed = slices.Grow(s.sealed, size)
}

// fragmentEnd ends a fragment of video before the next key frame, unless that
// comes within a quarter of a second: an all-intra stream needs no moof a frame.
func (s *Segment) fragmentEnd(packets []av.Packet, from int, st Style) int {
	if !st.Video {
		return len(packets)
	}
	least := int64(st.Timebase.Den) / int64(st.Timebase.Num) / 4
	for i := from + 1; i < len(packets); i++ {
		if packets[i].Flags&av.Key != 0 && packets[i].DTS-packets[from].DTS >= least {
			return i
		}
	}
	return len(packets)
}

func (s *Segment) assemble(packets []av.Packet, st Style) {
	s.Bufs, s.Keys, s.Size = s.Bufs[:0], s.Keys[:0], 0
	head, payload := 0, s.sealed
	for _, c := range s.cuts {
		h := s.head[head:c.head]
		first := &packets[c.from]
		if st.Video && first.Flags&av.Key != 0 {
			s.Keys = append(s.Keys, KeyRange{PTS: first.PTS, Offset: s.Size, Size: int64(len(h) + len(first.Data))})
		}
		s.Bufs = append(s.Bufs, h)
		s.Size += int64(len(h))
		for i := c.from; i < c.to; i++ {
			data := packets[i].Data
			if st.Seal != nil {
				data, payload = payload[:len(data):len(data)], payload[len(data):]
			}
			s.Bufs = join(s.Bufs, data)
			s.Size += int64(len(data))
		}
		head = c.head
	}
}

// join adds b to bufs, as part of the last slice if b lies right behind it. The
// packets of a track lie together in their arena, so a chunk becomes few slices.
func join(bufs [][]byte, b []byte) [][]byte {
	if len(b) == 0 {
		return bufs
	}
	if n := len(bufs); n > 0 && adjacent(bufs[n-1], b) {
		bufs[n-1] = extend(bufs[n-1], len(b))
		return bufs
	}
	return append(bufs, b)
}

// Presented returns the first presentation time and the end of the last, in the
// track's ticks. packets is not empty.
func Presented(packets []av.Packet) (start, end int64) {
	start, end = packets[0].PTS, packets[0].PTS+packets[0].Dur
	for i := range packets {
		p := &packets[i]
		start, end = min(start, p.PTS), max(end, p.PTS+p.Dur)
	}
	return start, end
}
