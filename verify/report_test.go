package verify

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
)

// What is no playlist is told so, in one line; what is called one and is a text is
// checked.
func TestOtherFiles(t *testing.T) {
	dir := t.TempDir()
	for name, body := range map[string]string{
		"film.mp4":  "\x00\x00\x00\x18ftypisom\x00\x00\x00\x00",
		"film.m3u8": "\x00\x00\x00\x18ftypisom\x00\x00\x00\x00",
		"bin.m3u8":  strings.Repeat("\xff\xfe", 100),
		"notes.txt": "hello\n",
		"empty":     "",
	} {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
		if r, err := Run(t.Context(), Config{Input: name}); !errors.Is(err, ErrNothing) || !strings.Contains(err.Error(), "no playlist, manifest or transport stream: it begins with") {
			t.Errorf("%s: %v, %+v", name, err, r)
		}
	}
	for name, body := range map[string]string{
		"hello.m3u8":  "hello, wörld\n",
		"list":        "#EXTM3U\n",
		"marked.m3u8": "\xef\xbb\xbf#EXTM3U\n",
		"empty.m3u8":  "",
	} {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
		if r, err := Run(t.Context(), Config{Input: name}); err != nil || r.Count(Must) == 0 {
			t.Errorf("%s: %v, %+v", name, err, r)
		}
	}
}

// Whatever a playlist says, a report has nothing that a terminal would obey.
func TestReportIsPlain(t *testing.T) {
	const odd = "\xff\x1b[2J\u202e\u009b.ts"
	f := files{"index.m3u8": []byte("#EXTM3U\n#EXT-X-TARGETDURATION:\x1b]0;x\x07\n#EXT-X-" + odd + "\n#EXT-X-KEY:METHOD=" + odd + "\n#EXT-X-MAP:URI=\"" + odd + "\"\n" +
		"#EXT-X-PROGRAM-DATE-TIME:" + odd + "\n#EXTINF:2,\n" + odd + "\n#EXT-X-ENDLIST\n")}
	r := f.check(t, "index.m3u8")
	r.Input += odd
	var b bytes.Buffer
	if err := r.Print(&b); err != nil {
		t.Fatal(err)
	}
	for _, c := range b.String() {
		if !unicode.IsPrint(c) && c != '\n' || c == unicode.ReplacementChar {
			t.Fatalf("%q in\n%q", c, b.String())
		}
	}
	if r.Count(Must) == 0 || !strings.Contains(b.String(), `\xff\x1b[2J\u202e\u009b.ts`) {
		t.Errorf("%s", b.String())
	}
}

// One of something is called so.
func TestSummaryCounts(t *testing.T) {
	one := Finding{Rule: "A2", Severity: Should}
	r := Report{Kind: "hls", Playlists: 1, Segments: 1, Bytes: 1, Checked: map[string]int{"A2": 1}, Findings: []Finding{one}}
	check := func(want ...string) {
		t.Helper()
		got := strings.Join(r.Summary(), "\n")
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("%q is not in\n%s", w, got)
			}
		}
	}
	check("1 playlist or manifest, 1 segment, 1 byte; 1 rule had", "1 SHOULD is not kept:")
	r.Findings = append(r.Findings, one)
	r.Playlists, r.Segments, r.Bytes = 2, 0, 2
	check("2 playlists and manifests, 0 segments, 2 bytes;", "2 SHOULDs are not kept:")
	r.Findings = append(r.Findings, Finding{Rule: "H2", Severity: Must})
	check("1 time a MUST is broken, 2 times a SHOULD.")
}
