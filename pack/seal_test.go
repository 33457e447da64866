package pack_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/Eyevinn/mp4ff/bits"
	mp4ff "github.com/Eyevinn/mp4ff/mp4"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/chunk"
	"github.com/cleave-video/cleave/pack"
	"github.com/cleave-video/cleave/seal"
)

func sealing(t *testing.T, scheme seal.Scheme, keys seal.Source, rotation uint64) *seal.Stream {
	t.Helper()
	s, err := seal.NewStream(seal.Config{Scheme: scheme, Keys: keys, Rotation: rotation})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// opener decrypts parts by mp4ff, and watches the vectors.
type opener struct {
	t       *testing.T
	keys    map[string]seal.Key
	vectors map[string]bool // of cenc, with the key's ID
	opened  int
}

func newOpener(t *testing.T, g *seal.Generated, n int) *opener {
	o := &opener{t: t, keys: map[string]seal.Key{}, vectors: map[string]bool{}}
	for i := range n {
		k, err := g.Key(uint64(i))
		if err != nil {
			t.Fatal(err)
		}
		o.keys[k.Name()] = k
	}
	return o
}

// open returns the samples of a fragment in the clear, and the name of its key.
func (o *opener) open(init, part []byte) (samples [][]byte, kid string) {
	t := o.t
	t.Helper()
	f, err := mp4ff.DecodeFileSR(bits.NewFixedSliceReader(append(bytes.Clone(init), part...)))
	if err != nil {
		t.Fatal(err)
	}
	info, err := mp4ff.DecryptInit(f.Init)
	if err != nil {
		t.Fatal(err)
	}
	fr := f.Segments[0].Fragments[0]
	own := *info.TrackInfos[0].Sinf.Schi.Tenc
	kid = fmt.Sprintf("%x", []byte(own.DefaultKID))
	for _, c := range fr.Moof.Traf.Children {
		if sgpd, ok := c.(*mp4ff.SgpdBox); ok { // mp4ff does not follow it by itself
			e := sgpd.SampleGroupEntries[0].(*mp4ff.SeigSampleGroupEntry)
			kid, own.DefaultConstantIV = fmt.Sprintf("%x", []byte(e.KID)), e.ConstantIV
		}
	}
	info.TrackInfos[0].Sinf.Schi.Tenc = &own
	key, ok := o.keys[kid]
	if !ok {
		t.Fatalf("key %s was never made", kid)
	}
	senc := fr.Moof.Traf.Senc // which goes when it was used
	if err := mp4ff.DecryptFragment(fr, info, key.Key[:]); err != nil {
		t.Fatal(err)
	}
	if senc != nil {
		for _, iv := range senc.IVs {
			name := kid + fmt.Sprintf("%x", []byte(iv))
			if o.vectors[name] {
				t.Fatalf("vector %s was used twice", name)
			}
			o.vectors[name] = true
		}
	}
	full, err := fr.GetFullSamples(nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range full {
		samples = append(samples, full[i].Data)
	}
	o.opened += len(full)
	return samples, kid
}

// TestSealedParts: with a new key for every chunk, every part decrypts alone to
// the packets that went in; a chunk has one key in all tracks, no chunk another's,
// and no vector is used twice.
func TestSealedParts(t *testing.T) {
	for _, scheme := range []seal.Scheme{seal.CBCS, seal.CENC} {
		for name, spec := range specs {
			t.Run(string(scheme)+" "+name, func(t *testing.T) {
				g := seal.NewGenerated()
				r := &rig{t: t}
				defer func() { r.release() }()
				r.run(spec, chunk.Keyframe{Target: 2 * time.Second}, pack.PackagerConfig{Offset: 3, Seal: sealing(t, scheme, g, 1)})
				o := newOpener(t, g, len(r.parts))
				seen := map[string]bool{}
				for seq := uint64(0); seq < uint64(len(r.parts)); seq++ {
					chunkKey := ""
					for track := range r.tracks {
						var got [][]byte
						for _, p := range r.parts[seq][track] {
							samples, kid := o.open(r.inits[track], p.Block.Bytes())
							if chunkKey == "" && seen[kid] || chunkKey != "" && kid != chunkKey {
								t.Fatalf("chunk %d, track %d, part %d: key %s", seq, track, p.Index, kid)
							}
							chunkKey = kid
							got = append(got, samples...)
							if named := bytes.Contains(p.Block.Bytes(), []byte("pssh")); named != (p.Index == 0) {
								t.Errorf("chunk %d, part %d: pssh %v", seq, p.Index, named)
							}
						}
						want := r.packets[seq][track]
						if len(got) != len(want) {
							t.Fatalf("chunk %d, track %d: %d samples of %d", seq, track, len(got), len(want))
						}
						for i := range want {
							if !bytes.Equal(got[i], want[i].Data) {
								t.Fatalf("chunk %d, track %d: sample %d is not what it was", seq, track, i)
							}
						}
					}
					seen[chunkKey] = true
				}
				if scheme == seal.CENC && len(o.vectors) != o.opened {
					t.Errorf("%d vectors of %d samples", len(o.vectors), o.opened)
				}
			})
		}
	}
}

// TestRotation: 1,000 keys, one after the other, and not a chunk that cannot be
// decrypted.
func TestRotation(t *testing.T) {
	const chunks = 1000
	for _, scheme := range []seal.Scheme{seal.CBCS, seal.CENC} {
		g := seal.NewGenerated()
		r := &rig{t: t}
		r.run(avtest.Spec{Video: avtest.Video{Frames: 5 * chunks, GOPs: []int{5}}, Audio: avtest.Audio{Frames: 47 * chunks / 5}},
			chunk.Keyframe{Target: 200 * time.Millisecond}, pack.PackagerConfig{Seal: sealing(t, scheme, g, 1)})
		o := newOpener(t, g, chunks)
		keys := map[string]bool{}
		for seq := range uint64(chunks) {
			i := 0
			for _, p := range r.parts[seq][0] {
				samples, kid := o.open(r.inits[0], p.Block.Bytes())
				keys[kid] = true
				for _, s := range samples {
					if !bytes.Equal(s, r.packets[seq][0][i].Data) {
						t.Fatalf("%s: chunk %d cannot be decrypted", scheme, seq)
					}
					i++
				}
			}
		}
		if len(keys) != chunks || len(r.parts) != chunks {
			t.Errorf("%s: %d keys, %d chunks", scheme, len(keys), len(r.parts))
		}
		r.release()
	}
}

// TestSealedSegment: a Segment seals into memory of its own; the packets, which
// others read, stay as they were.
func TestSealedSegment(t *testing.T) {
	for _, scheme := range []seal.Scheme{seal.CBCS, seal.CENC} {
		g := seal.NewGenerated()
		s := sealing(t, scheme, g, 1)
		d := avtest.NewSynthetic(avtest.Spec{Video: avtest.Video{Frames: 60, B: 2}})
		l := avtest.ReadAll(t, d)
		packets, tr := l[0].Of(0), d.Tracks()[0]
		for i := range packets {
			if packets[i].Dur == 0 {
				packets[i].Dur = 1
			}
		}
		k, err := s.Track(&tr)
		if err != nil {
			t.Fatal(err)
		}
		var before [][]byte
		for i := range packets {
			before = append(before, bytes.Clone(packets[i].Data))
		}
		var seg pack.Segment
		for n := range uint64(3) {
			p, err := s.Period(n)
			if err != nil {
				t.Fatal(err)
			}
			seg.Render(packets, pack.Style{TrackID: 1, Timebase: tr.Timebase, Offset: 1, Video: true, Seal: k, Period: p}, 1)
			all := bytes.Join(seg.Bufs, nil)
			if int64(len(all)) != seg.Size {
				t.Fatalf("%d bytes, Size is %d", len(all), seg.Size)
			}
			for i := range packets {
				if !bytes.Equal(packets[i].Data, before[i]) {
					t.Fatal("a packet was written to")
				}
				if len(before[i]) > 64 && bytes.Contains(all, before[i]) {
					t.Fatalf("sample %d is in the clear", i)
				}
			}
			for _, key := range seg.Keys { // each range holds a moof and all of its first sample
				if moof := all[key.Offset:][4:8]; string(moof) != "moof" && string(moof) != "styp" {
					t.Errorf("a key's range begins with %q", moof)
				}
			}
		}
	}
}

// TestSealedCancelled: at whatever packet the context ends, every slab comes home.
func TestSealedCancelled(t *testing.T) {
	for n := 1; n < 400; n += 37 {
		r := &rig{t: t, stopAt: n}
		r.run(specs["B-frames"], chunk.Keyframe{Target: time.Second}, pack.PackagerConfig{Seal: sealing(t, seal.CENC, seal.NewGenerated(), 2)})
		r.release()
	}
}

// TestCannotSeal: what cannot be encrypted is not packed in the clear.
func TestCannotSeal(t *testing.T) {
	k := pack.NewPackager(pack.PackagerConfig{Seal: sealing(t, seal.CBCS, seal.NewGenerated(), 0)})
	av1 := av.Track{Kind: av.Video, Codec: av.AV1, Timebase: av.Timebase{Num: 1, Den: 25}, Config: []byte{0x81, 0, 0, 0}}
	if err := k.SetTracks([]av.Track{av1}); !errors.Is(err, av.ErrUnsupported) {
		t.Error(err)
	}
	audio := av.Track{Kind: av.Audio, Codec: av.AAC, Timebase: av.Timebase{Num: 1, Den: 48000}, Config: []byte{0x11, 0x90}}
	k = pack.NewPackager(pack.PackagerConfig{Seal: sealing(t, seal.AES128, seal.NewGenerated(), 0)})
	if err := k.SetTracks([]av.Track{audio}); !errors.Is(err, av.ErrUnsupported) {
		t.Error(err)
	}
	k = pack.NewPackager(pack.PackagerConfig{Seal: sealing(t, seal.CBCS, seal.List{}, 0)})
	if err := k.SetTracks([]av.Track{audio}); !errors.Is(err, seal.ErrNoKey) {
		t.Error(err)
	}
}
