package libav

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/codec"
	"github.com/cleave-video/cleave/codec/h264"
	"github.com/cleave-video/cleave/format/libav/libavtest"
	"github.com/cleave-video/cleave/format/mp4"
	"github.com/cleave-video/cleave/internal/nal"
)

// video returns the packets of a file's video.
func video(t *testing.T, name string) (av.Track, []av.Packet) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	d := mp4.New(bytes.NewReader(b), int64(len(b)))
	defer d.Close()
	g := avtest.ReadAll(t, d)[0]
	var track av.Track
	var list []av.Packet
	for _, p := range g.Packets {
		if g.Tracks[p.Track].Kind == av.Video {
			track, list = g.Tracks[p.Track], append(list, p)
		}
	}
	return track, list
}

// TestEncode: each picture of the source is there, with its time, and nothing else; key
// frames are where the source has them.
func TestEncode(t *testing.T) {
	path := libavtest.Need(t)
	for _, name := range []string{"last.mp4", "hevc.mp4"} {
		track, list := video(t, "../mp4/testdata/"+name)
		job := &EncodeJob{Track: &track, Packets: list, Height: 48, Bitrate: 200_000, Rate: av.Rational{Num: 25, Den: 1}}
		config, packets, repeated, err := Encode(t.Context(), path, job)
		if err != nil || repeated != 0 {
			t.Fatal(name, repeated, err)
		}
		checkEncoded(t, &track, list, config, packets)
		again, _, _, err := Encode(t.Context(), path, job)
		if err != nil || !bytes.Equal(config, again) {
			t.Errorf("%s: another record, %v", name, err)
		}
		// The second half stands on the first.
		half := *job
		half.Before = len(list) / 2
		config, packets, _, err = Encode(t.Context(), path, &half)
		if err != nil {
			t.Fatal(name, err)
		}
		checkEncoded(t, &track, list[half.Before:], config, packets)
	}
}

func checkEncoded(t *testing.T, source *av.Track, list []av.Packet, config []byte, packets []av.Packet) {
	t.Helper()
	info, err := codec.Describe(&av.Track{Kind: av.Video, Codec: av.H264, Timebase: source.Timebase, Config: config})
	if err != nil || info.Height != 48 || info.Width%2 != 0 {
		t.Fatalf("%+v %v", info, err)
	}
	var dts, pts []int64
	keys := map[int64]bool{}
	for i := range list {
		dts, pts = append(dts, list[i].DTS), append(pts, list[i].PTS)
		keys[list[i].PTS] = list[i].Flags&av.Key != 0
	}
	slices.Sort(pts)
	keys[pts[0]] = true
	if len(packets) != len(list) {
		t.Fatalf("%d pictures, want %d", len(packets), len(list))
	}
	for i, p := range packets {
		if p.DTS != dts[i] || p.PTS != pts[i] || p.PTS < p.DTS || (p.Flags&av.Key != 0) != keys[p.PTS] {
			t.Errorf("%d: dts %d pts %d key %v; want %d %d %v", i, p.DTS, p.PTS, p.Flags, dts[i], pts[i], keys[p.PTS])
		}
	}
}

// TestEncodeDamaged: what cannot be decoded is the picture before it again, so that times
// stay; what has no picture at all is refused.
func TestEncodeDamaged(t *testing.T) {
	path := libavtest.Need(t)
	track, list := video(t, "../mp4/testdata/last.mp4")
	list = slices.Clone(list)
	for i := 1; i < len(list); i++ {
		if list[i].Flags&av.Key == 0 {
			list[i].Data = bytes.Repeat([]byte{0xff}, len(list[i].Data))
		}
	}
	job := &EncodeJob{Track: &track, Packets: list, Height: 48, Bitrate: 200_000, Rate: av.Rational{Num: 25, Den: 1}}
	config, packets, repeated, err := Encode(t.Context(), path, job)
	if err != nil || repeated == 0 {
		t.Fatal(repeated, err)
	}
	checkEncoded(t, &track, list, config, packets)
	for i := range list {
		list[i].Data = []byte{1, 2, 3}
	}
	if _, _, _, err := Encode(t.Context(), path, job); !errors.Is(err, ErrRefused) {
		t.Error(err)
	}
	track.Codec = av.AAC
	if _, _, _, err := Encode(t.Context(), path, job); !errors.Is(err, av.ErrUnsupported) {
		t.Error(err)
	}
}

