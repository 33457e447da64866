package codec

import (
	"github.com/cleave-video/cleave/codec/h264"
	"github.com/cleave-video/cleave/codec/h265"
)

// StartsAU reports whether a NAL unit begins a new access unit; call it for every
// NAL unit in turn. ITU-T H.264 7.4.1.2.3, ITU-T H.265 7.4.2.4.4
func (s *ByteStream) StartsAU(u []byte) bool {
	if len(u) == 0 {
		return false
	}
	s.earn(len(u))
	s.learn(u)
	s.begins = s.begins || s.endsSequence(u)
	starts, vcl := s.starts264(u)
	if s.hevc {
		starts, vcl = starts265(u)
	}
	begins := starts && s.sawVCL
	if begins {
		s.sawVCL = false
	}
	s.sawVCL = s.sawVCL || vcl
	return begins
}

// starts265 reports whether u may begin an access unit once that before has a
// slice, and whether it is a slice.
func starts265(u []byte) (starts, vcl bool) {
	t := h265.Type(u)
	if h265.IsVCL(t) {
		return h265.FirstSlice(u), true
	}
	return t >= 32 && t <= 35 || t == 39 || t >= 41 && t <= 44 || t >= 48 && t <= 55, false
}

func (s *ByteStream) starts264(u []byte) (starts, vcl bool) {
	if s.hevc {
		return false, false
	}
	switch t := h264.Type(u); {
	case t >= 6 && t <= 9, t >= 14 && t <= 18:
		return true, false
	case t != h264.TypeSlice && t != h264.TypePartitionA && t != h264.TypeIDR:
		return false, false
	}
	p, ok := s.picture(u)
	if !ok {
		first, _, _, ok := h264.SliceHead(u)
		return ok && first == 0, true
	}
	starts = !p.SameAs(&s.last)
	s.last = p
	return starts, true
}

// picture reads the head of an H.264 slice by the sets it refers to.
func (s *ByteStream) picture(u []byte) (h264.Picture, bool) {
	_, _, pps, ok := h264.SliceHead(u)
	if !ok || s.pps[pps] == nil {
		return h264.Picture{}, false
	}
	sps := s.avcSPS[s.ppsSPS[pps]]
	if sps == nil {
		return h264.Picture{}, false
	}
	return h264.ParsePicture(u, sps, s.delta[pps])
}

// Place is where a picture stands in output order.
type Place struct {
	Count int64 // picture order count: output order within a coded video sequence
	Reset bool  // a sequence begins: the pictures before it are output before it
	Field bool  // one field of a frame
	Depth int   // most frames that any frame waits for in output
}

// Place reads the place of a picture from its first slice. Call it for every
// picture in turn. ok is false if unit is no slice or cannot be read.
func (s *ByteStream) Place(unit []byte) (p Place, ok bool) {
	if len(unit) == 0 {
		return p, false
	}
	if s.hevc {
		return s.place265(unit)
	}
	pic, ok := s.picture(unit)
	if !ok {
		return p, false
	}
	sps := s.avcSPS[s.ppsSPS[pic.PPS]]
	p.Count, p.Reset = s.poc.Next(&pic, sps)
	p.Field, p.Depth = pic.Field, sps.Depth()
	return p, true
}

func (s *ByteStream) place265(u []byte) (p Place, ok bool) {
	if !h265.IsVCL(h265.Type(u)) {
		return p, false
	}
	id, ok := h265.SlicePPS(u)
	if !ok || s.pps[id] == nil || s.ppsSPS[id] >= 16 || s.hevcSPS[s.ppsSPS[id]] == nil {
		return p, false
	}
	sps := s.hevcSPS[s.ppsSPS[id]]
	pic, ok := h265.ParsePicture(u, sps, &s.hevcPPS[id])
	if !ok {
		return p, false
	}
	if s.begins {
		s.poc265, s.begins = h265.POCState{}, false
	}
	p.Count, p.Reset = s.poc265.Next(&pic, sps)
	p.Depth = max(sps.Reorder, 0)
	return p, true
}

// Order returns the picture order count of the access unit given to Scan; reset
// is true where counting begins anew. ok is false if no slice can be read. Call
// it for every access unit in turn.
func (s *ByteStream) Order(au []byte) (poc int64, reset, ok bool) {
	for _, u := range s.units {
		if p, ok := s.Place(au[u.start:u.end]); ok {
			return p.Count, p.Reset, true
		}
	}
	return 0, false, false
}

// Reorder returns the most pictures that any picture waits for in output, as the
// active SPS says; -1 if it does not.
func (s *ByteStream) Reorder() int {
	if s.active < 0 {
		return -1
	}
	if s.hevc {
		if p := s.hevcSPS[min(s.active, 15)]; p != nil {
			return p.Reorder
		}
		return -1
	}
	p := s.avcSPS[s.active]
	switch {
	case p == nil:
		return -1
	case p.Reorder < 0 && (p.Profile == 66 || p.POCType == 2):
		return 0
	}
	return p.Reorder
}
