package mp4

import "github.com/cleave-video/cleave/codec"

// one is 1 as the matrices of tkhd write it, in 16.16.
const one = 0x10000

// rotations are the upper left corner of a matrix, {a, b, c, d}, by quarter turns
// clockwise. ISO 14496-12 6.2.2
var rotations = [4][4]int32{{one, 0, 0, one}, {0, one, -one, 0}, {-one, 0, 0, -one}, {0, -one, one, 0}}

// readRotation returns the degrees clockwise that tkhd's matrix turns a picture by;
// 0 if it does anything else. The fields stand behind track_ID.
func (f *fields) readRotation(version uint8) uint16 {
	rest := 4 + 4 + 8 + 8 // reserved, duration, reserved, layer to reserved
	if version == 1 {
		rest += 4
	}
	if f.err != nil || len(f.b.body)-f.pos < rest+36 {
		return 0 // nothing else depends on it
	}
	m := f.b.body[f.pos+rest:]
	got := [4]int32{}
	for i, at := range [4]int{0, 4, 12, 16} {
		got[i] = int32(be.Uint32(m[at:]))
	}
	for turns, r := range rotations {
		if got == r {
			return uint16(turns) * 90
		}
	}
	return 0
}

// rotation writes the matrix that turns a picture and puts it back to where it is
// seen.
func (w *writer) rotation(degrees uint16, info codec.Info) {
	turns := degrees / 90 % 4
	r := rotations[turns]
	width, height := uint32(info.Width)<<16, uint32(info.Height)<<16
	x := [4]uint32{0, height, width, 0}[turns]
	y := [4]uint32{0, 0, height, width}[turns]
	w.words(uint32(r[0]), uint32(r[1]), 0, uint32(r[2]), uint32(r[3]), 0, x, y, 0x40000000)
}
