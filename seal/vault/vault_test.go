package vault

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/seal"
)

var update = flag.Bool("update", false, "write golden files that are missing")

func testKey(n int) seal.Key {
	return seal.Key{ID: [16]byte{1, byte(n), byte(n >> 8)}, Key: [16]byte{2, byte(n), byte(n >> 8)}, IV: [16]byte{3, byte(n), byte(n >> 8)}}
}

func open(t *testing.T, dir, name string) *Keys {
	t.Helper()
	v, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	k, err := v.Stream(name)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func add(t *testing.T, k *Keys, from, to int) {
	t.Helper()
	for n := from; n < to; n++ {
		if err := k.Add(testKey(n)); err != nil {
			t.Fatal(err)
		}
	}
}

// check compares what is kept: keys first to end-1.
func check(t *testing.T, k *Keys, first, end int) {
	t.Helper()
	if k.Count() != uint64(end) || k.Len() != end-first {
		t.Fatalf("%d kept of %d, want %d of %d", k.Len(), k.Count(), end-first, end)
	}
	for n := range end {
		key, ok := k.Find(testKey(n).ID)
		if ok != (n >= first) || ok && key != testKey(n) {
			t.Fatalf("key %d: %v, %v", n, key, ok)
		}
	}
	if newest := k.Newest(2); end-first >= 2 && (len(newest) != 2 || newest[1] != testKey(end-1)) {
		t.Fatal(newest)
	}
}

// TestKeysStay: what Add returned for is there after the file was opened again, those
// of each stream by themselves.
func TestKeysStay(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	add(t, open(t, dir, "live/a"), 0, 10)
	k := open(t, dir, "live/a")
	check(t, k, 0, 10)
	add(t, k, 10, 12)
	check(t, open(t, dir, "live/a"), 0, 12)
	check(t, open(t, dir, "live/b"), 0, 0)
	v, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if k, err := v.Lookup("live/b"); k != nil || err != nil {
		t.Errorf("a stream without keys: %v, %v", k, err)
	}
	if k, err := v.Lookup("live/a"); k == nil || err != nil {
		t.Error(err)
	}
	if _, err := v.Stream("live+a"); !errors.Is(err, av.ErrInvalid) {
		t.Error(err)
	}
	for name, mode := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, "live+a.keys"): 0o600} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

// TestSameKeyTwice: neither an ID nor a key is taken twice.
func TestSameKeyTwice(t *testing.T) {
	k := open(t, t.TempDir(), "s")
	add(t, k, 0, 3)
	for _, change := range []func(*seal.Key){func(k *seal.Key) { k.ID[9]++ }, func(k *seal.Key) { k.Key[9]++ }} {
		key := testKey(1)
		change(&key)
		if err := k.Add(key); !errors.Is(err, av.ErrInvalid) {
			t.Error(err)
		}
	}
	check(t, k, 0, 3)
}

// TestForget: old keys go when they are many, numbers go on.
func TestForget(t *testing.T) {
	dir := t.TempDir()
	k := open(t, dir, "s")
	add(t, k, 0, 200)
	for _, before := range []int{leastForgotten - 1, 300} {
		if err := k.Forget(testKey(before).ID); err != nil {
			t.Fatal(err)
		}
		check(t, k, 0, 200)
	}
	if err := k.Forget(testKey(150).ID); err != nil {
		t.Fatal(err)
	}
	check(t, k, 150, 200)
	add(t, k, 200, 205)
	check(t, open(t, dir, "s"), 150, 205)
}

