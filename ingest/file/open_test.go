package file

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestOpenSaysWhatInputsAre: what cannot be an input is told what can.
func TestOpenSaysWhatInputsAre(t *testing.T) {
	dir := t.TempDir()
	text, list := filepath.Join(dir, "notes.txt"), filepath.Join(dir, "index.m3u8")
	for name, b := range map[string]string{text: "hello\n", list: "#EXTM3U\n#EXT-X-VERSION:3\n"} {
		if err := os.WriteFile(name, []byte(b), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"rtmp://host/live/cam":         "not rtmp: live streams are what serve takes",
		"FTP://host/film.mp4":          "http(s) URLs, not ftp",
		"HTTP://127.0.0.1:1/film.mp4":  "connection refused",
		filepath.Join(dir, "a://none"): "no such file",
		filepath.Join(dir, "none"):     "no such file",
		dir:                            "is a folder",
		text:                           "of no format known here: mp4, ts, flv, h264, h265, adts, mp3",
		list:                           "an HLS playlist",
	} {
		in, err := Open(t.Context(), name, Options{})
		if err == nil {
			in.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "odd:"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	if err := os.WriteFile("odd:/x.txt", []byte("hello"), 0o644); err != nil { // odd://x.txt names it
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), "odd://x.txt", Options{}); err == nil || !strings.Contains(err.Error(), "format known here") {
		t.Errorf("a file whose name looks like a URL: %v", err)
	}
}
