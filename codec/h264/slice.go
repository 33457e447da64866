package h264

import (
	"github.com/cleave-video/cleave/internal/bits"
)

// sliceHead is how much of a slice is looked at: frame_num and picture order
// count come within the first 20 bytes, and no escaping more than doubles that.
const sliceHead = 40

// SliceHead reads first_mb_in_slice, slice_type (0 to 4) and the PPS id of a
// slice NAL unit. ok is false if it is no slice or too short. ITU-T H.264 7.3.3
func SliceHead(unit []byte) (firstMB uint64, kind uint8, pps uint8, ok bool) {
	switch {
	case len(unit) < 2:
		return 0, 0, 0, false
	case Type(unit) != TypeSlice && Type(unit) != TypeIDR && Type(unit) != TypePartitionA:
		return 0, 0, 0, false
	}
	var raw [sliceHead]byte
	r := bits.New(unescapeHead(&raw, unit[1:]))
	firstMB = r.UE()
	t, id := r.UE(), r.UE()
	if r.Err() != nil || t > 9 || id > 255 {
		return 0, 0, 0, false
	}
	return firstMB, uint8(t % 5), uint8(id), true
}

// unescapeHead copies the first bytes of b without emulation prevention.
func unescapeHead(dst *[sliceHead]byte, b []byte) []byte {
	n, zeros := 0, 0
	for _, c := range b {
		if n == len(dst) {
			break
		}
		if zeros >= 2 && c == 3 {
			zeros = 0
			continue
		}
		if c == 0 {
			zeros++
		} else {
			zeros = 0
		}
		dst[n] = c
		n++
	}
	return dst[:n]
}

// Slice types. ITU-T H.264 table 7-6
const (
	SliceP  = 0
	SliceB  = 1
	SliceI  = 2
	SliceSP = 3
	SliceSI = 4
)

// Recovery looks for a recovery point in an SEI NAL unit and returns its
// recovery_frame_cnt. At most 64 messages within 64 KiB are looked at.
// ITU-T H.264 D.1.8
func Recovery(unit []byte) (frames uint64, ok bool) {
	b := unit[1:min(len(unit), 64<<10)]
	for range 64 {
		kind, size, n := seiHead(b)
		if n == 0 || size > len(b)-n {
			return 0, false
		}
		if kind == 6 {
			var raw [sliceHead]byte
			r := bits.New(unescapeHead(&raw, b[n:n+size]))
			frames = r.UE()
			return frames, r.Err() == nil
		}
		b = b[n+size:]
	}
	return 0, false
}

// seiHead reads payload type and size; n is the bytes they take, 0 at the end.
// Payloads are found by their escaped size, which is right up to the first
// escape: a recovery point comes before the payloads that have any.
func seiHead(b []byte) (kind, size, n int) {
	for n < len(b) && b[n] == 0xff {
		kind += 255
		n++
	}
	if n >= len(b) {
		return 0, 0, 0
	}
	kind += int(b[n])
	n++
	for n < len(b) && b[n] == 0xff {
		size += 255
		n++
	}
	if n >= len(b) {
		return 0, 0, 0
	}
	size += int(b[n])
	return kind, size, n + 1
}
