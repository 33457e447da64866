package verify

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cleave-video/cleave/format/ts"
)

// bases are correct: each rule passes in at least one, and is broken in none.
func bases(t testing.TB) map[string]files {
	t.Helper()
	return map[string]files{
		"vod": vod(t, plan{}, plan{}), "ts": tsvod(t, tsShape{}), "low": low(t), "text": textBase(t), "keys": keysBase(t), "packed": packedBase(),
		"dynamic": {"manifest.mpd": []byte(dynamicMPD)}, "number": numberBase(t), "single": singleBase(t), "events": eventsBase(t), "cbcs": cbcsBase(t, 0x19), "sdr": colrBase(t, 1),
		"multi": multiBase(t), "lowmulti": lowMulti(t), "long": longBase(t), "encryptedts": sampleAES(t, true), "list": listBase(t), "stream": streamBase(t), "keygroups": keyGroups(t, 1, 1),
	}
}

// fails says how each rule is broken: one change to a base.
type failure struct {
	rule string
	base string
	file string
	old  string // replaced by new in file, all of them
	new  string
	do   func(t testing.TB, f files) files // in place of a change of text
}

func TestRulesPass(t *testing.T) {
	kept := map[string]bool{}
	for name, f := range bases(t) {
		r := f.check(t, f.only())
		if name != "dynamic" && name != "stream" && r.Segments == 0 {
			t.Errorf("%s: no segment was looked into", name)
		}
		for _, x := range r.Findings {
			if x.Severity == Must || name == "vod" {
				t.Errorf("%s: %s %s %s: %s", name, x.Severity, x.Rule, x.Place, x.Text)
			}
		}
		for id := range r.Checked {
			if broken(r, id) == nil {
				kept[id] = true
			}
		}
	}
	for _, rule := range Rules() {
		if !rule.Live && !kept[rule.ID] {
			t.Errorf("%s passes in no fixture", rule.ID)
		}
	}
}

func TestRulesFail(t *testing.T) {
	base := bases(t)
	done := map[string]bool{}
	for i, x := range failures() {
		t.Run(fmt.Sprintf("%s_%d", x.rule, i), func(t *testing.T) {
			f := base[x.base].clone()
			if x.do != nil {
				f = x.do(t, f)
			} else {
				b := f[x.file]
				if !bytes.Contains(b, []byte(x.old)) {
					t.Fatalf("%s does not have %q:\n%s", x.file, x.old, b)
				}
				f[x.file] = bytes.ReplaceAll(b, []byte(x.old), []byte(x.new))
			}
			r := f.check(t, f.only())
			found := broken(r, x.rule)
			if found == nil {
				t.Fatalf("not found; found %s", listing(r))
			}
			if found.File == "" || found.Text == "" {
				t.Errorf("no place: %+v", found)
			}
			done[x.rule] = true
		})
	}
	for _, rule := range Rules() {
		if !rule.Live && !done[rule.ID] {
			t.Errorf("%s is broken in no fixture", rule.ID)
		}
	}
}

// Each rule has a state, a source and an effect, and each number is one rule.
func TestRuleTable(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range Rules() {
		if seen[r.ID] || r.Title == "" || r.Source == "" || r.Effect == "" || r.Severity != Must && r.Severity != Should {
			t.Errorf("%+v", r)
		}
		if strings.Contains(r.Source, "from memory") && r.Severity != Should {
			t.Errorf("%s is from memory and a MUST", r.ID)
		}
		seen[r.ID] = true
	}
	for family, n := range map[string]int{"H": 33, "L": 31, "A": 39, "C": 13, "D": 14, "T": 14} {
		for i := 1; i <= n; i++ {
			if id := fmt.Sprintf("%s%d", family, i); !seen[id] {
				t.Errorf("%s is missing", id)
			}
		}
	}
}

