// Package fidelity shows that what was cut is what went in: ffprobe's packets and
// ffmpeg's pictures of the output are compared with those of the source.
package fidelity

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/cleave-video/cleave/chunk"
	"github.com/cleave-video/cleave/cut"
)

// Case is one file cut in one way.
type Case struct {
	File      string
	Strategy  string
	Container cut.Container
}

// Result is what became of it.
type Result struct {
	Tracks []string // one line for each track compared
	Notes  []string // why something is not compared, or differs for a known reason
	Faults []string // differences without a reason
}

func (r *Result) fault(format string, args ...any) {
	r.Faults = append(r.Faults, fmt.Sprintf(format, args...))
}
func (r *Result) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// packet is one line of ffprobe.
type packet struct {
	pts, dts int64 // microseconds, exact enough: ffprobe prints six digits
	key      bool
}

type track struct {
	kind, codec string
	packets     []packet
}

// Check cuts the case's file into dir and compares. The error is of the tools or
// of the cut itself.
func Check(ctx context.Context, c Case, dir string) (*Result, error) {
	policy, err := chunk.Parse(c.Strategy, chunk.Options{MaxBytes: 1 << 20})
	if err != nil {
		return nil, err
	}
	out := filepath.Join(dir, "out")
	report, err := cut.Run(ctx, cut.Config{Input: c.File, Dir: out, Policy: policy, Container: c.Container, Force: true})
	if err != nil {
		return nil, err
	}
	r := &Result{}
	if report.Dropped > 0 {
		r.note("%d packets before the first key frame are dropped", report.Dropped)
	}
	r.Notes = append(r.Notes, report.LeftOut...)
	source, err := probe(ctx, c.File)
	if err != nil {
		return nil, err
	}
	folders, err := filepath.Glob(filepath.Join(out, "*", "index.m3u8"))
	if err != nil {
		return nil, err
	}
	slices.Sort(folders)
	used := map[int]bool{}
	for _, list := range folders {
		joined, inits, err := join(filepath.Dir(list), dir)
		if err != nil {
			return nil, err
		}
		if inits > 1 {
			r.note("%s: %d configurations, compared by chunk only", filepath.Base(filepath.Dir(list)), inits)
			continue
		}
		got, err := probe(ctx, joined)
		if err != nil {
			r.fault("%s: %v", list, err)
			continue
		}
		for i := range got {
			compare(r, source, &got[i], used, report.Dropped > 0)
		}
		if strings.HasPrefix(filepath.Base(filepath.Dir(list)), "video0") && report.Dropped == 0 {
			if err := pictures(ctx, r, c.File, joined); err != nil {
				return nil, err
			}
		}
	}
	return r, nil
}

// join concatenates a rendition's files as a player would load them.
func join(folder, dir string) (path string, inits int, err error) {
	headers, _ := filepath.Glob(filepath.Join(folder, "init*.mp4"))
	segments, _ := filepath.Glob(filepath.Join(folder, "0*"))
	slices.Sort(segments)
	ext := ".ts"
	if len(headers) > 0 {
		ext = ".mp4"
	}
	path = filepath.Join(dir, filepath.Base(folder)+ext)
	f, err := os.Create(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	for _, name := range append(headers[:min(1, len(headers))], segments...) {
		in, err := os.Open(name)
		if err != nil {
			return "", 0, err
		}
		_, err = io.Copy(f, in)
		in.Close()
		if err != nil {
			return "", 0, err
		}
	}
	return path, len(headers), nil
}

// probe returns the tracks that ffprobe sees.
func probe(ctx context.Context, file string) ([]track, error) {
	var out struct {
		Streams []struct {
			Index     int    `json:"index"`
			CodecType string `json:"codec_type"`
			CodecName string `json:"codec_name"`
		} `json:"streams"`
		Packets []struct {
			Stream int    `json:"stream_index"`
			PTS    string `json:"pts_time"`
			DTS    string `json:"dts_time"`
			Flags  string `json:"flags"`
		} `json:"packets"`
	}
	// -ignore_editlist: an edit list moves times by a constant, and drops packets
	// that a cut keeps.
	args := []string{"-v", "error", "-show_entries", "stream=index,codec_type,codec_name:packet=stream_index,pts_time,dts_time,flags", "-of", "json"}
	b, err := exec.CommandContext(ctx, "ffprobe", append(editless(file, args), file)...).Output()
	if err != nil {
		return nil, fmt.Errorf("ffprobe %s: %w", file, err)
	}
	if err := json.Unmarshal(b, &out); err != nil {
		return nil, err
	}
	tracks := make([]track, len(out.Streams))
	for i, s := range out.Streams {
		tracks[i] = track{kind: s.CodecType, codec: s.CodecName}
	}
	for _, p := range out.Packets {
		if p.Stream < len(tracks) {
			tracks[p.Stream].packets = append(tracks[p.Stream].packets, packet{micros(p.PTS), micros(p.DTS), strings.Contains(p.Flags, "K")})
		}
	}
	return tracks, nil
}

func editless(file string, args []string) []string {
	switch filepath.Ext(file) {
	case ".mp4", ".mov":
		return append(args, "-ignore_editlist", "1")
	}
	return args
}

const unknown = int64(-1) << 62

func micros(s string) int64 {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return unknown
	}
	if v < 0 {
		return int64(v*1e6 - .5)
	}
	return int64(v*1e6 + .5)
}

