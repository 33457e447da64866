package cut

import (
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
			Video: avtest.Video{Frames: 100}, Audio: avtest.Audio{Frames: 188}, Start: time.Second + time.Duration(i)*4*time.Second,
		}))[0]
		tracks, place, last := []av.Track{}, []int{-1, -1, -1}, make([]int, len(letters))
		for k, letter := range letters {
			from := strings.IndexRune("VA", letter)
			if from < 0 {
				from = 2
				tracks = append(tracks, av.Track{Kind: av.Data, Codec: av.Private, Private: av.PrivateTS, Timebase: av.Clock90k, Config: []byte{6, 5, 4, 'x', 'x', 'x', byte(letter)}})
			} else {
				tracks = append(tracks, g.Tracks[from])
			}
			place[from] = k
		}
		var packets []av.Packet
		for _, p := range g.Packets {
			if p.Track == 0 && p.Flags&av.Key != 0 && place[2] >= 0 {
				at := g.Tracks[0].Timebase.Rescale(p.DTS, av.Clock90k)
				packets = append(packets, av.Packet{Track: place[2], DTS: at, PTS: at, Data: []byte("data"), Flags: av.Key})
			}
			if p.Track = place[p.Track]; p.Track >= 0 {
				packets = append(packets, p)
			}
		}
		for k := range packets {
			last[packets[k].Track] = k
		}
		m, err := ts.NewMuxer(tracks)
		if err != nil {
			t.Fatal(err)
		}
		out = m.AppendHeader(out)
		for k, p := range packets {
			tb := tracks[p.Track].Timebase
			dts, pts := tb.Rescale(p.DTS, av.Clock90k), tb.Rescale(p.PTS, av.Clock90k)
			if k == last[p.Track] {
				out = m.AppendLast(out, p, dts, pts)
			} else {
				out = m.AppendPacket(out, p, dts, pts)
			}
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
		if len(r.LeftOut) == 0 || r.Chunks != 7 || r.Cuts["grid"] != 6 || r.Packets != 3*288 {
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
