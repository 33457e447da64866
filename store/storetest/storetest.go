// Package storetest holds what every store.Store must do.
package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/cleave-video/cleave/store"
)

// Run checks a store that open makes empty.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	t.Run("PutOpenDelete", func(t *testing.T) { putOpenDelete(t, open(t)) })
	t.Run("Keys", func(t *testing.T) { keys(t, open(t)) })
	t.Run("List", func(t *testing.T) { list(t, open(t)) })
	t.Run("ShortBodyLeavesNothing", func(t *testing.T) { shortBody(t, open(t)) })
	t.Run("ReplaceIsAtomic", func(t *testing.T) { replace(t, open(t)) })
	t.Run("ListOrder", func(t *testing.T) { listOrder(t, open(t)) })
	t.Run("ListManyAndStop", func(t *testing.T) { listMany(t, open(t)) })
	t.Run("Big", func(t *testing.T) { big(t, open(t)) })
	t.Run("Ranges", func(t *testing.T) { ranges(t, open(t)) })
	t.Run("BodyFails", func(t *testing.T) { bodyFails(t, open(t)) })
	t.Run("BodyIsReadAnew", func(t *testing.T) { readAnew(t, open(t)) })
	t.Run("Buffers", func(t *testing.T) { pieces(t, open(t)) })
	t.Run("Cancel", func(t *testing.T) { cancelled(t, open(t)) })
	t.Run("ConcurrentPut", func(t *testing.T) { concurrentPut(t, open(t)) })
	t.Run("OpenedStaysAsItWas", func(t *testing.T) { stays(t, open(t)) })
	t.Run("PutNew", func(t *testing.T) { putNew(t, open(t)) })
}

func put(t *testing.T, s store.Store, key string, body []byte) {
	t.Helper()
	if err := s.Put(t.Context(), key, bytes.NewReader(body), int64(len(body))); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, s store.Store, key string) ([]byte, error) {
	t.Helper()
	o, err := s.Open(t.Context(), key)
	if err != nil {
		return nil, err
	}
	defer o.Close()
	b := make([]byte, o.Size())
	n, err := o.ReadAt(b, 0)
	if n == len(b) {
		return b, nil
	}
	if err == nil {
		t.Fatalf("%d bytes of %d without an error", n, len(b))
	}
	return nil, err
}

func putOpenDelete(t *testing.T, s store.Store) {
	body := bytes.Repeat([]byte("grain"), 100000)
	put(t, s, "live/cam1/e1/1", body)
	if b, err := get(t, s, "live/cam1/e1/1"); err != nil || !bytes.Equal(b, body) {
		t.Fatalf("read back %d bytes: %v", len(b), err)
	}
	put(t, s, "empty", nil)
	if b, err := get(t, s, "empty"); err != nil || len(b) != 0 {
		t.Errorf("empty object: %d bytes, %v", len(b), err)
	}
	for range 2 {
		if err := s.Delete(t.Context(), "live/cam1/e1/1"); err != nil {
			t.Error(err)
		}
	}
	if _, err := get(t, s, "live/cam1/e1/1"); !errors.Is(err, store.ErrNotExist) {
		t.Errorf("after Delete: %v", err)
	}
	if _, err := get(t, s, "empty/below"); !errors.Is(err, store.ErrNotExist) {
		t.Errorf("key below an object: %v", err)
	}
}

func keys(t *testing.T, s store.Store) {
	for _, key := range []string{
		"", "/", "a//b", "../x", "a/../b", "a/.", "a b", "a\x00", "a\n", "é", `a\b`, "a/", "/a",
		strings.Repeat("a", 600), strings.Repeat("a/", 20) + "a",
	} {
		if err := s.Put(t.Context(), key, bytes.NewReader(nil), 0); !errors.Is(err, store.ErrKey) {
			t.Errorf("Put %q: %v", key, err)
		}
		if _, err := s.Open(t.Context(), key); !errors.Is(err, store.ErrKey) {
			t.Errorf("Open %q: %v", key, err)
		}
	}
}

func list(t *testing.T, s store.Store) {
	for _, k := range []string{"a/2", "a/1", "a/10", "b/1", "ab"} {
		put(t, s, k, []byte(k))
	}
	for prefix, want := range map[string]string{"": "a/1 a/10 a/2 ab b/1", "a/": "a/1 a/10 a/2", "a": "a/1 a/10 a/2 ab", "a/1": "a/1 a/10", "c/d": ""} {
		var got []string
		for info, err := range s.List(t.Context(), prefix) {
			if err != nil {
				t.Fatal(err)
			}
			if info.Size != int64(len(info.Key)) || info.Modified.IsZero() {
				t.Errorf("%+v", info)
			}
			got = append(got, info.Key)
		}
		if g := strings.Join(got, " "); g != want {
			t.Errorf("List(%q) = %q, want %q", prefix, g, want)
		}
	}
}

// broken ends before its size.
type broken struct{}

func (broken) ReadAt(b []byte, off int64) (int, error) {
	if off > 0 {
		return 0, io.ErrUnexpectedEOF
	}
	return copy(b, "some"), io.ErrUnexpectedEOF
}

func shortBody(t *testing.T, s store.Store) {
	if err := s.Put(t.Context(), "k", broken{}, 100); err == nil {
		t.Error("no error for a body that ends early")
	}
	if _, err := get(t, s, "k"); !errors.Is(err, store.ErrNotExist) {
		t.Errorf("half an object is there: %v", err)
	}
	for info := range s.List(t.Context(), "") {
		t.Errorf("left behind: %v", info)
	}
}

// replace reads an object while others put and replace it: what is read is always
// one whole version.
func replace(t *testing.T, s store.Store) {
	version := func(i int) []byte { return bytes.Repeat([]byte(fmt.Sprintf("%04d", i)), 5000) }
	put(t, s, "k", version(0))
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 20 {
			put(t, s, "k", version(i))
		}
	})
	for range 50 {
		b, err := get(t, s, "k")
		if errors.Is(err, store.ErrNotExist) {
			continue // replaced between Open and ReadAt, in a store that keeps no versions
		}
		if err != nil {
			t.Error(err)
			break
		}
		if !bytes.Equal(b, bytes.Repeat(b[:4], 5000)) {
			t.Error("two versions in one read")
			break
		}
	}
	wg.Wait()
}