// compare finds got's source and compares packet by packet. In TS, times are of
// 90 kHz: 12 microseconds are a tick, rounded once on each side.
func compare(r *Result, source []track, got *track, used map[int]bool, dropped bool) {
	const slack = 25
	for i := range source {
		s := &source[i]
		if used[i] || s.kind != got.kind || s.codec != got.codec {
			continue
		}
		used[i] = true
		want := s.packets
		if dropped && len(want) > len(got.packets) {
			want = want[len(want)-len(got.packets):]
		}
		if len(want) != len(got.packets) {
			r.fault("%s %s: %d packets, source %d", s.kind, s.codec, len(got.packets), len(want))
			return
		}
		if len(want) == 0 {
			return
		}
		offset, derived := got.packets[0].pts-want[0].pts, 0
		dts := int64(0)
		for k := range want {
			if want[k].pts == unknown || want[k].dts == unknown {
				derived++
				continue
			}
			if dts == 0 {
				dts = got.packets[k].dts - want[k].dts
			}
			if d := got.packets[k].pts - want[k].pts - offset; d > slack || d < -slack {
				r.fault("%s %s: packet %d of %d: PTS is %d us off", s.kind, s.codec, k, len(want), d)
				return
			}
			if d := got.packets[k].dts - want[k].dts - dts; d > slack || d < -slack {
				r.fault("%s %s: packet %d of %d: DTS is %d us off", s.kind, s.codec, k, len(want), d)
				return
			}
		}
		line := fmt.Sprintf("%s %s %d packets", s.kind, s.codec, len(want))
		if derived > 0 {
			line += fmt.Sprintf(", %d without a time in the source", derived)
		}
		r.Tracks = append(r.Tracks, line)
		return
	}
	if got.kind == "video" || got.kind == "audio" {
		r.fault("%s %s is not in the source", got.kind, got.codec)
	}
}

// pictures compares the decoded pictures of the first video track.
func pictures(ctx context.Context, r *Result, source, output string) error {
	want, err := frames(ctx, source)
	if err != nil {
		return err
	}
	got, err := frames(ctx, output)
	if err != nil {
		return err
	}
	if len(want) == 0 {
		r.note("no picture of the source can be decoded by ffmpeg")
		return nil
	}
	for i := range min(len(want), len(got)) {
		if want[i] != got[i] {
			r.fault("picture %d differs (of %d and %d)", i, len(want), len(got))
			return nil
		}
	}
	if len(want) != len(got) {
		r.fault("%d pictures, source %d", len(got), len(want))
	}
	return nil
}

// frames returns the MD5 of each decoded picture; nothing is dropped or doubled.
func frames(ctx context.Context, file string) ([]string, error) {
	args := append(editless(file, []string{"-v", "quiet", "-nostdin"}), "-i", file, "-map", "0:v:0", "-fps_mode", "passthrough", "-f", "framemd5", "-")
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, "ffmpeg", args...)
	cmd.Stdout = &out
	if err := cmd.Run(); err != nil && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	var sums []string
	for line := range strings.Lines(out.String()) {
		if fields := strings.Split(strings.TrimSpace(line), ","); len(fields) == 6 && line[0] != '#' {
			sums = append(sums, strings.TrimSpace(fields[5]))
		}
	}
	return sums, nil
}
