package mp4_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/format/mp4"
)

const (
	video = "moov/trak/mdia/"
	stbl  = video + "minf/stbl/"
)

var (
	ones  = []byte{0xFF, 0xFF, 0xFF, 0xFF}
	zeros = []byte{0, 0, 0, 0}
	two31 = []byte{0x7F, 0xFF, 0xFF, 0xFF}
)

func box(kind string, body ...byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(8+len(body)))
	return append(append(b, kind...), body...)
}

// hostile are files made to hurt.
func hostile(t testing.TB) map[string][]byte {
	b, frag := sample(t, "last.mp4"), sample(t, "frag.mp4")
	traf := box("traf", box("tfhd", 0, 2, 0, 0, 0, 0, 0, 1)...)
	trun := box("trun", make([]byte, 8)...)
	// A traf of samples that are all of one size, of as many truns.
	alike := func(size byte, trun []byte, n int) []byte {
		tfhd := box("tfhd", 0, 2, 0, 0x10, 0, 0, 0, 1, 0, 0, size, 0)
		return append(bytes.Clone(frag), box("moof", box("traf", append(tfhd, bytes.Repeat(trun, n)...)...)...)...)
	}
	behind := box("trun", 0, 0, 0, 1, 0, 0, 0, 1, 0xFF, 0xFF, 0xF0, 0) // a sample 4 KiB before the moof
	nested := []byte{}
	for range 20_000 {
		nested = box("moov", nested...)[:min(len(nested)+8, 100_000)]
	}
	wide := append([]byte{0, 0, 0, 1}, "moov"...)
	return map[string][]byte{
		"timescale 0":                   patch(t, b, video+"mdhd", 12, zeros...),
		"timescale 2^32-1":              patch(t, b, video+"mdhd", 12, ones...),
		"stts of 2^32 entries":          patch(t, b, stbl+"stts", 4, ones...),
		"stts counts nothing":           patch(t, b, stbl+"stts", 8, zeros...),
		"stts of huge deltas":           patch(t, b, stbl+"stts", 12, ones...),
		"ctts of 2^32 entries":          patch(t, b, stbl+"ctts", 4, ones...),
		"ctts of huge offsets":          patch(t, b, stbl+"ctts", 12, two31...),
		"stsc of 2^32 entries":          patch(t, b, stbl+"stsc", 4, ones...),
		"stsc begins late":              patch(t, b, stbl+"stsc", 8, ones...),
		"stsc of no samples":            patch(t, b, stbl+"stsc", 12, zeros...),
		"stsc of 2^32 samples":          patch(t, b, stbl+"stsc", 12, ones...),
		"stsc of no description":        patch(t, b, stbl+"stsc", 16, ones...),
		"stsz of one size":              patch(t, b, stbl+"stsz", 4, 0, 0, 0, 1),
		"stsz of one huge size":         patch(t, b, stbl+"stsz", 4, ones...),
		"stsz of 2^32 samples":          patch(t, b, stbl+"stsz", 8, ones...),
		"stsz of one size, 2^32":        patch(t, b, stbl+"stsz", 4, 0, 0, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF),
		"stsz larger than the file":     patch(t, b, stbl+"stsz", 12, two31...),
		"stsz of nothing":               patch(t, b, stbl+"stsz", 12, zeros...),
		"stco of 2^32 entries":          patch(t, b, stbl+"stco", 4, ones...),
		"stco beyond the file":          patch(t, b, stbl+"stco", 8, ones...),
		"stco before mdat":              patch(t, b, stbl+"stco", 8, zeros...),
		"stss of 2^32 entries":          patch(t, b, stbl+"stss", 4, ones...),
		"stss names none":               patch(t, b, stbl+"stss", 8, ones...),
		"stsd of 2^32 entries":          patch(t, b, stbl+"stsd", 4, ones...),
		"stsd entry of size 0":          patch(t, b, stbl+"stsd", 8, zeros...),
		"stsd entry larger than stsd":   patch(t, b, stbl+"stsd", 8, ones...),
		"elst of 2^32 entries":          patch(t, b, "moov/trak/edts/elst", 4, ones...),
		"elst far away":                 patch(t, b, "moov/trak/edts/elst", 12, two31...),
		"elst only empty":               patch(t, b, "moov/trak/edts/elst", 12, ones...),
		"elst of a rate":                patch(t, b, "moov/trak/edts/elst", 16, 0, 2),
		"trun of 2^32 samples":          patch(t, frag, "moof/traf/trun", 4, ones...),
		"trun before the file":          patch(t, frag, "moof/traf/trun", 8, 0x80, 0, 0, 0),
		"trun beyond the file":          patch(t, frag, "moof/traf/trun", 8, two31...),
		"trun of no table":              patch(t, frag, "moof/traf/trun", 0, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF),
		"tfhd of no track":              patch(t, frag, "moof/traf/tfhd", 4, ones...),
		"tfdt of 2^63":                  patch(t, frag, "moof/traf/tfdt", 4, ones...),
		"boxes in boxes":                nested,
		"moov of 2^63 bytes":            append(wide, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF),
		"moov of -1 bytes":              append(wide, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF),
		"moov of a 64-bit size of 3":    append(wide, 0, 0, 0, 0, 0, 0, 0, 3),
		"moov of 7 bytes":               append([]byte{0, 0, 0, 7}, "moov"...),
		"moov to the end":               append([]byte{0, 0, 0, 0}, "moov"...),
		"moov of nothing":               box("moov"),
		"tracks without end":            box("moov", bytes.Repeat(box("trak", box("mdia")...), 20_000)...),
		"free boxes without end":        bytes.Repeat(box("free"), 100_000),
		"fragments without end":         append(bytes.Clone(frag), bytes.Repeat(box("moof"), 50_000)...),
		"fragments of one empty traf":   append(bytes.Clone(frag), bytes.Repeat(box("moof", traf...), 30_000)...),
		"a fragment of empty trafs":     append(bytes.Clone(frag), box("moof", bytes.Repeat(traf, 30_000)...)...),
		"a fragment of empty truns":     append(bytes.Clone(frag), box("moof", box("traf", append(box("tfhd", 0, 2, 0, 0, 0, 0, 0, 1), bytes.Repeat(trun, 50_000)...)...)...)...),
		"truns of 2^32 samples":         alike(1, box("trun", append(make([]byte, 4), ones...)...), 20),
		"truns of empty samples":        alike(0, box("trun", 0, 0, 0, 0, 0, 1, 0, 0), 50_000),
		"samples over others":           alike(16, behind, 50_000),
		"movies extended without end":   box("moov", box("mvex", bytes.Repeat(box("trex", make([]byte, 24)...), 20_000)...)...),
		"empty fragments of many trafs": append(bytes.Clone(frag), box("moof", bytes.Repeat(box("traf"), 50_000)...)...),
	}
}

