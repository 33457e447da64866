package server

import (
	"context"
	"fmt"
	"log/slog"
	"os/exec"
	"time"
)

// Demo publishes a moving test picture with sound to an RTMP address until ctx is
// done, by an FFmpeg of the machine, which is started again if it ends.
func Demo(ctx context.Context, address string, log *slog.Logger) error {
	path, err := exec.LookPath("ffmpeg")
	if err != nil {
		return fmt.Errorf("server: the demonstration needs ffmpeg: %w", err)
	}
	for ctx.Err() == nil {
		cmd := exec.CommandContext(ctx, path, demoArgs(address)...)
		out, err := cmd.CombinedOutput()
		if ctx.Err() != nil {
			break
		}
		log.Warn("the demonstration's ffmpeg ended and is started again", "error", err, "output", string(out[max(0, len(out)-400):]))
		select {
		case <-ctx.Done():
		case <-time.After(2 * time.Second):
		}
	}
	return nil
}

func demoArgs(address string) []string {
	return []string{
		"-hide_banner", "-loglevel", "error", "-nostdin", "-re",
		"-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=30",
		"-f", "lavfi", "-i", "sine=frequency=220:beep_factor=4:sample_rate=48000",
		"-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-pix_fmt", "yuv420p", "-g", "60", "-keyint_min", "60", "-sc_threshold", "0", "-b:v", "1500k",
		"-c:a", "aac", "-b:a", "96k", "-ac", "2", "-f", "flv", address,
	}
}
