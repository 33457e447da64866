package libav

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/format/libav/libavtest"
	"github.com/cleave-video/cleave/format/mp4"
)

// firstKey returns the first key frame of a file's video.
func firstKey(t *testing.T, name string) (av.Track, []byte) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	d := mp4.New(bytes.NewReader(b), int64(len(b)))
	defer d.Close()
	g := avtest.ReadAll(t, d)[0]
	for _, p := range g.Packets {
		if track := g.Tracks[p.Track]; track.Kind == av.Video && p.Flags.Has(av.Key) {
			return track, p.Data
		}
	}
	t.Fatal("no key frame in", name)
	return av.Track{}, nil
}

// pictureOf has the worker make a picture.
func pictureOf(t *testing.T, track *av.Track, key []byte) image.Image {
	t.Helper()
	head, err := PictureHead(track, len(key))
	if err != nil {
		t.Fatal(err)
	}
	b, err := Picture(t.Context(), libavtest.Need(t), io.MultiReader(bytes.NewReader(head), bytes.NewReader(key)), 16<<20)
	if err != nil {
		t.Fatal(err)
	}
	m, err := jpeg.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// decoded returns the first picture of a file as ffmpeg sees it, in RGBA.
func decoded(t *testing.T, name, matrix string) []byte {
	t.Helper()
	filter := "scale=in_color_matrix=" + matrix + ":flags=accurate_rnd+full_chroma_int+neighbor,format=rgba"
	out, err := exec.Command("ffmpeg", "-v", "error", "-nostdin", "-noautorotate", "-i", name, "-frames:v", "1", "-vf", filter, "-f", "rawvideo", "-").Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// differs is the mean difference of colours.
func differs(m image.Image, want []byte) float64 {
	b := m.Bounds()
	if len(want) != 4*b.Dx()*b.Dy() {
		return 255
	}
	sum, i := 0.0, 0
	for y := range b.Dy() {
		for x := range b.Dx() {
			r, g, bl, _ := m.At(x, y).RGBA()
			for k, v := range []uint32{r, g, bl} {
				d := float64(v>>8) - float64(want[i+k])
				sum += max(d, -d)
			}
			i += 4
		}
	}
	return sum / float64(b.Dx()*b.Dy()*3)
}

// TestPicture: whatever the codec, the sampling, the depth, the range and the matrix, the
// picture has the colours that ffmpeg decodes.
func TestPicture(t *testing.T) {
	libavtest.Need(t)
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is not installed: pictures are not compared")
	}
	for _, c := range []struct{ name, args, matrix string }{
		{"h264 420", "-c:v libx264 -pix_fmt yuv420p", "bt601"},
		{"h264 422", "-c:v libx264 -pix_fmt yuv422p", "bt601"},
		{"h264 444", "-c:v libx264 -pix_fmt yuv444p", "bt601"},
		{"h264 10 bit", "-c:v libx264 -pix_fmt yuv420p10le", "bt601"},
		{"h264 full range", "-c:v libx264 -pix_fmt yuvj420p", "bt601"},
		{"h264 gray", "-c:v libx264 -pix_fmt gray", "bt601"},
		{"h264 rgb", "-c:v libx264rgb -pix_fmt rgb24", "bt601"},
		{"h264 bt709", "-vf scale=out_color_matrix=bt709,format=yuv420p -colorspace bt709 -c:v libx264", "bt709"},
		{"h264 odd", "-vf crop=318:178 -c:v libx264 -pix_fmt yuv420p", "bt601"},
		{"h265", "-c:v libx265 -x265-params log-level=none -pix_fmt yuv420p", "bt601"},
		{"h265 12 bit 422", "-c:v libx265 -x265-params log-level=none -pix_fmt yuv422p12le", "bt601"},
		{"av1", "-c:v libaom-av1 -cpu-used 8 -pix_fmt yuv420p", "bt601"},
		{"vp9", "-c:v libvpx-vp9 -pix_fmt yuv420p", "bt601"},
	} {
		t.Run(c.name, func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "one.mp4")
			args := strings.Fields("-v error -nostdin -f lavfi -i testsrc2=size=320x180:rate=25 -frames:v 1 " + c.args)
			out, err := exec.Command("ffmpeg", append(args, name)...).CombinedOutput()
			switch {
			case bytes.Contains(out, []byte("Unknown encoder")):
				t.Skipf("ffmpeg does not make it: %s", out)
			case err != nil:
				t.Fatalf("%v %s", err, out)
			}
			track, key := firstKey(t, name)
			m := pictureOf(t, &track, key)
			d := differs(m, decoded(t, name, c.matrix))
			t.Logf("%v, colours differ by %.2f of 255 on average", m.Bounds(), d)
			if d > 2 { // what JPEG loses, and how chroma is spread
				t.Error("that is too much")
			}
		})
	}
}

