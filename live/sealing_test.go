package live

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Eyevinn/mp4ff/bits"
	mp4ff "github.com/Eyevinn/mp4ff/mp4"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/index"
	indexmem "github.com/cleave-video/cleave/index/mem"
	"github.com/cleave-video/cleave/seal"
	"github.com/cleave-video/cleave/seal/vault"
)

func newVault(t *testing.T) *vault.Vault {
	t.Helper()
	v, err := vault.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// all encrypts every stream as x says.
func all(x *Sealing) func(string) *Sealing { return func(string) *Sealing { return x } }

// opener decrypts what is stored by mp4ff, and watches the vectors.
type opener struct {
	t       *testing.T
	keys    *vault.Keys
	vectors map[string]bool // of cenc, with the key's ID
	ivs     map[string]string
	samples int
}

func newOpener(t *testing.T, v *vault.Vault, name string) *opener {
	t.Helper()
	keys, err := v.Stream(name)
	if err != nil {
		t.Fatal(err)
	}
	return &opener{t: t, keys: keys, vectors: map[string]bool{}, ivs: map[string]string{}}
}

// open returns the samples of a segment, and what its fragments say is their key. A nil
// opener is for what is in the clear.
func (o *opener) open(t *testing.T, init, segment []byte) (samples [][]byte, kid [16]byte) {
	t.Helper()
	f, err := mp4ff.DecodeFileSR(bits.NewFixedSliceReader(append(bytes.Clone(init), segment...)))
	if err != nil {
		t.Fatal(err)
	}
	var info mp4ff.DecryptInfo
	if o != nil {
		if info, err = mp4ff.DecryptInit(f.Init); err != nil {
			t.Fatal(err)
		}
	}
	for i, fr := range f.Segments[0].Fragments {
		if o != nil {
			if k := o.decrypt(info, fr); i > 0 && k != kid {
				t.Fatalf("a segment has the keys %x and %x", kid, k)
			} else {
				kid = k
			}
		}
		full, err := fr.GetFullSamples(nil)
		if err != nil {
			t.Fatal(err)
		}
		for k := range full {
			samples = append(samples, full[k].Data)
		}
	}
	return samples, kid
}

func (o *opener) decrypt(info mp4ff.DecryptInfo, fr *mp4ff.Fragment) (kid [16]byte) {
	t := o.t
	t.Helper()
	sinf, schi := *info.TrackInfos[0].Sinf, *info.TrackInfos[0].Sinf.Schi
	own := *schi.Tenc
	kid = [16]byte(own.DefaultKID)
	for _, c := range fr.Moof.Traf.Children {
		if sgpd, ok := c.(*mp4ff.SgpdBox); ok { // mp4ff does not follow it by itself
			e := sgpd.SampleGroupEntries[0].(*mp4ff.SeigSampleGroupEntry)
			kid, own.DefaultConstantIV = [16]byte(e.KID), e.ConstantIV
		}
	}
	schi.Tenc, sinf.Schi = &own, &schi
	tracks := append([]mp4ff.DecryptTrackInfo(nil), info.TrackInfos...)
	tracks[0].Sinf = &sinf
	info.TrackInfos = tracks
	key, ok := o.keys.Find(kid)
	if !ok {
		t.Fatalf("key %x is not the stream's", kid)
	}
	senc := fr.Moof.Traf.Senc // which goes when it was used
	if err := mp4ff.DecryptFragment(fr, info, key.Key[:]); err != nil {
		t.Fatal(err)
	}
	if iv := fmt.Sprintf("%x", own.DefaultConstantIV); iv != "" {
		if other, ok := o.ivs[iv]; ok && other != key.Name() {
			t.Fatalf("vector %s is that of keys %s and %s", iv, other, key.Name())
		}
		o.ivs[iv] = key.Name()
	}
	if senc != nil {
		for _, iv := range senc.IVs {
			name := key.Name() + fmt.Sprintf("%x", []byte(iv))
			if o.vectors[name] {
				t.Fatalf("vector %s was used twice", name)
			}
			o.vectors[name] = true
		}
	}
	o.samples += len(fr.Moof.Traf.Trun.Samples)
	return kid
}

// chunks are the samples of every chunk of a stream, by track, and their keys, as the
// index and the store have them.
type chunks struct {
	samples map[string][][]byte // "track seq"
	keys    [][16]byte          // by chunk
}

func readChunks(t *testing.T, st *memStore, ix index.Index, name string, o *opener) (c chunks) {
	t.Helper()
	c.samples = map[string][][]byte{}
	for e, err := range ix.Range(t.Context(), name, time.Time{}, time.Time{}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Gap && e.Object == "" {
			continue // it was not stored
		}
		if !strings.HasPrefix(e.Object, name+"/") {
			t.Fatalf("%s has the object %s", name, e.Object)
		}
		b := st.get(e.Object)
		var chunkKey [16]byte
		for _, tr := range e.Tracks {
			if tr.Gap {
				continue
			}
			segment := b[tr.Offset : tr.Offset+tr.Size]
			if tr.IV != [16]byte{} {
				segment = o.whole(segment, tr.KeyID, tr.IV)
				samples, _ := (*opener)(nil).open(t, st.get(name+"/"+tr.Init), segment)
				c.samples[fmt.Sprint(tr.Name, e.Seq)] = samples
				continue
			}
			samples, kid := o.open(t, st.get(name+"/"+tr.Init), segment)
			if kid != tr.KeyID || chunkKey != [16]byte{} && kid != chunkKey {
				t.Fatalf("chunk %d, %s: its key is %x, the index says %x, another track %x", e.Seq, tr.Name, kid, tr.KeyID, chunkKey)
			}
			chunkKey = kid
			c.samples[fmt.Sprint(tr.Name, e.Seq)] = samples
		}
		c.keys = append(c.keys, chunkKey)
	}
	return c
}

// whole decrypts a segment of AES-128.
func (o *opener) whole(segment []byte, id, iv [16]byte) []byte {
	o.t.Helper()
	key, ok := o.keys.Find(id)
	if !ok || len(segment)%16 != 0 || len(segment) == 0 {
		o.t.Fatalf("%d bytes with key %x", len(segment), id)
	}
	if o.vectors[string(iv[:])] {
		o.t.Fatalf("vector %x was used twice", iv)
	}
	o.vectors[string(iv[:])] = true
	block, err := aes.NewCipher(key.Key[:])
	if err != nil {
		o.t.Fatal(err)
	}
	out := make([]byte, len(segment))
	cipher.NewCBCDecrypter(block, iv[:]).CryptBlocks(out, segment)
	o.samples++
	return out[:len(out)-int(out[len(out)-1])]
}

func (c *chunks) same(t *testing.T, want chunks) {
	t.Helper()
	if len(c.samples) != len(want.samples) || len(want.samples) == 0 {
		t.Fatalf("%d segments, want %d", len(c.samples), len(want.samples))
	}
	for name, list := range want.samples {
		got := c.samples[name]
		if len(got) != len(list) {
			t.Fatalf("%s: %d samples, want %d", name, len(got), len(list))
		}
		for i := range list {
			if !bytes.Equal(got[i], list[i]) {
				t.Fatalf("%s: sample %d is another one", name, i)
			}
		}
	}
}

// published is what the store and the index have when a source has been published.
func published(t *testing.T, cfg Config, sp avtest.Spec, o func() *opener) chunks {
	t.Helper()
	st, ix := &memStore{}, indexmem.New()
	cfg.Store, cfg.Index, cfg.Window = st, ix, 24*time.Hour
	h, end := hub(t, cfg)
	defer end()
	if err := h.PublishWith(t.Context(), "live/cam", avtest.NewSynthetic(sp), PublishOptions{Elastic: true}); err != nil {
		t.Fatal(err)
	}
	return readChunks(t, st, ix, "live/cam", o())
}

func clear1() *opener { return nil }

// TestRotations: with a new key for each of 1,000 chunks and more, each decrypts to
// the packets that went in, no vector is used twice with a key, no two keys have one
// vector, and no key comes a second time.
func TestRotations(t *testing.T) {
	frames := 1010 * 10
	if testing.Short() {
		frames = 1000
	}
	sp := avtest.Spec{
		Video: avtest.Video{Frames: frames, GOPs: []int{10}, Timebase: av.Clock90k, FrameDur: 9000, Size: 120}, // chunks of 1 s
		Audio: avtest.Audio{Frames: frames / 10 * 48000 / 1024},
	}
	cfg := Config{Target: time.Second}
	synctest.Test(t, func(t *testing.T) {
		want := published(t, cfg, sp, clear1)
		for _, scheme := range []seal.Scheme{seal.CBCS, seal.CENC} {
			v := newVault(t)
			cfg.Sealing = all(&Sealing{Scheme: scheme, Vault: v, Supply: seal.Random{}, Chunks: 1})
			o := newOpener(t, v, "live/cam")
			got := published(t, cfg, sp, func() *opener { return o })
			got.same(t, want)
			seen := map[[16]byte]bool{}
			for _, k := range got.keys {
				seen[k] = true
			}
			// The first two chunks have the key that was there before any was planned.
			if len(seen) < len(got.keys)-2 || len(got.keys) < frames/10 {
				t.Errorf("%s: %d keys in %d chunks", scheme, len(seen), len(got.keys))
			}
			t.Logf("%s: %d keys in %d chunks, %d samples, 0 undecodable", scheme, len(seen), len(got.keys), o.samples)
		}
	})
}

// TestWholeSegments: AES-128 encrypts each segment by itself, and nothing of it can be
// seen before.
func TestWholeSegments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{Part: -1}
		want := published(t, cfg, spec(30), clear1)
		v := newVault(t)
		cfg.Sealing = all(&Sealing{Scheme: seal.AES128, Vault: v, Supply: seal.Random{}, Chunks: 3})
		o := newOpener(t, v, "live/cam")
		got := published(t, cfg, spec(30), func() *opener { return o })
		got.same(t, want)
		if o.keys.Len() < 4 {
			t.Errorf("%d keys", o.keys.Len())
		}

		cfg.Store = &memStore{}
		h, end := hub(t, cfg)
		defer end()
		var wg sync.WaitGroup
		wg.Go(func() {
			watch(h, "cam", func(e *Edge) {
				for i := range e.Renditions {
					r := &e.Renditions[i]
					if r.Open != nil && (len(r.Open.Parts) > 0 || len(r.Open.Keys) > 0 || r.Open.Size > 0) {
						t.Errorf("%s: %d shows parts while it is open", r.Name, r.Open.MSN)
					}
					for k := range r.Segments {
						s := &r.Segments[k]
						if s.Sealed == nil || s.Sealed.IV == [16]byte{} || len(s.Parts) != 1 || s.Listed != 0 || len(s.Keys) != 0 || s.Size%16 != 0 {
							t.Fatalf("%s: %+v", r.Name, s)
						}
					}
				}
			})
		})
		if err := h.Publish(t.Context(), "cam", avtest.Pace(avtest.NewSynthetic(spec(10)))); err != nil {
			t.Error(err)
		}
		wg.Wait()
	})
}

