package flv

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/codec"
	"github.com/cleave-video/cleave/format/flv/amf0"
)

// meta is an onMetaData body; values are numbers, strings or booleans.
func meta(array bool, pairs ...any) []byte {
	b := amf0.AppendString(nil, "onMetaData")
	if array {
		b = amf0.AppendArray(b, uint32(len(pairs)/2))
	} else {
		b = amf0.AppendObject(b)
	}
	for i := 0; i < len(pairs); i += 2 {
		b = amf0.AppendKey(b, pairs[i].(string))
		switch v := pairs[i+1].(type) {
		case float64:
			b = amf0.AppendNumber(b, v)
		case string:
			b = amf0.AppendString(b, v)
		case bool:
			b = amf0.AppendBool(b, v)
		}
	}
	return amf0.AppendEnd(b)
}

// TestFound: when the search for tracks ends.
func TestFound(t *testing.T) {
	r := recordsOf(t)
	avc, aac := string(r[av.H264].config), string(r[av.AAC].config)
	key := "\x17\x01\x00\x00\x00" + string(r[av.H264].key)
	tests := []struct {
		name   string
		script []byte
		expect [2]bool
		audio  bool
		until  int // video frames of 40 ms before ErrTracks
	}{
		{"nothing known, both", nil, [2]bool{}, true, 1},
		{"nothing known, video alone", nil, [2]bool{}, false, 26},
		{"metadata says video", meta(true, "videocodecid", 7.0), [2]bool{true, true}, false, 1},
		{"metadata says video by name", meta(false, "videocodecid", "avc1", "width", 64.0), [2]bool{}, false, 1},
		{"metadata says both", meta(true, "audiocodecid", 10.0, "videocodecid", 7.0), [2]bool{true, false}, false, 26},
		{"metadata has flags", meta(true, "hasVideo", true, "hasAudio", false), [2]bool{}, false, 1},
		{"metadata says nothing", meta(true, "encoder", "x"), [2]bool{true, false}, false, 1},
		{"header says video", nil, [2]bool{true, false}, false, 1},
		{"header says both", nil, [2]bool{true, true}, false, 26},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			f := feed{t: t}
			f.tags.Expect(c.expect[0], c.expect[1])
			if c.script != nil {
				f.tags.Script(c.script)
			}
			f.video(0, "\x17\x00\x00\x00\x00", avc)
			if c.audio {
				f.audio(0, "\xaf\x00", aac)
			}
			n := 0
			for ; len(f.sets) == 0 && n < 100; n++ {
				f.video(uint32(n*40), key)
			}
			if n != c.until || len(f.got) != n {
				t.Errorf("tracks after %d frames, want %d; %d given", n, c.until, len(f.got))
			}
		})
	}
}

// TestProbeBounds: the search ends at 256 packets and at 4 MiB.
func TestProbeBounds(t *testing.T) {
	r := recordsOf(t)
	f := feed{t: t}
	f.audio(0, "\xaf\x00", string(r[av.AAC].config))
	n := 0
	for ; len(f.sets) == 0; n++ {
		f.audio(5, "\xaf\x01", string(r[av.AAC].key))
	}
	if n != probeUnits {
		t.Errorf("%d packets, want %d", n, probeUnits)
	}
	f = feed{t: t}
	f.audio(0, "\xaf\x00", string(r[av.AAC].config))
	for n = 0; len(f.sets) == 0; n++ {
		f.audio(5, "\xaf\x01", string(make([]byte, maxAAC)))
	}
	if n != probeBytes/maxAAC {
		t.Errorf("%d packets of %d bytes", n, maxAAC)
	}
	var tags Tags
	for n = 0; ; n++ {
		if err := tags.Video(0, make([]byte, 1<<20)); err != nil {
			if !errors.Is(err, av.ErrUnsupported) || n != maxSearch>>20 {
				t.Errorf("after %d MiB: %v", n, err)
			}
			break
		}
	}
}

