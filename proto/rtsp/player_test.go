package rtsp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/format/mp4"
	"github.com/cleave-video/cleave/internal/pace"
)

// clip is a file of 3 s as its demuxer has it.
type clip struct {
	path    string
	tracks  []av.Track
	packets []av.Packet
}

func newClip(t *testing.T, codecs string) clip {
	t.Helper()
	path := filepath.Join(t.TempDir(), "clip.mp4")
	args := strings.Fields("-v error -nostdin -f lavfi -i testsrc2=s=320x180:r=25:d=3 -f lavfi -i sine=r=48000:d=3 " + codecs + " -g 25 -strict -2 " + path)
	if out, err := exec.Command(need(t, "ffmpeg"), args...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	l := avtest.ReadAll(t, mp4.New(f, info.Size()))
	return clip{path, l[0].Tracks, l[0].Packets}
}

// config plays the clip under any name: at once, or as a camera would.
func (c clip) config(paced bool) Config {
	return Config{
		Publish:  func(context.Context, *Publisher) error { return nil },
		Describe: func(context.Context, string) ([]av.Track, error) { return c.tracks, nil },
		Play: func(ctx context.Context, p *Player) error {
			start := time.Now()
			for i := range c.packets {
				pkt := &c.packets[i]
				if at := c.tracks[pkt.Track].Timebase.Duration(pkt.DTS); paced && time.Since(start) < at {
					if err := pace.Sleep(ctx, at-time.Since(start)); err != nil {
						return err
					}
				}
				if err := p.Write(ctx, pkt, time.Hour); err != nil {
					return err
				}
			}
			return pace.Sleep(ctx, 500*time.Millisecond) // what was written last is on its way
		},
	}
}

// decoded is the sum of each picture and piece of sound that ffmpeg makes of an input.
func decoded(t *testing.T, kind string, args ...string) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	args = append(append([]string{"-v", "error", "-nostdin"}, args...), "-map", "0:"+kind, "-fps_mode", "passthrough", "-f", "framemd5", "-")
	cmd := exec.CommandContext(ctx, need(t, "ffmpeg"), args...)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("ffmpeg %v: %v %s", args, err, &complaints)
	}
	var sums []string
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "#") {
			sums = append(sums, strings.TrimSpace(line[strings.LastIndex(line, ",")+1:]))
		}
	}
	return sums
}

// TestPlayers: ffmpeg decodes the pictures and the sound that were played to it, by TCP
// each of them.
func TestPlayers(t *testing.T) {
	for name, codecs := range map[string]string{
		"H.264 and AAC":  "-c:v libx264 -preset ultrafast -bf 2 -pix_fmt yuv420p -c:a aac",
		"H.265 and Opus": "-c:v libx265 -preset ultrafast -x265-params log-level=none -pix_fmt yuv420p -tag:v hvc1 -c:a libopus",
		"VP9 and AC-3":   "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -c:a ac3",
		"H.264 and MP3":  "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a libmp3lame",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClip(t, codecs)
			addr := serve(t, c.config(false))
			for _, kind := range []string{"v", "a"} {
				want := decoded(t, kind, "-i", c.path)
				got := decoded(t, kind, "-rtsp_transport", "tcp", "-allowed_media_types", map[string]string{"v": "video", "a": "audio"}[kind], "-i", "rtsp://"+addr+"/live/cam1")
				if kind == "a" { // where a decoder begins is not where the file's edit list begins
					if len(got) < len(want)-3 {
						t.Errorf("%d pieces of sound of %d", len(got), len(want))
					}
					continue
				}
				// ffmpeg leaves out the pictures that it has reordered when a session ends.
				if len(got) > len(want) || len(got) < len(want)-3 || !slices.Equal(got, want[:len(got)]) {
					t.Errorf("%d pictures, want the %d that were played", len(got), len(want))
				}
			}
		})
	}
}

// TestPlayersByUDP: most of what a camera sends arrives by UDP; Pull reads it by TCP, all
// of it, with AV1, too.
func TestPlayersByUDP(t *testing.T) {
	c := newClip(t, "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a aac")
	config := c.config(true)
	config.UDP = evenPort(t)
	if got := decoded(t, "v", "-rtsp_transport", "udp", "-i", "rtsp://"+serve(t, config)+"/live/cam1"); len(got) < 45 {
		t.Errorf("%d pictures of 75", len(got))
	}
}

