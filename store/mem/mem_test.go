package mem

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/cleave-video/cleave/store"
	"github.com/cleave-video/cleave/store/storetest"
)

func open(t *testing.T, c Config) *Mem {
	m := New(c)
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		if n := m.Used(); n != 0 {
			t.Errorf("%d bytes did not come home", n)
		}
	})
	return m
}

func TestMem(t *testing.T) {
	for _, drop := range []bool{false, true} {
		storetest.Run(t, func(t *testing.T) store.Store { return open(t, Config{DropOldest: drop}) })
	}
}

func put(t *testing.T, m *Mem, key string, n int) error {
	return m.Put(t.Context(), key, bytes.NewReader(make([]byte, n)), int64(n))
}

func TestFull(t *testing.T) {
	m := open(t, Config{MaxBytes: 1 << 20})
	for i := range 4 {
		if err := put(t, m, fmt.Sprint(i), 256<<10); err != nil {
			t.Fatal(err)
		}
	}
	if err := put(t, m, "more", 1); !errors.Is(err, store.ErrFull) {
		t.Errorf("fifth: %v", err)
	}
	if err := m.Delete(t.Context(), "2"); err != nil {
		t.Fatal(err)
	}
	if err := put(t, m, "more", 1); err != nil {
		t.Errorf("after Delete: %v", err)
	}
}

func TestDropOldest(t *testing.T) {
	m := open(t, Config{MaxBytes: 1 << 20, DropOldest: true})
	for i := range 9 {
		if err := put(t, m, fmt.Sprint(i), 256<<10); err != nil {
			t.Fatal(err)
		}
		if m.Used() > 1<<20 {
			t.Fatalf("%d bytes", m.Used())
		}
	}
	for i := range 9 {
		o, err := m.Open(t.Context(), fmt.Sprint(i))
		if there := err == nil; there != (i >= 5) {
			t.Errorf("%d: %v", i, err)
		}
		if err == nil {
			o.Close()
		}
	}
	if err := put(t, m, "too-much", 1<<20+1); !errors.Is(err, store.ErrFull) {
		t.Error(err)
	}
	o, err := m.Open(t.Context(), "8")
	if err != nil {
		t.Fatalf("dropped for what does not fit at all: %v", err)
	}
	o.Close()
}

// TestOpenedObjectsCount holds the budget while objects are open: nothing is
// overwritten under a reader.
func TestOpenedObjectsCount(t *testing.T) {
	m := open(t, Config{MaxBytes: 512 << 10, DropOldest: true})
	body := bytes.Repeat([]byte("x"), 512<<10)
	if err := m.Put(t.Context(), "k", bytes.NewReader(body), int64(len(body))); err != nil {
		t.Fatal(err)
	}
	o, err := m.Open(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	if err := put(t, m, "other", 256<<10); !errors.Is(err, store.ErrFull) {
		t.Errorf("all bytes are held by a reader: %v", err)
	}
	b := make([]byte, len(body))
	if _, err := o.ReadAt(b, 0); err != nil || !bytes.Equal(b, body) {
		t.Errorf("%v", err)
	}
	for range 2 {
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := o.ReadAt(b, 0); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	if err := put(t, m, "other", 256<<10); err != nil {
		t.Error(err)
	}
}
