package cut

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/chunk"
	"github.com/cleave-video/cleave/format/ts"
)

// transport is a file of stretches of 4 s, each with tracks of its own: V is video with a
// key frame each second, A sound, and any other letter data that is described by it.
func transport(t *testing.T, stretches ...string) string {
	t.Helper()
	var out []byte
	for i, letters := range stretches {
		g := avtest.ReadAll(t, avtest.NewSynthetic(avtest.Spec{
			Video: avtest.Video{Frames: 100}, Audio: avtest.Audio{Frames: 187}, Start: 2*time.Second + time.Duration(i)*4*time.Second,
		}))[0]
		tracks, places := []av.Track{}, make([][]int, 3)
		for k, letter := range letters {
			from := strings.IndexRune("VA", letter)
			if from < 0 {
				from = 2
				tracks = append(tracks, av.Track{Kind: av.Data, Codec: av.Private, Private: av.PrivateTS, Timebase: av.Clock90k, Config: []byte{6, 5, 4, 'x', 'x', 'x', byte(letter)}})
			} else {
				tracks = append(tracks, g.Tracks[from])
			}
			places[from] = append(places[from], k)
		}
		var packets []av.Packet
		for _, p := range g.Packets {
			for _, k := range places[p.Track] {
				q := p
				q.Track = k
				packets = append(packets, q)
			}
			if p.Track == 0 && p.Flags&av.Key != 0 {
				at := g.Tracks[0].Timebase.Rescale(p.DTS, av.Clock90k)
				for _, k := range places[2] {
					packets = append(packets, av.Packet{Track: k, DTS: at, PTS: at, Data: []byte("data"), Flags: av.Key})
				}
			}
		}
		m, err := ts.NewMuxer(tracks)
		if err != nil {
			t.Fatal(err)
		}
		out = m.AppendHeader(out)
		for _, p := range packets {
			tb := tracks[p.Track].Timebase
			dts, pts := tb.Rescale(p.DTS, av.Clock90k), tb.Rescale(p.PTS, av.Clock90k)
			out = m.AppendPacket(out, p, dts, pts)
		}
		out = m.AppendEnd(out)
	}
	name := filepath.Join(t.TempDir(), "in.ts")
	if err := os.WriteFile(name, out, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestLeftOutDoesNotCutAgain: data that the container cannot carry does not cut when it
// changes, comes or goes.
func TestLeftOutDoesNotCutAgain(t *testing.T) {
	for _, stretches := range [][]string{{"VAa", "VAb", "VAa"}, {"VA", "VAa", "VA"}} {
		r, err := Run(t.Context(), config(transport(t, stretches...), filepath.Join(t.TempDir(), "out")))
		if err != nil {
			t.Fatal(err)
		}
		if len(r.LeftOut) == 0 || r.Chunks != 6 || r.Cuts["grid"] != 5 || r.Packets != 3*287 {
			t.Errorf("%q: %+v", stretches, r)
		}
	}
}

// TestFaultOfTrack: a track that cannot be written names itself and its input.
func TestFaultOfTrack(t *testing.T) {
	for _, sps := range [][]byte{{}, {0x67, 0x42}, {0x67, 0x42, 0x00, 0x0a}} {
		config := append([]byte{1, 0x42, 0, 10, 0xff, 0xe1, 0, byte(len(sps))}, sps...)
		bad := []av.Track{{Kind: av.Video, Codec: av.H264, Timebase: av.Clock90k, Config: append(config, 1, 0, 1, 0x68)}}
		for _, container := range []Container{CMAF, TS} {
			out, err := newOutput(filepath.Join(t.TempDir(), "out"), false)
			if err != nil {
				t.Fatal(err)
			}
			r := newRun(Config{Input: "in.mp4", Container: container}, nil, out)
			err = r.setTracks(&chunk.Chunk{Tracks: bad, Runs: make([][]av.Packet, 1)})
			if err == nil || !strings.Contains(err.Error(), "in.mp4: track 0 (video h264)") {
				t.Errorf("%s, SPS %x: %v", container, sps, err)
			}
			r.free()
			out.abandon()
		}
	}
}

// TestTracksChange: tracks go on in the rendition of their kind and order, whatever their
// numbers; names are never given twice, and codecs never forgotten.
func TestTracksChange(t *testing.T) {
	for _, c := range []struct {
		stretches []string
		container Container
		names     string // of the renditions, with their segments
	}{
		{[]string{"A", "VA"}, CMAF, "audio0 4, video0 2"},
		{[]string{"A", "VA"}, TS, "audio0 4, video0 2"},
		{[]string{"A", "AV", "A"}, CMAF, "audio0 6, video0 2"},
		{[]string{"A", "AV", "A"}, TS, "audio0 6, video0 2"},
		{[]string{"VA", "A"}, CMAF, "audio0 4, video0 2"},
		{[]string{"VA", "A", "AV"}, TS, "video0 6"},
		{[]string{"V", "A"}, CMAF, "audio0 2, video0 2"},
		{[]string{"V", "A", "V"}, TS, "video0 6"},
		{[]string{"VA", "AV"}, CMAF, "audio0 4, video0 4"},
		{[]string{"VAA", "VA"}, CMAF, "audio0 4, audio1 2, video0 4"},
		{[]string{"VA", "VAA"}, TS, "audio0 2, video0 4"},
	} {
		t.Run(strings.Join(c.stretches, " ")+" "+string(c.container), func(t *testing.T) {
			conf := config(transport(t, c.stretches...), filepath.Join(t.TempDir(), "out"))
			conf.Container = c.container
			r, err := Run(t.Context(), conf)
			if err != nil {
				t.Fatal(err)
			}
			if d := r.Duration - time.Duration(len(c.stretches))*4*time.Second; d.Abs() > 100*time.Millisecond {
				t.Errorf("%v in all", r.Duration)
			}
			if all := strings.Join(c.stretches, ""); r.Packets != 100*strings.Count(all, "V")+187*strings.Count(all, "A") {
				t.Errorf("%d packets: %+v", r.Packets, r.Dropped)
			}
			var names []string
			for _, kind := range []string{"audio", "video"} {
				for n := range 3 {
					name := fmt.Sprintf("%s%d", kind, n)
					files, err := filepath.Glob(filepath.Join(conf.Dir, name, "0*"))
					if err != nil || len(files) == 0 {
						continue
					}
					names = append(names, fmt.Sprintf("%s %d", name, len(files)))
					headers, err := filepath.Glob(filepath.Join(conf.Dir, name, "init*.mp4"))
					if err != nil || (len(headers) == 0) != (c.container == TS) {
						t.Errorf("%s: headers %v, %v", name, headers, err)
					}
					for _, h := range headers {
						if b, err := os.ReadFile(h); err != nil || bytes.Contains(b, []byte("vide")) != (kind == "video") {
							t.Errorf("%s is of another kind, or %v", h, err)
						}
					}
				}
			}
			if got := strings.Join(names, ", "); got != c.names {
				t.Errorf("%s, want %s", got, c.names)
			}
			b, err := os.ReadFile(filepath.Join(conf.Dir, multivariantName))
			if err != nil || !strings.Contains(string(b), `CODECS="avc1.640028,mp4a.40.2",RESOLUTION=320x192,FRAME-RATE=25.000`) {
				t.Errorf("%v\n%s", err, b)
			}
		})
	}
}
