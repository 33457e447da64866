package rtmp

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/cleave-video/cleave/av"
)

// TestFFmpeg: what ffmpeg publishes arrives whole, with the times of its file.
func TestFFmpeg(t *testing.T) {
	tool, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is not installed: a foreign publisher is left out")
	}
	tests := []struct {
		name  string
		args  []string
		count []int
		codec []av.Codec
	}{
		{
			"H.264 and AAC",
			[]string{
				"-f", "lavfi", "-i", "testsrc=s=320x240:r=25:d=4", "-f", "lavfi", "-i", "sine=r=48000:d=4",
				"-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "25", "-pix_fmt", "yuv420p", "-c:a", "aac",
			},
			[]int{100, 189},
			[]av.Codec{av.H264, av.AAC},
		},
		{
			"H.264 and MP3",
			[]string{
				"-f", "lavfi", "-i", "testsrc=s=64x64:r=25:d=1", "-f", "lavfi", "-i", "sine=r=44100:d=1",
				"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "libmp3lame",
			},
			[]int{25, 40},
			[]av.Codec{av.H264, av.MP3},
		},
		{"audio", []string{"-f", "lavfi", "-i", "sine=r=48000:d=2", "-c:a", "aac"}, []int{95}, []av.Codec{av.AAC}},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			out := make(chan result, 1)
			addr := serve(t, Config{Publish: collect(out)})
			args := append([]string{"-v", "error", "-nostdin"}, c.args...)
			args = append(args, "-f", "flv", "rtmp://"+addr+"/live/cam1?token=x")
			if b, err := exec.CommandContext(t.Context(), tool, args...).CombinedOutput(); err != nil || len(b) > 0 {
				t.Errorf("ffmpeg: %v: %s", err, b)
			}
			r := <-out
			if r.err != io.EOF || r.name != "live/cam1" || r.p.Query().Get("token") != "x" {
				t.Errorf("%q %v ended with %v", r.name, r.p.Query(), r.err)
			}
			n := r.count(t)
			if len(n) != len(c.count) || len(r.sets) != 1 {
				t.Fatalf("%d tracks in %d sets", len(n), len(r.sets))
			}
			for i := range n {
				if n[i] != c.count[i] || r.sets[0].Tracks[i].Codec != c.codec[i] {
					t.Errorf("track %d: %d packets of %v, want %d of %v", i, n[i], r.sets[0].Tracks[i].Codec, c.count[i], c.codec[i])
				}
			}
			if w := r.p.Warnings(); len(w) > 0 {
				t.Errorf("warnings %q", w)
			}
		})
	}
}

// TestFFmpegMedia: a file that ffmpeg copies arrives as the FLV demuxer reads it.
func TestFFmpegMedia(t *testing.T) {
	dir := os.Getenv("CLEAVE_MEDIA")
	if dir == "" {
		t.Skip("CLEAVE_MEDIA is not set: real files are left out")
	}
	tool, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is not installed: a foreign publisher is left out")
	}
	out := make(chan result, 1)
	addr := serve(t, Config{Publish: collect(out)})
	path := filepath.Join(dir, "flv/bbb_irregular_gop.flv")
	b, err := exec.CommandContext(t.Context(), tool, "-v", "error", "-nostdin", "-i", path, "-c", "copy", "-copyts", "-f", "flv", "rtmp://"+addr+"/a/b").CombinedOutput()
	if err != nil {
		t.Errorf("ffmpeg: %v: %s", err, b)
	}
	r := <-out
	want := readFile(t, path)
	if n := r.count(t); n[0] != 250 {
		t.Errorf("%v packets", n)
	}
	var got, asked []av.Packet
	for _, p := range r.sets[0].Packets {
		if p.Track == 0 {
			got = append(got, p)
		}
	}
	for _, p := range want {
		if p.Track == 0 {
			asked = append(asked, p)
		}
	}
	for i := range asked {
		if p, q := got[i], asked[i]; string(p.Data) != string(q.Data) || p.DTS-got[0].DTS != q.DTS-asked[0].DTS || p.PTS-p.DTS != q.PTS-q.DTS || p.Flags != q.Flags {
			t.Fatalf("picture %d: DTS %d PTS %d flags %#x, want %d %d %#x", i, p.DTS, p.PTS, p.Flags, q.DTS, q.PTS, q.Flags)
		}
	}
}
