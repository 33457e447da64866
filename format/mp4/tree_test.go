package mp4

import (
	"errors"
	"testing"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
)

func treeSample(t testing.TB) []byte {
	g := avtest.ReadAll(t, avtest.NewSynthetic(avtest.Spec{Video: avtest.Video{Frames: 10}}))[0]
	b, err := AppendInit(nil, &g.Tracks[0], 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := Fragment{Sequence: 1, TrackID: 1, Factor: 1, Packets: g.Packets}
	for i := range f.Packets {
		f.Packets[i].Dur = 1
	}
	b = f.Append(AppendSegmentType(b))
	for i := range f.Packets {
		b = append(b, f.Packets[i].Data...)
	}
	return b
}

func TestTree(t *testing.T) {
	b := treeSample(t)
	list, err := Tree(b, 1000)
	if err != nil || len(list) != 5 {
		t.Fatal(len(list), err)
	}
	end := int64(1000)
	for i := range list {
		if list[i].Offset != end {
			t.Errorf("%s at %d, not %d", list[i].Path, list[i].Offset, end)
		}
		end += list[i].Size()
	}
	if end != 1000+int64(len(b)) {
		t.Error(end)
	}
	avcC := First(list, "moov").First("trak", "mdia", "minf", "stbl", "stsd", "avc1", "avcC")
	if avcC == nil || avcC.Path != "moov/trak/mdia/minf/stbl/stsd/avc1/avcC" || b[avcC.Offset-1000+4] != 'a' {
		t.Errorf("%+v", avcC)
	}
	two, err := Tree(append(b, b...), 0)
	if err != nil || two[9].Path != "mdat[1]" {
		t.Error(two[9].Path, err)
	}
}

func TestTreeHostile(t *testing.T) {
	avtest.Prefixes(t, treeSample(t), func(b []byte) {
		if _, err := Tree(b, 0); err != nil && !errors.Is(err, av.ErrTruncated) && !errors.Is(err, av.ErrInvalid) {
			t.Error(err)
		}
	})
	deep := []byte{}
	for range 2000 {
		deep = append(deep, 0, 0, 0, 0, 'm', 'o', 'o', 'v')
	}
	if _, err := Tree(deep, 0); err != nil {
		t.Error(err)
	}
	many := []byte{}
	for range maxNodes + 1 {
		many = append(many, 0, 0, 0, 8, 'f', 'r', 'e', 'e')
	}
	if _, err := Tree(many, 0); !errors.Is(err, av.ErrTooLarge) {
		t.Error(err)
	}
}

func FuzzTree(f *testing.F) {
	f.Add(treeSample(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, _ := Tree(b, 0)
		for i := range list {
			if n := &list[i]; n.Offset < 0 || n.Offset+n.Size() > int64(len(b)) {
				t.Fatalf("%+v", n)
			}
		}
	})
}
