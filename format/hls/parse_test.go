package hls

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
)

func TestMediaFields(t *testing.T) {
	text, err := os.ReadFile("testdata/golden/low.m3u8")
	if err != nil {
		t.Fatal(err)
	}
	m, err := new(Reader).Media(text)
	if err != nil {
		t.Fatal(err)
	}
	if m.Version != 10 || m.TargetDuration != 2 || m.Sequence != 266 || m.DiscontinuitySequence != 3 || m.Skipped != 3 || len(m.Removed) != 2 {
		t.Errorf("%+v", m)
	}
	if c := m.Control; !c.CanBlockReload || !c.CanSkipDateRanges || c.PartHoldBack != ms(1002) || m.PartTarget != ms(334) {
		t.Errorf("%+v %v", c, m.PartTarget)
	}
	if len(m.Segments) != 3 || m.Segments[2].URI != "" || len(m.Segments[2].Parts) != 2 {
		t.Fatalf("%+v", m.Segments)
	}
	s := &m.Segments[1]
	if !s.Discontinuity || s.Keys[0].Method != "AES-128" || len(s.Keys[0].IV) != 16 || !s.ProgramDateTime.Equal(at(2)) || !s.Parts[0].Independent {
		t.Errorf("%+v", s)
	}
	if got := strings.Split(string(text), "\n")[s.Line-1]; got != s.URI {
		t.Errorf("line %d is %q", s.Line, got)
	}
	if s.Span.Start != 2002000000 || s.Span.Dur != 667333000 || s.Parts[1].Span.Start != s.Span.Start+s.Parts[0].Span.Dur {
		t.Errorf("%+v", s.Span)
	}
	d := &m.Dates[0]
	if d.ID != "ad" || *d.Duration != ms(12500) || !bytes.Equal(d.Out, []byte{0xfc, 0x30}) || d.Client.Get("X-COM") != "1" {
		t.Errorf("%+v", d)
	}
}

const head = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n"

