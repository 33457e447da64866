package dash

import (
	"bytes"
	"strings"
	"testing"
)

// Representations that players may switch between are in one AdaptationSet, and are read
// back so.
func TestMore(t *testing.T) {
	p := sample()
	small := p.Periods[0].Sets[0].Representation
	small.ID, small.Width, small.Height, small.Bandwidth = "video0-360p", 640, 360, 600_000
	p.Periods[0].Sets[0].More = []Representation{small}
	text, err := p.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	set, _, _ := strings.Cut(string(text), "</AdaptationSet>")
	if strings.Count(set, "<Representation ") != 2 || strings.Count(set, "<SegmentTimeline>") != 2 || !strings.Contains(set, `id="video0-360p"`) {
		t.Error(set)
	}
	if again := rewrite(t, text); !bytes.Equal(again, text) {
		t.Errorf("read and written again:\n%s", again)
	}
	p.Periods[0].Sets[0].More[0].Segments = []Segment{{2002, 900_000}}
	if text, err = p.Append(nil); err != nil || !strings.Contains(string(text), `maxSegmentDuration="PT30S"`) {
		t.Errorf("the longest segment is in another Representation: %v\n%s", err, text)
	}
}
