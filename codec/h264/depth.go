package h264

// levelDPB is MaxDpbMbs by level_idc. ITU-T H.264 table A-1
var levelDPB = [...]struct {
	level uint8
	mbs   int
}{
	{10, 396},
	{11, 900},
	{12, 2376},
	{20, 2376},
	{21, 4752},
	{22, 8100},
	{30, 8100},
	{31, 18000},
	{32, 20480},
	{41, 32768},
	{42, 34816},
	{50, 110400},
	{51, 184320},
	{52, 184320},
	{62, 696320},
}

// maxDepth is the most frames that a decoded picture buffer holds.
const maxDepth = 16

// Depth returns the most frames that precede any frame in decoding order and
// follow it in output order: max_num_reorder_frames, or what is inferred for it
// where that is not stated. ITU-T H.264 E.2.1
func (s *SPS) Depth() int {
	if s.Reorder >= 0 {
		return min(s.Reorder, maxDepth)
	}
	if s.Profile == 66 || s.POCType == 2 {
		return 0 // no B slices in the baseline profile, no reordering with type 2
	}
	switch s.Profile {
	case 44, 86, 100, 110, 122, 244:
		if s.Constraints&0x10 != 0 { // constraint_set3_flag: intra only
			return 0
		}
	}
	mbs := (s.Width + 15) / 16 * ((s.Height + 15) / 16)
	for _, l := range levelDPB {
		if s.Level <= l.level {
			return min(l.mbs/max(mbs, 1), maxDepth)
		}
	}
	return maxDepth
}
