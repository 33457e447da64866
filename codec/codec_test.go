package codec_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"testing"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/codec"
	"github.com/cleave-video/cleave/codec/aac"
	"github.com/cleave-video/cleave/format/annexb"
	"github.com/cleave-video/cleave/internal/nal"
)

// raw returns a byte stream made by libx264 or libx265.
func raw(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("../format/annexb/testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var streams = []struct {
	file  string
	codec av.Codec
}{{"open.264", av.H264}, {"mbaff.264", av.H264}, {"open.265", av.H265}}

// packets returns the only track of a stream and its packets.
func packets(t testing.TB, name string, c av.Codec) (av.Track, []av.Packet) {
	t.Helper()
	l, err := avtest.Read(annexb.NewDemuxer(bytes.NewReader(raw(t, name)), c))
	if err != io.EOF || len(l) != 1 {
		t.Fatal(len(l), err)
	}
	return l[0].Tracks[0], l[0].Packets
}

func TestDescribe(t *testing.T) {
	opus := []byte{0, 2, 1, 0x38, 0, 0, 0xbb, 0x80, 0, 0, 0}
	for _, test := range []struct {
		name   string
		codec  av.Codec
		config []byte
		want   codec.Info
		err    error
	}{
		{"aac-lc", av.AAC, []byte{0x12, 0x10}, codec.Info{String: "mp4a.40.2", SampleRate: 44100, Channels: 2, FrameSamples: 1024, Reorder: -1}, nil},
		{"he-aac", av.AAC, []byte{0x2b, 0x92, 0x08, 0x00}, codec.Info{String: "mp4a.40.5", SampleRate: 22050, Channels: 2, FrameSamples: 1024, Reorder: -1}, nil},
		{"aac 960", av.AAC, []byte{0x11, 0x94}, codec.Info{String: "mp4a.40.2", SampleRate: 48000, Channels: 2, FrameSamples: 960, Reorder: -1}, nil},
		{"aac short", av.AAC, []byte{0x12}, codec.Info{Reorder: -1}, av.ErrInvalid},
		{"opus", av.Opus, opus, codec.Info{String: "opus", SampleRate: 48000, Channels: 2, FrameSamples: 960, Reorder: -1}, nil},
		{"opus short", av.Opus, opus[:10], codec.Info{Reorder: -1}, av.ErrTruncated},
		{"ac-3 5.1", av.AC3, []byte{0x10, 0x3d, 0xe0}, codec.Info{String: "ac-3", SampleRate: 48000, Channels: 6, FrameSamples: 1536, Reorder: -1}, nil},
		{"ac-3 short", av.AC3, []byte{0x10}, codec.Info{String: "ac-3", FrameSamples: 1536, Reorder: -1}, av.ErrTruncated},
		{"ec-3 stereo", av.EAC3, []byte{0x06, 0x00, 0x20, 0x04, 0x00}, codec.Info{String: "ec-3", SampleRate: 48000, Channels: 2, FrameSamples: 1536, Reorder: -1}, nil},
		{"mp3", av.MP3, []byte{0xff, 0xfb, 0x90, 0xc4}, codec.Info{String: "mp4a.6b", SampleRate: 44100, Channels: 1, FrameSamples: 1152, Reorder: -1}, nil},
		{"mp3 short", av.MP3, nil, codec.Info{Reorder: -1}, av.ErrTruncated},
		{"vp9", av.VP9, []byte{0, 31, 0x82, 2, 2, 2, 0, 0}, codec.Info{String: "vp09.00.31.08", Reorder: 0}, nil},
		{"vp9 short", av.VP9, []byte{0, 31, 0x82}, codec.Info{Reorder: -1}, av.ErrTruncated},
		{"av1 bare", av.AV1, []byte{0x81, 8, 0x0c, 0}, codec.Info{String: "av01.0.08M.08", Reorder: 0}, nil},
		{"av1 short", av.AV1, []byte{0x81}, codec.Info{Reorder: -1}, av.ErrTruncated},
		{"h264 short", av.H264, []byte{1, 2, 3}, codec.Info{Reorder: -1}, av.ErrTruncated},
		{"h265 short", av.H265, []byte{1, 2, 3}, codec.Info{Reorder: -1}, av.ErrTruncated},
		{"private", av.Private, []byte("anything"), codec.Info{Reorder: -1}, nil},
	} {
		got, err := codec.Describe(&av.Track{Codec: test.codec, Config: test.config})
		if !errors.Is(err, test.err) || err == nil && got != test.want {
			t.Errorf("%s: %+v, %v; want %+v, %v", test.name, got, err, test.want, test.err)
		}
	}
}

// TestByteStream: Scan and Write give the NAL units of the stream without those
// that Config has, once for each access unit.
func TestByteStream(t *testing.T) {
	for _, s := range streams {
		t.Run(s.file, func(t *testing.T) {
			tr, l := packets(t, s.file, s.codec)
			var got [][]byte
			for _, p := range l {
				w := nal.Split(p.Data, 4)
				for u, ok := w.Next(); ok; u, ok = w.Next() {
					got = append(got, u)
				}
				if w.Err() != nil {
					t.Fatal(w.Err())
				}
			}
			b := raw(t, s.file)
			for pos := 0; ; {
				start, end, next := nal.Next(b, pos)
				if start < 0 {
					break
				}
				u := b[start:end]
				pos = next
				if len(got) > 0 && bytes.Equal(u, got[0]) {
					got = got[1:]
				} else if !bytes.Contains(tr.Config, u) && u[0] != 0x46 { // an access unit delimiter
					t.Errorf("a NAL unit of %d bytes that begins with %x is lost", len(u), u[:min(4, len(u))])
				}
			}
			if len(got) > 0 {
				t.Errorf("%d NAL units too many", len(got))
			}
		})
	}
}

// TestNewConfig: parameter sets in a packet that Config has are no news; others are.
func TestNewConfig(t *testing.T) {
	for _, s := range streams {
		tr, l := packets(t, s.file, s.codec)
		insp, err := codec.NewInspector(&tr)
		if err != nil {
			t.Fatal(err)
		}
		var sets []byte
		b := raw(t, s.file)
		for pos := 0; ; {
			start, end, next := nal.Next(b, pos)
			if start < 0 || len(sets) > 200 {
				break
			}
			if pos = next; bytes.Contains(tr.Config, b[start:end]) {
				sets = append(binary.BigEndian.AppendUint32(sets, uint32(end-start)), b[start:end]...)
			}
		}
		in := append(bytes.Clone(sets), l[0].Data...)
		if c, ok := insp.NewConfig(in); ok {
			t.Errorf("%s: the same sets make %x", s.file, c)
		}
		other, _ := packets(t, map[string]string{"open.264": "mbaff.264", "mbaff.264": "open.264", "open.265": "open.265"}[s.file], s.codec)
		old, err := codec.NewInspector(&other)
		if err != nil {
			t.Fatal(err)
		}
		c, ok := old.NewConfig(in)
		if ok != (s.codec == av.H264) || ok && !bytes.Equal(c, tr.Config) {
			t.Errorf("%s: %v, %x; want %x", s.file, ok, c, tr.Config)
		}
	}
}

// TestPrefixUnit: a picture behind one length, with start codes between its
// units, is read as if each had its length.
func TestPrefixUnit(t *testing.T) {
	tr, l := packets(t, "open.264", av.H264)
	insp, err := codec.NewInspector(&tr)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range l {
		u := []byte{0x6e, 0xc0, 0x80, 0x0f}
		w := nal.Split(p.Data, 4)
		for v, ok := w.Next(); ok; v, ok = w.Next() {
			u = append(append(u, 0, 0, 0, 1), v...)
		}
		b := append(binary.BigEndian.AppendUint32(nil, uint32(len(u))), u...)
		if got, want := insp.Flags(b), insp.Flags(p.Data); got != want {
			t.Errorf("packet %d: flags %#x, want %#x", i, got, want)
		}
		if got, want := insp.FrameType(b), insp.FrameType(p.Data); got != want {
			t.Errorf("packet %d: type %c, want %c", i, got, want)
		}
	}
}

// TestFrameTypes of what the encoders were told: the types of a stream with
// three B pictures.
func TestFrameTypes(t *testing.T) {
	for _, s := range streams {
		tr, l := packets(t, s.file, s.codec)
		insp, err := codec.NewInspector(&tr)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[byte]int{}
		for _, p := range l {
			seen[insp.FrameType(p.Data)]++
		}
		if seen['I'] < 3 || seen['B'] < 10 || seen['?'] > 0 || seen['I']+seen['P']+seen['B'] != len(l) {
			t.Errorf("%s: %d I, %d P, %d B of %d", s.file, seen['I'], seen['P'], seen['B'], len(l))
		}
	}
}

// TestEndOfSequence: behind an end of sequence NAL unit the counting of an H.265
// stream begins anew, for Place and for Order.
func TestEndOfSequence(t *testing.T) {
	b := raw(t, "open.265")
	var units [][]byte
	for pos := 0; ; {
		start, end, next := nal.Next(b, pos)
		if start < 0 {
			break
		}
		units, pos = append(units, b[start:end]), next
	}
	eos := []byte{36 << 1, 1}
	for _, with := range []bool{false, true} {
		split, es := codec.NewByteStream(av.H265), codec.NewByteStream(av.H265)
		var placed, ordered int
		var au []byte
		for _, u := range units {
			if with && u[0]>>1 == 21 { // before each CRA picture
				split.StartsAU(eos)
				au = append(append(au, 0, 0, 1), eos...)
				es.Scan(au, codec.StartCodes(nil, au))
				es.Order(au)
				au = nil
			}
			split.StartsAU(u)
			if p, ok := split.Place(u); ok && p.Reset {
				placed++
			}
			if au = append(append(au, 0, 0, 1), u...); u[0]>>1 >= 32 {
				continue
			}
			if _, _, err := es.Scan(au, codec.StartCodes(nil, au)); err != nil {
				t.Fatal(err)
			}
			if _, reset, ok := es.Order(au); ok && reset {
				ordered++
			}
			au = nil
		}
		want := 1
		if with {
			want = 5
		}
		if placed != want || ordered != want {
			t.Errorf("end of sequence %v: %d and %d sequences, want %d", with, placed, ordered, want)
		}
	}
}

// TestPaidFor: a stream of parameter sets that always change costs no more than
// any other.
func TestPaidFor(t *testing.T) {
	b := raw(t, "open.264")
	sets := b[:bytes.Index(b, []byte{0, 0, 1, 0x06})]
	idr := []byte{0, 0, 0, 1, 0x65, 0x88, 0x84, 0, 0x10}
	var in []byte
	for i := range 20000 {
		in = append(append(in, sets...), byte(i>>8)|1, byte(i)|1) // a PPS with other bytes at its end
		in = append(in, idr...)
	}
	avtest.AllocBound(t, len(in), func() {
		s := codec.NewByteStream(av.H264)
		var codes []int // the splitter's, kept from one to the next as a demuxer does
		for au := in; len(au) > 0; {
			n := len(sets) + 2 + len(idr)
			s.StartsAU(au[4:n])
			codes = codec.StartCodes(codes[:0], au[:n])
			s.Scan(au[:n], codes)
			au = au[n:]
		}
	})
}

// TestNoAllocation: what is asked of every packet costs none.
func TestNoAllocation(t *testing.T) {
	for _, s := range streams {
		tr, l := packets(t, s.file, s.codec)
		insp, err := codec.NewInspector(&tr)
		if err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(10, func() {
			for _, p := range l {
				insp.Flags(p.Data)
				insp.FrameType(p.Data)
				insp.NewConfig(p.Data)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations by the inspector", s.file, n)
		}
		b := raw(t, s.file)
		split, es := codec.NewByteStream(s.codec), codec.NewByteStream(s.codec)
		dst := make([]byte, 2*len(b))
		var codes []int
		pass := func() {
			for pos := 0; ; {
				start, end, next := nal.Next(b, pos)
				if start < 0 {
					break
				}
				pos = next
				split.StartsAU(b[start:end])
				split.Place(b[start:end])
			}
			codes = codec.StartCodes(codes[:0], b)
			size, _, err := es.Scan(b, codes)
			if err != nil {
				t.Fatal(err)
			}
			es.Order(b)
			es.Write(dst[:size], b)
		}
		pass()
		if n := testing.AllocsPerRun(10, pass); n != 0 {
			t.Errorf("%s: %v allocations by the byte stream", s.file, n)
		}
	}
}

// TestNoAllocationElsewhere: nor in codecs without NAL units.
func TestNoAllocationElsewhere(t *testing.T) {
	for name, tr := range map[string]av.Track{
		"aac":  {Kind: av.Audio, Codec: av.AAC, Config: []byte{0x12, 0x10}},
		"av1":  {Kind: av.Video, Codec: av.AV1, Config: []byte{0x81, 8, 0x0c, 0}},
		"vp9":  {Kind: av.Video, Codec: av.VP9, Config: []byte{0, 31, 0x82, 2, 2, 2, 0, 0}},
		"data": {Kind: av.Data, Codec: av.Private},
	} {
		insp, err := codec.NewInspector(&tr)
		if err != nil {
			t.Fatal(err)
		}
		data := []byte{0x12, 0, 0x32, 2, 0x10, 0}
		if n := testing.AllocsPerRun(10, func() {
			insp.Flags(data)
			insp.FrameType(data)
			insp.NewConfig(data)
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	dst, asc := make([]byte, 0, 7), []byte{0x12, 0x10}
	if n := testing.AllocsPerRun(10, func() { aac.AppendADTS(dst, asc, 300) }); n != 0 {
		t.Errorf("AppendADTS: %v allocations", n)
	}
}