// failingSupply has no key while it is told to.
type failingSupply struct {
	seal.Random
	fail atomic.Pointer[error]
	n    atomic.Int64
}

func (f *failingSupply) Next(ctx context.Context, stream string, number uint64, last *seal.Key) (seal.Key, error) {
	f.n.Add(1)
	if err := f.fail.Load(); err != nil {
		return seal.Key{}, *err
	}
	return f.Random.Next(ctx, stream, number, last)
}

// TestKeysAhead: a key can be asked for, and is announced, while the chunk is open that
// comes two before its first; and it changes when it is due.
func TestKeysAhead(t *testing.T) {
	for name, x := range map[string]Sealing{"by 1": {Chunks: 1}, "by 4": {Chunks: 4}, "10 s": {Every: 10 * time.Second}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := newVault(t)
				x := x
				x.Scheme, x.Vault, x.Supply = seal.CBCS, v, seal.Random{}
				h, end := hub(t, Config{Sealing: all(&x), Window: time.Hour, Grace: time.Second})
				defer end()
				announced := map[[16]byte]int64{} // the chunk that was open
				begins := map[[16]byte]*Segment{}
				var order []*Segment
				var wg sync.WaitGroup
				wg.Go(func() {
					watch(h, "cam", func(e *Edge) {
						if len(e.Renditions) == 0 || e.Renditions[0].Open == nil {
							return
						}
						open := e.Renditions[0].Open
						if open.Discontinuity {
							t.Errorf("segment %d has a discontinuity", open.MSN)
						}
						for _, id := range e.Ahead {
							if _, ok := announced[id]; !ok {
								announced[id] = open.MSN
							}
						}
						if id := open.Sealed.KeyID; begins[id] == nil {
							begins[id] = open
							order = append(order, open)
						}
					})
				})
				if err := h.Publish(t.Context(), "cam", avtest.Pace(avtest.NewSynthetic(spec(60)))); err != nil {
					t.Fatal(err)
				}
				wg.Wait()
				if len(order) < 5 {
					t.Fatalf("%d keys", len(order))
				}
				for i, s := range order[1:] {
					if at, ok := announced[s.Sealed.KeyID]; !ok || at > s.MSN-keyNotice {
						t.Errorf("the key of %d was announced at %d, %v", s.MSN, at, ok)
					}
					last := order[i]
					chunks, passed := s.MSN-last.MSN, s.Date.Sub(last.Date)
					if i > 0 && (x.Chunks > 0 && chunks != int64(x.Chunks) || x.Every > 0 && max(passed-x.Every, x.Every-passed) > 2*time.Second) {
						t.Errorf("the key of %d came %d chunks and %v after that of %d", s.MSN, chunks, passed, last.MSN)
					}
				}
			})
		})
	}
}

