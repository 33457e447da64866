package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	players "github.com/cleave-video/cleave/test/browser"
)

// Page prints docs/interop.md.
func (r *Result) Page(ctx context.Context, w io.Writer) error {
	p := &pageWriter{result: r}
	fmt.Fprintf(&p.b, head, time.Now().UTC().Format(time.DateOnly), r.Took.Round(time.Second), runtime.NumCPU(), strings.Join(r.Load, ", "))
	p.peers(ctx)
	p.sums()
	for _, codec := range Codecs() {
		p.table(codec)
	}
	p.list("Reasons", "What is not carried, and by whom:", p.reasons)
	p.list("Faults", "What went wrong twice:", p.faults)
	if l := r.left(); len(l) > 0 {
		fmt.Fprintf(&p.b, "\n## Not run\n\nThere was no time for these rows:\n\n%s", strings.Join(l, ""))
	}
	_, err := w.Write(p.b.Bytes())
	return err
}

// left lists the rows of the tables that were not run, in a line of the page for each codec.
func (r *Result) left() (l []string) {
	for n, c := range Codecs() {
		var names []string
		for _, in := range Ingests() {
			is := func(row Row) bool { return row.Ingest == in.Name && row.Codec == c.Name && row.wasRun() }
			if (in.Twin == "" || n == 0) && in.lacks(c) == "" && !slices.ContainsFunc(r.Rows, is) {
				names = append(names, in.Name)
			}
		}
		if names != nil {
			l = append(l, "- "+c.Name+": "+strings.Join(names, "; ")+"\n")
		}
	}
	return l
}

// pageWriter collects the page and what its cells refer to.
type pageWriter struct {
	result          *Result
	b               bytes.Buffer
	reasons, faults []string
}

// note returns the number of a text in a list, to which it is added if it is new.
func note(l *[]string, text string) int {
	i := slices.Index(*l, text)
	if i < 0 {
		i = len(*l)
		*l = append(*l, text)
	}
	return i + 1
}

func (p *pageWriter) list(title, intro string, l []string) {
	if len(l) == 0 {
		return
	}
	fmt.Fprintf(&p.b, "\n## %s\n\n%s\n\n", title, intro)
	for i, text := range l {
		fmt.Fprintf(&p.b, "%d. %s\n", i+1, text)
	}
}

// sums counts the cells.
func (p *pageWriter) sums() {
	rows, ok, again, lacks, faults := 0, 0, 0, 0, 0
	for _, row := range p.result.Rows {
		if row.wasRun() {
			rows++
		}
		if row.Fault != "" {
			faults++
		}
		for _, c := range row.Cells {
			switch {
			case c.Lacks != "":
				lacks++
			case c.Fault != "":
				faults++
			case c.Run:
				ok++
			}
			if c.Again {
				again++
			}
		}
	}
	fmt.Fprintf(&p.b, "\n%d rows: %d cells went well, %d of them when they were tried again, %d are not carried for a reason given, %d are faults.\n", rows, ok, again, lacks, faults)
}

// table prints the rows of one codec.
func (p *pageWriter) table(c Codec) {
	var rows []Row
	lacking := map[string][]string{}
	var order []string
	for _, row := range p.result.Rows {
		switch {
		case row.Codec != c.Name:
		case row.Lacks != "":
			if lacking[row.Lacks] == nil {
				order = append(order, row.Lacks)
			}
			lacking[row.Lacks] = append(lacking[row.Lacks], row.Ingest)
		case row.wasRun():
			rows = append(rows, row)
		}
	}
	if len(rows) == 0 && len(order) == 0 {
		return
	}
	fmt.Fprintf(&p.b, "\n## %s\n\n| way in |", c.Name)
	for _, d := range p.result.Deliveries {
		fmt.Fprintf(&p.b, " %s %s |", d.Protocol, d.Player)
	}
	fmt.Fprintf(&p.b, "\n| --- |%s\n", strings.Repeat(" --- |", len(p.result.Deliveries)))
	for _, row := range rows {
		fmt.Fprintf(&p.b, "| %s |", row.Ingest)
		if row.Fault != "" {
			text := row.Ingest + ", " + row.Codec + ": no stream: " + quote(row.Fault)
			fmt.Fprintf(&p.b, "%s\n", strings.Repeat(fmt.Sprintf(" fault %d |", note(&p.faults, text)), len(p.result.Deliveries)))
			continue
		}
		for i, cell := range row.Cells {
			fmt.Fprintf(&p.b, " %s |", p.cell(row, p.result.Deliveries[i], cell))
		}
		fmt.Fprintln(&p.b)
	}
	for _, why := range order {
		fmt.Fprintf(&p.b, "\nNot run, since %s: %s.\n", why, strings.Join(lacking[why], "; "))
	}
}