// TestNewHeader: a sequence header that differs is a new track, one that is as
// before is not, also where parameter sets in the frames changed the track since.
func TestNewHeader(t *testing.T) {
	configs := [][]byte{}
	for _, w := range []int{320, 640} {
		d := avtest.NewSynthetic(avtest.Spec{Video: avtest.Video{Frames: 1, Width: w}})
		g := avtest.ReadAll(t, d)[0]
		configs = append(configs, g.Tracks[0].Config)
	}
	d := avtest.NewSynthetic(avtest.Spec{Video: avtest.Video{Frames: 1}})
	key := string(avtest.ReadAll(t, d)[0].Packets[0].Data)
	other := avtest.Video{Frames: 1, Width: 640}
	sps, pps := string(other.SPS()), string(other.PPS())
	inBand := string([]byte{0, 0, 0, byte(len(sps))}) + sps + string([]byte{0, 0, 0, byte(len(pps))}) + pps + key

	f := feed{t: t}
	f.tags.Expect(true, false)
	header, frame := "\x17\x00\x00\x00\x00", "\x17\x01\x00\x00\x00"
	step := func(sets int, width int) {
		t.Helper()
		if len(f.sets) != sets {
			t.Fatalf("%d sets of tracks, want %d", len(f.sets), sets)
		}
		tr := f.sets[sets-1][0]
		if info, err := codec.Describe(&tr); err != nil || info.Width != width {
			t.Fatalf("width %d, %v, want %d", info.Width, err, width)
		}
	}
	f.video(0, header, string(configs[0]))
	f.video(0, frame, key)
	step(1, 320)
	f.video(40, header, string(configs[0]))
	f.video(40, frame, key)
	step(1, 320)
	f.video(80, frame, inBand)
	step(2, 640)
	f.video(120, header, string(configs[0])) // as before: no news
	f.video(120, frame, inBand)
	step(2, 640)
	f.video(160, header, string(configs[1]))
	f.video(160, header, string(configs[0]))
	f.video(160, frame, key)
	step(3, 320)
	if len(f.got) != 5 || len(f.sets[0]) != 1 || bytes.Equal(f.sets[0][0].Config, f.sets[1][0].Config) {
		t.Errorf("%d packets", len(f.got))
	}
}

// TestHeadersFirst: sequence headers that replace each other before any frame make
// one track; a change while the tracks are looked for stands between its frames.
func TestHeadersFirst(t *testing.T) {
	r := recordsOf(t)
	f := feed{t: t}
	f.audio(0, "\xaf\x00\x12\x08")
	f.audio(0, "\xaf\x00\x12\x10")
	f.audio(5000, "\xaf\x01one")
	f.audio(5000, "\xaf\x00\x12\x08")
	f.audio(5020, "\xaf\x01two")
	if len(f.sets) != 0 {
		t.Fatal("the tracks are given before the video")
	}
	f.video(5020, "\x17\x00\x00\x00\x00", string(r[av.H264].config))
	f.video(5020, "\x17\x01\x00\x00\x00", string(r[av.H264].key))
	if len(f.sets) != 2 || len(f.got) != 3 || f.got[0].Track != 1 || f.got[2].Track != 0 {
		t.Fatalf("%d sets of tracks, %d packets", len(f.sets), len(f.got))
	}
	for i, want := range []string{"\x12\x10", "\x12\x08"} {
		if got := string(f.sets[i][1].Config); got != want {
			t.Errorf("set %d: configuration %x, want %x", i, got, want)
		}
	}
}

// TestLateTrack: a track that comes after the search is added behind the others.
func TestLateTrack(t *testing.T) {
	r := recordsOf(t)
	f := feed{t: t}
	f.tags.Expect(false, true)
	f.audio(0, "\xaf\x00", string(r[av.AAC].config))
	f.audio(0, "\xaf\x01", string(r[av.AAC].key))
	f.video(20, "\x17\x00\x00\x00\x00", string(r[av.H264].config))
	f.audio(20, "\xaf\x01", string(r[av.AAC].key))
	f.video(40, "\x17\x01\x00\x00\x00", string(r[av.H264].key))
	var kinds []av.Kind
	for _, tr := range f.tags.Tracks() {
		kinds = append(kinds, tr.Kind)
	}
	if len(f.sets) != 2 || !slices.Equal(kinds, []av.Kind{av.Audio, av.Video}) || len(f.got) != 3 || f.got[2].Track != 1 {
		t.Errorf("%d sets of tracks, %v, %d packets", len(f.sets), kinds, len(f.got))
	}
}

