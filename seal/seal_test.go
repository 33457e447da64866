package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/format/mp4"
)

var (
	audio = av.Track{Kind: av.Audio, Codec: av.AAC, Timebase: av.Timebase{Num: 1, Den: 48000}, Config: []byte{0x11, 0x90}}
	video = av.Track{Kind: av.Video, Codec: av.H264, Timebase: av.Timebase{Num: 1, Den: 90000}, Config: avcConfig}
)

func stream(t testing.TB, scheme Scheme, rotation uint64) *Stream {
	t.Helper()
	s, err := NewStream(Config{Scheme: scheme, Keys: NewGenerated(), Rotation: rotation})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func track(t testing.TB, s *Stream, tr *av.Track) *Track {
	t.Helper()
	out, err := s.Track(tr)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func period(t testing.TB, s *Stream, chunk uint64) *Period {
	t.Helper()
	p, err := s.Period(chunk)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestVectorsAreNeverUsedTwice: under cenc no two samples of any track have both
// the same key and the same IV, whatever the order in which chunks are sealed;
// under cbcs each key has a vector of its own.
func TestVectorsAreNeverUsedTwice(t *testing.T) {
	s := stream(t, CENC, 3)
	tracks := []*Track{track(t, s, &audio), track(t, s, &video), track(t, s, &audio)}
	seen := map[string]bool{}
	keys := map[string][16]byte{}
	packets := make([]av.Packet, 7)
	for i := range packets {
		packets[i].Data = picture(300)
	}
	for chunk := range uint64(3000) {
		for i, tr := range tracks {
			// Tracks lag behind each other by up to two chunks.
			n := chunk - min(chunk, uint64(i))
			p := period(t, s, n)
			if id, ok := keys[p.Key.Name()]; ok && id != p.Key.Key {
				t.Fatal("one ID, two keys")
			}
			keys[p.Key.Name()] = p.Key.Key
			for _, x := range tr.Fragment(packets, p, true).Samples {
				name := fmt.Sprintf("%s %x", p.Key.Name(), x.IV)
				if seen[name] {
					t.Fatalf("chunk %d, track %d: vector %s again", chunk, i, name)
				}
				seen[name] = true
			}
		}
	}
	if len(keys) != 1000 || len(seen) != 3000*3*7 {
		t.Errorf("%d keys, %d vectors", len(keys), len(seen))
	}
	if _, err := s.Period(0); err == nil {
		t.Error("a period that is forgotten began anew")
	}
	vectors := map[[16]byte]bool{}
	s = stream(t, CBCS, 1)
	for chunk := range uint64(1000) {
		vectors[period(t, s, chunk).Key.IV] = true
	}
	if len(vectors) != 1000 {
		t.Errorf("%d vectors of 1000 keys", len(vectors))
	}
}

// TestPeriods: chunks share keys as Rotation says, in whatever order they come.
func TestPeriods(t *testing.T) {
	s := stream(t, CBCS, 4)
	for _, chunk := range []uint64{5, 4, 0, 3, 9, 6, 2} {
		if p := period(t, s, chunk); p.Number != chunk/4 || p != period(t, s, chunk/4*4+3) {
			t.Errorf("chunk %d: period %d", chunk, p.Number)
		}
	}
	one := stream(t, CBCS, 0)
	if period(t, one, 0) != period(t, one, 1<<40) {
		t.Error("keys change without Rotation")
	}
	tr := track(t, s, &audio)
	if tr.InitKey().ID != period(t, s, 9).Key.ID {
		t.Error("the header does not name the newest key")
	}
	for chunk, groups := range map[uint64]bool{9: false, 5: true} {
		if f := tr.Fragment([]av.Packet{{Data: picture(20)}}, period(t, s, chunk), false); (f.Group != nil) != groups || len(f.KIDs) != 0 {
			t.Errorf("chunk %d: %+v", chunk, f)
		}
	}
}

func TestStreamErrors(t *testing.T) {
	for _, c := range []Config{{Scheme: None, Keys: NewGenerated()}, {Scheme: CBCS}, {Scheme: "rot13", Keys: NewGenerated()}} {
		if _, err := NewStream(c); err == nil {
			t.Errorf("%+v was taken", c)
		}
	}
	keys := List{{ID: [16]byte{1}, Key: [16]byte{1}}, {ID: [16]byte{2}, Key: [16]byte{1}}}
	s, err := NewStream(Config{Scheme: CENC, Keys: keys, Rotation: 1})
	if err != nil {
		t.Fatal(err)
	}
	period(t, s, 0)
	if _, err := s.Period(1); !errors.Is(err, av.ErrInvalid) {
		t.Errorf("the same key twice: %v", err)
	}
	keys[1].Key[0] = 2
	if s, err = NewStream(Config{Scheme: CBCS, Keys: keys, Rotation: 1}); err != nil {
		t.Fatal(err)
	}
	period(t, s, 0)
	if _, err := s.Period(1); !errors.Is(err, av.ErrInvalid) {
		t.Errorf("the same vector twice: %v", err)
	}
	if s, err = NewStream(Config{Scheme: CENC, Keys: keys, Rotation: 1}); err != nil {
		t.Fatal(err)
	}
	period(t, s, 0)
	if _, err := s.Period(2); !errors.Is(err, ErrNoKey) {
		t.Errorf("no key: %v", err)
	}
	for _, tr := range []av.Track{
		{Kind: av.Video, Codec: av.AV1}, {Kind: av.Video, Codec: av.Private},
	} {
		if _, err := s.Track(&tr); !errors.Is(err, av.ErrUnsupported) {
			t.Errorf("%s: %v", tr.Codec, err)
		}
	}
	if _, err := s.Track(&av.Track{Kind: av.Video, Codec: av.H264, Config: []byte{1}}); !errors.Is(err, av.ErrTruncated) {
		t.Error("a damaged configuration:", err)
	}
	if _, err := stream(t, AES128, 0).Track(&audio); !errors.Is(err, av.ErrUnsupported) {
		t.Error("AES-128 of samples:", err)
	}
}

// open decrypts a sample as ISO 23001-7 says, by the standard library alone.
func open(t *testing.T, scheme Scheme, key *Key, tr *Track, x mp4.SealedSample, b []byte) []byte {
	t.Helper()
	block, err := aes.NewCipher(key.Key[:])
	if err != nil {
		t.Fatal(err)
	}
	subs := x.Subsamples
	if subs == nil {
		subs = []mp4.Subsample{{Protected: uint32(len(b))}}
	}
	var counter [16]byte
	binary.BigEndian.PutUint64(counter[:], x.IV)
	ctr := cipher.NewCTR(block, counter[:])
	out := bytes.Clone(b)
	at := 0
	for _, s := range subs {
		at += int(s.Clear)
		part := out[at : at+int(s.Protected)]
		at += int(s.Protected)
		if scheme == CENC {
			ctr.XORKeyStream(part, part)
			continue
		}
		cbc := cipher.NewCBCDecrypter(block, key.IV[:])
		for i := 0; i+16 <= len(part); i += 16 {
			if !tr.pattern || i/16%10 == 0 {
				cbc.CryptBlocks(part[i:i+16], part[i:i+16])
			}
		}
	}
	if at != len(b) {
		t.Fatalf("subsamples of %d bytes, the sample has %d", at, len(b))
	}
	return out
}

// TestSamples of all lengths are what they were, and not while they are sealed.
func TestSamples(t *testing.T) {
	var packets []av.Packet
	for n := range 400 {
		packets = append(packets, av.Packet{Data: picture(n)})
	}
	for _, n := range []int{longCTR - 1, longCTR, longCTR + 1, longCTR + 17, 70000, 200001} {
		packets = append(packets, av.Packet{Data: picture(n)})
	}
	for _, scheme := range []Scheme{CENC, CBCS} {
		for _, tr := range []*av.Track{&audio, &video} {
			s := stream(t, scheme, 0)
			k, p := track(t, s, tr), period(t, s, 0)
			f := k.Fragment(packets, p, true)
			if scheme == CENC && f.IVSize != 8 || scheme == CBCS && f.IVSize != 0 || f.Subsamples != (tr.Kind == av.Video) || f.Group != nil || f.KIDs != nil {
				t.Fatalf("%+v", f)
			}
			for i := range packets {
				data := packets[i].Data
				before := bytes.Clone(data)
				dst := make([]byte, len(data))
				k.Seal(dst, i, data)
				if !bytes.Equal(before, data) {
					t.Fatal("the packet was written to")
				}
				if got := open(t, scheme, &p.Key, k, f.Samples[i], dst); !bytes.Equal(got, data) {
					t.Fatalf("%s, %s of %d bytes: not what it was", scheme, tr.Codec, len(data))
				}
				if len(data) >= 48 && bytes.Equal(dst, data) {
					t.Fatalf("%s, %s of %d bytes: in the clear", scheme, tr.Codec, len(data))
				}
			}
		}
	}
}

// picture is a sample of n bytes that looks like an IDR picture behind a SEI.
func picture(n int) []byte {
	b := make([]byte, n)
	rng := rand.New(rand.NewPCG(uint64(n), 1))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	if n < 16 {
		return b
	}
	copy(b, []byte{0, 0, 0, 2, 6, 1})
	binary.BigEndian.PutUint32(b[6:], uint32(n-10))
	copy(b[10:], avcSlice)
	return b
}

// TestSealDoesNotAllocate, but for the long key streams of large pictures.
func TestSealDoesNotAllocate(t *testing.T) {
	packets := []av.Packet{{Data: picture(1000)}, {Data: picture(2000)}, {Data: picture(70)}}
	dst := make([]byte, 2000)
	for _, scheme := range []Scheme{CENC, CBCS} {
		for _, tr := range []*av.Track{&audio, &video} {
			s := stream(t, scheme, 1)
			k, p := track(t, s, tr), period(t, s, 1)
			if n := testing.AllocsPerRun(100, func() {
				k.Fragment(packets, p, true)
				for i := range packets {
					k.Seal(dst, i, packets[i].Data)
				}
			}); n != 0 {
				t.Errorf("%s, %s: %v allocations", scheme, tr.Codec, n)
			}
		}
	}
}

// TestSegment: whole segments are padded CBC, whatever the writes; no two have the
// same vector.
func TestSegment(t *testing.T) {
	p := period(t, stream(t, AES128, 0), 0)
	var buf []byte
	vectors := map[[16]byte]bool{}
	for i, n := range []int{0, 1, 15, 16, 17, segmentBuffer - 1, segmentBuffer, segmentBuffer + 1, 3*segmentBuffer + 5} {
		plain := picture(n)
		var out bytes.Buffer
		s := p.Segment(&out, buf)
		for rest := plain; len(rest) > 0; {
			k := min(len(rest), 1+i*40000)
			if w, err := s.Write(rest[:k]); w != k || err != nil {
				t.Fatal(w, err)
			}
			rest = rest[k:]
		}
		var err error
		if buf, err = s.Close(); err != nil {
			t.Fatal(err)
		}
		b := out.Bytes()
		if s.Size != int64(len(b)) || len(b) != n/16*16+16 {
			t.Fatalf("%d bytes became %d, Size is %d", n, len(b), s.Size)
		}
		block, err := aes.NewCipher(p.Key.Key[:])
		if err != nil {
			t.Fatal(err)
		}
		cipher.NewCBCDecrypter(block, s.IV[:]).CryptBlocks(b, b)
		pad := int(b[len(b)-1])
		if pad < 1 || pad > 16 || !bytes.Equal(b[len(b)-pad:], bytes.Repeat([]byte{byte(pad)}, pad)) || !bytes.Equal(b[:len(b)-pad], plain) {
			t.Errorf("%d bytes are not what they were", n)
		}
		vectors[s.IV] = true
	}
	if len(vectors) != 9 {
		t.Error("a vector was used twice")
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

var errFull = errors.New("no space left")

func TestSegmentError(t *testing.T) {
	s := period(t, stream(t, AES128, 0), 0).Segment(fullDisk{}, nil)
	if _, err := s.Write(make([]byte, 2*segmentBuffer)); !errors.Is(err, errFull) {
		t.Error(err)
	}
	if _, err := s.Close(); !errors.Is(err, errFull) {
		t.Error(err)
	}
}

func BenchmarkSeal(b *testing.B) {
	for _, scheme := range []Scheme{CENC, CBCS} {
		for _, n := range []int{400, 20000} {
			b.Run(fmt.Sprintf("%s/%d", scheme, n), func(b *testing.B) {
				s := stream(b, scheme, 0)
				k, p := track(b, s, &video), period(b, s, 0)
				packets := []av.Packet{{Data: picture(n)}}
				dst := make([]byte, n)
				b.SetBytes(int64(n))
				b.ReportAllocs()
				for b.Loop() {
					k.Fragment(packets, p, false)
					k.Seal(dst, 0, packets[0].Data)
				}
			})
		}
	}
}