// TestHostile: nothing panics, hangs, allocates beyond the law or ends without
// saying where and why; what was good is read.
func TestHostile(t *testing.T) {
	for name, b := range hostile(t) {
		for kind, open := range map[string]func(b []byte) *mp4.Demuxer{
			"file": open, "stream": func(b []byte) *mp4.Demuxer { return mp4.NewStream(bytes.NewReader(b)) },
		} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				done := make(chan struct{})
				go func() {
					defer close(done)
					size := len(b)
					if kind == "stream" {
						size += 1 << 20 // for its window
					}
					avtest.AllocBound(t, size, func() {
						n, err := drain(t, open(b))
						if n == 0 && errors.Is(err, io.EOF) {
							t.Error("no packet, and no reason")
						}
					})
				}()
				select {
				case <-done:
				case <-time.After(20 * time.Second):
					t.Fatal("it hangs")
				}
			})
		}
	}
}

// TestExternalMedia: a track whose media is in another file is refused, and that
// file is not looked for.
func TestExternalMedia(t *testing.T) {
	b := sample(t, "last.mp4")
	location := []byte("file:///etc/passwd\x00")
	at := 0
	for _, kind := range []string{"moov", "trak", "mdia", "minf", "dinf", "dref", "url "} {
		i := bytes.Index(b[at:], []byte(kind))
		if i < 4 {
			t.Fatalf("no %s", kind)
		}
		at += i
		size := binary.BigEndian.Uint32(b[at-4:])
		binary.BigEndian.PutUint32(b[at-4:], size+uint32(len(location)))
	}
	clear(b[at+4 : at+8]) // not self-contained
	b = append(b[:at+8:at+8], append(location, b[at+8:]...)...)
	g, _ := avtest.Read(open(b))
	d := open(b)
	defer d.Close()
	for _, l := range g {
		for _, tr := range l.Tracks {
			if tr.Kind == av.Video {
				t.Errorf("track %d is read", tr.ID)
			}
		}
	}
	if _, err := d.ReadPacket(av.Heap{}); errors.Is(err, av.ErrTracks) {
		if w := d.Warnings(); len(w) == 0 {
			t.Error("nothing is said of it")
		}
	} else if !errors.Is(err, av.ErrUnsupported) {
		t.Error(err)
	}
}