// TestNoKey: without a first key nothing is read; without a later one the last one
// stays, and the next is taken when it is there.
func TestNoKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		none := errors.New("no answer")
		f := &failingSupply{}
		f.fail.Store(&none)
		v := newVault(t)
		st, ix := &memStore{}, indexmem.New()
		cfg := Config{Store: st, Index: ix, Window: time.Hour, Sealing: all(&Sealing{Scheme: seal.CENC, Vault: v, Supply: f, Chunks: 2})}
		h, end := hub(t, cfg)
		defer end()
		if err := h.Publish(t.Context(), "live/cam", avtest.Pace(avtest.NewSynthetic(spec(4)))); !errors.Is(err, ErrKey) || !errors.Is(err, none) {
			t.Fatal(err)
		}
		f.fail.Store(nil)
		time.AfterFunc(7*time.Second, func() { f.fail.Store(&none) })
		time.AfterFunc(40*time.Second, func() { f.fail.Store(nil) })
		if err := h.Publish(t.Context(), "live/cam", avtest.Pace(avtest.NewSynthetic(spec(100)))); err != nil {
			t.Fatal(err)
		}
		o := newOpener(t, v, "live/cam")
		c := readChunks(t, st, ix, "live/cam", o)
		longest, run := 0, 0
		for i := range c.keys {
			if run++; i == 0 || c.keys[i] != c.keys[i-1] {
				run = 1
			}
			longest = max(longest, run)
		}
		if longest < 15 || longest > 35 || o.keys.Len() < 12 {
			t.Errorf("%d chunks with one key, %d keys", longest, o.keys.Len())
		}
		if n := f.n.Load(); n > int64(o.keys.Len())+15 {
			t.Errorf("keys were asked for %d times", n)
		}
	})
}

