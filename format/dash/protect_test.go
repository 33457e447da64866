package dash

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/Eyevinn/dash-mpd/mpd"

	"github.com/cleave-video/cleave/av"
)

// TestProtection: ContentProtection with its namespaces, as another reader sees it.
func TestProtection(t *testing.T) {
	p := Presentation{Periods: []Period{{Duration: 1e9, Sets: []Set{{
		Kind: av.Video,
		Protection: &Protection{
			Scheme: "cbcs", DefaultKID: [16]byte{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe},
			PSSH: []byte("a box"), LicenseURL: "https://keys.example/?a=1&b=2",
		},
		Representation: Representation{ID: "v", Codecs: "avc1.64001f", Timescale: 1, Init: "i", Media: "m", Segments: []Segment{{Dur: 1}}},
	}}}}}
	b, err := p.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`xmlns:cenc="urn:mpeg:cenc:2013" cenc:default_KID="01234567-89ab-cdef-1032-547698badcfe" schemeIdUri="urn:mpeg:dash:mp4protection:2011" value="cbcs"`,
		`schemeIdUri="urn:uuid:e2719d58-a985-b3c9-781a-b030af78d30e" value="ClearKey1.0"`,
		`<cenc:pssh xmlns:cenc="urn:mpeg:cenc:2013">` + base64.StdEncoding.EncodeToString([]byte("a box")) + `</cenc:pssh>`,
		`<dashif:Laurl xmlns:dashif="https://dashif.org/CPS" licenseType="EME-1.0">https://keys.example/?a=1&amp;b=2</dashif:Laurl>`,
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("%s\nis missing in\n%s", want, b)
		}
	}
	m, err := mpd.ReadFromString(string(b))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(m.Periods[0].AdaptationSets[0].ContentProtections); n != 2 {
		t.Errorf("%d elements", n)
	}
	p.Periods[0].Sets[0].Protection.LicenseURL = ""
	if b, err = p.Append(nil); err != nil || strings.Contains(string(b), "Laurl") {
		t.Errorf("%v: a license server that was not given:\n%s", err, b)
	}
	p.Periods[0].Sets[0].Protection = nil
	if b, err = p.Append(nil); err != nil || strings.Contains(string(b), "ContentProtection") {
		t.Errorf("%v: in the clear:\n%s", err, b)
	}
}
