package wire

import (
	"bytes"
	"errors"
	"testing"

	"github.com/cleave-video/cleave/av/avtest"
)

func TestPicture(t *testing.T) {
	p := Picture{Codec: "h264", Config: 6, Size: 7}
	b := append(p.Append(nil), "recordpayload"...)
	var got Picture
	config, data, err := got.Read(bytes.NewReader(b))
	if err != nil || got != p || string(config) != "record" || string(data) != "payload" {
		t.Errorf("%+v, %q, %q: %v", got, config, data, err)
	}
	avtest.Prefixes(t, b, func(b []byte) {
		if _, _, err := new(Picture).Read(bytes.NewReader(b)); err == nil && len(b) < 13 {
			t.Errorf("%d bytes are a picture", len(b))
		}
	})
	for _, bad := range []Picture{{Config: -1}, {Size: -1}, {Config: maxConfig + 1}, {Size: MaxPicture + 1}} {
		if _, _, err := new(Picture).Read(bytes.NewReader(append(bad.Append(nil), b...))); !errors.Is(err, ErrMessage) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if _, _, err := new(Picture).Read(bytes.NewReader([]byte{255, 255, 255, 255, '{'})); !errors.Is(err, ErrMessage) {
		t.Error(err)
	}
}
