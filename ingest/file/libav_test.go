package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/format/libav"
	"github.com/cleave-video/cleave/format/libav/libavtest"
)

func TestMain(m *testing.M) { os.Exit(libavtest.Main(m)) }

const mkv = "../../format/libav/testdata/av.mkv"

// nativeSample is a file that cleave reads itself.
const nativeSample = "../../format/ts/testdata/av.ts"

// TestAuto: cleave's own demuxers where they know the input, else libavformat's; the
// error without a worker says how to get one.
func TestAuto(t *testing.T) {
	libavtest.Need(t)
	for _, c := range []struct {
		path   string
		choice Demuxer
		format string
	}{
		{nativeSample, Auto, "ts"},
		{nativeSample, Native, "ts"},
		{nativeSample, Libav, "libav/mpegts"},
		{nativeSample, "", "ts"},
		{mkv, Auto, "libav/matroska,webm"},
		{mkv, "", "libav/matroska,webm"},
		{mkv, Libav, "libav/matroska,webm"},
	} {
		in, err := Open(context.Background(), c.path, Options{Demuxer: c.choice})
		if err != nil {
			t.Errorf("%s %s: %v", c.path, c.choice, err)
			continue
		}
		if in.Format != c.format {
			t.Errorf("%s %s: read as %s, want %s", c.path, c.choice, in.Format, c.format)
		}
		if err := in.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := Open(context.Background(), mkv, Options{Demuxer: Native}); !errors.Is(err, av.ErrUnsupported) || errors.Is(err, libav.ErrNoWorker) {
		t.Errorf("native: %v", err)
	}
}

// TestNoWorker: without a worker, what is read natively is, and the rest is told how.
func TestNoWorker(t *testing.T) {
	t.Setenv("CLEAVE_AV", filepath.Join(t.TempDir(), "nothing"))
	in, err := Open(context.Background(), nativeSample, Options{})
	if err != nil {
		t.Fatal(err)
	}
	in.Close()
	for _, o := range []Options{{}, {Demuxer: Libav}} {
		_, err = Open(context.Background(), mkv, o)
		if !errors.Is(err, libav.ErrNoWorker) {
			t.Errorf("%v", err)
		}
	}
	t.Setenv("CLEAVE_AV", "")
	if _, err = Open(context.Background(), mkv, Options{}); !errors.Is(err, libav.ErrNoWorker) || !errors.Is(err, av.ErrUnsupported) ||
		!strings.Contains(err.Error(), "libavformat-dev") || !strings.Contains(err.Error(), "Matroska") {
		t.Errorf("%v", err)
	}
}

// TestWays: a file, a URL with ranges and one without give the same packets.
func TestWays(t *testing.T) {
	libavtest.Need(t)
	b, err := os.ReadFile(mkv)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/plain" {
			w.Write(b)
			return
		}
		http.ServeFile(w, r, mkv)
	}))
	defer server.Close()
	for _, name := range []string{mkv, server.URL + "/ranges", server.URL + "/plain"} {
		in, err := Open(context.Background(), name, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if n := len(avtest.ReadAll(t, in)[0].Packets); n != 145 {
			t.Errorf("%s: %d packets", name, n)
		}
		if done, total := in.Progress(); done <= 0 || total > 0 && done > total {
			t.Errorf("%s: progress %d of %d", name, done, total)
		}
		if err := in.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestCancel: the end of the context ends the input.
func TestCancel(t *testing.T) {
	libavtest.Need(t)
	ctx, cancel := context.WithCancel(context.Background())
	in, err := Open(ctx, mkv, Options{})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	for err == nil || errors.Is(err, av.ErrTracks) {
		_, err = in.ReadPacket(av.Heap{})
	}
	if err := in.Close(); err != nil {
		t.Error(err)
	}
}

// differ says why both demuxers may give other packets of a file.
var differ = map[string]string{
	"mp4/h264_camera_12_5fps_aac.mp4": "libavformat drops audio that the edit list leaves out",
	"ts/h264_cut_packet_60s.ts":       "libavformat gives the last frame, of which the end is missing",
	"ts/starts_mid_gop.ts":            "libavformat has read ahead to the parameter sets when it gives the pictures before them",
}

// TestBoth: cleave's own demuxers and libavformat's give the same packets of the files
// that both read, but for differences that docs/libav.md explains.
func TestBoth(t *testing.T) {
	libavtest.Need(t)
	root := os.Getenv("CLEAVE_MEDIA")
	if root == "" {
		t.Skip("CLEAVE_MEDIA is not set")
	}
	for _, dir := range []string{"mp4", "fmp4", "flv", "ts", "raw", "audio"} {
		list, err := filepath.Glob(filepath.Join(root, dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range list {
			name := dir + "/" + filepath.Base(path)
			got, err := read(path, Libav)
			if err != nil && !errors.Is(err, io.EOF) {
				t.Logf("%s: libav: %v", name, err)
			}
			want, nerr := read(path, Native)
			if errors.Is(nerr, av.ErrUnsupported) {
				continue
			}
			d := compare(want, got)
			switch {
			case len(d) == 0 && differ[name] != "" && errors.Is(err, io.EOF):
				t.Errorf("%s: no difference any more", name)
			case len(d) > 0 && differ[name] == "":
				t.Errorf("%s: %s", name, strings.Join(d, "; "))
			case len(d) > 0:
				t.Logf("%s: %s: %s", name, strings.Join(d, "; "), differ[name])
			}
		}
	}
}

// flow is one track of an input, whatever its configurations.
type flow struct {
	track   av.Track
	packets []av.Packet
}

func read(path string, d Demuxer) ([]flow, error) {
	in, err := Open(context.Background(), path, Options{Demuxer: d, RawTimes: true})
	if err != nil {
		return nil, err
	}
	defer in.Close()
	l, err := avtest.Read(in)
	var flows []flow
	for _, g := range l {
		for i, tr := range g.Tracks {
			if i >= len(flows) {
				flows = append(flows, flow{track: tr})
			}
			flows[i].packets = append(flows[i].packets, g.Of(i)...)
		}
	}
	return flows, err
}

// compare lists how two readings differ, tracks of a kind and codec in their order.
func compare(want, got []flow) (out []string) {
	used := make([]bool, len(got))
	for _, w := range want {
		if w.track.Codec == av.Private {
			continue // each is in its own container's words
		}
		found := false
		for k := range got {
			if g := &got[k]; !used[k] && g.track.Codec == w.track.Codec {
				used[k], found = true, true
				if s := against(w, *g); s != "" {
					out = append(out, fmt.Sprintf("%s: %s", w.track.Codec, s))
				}
				break
			}
		}
		if !found {
			out = append(out, w.track.Codec.String()+" is missing")
		}
	}
	return out
}

func against(w, g flow) string {
	if len(w.packets) != len(g.packets) {
		return fmt.Sprintf("%d packets, native %d", len(g.packets), len(w.packets))
	}
	if len(w.packets) == 0 {
		return ""
	}
	a, b := w.packets[0].PTS, g.track.Timebase.Rescale(g.packets[0].PTS, w.track.Timebase)
	var pts, dts, key, data int
	for i := range w.packets {
		p, q := &w.packets[i], &g.packets[i]
		if p.PTS-a != g.track.Timebase.Rescale(q.PTS, w.track.Timebase)-b {
			pts++
		}
		if p.DTS-a != g.track.Timebase.Rescale(q.DTS, w.track.Timebase)-b {
			dts++
		}
		if (p.Flags^q.Flags)&(av.Key|av.Open|av.Leading|av.Disposable) != 0 {
			key++
		}
		if !bytes.Equal(p.Data, q.Data) {
			data++
		}
	}
	if pts+dts+key+data == 0 {
		return ""
	}
	return fmt.Sprintf("of %d packets %d PTS, %d DTS, %d flags, %d payloads differ (timebase %v, native %v; first PTS %d, native %d)",
		len(w.packets), pts, dts, key, data, g.track.Timebase, w.track.Timebase, g.packets[0].PTS, w.packets[0].PTS)
}