func (p *pageWriter) cell(row Row, d Delivery, c Cell) string {
	switch {
	case c.Lacks != "":
		return fmt.Sprintf("- %d", note(&p.reasons, c.Lacks+"."))
	case c.Fault != "":
		text := fmt.Sprintf("%s, %s, %s by %s: %s", row.Ingest, row.Codec, d.Protocol, d.Player, quote(c.Fault))
		if why := explain(d, c); why != "" {
			text += ". " + why
		}
		return fmt.Sprintf("fault %d", note(&p.faults, text))
	case c.Again:
		return "ok, 2nd"
	case c.Run:
		return "ok"
	}
	return ""
}

var (
	pointers = regexp.MustCompile(`\[(?:[0-9a-f]{12,16}|(\w+) @ 0x[0-9a-f]+)\] ?`)
	ports    = regexp.MustCompile(`127\.0\.0\.1:\d+`)
)

// quote takes what differs from run to run out of what a program said, and what would be
// Markdown.
func quote(s string) string {
	s = ports.ReplaceAllString(pointers.ReplaceAllString(s, "$1: "), "HOST")
	s = strings.ReplaceAll(s, os.TempDir(), "TMP")
	return strings.NewReplacer("|", "/", "<", "(", ">", ")", "\n", " ", "*", "", "`", "'").Replace(s)
}

// looped is how it shows that libavformat reads one segment of DASH over and over.
var looped = regexp.MustCompile(`([2-9]\d\d|\d{4}) frames of sound|signal: killed`)

// explain says what is known of a fault that is not cleave's.
func explain(d Delivery, c Cell) string {
	if d.Protocol == "DASH" && (d.Player == "ffmpeg" || d.Player == "mpv") && looped.MatchString(c.Fault) {
		return "libavformat's DASH demuxer takes the start of a segment for whole seconds: where two begin in the same second, as a stream's first two segments of sound may, it reads the second of them for ever. Players that do not begin in a stream's first minute are not met by it."
	}
	if strings.Contains(c.Fault, "coded size: [0,0]") {
		return "VP9 by RTMP has no picture size in its configuration, and cleave writes 0x0 into MP4: a fault of cleave, which the row's other players in Chromium meet too."
	}
	if d.Player == "mpegts.js" && strings.Contains(c.Fault, "ExpGolomb") {
		return "Not explained: mpegts.js's parser of AV1 throws this, and not in every run."
	}
	if d.Player == "shaka-player" && d.Protocol == "HLS" {
		return "Not explained: shaka-player stays three parts, 0.6 s, behind the live edge, and on a busy machine stands still there, or shows only the parts that begin with a key frame."
	}
	return ""
}

