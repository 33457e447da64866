package fidelity

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cleave-video/cleave/av"
)

// unknown is a time that the container does not have.
const unknown = int64(-1) << 62

// packet is what ffprobe says of one packet.
type packet struct {
	pts, dts int64 // ticks of the track's timebase
	key      bool
	pos      int64  // in the file
	sum      string // of the payload, whatever its framing
}

// track is one stream of a file.
type track struct {
	index         int
	kind, codec   string
	tb            av.Timebase
	width, height int
	rotation      int    // degrees
	extra         string // MD5 of the configuration
	packets       []packet
}

func (t *track) String() string { return t.kind + " " + t.codec }

// data reports whether the track is passed through unread.
func (t *track) data() bool { return t.kind != "video" && t.kind != "audio" }

// media is a file as ffprobe and ffmpeg read it.
type media struct {
	file   string
	format string
	ours   bool // cleave has written it
	tracks []track
}

func (m *media) ts() bool  { return m.format == "mpegts" }
func (m *media) mp4() bool { return strings.HasPrefix(m.format, "mov,") }

// Options of ffprobe and ffmpeg that keep them from changing what a file says.
var (
	// An edit list moves times by a constant, and drops packets that a cut keeps.
	withoutEdits = []string{"-ignore_editlist", "1"}
	// What was cut says by one when its reordered pictures are shown.
	withEdits = []string{"-ignore_editlist", "0"}
	// libavformat takes a jump back for a wrap; raw times of 33 bits have neither.
	rawClock = []string{"-correct_ts_overflow", "0"}
	// Nothing but what the container itself says.
	asWritten = []string{"-fflags", "+nofillin"}
)

// reading are the options for m.
func (m *media) reading() []string {
	switch {
	case m.mp4() && m.ours:
		return withEdits
	case m.mp4():
		return withoutEdits
	case m.ts():
		return rawClock
	}
	return nil
}

// ffprobe is its JSON.
type ffprobe struct {
	Format struct {
		Name string `json:"format_name"`
	} `json:"format"`
	Streams []struct {
		Index    int    `json:"index"`
		Kind     string `json:"codec_type"`
		Codec    string `json:"codec_name"`
		Tag      string `json:"codec_tag_string"`
		Timebase string `json:"time_base"`
		Width    int    `json:"width"`
		Height   int    `json:"height"`
		Extra    string `json:"extradata_hash"`
		SideData []struct {
			Rotation int `json:"rotation"`
		} `json:"side_data_list"`
	} `json:"streams"`
	Packets []struct {
		Stream int    `json:"stream_index"`
		PTS    *int64 `json:"pts"`
		DTS    *int64 `json:"dts"`
		Pos    string `json:"pos"`
		Flags  string `json:"flags"`
		Sum    string `json:"data_hash"`
	} `json:"packets"`
}

func runProbe(ctx context.Context, file string, args ...string) (*ffprobe, error) {
	args = append(args, "-v", "error", "-of", "json", file)
	b, err := exec.CommandContext(ctx, "ffprobe", args...).Output()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	out := &ffprobe{}
	if jerr := json.Unmarshal(b, out); jerr != nil || len(out.Streams) == 0 {
		return nil, fmt.Errorf("ffprobe cannot read %s: %v", filepath.Base(file), err)
	}
	return out, nil
}

const (
	streamFields = "stream=index,codec_type,codec_name,codec_tag_string,time_base,width,height,extradata_hash:stream_side_data=rotation:format=format_name"
	packetFields = ":packet=stream_index,pts,dts,pos,flags,data_hash"
)

// probe reads the tracks of a file, with the payload's hashes. ours: cleave has written
// it.
func probe(ctx context.Context, file string, ours bool) (*media, error) {
	head, err := runProbe(ctx, file, "-show_entries", streamFields)
	if err != nil {
		return nil, err
	}
	m, err := packets(ctx, media{file: file, format: head.Format.Name, ours: ours})
	if err != nil {
		return nil, err
	}
	return m, m.payload(ctx)
}

// packets reads all packets, with more options.
func packets(ctx context.Context, of media, options ...string) (*media, error) {
	if len(options) == 0 || options[0] == asWritten[0] {
		options = append(options, of.reading()...)
	}
	out, err := runProbe(ctx, of.file, append(options, "-show_data_hash", "md5", "-show_entries", streamFields+packetFields)...)
	if err != nil {
		return nil, err
	}
	m := &media{file: of.file, format: of.format, ours: of.ours}
	for _, s := range out.Streams {
		t := track{index: s.Index, kind: s.Kind, codec: s.Codec, width: s.Width, height: s.Height, extra: s.Extra}
		if t.codec == "" || t.codec == "unknown" {
			t.codec = s.Tag
		}
		for _, d := range s.SideData {
			t.rotation += d.Rotation
		}
		num, den, _ := strings.Cut(s.Timebase, "/")
		n, _ := strconv.ParseUint(num, 10, 32)
		d, _ := strconv.ParseUint(den, 10, 32)
		t.tb = av.Timebase{Num: uint32(n), Den: uint32(d)}
		m.tracks = append(m.tracks, t)
	}
	for _, p := range out.Packets {
		if p.Stream >= len(m.tracks) {
			continue
		}
		t := &m.tracks[p.Stream]
		pos, err := strconv.ParseInt(p.Pos, 10, 64)
		if err != nil {
			pos = -1
		}
		q := packet{pts: unknown, dts: unknown, pos: pos, key: strings.Contains(p.Flags, "K"), sum: p.Sum}
		if p.PTS != nil {
			q.pts = *p.PTS
		}
		if p.DTS != nil {
			q.dts = *p.DTS
		}
		t.packets = append(t.packets, q)
	}
	if m.ts() {
		for i := range m.tracks {
			unwrap(m.tracks[i].packets)
		}
	}
	return m, nil
}

