package vp9

import "github.com/cleave-video/cleave/internal/bits"

// maxFrames is how many frames a superframe may hold.
const maxFrames = 8

// Frames returns the sizes of the frames of a sample and how many they are; the
// index of a superframe, if there is one, lies behind them. VP9 annex B
func Frames(b []byte) (sizes [maxFrames]int, n int) {
	sizes[0] = len(b)
	if len(b) == 0 {
		return sizes, 0
	}
	marker := b[len(b)-1]
	count, width := int(marker&7)+1, int(marker>>3&3)+1
	index := 2 + count*width
	if marker&0xe0 != 0xc0 || len(b) < index || b[len(b)-index] != marker {
		return sizes, 1
	}
	left := len(b) - index
	at := b[left+1:]
	var all [maxFrames]int
	for i := range count {
		for k := range width {
			all[i] |= int(at[i*width+k]) << (8 * k)
		}
		if all[i] > left {
			return sizes, 1
		}
		left -= all[i]
	}
	return all, count
}

// Headers measures the uncompressed headers of a stream's frames, which must come
// in decode order: the width of a frame may be that of one before it.
type Headers struct {
	widths [8]int // of the reference frames; 0: not known
}

// Size returns how many bytes of a frame its uncompressed header has. ok is false
// if it is damaged, or refers to a frame that was not seen. VP9 6.2
func (h *Headers) Size(frame []byte) (n int, ok bool) {
	f := header{r: bits.New(frame[:min(len(frame), maxHeader)]), h: h}
	f.parse()
	if f.r.Err() != nil {
		return 0, false
	}
	for i := range h.widths {
		if f.refresh>>i&1 != 0 {
			h.widths[i] = f.width
		}
	}
	return (f.r.Pos() + 7) / 8, true
}

// maxHeader is more than any uncompressed header has: with all of segmentation
// it comes to 90 bytes.
const maxHeader = 128

// header passes over an uncompressed header; what it cannot read ends r.
type header struct {
	r       bits.Reader
	h       *Headers
	profile uint64
	width   int
	refresh uint64
}

// syncCode is frame_sync_code. VP9 6.2.2
const syncCode = 0x498342

func (f *header) parse() {
	r := &f.r
	if r.U(2) != 2 {
		r.Skip(-1)
	}
	f.profile = r.U(1) | r.U(1)<<1
	if f.profile == 3 {
		r.Skip(1)
	}
	if r.Flag() { // show_existing_frame
		r.Skip(3)
		return
	}
	key, shown, resilient := !r.Flag(), r.Flag(), r.Flag()
	if key {
		f.sync()
		f.colors()
		f.size()
		f.renderSize()
		f.refresh = 0xff
	} else {
		f.inter(shown, resilient)
	}
	if !resilient {
		r.Skip(2)
	}
	r.Skip(2)
	f.loopFilter()
	r.Skip(8)
	for range 3 {
		if r.Flag() {
			r.Skip(5)
		}
	}
	f.segmentation()
	f.tiles()
	r.Skip(16)
}

func (f *header) sync() {
	if f.r.U(24) != syncCode {
		f.r.Skip(-1)
	}
}

func (f *header) inter(shown, resilient bool) {
	r := &f.r
	intra := !shown && r.Flag()
	if !resilient {
		r.Skip(2)
	}
	if intra {
		f.sync()
		if f.profile > 0 {
			f.colors()
		}
		f.refresh = r.U(8)
		f.size()
		f.renderSize()
		return
	}
	f.refresh = r.U(8)
	var refs [3]uint64
	for i := range refs {
		refs[i] = r.U(3)
		r.Skip(1)
	}
	f.sizeOf(refs)
	f.renderSize()
	r.Skip(1)
	if !r.Flag() { // is_filter_switchable
		r.Skip(2)
	}
}

// colors passes over color_config. VP9 6.2.3
func (f *header) colors() {
	r := &f.r
	if f.profile >= 2 {
		r.Skip(1)
	}
	odd := f.profile&1 != 0
	switch rgb := r.U(3) == 7; {
	case !rgb && odd:
		r.Skip(4)
	case !rgb, odd:
		r.Skip(1)
	}
}

func (f *header) size() {
	f.width = int(f.r.U(16)) + 1
	f.r.Skip(16)
}

func (f *header) renderSize() {
	if f.r.Flag() {
		f.r.Skip(32)
	}
}

// sizeOf reads the size, which may be that of a reference. VP9 6.2.5
func (f *header) sizeOf(refs [3]uint64) {
	for _, ref := range refs {
		if !f.r.Flag() {
			continue
		}
		if f.width = f.h.widths[ref]; f.width == 0 {
			f.r.Skip(-1)
		}
		return
	}
	f.size()
}

// loopFilter passes over loop_filter_params. VP9 6.2.8
func (f *header) loopFilter() {
	r := &f.r
	r.Skip(6 + 3)
	if !r.Flag() { // loop_filter_delta_enabled
		return
	}
	if !r.Flag() { // loop_filter_delta_update
		return
	}
	for range 4 + 2 {
		if r.Flag() {
			r.Skip(7)
		}
	}
}

// segmentation passes over segmentation_params. VP9 6.2.11
func (f *header) segmentation() {
	r := &f.r
	if !r.Flag() {
		return
	}
	if r.Flag() {
		for range 7 {
			if r.Flag() {
				r.Skip(8)
			}
		}
		if r.Flag() {
			for range 3 {
				if r.Flag() {
					r.Skip(8)
				}
			}
		}
	}
	if !r.Flag() {
		return
	}
	r.Skip(1)
	for range 8 {
		for _, width := range [...]int{8 + 1, 6 + 1, 2, 0} {
			if r.Flag() {
				r.Skip(width)
			}
		}
	}
}

// tiles passes over tile_info, whose length follows from the width. VP9 6.2.13
func (f *header) tiles() {
	columns := (f.width + 63) / 64
	low := 0
	for 64<<low < columns {
		low++
	}
	high := 1
	for columns>>high >= 4 {
		high++
	}
	for high--; low < high && f.r.Flag(); low++ {
	}
	if f.r.Flag() {
		f.r.Skip(1)
	}
}