// TestRestart: a server that is started anew goes on with another key, and still has
// those of what is stored.
func TestKeysAfterRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		st, ix := &memStore{}, indexmem.New()
		count := 0
		for turn := range 3 {
			v, err := vault.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			h, end := hub(t, Config{Store: st, Index: ix, Window: time.Hour, Sealing: all(&Sealing{Scheme: seal.CENC, Vault: v, Supply: seal.Random{}})})
			for range 2 { // a publisher that returns keeps the key
				if err := h.Publish(t.Context(), "live/cam", avtest.Pace(avtest.NewSynthetic(spec(4)))); err != nil {
					t.Fatal(err)
				}
			}
			end()
			o := newOpener(t, v, "live/cam")
			c := readChunks(t, st, ix, "live/cam", o)
			if o.keys.Len() != turn+1 || len(c.keys) <= count {
				t.Errorf("start %d: %d keys in %d chunks", turn, o.keys.Len(), len(c.keys))
			}
			count = len(c.keys)
		}
	})
}

// TestGuarded: viewers of packets are turned away, unless they are let in.
func TestGuarded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, clear := range []bool{false, true} {
			h, end := hub(t, Config{Sealing: all(&Sealing{Scheme: seal.CBCS, Vault: newVault(t), Supply: seal.Random{}, AllowClear: clear})})
			var wg sync.WaitGroup
			wg.Go(func() {
				if err := h.Publish(t.Context(), "cam", avtest.Pace(avtest.NewSynthetic(spec(4)))); err != nil {
					t.Error(err)
				}
			})
			time.Sleep(2 * time.Second)
			s := h.Lookup("cam")
			want := ErrSealed
			if clear {
				want = nil
			}
			if err := s.Guarded(); !errors.Is(err, want) {
				t.Error(err)
			}
			c := s.NewCursor(CursorOptions{})
			_, err := c.Next(t.Context(), make([]av.Packet, 4))
			c.Close()
			if errors.Is(err, ErrSealed) == clear || clear && !errors.Is(err, av.ErrTracks) {
				t.Errorf("clear %v: a cursor gets %v", clear, err)
			}
			v := s.Watch("x", func() Renderer { return &numbers{} })
			_, err = v.Next(t.Context(), make([][]byte, 0, 8))
			v.Close()
			if errors.Is(err, ErrSealed) == clear || clear && err != nil {
				t.Errorf("clear %v: a viewer gets %v", clear, err)
			}
			wg.Wait()
			end()
		}
	})
}