// TestEncodeFails: however a worker fails, the error says how, and nothing is left.
func TestEncodeFails(t *testing.T) {
	track, list := video(t, "../mp4/testdata/last.mp4")
	job := &EncodeJob{Track: &track, Packets: list, Height: 48, Bitrate: 200_000, Rate: av.Rational{Num: 25, Den: 1}}
	script := func(body string) string {
		path := filepath.Join(t.TempDir(), "cleave-av")
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, test := range map[string]struct {
		path string
		want error
	}{
		"none":     {filepath.Join(t.TempDir(), "none"), ErrNoWorker},
		"crash":    {script("kill -SEGV $$"), ErrCrashed},
		"silent":   {script("exit 0"), ErrCrashed},
		"refuses":  {script("echo cleave-av: no >&2; exit 1"), ErrRefused},
		"nonsense": {script("cat >/dev/null; echo nonsense"), ErrCrashed},
		"too much": {script("cat /dev/zero"), av.ErrTooLarge},
	} {
		if _, _, _, err := Encode(t.Context(), test.path, job); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, _, err := Encode(ctx, script("exec sleep 60"), job); !errors.Is(err, context.DeadlineExceeded) {
		t.Error("hangs: ", err)
	}
	if err := CheckEncoder(t.Context(), script("echo cleave-av: no libx264 >&2; exit 1")); !errors.Is(err, ErrNoWorker) || !strings.Contains(err.Error(), "libx264") {
		t.Error(err)
	}
}

// TestEncodeNice: a worker stands back behind the server, however nice that is itself.
func TestEncodeNice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cleave-av")
	// It is fed when it stands back.
	if err := os.WriteFile(path, []byte("#!/bin/sh\ncat >/dev/null; nice >&2; exit 1"), 0o755); err != nil {
		t.Fatal(err)
	}
	track, list := video(t, "../mp4/testdata/last.mp4")
	job := &EncodeJob{Track: &track, Packets: list, Height: 48, Bitrate: 200_000, Rate: av.Rational{Num: 25, Den: 1}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // which ends with the goroutine: it is not made less nice again
		kernel, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
		if err != nil {
			t.Error(err)
			return
		}
		own := min(20-kernel+3, 19)
		if err := unix.Setpriority(unix.PRIO_PROCESS, 0, own); err != nil {
			t.Error(err)
			return
		}
		_, _, _, err = Encode(t.Context(), path, job)
		if want := strconv.Itoa(min(own+encodeNice, 19)); !errors.Is(err, ErrRefused) || !strings.HasSuffix(err.Error(), ": "+want) {
			t.Errorf("server %d, worker %v, want %s", own, err, want)
		}
	}()
	<-done
}

// TestEncodeSandbox: the encoder works behind the same restrictions as all workers.
func TestEncodeSandbox(t *testing.T) {
	if err := CheckEncoder(t.Context(), libavtest.Need(t)); err != nil {
		t.Error(err)
	}
}

// TestEncodeMedia: of real files every picture comes out at its time, whatever order,
// depth, sampling and size they have.
func TestEncodeMedia(t *testing.T) {
	path := libavtest.Need(t)
	media := os.Getenv("CLEAVE_MEDIA")
	if media == "" {
		t.Skip("CLEAVE_MEDIA is not set: real files are left out")
	}
	for _, name := range []string{
		"fmp4/320x240_bframes_60fps.mp4", "fmp4/cmaf_camera_1080p25.mp4", "mp4/h264_1080p_6min_gop8s.mp4", "mp4/h264_4k60_phone_vfr.mp4",
		"mp4/h264_bframes_short_irregular_gop.mp4", "mp4/h264_bpyramid_gop30.mp4", "mp4/h264_nal_length_2.mp4", "mp4/h264_nonref_b.mp4",
		"mp4/h264_open_gop_recovery_point.mp4", "mp4/h264_vfr_phone_1080p.mp4", "mp4/h264_vfr_slowmo_bframes.mp4", "mp4/hevc_cra_rasl_small.mp4",
		"mp4/hevc_open_gop_cra_editlist.mp4",
	} {
		t.Run(name, func(t *testing.T) {
			track, list := video(t, filepath.Join(media, name))
			job := &EncodeJob{Track: &track, Packets: list[:min(len(list), 60)], Height: 48, Bitrate: 200_000, Rate: av.Rational{Num: 30, Den: 1}}
			config, packets, n, err := Encode(t.Context(), path, job)
			if err != nil || n != 0 {
				t.Fatalf("%d repeated, %v", n, err)
			}
			checkEncoded(t, &track, job.Packets, config, packets)
		})
	}
}

// TestEncodeLooks: the pictures are those of the source, made smaller, whatever their
// sampling, depth and range, as ffmpeg makes them smaller.
func TestEncodeLooks(t *testing.T) {
	path := libavtest.Need(t)
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is not installed: pictures are not compared")
	}
	for name, args := range map[string]string{
		"420":       "-pix_fmt yuv420p",
		"444":       "-pix_fmt yuv444p",
		"422, 10":   "-pix_fmt yuv422p10le",
		"full":      "-pix_fmt yuvj420p",
		"gray":      "-pix_fmt gray",
		"reordered": "-pix_fmt yuv420p -bf 3 -b_strategy 0",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			source, made := filepath.Join(dir, "source.mp4"), filepath.Join(dir, "made.264")
			run := func(args string) string {
				out, err := exec.Command("ffmpeg", strings.Fields("-hide_banner -nostdin "+args)...).CombinedOutput()
				if err != nil {
					t.Fatalf("%s: %v\n%s", args, err, out)
				}
				return string(out)
			}
			run("-f lavfi -i testsrc2=size=322x182:rate=25 -frames:v 12 -c:v libx264 -preset ultrafast -crf 10 " + args + " " + source)
			track, list := video(t, source)
			job := &EncodeJob{Track: &track, Packets: list, Height: 90, Bitrate: 2_000_000, Rate: av.Rational{Num: 25, Den: 1}}
			config, packets, _, err := Encode(t.Context(), path, job)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(made, byteStream(t, config, packets), 0o600); err != nil {
				t.Fatal(err)
			}
			said := run("-i " + made + " -i " + source + " -lavfi [1]scale=160:90:flags=area,format=yuv420p,settb=1/25,setpts=N[a];[0]format=yuv420p,settb=1/25,setpts=N[b];[b][a]psnr -f null -")
			m := regexp.MustCompile(`PSNR y:([0-9.]+) u:([0-9.]+|inf) v:([0-9.]+|inf)`).FindStringSubmatch(said)
			if m == nil {
				t.Fatal(said)
			}
			for i, least := range []float64{34, 32, 32} {
				if v, err := strconv.ParseFloat(m[1+i], 64); err != nil || v < least {
					t.Errorf("plane %d: %s dB", i, m[1+i])
				}
			}
			t.Log(m[0])
		})
	}
}

// byteStream is what was made as a file that ffmpeg reads.
func byteStream(t *testing.T, config []byte, packets []av.Packet) (b []byte) {
	t.Helper()
	c, err := h264.ParseConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	for _, unit := range slices.Concat(c.SPS, c.PPS) {
		b = append(append(b, 0, 0, 0, 1), unit...)
	}
	for i := range packets {
		for l := nal.Split(packets[i].Data, 4); ; {
			unit, ok := l.Next()
			if !ok {
				break
			}
			b = append(append(b, 0, 0, 0, 1), unit...)
		}
	}
	return b
}
