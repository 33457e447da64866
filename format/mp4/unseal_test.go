package mp4_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/format/mp4"
)

// TestUnseal: what an encrypted header is without its encryption is read as the track
// that it was made of; a header in the clear stays as it is.
func TestUnseal(t *testing.T) {
	for _, track := range tracks(t) {
		plain, err := mp4.AppendInit(nil, &track, 1, 0)
		if err != nil {
			t.Fatal(err)
		}
		same, err := mp4.Unseal(plain)
		if err != nil || !bytes.Equal(same, plain) {
			t.Errorf("a header in the clear: %v", err)
		}
		want := described(t, plain)
		for name, p := range protections {
			sealed, err := mp4.AppendSealedInit(nil, &track, 1, 0, &p)
			if err != nil {
				t.Fatal(err)
			}
			kept := bytes.Clone(sealed)
			b, err := mp4.Unseal(sealed)
			if err != nil || !bytes.Equal(sealed, kept) || len(b) != len(sealed) {
				t.Fatalf("%s: %v", name, err)
			}
			if d := cmp.Diff(want, described(t, b)); d != "" {
				t.Errorf("%s (-clear +unsealed):\n%s", name, d)
			}
			avtest.Prefixes(t, sealed, func(b []byte) { _, _ = mp4.Unseal(b) })
			lost := bytes.Replace(sealed, []byte("frma"), []byte("free"), 1)
			if _, err := mp4.Unseal(lost); !errors.Is(err, av.ErrInvalid) {
				t.Errorf("%s without frma: %v", name, err)
			}
		}
	}
}

// described are the tracks of a header.
func described(t *testing.T, header []byte) []av.Track {
	t.Helper()
	d := mp4.New(bytes.NewReader(header), int64(len(header)))
	defer d.Close()
	if _, err := d.ReadPacket(av.Heap{}); !errors.Is(err, av.ErrTracks) {
		t.Fatal(err)
	}
	return d.Tracks()
}

func FuzzUnseal(f *testing.F) {
	d := avtest.NewSynthetic(avtest.Spec{Video: avtest.Video{Frames: 1}})
	if _, err := d.ReadPacket(av.Heap{}); !errors.Is(err, av.ErrTracks) {
		f.Fatal(err)
	}
	for _, p := range protections {
		b, err := mp4.AppendSealedInit(nil, &d.Tracks()[0], 1, 0, &p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		out, err := mp4.Unseal(b)
		if err != nil {
			return
		}
		if len(out) != len(b) {
			t.Fatalf("%d bytes of %d", len(out), len(b))
		}
	})
}
