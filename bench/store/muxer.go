package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	indexdisk "github.com/cleave-video/cleave/index/disk"
	"github.com/cleave-video/cleave/index/indextest"
	storedisk "github.com/cleave-video/cleave/store/disk"
)

// muxer compares FFmpeg's HLS muxer, which syncs nothing, with the store and the
// index on the same segments.
func muxer(ctx context.Context, dir string) error {
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		fmt.Print("FFmpeg is not installed: not compared with.\n\n")
		return nil
	}
	in := filepath.Join(dir, "in.ts")
	// Noise, as it does not compress: about 1 MiB a segment.
	make := exec.CommandContext(ctx, ffmpeg, "-v", "error", "-f", "lavfi", "-i", "testsrc2=d=60:s=640x360:r=25,noise=alls=60:allf=t",
		"-c:v", "mpeg2video", "-b:v", "4M", "-maxrate", "4M", "-bufsize", "2M", "-g", "50", "-bf", "0", in)
	if out, err := make.CombinedOutput(); err != nil {
		return fmt.Errorf("ffmpeg: %w: %s", err, out)
	}
	out := filepath.Join(dir, "hls")
	if err := os.Mkdir(out, 0o755); err != nil {
		return err
	}
	var walls []time.Duration
	var names []string
	for range 5 {
		began := time.Now()
		cmd := exec.CommandContext(ctx, ffmpeg, "-v", "error", "-y", "-i", in, "-c", "copy", "-f", "hls", "-hls_time", "2", "-hls_list_size", "0", filepath.Join(out, "index.m3u8"))
		if b, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("ffmpeg: %w: %s", err, b)
		}
		walls = append(walls, time.Since(began))
	}
	if names, err = filepath.Glob(filepath.Join(out, "*.ts")); err != nil || len(names) == 0 {
		return fmt.Errorf("no segments in %s: %w", out, err)
	}
	fmt.Printf("| %d segments of 2 s at 4 Mbit/s, ms a segment, median of 5 | |\n|---|---|\n", len(names))
	fmt.Printf("| `ffmpeg -c copy -f hls`, whole process | %s |\n", ms(quantile(walls, 0.5)/time.Duration(len(names))))
	for _, sync := range []bool{false, true} {
		wall, err := storeAll(ctx, dir, names, sync)
		if err != nil {
			return err
		}
		fmt.Printf("| store and index, from the segments' files, %s | %s |\n", synced(sync), ms(wall/time.Duration(len(names))))
	}
	fmt.Println()
	return nil
}

// storeAll commits the files five times over, and returns the median.
func storeAll(ctx context.Context, dir string, names []string, sync bool) (time.Duration, error) {
	var so []storedisk.Option
	var io []indexdisk.Option
	if !sync {
		so, io = append(so, storedisk.WithoutSync()), append(io, indexdisk.WithoutSync())
	}
	st, err := storedisk.Open(filepath.Join(dir, fmt.Sprint("mux-store", sync)), so...)
	if err != nil {
		return 0, err
	}
	ix, err := indexdisk.Open(filepath.Join(dir, fmt.Sprint("mux-index", sync)), io...)
	if err != nil {
		return 0, err
	}
	defer ix.Close()
	g := indextest.NewGenerator(1)
	walls, err := repeat(5, func(int) error {
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			e := g.Next()
			if err := st.Put(ctx, e.Object, bytes.NewReader(b), int64(len(b))); err != nil {
				return err
			}
			if err := ix.Add(ctx, "live/cam1", e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return quantile(walls, 0.5), nil
}
