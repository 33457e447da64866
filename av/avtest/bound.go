package avtest

import (
	"runtime"
	"runtime/debug"
	"testing"
)

// wholePrefixes is up to which length Prefixes tries every prefix; beyond it, as
// many spread over the rest.
const wholePrefixes = 2048

// Prefixes calls f with what data is when cut: at every byte of the first 2 KiB
// and the last 256 bytes, and at as many places between. It fails the test if f
// panics. The slice ends at its capacity: what is behind it cannot be reached.
func Prefixes(t testing.TB, data []byte, f func(b []byte)) {
	t.Helper()
	step := 1 + max(len(data)-wholePrefixes, 0)/wholePrefixes
	for n := 0; n <= len(data); {
		try(t, data[:n:n], f)
		if n < wholePrefixes || n+256 >= len(data) {
			n++
		} else {
			n = min(n+step, max(len(data)-256, n+1))
		}
	}
}

func try(t testing.TB, b []byte, f func(b []byte)) {
	t.Helper()
	defer func() {
		if p := recover(); p != nil {
			t.Fatalf("a prefix of %d bytes: panic: %v\n%s", len(b), p, debug.Stack())
		}
	}()
	f(b)
}

// Allocated returns the bytes that f allocates on the heap. Nothing else may run
// meanwhile.
func Allocated(f func()) int64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int64(after.TotalAlloc - before.TotalAlloc)
}

// AllocBound fails the test if f, which reads inputLen bytes, allocates more than
// twice that and 1 MiB, payload memory included. Not for parallel tests.
func AllocBound(t testing.TB, inputLen int, f func()) {
	t.Helper()
	if n, most := Allocated(f), 2*int64(inputLen)+1<<20; n > most {
		t.Errorf("%d bytes allocated for %d of input, at most %d are allowed", n, inputLen, most)
	}
}
