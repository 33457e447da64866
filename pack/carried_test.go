package pack

import (
	"errors"
	"testing"

	"github.com/cleave-video/cleave/av"
)

// TestCarry: what is left out is data to the chunker, and no change of it is one.
func TestCarry(t *testing.T) {
	video := av.Track{Kind: av.Video, Codec: av.H264, Timebase: av.Clock90k, Config: []byte{1}}
	other := av.Track{Kind: av.Video, Codec: av.VP9, Timebase: av.Clock90k}
	data := av.Track{Kind: av.Data, Codec: av.Private, Timebase: av.Clock90k, Config: []byte{2}}
	fits := func(t *av.Track) error {
		switch {
		case t.Codec == av.VP9:
			return av.Errorf("ts", -1, "stream_type", "%w", av.ErrUnsupported)
		case t.Kind == av.Data:
			return errors.New("damaged")
		}
		return nil
	}
	a := Carry([]av.Track{other, video, data}, fits)
	if a.Has(0) || !a.Has(1) || a.Has(2) || a.Has(3) || a.Has(-1) || a.Tracks[0].Kind != av.Data || a.Tracks[1].Kind != av.Video {
		t.Errorf("%+v", a)
	}
	changed := video
	changed.Config = []byte{3}
	for name, c := range map[string]struct {
		tracks []av.Track
		same   bool
	}{
		"the same":                  {[]av.Track{other, video, data}, true},
		"other data":                {[]av.Track{other, video, {Kind: av.Data, Config: []byte{9}}}, true},
		"one left out is gone":      {[]av.Track{other, video}, true},
		"one left out comes":        {[]av.Track{other, video, data, data}, true},
		"a configuration":           {[]av.Track{other, changed, data}, false},
		"one comes":                 {[]av.Track{other, video, video}, false},
		"one goes":                  {[]av.Track{other}, false},
		"it has another number now": {[]av.Track{video, other}, false},
	} {
		if b := Carry(c.tracks, fits); a.Same(&b) != c.same || b.Same(&a) != c.same {
			t.Errorf("%s: same is %v", name, !c.same)
		}
	}
}
