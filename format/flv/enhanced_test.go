package flv

import (
	"bytes"
	"errors"
	"testing"

	"github.com/cleave-video/cleave/av"
)

// records holds the configurations and one key frame of each codec, taken from
// the samples.
type record struct {
	config, key []byte
}

func recordsOf(t testing.TB) map[av.Codec]record {
	t.Helper()
	m := map[av.Codec]record{}
	for _, s := range samples {
		g := demux(t, sample(t, s.file))[0]
		for i, tr := range g.tracks {
			for _, p := range g.packets {
				if p.Track == i {
					m[tr.Codec] = record{tr.Config, p.Data}
					break
				}
			}
		}
	}
	return m
}

// feed gives one body and reads what it holds.
type feed struct {
	t    *testing.T
	tags Tags
	got  []av.Packet
	sets [][]av.Track
}

func (f *feed) pull() {
	f.t.Helper()
	for {
		p, err := f.tags.ReadPacket(av.Heap{})
		switch {
		case errors.Is(err, ErrMore):
			return
		case errors.Is(err, av.ErrTracks):
			f.sets = append(f.sets, f.tags.Tracks())
		case err != nil:
			f.t.Fatal(err)
		default:
			f.got = append(f.got, p)
		}
	}
}

func (f *feed) video(timestamp uint32, parts ...string) {
	f.t.Helper()
	b := bytes.Join(slicesOf(parts), nil)
	if err := f.tags.Video(timestamp, b); err != nil {
		f.t.Fatal(err)
	}
	f.pull()
	clear(b) // nobody may look at it any more
}

func (f *feed) audio(timestamp uint32, parts ...string) {
	f.t.Helper()
	b := bytes.Join(slicesOf(parts), nil)
	if err := f.tags.Audio(timestamp, b); err != nil {
		f.t.Fatal(err)
	}
	f.pull()
	clear(b)
}

func slicesOf(parts []string) [][]byte {
	var l [][]byte
	for _, p := range parts {
		l = append(l, []byte(p))
	}
	return l
}

// TestVideoHeaders: every form of ExVideoTagHeader and the two legacy ones.
func TestVideoHeaders(t *testing.T) {
	r := recordsOf(t)
	tests := []struct {
		name        string
		codec       av.Codec
		start       string // before the configuration
		frame       string // before the frame
		composition int64
	}{
		{"AVC", av.H264, "\x17\x00\x00\x00\x00", "\x17\x01\x00\x00\x28", 40},
		{"AVC, negative composition", av.H264, "\x17\x00\x00\x00\x00", "\x17\x01\xff\xff\xd8", -40},
		{"legacy HEVC", av.H265, "\x1c\x00\x00\x00\x00", "\x1c\x01\x00\x00\x28", 40},
		{"avc1 CodedFrames", av.H264, "\x90avc1", "\x91avc1\x00\x00\x28", 40},
		{"avc1 CodedFramesX", av.H264, "\x90avc1", "\x93avc1", 0},
		{"hvc1 CodedFrames", av.H265, "\x90hvc1", "\x91hvc1\x00\x00\x28", 40},
		{"hvc1 CodedFramesX", av.H265, "\x90hvc1", "\x93hvc1", 0},
		{"av01 CodedFrames", av.AV1, "\x90av01", "\x91av01", 0},
		{"av01 CodedFramesX", av.AV1, "\x90av01", "\x93av01", 0},
		{"av01 with delimiter", av.AV1, "\x90av01", "\x91av01\x12\x00", 0},
		{"av01 with delimiter and extension", av.AV1, "\x90av01", "\x91av01\x16\x08\x00", 0},
		{"vp09 CodedFrames", av.VP9, "\x90vp09", "\x91vp09", 0},
		{"vp09 with a full box", av.VP9, "\x90vp09\x01\x00\x00\x00", "\x91vp09", 0},
		{"ModEx", av.H265, "\x97\x02\x00\x00\x01\x00hvc1", "\x97\x02\x0f\x42\x3f\x01hvc1\x00\x00\x28", 40},
		{"ModEx twice", av.H265, "\x97\x00\x00\x07\x00\x00\x00hvc1", "\x97\x00\x00\x17\x00\x00\x03hvc1", 0},
		{"ModEx of 256 bytes", av.H265, "\x97\xff\x00\xff" + string(make([]byte, 256)) + "\x00hvc1", "\x93hvc1", 0},
		{"one track", av.H265, "\x96\x00hvc1\x00", "\x96\x01hvc1\x00\x00\x00\x28", 40},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			rec := r[c.codec]
			f := feed{t: t}
			f.tags.Expect(true, false)
			f.video(0, c.start, string(rec.config))
			f.video(1000, c.frame, string(rec.key))
			if len(f.got) != 1 || len(f.sets) != 1 {
				t.Fatalf("%d packets, %d sets of tracks: %q", len(f.got), len(f.sets), f.tags.Warnings())
			}
			if tr := f.sets[0][0]; tr.Codec != c.codec || !bytes.Equal(tr.Config, rec.config) || tr.Timebase != av.Millisecond {
				t.Errorf("track %v", tr)
			}
			p := f.got[0]
			if p.DTS != 1000 || p.PTS != 1000+c.composition || !bytes.Equal(p.Data, rec.key) || p.Flags != av.Key {
				t.Errorf("DTS %d PTS %d flags %#x, %d bytes", p.DTS, p.PTS, p.Flags, len(p.Data))
			}
			if w := f.tags.Warnings(); len(w) > 0 {
				t.Errorf("warnings %q", w)
			}
		})
	}
}

