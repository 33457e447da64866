package hls

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cleave-video/cleave/av"
)

var update = flag.Bool("update", false, "write the golden files anew")

func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

func at(seconds int) time.Time {
	return time.Date(2026, 3, 1, 12, 0, seconds, 0, time.UTC)
}

// span counts ticks of a 24000/1001 clock, so that rounding shows.
func span(start, dur int64) Span {
	return Span{Start: start, Dur: dur, Timebase: av.Timebase{Num: 1001, Den: 24000}}
}

// playlists are written, read and written again in these tests.
func playlists() map[string]interface{ Append([]byte) []byte } {
	half := ms(12500)
	return map[string]interface{ Append([]byte) []byte }{
		"vod": &Media{
			TargetDuration: 4, Sequence: 1, Type: VOD, IndependentSegments: true, EndList: true, Map: Map{URI: "init.mp4"},
			Start: &Start{Offset: ms(-4500), Precise: true},
			Segments: []Segment{
				{URI: "1.m4s", Span: span(0, 96), Title: "one, with a comma"},
				{URI: "2.m4s", Span: span(96, 96), Bitrate: 1200},
				{URI: "3.m4s", Span: span(192, 50), Discontinuity: true, Map: Map{URI: "init-2.mp4", Range: ByteRange{700, 0}}},
			},
		},
		"iframes": &Media{
			TargetDuration: 2, Type: VOD, IFramesOnly: true, EndList: true, Map: Map{URI: "init.mp4"},
			Segments: []Segment{
				{URI: "1.m4s", Span: span(0, 48), Range: ByteRange{4000, 24}},
				{URI: "1.m4s", Span: span(48, 48), Range: ByteRange{3000, 9000}},
			},
		},
		"low": &Media{
			TargetDuration: 2, Sequence: 266, DiscontinuitySequence: 3, Map: Map{URI: "init.mp4"}, PartTarget: ms(334),
			Control: ServerControl{CanBlockReload: true, CanSkipUntil: ms(12000), HoldBack: ms(6000), PartHoldBack: ms(1002), CanSkipDateRanges: true},
			Skipped: 3, Removed: []string{"gone", "also gone"},
			Dates: []DateRange{{ID: "ad", Class: "x", Start: at(7), Duration: &half, Out: []byte{0xfc, 0x30}, Client: Attributes{{"X-COM", "1", true}}}},
			Segments: []Segment{
				{URI: "266.m4s", Span: span(0, 48), ProgramDateTime: at(0), Gap: true},
				{
					URI: "267.m4s", Span: span(48, 16), Discontinuity: true, ProgramDateTime: at(2),
					Keys: []Key{{Method: "AES-128", URI: "k", IV: bytes.Repeat([]byte{7}, 16)}},
					Parts: []Part{
						{URI: "267.m4s", Span: span(48, 8), Range: ByteRange{500, 0}, Independent: true},
						{URI: "267.m4s", Span: span(56, 8), Range: ByteRange{300, 500}},
					},
				},
				{Parts: []Part{{URI: "268.0.m4s", Span: span(64, 8), Independent: true}, {URI: "268.1.m4s", Span: span(72, 8), Gap: true}}},
			},
			Hints:   []PreloadHint{{Type: "PART", URI: "268.2.m4s"}, {Type: "MAP", URI: "next.mp4", Start: 10, Length: 900}},
			Reports: []RenditionReport{{URI: "../audio/index.m3u8", LastMSN: 267, LastPart: 1}, {URI: "plain.m3u8", LastMSN: 4, LastPart: -1}},
		},
		"keys": &Media{
			TargetDuration: 2, EndList: true, Type: Event,
			Segments: []Segment{
				{URI: "a.ts", Span: span(0, 48), Keys: []Key{{Method: "SAMPLE-AES", URI: "skd://1", Format: "com.apple.streamingkeydelivery", Versions: "1"}}},
				{URI: "b.ts", Span: span(48, 48), Keys: []Key{{Method: "NONE"}}},
			},
		},
		"multi": &Multivariant{
			IndependentSegments: true, Defines: []Define{{Name: "host", Value: "example.com"}, {Query: "token"}},
			SessionData: []SessionData{{ID: "com.example.title", Value: "Title", Language: "en"}},
			SessionKeys: []Key{{Method: "SAMPLE-AES", URI: "skd://1", Format: "com.apple.streamingkeydelivery"}},
			Steering:    &Steering{URI: "/steer", Pathway: "cdn-a"},
			Media: []Rendition{
				{Type: "AUDIO", GroupID: "a", Name: "English", Language: "en", Default: true, Autoselect: true, Channels: "2", URI: "a.m3u8"},
				{Type: "SUBTITLES", GroupID: "s", Name: "Deutsch", Language: "de", URI: "s.m3u8", More: Attributes{{"FORCED", "YES", false}}},
			},
			Variants: []Variant{{
				URI: "v.m3u8", Bandwidth: 2e6, AverageBandwidth: 1e6, Codecs: "avc1.640028,mp4a.40.2", Width: 1920, Height: 1080,
				FrameRate: av.Rational{Num: 24000, Den: 1001}, Audio: "a", VideoRange: "SDR", More: Attributes{{"SUBTITLES", "s", true}, {"SCORE", "1.5", false}},
			}},
			IFrames: []Variant{{URI: "i.m3u8", Bandwidth: 3e5, Codecs: "avc1.640028", Width: 1920, Height: 1080}},
		},
	}
}

// reread reads text and writes what was read.
func reread(t *testing.T, text []byte) []byte {
	t.Helper()
	r := Reader{Query: func(string) (string, bool) { return "secret", true }}
	lines, err := r.Lines(text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if IsMultivariant(lines) {
		m, err := r.MultivariantLines(lines)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		return m.Append(nil)
	}
	m, err := r.MediaLines(lines)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return m.Append(nil)
}

// What is written is read back to the same text.
func TestGolden(t *testing.T) {
	for name, p := range playlists() {
		t.Run(name, func(t *testing.T) {
			text := p.Append(nil)
			file := filepath.Join("testdata/golden", name+".m3u8")
			if *update {
				if err := os.WriteFile(file, text, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(text, want) {
				t.Errorf("%s is now\n%s", file, text)
			}
			if again := reread(t, text); !bytes.Equal(again, text) {
				t.Errorf("read and written again:\n%s\nfrom\n%s", again, text)
			}
		})
	}
}
