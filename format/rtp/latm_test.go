package rtp

import (
	"encoding/hex"
	"testing"

	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/pion/rtp"
)

// The configuration that GStreamer 1.22 makes of AAC by ffmpeg's encoder: LC with the
// extension that says that there is no SBR.
func TestLATMExtension(t *testing.T) {
	for name, config := range map[string]string{"GStreamer with an extension": "40002310adca00", "without": "400023103fc0"} {
		b, err := hex.DecodeString(config)
		if err != nil {
			t.Fatal(err)
		}
		var c mpeg4audio.StreamMuxConfig
		if err := c.Unmarshal(b); err != nil {
			t.Fatal(name, err)
		}
		track, err := newTrack(&format.MPEG4AudioLATM{PayloadTyp: 96, StreamMuxConfig: &c})
		if err != nil {
			t.Fatal(name, err)
		}
		frame := []byte{0x21, 0x10, 0x05, 0x20}
		got, err := track.payload.decode(&rtp.Packet{Header: rtp.Header{Marker: true}, Payload: append([]byte{byte(len(frame))}, frame...)})
		if err != nil || len(got) != 1 || len(got[0].parts) != 1 || string(got[0].parts[0]) != string(frame) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		if asc := track.payload.config(); len(asc) < 2 || asc[0] != 0x11 || asc[1] != 0x88 {
			t.Errorf("%s: AudioSpecificConfig %x", name, asc)
		}
	}
}