// wrapTicks is after how many ticks the clock of a transport stream begins anew.
const wrapTicks = int64(1) << 33

// unwrap undoes the wraps of a track.
func unwrap(l []packet) {
	last := unknown
	near := func(v *int64) {
		if *v == unknown {
			return
		}
		if last != unknown {
			for *v-last > wrapTicks/2 {
				*v -= wrapTicks
			}
			for *v-last < -wrapTicks/2 {
				*v += wrapTicks
			}
		}
		last = *v
	}
	for i := range l {
		near(&l[i].dts)
		near(&l[i].pts)
	}
}

// filters make the payload the same in every container: the NAL units of
// pictures, AAC without ADTS.
func filter(codec string) string {
	switch codec {
	case "h264":
		return "h264_mp4toannexb,filter_units=pass_types=1-5"
	case "hevc":
		return "hevc_mp4toannexb,filter_units=pass_types=0-31"
	case "aac":
		return "aac_adtstoasc"
	}
	return ""
}

// payload replaces the sums of tracks whose framing depends on the container.
func (m *media) payload(ctx context.Context) error {
	args := append([]string{"-v", "error", "-nostdin"}, m.reading()...)
	args = append(args, "-i", m.file)
	var of []int
	for i := range m.tracks {
		f := filter(m.tracks[i].codec)
		if f == "" || len(m.tracks[i].packets) == 0 {
			continue
		}
		args = append(args, "-map", fmt.Sprintf("0:%d", m.tracks[i].index), fmt.Sprintf("-bsf:%d", len(of)), f)
		of = append(of, i)
	}
	if len(of) == 0 {
		return nil
	}
	lines, _, err := hashes(ctx, append(args, "-c", "copy", "-copyinkf", "-copypriorss", "1", "-copyts", "-f", "framemd5", "-"))
	if err != nil {
		return err
	}
	for k, i := range of {
		l := m.tracks[i].packets
		got := lines[k]
		at := map[int64]string{}
		for _, f := range got {
			at[f.pts&(wrapTicks-1)] = f.sum
		}
		for n := range l {
			if len(got) == len(l) {
				l[n].sum = got[n].sum
			} else { // the filter dropped some that are damaged
				l[n].sum = at[l[n].pts&(wrapTicks-1)]
			}
		}
	}
	return nil
}

// frame is one line of ffmpeg's framemd5.
type frame struct {
	pts int64
	sum string
}

// hashes runs ffmpeg and returns the lines of its framemd5 by stream, and what it
// complained about.
func hashes(ctx context.Context, args []string) (lines map[int][]frame, complaints string, err error) {
	var out, bad bytes.Buffer
	cmd := exec.CommandContext(ctx, "ffmpeg", args...)
	cmd.Stdout, cmd.Stderr = &out, &bad
	if err := cmd.Run(); ctx.Err() != nil {
		return nil, "", context.Cause(ctx)
	} else if err != nil && bad.Len() == 0 {
		return nil, "", fmt.Errorf("ffmpeg: %w", err)
	}
	lines = map[int][]frame{}
	for line := range strings.Lines(out.String()) {
		f := strings.Split(strings.TrimSpace(line), ",")
		if len(f) < 6 || line[0] == '#' {
			continue
		}
		stream, err := strconv.Atoi(f[0])
		pts, perr := strconv.ParseInt(strings.TrimSpace(f[2]), 10, 64)
		if err == nil && perr == nil {
			lines[stream] = append(lines[stream], frame{pts, strings.TrimSpace(f[5])})
		}
	}
	return lines, bad.String(), nil
}

// manyPixels is where MD5 of all pictures takes longer than to decode them.
const manyPixels = 50e9

// pictures decodes a video track; n counts the video tracks.
func pictures(ctx context.Context, m *media, n int, options ...string) ([]frame, string, error) {
	args := append([]string{"-v", "error", "-nostdin"}, m.reading()...)
	args = append(args, "-copyts", "-autorotate", "0", "-i", m.file, "-map", fmt.Sprintf("0:v:%d", n), "-fps_mode", "passthrough", "-autoscale", "0", "-enc_time_base", "-1")
	lines, complaints, err := hashes(ctx, append(append(args, options...), "-"))
	return lines[0], complaints, err
}

func huge(t *track) bool {
	return float64(t.width)*float64(t.height)*float64(len(t.packets)) > manyPixels
}

// hashOf chooses how pictures are hashed.
func hashOf(t *track) []string {
	if huge(t) {
		return []string{"-f", "framehash", "-hash", "murmur3"}
	}
	return []string{"-f", "framemd5"}
}

func (m *media) video() (l []*track) {
	for i := range m.tracks {
		if m.tracks[i].kind == "video" {
			l = append(l, &m.tracks[i])
		}
	}
	return l
}

func sums(l []frame) []string {
	out := make([]string, len(l))
	for i := range l {
		out[i] = l[i].sum
	}
	return out
}

func equalPrefix(a, b []string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}
