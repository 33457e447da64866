package dash

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
)

var update = flag.Bool("update", false, "write the golden files anew")

func sample() *Presentation {
	video := Representation{
		ID: "video0", Codecs: "avc1.64001f", Bandwidth: 2e6, Width: 1280, Height: 720, SAR: av.Rational{Num: 1, Den: 1},
		FrameRate: av.Rational{Num: 30000, Den: 1001}, Timescale: 30000, TimeOffset: 2002, Init: "video0/init.mp4", Media: "video0/$Number%05d$.m4s",
		StartNumber: 1, Segments: []Segment{{2002, 60060}, {62062, 60060}, {122122, 30030}},
	}
	audio := Representation{
		ID: "audio0", Codecs: "mp4a.40.2", Bandwidth: 128000, SampleRate: 48000, Channels: 2, Timescale: 48000, TimeOffset: 3203,
		Init: "audio0/init.mp4", Media: "audio0/$Number%05d$.m4s", StartNumber: 1, Segments: []Segment{{3203, 96256}, {99459, 95232}, {300000, 48128}},
	}
	second := video
	second.Timescale, second.TimeOffset, second.StartNumber, second.FrameRate, second.SAR = 1, 0, 4, av.Rational{}, av.Rational{}
	second.Segments = []Segment{{0, 2}, {2, 2}}
	return &Presentation{Periods: []Period{
		{Duration: 5005 * time.Millisecond, Sets: []Set{{Kind: av.Video, StartsWithSAP: 1, Representation: video}, {Kind: av.Audio, Language: "de", StartsWithSAP: 1, Representation: audio}}},
		{Duration: 4 * time.Second, Sets: []Set{{Kind: av.Video, Representation: second}}},
	}}
}

// What is written is read back to the same text.
func TestGolden(t *testing.T) {
	text, err := sample().Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	const file = "testdata/golden/two-periods.mpd"
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
	if again := rewrite(t, text); !bytes.Equal(again, text) {
		t.Errorf("read and written again:\n%s", again)
	}
}

func rewrite(t *testing.T, text []byte) []byte {
	t.Helper()
	var r Reader
	m, err := r.MPD(text)
	if err != nil {
		t.Fatal(err)
	}
	p, err := r.Presentation(m)
	if err != nil {
		t.Fatal(err)
	}
	again, err := p.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return again
}

const live = `<?xml version="1.0"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="dynamic" availabilityStartTime="2026-03-01T00:00:00Z" publishTime="2026-03-01T00:00:10.5Z"
  minimumUpdatePeriod="PT2S" timeShiftBufferDepth="PT1M30.25S" minBufferTime="PT1S" profiles="a">
 <BaseURL>http://example.com/</BaseURL>
 <Period id="p" start="PT0S">
  <AdaptationSet mimeType="video/mp4" segmentAlignment="true" codecs="avc1.64001f" width="640" height="360">
   <SegmentTemplate timescale="1000" duration="2000" startNumber="5" media="$RepresentationID$/$Number%03d$-$Bandwidth$$$.m4s" initialization="i" availabilityTimeOffset="1.5" availabilityTimeComplete="false"/>
   <Representation id="v" bandwidth="1"/>
   <Representation id="w" bandwidth="2" width="1280" height="720"><SegmentTemplate><SegmentTimeline><S t="100" d="10" r="2"/><S d="20"/><S t="200" d="50" r="-1"/></SegmentTimeline></SegmentTemplate></Representation>
  </AdaptationSet>
 </Period>
</MPD>`

func TestInheritance(t *testing.T) {
	var r Reader
	m, err := r.MPD([]byte(live))
	if err != nil {
		t.Fatal(err)
	}
	if !m.Dynamic || m.Update != 2*time.Second || m.TimeShift != 90250*time.Millisecond || m.Delay != Absent || m.Base != "http://example.com/" {
		t.Errorf("%+v", m)
	}
	set := &m.Stretches[0].Sets[0]
	v, w := &set.Tracks[0], &set.Tracks[1]
	if set.ContentType != "video" || v.Codecs != "avc1.64001f" || v.Width != 640 || w.Width != 1280 || v.Line != 8 {
		t.Errorf("%+v %+v", v, w)
	}
	if a := &v.Addressing; a.How != ByNumber || a.Early != 1500*time.Millisecond || a.Complete || !a.HasEarly || a.Init != "i" {
		t.Errorf("%+v", a)
	}
	list, err := r.Segments(v, 7*time.Second, 0)
	if err != nil || len(list) != 4 || list[3] != (SegmentRef{Number: 8, Time: 6000, Dur: 1000, URL: "v/008-1$.m4s", Line: 7}) {
		t.Errorf("%+v %v", list, err)
	}
	list, err = r.Segments(w, 310*time.Millisecond, 0)
	if err != nil || len(list) != 7 || list[3].Time != 130 || list[3].Dur != 20 || list[6].Time != 300 || list[6].Number != 11 {
		t.Errorf("%+v %v", list, err)
	}
	if _, err := (&Reader{MaxEntries: 3}).Segments(v, 7*time.Second, 0); !errors.Is(err, av.ErrTooLarge) {
		t.Error(err)
	}
}