// TestPictureOfMedia: key frames of real files.
func TestPictureOfMedia(t *testing.T) {
	libavtest.Need(t)
	dir := os.Getenv("CLEAVE_MEDIA")
	if dir == "" {
		t.Skip("CLEAVE_MEDIA is not set: real files are left out")
	}
	for name, matrix := range map[string]string{
		"mp4/h264_camera_720p30_gop12.mp4": "bt709", "mp4/hevc_cra_rasl_small.mp4": "bt601", "mp4/h264_nal_length_2.mp4": "bt709", "fmp4/ladder_360.mp4": "bt601",
	} {
		t.Run(name, func(t *testing.T) {
			track, key := firstKey(t, filepath.Join(dir, name))
			m := pictureOf(t, &track, key)
			d := differs(m, decoded(t, filepath.Join(dir, name), matrix))
			t.Logf("%v, colours differ by %.2f of 255 on average", m.Bounds(), d)
			if d > 2 {
				t.Errorf("%v, colours differ by %.2f of 255 on average", m.Bounds(), d)
			}
		})
	}
}

// TestPictureRefused: what is none is an error, soon.
func TestPictureRefused(t *testing.T) {
	path := libavtest.Need(t)
	if _, err := PictureHead(&av.Track{Kind: av.Audio, Codec: av.AAC}, 1); !errors.Is(err, av.ErrUnsupported) {
		t.Errorf("sound: %v", err)
	}
	if _, err := PictureHead(&av.Track{Kind: av.Video, Codec: av.VP9}, 1<<30); !errors.Is(err, av.ErrTooLarge) {
		t.Errorf("a gigabyte: %v", err)
	}
	for name, in := range map[string]string{
		"nothing": "", "text": "a text, but no picture", "a short head": "\x00\x00\x10\x00{", "no codec": "\x00\x00\x00\x24" + `{"codec":"none","config":0,"size":4}` + " abcd",
		"garbage": "\x00\x00\x00\x24" + `{"codec":"h264","config":0,"size":4}` + "abcd", "a file": "\x00\x00\x00\x2a" + `{"codec":"/etc/passwd","config":0,"size":0}`,
	} {
		if _, err := Picture(t.Context(), path, strings.NewReader(in), 1<<20); !errors.Is(err, ErrCrashed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Picture(t.Context(), "/nowhere/cleave-av", strings.NewReader(""), 1); !errors.Is(err, ErrNoWorker) {
		t.Errorf("no worker: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	r, w := io.Pipe()
	defer w.Close()
	go func() { <-ctx.Done(); r.Close() }()
	if _, err := Picture(ctx, path, r, 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("one that waits for ever: %v", err)
	}
}

// TestPictureIsMadeInTheSandbox: while it waits for its input the worker has seccomp's
// filter and may gain no privileges.
func TestPictureIsMadeInTheSandbox(t *testing.T) {
	cmd := exec.Command(libavtest.Need(t), "picture")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { in.Close(); _ = cmd.Wait() }()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
		if err != nil {
			t.Skip(err)
		}
		if bytes.Contains(b, []byte("\nSeccomp:\t2\n")) && bytes.Contains(b, []byte("\nNoNewPrivs:\t1\n")) {
			return
		}
		select {
		case <-tick.C: // it is still being loaded
		case <-deadline:
			t.Fatalf("it is not restricted:\n%s", b)
		}
	}
}

// TestTurn: a turned picture is still one, and says so where readers look.
func TestTurn(t *testing.T) {
	var plain bytes.Buffer
	if err := jpeg.Encode(&plain, image.NewGray(image.Rect(0, 0, 16, 8)), nil); err != nil {
		t.Fatal(err)
	}
	for degrees, want := range map[uint16]byte{90: 6, 180: 3, 270: 8} {
		b := Turn(plain.Bytes(), degrees)
		if _, err := jpeg.Decode(bytes.NewReader(b)); err != nil {
			t.Errorf("%d: %v", degrees, err)
		}
		i := bytes.Index(b, []byte("\x01\x12\x00\x03\x00\x00\x00\x01\x00"))
		if i < 0 || b[i+9] != want || !bytes.Equal(b[:4], []byte{0xff, 0xd8, 0xff, 0xe1}) || int(b[4])<<8|int(b[5]) != len(b)-plain.Len()-2 {
			t.Errorf("%d: % x", degrees, b[:40])
		}
	}
	if !bytes.Equal(Turn(plain.Bytes(), 0), plain.Bytes()) || len(Turn(nil, 90)) != 0 {
		t.Error("one that is not to be turned was changed")
	}
}
