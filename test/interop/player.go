package interop

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// What a player must have shown: about two seconds.
const (
	wantPictures = 45 // of 25 a second
	wantSounds   = 55 // frames of sound: of 20 to 32 ms each
	wantSeconds  = 1.8
)

// byFFmpeg decodes two seconds.
func byFFmpeg(ctx context.Context, v *view, url string) error {
	p := program(ctx, "ffmpeg", decode(url)...)
	return decoded(p, v.codec)
}

// decode are ffmpeg's arguments to decode two seconds and to print a line for each
// picture and each frame of sound.
func decode(input string) []string {
	return []string{"-v", "error", "-nostdin", "-i", input, "-map", "0:v?", "-map", "0:a?", "-t", "2", "-f", "framecrc", "-"}
}

// decoded runs an ffmpeg and counts what it decoded.
func decoded(p *process, c Codec) error {
	out, err := p.run()
	var n [2]int
	for line := range strings.Lines(out) {
		if i, _, ok := strings.Cut(line, ","); ok && (i == "0" || i == "1") {
			n[i[0]-'0']++
		}
	}
	pictures, sounds := n[0], n[1]
	if c.Video == "" {
		pictures, sounds = 0, n[0]
	}
	if err := failure(err, rounded.ReplaceAllString(p.stderr.String(), "")); err != nil {
		return fmt.Errorf("%d pictures, %d frames of sound: %w", pictures, sounds, err)
	}
	return enough(c, pictures, sounds)
}

// rounded is what ffmpeg says of the times of its own output, which it rounds.
var rounded = regexp.MustCompile(`(?m)^.*dts to muxer in stream.*\n(\s*Last message repeated.*\n)?`)

func enough(c Codec, pictures, sounds int) error {
	if c.Video != "" && pictures < wantPictures || c.Audio != "" && sounds < wantSounds {
		return fmt.Errorf("%d pictures and %d frames of sound were decoded in two seconds", pictures, sounds)
	}
	return nil
}

// byTransmit has srt-live-transmit read, and ffmpeg decode what it writes.
func byTransmit(ctx context.Context, v *view, url string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	t := program(ctx, "srt-live-transmit", "-q", "-chunk:1316", url, "file://con")
	t.cmd.Stdout = w
	err = t.cmd.Start()
	w.Close()
	if err != nil {
		return err
	}
	p := program(ctx, "ffmpeg", decode("pipe:0")...)
	p.cmd.Stdin = r
	if err = decoded(p, v.codec); err != nil {
		err = failure(err, t.stderr.String())
	}
	cancel()
	_ = t.cmd.Wait() // it was killed
	return err
}

// byMPV plays until enough was shown, as its status line says.
func byMPV(ctx context.Context, v *view, url string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p := program(ctx, "mpv", "--no-config", "--no-ytdl", "--vo=null", "--ao=null", "--msg-level=all=error,statusline=status",
		"--term-status-msg=@${estimated-frame-number} ${=audio-pts}@\n", url)
	lines, ended, err := p.lines()
	if err != nil {
		return err
	}
	frames, first, last := 0, -1.0, -1.0
	var complaints strings.Builder
	for line := range lines {
		m := status.FindStringSubmatch(line)
		if m == nil {
			if !besides.MatchString(line) {
				complaints.WriteString(control.ReplaceAllString(line, "") + "\n")
			}
			continue
		}
		if n, err := strconv.Atoi(m[1]); err == nil {
			frames = n
		}
		if at, err := strconv.ParseFloat(m[2], 64); err == nil {
			if first < 0 {
				first = at
			}
			last = at
		}
		if (v.codec.Video == "" || frames >= wantPictures) && (v.codec.Audio == "" || last-first >= wantSeconds) {
			cancel()
			<-ended
			return failure(nil, complaints.String())
		}
	}
	return fmt.Errorf("%d pictures, %.1f s of sound: %w", frames, last-first, failure(cmp.Or(<-ended, errEnd), complaints.String()))
}

var (
	status  = regexp.MustCompile(`@(\S+) (\S*)@`)
	control = regexp.MustCompile(`\x1b\[[0-9;]*[A-Za-z]`)
	// besides is what libavformat says of a header that it reads again, and of the desktop
	// that is not there.
	besides = regexp.MustCompile(`Found duplicated MOOV|^\s*$|^(\x1b\[[0-9;]*[A-Za-z])*$`)
	errEnd  = errors.New("it ended")
)

// byVLC plays until enough was shown, as its remote control says.
func byVLC(ctx context.Context, v *view, url string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p := program(ctx, "vlc", "-I", "oldrc", "--rc-fake-tty", "--no-color", "--verbose", "0", "--no-skip-frames", "--vout", "vdummy", "--aout", "adummy", url)
	if v.codec.Audio == "ac3" { // its own decoder leaves it to a sound card
		p.cmd.Args = append(p.cmd.Args, "--codec=avcodec")
	}
	p.asNobody(v.home)
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return err
	}
	lines, ended, err := p.lines()
	if err != nil {
		return err
	}
	go func() {
		for tick := time.NewTicker(300 * time.Millisecond); ctx.Err() == nil; <-tick.C {
			if _, err := io.WriteString(stdin, "stats\n"); err != nil {
				return
			}
		}
	}()
	pictures, sounds := 0, 0
	var complaints strings.Builder
	for line := range lines {
		m := statistic.FindStringSubmatch(line)
		if m == nil {
			if complaint.MatchString(line) && !surroundings.MatchString(line) {
				complaints.WriteString(line + "\n")
			}
			continue
		}
		n, _ := strconv.Atoi(m[2]) // digits
		if m[1] == "frames displayed" {
			pictures = n
		} else {
			sounds = n
		}
		if (v.codec.Video == "" || pictures >= wantPictures) && (v.codec.Audio == "" || sounds >= wantSounds) {
			cancel()
			<-ended
			return failure(nil, complaints.String())
		}
	}
	return fmt.Errorf("%d pictures, %d pieces of sound: %w", pictures, sounds, failure(cmp.Or(<-ended, errEnd), complaints.String()))
}

var (
	statistic = regexp.MustCompile(`(frames displayed|buffers played)\s*:\s*(\d+)`)
	complaint = regexp.MustCompile(`error|\[\w+ @ 0x`) // of VLC, of libavcodec
	// surroundings is what VLC says of the machine: there is no desktop, and it is slow, so
	// that clocks are set anew and pictures wait for room.
	surroundings = regexp.MustCompile(`dbus|main interface error|main libvlc error|is called too late|buffer deadlock prevented|no error`)
)
