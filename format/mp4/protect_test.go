package mp4_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Eyevinn/mp4ff/bits"
	mp4ff "github.com/Eyevinn/mp4ff/mp4"
	"github.com/google/go-cmp/cmp"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/format/mp4"
)

// protections are those that are written.
var protections = map[string]mp4.Protection{
	"cenc":       {Scheme: "cenc", KID: [16]byte{1, 2, 3}, IVSize: 8},
	"cbcs video": {Scheme: "cbcs", KID: [16]byte{4, 5, 6}, ConstantIV: [16]byte{7, 8}, Crypt: 1, Skip: 9},
	"cbcs audio": {Scheme: "cbcs", KID: [16]byte{4, 5, 6}, ConstantIV: [16]byte{7, 8}},
}

// tracks are those of a synthetic stream.
func tracks(t *testing.T) []av.Track {
	t.Helper()
	d := avtest.NewSynthetic(avtest.Spec{Video: avtest.Video{Frames: 3}, Audio: avtest.Audio{Frames: 3}})
	if _, err := d.ReadPacket(av.Heap{}); !errors.Is(err, av.ErrTracks) {
		t.Fatal(err)
	}
	return d.Tracks()
}

// TestSealedInit: mp4ff reads in a header what was written, and the demuxer
// refuses it and says why.
func TestSealedInit(t *testing.T) {
	for name, p := range protections {
		for i, tr := range tracks(t) {
			clear, err := mp4.AppendInit(nil, &tr, 1, 0)
			if err != nil {
				t.Fatal(err)
			}
			b, err := mp4.AppendSealedInit([]byte("before"), &tr, 1, 0, &p)
			if err != nil || !strings.HasPrefix(string(b), "before") {
				t.Fatal(err)
			}
			b = b[len("before"):]
			f, err := mp4ff.DecodeFileSR(bits.NewFixedSliceReader(b))
			if err != nil {
				t.Fatal(err)
			}
			info, err := mp4ff.DecryptInit(f.Init)
			if err != nil {
				t.Fatal(err)
			}
			tenc, schm := info.TrackInfos[0].Sinf.Schi.Tenc, info.TrackInfos[0].Sinf.Schm
			got := mp4.Protection{Scheme: schm.SchemeType, IVSize: tenc.DefaultPerSampleIVSize, Crypt: tenc.DefaultCryptByteBlock, Skip: tenc.DefaultSkipByteBlock}
			copy(got.KID[:], tenc.DefaultKID)
			copy(got.ConstantIV[:], tenc.DefaultConstantIV)
			if d := cmp.Diff(p, got); d != "" || schm.SchemeVersion != 0x10000 || tenc.DefaultIsProtected != 1 {
				t.Errorf("%s, track %d: %s", name, i, d)
			}
			if len(info.Psshs) != 1 || len(info.Psshs[0].KIDs) != 1 || !bytes.Equal(info.Psshs[0].KIDs[0], p.KID[:]) ||
				info.Psshs[0].SystemID.String() != "1077efec-c0b2-4d02-ace3-3c1e52e2fb4b" {
				t.Errorf("%s, track %d: %+v", name, i, info.Psshs)
			}
			var back bytes.Buffer // without protection it is the clear header again
			if err := f.Init.Encode(&back); err != nil || !bytes.Equal(back.Bytes(), clear) {
				t.Errorf("%s, track %d: beyond its protection the header changed: %v", name, i, err)
			}
			d := mp4.New(bytes.NewReader(b), int64(len(b)))
			if _, err := d.ReadPacket(av.Heap{}); !errors.Is(err, av.ErrEncrypted) {
				t.Errorf("%s, track %d: read: %v", name, i, err)
			}
		}
	}
}

// TestSealedFragment: mp4ff reads in a moof what was written, and finds the data
// where it is.
func TestSealedFragment(t *testing.T) {
	packets := []av.Packet{{DTS: 0, PTS: 0, Dur: 10, Data: make([]byte, 90)}, {DTS: 10, PTS: 10, Dur: 10, Data: make([]byte, 40)}}
	many := make([]mp4.Subsample, 43)
	for i := range many {
		many[i] = mp4.Subsample{Clear: uint16(i), Protected: 16}
	}
	kid := [16]byte{9, 9}
	group := protections["cbcs video"]
	for name, test := range map[string]struct {
		sealed mp4.Sealed
		boxes  string
	}{
		"IVs": {
			mp4.Sealed{IVSize: 8, Samples: []mp4.SealedSample{{IV: 5}, {IV: 1 << 63}}},
			"mfhd traf(tfhd tfdt trun senc saiz saio)",
		},
		"IVs, subsamples": {
			mp4.Sealed{IVSize: 8, Subsamples: true, Samples: []mp4.SealedSample{{IV: 5, Subsamples: many[:3]}, {IV: 6, Subsamples: many[:1]}}},
			"mfhd traf(tfhd tfdt trun senc saiz saio)",
		},
		"subsamples, new key": {
			mp4.Sealed{Subsamples: true, Samples: []mp4.SealedSample{{Subsamples: many[:2]}, {Subsamples: many[1:3]}}, Group: &group, KIDs: [][16]byte{kid, group.KID}},
			"mfhd pssh traf(tfhd tfdt trun senc saiz saio sbgp sgpd)",
		},
		"nothing to say":       {mp4.Sealed{Samples: make([]mp4.SealedSample, 2)}, "mfhd traf(tfhd tfdt trun)"},
		"more than saiz can":   {mp4.Sealed{Subsamples: true, Samples: []mp4.SealedSample{{Subsamples: many}, {Subsamples: many[:1]}}}, "mfhd traf(tfhd tfdt trun senc)"},
		"as much as saiz can":  {mp4.Sealed{Subsamples: true, Samples: []mp4.SealedSample{{Subsamples: many[:42]}, {Subsamples: many[:1]}}}, "mfhd traf(tfhd tfdt trun senc saiz saio)"},
		"constant IV, new key": {mp4.Sealed{Samples: make([]mp4.SealedSample, 2), Group: &group}, "mfhd traf(tfhd tfdt trun sbgp sgpd)"},
	} {
		f := mp4.Fragment{Sequence: 1, TrackID: 1, Factor: 1, Packets: packets, Sealed: &test.sealed}
		b := f.Append(nil)
		for i := range packets {
			b = append(b, bytes.Repeat([]byte{byte(i + 1)}, len(packets[i].Data))...)
		}
		file, err := mp4ff.DecodeFileSR(bits.NewFixedSliceReader(b))
		if err != nil {
			t.Fatal(name, err)
		}
		fr := file.Segments[0].Fragments[0]
		if got := shape(fr.Moof.Children); got != test.boxes {
			t.Errorf("%s: %s, want %s", name, got, test.boxes)
		}
		samples, err := fr.GetFullSamples(nil)
		if err != nil || len(samples) != 2 || samples[0].Data[89] != 1 || samples[1].Data[0] != 2 {
			t.Errorf("%s: the data is not where trun says: %v", name, err)
		}
		checkSenc(t, name, fr, &test.sealed, b)
		checkGroup(t, name, fr, &test.sealed)
	}
}