// TestForgetKeys: keys go when nothing in the store needs them any more.
func TestForgetKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVault(t)
		st, ix := &memStore{}, indexmem.New()
		h, end := hub(t, Config{
			Store: st, Index: ix, Target: time.Second, Window: 10 * time.Second,
			Sealing: all(&Sealing{Scheme: seal.CBCS, Vault: v, Supply: seal.Random{}, Chunks: 1}),
		})
		defer end()
		o := newOpener(t, v, "live/cam")
		for turn := range 2 {
			if err := h.Publish(t.Context(), "live/cam", avtest.Pace(avtest.NewSynthetic(spec(200)))); err != nil {
				t.Fatal(err)
			}
			readChunks(t, st, ix, "live/cam", o) // it has all of these
			if n := o.keys.Len(); n < 20 || n > 200 {
				t.Errorf("turn %d: %d of %d keys are left", turn, n, o.keys.Count())
			}
		}
	})
}

func TestValidateSealing(t *testing.T) {
	v := newVault(t)
	for _, test := range []struct {
		x     Sealing
		parts bool
		want  string
	}{
		{Sealing{Scheme: seal.CBCS}, true, ""},
		{Sealing{Scheme: seal.AES128, Chunks: 3}, false, ""},
		{Sealing{Scheme: seal.CENC, Every: time.Minute, ClearKey: true, LicenseURL: "x"}, false, ""},
		{Sealing{Scheme: seal.AES128}, true, "parts"},
		{Sealing{Scheme: seal.AES128, ClearKey: true}, false, "ClearKey"},
		{Sealing{Scheme: seal.None}, true, "no scheme"},
		{Sealing{Scheme: seal.CBCS, Chunks: 1, Every: time.Minute}, true, "not both"},
		{Sealing{Scheme: seal.CBCS, Every: time.Millisecond}, true, "a second"},
	} {
		test.x.Vault, test.x.Supply = v, seal.Random{}
		if err := test.x.Validate(test.parts); (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v, want %q", test.x, err, test.want)
		}
	}
	if err := (&Sealing{Scheme: seal.CBCS, Vault: v}).Validate(true); err == nil {
		t.Error("no source of keys, and no error")
	}
}

// TestKeyFile: the keys of a file are used one behind the other; the last one stays until
// others are added to it, also when the server is started anew.
func TestKeyFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "keys")
		write := func(n int) {
			var b strings.Builder
			for i := range n {
				fmt.Fprintf(&b, "%032x:%032x\n", 100+i, 200+i)
			}
			if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
				t.Error(err)
			}
		}
		write(2)
		v := newVault(t)
		st, ix := &memStore{}, indexmem.New()
		cfg := Config{Store: st, Index: ix, Window: time.Hour, Sealing: all(&Sealing{Scheme: seal.CENC, Vault: v, Supply: seal.File(file), Chunks: 3})}
		for turn, want := range []int{3, 3, 4} {
			h, end := hub(t, cfg)
			switch turn {
			case 0:
				time.AfterFunc(30*time.Second, func() { write(3) })
			case 2:
				write(4)
			}
			if err := h.Publish(t.Context(), "live/cam", avtest.Pace(avtest.NewSynthetic(spec(90)))); err != nil {
				t.Fatal(err)
			}
			end()
			o := newOpener(t, v, "live/cam")
			c := readChunks(t, st, ix, "live/cam", o)
			if last := c.keys[len(c.keys)-1]; o.keys.Len() != want || fmt.Sprintf("%x", last) != fmt.Sprintf("%032x", 100+want-1) {
				t.Errorf("start %d: %d keys, the last is %x", turn, o.keys.Len(), last)
			}
		}
	})
}