// TestMP3Change: another sample rate is another track; another bit rate is not.
func TestMP3Change(t *testing.T) {
	f := feed{t: t}
	f.tags.Expect(false, true)
	for _, h := range []string{"\xff\xfb\x90\x00", "\xff\xfb\xa0\x00", "\xff\xfb\x94\x00"} {
		f.audio(0, "\x2f", h, "payload")
	}
	f.audio(0, "\x2f", "no header")
	if len(f.sets) != 2 || len(f.got) != 3 || len(f.tags.Warnings()) != 1 {
		t.Errorf("%d sets of tracks, %d packets, %q", len(f.sets), len(f.got), f.tags.Warnings())
	}
}

// TestFramesFirst: frames before their sequence header are dropped and told.
func TestFramesFirst(t *testing.T) {
	r := recordsOf(t)
	f := feed{t: t}
	f.tags.Expect(true, false)
	f.video(0, "\x27\x01\x00\x00\x00", string(r[av.H264].key))
	f.video(40, "\x17\x00\x00\x00\x00", string(r[av.H264].config))
	f.video(40, "\x17\x01\x00\x00\x00", string(r[av.H264].key))
	f.video(80, "\x91hvc1\x00\x00\x00", string(r[av.H265].key)) // another codec without a header
	f.video(80, "\x17\x02\x00\x00\x00")                         // end of sequence
	f.video(80, "\x57\x00")                                     // a command
	if len(f.got) != 1 || f.tags.stats.n[warnNoConfig] != 2 || len(f.tags.Warnings()) != 1 {
		t.Errorf("%d packets, %q", len(f.got), f.tags.Warnings())
	}
}

func TestDuration(t *testing.T) {
	tests := []struct {
		body []byte
		ms   int64
		ok   bool
	}{
		{meta(true, "duration", 12.3456), 12346, true},
		{append(amf0.AppendString(nil, "@setDataFrame"), meta(false, "duration", 1.0)...), 1000, true},
		{meta(true, "duration", 0.0), 0, false},
		{meta(true, "duration", -5.0), 0, false},
		{meta(true, "duration", math.NaN()), 0, false},
		{meta(true, "duration", math.Inf(1)), 0, false},
		{meta(true, "duration", "long"), 0, false},
		{amf0.AppendString(nil, "onCuePoint"), 0, false},
		{nil, 0, false},
	}
	for i, c := range tests {
		var tags Tags
		tags.Script(c.body)
		if ms, tb, ok := tags.Duration(); ms != c.ms && c.ok || ok != c.ok || tb != av.Millisecond {
			t.Errorf("%d: %d %v %v", i, ms, tb, ok)
		}
	}
}

func TestSniff(t *testing.T) {
	tests := []struct {
		head string
		want int
	}{
		{"", 0},
		{"FLV", 0},
		{"FLV\x01\x05\x00\x00\x00\x08", 0},
		{"RIFFxxxxxxxx", 0},
		{"FLV\x01\x05\x00\x00\x00\x09", 90},
		{"FLV\x02\x05\x00\x00\x00\x09", 60},
		{"FLV\x01\x05\x00\x00\x00\x0a", 80},
		{"FLV\x01\x05\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 70},
	}
	for _, c := range tests {
		if got := Sniff([]byte(c.head)); got != c.want {
			t.Errorf("%q: %d, want %d", c.head, got, c.want)
		}
	}
	for _, s := range samples {
		if got := Sniff(sample(t, s.file)); got != 100 {
			t.Errorf("%s: %d", s.file, got)
		}
	}
}

// TestWriterRefuses: tracks that FLV does not carry.
func TestWriterRefuses(t *testing.T) {
	for _, tr := range []av.Track{{Kind: av.Data, Codec: av.Private}, {Kind: av.Video, Codec: av.CodecUnknown}, {Kind: av.Data, Codec: av.MP3}} {
		if _, err := AppendSequenceStart(nil, &tr); !errors.Is(err, av.ErrUnsupported) || TagType(&tr) != 0 {
			t.Errorf("%v: %v", tr, err)
		}
	}
}
