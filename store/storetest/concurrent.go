package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cleave-video/cleave/store"
)

func listed(t *testing.T, s store.Store, prefix string) []string {
	t.Helper()
	var keys []string
	for info, err := range s.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, info.Key)
	}
	return keys
}

// listOrder has names that a walk through folders would put elsewhere, and numbers
// of which a store may make folders.
func listOrder(t *testing.T, s store.Store) {
	want := []string{
		"a-b", "a.b/c", "a/1", "a/0000001023.chunk", "a/0000001024.chunk", "a/0000005000.chunk", "a/1024", "a/10240", "a/2000",
		"a/99999", "a/123456789012345678901", "a/5000x", "a/b/2047", "a/b/2048", "ab", "a~", "5000", "5000.x/1",
	}
	for _, k := range want {
		put(t, s, k, []byte(k))
	}
	slices.Sort(want)
	if got := listed(t, s, ""); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	for _, prefix := range []string{"a", "a/", "a/0", "a/1", "a/1024", "a/b/", "a/b/2", "a.", "5", "a/0000001024.chunk", "a/0000001024.chunk/"} {
		var some []string
		for _, k := range want {
			if bytes.HasPrefix([]byte(k), []byte(prefix)) {
				some = append(some, k)
			}
		}
		if got := listed(t, s, prefix); !slices.Equal(got, some) {
			t.Errorf("List(%q) = %q, want %q", prefix, got, some)
		}
	}
	for _, k := range want {
		if b, err := get(t, s, k); err != nil || string(b) != k {
			t.Errorf("%s: %q, %v", k, b, err)
		}
		if err := s.Delete(t.Context(), k); err != nil {
			t.Error(err)
		}
	}
	if got := listed(t, s, ""); len(got) > 0 {
		t.Errorf("left: %q", got)
	}
}

func listMany(t *testing.T, s store.Store) {
	var want []string
	for i := range 250 {
		k := fmt.Sprintf("live/cam1/1/%010d.chunk", 900+i)
		put(t, s, k, nil)
		want = append(want, k)
	}
	if got := listed(t, s, "live/cam1/"); !slices.Equal(got, want) {
		t.Errorf("%d keys, want %d; %q", len(got), len(want), got)
	}
	n := 0
	for _, err := range s.List(t.Context(), "live") {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 120 {
			break
		}
	}
	for info, err := range s.List(t.Context(), "live") { // who lists may delete
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Delete(t.Context(), info.Key); err != nil {
			t.Fatal(err)
		}
	}
	if got := listed(t, s, ""); len(got) > 0 {
		t.Errorf("left: %q", got)
	}
}

// concurrentPut has many put one key: at the end one of them has, whole.
func concurrentPut(t *testing.T, s store.Store) {
	version := func(i int) []byte { return random(uint64(i), 50000+i) }
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			body := version(i)
			if err := s.Put(t.Context(), "a/k", bytes.NewReader(body), int64(len(body))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	b, err := get(t, s, "a/k")
	if err != nil {
		t.Fatal(err)
	}
	if i := len(b) - 50000; i < 0 || i >= 12 || !bytes.Equal(b, version(i)) {
		t.Errorf("%d bytes that nobody put", len(b))
	}
	if got := listed(t, s, ""); len(got) != 1 {
		t.Errorf("listed: %q", got)
	}
}

// stays reads an opened object after it was replaced and deleted.
func stays(t *testing.T, s store.Store) {
	old := random(1, 200000)
	put(t, s, "k", old)
	o, err := s.Open(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	check := func(when string) {
		t.Helper()
		b := make([]byte, 150000)
		n, err := o.ReadAt(b, 20000)
		switch {
		case errors.Is(err, store.ErrNotExist) && n == 0: // it could not be kept, and says so
		case err != nil || !bytes.Equal(b, old[20000:170000]):
			t.Errorf("%s: %d bytes, %v", when, n, err)
		}
	}
	check("as it is")
	put(t, s, "k", random(2, 200000))
	check("replaced")
	if err := s.Delete(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	check("deleted")
}

func putNew(t *testing.T, s store.Store) {
	one := []byte("one")
	err := store.PutNew(t.Context(), s, "a/k", bytes.NewReader(one), 3)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip("no store.ConditionalPutter")
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := store.PutNew(t.Context(), s, "a/k", bytes.NewReader(one), 3); err != nil {
		t.Errorf("the same bytes: %v", err)
	}
	for _, other := range []string{"two", "longer"} {
		if err := store.PutNew(t.Context(), s, "a/k", bytes.NewReader([]byte(other)), int64(len(other))); !errors.Is(err, store.ErrExist) {
			t.Errorf("%s: %v", other, err)
		}
	}
	if b, err := get(t, s, "a/k"); err != nil || string(b) != "one" {
		t.Errorf("%q, %v", b, err)
	}
	if err := store.PutNew(t.Context(), s, "../k", bytes.NewReader(nil), 0); !errors.Is(err, store.ErrKey) {
		t.Errorf("a key that is none: %v", err)
	}
	var won atomic.Int32
	var winner atomic.Value
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			name := fmt.Sprintf("writer %d", i)
			err := store.PutNew(t.Context(), s, "lease", bytes.NewReader([]byte(name)), int64(len(name)))
			switch {
			case err == nil:
				won.Add(1)
				winner.Store(name)
			case !errors.Is(err, store.ErrExist) && !errors.Is(err, store.ErrTransient):
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	wg.Wait()
	if b, err := get(t, s, "lease"); won.Load() != 1 || err != nil || string(b) != winner.Load() {
		t.Errorf("%d won, the object is %q, %v", won.Load(), b, err)
	}
}