// TestAudioHeaders: every form of ExAudioTagHeader and the legacy ones.
func TestAudioHeaders(t *testing.T) {
	r := recordsOf(t)
	head, err := appendOpus(nil, r[av.Opus].config)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, start, frame string
		codec              av.Codec
	}{
		{"AAC", "\xaf\x00" + string(r[av.AAC].config), "\xaf\x01", av.AAC},
		{"MP3", "", "\x2f", av.MP3},
		{"MP3 8 kHz", "", "\xef", av.MP3},
		{"mp4a", "\x90mp4a" + string(r[av.AAC].config), "\x91mp4a", av.AAC},
		{"Opus", "\x90Opus" + string(head), "\x91Opus", av.Opus},
		{"Opus with dOps", "\x90Opus" + string(r[av.Opus].config), "\x91Opus", av.Opus},
		{"ac-3", "\x90ac-3", "\x91ac-3", av.AC3},
		{"ec-3", "", "\x91ec-3", av.EAC3},
		{".mp3", "\x90.mp3", "\x91.mp3", av.MP3},
		{"ModEx", "\x97\x02\x00\x00\x01\x00mp4a" + string(r[av.AAC].config), "\x97\x02\x00\x00\x01\x01mp4a", av.AAC},
		{"one track", "\x95\x00mp4a\x00" + string(r[av.AAC].config), "\x95\x01mp4a\x00", av.AAC},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			rec := r[c.codec]
			f := feed{t: t}
			f.tags.Expect(false, true)
			if c.start != "" {
				f.audio(0, c.start)
			}
			f.audio(0, "\x94mp4a\x00\x02") // MultichannelConfig tells nothing that is needed
			f.audio(1000, c.frame, string(rec.key))
			f.audio(1020, c.frame, string(rec.key))
			f.audio(1040, "\x92mp4a") // SequenceEnd
			if len(f.got) != 2 || len(f.sets) != 1 {
				t.Fatalf("%d packets, %d sets of tracks: %q", len(f.got), len(f.sets), f.tags.Warnings())
			}
			if tr := f.sets[0][0]; tr.Codec != c.codec || !bytes.Equal(tr.Config, rec.config) {
				t.Errorf("track %v, want configuration %x", tr, rec.config)
			}
			if p := f.got[0]; p.DTS != 1000 || p.PTS != 1000 || !bytes.Equal(p.Data, rec.key) || p.Flags != av.Key {
				t.Errorf("DTS %d PTS %d flags %#x, %d bytes", p.DTS, p.PTS, p.Flags, len(p.Data))
			}
			if w := f.tags.Warnings(); len(w) > 0 {
				t.Errorf("warnings %q", w)
			}
		})
	}
}

