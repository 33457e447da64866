package libav

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/format/ts"
)

// late is a transport stream whose audio is announced at once and comes only behind so
// many seconds of video, 750 kB each.
func late(t *testing.T, seconds int) []byte {
	t.Helper()
	d := avtest.NewSynthetic(avtest.Spec{
		Video: avtest.Video{Frames: 25 * (seconds + 2), Timebase: av.Clock90k, FrameDur: 3600, Size: 30_000},
		Audio: avtest.Audio{Frames: 47 * (seconds + 2), Timebase: av.Clock90k},
		Start: time.Second,
	})
	var m *ts.Muxer
	var out []byte
	for {
		p, err := d.ReadPacket(av.Heap{})
		switch {
		case errors.Is(err, io.EOF):
			return out
		case errors.Is(err, av.ErrTracks):
			if m, err = ts.NewMuxer(d.Tracks()); err == nil {
				out = m.AppendHeader(out)
			}
		case err == nil && (p.Track == 0 || p.DTS > int64(1+seconds)*90000):
			out = m.AppendPacket(out, p, p.DTS, p.PTS)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestWiden: more is looked at where libavformat's default does not tell what a stream
// is, and that is said; less if the caller bounds it.
func TestWiden(t *testing.T) {
	w := newWorkers(t, Config{})
	b := late(t, 14) // beyond what the search for tracks reads, too
	for size, want := range map[int64]string{0: "h264 aac", 2_000_000: "h264"} {
		d := w.NewDemuxer(bytes.NewReader(b), int64(len(b)), Options{ProbeSize: size})
		var names []string
		for _, tr := range avtest.ReadAll(t, d)[0].Tracks {
			names = append(names, tr.Codec.String())
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("probesize %d: %q, want %q", size, got, want)
		}
		if said := strings.Contains(strings.Join(d.Warnings(), "\n"), "--probesize"); said != (size == 0) {
			t.Errorf("probesize %d: %q", size, d.Warnings())
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}
