package interop

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// seconds is how long a file is: longer than a row takes. Only files of few seconds are
// encoded; they are then repeated, so that publishing costs next to nothing.
const (
	seconds = 240
	encoded = 20
)

// Codec is what a stream is made of.
type Codec struct {
	Name         string
	Video, Audio string // as ffmpeg calls them; empty: none
	Reordered    bool   // there are B-frames
	Type         string // what Media Source Extensions are asked for
	encode       string // options of ffmpeg
	sound        string
}

const (
	x264   = "-c:v libx264 -preset ultrafast -g 25 -keyint_min 25 -sc_threshold 0 -pix_fmt yuv420p "
	svtAV1 = "-c:v libsvtav1 -preset 12 -g 25 -svtav1-params lp=1 -pix_fmt yuv420p "
	x265   = "-c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=25:min-keyint=25:scenecut=0:open-gop=0 -pix_fmt yuv420p -tag:v hvc1 "
	vp9    = "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 25 -b:v 300k -pix_fmt yuv420p "
	aac    = "-c:a aac -b:a 96k -ac 2"
	opus   = "-c:a libopus -b:a 64k -ac 2"
)

// Codecs returns every combination that is run. All of them have pictures of 320x180, 25
// a second, a key frame each second, unless they have none.
func Codecs() []Codec {
	const avc, heard = `video/mp4; codecs="avc1.42c00d"`, "48000"
	return []Codec{
		{Name: "H.264 + AAC", Video: "h264", Audio: "aac", Type: avc, encode: x264 + "-bf 0 " + aac, sound: heard},
		{Name: "H.264 with B-frames + AAC", Video: "h264", Audio: "aac", Reordered: true, Type: avc, encode: x264 + "-bf 2 " + aac, sound: heard},
		{Name: "H.264 alone", Video: "h264", Type: avc, encode: x264 + "-bf 0"},
		{Name: "AAC alone", Audio: "aac", Type: `audio/mp4; codecs="mp4a.40.2"`, encode: aac, sound: heard},
		{Name: "H.264 + MP3", Video: "h264", Audio: "mp3", Type: `audio/mp4; codecs="mp4a.6b"`, encode: x264 + "-bf 0 -c:a libmp3lame -b:a 96k", sound: "44100"},
		{Name: "H.264 + Opus", Video: "h264", Audio: "opus", Type: `audio/mp4; codecs="opus"`, encode: x264 + "-bf 0 " + opus, sound: heard},
		{Name: "H.264 + AC-3", Video: "h264", Audio: "ac3", Type: `audio/mp4; codecs="ac-3"`, encode: x264 + "-bf 0 -c:a ac3 -b:a 96k", sound: heard},
		{Name: "H.265 + AAC", Video: "hevc", Audio: "aac", Type: `video/mp4; codecs="hvc1.1.6.L60.B0"`, encode: x265 + aac, sound: heard},
		{Name: "AV1 + Opus", Video: "av1", Audio: "opus", Type: `video/mp4; codecs="av01.0.00M.08"`, encode: svtAV1 + opus, sound: heard},
		{Name: "VP9 + Opus", Video: "vp9", Audio: "opus", Type: `video/mp4; codecs="vp09.00.11.08"`, encode: vp9 + opus, sound: heard},
	}
}

// file makes the file of c below dir with ffmpeg, and returns its path.
func (c Codec) file(ctx context.Context, dir string) (string, error) {
	name := strings.NewReplacer(" + ", "-", " ", "-", ".", "").Replace(strings.ToLower(c.Name))
	short, long := filepath.Join(dir, name+"-short.mp4"), filepath.Join(dir, name+".mp4")
	args := "-y -v error -nostdin "
	if c.Video != "" {
		args += "-f lavfi -i testsrc2=size=320x180:rate=25 "
	}
	if c.Audio != "" {
		args += "-f lavfi -i sine=frequency=440:sample_rate=" + c.sound + " "
	}
	args += fmt.Sprintf("-t %d %s -strict experimental %s", encoded, c.encode, short)
	for _, a := range []string{args, fmt.Sprintf("-y -v error -nostdin -stream_loop %d -i %s -c copy -strict experimental %s", seconds/encoded-1, short, long)} {
		if out, err := exec.CommandContext(ctx, "ffmpeg", strings.Fields(a)...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("interop: %s: ffmpeg: %w\n%s", c.Name, err, out)
		}
	}
	return long, nil
}