// sized is a track's part of a multitrack body.
func sized(id byte, b ...[]byte) string {
	all := bytes.Join(b, nil)
	n := len(all)
	return string([]byte{id, byte(n >> 16), byte(n >> 8), byte(n)}) + string(all)
}

// TestMultitrack: many tracks in a body, of one codec and of several; the tracks
// are ordered by kind and number.
func TestMultitrack(t *testing.T) {
	r := recordsOf(t)
	hevc, av1, aac := r[av.H265], r[av.AV1], r[av.AAC]
	f := feed{t: t}
	f.audio(0, "\x95\x10mp4a", sized(1, aac.config), sized(0, aac.config))
	f.video(0, "\x96\x20hvc1", sized(0, hevc.config), "av01", sized(7, av1.config))
	f.video(40, "\x96\x21hvc1", sized(0, []byte{0, 0, 40}, hevc.key), "av01", sized(7, av1.key))
	f.audio(40, "\x95\x11mp4a", sized(1, aac.key), sized(0, aac.key, aac.key))
	if len(f.sets) != 1 || len(f.sets[0]) != 4 || len(f.got) != 4 {
		t.Fatalf("%d sets of tracks, %d packets: %q", len(f.sets), len(f.got), f.tags.Warnings())
	}
	want := []struct {
		codec av.Codec
		id    uint32
	}{{av.H265, 0}, {av.AV1, 7}, {av.AAC, 0}, {av.AAC, 1}}
	for i, w := range want {
		if tr := f.sets[0][i]; tr.Codec != w.codec || tr.ID != w.id {
			t.Errorf("track %d is %v %d, want %v %d", i, tr.Codec, tr.ID, w.codec, w.id)
		}
	}
	for i, track := range []int{0, 1, 3, 2} {
		if f.got[i].Track != track {
			t.Errorf("packet %d is of track %d, want %d", i, f.got[i].Track, track)
		}
	}
	if p := f.got[0]; p.PTS != 80 || !bytes.Equal(p.Data, hevc.key) {
		t.Errorf("PTS %d, %d bytes", p.PTS, len(p.Data))
	}

	// A size that lies costs its track and those behind it.
	f.got = nil
	f.video(80, "\x96\x21hvc1", sized(0, []byte{0, 0, 0}, hevc.key), "av01\x07\xff\xff\xff", string(av1.key))
	if len(f.got) != 1 || len(f.tags.Warnings()) != 1 {
		t.Errorf("%d packets, %q", len(f.got), f.tags.Warnings())
	}
}

// TestUnknownFourCC: a track of an unknown codec is left out, the others are read.
func TestUnknownFourCC(t *testing.T) {
	r := recordsOf(t)
	f := feed{t: t}
	f.video(0, "\x90vvc1", "whatever")
	f.video(0, "\x96\x20xxxx", sized(3, []byte{1, 2}), "hvc1", sized(0, r[av.H265].config))
	f.audio(0, "\x90fLaC", "fLaC")
	f.video(0, "\x93hvc1", string(r[av.H265].key))
	f.video(40, "\x94hvc1", "colorInfo")
	f.video(40, "\xd3hvc1")     // a command frame
	f.video(40, "\x95av01\x00") // MPEG2TSSequenceStart
	if err := f.tags.Finish(); err != nil {
		t.Fatal(err)
	}
	f.pull()
	if len(f.got) != 1 || f.sets[0][0].Codec != av.H265 {
		t.Errorf("%d packets", len(f.got))
	}
	if w := f.tags.Warnings(); len(w) != 1 || w[0] != "flv: 4 "+warningTexts[warnUnsupported] {
		t.Errorf("%q", w)
	}
}
