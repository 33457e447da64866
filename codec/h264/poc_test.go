package h264

import (
	"slices"
	"testing"
)

// order returns the counts of pictures in decoding order.
func order(s *SPS, l []Picture) (counts []int64, resets []int) {
	var st POCState
	for i := range l {
		poc, reset := st.Next(&l[i], s)
		if counts = append(counts, poc); reset {
			resets = append(resets, i)
		}
	}
	return counts, resets
}

// TestOrder of the three types of picture order count. ITU-T H.264 8.2.1
func TestOrder(t *testing.T) {
	type0 := &SPS{POCType: 0, Log2MaxPOCLSB: 4, Log2MaxFrameNum: 4, FrameMBSOnly: true}
	type1 := &SPS{POCType: 1, Log2MaxFrameNum: 4, OffsetsRef: []int64{6}, OffsetNonRef: -4, FrameMBSOnly: true}
	type2 := &SPS{POCType: 2, Log2MaxFrameNum: 4, FrameMBSOnly: true}
	for name, test := range map[string]struct {
		s      *SPS
		in     []Picture
		want   []int64
		resets []int
	}{
		"type 0": {type0, []Picture{
			{IDR: true, Ref: true},
			{Ref: true, POCLSB: 6},
			{POCLSB: 2},
			{POCLSB: 4},
			{Ref: true, POCLSB: 12},
			{POCLSB: 8},
			{POCLSB: 10},
			{Ref: true, POCLSB: 2},
			{POCLSB: 14},
			{POCLSB: 0},
			{IDR: true, Ref: true},
			{POCLSB: 14},
		}, []int64{0, 6, 2, 4, 12, 8, 10, 18, 14, 16, 0, -2}, []int{0, 10}},
		"type 0, bottom first": {type0, []Picture{{IDR: true, Ref: true, DeltaPOCB: -1}, {Ref: true, POCLSB: 2, DeltaPOCB: 1}}, []int64{-1, 2}, []int{0}},
		"type 1": {type1, []Picture{
			{IDR: true, Ref: true}, {Ref: true, FrameNum: 1}, {FrameNum: 2}, {FrameNum: 2, DeltaPOC: [2]int32{2}}, {Ref: true, FrameNum: 2},
		}, []int64{0, 6, 2, 4, 12}, []int{0}},
		"type 2": {type2, []Picture{
			{IDR: true, Ref: true}, {Ref: true, FrameNum: 1}, {FrameNum: 2}, {Ref: true, FrameNum: 15}, {Ref: true, FrameNum: 0},
		}, []int64{0, 2, 3, 30, 32}, []int{0}},
	} {
		got, resets := order(test.s, test.in)
		if !slices.Equal(got, test.want) || !slices.Equal(resets, test.resets) {
			t.Errorf("%s: %v, resets at %v; want %v, %v", name, got, resets, test.want, test.resets)
		}
	}
}

// TestSameAs: what tells pictures apart. ITU-T H.264 7.4.1.2.4
func TestSameAs(t *testing.T) {
	p := Picture{FrameNum: 3, PPS: 1, Ref: true, POCLSB: 8}
	same := p
	same.FirstMB, same.Kind, same.IDRPicID = 99, SliceB, 5
	if !same.SameAs(&p) {
		t.Error("another slice of the picture begins one")
	}
	for name, change := range map[string]func(q *Picture){
		"frame_num":                  func(q *Picture) { q.FrameNum++ },
		"pic_parameter_set_id":       func(q *Picture) { q.PPS++ },
		"field_pic_flag":             func(q *Picture) { q.Field = true },
		"bottom_field_flag":          func(q *Picture) { q.Bottom = true },
		"nal_ref_idc":                func(q *Picture) { q.Ref = false },
		"IdrPicFlag":                 func(q *Picture) { q.IDR = true },
		"pic_order_cnt_lsb":          func(q *Picture) { q.POCLSB++ },
		"delta_pic_order_cnt_bottom": func(q *Picture) { q.DeltaPOCB++ },
		"delta_pic_order_cnt[1]":     func(q *Picture) { q.DeltaPOC[1]++ },
	} {
		q := p
		if change(&q); q.SameAs(&p) {
			t.Errorf("%s: taken for the same picture", name)
		}
	}
	a, b := Picture{IDR: true, IDRPicID: 1}, Picture{IDR: true, IDRPicID: 2}
	if a.SameAs(&b) {
		t.Error("idr_pic_id: taken for the same picture")
	}
}

func TestNoAllocation(t *testing.T) {
	s, err := ParseSPS(unhex(streams[2].sps))
	if err != nil {
		t.Fatal(err)
	}
	slice := unhex("658884037fffffffffffffffffff")
	sei, pps := []byte{6, 6, 1, 0xc4, 0x80}, unhex(streams[0].pps)
	var st POCState
	if n := testing.AllocsPerRun(100, func() {
		SliceHead(slice)
		p, _ := ParsePicture(slice, &s, true)
		st.Next(&p, &s)
		Recovery(sei)
		PPSInfo(pps)
		s.Depth()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzUnits: no NAL unit makes anything panic, and an SPS that is accepted has a
// size and a bounded depth.
func FuzzUnits(f *testing.F) {
	for _, test := range streams {
		f.Add(unhex(test.sps), unhex(test.pps))
	}
	f.Add(unhex(streams[0].sps), unhex("658884037fffffffffffffffffff"))
	f.Fuzz(func(t *testing.T, sps, u []byte) {
		if c, err := ParseConfig(sps); err == nil {
			if _, err := ParseConfig(c.Append(nil)); err != nil {
				t.Fatal(err)
			}
		}
		if len(u) > 0 {
			PPSInfo(u)
			SliceHead(u)
			Recovery(u)
		}
		s, err := ParseSPS(sps)
		if err != nil {
			return
		}
		if s.Width <= 0 || s.Height <= 0 || s.Width > 1<<14 || s.Height > 1<<14 || s.Depth() < 0 || s.Depth() > 16 {
			t.Fatalf("%+v", s)
		}
		p, _ := ParsePicture(u, &s, true)
		var st POCState
		st.Next(&p, &s)
		st.Next(&p, &s)
	})
}
