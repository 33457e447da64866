package server

import (
	"bytes"
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/cleave-video/cleave/live"
)

// TestFeeds: FLV, TS and MP4 over HTTP, RTMP, SRT and RTSP, are read by ffprobe while a publisher sends, each
// from a key frame on, and end properly when the server stops.
func TestFeeds(t *testing.T) {
	t.Parallel()
	need(t, "ffmpeg")
	need(t, "ffprobe")
	s := start(t, live.Config{})
	stop := publish(t, s.rtmp+"/live/cam")
	defer stop()
	until(t, s.http+"/live/cam/index.m3u8", "#EXTM3U")
	for _, address := range []string{s.http + "/live/cam.flv", s.http + "/live/cam.ts", s.http + "/live/cam.mp4", s.rtmp + "/live/cam", s.srt + "?streamid=read:live/cam", s.rtsp + "/live/cam"} {
		t.Run(strings.NewReplacer("/", "_", "127.0.0.1", "").Replace(address), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			args := []string{
				"-v", "error", "-read_intervals", "%+2", "-show_entries",
				"packet=codec_type,flags:stream=codec_name,width", "-of", "compact", address,
			}
			if strings.HasPrefix(address, "rtsp:") {
				args = append([]string{"-rtsp_transport", "tcp"}, args...)
			}
			cmd := exec.CommandContext(ctx, "ffprobe", args...)
			var complaints bytes.Buffer
			cmd.Stderr = &complaints
			out, err := cmd.Output()
			text := string(out)
			if err != nil || complaints.Len() > 0 {
				t.Errorf("%v %s", err, &complaints)
			}
			for _, want := range []string{"codec_name=h264|width=320", "codec_name=aac"} {
				if !strings.Contains(text, want) {
					t.Errorf("%s is missing in %.300s", want, text)
				}
			}
			i := strings.Index(text, "packet|codec_type=video|flags=")
			if i < 0 || !strings.HasPrefix(text[i:], "packet|codec_type=video|flags=K") {
				t.Errorf("it does not begin with a key frame: %.300s", text)
			}
		})
	}
	if code, _ := get(t, s.http+"/live/none.flv"); code != 404 {
		t.Error("a stream that is not there:", code)
	}
	for _, none := range []string{s.rtmp + "/live/none", s.srt + "?streamid=read:live/none", s.rtsp + "/live/none"} {
		if out, err := exec.Command("ffprobe", "-v", "error", none).CombinedOutput(); err == nil {
			t.Errorf("a stream that is not there is played: %s", out)
		}
	}
	// The end of the server is the end of an answer, and nobody hangs.
	cmd := exec.Command("ffmpeg", "-v", "error", "-nostdin", "-i", s.http+"/live/cam.flv", "-c", "copy", "-f", "null", "-")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop()
	s.stop()
	_ = cmd.Wait()
}
