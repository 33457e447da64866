package ts

import (
	"bufio"
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/cleave-video/cleave/av"
)

// differences lists where ffprobe 5.1 and this package disagree, and why.
var differences = map[string]struct {
	skip      map[uint32]int  // PID: packets that only ffprobe gives, at the start
	cut       map[uint32]int  // PID: packets that only ffprobe gives, at the end
	anyDTS    bool            // DTS are not compared
	unread    map[uint32]bool // PID: ffprobe gives no packets
	tolerance int64           // ticks
	why       string
}{
	"ts/h264_cut_packet_60s.ts": {
		cut: map[uint32]int{0x101: 1}, anyDTS: true, tolerance: 1,
		why: "ffprobe gives the AAC frame that the end of the file cuts; it hides the first DTS, as the DTS in the file are later than the PTS; " +
			"where a PES packet holds several AAC frames of 22.05 kHz it adds up rounded durations",
	},
	"ts/h264_scte35_80s.ts": {
		unread: map[uint32]bool{0x3E9: true},
		why:    "ffprobe has no packets for SCTE-35 sections",
	},
	"ts/pat_pmt_in_middle.ts": {
		tolerance: 1,
		why:       "ffprobe adds up rounded durations of AAC frames of 44.1 kHz that share a PES packet",
	},
	"ts/starts_mid_gop.ts": {
		skip: map[uint32]int{0x200: 9},
		why:  "nine pictures come before the first parameter sets; nothing can decode them",
	},
}

// probed is a packet as ffprobe shows it.
type probed struct {
	pts, dts int64
	hasDTS   bool
}

func ffprobe(t *testing.T, file string) map[uint32][]probed {
	t.Helper()
	ids := map[string]uint32{}
	for _, f := range lines(t, "ffprobe", "-v", "quiet", "-show_entries", "stream=index,id", "-of", "compact=p=0", file) {
		id, err := strconv.ParseUint(strings.TrimPrefix(f["id"], "0x"), 16, 32)
		if err != nil {
			t.Fatal(err)
		}
		ids[f["index"]] = uint32(id)
	}
	l := map[uint32][]probed{}
	for _, f := range lines(t, "ffprobe", "-v", "quiet", "-show_packets",
		"-show_entries", "packet=stream_index,pts,dts", "-of", "compact=p=0", file) {
		var p probed
		var err error
		if p.pts, err = strconv.ParseInt(f["pts"], 10, 64); err != nil {
			continue
		}
		p.dts, err = strconv.ParseInt(f["dts"], 10, 64)
		p.hasDTS = err == nil
		id := ids[f["stream_index"]]
		l[id] = append(l[id], p)
	}
	return l
}

// lines runs a tool that writes key=value|key=value.
func lines(t *testing.T, name string, args ...string) []map[string]string {
	t.Helper()
	var l []map[string]string
	for line := range strings.Lines(string(tool(t, name, args...))) {
		f := map[string]string{}
		for _, kv := range strings.Split(strings.TrimSpace(line), "|") {
			if k, v, ok := strings.Cut(kv, "="); ok && f[k] == "" {
				f[k] = v
			}
		}
		if len(f) > 0 {
			l = append(l, f)
		}
	}
	return l
}

func tool(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is not installed: the comparison with it is left out", name)
	}
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		t.Fatalf("%s %v: %v", name, args, err)
	}
	return out
}

// TestAgainstFFprobe: the same packets with the same times, but for differences.
func TestAgainstFFprobe(t *testing.T) {
	for _, name := range mediaFiles {
		t.Run(name, func(t *testing.T) {
			b := media(t, name)
			want := ffprobe(t, filepath.Join(os.Getenv("CLEAVE_MEDIA"), name))
			diff := differences[name]
			got := map[uint32][]av.Packet{}
			for _, g := range demux(t, b) {
				for _, p := range g.packets {
					id := g.tracks[p.Track].ID
					got[id] = append(got[id], p)
				}
			}
			for id, g := range got {
				if diff.unread[id] {
					continue
				}
				w := want[id]
				w = w[diff.skip[id] : len(w)-diff.cut[id]]
				if len(g) != len(w) {
					t.Errorf("PID %#x: %d packets, want %d", id, len(g), len(w))
					continue
				}
				for i := range g {
					pts, dts := since(g[i].PTS, w[i].pts), since(g[i].DTS, w[i].dts)
					if max(pts, -pts) > diff.tolerance || w[i].hasDTS && !diff.anyDTS && max(dts, -dts) > diff.tolerance {
						t.Errorf("PID %#x packet %d: PTS %d DTS %d, want %d %d", id, i, g[i].PTS, g[i].DTS, w[i].pts&timeMask, w[i].dts&timeMask)
					}
				}
			}
			for id, w := range want {
				if len(w) > 0 && len(got[id]) == 0 {
					t.Errorf("PID %#x: no packets, want %d", id, len(w))
				}
			}
		})
	}
}