func TestPullFromServer(t *testing.T) {
	c := newClip(t, "-c:v libaom-av1 -cpu-used 8 -usage realtime -c:a libopus")
	u, err := url.Parse("rtsp://" + serve(t, c.config(true)) + "/live/cam1")
	if err != nil {
		t.Fatal(err)
	}
	d, err := Pull(t.Context(), u, PullConfig{Transport: "tcp"})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	var n [2]int
	for {
		p, err := d.ReadPacket(av.Heap{})
		if errors.Is(err, av.ErrTracks) {
			continue
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.Log(err)
			}
			break
		}
		n[p.Track]++
	}
	if n[0] < 72 || n[1] < 145 {
		t.Errorf("%v packets of 75 pictures and 151 of sound", n)
	}
}

// TestPlayerGoes: the context of who plays ends when its client goes, and a server that
// ends does not wait for clients.
func TestPlayerGoes(t *testing.T) {
	c := newClip(t, "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a aac")
	began, why := make(chan struct{}, 1), make(chan error, 1)
	config := c.config(true)
	config.Play = func(ctx context.Context, p *Player) error {
		began <- struct{}{}
		for {
			if err := p.Write(ctx, &c.packets[0], 0); err != nil {
				why <- err
				return err
			}
		}
	}
	addr := serve(t, config)
	for _, end := range []string{"client", "stalled client"} {
		cmd := exec.Command(need(t, "ffmpeg"), "-v", "quiet", "-nostdin", "-rtsp_transport", "tcp", "-i", "rtsp://"+addr+"/live/cam1", "-f", "null", "-")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		<-began
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		select {
		case err := <-why:
			t.Log(end, err)
		case <-time.After(20 * time.Second):
			t.Fatal("it is not told that the client has gone")
		}
	}
}

// TestPlayRefused: who cannot play is told so with the status that fits.
func TestPlayRefused(t *testing.T) {
	ffprobe := need(t, "ffprobe")
	publish := func(context.Context, *Publisher) error { return nil }
	play := func(context.Context, *Player) error { return nil }
	for name, test := range map[string]struct {
		config Config
		want   string
	}{
		"not offered": {Config{Publish: publish}, "501"},
		"not there": {Config{Publish: publish, Play: play, Describe: func(context.Context, string) ([]av.Track, error) {
			return nil, &Refused{404, "no such stream"}
		}}, "404"},
		"no codec": {Config{Publish: publish, Play: play, Describe: func(context.Context, string) ([]av.Track, error) {
			return []av.Track{{Kind: av.Audio, Codec: av.EAC3, Timebase: av.Clock90k}}, nil
		}}, "415"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := exec.Command(ffprobe, "-v", "error", "-rtsp_transport", "tcp", "rtsp://"+serve(t, test.config)+"/live/cam1").CombinedOutput()
			if err == nil || !strings.Contains(string(out), test.want) && !(test.want == "415" && strings.Contains(string(out), "4XX")) {
				t.Errorf("%v: %s, want %s", err, out, test.want)
			}
		})
	}
}

// TestGStreamerPlays: rtspsrc gets pictures by TCP and by UDP.
func TestGStreamerPlays(t *testing.T) {
	tool := need(t, "gst-launch-1.0")
	c := newClip(t, "-c:v libx264 -preset ultrafast -bf 2 -pix_fmt yuv420p -c:a aac")
	for _, protocol := range []string{"tcp", "udp"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			config := c.config(true)
			config.UDP = evenPort(t)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			args := "-q rtspsrc protocols=" + protocol + " location=rtsp://" + serve(t, config) + "/live/cam1 ! rtph264depay ! h264parse ! identity eos-after=40 ! fakesink sync=false"
			if out, err := exec.CommandContext(ctx, tool, strings.Fields(args)...).CombinedOutput(); err != nil || bytes.Contains(out, []byte("ERROR")) {
				t.Errorf("%v %s", err, out)
			}
		})
	}
}