// TestTornTail: a file that ends anywhere has the keys that are whole, and is gone on
// with; but for one without a header, which cannot be: it came by a rename.
func TestTornTail(t *testing.T) {
	dir := t.TempDir()
	add(t, open(t, dir, "s"), 0, 3)
	name := filepath.Join(dir, "s.keys")
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		if err := os.WriteFile(name, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		v, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		k, err := v.Stream("s")
		var damage *CorruptError
		if n < headerSize {
			if !errors.As(err, &damage) || damage.Path != name {
				t.Errorf("%d bytes: %v", n, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		have := (n - headerSize) / recordSize
		check(t, k, 0, have)
		add(t, k, have, 5)
		check(t, open(t, dir, "s"), 0, 5)
	}
}

// TestDamage: a byte changed anywhere but in the last key is found.
func TestDamage(t *testing.T) {
	b := appendHeader(nil, 7)
	for n := range 3 {
		key := testKey(n)
		b = appendRecord(b, &key, uint64(7+n))
	}
	for i := range b {
		c := bytes.Clone(b)
		c[i] ^= 0x40
		_, keys, _, err := parse(c)
		var damage *CorruptError
		if last := i >= len(b)-recordSize; last != (err == nil) || last && len(keys) != 2 || !last && !errors.As(err, &damage) {
			t.Errorf("byte %d: %d keys, %v", i, len(keys), err)
		}
	}
	swapped := append(appendHeader(nil, 7), b[headerSize+recordSize:]...)
	if _, keys, _, err := parse(swapped); err == nil && len(keys) > 0 {
		t.Error("keys are taken at other places than theirs")
	}
}

// TestGolden reads what earlier versions wrote; the file stays for ever.
func TestGolden(t *testing.T) {
	b := appendHeader(nil, 40)
	var want []seal.Key
	for n := range 3 {
		want = append(want, testKey(n))
		b = appendRecord(b, &want[n], uint64(40+n))
	}
	path := filepath.Join("testdata", "golden", "v1.keys")
	golden, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) && *update {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, b, 0o644)); err != nil {
			t.Fatal(err)
		}
		golden, err = b, nil
	}
	if err != nil || !bytes.Equal(golden, b) {
		t.Errorf("%d bytes are written otherwise than the %d of this version: %v", len(b), len(golden), err)
	}
	first, got, size, err := parse(golden)
	if d := cmp.Diff(want, got); err != nil || d != "" || first != 40 || size != len(golden) {
		t.Errorf("%d, %d, %v\n%s", first, size, err, d)
	}
}

// TestDiskFails: a key that could not be written is not there, and can be added later.
func TestDiskFails(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Log("root may write anywhere: a file in the way stands for a full disk")
	}
	dir := t.TempDir()
	k := open(t, dir, "s")
	name := filepath.Join(dir, "s.keys")
	block := func() {
		if err := os.Mkdir(name+".tmp", 0o700); err != nil {
			t.Fatal(err)
		}
	}
	unblock := func() {
		if err := os.Remove(name + ".tmp"); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	block()
	if err := k.Add(testKey(0)); err == nil {
		t.Fatal("no error")
	}
	check(t, k, 0, 0)
	unblock()
	add(t, k, 0, 100)
	moved := name + ".away"
	if err := os.Rename(name, moved); err != nil {
		t.Fatal(err)
	}
	if err := k.Add(testKey(100)); err == nil {
		t.Fatal("no error")
	}
	if err := os.Rename(moved, name); err != nil {
		t.Fatal(err)
	}
	block()
	if err := k.Forget(testKey(90).ID); err == nil {
		t.Fatal("no error")
	}
	check(t, k, 0, 100)
	unblock()
	add(t, k, 100, 101)
	check(t, open(t, dir, "s"), 0, 101)
}

// FuzzParse: what is accepted is written as it was.
func FuzzParse(f *testing.F) {
	b := appendHeader(nil, 3)
	f.Add(bytes.Clone(b))
	for n := range 2 {
		key := testKey(n)
		b = appendRecord(b, &key, uint64(3+n))
		f.Add(bytes.Clone(b))
	}
	f.Add(b[:len(b)-7])
	f.Fuzz(func(t *testing.T, b []byte) {
		first, keys, size, err := parse(b)
		if err != nil {
			var damage *CorruptError
			if !errors.As(err, &damage) {
				t.Fatal(err)
			}
			return
		}
		again := append([]byte(magic), b[len(magic):headerSize]...)
		for i := range keys {
			again = appendRecord(again, &keys[i], first+uint64(i))
		}
		if !bytes.Equal(again, b[:size]) {
			t.Fatalf("%x\n%x", again, b[:size])
		}
	})
}
