package hls

import (
	"errors"
	"strings"
	"testing"

	"github.com/cleave-video/cleave/av"
)

func second(n int) Span {
	return Span{Start: int64(n), Dur: 1, Timebase: av.Timebase{Num: 1, Den: 1}}
}

// TestKeys: where EXT-X-KEY stands, and which EXT-X-MAP it does not apply to.
func TestKeys(t *testing.T) {
	whole := func(uri string, n byte) []Key {
		return []Key{{Method: MethodAES128, URI: uri, IV: []byte{15: n}}}
	}
	samples := func(uri string) []Key { return []Key{{Method: MethodSampleAES, URI: uri}} }
	for name, test := range map[string]struct {
		in   Media
		want string
	}{
		"a vector for each segment": {
			Media{Segments: []Segment{{URI: "1", Keys: whole("k", 1), Map: Map{URI: "i"}}, {URI: "2", Keys: whole("k", 2)}, {URI: "3", Keys: whole("k", 2)}}},
			"6 MAP:URI=\"i\" KEY:METHOD=AES-128,URI=\"k\",IV=0x00000000000000000000000000000001 1 KEY:METHOD=AES-128,URI=\"k\",IV=0x00000000000000000000000000000002 2 3",
		},
		"a new header stays in the clear": {
			Media{Map: Map{URI: "i"}, Keys: whole("k", 1), Segments: []Segment{{URI: "1"}, {URI: "2", Map: Map{URI: "j"}}, {URI: "3", Map: Map{URI: "j"}}}},
			"6 MAP:URI=\"i\" KEY:METHOD=AES-128,URI=\"k\",IV=0x00000000000000000000000000000001 1 " +
				"KEY:METHOD=NONE MAP:URI=\"j\" KEY:METHOD=AES-128,URI=\"k\",IV=0x00000000000000000000000000000001 2 3",
		},
		"keys of samples": {
			Media{Segments: []Segment{{URI: "1", Keys: samples("k"), Map: Map{URI: "i"}}, {URI: "2", Keys: samples("k")}, {URI: "3", Map: Map{URI: "j"}}, {URI: "4", Keys: samples("l")}}},
			"6 MAP:URI=\"i\" KEY:METHOD=SAMPLE-AES,URI=\"k\" 1 2 MAP:URI=\"j\" 3 KEY:METHOD=SAMPLE-AES,URI=\"l\" 4",
		},
		"in the clear from then on": {
			Media{Segments: []Segment{{URI: "1", Keys: samples("k")}, {URI: "2", Keys: []Key{{Method: MethodNone}}}}},
			"5 KEY:METHOD=SAMPLE-AES,URI=\"k\" 1 KEY:METHOD=NONE 2",
		},
		"with an ID": {
			Media{Segments: []Segment{{URI: "1", Keys: []Key{{Method: MethodSampleAES, URI: "k", Format: FormatClearKey, ID: []byte{15: 10}}}}}},
			"5 KEY:METHOD=SAMPLE-AES,URI=\"k\",KEYFORMAT=\"org.w3.clearkey\",KEYID=0x0000000000000000000000000000000a 1",
		},
		"two formats": {
			Media{Segments: []Segment{{URI: "1", Keys: []Key{
				{Method: MethodSampleAESCTR, URI: "k"}, {Method: MethodSampleAESCTR, URI: "u", Format: "urn:uuid:1", Versions: "1/2"},
			}}}},
			"5 KEY:METHOD=SAMPLE-AES-CTR,URI=\"k\" KEY:METHOD=SAMPLE-AES-CTR,URI=\"u\",KEYFORMAT=\"urn:uuid:1\",KEYFORMATVERSIONS=\"1/2\" 1",
		},
	} {
		m := test.in
		m.TargetDuration, m.EndList = 1, true
		for i := range m.Segments {
			m.Segments[i].Span = second(i)
		}
		if err := m.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var got []string
		for line := range strings.Lines(string(m.Append(nil))) {
			line = strings.TrimSpace(line)
			for _, tag := range []string{"#EXT-X-VERSION:", "#EXT-X-"} {
				if v, ok := strings.CutPrefix(line, tag); ok && (strings.HasPrefix(v, "KEY") || strings.HasPrefix(v, "MAP") || tag == "#EXT-X-VERSION:") {
					got = append(got, v)
					break
				}
			}
			if line[0] != '#' {
				got = append(got, line)
			}
		}
		if s := strings.Join(got, " "); s != test.want {
			t.Errorf("%s:\n%s\nwant\n%s", name, s, test.want)
		}
	}
}

