package server

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cleave-video/cleave/live"
)

// testPicture is what publishers of the tests send: a GOP of one second, in real time.
const testPicture = "-v error -nostdin -re -f lavfi -i testsrc2=size=320x180:rate=25 -f lavfi -i sine=sample_rate=48000 " +
	"-c:v libx264 -preset ultrafast -bf 2 -g 25 -keyint_min 25 -sc_threshold 0 -pix_fmt yuv420p -c:a aac "

// publishBy runs a publisher until stop is called.
func publishBy(t *testing.T, program string, args ...string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	var out bytes.Buffer
	cmd.Stderr = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() {
		cancel()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s said: %s", program, out.String())
		}
	}
}

// arrives checks that a stream can be played, and that ffprobe finds in it what was
// published.
func arrives(t *testing.T, s *running, name string, want ...string) {
	t.Helper()
	url := s.http + "/" + name + "/index.m3u8"
	until(t, url, want...)
	until(t, s.http+"/"+name+"/video0/index.m3u8", "-2.m4s")
	decodes(t, url)
	out, err := exec.CommandContext(t.Context(), "ffprobe", "-v", "error", "-show_entries", "stream=codec_name", "-of", "csv=p=0", url).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "h264") || !strings.Contains(string(out), "aac") {
		t.Errorf("ffprobe: %v\n%s", err, out)
	}
}

var h264AndAAC = []string{"CODECS=\"avc1.", "mp4a.40.2", "RESOLUTION=320x180"}

func TestSRTPublishes(t *testing.T) {
	t.Parallel()
	ffmpeg := need(t, "ffmpeg")
	s := startWith(t, Config{Live: live.Config{Target: time.Second}, SRTPassphrase: "correct horse"})
	args := func(name string) []string {
		return append(strings.Fields(testPicture), "-f", "mpegts", "-passphrase", "correct horse", s.srt+"?streamid=publish:"+name+"&pkt_size=1316")
	}
	stop := publishBy(t, ffmpeg, args("live/cam")...)
	defer func() { stop() }()
	arrives(t, s, "live/cam", h264AndAAC...)
	// A second one, and a name that is none, are refused; the first goes on.
	for _, name := range []string{"live/cam", "../cam", "live/index.m3u8"} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		if out, err := exec.CommandContext(ctx, ffmpeg, append([]string{"-t", "5"}, args(name)...)...).CombinedOutput(); err == nil || ctx.Err() != nil {
			t.Errorf("a publisher of %q was let in: %s", name, out)
		}
		cancel()
	}
	if edge := s.http + "/live/cam/index.m3u8"; !strings.Contains(until(t, edge, "avc1"), "avc1") {
		t.Error("the first one's stream is gone")
	}
}

func TestLiveTransmitPublishes(t *testing.T) {
	t.Parallel()
	ffmpeg, transmit := need(t, "ffmpeg"), need(t, "srt-live-transmit")
	s := start(t, live.Config{Target: time.Second})
	src := exec.CommandContext(t.Context(), ffmpeg, append(strings.Fields(testPicture), "-f", "mpegts", "-")...)
	pipe, err := src.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	dst := exec.CommandContext(t.Context(), transmit, "-q", "-chunk:1316", "file://con", s.srt+"?streamid=#!::r=live/cam,m=publish")
	dst.Stdin = pipe
	for _, c := range []*exec.Cmd{src, dst} {
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			_ = c.Process.Kill()
			_ = c.Wait()
		}()
	}
	arrives(t, s, "live/cam", h264AndAAC...)
}

// A port that is taken is an error that names its flag; off leaves it out.
func TestPortTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	u, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	even, _, _ := strings.Cut(u.LocalAddr().String(), ":")
	free, udp := "127.0.0.1:0", u.LocalAddr().(*net.UDPAddr).Port
	if udp%2 != 0 { // then it is the port of RTCP
		udp--
	}
	rtp := fmt.Sprintf("%s:%d", even, udp)
	for flag, c := range map[string]Config{
		"--http":     {HTTP: l.Addr().String(), RTMP: free, SRT: free, RTSP: Off},
		"--rtmp":     {HTTP: free, RTMP: l.Addr().String(), SRT: Off, RTSP: Off},
		"--srt":      {HTTP: free, RTMP: Off, SRT: u.LocalAddr().String(), RTSP: Off},
		"--rtsp":     {HTTP: free, RTMP: Off, SRT: Off, RTSP: l.Addr().String(), RTP: Off},
		"--rtsp-udp": {HTTP: free, RTMP: Off, SRT: Off, RTSP: free, RTP: rtp},
	} {
		c.Data, c.Admin = t.TempDir(), Off
		err := Run(t.Context(), c)
		if err == nil || !strings.Contains(err.Error(), flag+" 127.0.0.1:") {
			t.Errorf("%s: %v", flag, err)
		}
	}
}