// The documentation's table is the program's.
func TestRuleTableDocumented(t *testing.T) {
	var b strings.Builder
	for _, r := range Rules() {
		state := "checked"
		if r.Live {
			state = "checked over time"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", r.ID, r.Severity, r.Title, r.Source, state)
	}
	const name = "../docs/verify.md"
	doc, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- rules: written by go test ./verify -update -->\n", "<!-- end of rules -->\n"
	head, rest, ok := strings.Cut(string(doc), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatal("no table in", name)
	}
	want := head + begin + "| rule | | title | source | state |\n| --- | --- | --- | --- | --- |\n" + b.String() + end + tail
	if *update {
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want != string(doc) {
		t.Errorf("%s is not up to date: go test ./verify -run Documented -update", name)
	}
}

// injected are the faults that public checkers were tried with, one each, in a
// correct low-latency playlist.
func TestInjectedFaults(t *testing.T) {
	for _, x := range []struct{ name, old, new, rule string }{
		{"EXTINF rounds above TARGETDURATION", "#EXTINF:2.0,\n1.m4s", "#EXTINF:2.6,\n1.m4s", "H2"},
		{"part above PART-TARGET", `DURATION=1.0,URI="1.0.m4s"`, `DURATION=1.1,URI="1.0.m4s"`, "L2"},
		{"part below 85 %", `DURATION=1.0,URI="1.0.m4s",INDEPENDENT=YES`, `DURATION=0.8,URI="1.0.m4s"`, "L3"},
		{"no PART-INF", "#EXT-X-PART-INF:PART-TARGET=1.0\n", "", "L1"},
		{"PART-HOLD-BACK below twice", "PART-HOLD-BACK=3.0", "PART-HOLD-BACK=1.9", "L5"},
		{"no PART-HOLD-BACK", ",PART-HOLD-BACK=3.0", "", "L5"},
		{"CAN-SKIP-UNTIL below six times", "CAN-SKIP-UNTIL=12.0", "CAN-SKIP-UNTIL=11.0", "L7"},
		{"no TARGETDURATION", "#EXT-X-TARGETDURATION:2\n", "", "H1"},
		{"TARGETDURATION 0", "#EXT-X-TARGETDURATION:2\n", "#EXT-X-TARGETDURATION:0\n", "H1"},
		{"URI without EXTINF", "#EXTINF:2.0,\n1.m4s", "1.m4s", "H5"},
		{"DISCONTINUITY-SEQUENCE behind a segment", "#EXTINF:2.0,\n2.m4s\n", "#EXTINF:2.0,\n2.m4s\n#EXT-X-DISCONTINUITY-SEQUENCE:0\n", "H7"},
		{"ENDLIST with PRELOAD-HINT", "#EXT-X-PRELOAD-HINT", "#EXT-X-ENDLIST\n#EXT-X-PRELOAD-HINT", "L13"},
		{"multivariant tag", "#EXT-X-VERSION:9\n", "#EXT-X-VERSION:9\n#EXT-X-STREAM-INF:BANDWIDTH=1\n", "H8"},
		{"BYTERANGE without an offset", "#EXTINF:2.0,\n1.m4s", "#EXTINF:2.0,\n#EXT-X-BYTERANGE:100\n1.m4s", "H9"},
		{"VERSION too low", "#EXT-X-VERSION:9\n", "#EXT-X-VERSION:2\n", "H6"},
		{"no EXTM3U", "#EXTM3U\n", "", "S1"},
		{"DATERANGE with a negative duration", "#EXT-X-PRELOAD-HINT", "#EXT-X-DATERANGE:ID=\"a\",START-DATE=\"2026-03-01T12:00:00Z\",DURATION=-1\n#EXT-X-PRELOAD-HINT", "H13"},
		{"DATERANGE without a date", "#EXT-X-PROGRAM-DATE-TIME:2026-03-01T12:00:00.000Z\n", "#EXT-X-DATERANGE:ID=\"a\",START-DATE=\"2026-03-01T12:00:00Z\"\n", "H13"},
		{"RENDITION-REPORT without a URI", "#EXT-X-PRELOAD-HINT", "#EXT-X-RENDITION-REPORT:LAST-MSN=3\n#EXT-X-PRELOAD-HINT", "L27"},
	} {
		f := low(t)
		if !bytes.Contains(f["index.m3u8"], []byte(x.old)) {
			t.Fatalf("%s: no %q", x.name, x.old)
		}
		f["index.m3u8"] = bytes.Replace(f["index.m3u8"], []byte(x.old), []byte(x.new), 1)
		r := f.check(t, "index.m3u8")
		found := broken(r, x.rule)
		if found == nil || found.Severity != Must {
			t.Errorf("%s: %s not found: %+v", x.name, x.rule, r.Findings)
		} else if found.Line == 0 && x.rule != "H1" && x.rule != "L5" {
			t.Errorf("%s: no line: %+v", x.name, found)
		}
	}
	// The last one shows over time only.
	event := stream{window: 6, text: always("#EXT-X-MEDIA-SEQUENCE", "#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-MEDIA-SEQUENCE")}
	r := newStream(t, event).run(t, 20*time.Second)
	if found := broken(r, "H30"); found == nil || found.Severity != Must || found.Line == 0 {
		t.Errorf("EVENT playlist with removed segments: H30 not found: %+v", r.Findings)
	}
}

func TestNothing(t *testing.T) {
	dir := t.TempDir()
	if _, err := Run(t.Context(), Config{Input: dir}); !errors.Is(err, ErrNothing) {
		t.Error(err)
	}
	if _, err := Run(t.Context(), Config{Input: filepath.Join(dir, "none.m3u8")}); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f := vod(t, plan{}, plan{})
	for name, b := range f {
		_ = os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755)
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Run(ctx, Config{Input: dir}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A playlist cannot make the checker read what lies outside of its folder.
func TestOutside(t *testing.T) {
	f := files{
		"in/index.m3u8": []byte("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXTINF:2,\n../secret.ts\n#EXTINF:2,\nfile:///etc/passwd\n#EXTINF:2,\nhttp://127.0.0.1:1/x.ts\n#EXT-X-ENDLIST\n"),
		"secret.ts":     bytes.Repeat([]byte{ts.SyncByte}, 188*10),
	}
	r := f.check(t, "in/index.m3u8")
	if r.Bytes != 0 || r.Segments != 0 {
		t.Errorf("%d bytes of %d segments were read", r.Bytes, r.Segments)
	}
}

// Damaged media is told of and never brings the checker down.
func TestDamaged(t *testing.T) {
	f := vod(t, plan{}, plan{})
	tsf := tsvod(t, tsShape{})
	for _, x := range []struct {
		f    files
		name string
	}{{f, "v/1.m4s"}, {f, "v/init.mp4"}, {f, "manifest.mpd"}, {f, "index.m3u8"}, {tsf, "1.ts"}} {
		whole := x.f[x.name]
		for i := range 60 {
			bad := x.f.clone()
			b := append([]byte(nil), whole...)
			if i%2 == 0 {
				b = b[:len(b)*i/60]
			} else {
				for k := range 4 {
					b[(i*7919+k*104729)%len(b)] ^= byte(1 << (i % 8))
				}
			}
			bad[x.name] = b
			bad.check(t, "")
		}
	}
}

func crcMPEG(b []byte) uint32 {
	c := ^uint32(0)
	for _, v := range b {
		c ^= uint32(v) << 24
		for range 8 {
			if c>>31 == 1 {
				c = c<<1 ^ 0x04C11DB7
			} else {
				c <<= 1
			}
		}
	}
	return c
}

// retype changes a stream_type in every PMT.
func retype(f files, was, is byte) files {
	for name, b := range f {
		if !strings.HasSuffix(name, ".ts") {
			continue
		}
		b = append([]byte(nil), b...)
		for at := 0; at+188 <= len(b); at += 188 {
			if pid := int(b[at+1]&0x1f)<<8 | int(b[at+2]); pid != 0x1000 || b[at+3]&0x20 != 0 {
				continue
			}
			sec := b[at+5:]
			n := 3 + (int(sec[1]&15)<<8 | int(sec[2]))
			for k := 12; k < n-4; k += 5 + int(sec[k+4]) {
				if sec[k] == was {
					sec[k] = is
				}
			}
			binary.BigEndian.PutUint32(sec[n-4:], crcMPEG(sec[:n-4]))
		}
		f[name] = b
	}
	return f
}

// listing lists what was found.
func listing(r *Report) string {
	var b strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "%s %s: %s; ", f.Rule, f.Place, f.Text)
	}
	return b.String()
}

// Named pipes are no files: neither the input nor what a playlist or a folder has is
// waited for.
func TestPipes(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a.ts", "b.m3u8", "c.mpd"} {
		if err := syscall.Mkfifo(filepath.Join(dir, name), 0o600); err != nil {
			t.Skip("no named pipes here: ", err)
		}
	}
	text := "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXTINF:2,\na.ts\n#EXT-X-ENDLIST\n"
	if err := os.WriteFile(filepath.Join(dir, "d.m3u8"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	r, err := Run(t.Context(), Config{Input: filepath.Join(dir, "d.m3u8")})
	if err != nil || len(r.Findings) == 0 || !strings.Contains(r.Findings[0].Text, "no regular file") {
		t.Errorf("%v, %+v", err, r)
	}
	for _, name := range []string{"", "b.m3u8", "c.mpd"} {
		if _, err := Run(t.Context(), Config{Input: filepath.Join(dir, name)}); err == nil || !strings.Contains(err.Error(), "no regular file") {
			t.Errorf("%q: %v", name, err)
		}
	}
}