func TestSessionKeys(t *testing.T) {
	m := Multivariant{SessionKeys: []Key{{Method: MethodSampleAES, URI: "a"}, {Method: MethodAES128, URI: "b", IV: make([]byte, 16)}}}
	if err := m.Check(); err != nil {
		t.Error(err)
	}
	want := "#EXTM3U\n#EXT-X-VERSION:5\n#EXT-X-SESSION-KEY:METHOD=SAMPLE-AES,URI=\"a\"\n" +
		"#EXT-X-SESSION-KEY:METHOD=AES-128,URI=\"b\",IV=0x00000000000000000000000000000000\n"
	if got := string(m.Append(nil)); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	m.SessionKeys = []Key{{Method: MethodNone}}
	if err := m.Check(); !errors.Is(err, av.ErrInvalid) {
		t.Error("METHOD=NONE for the session:", err)
	}
}

// TestBadKeys: what 4.4.4.4 forbids.
func TestBadKeys(t *testing.T) {
	for name, keys := range map[string][]Key{
		"NONE with a URI":        {{Method: MethodNone, URI: "k"}},
		"NONE with another":      {{Method: MethodNone}, {Method: MethodAES128, URI: "k"}},
		"no method":              {{URI: "k"}},
		"unknown":                {{Method: "AES-512", URI: "k"}},
		"no URI":                 {{Method: MethodSampleAES}},
		"quote":                  {{Method: MethodSampleAES, URI: "k\""}},
		"line":                   {{Method: MethodSampleAES, URI: "k", Format: "a\nb"}},
		"versions":               {{Method: MethodSampleAES, URI: "k", Versions: "\x01"}},
		"CTR with an IV":         {{Method: MethodSampleAESCTR, URI: "k", IV: make([]byte, 16)}},
		"the second is at fault": {{Method: MethodSampleAES, URI: "k"}, {Method: MethodSampleAES}},
	} {
		for _, m := range []Media{
			{TargetDuration: 1, Keys: keys},
			{TargetDuration: 1, Segments: []Segment{{URI: "1", Span: second(0), Keys: keys}}},
		} {
			if err := m.Check(); !errors.Is(err, av.ErrInvalid) {
				t.Errorf("%s: %v", name, err)
			}
		}
		m := Media{Keys: keys}
		if n := strings.Count(string(m.Append(nil)), "\n"); n != 5+len(keys) {
			t.Errorf("%s: it breaks out of its line:\n%s", name, m.Append(nil))
		}
	}
}

// TestKeyID: KEYID is read where it is an ID, and passed over where it is anything else.
func TestKeyID(t *testing.T) {
	for value, want := range map[string]bool{
		"0x000102030405060708090A0b0c0d0e0f": true, `"0x000102030405060708090A0b0c0d0e0f"`: true, "0x00": false, "x": false, `"a b"`: false, "0x0g": false,
	} {
		m, err := (&Reader{}).Media([]byte("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"k\",KEYID=" + value + "\n#EXTINF:1,\n1\n"))
		if err != nil || (len(m.Segments[0].Keys[0].ID) == 16) != want {
			t.Errorf("%s: %+v, %v", value, m, err)
		}
	}
}