func shape(boxes []mp4ff.Box) string {
	var out []string
	for _, b := range boxes {
		s := b.Type()
		if t, ok := b.(*mp4ff.TrafBox); ok {
			s += "(" + shape(t.Children) + ")"
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

func checkSenc(t *testing.T, name string, f *mp4ff.Fragment, want *mp4.Sealed, b []byte) {
	t.Helper()
	senc, saiz, saio := f.Moof.Traf.Senc, f.Moof.Traf.Saiz, f.Moof.Traf.Saio
	if senc == nil {
		return
	}
	if _, parsed := f.Moof.Traf.ContainsSencBox(); !parsed {
		if err := f.Moof.Traf.ParseReadSenc(want.IVSize, f.Moof.StartPos); err != nil {
			t.Fatal(name, err)
		}
	}
	for i, x := range want.Samples {
		if want.IVSize == 8 && fmt.Sprintf("%x", []byte(senc.IVs[i])) != fmt.Sprintf("%016x", x.IV) {
			t.Errorf("%s, sample %d: IV %x", name, i, senc.IVs[i])
		}
		for k, s := range x.Subsamples {
			if got := senc.SubSamples[i][k]; got.BytesOfClearData != s.Clear || got.BytesOfProtectedData != s.Protected {
				t.Errorf("%s, sample %d: %+v", name, i, got)
			}
		}
	}
	if saiz == nil {
		return
	}
	// Where saio points the first sample's information begins.
	at := int(saio.Offset[0])
	if want.IVSize == 8 && b[at+7] != byte(want.Samples[0].IV) || want.IVSize == 0 && b[at+1] != byte(len(want.Samples[0].Subsamples)) {
		t.Errorf("%s: saio points at %x", name, b[at:at+8])
	}
	for i, x := range want.Samples {
		size := int(want.IVSize)
		if want.Subsamples {
			size += 2 + 6*len(x.Subsamples)
		}
		got := int(saiz.DefaultSampleInfoSize)
		if got == 0 {
			got = int(saiz.SampleInfo[i])
		}
		if got != size {
			t.Errorf("%s, sample %d: saiz %d, want %d", name, i, got, size)
		}
	}
}

func checkGroup(t *testing.T, name string, f *mp4ff.Fragment, want *mp4.Sealed) {
	t.Helper()
	if want.Group == nil {
		return
	}
	var sgpd *mp4ff.SgpdBox
	for _, b := range f.Moof.Traf.Children {
		if x, ok := b.(*mp4ff.SgpdBox); ok {
			sgpd = x
		}
	}
	sbgp := f.Moof.Traf.Sbgp
	if sbgp.GroupingType != "seig" || len(sbgp.SampleCounts) != 1 || sbgp.SampleCounts[0] != 2 || sbgp.GroupDescriptionIndices[0] != 0x10001 {
		t.Errorf("%s: %+v", name, sbgp)
	}
	e := sgpd.SampleGroupEntries[0].(*mp4ff.SeigSampleGroupEntry)
	if !bytes.Equal(e.KID, want.Group.KID[:]) || !bytes.Equal(e.ConstantIV, want.Group.ConstantIV[:]) || e.CryptByteBlock != 1 || e.SkipByteBlock != 9 || e.IsProtected != 1 {
		t.Errorf("%s: %+v", name, e)
	}
}

// TestEncryptedIsRefused, also where other tracks are in the clear.
func TestEncryptedIsRefused(t *testing.T) {
	media := os.Getenv("CLEAVE_MEDIA")
	if media == "" {
		t.Skip("CLEAVE_MEDIA is not set: files encrypted by others are not read")
	}
	for _, name := range []string{"cbcs.mp4", "cenc_av.mp4", "cenc_clearkey_fragmented.mp4"} {
		b, err := os.ReadFile(filepath.Join(media, "enc", name))
		if err != nil {
			t.Fatal(err)
		}
		_, err = mp4.New(bytes.NewReader(b), int64(len(b))).ReadPacket(av.Heap{})
		var fault *av.Error
		if !errors.Is(err, av.ErrEncrypted) || !errors.As(err, &fault) || fault.Offset < 0 || !strings.HasPrefix(fault.Field, "enc") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