// peers prints the versions of all programs.
func (p *pageWriter) peers(ctx context.Context) {
	fmt.Fprint(&p.b, "\n## Programs\n\n| program | version |\n| --- | --- |\n")
	line := func(name, version string) {
		if version != "" {
			fmt.Fprintf(&p.b, "| %s | %s |\n", name, version)
		}
	}
	line("ffmpeg", said1(ctx, regexp.MustCompile(`ffmpeg version (\S+)`), "ffmpeg", "-version"))
	line("GStreamer", said1(ctx, regexp.MustCompile(`GStreamer (\S+)`), "gst-launch-1.0", "--version"))
	line("srt-live-transmit", said1(ctx, regexp.MustCompile(`SRT Library version: ([^\s,]+)`), "srt-live-transmit", "-version"))
	line("curl", said1(ctx, regexp.MustCompile(`curl (\S+)`), "curl", "--version"))
	line("mpv", said1(ctx, regexp.MustCompile(`mpv (\S+)`), "mpv", "--version"))
	line("VLC", said1(ctx, regexp.MustCompile(`VLC version (\S+)`), "vlc", "--version"))
	line("Chromium", said1(ctx, regexp.MustCompile(`Chromium (\S+)`), "chromium", "--version"))
	b, err := os.ReadFile(filepath.Join(players.Dir(), "package.json"))
	var modules struct{ Dependencies map[string]string }
	if err == nil && json.Unmarshal(b, &modules) == nil {
		for _, name := range []string{"hls.js", "shaka-player", "dashjs", "mpegts.js"} {
			line(name, modules.Dependencies[name])
		}
	}
	line("cleave", "this tree, by "+runtime.Version())
}

// said1 is what an expression finds in what a program says.
func said1(ctx context.Context, find *regexp.Regexp, name string, args ...string) string {
	if _, err := exec.LookPath(name); err != nil {
		return "absent"
	}
	p := program(ctx, name, args...)
	if name == "vlc" {
		p.asNobody(os.TempDir())
	}
	out, _ := p.run() // some exit with an error when asked
	if m := find.FindStringSubmatch(out + p.stderr.String()); m != nil {
		return m[1]
	}
	return "unknown"
}

const head = `# Interop

Made by ` + "`make interop`" + ` on %s, in %s: every way in against every way out, codec by codec,
with programs that were not made here on both sides. Each cell was run; none is assumed, and
what was not run is empty. The machine has %d processors; its load average before and after
each part of the run: %s.

- Each row is a server of its own with its defaults, a publisher, or a source that the
  server pulls, and all players of the row at the same time, as soon as three segments
  are listed. The media: 320x180 at 25 pictures a second (test picture, x264, x265,
  SVT-AV1, libvpx), a key frame each second; sound of 440 Hz.
- **ok**: the player has shown about two seconds of pictures and sound and complained of
  nothing. ffmpeg: at least 45 of 50 pictures and as many frames of sound are decoded,
  and there is no line at the level error. mpv: 45 pictures and 1.8 s of sound are played,
  without an error. VLC: 45 pictures displayed and 55 pieces of sound played, by its
  statistics, and no error. Players in Chromium: 45 pictures are on the screen and the
  clock has gone on by 1.8 s, sound was decoded, there was no error, and it stood still
  once at most after it had begun. hls.js with LL-HLS has played parts. JPEG: the key frame
  is decoded and of the right size.
- **ok, 2nd**: it went well when it was tried again. Whatever does not go well is tried
  once more, since the machine also has other work.
- **- n**: the protocol or the player does not carry the codec; reason n below.
- **fault n**: it went wrong twice; what is told below.

What is left out of what players say: VLC's words on the desktop that is not there and on
clocks that it sets anew and pictures that wait for room when the machine is slow;
libavformat's on a header that it reads again, and ffmpeg's on times of its own output.

Rows that differ from another only in encryption, transport or the program that carries
the same bytes (RTMPS, SRT with a passphrase, RTSP by UDP, curl and others) are run with
H.264 + AAC; ` + "`make interop INTEROP=-twins`" + ` runs them with all codecs.

Repeat it: ` + "`make interop`" + `; ` + "`make interop INTEROP='-match \"SRT, ffmpeg: \"'`" + ` runs the rows
whose "WAY IN: CODEC" contains that, ` + "`-players HLS`" + ` some columns, into ` + "`bin/interop.md`" + `. What is missing is
installed where there is apt (` + "`scripts/setup interop`" + `).
`