func TestFaults(t *testing.T) {
	for _, c := range []struct {
		from, to string
		line     int
		kind     error
	}{
		{"PT2S", "2s", 3, av.ErrInvalid},
		{"PT2S", "P200Y", 3, av.ErrInvalid},
		{"</MPD>", "", 12, av.ErrTruncated},
		{"</Period>", "</Perio>", 11, av.ErrInvalid},
		{`timescale="1000"`, `timescale="0"`, 7, av.ErrInvalid},
		{`timescale="1000"`, `timescale="99999999999999999999"`, 7, av.ErrInvalid},
		{`segmentAlignment="true"`, `segmentAlignment="yes"`, 6, av.ErrInvalid},
		{`2026-03-01T00:00:00Z`, `March`, 3, av.ErrInvalid},
		{"<MPD", "<Mpd", 3, av.ErrInvalid},
		{`<Period id="p"`, `<Period id="&lol;"`, 5, av.ErrInvalid},
	} {
		_, err := new(Reader).MPD([]byte(strings.Replace(live, c.from, c.to, 1)))
		var at *LineError
		if !errors.As(err, &at) || at.Line != c.line || !errors.Is(err, c.kind) {
			t.Errorf("%s: %v, line %d wanted", c.to, err, c.line)
		}
	}
}

func TestBounds(t *testing.T) {
	for _, r := range []Reader{{MaxBytes: 100}, {MaxEntries: 5}, {MaxDepth: 3}} {
		if _, err := r.MPD([]byte(live)); !errors.Is(err, av.ErrTooLarge) {
			t.Errorf("%+v: %v", r, err)
		}
	}
	// A repeat count is not believed.
	m, err := new(Reader).MPD([]byte(strings.Replace(live, `r="2"`, `r="4000000000"`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	if list, err := new(Reader).Segments(&m.Stretches[0].Sets[0].Tracks[1], Absent, 0); !errors.Is(err, av.ErrTooLarge) || len(list) != DefaultMaxEntries {
		t.Error(len(list), err)
	}
}

func TestParseDuration(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"PT0S": 0, "PT1.5S": 1500 * time.Millisecond, "PT1H2M3S": 3723 * time.Second, "P1DT1S": 24*time.Hour + time.Second, "PT0.000001S": time.Microsecond,
		"P56Y": 56 * 365 * 24 * time.Hour, "P1M": 720 * time.Hour, "PT1M": time.Minute,
	} {
		if got, err := parseDuration(s); got != want || err != nil {
			t.Errorf("%s: %v %v", s, got, err)
		}
	}
	for _, s := range []string{"", "P", "T1S", "PT1", "PTS", "-PT1S", "PT1X", "PT1S1S", "P1S", "PT1..2S"} {
		if got, err := parseDuration(s); err == nil {
			t.Errorf("%q: %v", s, got)
		}
	}
}

func TestPrefixes(t *testing.T) {
	avtest.Prefixes(t, []byte(live), func(b []byte) { exercise(t, b) })
}

// exercise reads b as far as it goes.
func exercise(t *testing.T, b []byte) {
	r := Reader{MaxEntries: 200}
	m, err := r.MPD(b)
	if err != nil {
		var at *LineError
		if !errors.As(err, &at) || at.Line < 1 {
			t.Fatalf("no line: %v", err)
		}
		return
	}
	for i := range m.Stretches {
		p := &m.Stretches[i]
		for k := range p.Sets {
			for n := range p.Sets[k].Tracks {
				_, _ = r.Segments(&p.Sets[k].Tracks[n], p.Duration, 0)
			}
		}
	}
	_, _ = r.Presentation(m)
}

func FuzzMPD(f *testing.F) {
	f.Add([]byte(live))
	text, err := sample().Append(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Fuzz(func(t *testing.T, b []byte) {
		exercise(t, b)
	})
}