// TestKeys: key frames are where KEYS.tsv has them.
func TestKeys(t *testing.T) {
	keys := readKeys(t)
	for _, name := range mediaFiles {
		t.Run(name, func(t *testing.T) {
			k, ok := keys[name]
			if !ok {
				return // no video
			}
			n, first := 0, 0
			for _, s := range differences[name].skip {
				first = s
			}
			for _, g := range demux(t, media(t, name)) {
				for _, p := range g.packets {
					if g.tracks[p.Track].Kind != av.Video {
						continue
					}
					if p.Flags.Has(av.Key) {
						if len(k) == 0 || k[0].index != n+first || since(k[0].pts, p.PTS) != 0 {
							t.Errorf("key at packet %d, PTS %d: not in KEYS.tsv", n+first, p.PTS)
						} else {
							k = k[1:]
						}
					}
					n++
				}
			}
			if len(k) > 0 {
				t.Errorf("no key at packet %d, PTS %d", k[0].index, k[0].pts)
			}
		})
	}
}

type key struct {
	pts   int64
	index int
}

// readKeys reads KEYS.tsv: path, timebase, count, PTS, packet index.
func readKeys(t *testing.T) map[string][]key {
	t.Helper()
	l := map[string][]key{}
	s := bufio.NewScanner(bytes.NewReader(media(t, "KEYS.tsv")))
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		f := strings.Split(s.Text(), "\t")
		if len(f) < 5 || !strings.HasPrefix(f[0], "ts/") {
			continue
		}
		pts, index := strings.Fields(f[3]), strings.Fields(f[4])
		for i := range pts {
			p, err1 := strconv.ParseInt(pts[i], 10, 64)
			n, err2 := strconv.Atoi(index[i])
			if err1 == nil && err2 == nil {
				l[f[0]] = append(l[f[0]], key{p, n})
			}
		}
	}
	return l
}

// TestPayloadAgainstFFmpeg: the slices of each picture and the bytes of each AAC
// frame are those that ffmpeg takes out of the file.
func TestPayloadAgainstFFmpeg(t *testing.T) {
	for _, name := range mediaFiles {
		t.Run(name, func(t *testing.T) {
			diff := differences[name]
			for _, kind := range []av.Kind{av.Video, av.Audio} {
				got, codec, id := payloads(demux(t, media(t, name)), kind)
				if len(got) == 0 {
					continue
				}
				want := framemd5(t, filepath.Join(os.Getenv("CLEAVE_MEDIA"), name), codec)
				want = want[:len(want)-diff.cut[id]]
				if diff.skip[id] > 0 { // the filter drops some of them too
					want = want[max(len(want)-len(got), 0):]
				}
				if len(got) != len(want) {
					t.Fatalf("%s: %d packets, want %d", codec, len(got), len(want))
				}
				for i := range got {
					if got[i] != want[i] {
						t.Errorf("%s: packet %d differs", codec, i)
					}
				}
			}
		})
	}
}

// payloads returns the MD5 of each packet of the first track of a kind.
func payloads(l []generation, kind av.Kind) (sums []string, codec av.Codec, id uint32) {
	for _, g := range l {
		for _, p := range g.packets {
			tr := g.tracks[p.Track]
			if tr.Kind != kind {
				continue
			}
			b := p.Data
			if kind == av.Video {
				b = slicesOf(tr.Codec, b)
			}
			sum := md5.Sum(b)
			sums, codec, id = append(sums, hex.EncodeToString(sum[:])), tr.Codec, tr.ID
		}
	}
	return sums, codec, id
}

// slicesOf returns the NAL units of pictures in Annex B, as ffmpeg writes them:
// zero_byte in front of the first only.
func slicesOf(c av.Codec, b []byte) []byte {
	var out []byte
	for len(b) >= 4 {
		n := int(binary.BigEndian.Uint32(b))
		if isSlice(c, b[4:]) {
			if len(out) == 0 {
				out = append(out, 0)
			}
			out = append(append(out, 0, 0, 1), b[4:4+n]...)
		}
		b = b[4+n:]
	}
	return out
}

func framemd5(t *testing.T, file string, c av.Codec) []string {
	t.Helper()
	args := []string{"-v", "quiet", "-i", file}
	switch c {
	case av.H264:
		args = append(args, "-map", "0:v:0", "-bsf:v", "filter_units=pass_types=1-5")
	case av.H265:
		args = append(args, "-map", "0:v:0", "-bsf:v", "filter_units=pass_types=0-31")
	case av.AAC:
		args = append(args, "-map", "0:a:0", "-bsf:a", "aac_adtstoasc")
	default:
		args = append(args, "-map", "0:a:0")
	}
	out := tool(t, "ffmpeg", append(args, "-c", "copy", "-copyts", "-f", "framemd5", "-")...)
	var l []string
	for line := range strings.Lines(string(out)) {
		if f := strings.Split(line, ","); len(f) >= 6 && line[0] != '#' {
			l = append(l, strings.TrimSpace(f[5]))
		}
	}
	return l
}