// Ranges without an offset follow the one before.
func TestRanges(t *testing.T) {
	m, err := new(Reader).Media([]byte(head + "#EXTINF:1,\n#EXT-X-BYTERANGE:10@5\na\n#EXTINF:1,\n#EXT-X-BYTERANGE:7\na\n" +
		"#EXT-X-PART:DURATION=0.5,URI=\"b\",BYTERANGE=\"3@0\"\n#EXT-X-PART:DURATION=0.5,URI=\"b\",BYTERANGE=\"4\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	if m.Segments[1].Range != (ByteRange{7, 15}) || m.Segments[2].Parts[1].Range != (ByteRange{4, 3}) {
		t.Errorf("%+v", m.Segments)
	}
}

func TestVariables(t *testing.T) {
	r := Reader{Import: map[string]string{"base": "https://h"}, Query: func(n string) (string, bool) { return "q-" + n, true }}
	m, err := r.Media([]byte(head + "#EXT-X-DEFINE:NAME=\"a\",VALUE=\"{$a}x\"\n#EXT-X-DEFINE:IMPORT=\"base\"\n#EXT-X-DEFINE:QUERYPARAM=\"t\"\n#EXTINF:1,\n{$base}/{$a}?{$t}{$\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Segments[0].URI; got != "https://h/{$a}x?q-t{$" {
		t.Errorf("%q", got)
	}
}

// Every fault is told with its line and its tag, and reading goes on behind it.
func TestFaults(t *testing.T) {
	for _, c := range []struct {
		text string
		line int
		tag  string
		kind error
	}{
		{"#EXT-X-TARGETDURATION:2\n#EXTINF:1,\na\n", 1, "EXTM3U", av.ErrInvalid},
		{"\xef\xbb\xbf" + head + "#EXTINF:1,\na\n", 1, "", av.ErrInvalid},
		{head + "#EXTINF:1,\na\xff\n", 1, "", av.ErrInvalid},
		{head + "#EXTINF:1,\na\x01\n", 4, "", av.ErrInvalid},
		{"#EXTM3U\n#EXTINF:1,\na\n", 1, "EXT-X-TARGETDURATION", av.ErrInvalid},
		{"#EXTM3U\n#EXT-X-TARGETDURATION:2.5\n#EXTINF:1,\na\n", 2, "EXT-X-TARGETDURATION", av.ErrInvalid},
		{head + "a\n", 3, "", av.ErrInvalid},
		{head + "#EXTINF:-1,\na\n", 3, "EXTINF", av.ErrInvalid},
		{head + "#EXTINF:1e3,\na\n", 3, "EXTINF", av.ErrInvalid},
		{head + "#EXTINF:1.,\na\n", 3, "EXTINF", av.ErrInvalid},
		{head + "#EXTINF:1,\n", 3, "EXTINF", av.ErrTruncated},
		{head + "#EXTINF:1,\n#EXT-X-BYTERANGE:10\na\n", 5, "", av.ErrInvalid},
		{head + "#EXTINF:1,\n#EXT-X-BYTERANGE:99999999999999999999\na\n", 4, "EXT-X-BYTERANGE", av.ErrInvalid},
		{head + "#EXT-X-MAP:URI=\"i\",BYTERANGE=\"10\"\n", 3, "EXT-X-MAP", av.ErrInvalid},
		{head + "#EXT-X-KEY:METHOD=AES-128\n", 3, "EXT-X-KEY", av.ErrInvalid},
		{head + "#EXT-X-KEY:METHOD=AES-128,URI=\"k\n", 3, "EXT-X-KEY", av.ErrInvalid},
		{head + "#EXT-X-KEY:METHOD=AES-128,URI=\"k\",IV=0xzz\n", 3, "EXT-X-KEY", av.ErrInvalid},
		{head + "#EXT-X-KEY:METHOD=NONE,METHOD=NONE\n", 3, "EXT-X-KEY", av.ErrInvalid},
		{head + "#EXT-X-PART:DURATION=1\n", 3, "EXT-X-PART", av.ErrInvalid},
		{head + "#EXT-X-PART:DURATION=1,URI=\"p\",INDEPENDENT=yes\n", 3, "EXT-X-PART", av.ErrInvalid},
		{head + "#EXT-X-PART:DURATION=1,URI=\"p\",BYTERANGE=\"4\"\n", 3, "EXT-X-PART", av.ErrInvalid},
		{head + "#EXT-X-RENDITION-REPORT:LAST-MSN=1\n", 3, "EXT-X-RENDITION-REPORT", av.ErrInvalid},
		{head + "#EXT-X-DATERANGE:ID=\"a\",DURATION=-1\n", 3, "EXT-X-DATERANGE", av.ErrInvalid},
		{head + "#EXT-X-PROGRAM-DATE-TIME:yesterday\n", 3, "EXT-X-PROGRAM-DATE-TIME", av.ErrInvalid},
		{head + "#EXT-X-DEFINE:NAME=\"a\",VALUE=\"1\"\n#EXT-X-DEFINE:NAME=\"a\",VALUE=\"2\"\n", 4, "EXT-X-DEFINE", av.ErrInvalid},
		{head + "#EXT-X-DEFINE:NAME=\"a\",VALUE=\"1\"\n#EXTINF:1,\n{$b}\n", 5, "", av.ErrInvalid},
		{head + "#EXT-X-PLAYLIST-TYPE:LIVE\n", 3, "EXT-X-PLAYLIST-TYPE", av.ErrInvalid},
		{"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=x\nv\n", 2, "EXT-X-STREAM-INF", av.ErrInvalid},
		{"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n", 2, "EXT-X-STREAM-INF", av.ErrTruncated},
		{"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n#EXT-X-VERSION:4\nv\n", 3, "EXT-X-VERSION", av.ErrInvalid},
		{"#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\"\n", 2, "EXT-X-MEDIA", av.ErrInvalid},
		{"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,RESOLUTION=19x\nv\n", 2, "EXT-X-STREAM-INF", av.ErrInvalid},
		{"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS=avc1\nv\n", 2, "EXT-X-STREAM-INF", av.ErrInvalid},
	} {
		err := parse(&Reader{}, []byte(c.text))
		var at *LineError
		if !errors.As(err, &at) || at.Line != c.line || at.Tag != c.tag || !errors.Is(err, c.kind) {
			t.Errorf("%q: %v; line %d, %s wanted", c.text, err, c.line, c.tag)
		}
		told := 0
		if err := parse(&Reader{Fault: func(*LineError) { told++ }}, []byte(c.text)); err != nil || told == 0 {
			t.Errorf("%q: told of %d faults, %v", c.text, told, err)
		}
	}
}

func parse(r *Reader, b []byte) error {
	lines, err := r.Lines(b)
	if err != nil {
		return err
	}
	if IsMultivariant(lines) {
		_, err = r.MultivariantLines(lines)
	} else {
		_, err = r.MediaLines(lines)
	}
	return err
}

func TestBounds(t *testing.T) {
	long := head + strings.Repeat("#EXTINF:1,\na\n", 20)
	for _, r := range []*Reader{{MaxBytes: 100}, {MaxEntries: 19}} {
		r.Fault = func(e *LineError) { t.Error("a bound is no fault of a line:", e) }
		if err := parse(r, []byte(long)); !errors.Is(err, av.ErrTooLarge) {
			t.Errorf("%+v: %v", r, err)
		}
	}
	if err := parse(&Reader{MaxEntries: 20}, []byte(long)); err != nil {
		t.Error(err)
	}
	// A variable put in a thousand times does not make a large text of a small one.
	bomb := head + "#EXT-X-DEFINE:NAME=\"a\",VALUE=\"" + strings.Repeat("x", 10000) + "\"\n#EXTINF:1,\n" + strings.Repeat("{$a}", 1000) + "\n"
	if err := parse(&Reader{}, []byte(bomb)); !errors.Is(err, av.ErrTooLarge) {
		t.Error(err)
	}
	forever := head + strings.Repeat("#EXTINF:1000000000,\na\n", 9)
	if err := parse(&Reader{}, []byte(forever)); !errors.Is(err, av.ErrTooLarge) {
		t.Error(err)
	}
}

func TestParseSeconds(t *testing.T) {
	for s, want := range map[string]time.Duration{"6": 6 * time.Second, "6.006": ms(6006), "0.1234567899": 123456789, "10.5": ms(10500)} {
		if got, err := parseSeconds(s); got != want || err != nil {
			t.Errorf("%s: %v %v", s, got, err)
		}
	}
	for _, s := range []string{"", ".5", "1.x", "+1", "-1", "1..2", "99999999999", "1."} {
		if got, err := parseSeconds(s); err == nil {
			t.Errorf("%q: %v", s, got)
		}
	}
}

// A rounded frame rate is the fraction that it comes from.
func TestRate(t *testing.T) {
	for s, want := range map[string]av.Rational{"23.976": {Num: 24000, Den: 1001}, "29.970": {Num: 30000, Den: 1001}, "25.000": {Num: 25, Den: 1}, "12.5": {Num: 25, Den: 2}} {
		v := &values{list: Attributes{{"FRAME-RATE", s, false}}}
		if got := v.rate("FRAME-RATE"); got != want || v.err != nil {
			t.Errorf("%s: %v %v", s, got, v.err)
		}
	}
}

func TestPrefixes(t *testing.T) {
	for name, p := range playlists() {
		t.Run(name, func(t *testing.T) {
			avtest.Prefixes(t, p.Append(nil), func(b []byte) {
				_ = parse(&Reader{}, b)
				_ = parse(&Reader{Fault: func(*LineError) {}}, b)
			})
		})
	}
}

// Any playlist that Check lets through is read back to the same text.
func TestRoundTrip(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		m := &Media{Sequence: rnd.Int64N(1e6), TargetDuration: 9, PartTarget: ms(500), EndList: rnd.IntN(2) == 0}
		pos := rnd.Int64N(1e9)
		for i := range rnd.IntN(12) {
			s := Segment{URI: fmt.Sprintf("%d.m4s", i), Span: span(pos, 1+rnd.Int64N(200)), Discontinuity: rnd.IntN(5) == 0, Gap: rnd.IntN(9) == 0}
			if rnd.IntN(3) == 0 {
				s.Map = Map{URI: fmt.Sprintf("i%d.mp4", rnd.IntN(2)), Range: ByteRange{1 + rnd.Int64N(99), rnd.Int64N(99)}}
			}
			for j := range rnd.IntN(4) {
				s.Parts = append(s.Parts, Part{URI: fmt.Sprintf("%d.%d", i, j), Span: span(pos+int64(j)*10, 10), Independent: j == 0})
			}
			pos += s.Span.Dur
			m.Segments = append(m.Segments, s)
		}
		if err := m.Check(); err != nil {
			t.Fatal(err)
		}
		text := m.Append(nil)
		if again := reread(t, text); !bytes.Equal(again, text) {
			t.Fatalf("%s\nbecame\n%s", text, again)
		}
	}
}

func seed(f *testing.F) {
	names, err := filepath.Glob("testdata/golden/*.m3u8")
	if err != nil || len(names) == 0 {
		f.Fatal(err, names)
	}
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
}

// stable: what was read without a fault is, once written, read to the same text.
func stable(t *testing.T, b []byte, append1, append2 func([]byte) ([]byte, error)) {
	first, err := append1(b)
	if err != nil {
		var at *LineError
		if !errors.As(err, &at) || at.Line < 1 {
			t.Fatalf("no line: %v", err)
		}
		return
	}
	if bytes.Contains(first, []byte("{$")) {
		return // the value of a variable looks like another
	}
	second, err := append2(first)
	if err == nil && !bytes.Equal(first, second) {
		t.Fatalf("%q\nbecame\n%q", first, second)
	}
}

func FuzzMedia(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		read := func(b []byte) ([]byte, error) {
			m, err := new(Reader).Media(b)
			if err != nil {
				return nil, err
			}
			return m.Append(nil), nil
		}
		_, _ = (&Reader{Fault: func(*LineError) {}}).Media(b)
		stable(t, b, read, read)
	})
}

func FuzzMultivariant(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		read := func(b []byte) ([]byte, error) {
			m, err := new(Reader).Multivariant(b)
			if err != nil {
				return nil, err
			}
			return m.Append(nil), nil
		}
		_, _ = (&Reader{Fault: func(*LineError) {}}).Multivariant(b)
		stable(t, b, read, read)
	})
}
