package encode

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/chunk"
	"github.com/cleave-video/cleave/codec"
	"github.com/cleave-video/cleave/format/libav"
	"github.com/cleave-video/cleave/format/libav/libavtest"
	"github.com/cleave-video/cleave/format/mp4"
	"github.com/cleave-video/cleave/stage"
)

func TestMain(m *testing.M) {
	code := libavtest.Main(m)
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// object is a file's video as one chunk.
func object(t *testing.T) *stage.Object {
	t.Helper()
	b, err := os.ReadFile("../../format/mp4/testdata/last.mp4")
	if err != nil {
		t.Fatal(err)
	}
	d := mp4.New(bytes.NewReader(b), int64(len(b)))
	defer d.Close()
	g := avtest.ReadAll(t, d)[0]
	c := &chunk.Chunk{Tracks: g.Tracks, Independent: true, Runs: make([][]av.Packet, len(g.Tracks))}
	for _, p := range g.Packets {
		c.Runs[p.Track] = append(c.Runs[p.Track], p)
		if g.Tracks[p.Track].Kind == av.Video {
			c.Lead, c.Span.Timebase, c.Span.MaxPTS = p.Track, g.Tracks[p.Track].Timebase, max(c.Span.MaxPTS, p.PTS)
		}
	}
	return &stage.Object{Stream: "live/cam", Chunk: c}
}

// TestRun: what is made has the source's pictures and times, in half the height, and
// pictures that stand on others get them.
func TestRun(t *testing.T) {
	o := object(t)
	height := heightOf(t, o)
	e := small(t, Config{Path: libavtest.Need(t)})
	made := e.Makes("live/cam", o.Chunk.Tracks)
	if len(made) != 1 || made[0].Of != o.Chunk.Lead || made[0].Name != fmt.Sprintf("%dp", height/2) {
		t.Fatal(made)
	}
	if err := e.Run(t.Context(), o); err != nil || len(o.Made) != 1 {
		t.Fatal(o.Made, err)
	}
	m := &o.Made[0]
	info, err := codec.Describe(&m.Track)
	if err != nil || info.Height != height/2 || m.Name != made[0].Name || len(m.Packets) != len(o.Chunk.Runs[o.Chunk.Lead]) {
		t.Errorf("%+v, %d packets, %v", info, len(m.Packets), err)
	}
	// The second half of the chunk, cut inside the GOP.
	second := object(t)
	run := second.Chunk.Runs[second.Chunk.Lead]
	first := &chunk.Chunk{Tracks: second.Chunk.Tracks, Independent: true, Runs: make([][]av.Packet, len(second.Chunk.Runs))}
	first.Runs[second.Chunk.Lead] = run[:len(run)/2]
	second.Chunk.Runs[second.Chunk.Lead], second.Chunk.Independent = run[len(run)/2:], false
	if err := e.Run(t.Context(), second); !errors.Is(err, errAlone) && run[len(run)/2].Flags&av.Key == 0 {
		t.Error(err)
	}
	second.Before = []*chunk.Chunk{first}
	if err := e.Run(t.Context(), second); err != nil || len(second.Made[0].Packets) != len(run)-len(run)/2 {
		t.Error(second.Made, err)
	}
}

// small is an Encoder of half the height of object, which is less than servers may ask for.
func small(t *testing.T, c Config) *Encoder {
	t.Helper()
	c.Height, c.Bitrate = MinHeight, 100_000
	e, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	e.cfg.Height = heightOf(t, object(t)) / 2
	return e
}

func heightOf(t *testing.T, o *stage.Object) int {
	t.Helper()
	info, err := codec.Describe(&o.Chunk.Tracks[o.Chunk.Lead])
	if err != nil {
		t.Fatal(err)
	}
	return info.Height
}

// TestMakes: there is no rendition of what is not larger, cannot be decoded, is not video
// or not meant.
func TestMakes(t *testing.T) {
	o := object(t)
	e := small(t, Config{Streams: func(name string) bool { return strings.HasPrefix(name, "live/") }})
	video := o.Chunk.Tracks[o.Chunk.Lead]
	other := video
	other.Codec = av.Private
	for name, test := range map[string]struct {
		stream string
		tracks []av.Track
		n      int
	}{
		"video":     {"live/cam", []av.Track{video}, 1},
		"other":     {"cam", []av.Track{video}, 0},
		"no tracks": {"live/cam", nil, 0},
		"sound":     {"live/cam", []av.Track{{Kind: av.Audio, Codec: av.AAC}}, 0},
		"private":   {"live/cam", []av.Track{other}, 0},
		"second":    {"live/cam", []av.Track{{Kind: av.Audio}, video, video}, 1},
	} {
		got := e.Makes(test.stream, test.tracks)
		if len(got) != test.n || test.n == 1 && test.tracks[got[0].Of].Kind != av.Video {
			t.Errorf("%s: %+v", name, got)
		}
	}
	e.cfg.Height = heightOf(t, o)
	if got := e.Makes("live/cam", []av.Track{video}); len(got) > 0 {
		t.Errorf("not larger: %+v", got)
	}
}

// script is a worker that does something else.
func script(t *testing.T, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cleave-av")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestFailures: a worker that crashes or hangs may succeed the next time, one that refuses
// will not; what is given up leaves no place taken.
func TestFailures(t *testing.T) {
	for name, test := range map[string]struct {
		path  string
		again bool
		want  error
	}{
		"crash":   {script(t, "kill -KILL $$"), true, libav.ErrCrashed},
		"hang":    {script(t, "exec sleep 60"), true, libav.ErrHung},
		"none":    {filepath.Join(t.TempDir(), "none"), true, libav.ErrNoWorker},
		"refuses": {script(t, "echo cleave-av: not this >&2; exit 1"), false, libav.ErrRefused},
	} {
		e := small(t, Config{Path: test.path, Workers: 1, Timeout: 300 * time.Millisecond})
		o := object(t)
		err := e.Run(t.Context(), o)
		if !errors.Is(err, test.want) || errors.Is(err, stage.ErrTransient) != test.again || len(o.Made) > 0 || len(e.slots) > 0 {
			t.Errorf("%s: %v, %d made, %d places", name, err, len(o.Made), len(e.slots))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := e.Run(ctx, o); !errors.Is(err, context.Canceled) && name != "none" {
			t.Errorf("%s, cancelled: %v", name, err)
		}
	}
}

// TestSecondTry: a worker that crashes once costs nothing but time.
func TestSecondTry(t *testing.T) {
	real := libavtest.Need(t)
	flag := filepath.Join(t.TempDir(), "flag")
	path := script(t, fmt.Sprintf("if [ ! -e %[1]s ]; then : > %[1]s; kill -SEGV $$; fi\nexec %[2]s \"$@\"", flag, real))
	o := object(t)
	e := small(t, Config{Path: path})
	if err := (stage.Retry{}).Run(t.Context(), e, o); err != nil || len(o.Made) != 1 {
		t.Error(len(o.Made), err)
	}
}

// TestValidate: bounds are held.
func TestValidate(t *testing.T) {
	for _, c := range []Config{{}, {Height: 62, Bitrate: 1e6}, {Height: 361, Bitrate: 1e6}, {Height: 4320, Bitrate: 1e6}, {Height: 360}, {Height: 360, Bitrate: 1e9}, {Height: 360, Bitrate: 1e6, Workers: -1}} {
		if _, err := New(c); err == nil {
			t.Errorf("%+v", c)
		}
	}
}
