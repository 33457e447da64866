package index_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cleave-video/cleave/index"
	"github.com/cleave-video/cleave/index/indextest"
	indexmem "github.com/cleave-video/cleave/index/mem"
	"github.com/cleave-video/cleave/store"
	"github.com/cleave-video/cleave/store/mem"
)

var update = flag.Bool("update", false, "write golden files that are missing")

func encode(list []index.Entry) (b []byte, ends []int) {
	var enc index.Encoder
	for i := range list {
		b = enc.Append(b, &list[i])
		ends = append(ends, len(b))
	}
	return b, ends
}

func decode(b []byte) (list []index.Entry, err error) {
	var dec index.Decoder
	for len(b) > 0 {
		var e index.Entry
		if b, err = dec.Next(b, &e); err != nil {
			return list, err
		}
		list = append(list, e)
	}
	return list, nil
}

func TestRoundTrip(t *testing.T) {
	for seed := range uint64(5) {
		list := indextest.Entries(seed, 300)
		b, _ := encode(list)
		got, err := decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(list, got); d != "" {
			t.Fatalf("seed %d (-want +got):\n%s", seed, d)
		}
	}
}

// TestEveryPrefix cuts the code of entries everywhere: whole ones are right, the
// cut one is an error.
func TestEveryPrefix(t *testing.T) {
	list := indextest.Entries(3, 5)
	b, ends := encode(list)
	for n := range b {
		got, err := decode(b[:n])
		whole := 0
		for whole < len(ends) && ends[whole] <= n {
			whole++
		}
		atEnd := n == 0 || whole > 0 && ends[whole-1] == n
		if len(got) != whole || (err == nil) != atEnd {
			t.Errorf("%d bytes: %d entries, %v; want %d", n, len(got), err, whole)
		}
	}
}

// TestSize keeps the promise of at most 24 bytes on disk a chunk beyond key frames
// and digest, framing of the log and of segments included.
func TestSize(t *testing.T) {
	g := indextest.NewGenerator(1)
	g.Steady = true
	var enc index.Encoder
	var b, keys []byte
	const n = 10000
	for i := range n {
		e := g.Next()
		if i%index.PerBlock == 0 {
			enc.Reset()
		}
		b = enc.Append(b, &e)
		keys = append(keys, make([]byte, 6*len(e.Keys)+len(e.Digest))...)
	}
	got := float64(len(b)-len(keys)) / n
	t.Logf("%.1f bytes", got)
	if log := 5.0; got+log > 24 {
		t.Errorf("%.1f bytes and %v of the log's framing", got, log)
	}
}

// object is what is stored of an entry.
func object(e *index.Entry, stream string) []byte {
	n := int64(0)
	if k := len(e.Tracks); k > 0 {
		n = e.Tracks[k-1].Offset + e.Tracks[k-1].Size
	}
	return index.AppendDescription(make([]byte, n), stream, e)
}

type body struct{ *bytes.Reader }

func (body) Close() error { return nil }

func TestDescription(t *testing.T) {
	for _, want := range indextest.Entries(5, 60) {
		b := object(&want, "live/cam1")
		want.Size, want.Digest = int64(len(b)), [32]byte{}
		stream, got, err := index.ReadDescription(body{bytes.NewReader(b)}, want.Object)
		if err != nil || stream != "live/cam1" {
			t.Fatalf("%q, %v", stream, err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("(-want +got):\n%s", d)
		}
	}
	long := indextest.Entries(1, 1)[0]
	long.Keys = nil
	for i := range int64(5000) {
		long.Keys = append(long.Keys, index.Key{Time: long.Start + i*100, Offset: i * 1000, Size: 999})
	}
	b := object(&long, "s")
	if _, got, err := index.ReadDescription(body{bytes.NewReader(b)}, "k"); err != nil || len(got.Keys) != 5000 {
		t.Errorf("%d keys, %v", len(got.Keys), err)
	}
}

// TestDescriptionDamage cuts an object everywhere and changes each byte of its box.
func TestDescriptionDamage(t *testing.T) {
	e := indextest.Entries(1, 1)[0]
	e.Tracks = e.Tracks[:1]
	e.Tracks[0].Size = 50
	b := object(&e, "live/cam1")
	for n := range b {
		if _, _, err := index.ReadDescription(body{bytes.NewReader(b[:n])}, "k"); err == nil {
			t.Errorf("%d bytes of %d: no error", n, len(b))
		}
	}
	for i := 50; i < len(b); i++ {
		c := bytes.Clone(b)
		c[i] ^= 0x40
		_, _, err := index.ReadDescription(body{bytes.NewReader(c)}, "k")
		var damage *index.CorruptError
		if !errors.Is(err, index.ErrNoDescription) && !errors.As(err, &damage) {
			t.Errorf("byte %d: %v", i, err)
		}
	}
	// Bytes lost before the box are seen, too.
	var damage *index.CorruptError
	if _, _, err := index.ReadDescription(body{bytes.NewReader(b[1:])}, "k"); !errors.As(err, &damage) {
		t.Errorf("a byte less: %v", err)
	}
}

// TestGolden reads what earlier versions wrote; these files stay for ever.
func TestGolden(t *testing.T) {
	list := indextest.Entries(42, 20)
	code, _ := encode(list)
	list[0].Tracks[0].Size, list[0].Tracks[1].Offset, list[0].Tracks[1].Size = 100, 100, 50
	list[0].Size = 150
	for name, b := range map[string][]byte{"entries-1.bin": code, "chunk-1.bin": object(&list[0], "live/cam1")} {
		path := filepath.Join("testdata", "golden", name)
		want, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) && *update {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, b, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b, want) {
			t.Errorf("%s: %d bytes are written otherwise than the %d of this version", name, len(b), len(want))
		}
	}
	b, err := os.ReadFile("testdata/golden/entries-1.bin")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := decode(b); err != nil || !cmp.Equal(got, indextest.Entries(42, 20)) {
		t.Errorf("entries: %d, %v", len(got), err)
	}
	b, err = os.ReadFile("testdata/golden/chunk-1.bin")
	if err != nil {
		t.Fatal(err)
	}
	stream, got, err := index.ReadDescription(body{bytes.NewReader(b)}, list[0].Object)
	want := list[0]
	want.Size, want.Digest = int64(len(b)), [32]byte{}
	if d := cmp.Diff(want, got); err != nil || stream != "live/cam1" || d != "" {
		t.Errorf("chunk: %q, %v, %s", stream, err, d)
	}
}