// What is put over HTTP is played; a second body under the name is refused before
// it is read.
func TestHTTPPublishes(t *testing.T) {
	t.Parallel()
	ffmpeg := need(t, "ffmpeg")
	for suffix, format := range map[string][]string{
		".ts":  {"-f", "mpegts", "-method", "PUT"},
		".flv": {"-f", "flv"},
		".mp4": {"-f", "mp4", "-movflags", "empty_moov+frag_keyframe+default_base_moof", "-method", "PUT"},
	} {
		t.Run(suffix, func(t *testing.T) {
			t.Parallel()
			s := start(t, live.Config{Target: time.Second})
			stop := publishBy(t, ffmpeg, append(append(strings.Fields(testPicture), format...), s.http+"/live/cam"+suffix)...)
			defer stop()
			arrives(t, s, "live/cam", h264AndAAC...)
			for path, want := range map[string]int{"/live/cam.ts": http.StatusConflict, "/live/frames.ts": http.StatusBadRequest, "/live/%2e%2e/x.flv": http.StatusBadRequest, "/a%00b.ts": http.StatusBadRequest} {
				res, err := http.Post(s.http+path, "video/mp2t", strings.NewReader("x"))
				if err != nil {
					t.Fatal(err)
				}
				res.Body.Close()
				if res.StatusCode != want {
					t.Errorf("%s: %d, want %d", path, res.StatusCode, want)
				}
			}
		})
	}
}

// A file that is put ends with its whole length in the playlist, however fast it
// was sent.
func TestHTTPFile(t *testing.T) {
	t.Parallel()
	ffmpeg := need(t, "ffmpeg")
	curl := need(t, "curl")
	file := filepath.Join(t.TempDir(), "a.ts")
	args := append([]string{"-t", "20"}, strings.Fields(strings.Replace(testPicture, "-re", "", 1))...)
	if out, err := exec.CommandContext(t.Context(), ffmpeg, append(args, "-t", "20", file)...).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	s := start(t, live.Config{Target: time.Second, Grace: time.Second, Memory: 16 << 20})
	for name, cmd := range map[string][]string{
		"curl":   {curl, "-sS", "-f", "-T", file, s.http + "/live/curl.ts"},
		"ffmpeg": {ffmpeg, "-v", "error", "-i", file, "-c", "copy", "-f", "mpegts", "-method", "PUT", s.http + "/live/ffmpeg.ts"}, // hangs up at once
	} {
		if out, err := exec.CommandContext(t.Context(), cmd[0], cmd[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v %s", name, err, out)
		}
		list := until(t, s.http+"/live/"+name+"/video0/index.m3u8", "#EXT-X-ENDLIST")
		if n := strings.Count(list, "#EXTINF:1.0"); n != 20 {
			t.Errorf("%s: %d segments:\n%s", name, n, list)
		}
	}
}

func TestRTSPPublishes(t *testing.T) {
	t.Parallel()
	ffmpeg := need(t, "ffmpeg")
	s := start(t, live.Config{Target: time.Second})
	args := func(name string) []string {
		return append(strings.Fields(testPicture), "-f", "rtsp", "-rtsp_transport", "tcp", s.rtsp+"/"+name)
	}
	defer publishBy(t, ffmpeg, args("live/cam")...)()
	arrives(t, s, "live/cam", h264AndAAC...)
	for _, name := range []string{"live/cam", "live/index.m3u8"} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		if out, err := exec.CommandContext(ctx, ffmpeg, append([]string{"-t", "5"}, args(name)...)...).CombinedOutput(); err == nil || ctx.Err() != nil {
			t.Errorf("a publisher of %q was let in: %s", name, out)
		}
		cancel()
	}
}
