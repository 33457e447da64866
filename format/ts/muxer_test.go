package ts

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cleave-video/cleave/av"
)

// privateTrack is a track that needs no codec.
func privateTrack(typ uint8) av.Track {
	return av.Track{Kind: av.Data, Codec: av.Private, Private: av.PrivateTS, Timebase: av.Clock90k, Config: []byte{typ}}
}

func TestMuxerRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		track av.Track
		want  error
		text  string
	}{
		"AV1":        {av.Track{Kind: av.Video, Codec: av.AV1}, av.ErrUnsupported, "av1"},
		"VP9":        {av.Track{Kind: av.Video, Codec: av.VP9}, av.ErrUnsupported, "vp9"},
		"no avcC":    {av.Track{Kind: av.Video, Codec: av.H264}, av.ErrInvalid, "AVCDecoder"},
		"no hvcC":    {av.Track{Kind: av.Video, Codec: av.H265}, av.ErrInvalid, "HEVCDecoder"},
		"no ASC":     {av.Track{Kind: av.Audio, Codec: av.AAC}, av.ErrUnsupported, "AudioSpecificConfig"},
		"no dOps":    {av.Track{Kind: av.Audio, Codec: av.Opus}, av.ErrInvalid, "dOps"},
		"no mp3":     {av.Track{Kind: av.Audio, Codec: av.MP3}, av.ErrInvalid, "mp3"},
		"MP4's data": {av.Track{Kind: av.Data, Codec: av.Private, Private: av.PrivateMP4, Config: []byte{1}}, av.ErrUnsupported, "private"},
		"descriptors": {
			av.Track{Kind: av.Data, Codec: av.Private, Private: av.PrivateTS, Config: make([]byte, 1100)},
			av.ErrTooLarge, "PMT",
		},
	} {
		_, err := NewMuxer([]av.Track{test.track})
		var bad *av.Error
		if !errors.Is(err, test.want) || !errors.As(err, &bad) || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// TestSlowFrames: PCR, PAT and PMT keep coming between frames that are far
// apart, across segments and the wrap of the clock.
func TestSlowFrames(t *testing.T) {
	for name, gap := range map[string]int64{"60 fps": 1500, "24 fps": 3750, "0.5 fps": 180000} {
		t.Run(name, func(t *testing.T) {
			m, err := NewMuxer([]av.Track{privateTrack(typePrivate), privateTrack(typeMetadata)})
			if err != nil {
				t.Fatal(err)
			}
			c := newChecker(t, name)
			at := int64(timeMask - 20*gap)
			for range 4 {
				b := m.AppendHeader(nil)
				for i := range 10 {
					b = m.AppendPacket(b, av.Packet{Data: make([]byte, 100*i+1)}, at, at)
					b = m.AppendPacket(b, av.Packet{Track: 1, Data: []byte("ID3")}, at, at+5)
					at += gap
				}
				c.segment(b, false)
			}
		})
	}
}

// TestDiscontinuity: T11: discontinuity_indicator once per track after a call.
func TestDiscontinuity(t *testing.T) {
	m, err := NewMuxer([]av.Track{privateTrack(typePrivate), privateTrack(typeMetadata)})
	if err != nil {
		t.Fatal(err)
	}
	c := newChecker(t, "discontinuity")
	for i, at := range []int64{900000, 90000, 93600} {
		if i == 1 {
			m.Discontinuity()
		}
		b := m.AppendHeader(nil)
		b = m.AppendPacket(b, av.Packet{Data: []byte{1}}, at, at)
		b = m.AppendPacket(b, av.Packet{Track: 1, Data: []byte{2}}, at, at)
		c.segment(b, i == 1)
	}
}

// TestStuffing: every size of payload takes whole packets and comes back.
func TestStuffing(t *testing.T) {
	m, err := NewMuxer([]av.Track{privateTrack(typePrivate), privateTrack(typePrivate), privateTrack(typeSCTE35)})
	if err != nil {
		t.Fatal(err)
	}
	b := m.AppendHeader(nil)
	for n := 1; n < 600; n++ {
		at := int64(n) * 3600
		b = m.AppendPacket(b, av.Packet{Flags: av.Key, Data: bytes.Repeat([]byte{0xFF}, n)}, at, at)
		b = m.AppendPacket(b, av.Packet{Track: 1, Data: make([]byte, n)}, at, at+1)
		b = m.AppendPacket(b, av.Packet{Track: 2, Data: section(append([]byte{0x70, 0, 0}, make([]byte, n)...))}, at, at)
	}
	newChecker(t, "stuffing").segment(b, false)
	g := demux(t, b)[0]
	for i, more := range []int{0, 0, 7} {
		l := ofTrack(g, i)
		if len(l) != 599 {
			t.Fatalf("track %d: %d packets", i, len(l))
		}
		for k, p := range l {
			if len(p.Data) != k+1+more {
				t.Errorf("track %d packet %d: %d bytes", i, k, len(p.Data))
			}
		}
	}
}

// TestLargeData: a private payload that no PES_packet_length can state.
func TestLargeData(t *testing.T) {
	m, err := NewMuxer([]av.Track{privateTrack(typePrivate)})
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.Repeat([]byte{1, 2, 3}, 30000)
	b := m.AppendPacket(m.AppendHeader(nil), av.Packet{Data: want}, 0, 0)
	if got := demux(t, b)[0].packets[0].Data; !bytes.Equal(got, want) {
		t.Errorf("%d bytes, want %d", len(got), len(want))
	}
}

// TestWrittenForFFmpeg: ffprobe and the decoders see the same in what is
// written as in the source.
func TestWrittenForFFmpeg(t *testing.T) {
	dir := t.TempDir()
	check := func(source string, b []byte) {
		l := demux(t, b)
		if len(l) != 1 {
			return // a file per set of tracks
		}
		g := l[0]
		g.packets = fromFirstKey(g)
		out := filepath.Join(dir, filepath.Base(source))
		if err := os.WriteFile(out, slices.Concat(write(t, g)...), 0o600); err != nil {
			t.Fatal(err)
		}
		probed := ffprobe(t, out)
		for i, tr := range g.tracks {
			if tr.Codec == av.Private {
				continue
			}
			got, want := probed[uint32(muxFirst+i)], ofTrack(g, i)
			if len(got) != len(want) {
				t.Errorf("%s: track %d: ffprobe sees %d packets, want %d", source, i, len(got), len(want))
				continue
			}
			for k, p := range got {
				if since(p.pts, want[k].PTS) != 0 || p.hasDTS && since(p.dts, want[k].DTS) != 0 && !differences[source].anyDTS {
					t.Errorf("%s: track %d packet %d: PTS %d DTS %d, want %d %d", source, i, k, p.pts, p.dts, want[k].PTS, want[k].DTS)
				}
			}
		}
		if len(b) < 300<<10 && differences[source].skip == nil {
			if d := cmp.Diff(decoded(t, source, g.tracks), decoded(t, out, g.tracks)); d != "" {
				t.Errorf("%s: decoded: %s", source, d)
			}
		}
	}
	for _, s := range samples {
		check(filepath.Join("testdata", s.file), sample(t, s.file))
	}
	if os.Getenv("CLEAVE_MEDIA") == "" {
		return
	}
	for _, name := range mediaFiles {
		in := filepath.Join(os.Getenv("CLEAVE_MEDIA"), name)
		differences[in] = differences[name]
		check(in, media(t, name))
		delete(differences, in)
	}
}

// decoded returns the MD5 of each decoded picture and of all sound.
func decoded(t *testing.T, file string, tracks []av.Track) []string {
	var l []string
	for i, tr := range tracks {
		format := "framemd5"
		switch tr.Kind {
		case av.Data:
			continue
		case av.Audio:
			format = "md5"
		}
		args := []string{"-v", "quiet", "-i", file, "-map", "0:" + string(rune('0'+i)), "-f", format, "-vsync", "passthrough", "-"}
		for line := range strings.Lines(string(tool(t, "ffmpeg", args...))) {
			if line[0] != '#' {
				f := strings.Split(line, ",")
				l = append(l, strings.TrimSpace(f[len(f)-1]))
			}
		}
	}
	return l
}