// TestRebuild builds an index from a store alone: it equals the one that was lost.
func TestRebuild(t *testing.T) {
	s := mem.New(mem.Config{})
	defer s.Close()
	put := func(key string, b []byte) {
		if err := s.Put(t.Context(), key, bytes.NewReader(b), int64(len(b))); err != nil {
			t.Fatal(err)
		}
	}
	lost := map[string][]index.Entry{}
	for i, name := range []string{"live/cam1", "live/cam1/sub", "other"} {
		for _, e := range indextest.Entries(uint64(i), 120) {
			for k := range e.Tracks { // so that it is done soon
				e.Tracks[k].Offset, e.Tracks[k].Size = int64(k*10), 10
			}
			e.Object = fmt.Sprintf("%s/%d/%010d.chunk", name, e.Epoch, e.Seq)
			e.Size = 20
			b := object(&e, name)
			e.Size, e.Digest = int64(len(b)), [32]byte{}
			put(e.Object, b)
			lost[name] = append(lost[name], e)
		}
	}
	put("live/cam1/init-12.mp4", []byte("an initialization section, which is no chunk and longer than a box"))
	bad := lost["other"][7]
	b := object(&bad, "other")
	b[len(b)-15] ^= 1
	put(bad.Object, b)
	lost["other"] = append(lost["other"][:7:7], lost["other"][8:]...)

	ix := indexmem.New()
	calls := 0
	r, err := index.Rebuild(t.Context(), s, ix, index.RebuildConfig{Progress: func(int, int) { calls++ }})
	if err != nil {
		t.Fatal(err)
	}
	if r.Objects != 361 || r.Entries != 359 || r.Others != 1 || r.Lost != 1 || len(r.Damaged) != 1 || calls == 0 {
		t.Errorf("%+v, %d calls", r, calls)
	}
	for name, want := range lost {
		var got []index.Entry
		for e, err := range ix.Range(t.Context(), name, time.Time{}, time.Time{}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, e)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
	if r, err = index.Rebuild(t.Context(), s, ix, index.RebuildConfig{}); err != nil || r.Entries != 0 || r.Known != 359 {
		t.Errorf("again: %+v, %v", r, err)
	}
	skip := func(info store.Info) bool { return info.Key != lost["other"][0].Object }
	if r, err = index.Rebuild(t.Context(), s, indexmem.New(), index.RebuildConfig{Prefix: "other/", Skip: skip}); err != nil || r.Objects != 1 || r.Entries != 1 {
		t.Errorf("one: %+v, %v", r, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := index.Rebuild(ctx, s, ix, index.RebuildConfig{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

type failing struct{ store.Store }

var errOpen = fmt.Errorf("%w: no answer", store.ErrTransient)

func (f failing) Open(context.Context, string) (store.Object, error) { return nil, errOpen }

func TestRebuildStoreFails(t *testing.T) {
	s := mem.New(mem.Config{})
	defer s.Close()
	for i := range 50 {
		if err := s.Put(t.Context(), fmt.Sprint(i), bytes.NewReader(nil), 0); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := index.Rebuild(t.Context(), failing{s}, indexmem.New(), index.RebuildConfig{}); !errors.Is(err, errOpen) {
		t.Error(err)
	}
}

// TestPlayersPassOverTheBox shows FFmpeg a fragmented file with the box behind it.
func TestPlayersPassOverTheBox(t *testing.T) {
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("no ffmpeg")
	}
	path := filepath.Join(t.TempDir(), "x.mp4")
	out, err := exec.Command(ffmpeg, "-v", "error", "-f", "lavfi", "-i", "testsrc=d=1:s=128x72:r=25", "-c:v", "libx264", "-movflags", "frag_keyframe+empty_moov", path).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	e := indextest.Entries(1, 1)[0]
	if err := os.WriteFile(path, index.AppendDescription(b, "live/cam1", &e), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err = exec.Command(ffmpeg, "-v", "warning", "-i", path, "-f", "framehash", "-").CombinedOutput()
	if err != nil || bytes.Count(out, []byte("\n0,")) != 25 {
		t.Errorf("%v: %s", err, out)
	}
}