// TestOverlap: chunks that lie over each other give each sample its bytes, in
// linear time.
func TestOverlap(t *testing.T) {
	b := sample(t, "last.mp4")
	body, _ := find(t, b, stbl+"stco")
	n := int(binary.BigEndian.Uint32(b[body+4:]))
	first := bytes.Clone(b[body+8 : body+12])
	for i := range n {
		b = patch(t, b, stbl+"stco", 8+4*i, first...)
	}
	if got, err := drain(t, open(b)); got == 0 || !errors.Is(err, io.EOF) {
		t.Errorf("%d packets, %v", got, err)
	}
}

// FuzzDemuxer: files as a whole.
func FuzzDemuxer(f *testing.F) {
	for _, name := range samples {
		f.Add(sample(f, name))
	}
	for _, b := range hostile(f) {
		if len(b) < 20_000 {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		avtest.AllocBound(t, len(b), func() { drain(t, open(b)) })
	})
}

// FuzzSampleTable: a good file of one track with a sample table of any content.
func FuzzSampleTable(f *testing.F) {
	b := sample(f, "sound.mp4")
	body, end := find(f, b, stbl[:len(stbl)-1])
	f.Add(bytes.Clone(b[body:end]))
	f.Fuzz(func(t *testing.T, table []byte) {
		if len(table) != end-body { // sizes around it stay true
			return
		}
		b := bytes.Clone(b)
		copy(b[body:], table)
		avtest.AllocBound(t, len(b), func() { drain(t, open(b)) })
	})
}

// FuzzFragment: a good movie with a fragment of any content.
func FuzzFragment(f *testing.F) {
	b := sample(f, "frag.mp4")
	body, end := find(f, b, "moof")
	f.Add(bytes.Clone(b[body:end]), bytes.Clone(b[end:]))
	f.Fuzz(func(t *testing.T, moof, rest []byte) {
		in := append(bytes.Clone(b[:body-8]), box("moof", moof...)...)
		in = append(in, rest...)
		avtest.AllocBound(t, len(in), func() { drain(t, open(in)) })
	})
}

// TestRoundTrip: what is written as CMAF is read again as it was.
func TestRoundTrip(t *testing.T) {
	for _, name := range samples {
		for _, g := range avtest.ReadAll(t, open(sample(t, name))) {
			for i := range g.Tracks {
				file, err := mp4.AppendInit(nil, &g.Tracks[i], 7, 0)
				if err != nil {
					t.Fatal(name, err)
				}
				scale, factor := g.Tracks[i].Timebase.Timescale()
				packets := g.Of(i)
				for k := range packets {
					if packets[k].Dur == 0 {
						packets[k].Dur = 1
					}
				}
				fr := mp4.Fragment{Sequence: 1, TrackID: 7, Factor: factor, Offset: 2 * int64(scale), Packets: packets}
				file = fr.Append(mp4.AppendSegmentType(file))
				for _, p := range packets {
					file = append(file, p.Data...)
				}
				got := avtest.ReadAll(t, open(file))[0]
				if !bytes.Equal(got.Tracks[0].Config, g.Tracks[i].Config) || len(got.Packets) != len(packets) {
					t.Fatalf("%s, track %d: %+v", name, i, got.Tracks[0])
				}
				for k, p := range got.Packets {
					w := packets[k]
					if p.DTS != w.DTS*factor+fr.Offset || p.PTS != w.PTS*factor+fr.Offset || p.Dur != w.Dur*factor ||
						p.Flags&av.Key != w.Flags&av.Key || !bytes.Equal(p.Data, w.Data) {
						t.Fatalf("%s, track %d, packet %d: %+v, want %+v", name, i, k, p, w)
					}
				}
			}
		}
	}
}

// TestRotation: by how much a picture is turned survives.
func TestRotation(t *testing.T) {
	tr := avtest.ReadAll(t, open(sample(t, "last.mp4")))[0].Tracks[0]
	for _, degrees := range []uint16{0, 90, 180, 270} {
		tr.Rotation = degrees
		b, err := mp4.AppendInit(nil, &tr, 1, 0)
		if err != nil {
			t.Fatal(err)
		}
		d := open(b)
		if _, err := d.ReadPacket(av.Heap{}); !errors.Is(err, av.ErrTracks) || d.Tracks()[0].Rotation != degrees {
			t.Errorf("%d degrees: %v, %+v", degrees, err, d.Tracks())
		}
	}
}

// TestFaultOfFirstSample: a table that is at fault before its first sample is named, not
// taken for an empty track.
func TestFaultOfFirstSample(t *testing.T) {
	d := open(patch(t, sample(t, "last.mp4"), stbl+"stsc", 8, ones...))
	for {
		_, err := d.ReadPacket(av.Heap{})
		if err == nil || errors.Is(err, av.ErrTracks) {
			continue // the other track
		}
		var place *av.Error
		if !errors.As(err, &place) || place.Field != "stco.entry_count" {
			t.Errorf("%v", err)
		}
		return
	}
}
