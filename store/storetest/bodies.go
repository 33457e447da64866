package storetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/cleave-video/cleave/store"
)

// random returns n bytes that are the same for the same seed.
func random(seed uint64, n int) []byte {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(b)
	return b
}

// bigSize is more than one part of what a store may send in parts, and no multiple.
const bigSize = 21<<20 + 12345

func big(t *testing.T, s store.Store) {
	body := random(1, bigSize)
	put(t, s, "big", body)
	b, err := get(t, s, "big")
	if err != nil || !bytes.Equal(b, body) {
		t.Errorf("read back %d bytes of %d: %v", len(b), len(body), err)
	}
	for info, err := range s.List(t.Context(), "") {
		if err != nil || info.Key != "big" || info.Size != bigSize {
			t.Errorf("listed %+v, %v", info, err)
		}
	}
}

func ranges(t *testing.T, s store.Store) {
	body := random(2, 300000)
	put(t, s, "k", body)
	o, err := s.Open(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if o.Size() != int64(len(body)) {
		t.Fatalf("size %d", o.Size())
	}
	for _, r := range [][2]int{{0, 1}, {0, 300000}, {299999, 1}, {100000, 70000}, {170000, 130000}, {0, 70000}, {5, 0}} {
		b := make([]byte, r[1])
		n, err := o.ReadAt(b, int64(r[0]))
		if n != r[1] || err != nil && !errors.Is(err, io.EOF) || !bytes.Equal(b, body[r[0]:r[0]+r[1]]) {
			t.Errorf("%d bytes at %d: %d, %v", r[1], r[0], n, err)
		}
	}
	b := make([]byte, 100)
	if n, err := o.ReadAt(b, 299950); n != 50 || !errors.Is(err, io.EOF) || !bytes.Equal(b[:n], body[299950:]) {
		t.Errorf("past the end: %d, %v", n, err)
	}
	for _, off := range []int64{300000, 300001} {
		if n, err := o.ReadAt(b, off); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("at %d: %d, %v", off, n, err)
		}
	}
	if all, err := io.ReadAll(io.NewSectionReader(o, 0, o.Size())); err != nil || !bytes.Equal(all, body) {
		t.Errorf("in sequence: %d bytes, %v", len(all), err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			b := make([]byte, 1000)
			if _, err := o.ReadAt(b, int64(i*30000)); err != nil || !bytes.Equal(b, body[i*30000:i*30000+1000]) {
				t.Errorf("reader %d: %v", i, err)
			}
		})
	}
	wg.Wait()
}

// failing is a body that returns err from off on.
type failing struct {
	body []byte
	off  int64
	err  error
	hook func() // called at that offset, if set
}

func (f *failing) ReadAt(b []byte, off int64) (int, error) {
	n := len(b)
	if off+int64(n) <= f.off {
		return bytes.NewReader(f.body).ReadAt(b, off)
	}
	if f.hook != nil {
		f.hook()
	}
	if f.err == nil {
		return bytes.NewReader(f.body).ReadAt(b, off)
	}
	n = copy(b, f.body[min(off, f.off):f.off])
	return n, f.err
}

// absent checks that nothing is there: neither under key nor in a listing.
func absent(t *testing.T, s store.Store, key string) {
	t.Helper()
	if _, err := get(t, s, key); !errors.Is(err, store.ErrNotExist) {
		t.Errorf("%s: %v", key, err)
	}
	for info, err := range s.List(t.Context(), "") {
		t.Errorf("left behind: %v, %v", info, err)
	}
}

func bodyFails(t *testing.T, s store.Store) {
	want := errors.New("the body fails")
	for _, off := range []int64{0, 1, 1 << 20, bigSize - 1} {
		err := s.Put(t.Context(), "k", &failing{body: random(1, bigSize), off: off, err: want}, bigSize)
		if !errors.Is(err, want) {
			t.Errorf("body fails at %d: Put returns %v", off, err)
		}
		if errors.Is(err, store.ErrTransient) {
			t.Errorf("a body that fails is no fault of the store: %v", err)
		}
	}
	absent(t, s, "k")
	put(t, s, "k", []byte("old"))
	if err := s.Put(t.Context(), "k", &failing{body: random(1, 1000), off: 500, err: want}, 1000); err == nil {
		t.Error("no error")
	}
	if b, err := get(t, s, "k"); err != nil || string(b) != "old" {
		t.Errorf("after a Put that failed: %q, %v", b, err)
	}
}

func readAnew(t *testing.T, s store.Store) {
	body := bytes.NewReader(random(3, 100000))
	for _, key := range []string{"a", "b", "a"} {
		if err := s.Put(t.Context(), key, body, body.Size()); err != nil {
			t.Fatal(err)
		}
	}
	a, err1 := get(t, s, "a")
	b, err2 := get(t, s, "b")
	if err1 != nil || err2 != nil || !bytes.Equal(a, b) || !bytes.Equal(a, random(3, 100000)) {
		t.Errorf("%d and %d bytes, %v, %v", len(a), len(b), err1, err2)
	}
}

// inPieces is a body with the ability store.Buffers.
type inPieces struct {
	*bytes.Reader
	bufs [][]byte
}

func (p *inPieces) Buffers() [][]byte { return p.bufs }

func pieces(t *testing.T, s store.Store) {
	bufs := [][]byte{random(1, 5), nil, random(2, 3<<20), random(3, 1)}
	want := slices.Concat(bufs...)
	if err := s.Put(t.Context(), "k", &inPieces{bytes.NewReader(want), bufs}, int64(len(want))); err != nil {
		t.Fatal(err)
	}
	for i := range bufs {
		clear(bufs[i]) // they are the caller's again
	}
	if b, err := get(t, s, "k"); err != nil || !bytes.Equal(b, want) {
		t.Errorf("%d bytes of %d: %v", len(b), len(want), err)
	}
}

func cancelled(t *testing.T, s store.Store) {
	cause := errors.New("no longer wanted")
	for _, off := range []int64{0, 1 << 20, bigSize - 1} {
		ctx, cancel := context.WithCancelCause(t.Context())
		body := &failing{body: random(1, bigSize), off: off, hook: func() { cancel(cause) }}
		if err := s.Put(ctx, "k", body, bigSize); !errors.Is(err, cause) {
			t.Errorf("cancelled when at %d: %v", off, err)
		}
	}
	absent(t, s, "k")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if err := s.Put(ctx, "k", bytes.NewReader(nil), 0); !errors.Is(err, cause) {
		t.Errorf("Put: %v", err)
	}
	if _, err := s.Open(ctx, "k"); !errors.Is(err, cause) {
		t.Errorf("Open: %v", err)
	}
	if err := s.Delete(ctx, "k"); !errors.Is(err, cause) {
		t.Errorf("Delete: %v", err)
	}
	put(t, s, "k", nil)
	n := 0
	for _, err := range s.List(ctx, "") {
		n++
		if !errors.Is(err, cause) {
			t.Errorf("List: %v", err)
		}
	}
	if n != 1 {
		t.Errorf("List yielded %d times", n)
	}
}
