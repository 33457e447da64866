package plain

import (
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestText(t *testing.T) {
	for s, want := range map[string]string{
		"":                        "",
		"live/cam1: 2 s “quoted”": "live/cam1: 2 s “quoted”",
		"a\x1b[2Jb\r\n\x00\x7f":   `a\x1b[2Jb\r\n\x00\x7f`,
		"\xffé\xc3":               `\xffé\xc3`,
		"\u202e\u200b":            `\u202e\u200b`,
		"it's":                    "it's",
		"\ufffd":                  "\ufffd", // itself
	} {
		if got := Text(s); got != want {
			t.Errorf("%q: %s, want %s", s, got, want)
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add("a\x1b[2J\xff\u202e")
	f.Fuzz(func(t *testing.T, s string) {
		got := Text(s)
		if !utf8.ValidString(got) {
			t.Errorf("%q", got)
		}
		for _, r := range got {
			if !unicode.IsPrint(r) {
				t.Errorf("%q", got)
			}
		}
	})
}

func TestCount(t *testing.T) {
	for n, want := range map[int]string{0: "0 tracks", 1: "1 track", 2: "2 tracks"} {
		if got := Count(n, "track"); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 999: "999 B", 1023: "1023 B", 1024: "1 KiB", 1536: "1.5 KiB", 1023 << 10: "1023 KiB", 1<<20 - 1: "1 MiB",
		16 << 20: "16 MiB", 446<<20 + 300<<10: "446 MiB", 3 << 30: "3 GiB", 5000 << 30: "5000 GiB",
	} {
		if got := Bytes(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}
