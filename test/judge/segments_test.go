package judge

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/Eyevinn/mp4ff/mp4"
)

// segments has mp4ff decode every CMAF file and write it again: the same bytes.
func segments(t *testing.T, dir string) {
	for _, folder := range glob(t, dir, "*cmaf*", "*", "init.mp4") {
		init := decode(t, folder)
		if init.Init == nil || len(init.Init.Moov.Traks) != 1 || init.Init.Moov.Mvex == nil {
			t.Fatalf("%s: not an initialization section of one track", folder)
		}
		track := init.Init.Moov.Trak.Tkhd.TrackID
		next, sequence := uint64(0), uint32(0)
		for _, name := range glob(t, filepath.Dir(folder), "*.m4s") {
			f := decode(t, name)
			if len(f.Segments) != 1 || f.Segments[0].Styp == nil {
				t.Fatalf("%s: %d segments", name, len(f.Segments))
			}
			for _, fragment := range f.Segments[0].Fragments {
				traf := fragment.Moof.Traf
				if traf.Tfhd.TrackID != track || fragment.Moof.Mfhd.SequenceNumber <= sequence {
					t.Errorf("%s: track %d, sequence %d after %d", name, traf.Tfhd.TrackID, fragment.Moof.Mfhd.SequenceNumber, sequence)
				}
				sequence = fragment.Moof.Mfhd.SequenceNumber
				if at := traf.Tfdt.BaseMediaDecodeTime(); next != 0 && at != next {
					t.Errorf("%s: tfdt %d, the samples before end at %d", name, at, next)
				}
				samples, err := fragment.GetFullSamples(init.Init.Moov.Mvex.Trex)
				if err != nil || len(samples) == 0 {
					t.Fatalf("%s: %d samples, %v", name, len(samples), err)
				}
				last := samples[len(samples)-1]
				next = last.DecodeTime + uint64(last.Dur)
			}
		}
	}
}

func decode(t *testing.T, name string) *mp4.File {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	f, err := mp4.DecodeFile(bytes.NewReader(b))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	var out bytes.Buffer
	f.FragEncMode = mp4.EncModeBoxTree
	if err := f.Encode(&out); err != nil || !bytes.Equal(out.Bytes(), b) {
		t.Errorf("%s: written again it is another: %v", name, err)
	}
	return f
}
