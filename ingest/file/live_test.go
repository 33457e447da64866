package file

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-video/cleave/av"
)

// clip makes a file of two seconds.
func clip(t *testing.T, name string) string {
	t.Helper()
	tool, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is not installed: files as live sources are left out")
	}
	path := filepath.Join(t.TempDir(), name)
	args := strings.Fields("-v error -nostdin -f lavfi -i testsrc2=s=160x120:r=25:d=2 -f lavfi -i sine=r=48000:d=2 -c:v libx264 -preset ultrafast -bf 2 -g 25 -pix_fmt yuv420p -c:a aac")
	if out, err := exec.CommandContext(t.Context(), tool, append(args, path)...).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	return path
}

// Packets come when their time has come, file behind file.
func TestLivePaces(t *testing.T) {
	list := []string{clip(t, "a.mp4"), clip(t, "b.ts"), clip(t, "c.flv")}
	synctest.Test(t, func(t *testing.T) {
		l, err := PlayLive(t.Context(), list, false)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		start := time.Now()
		sets, pictures := 0, 0
		for {
			p, err := l.ReadPacket(av.Heap{})
			if errors.Is(err, av.ErrTracks) {
				sets++
				continue
			}
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if l.Tracks()[p.Track].Kind == av.Video {
				pictures++
			}
		}
		if d := time.Since(start); sets != 3 || pictures != 150 || d < 5700*time.Millisecond || d > 6300*time.Millisecond {
			t.Errorf("%d sets, %d pictures in %v", sets, pictures, d)
		}
	})
}

func TestLiveLoops(t *testing.T) {
	list := []string{clip(t, "a.ts")}
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(20*time.Second, func() { cancel(why) })
		l, err := PlayLive(ctx, list, true)
		if err != nil {
			t.Fatal(err)
		}
		sets := 0
		for {
			_, err = l.ReadPacket(av.Heap{})
			if errors.Is(err, av.ErrTracks) {
				sets++
			} else if err != nil {
				break
			}
		}
		if !errors.Is(err, why) || sets < 10 || sets > 11 {
			t.Errorf("%d rounds, %v", sets, err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if _, err := l.ReadPacket(av.Heap{}); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("behind Close: %v", err)
		}
	})
}

func TestLiveRefuses(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, list := range [][]string{nil, {empty}, {"/nowhere/at/all"}, {t.TempDir()}} {
		if l, err := PlayLive(t.Context(), list, true); err == nil {
			l.Close()
			t.Errorf("%q was opened", list)
		}
	}
}
