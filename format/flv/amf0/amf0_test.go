package amf0

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
)

// message has a value of every kind that is written.
func message() []byte {
	b := AppendString(nil, "connect")
	b = AppendNumber(b, 1)
	b = AppendObject(b)
	b = AppendString(AppendKey(b, "app"), "live")
	b = AppendBool(AppendKey(b, "fpad"), true)
	b = AppendArray(AppendKey(b, "list"), 1)
	b = AppendEnd(AppendNull(AppendKey(b, "none")))
	b = AppendEnd(b)
	return AppendString(b, strings.Repeat("x", 70000))
}

func TestRoundTrip(t *testing.T) {
	r := NewReader(message())
	if s := r.String(); s != "connect" {
		t.Errorf("%q", s)
	}
	if n := r.Number(); n != 1 {
		t.Errorf("%v", n)
	}
	if !r.Enter() {
		t.Fatal("no object")
	}
	var keys []string
	for {
		k, ok := r.Key()
		if !ok {
			break
		}
		keys = append(keys, string(k))
		switch string(k) {
		case "app":
			if s := r.String(); s != "live" {
				t.Errorf("%q", s)
			}
		case "fpad":
			if !r.Bool() {
				t.Error("fpad is false")
			}
		default:
			r.Skip()
		}
	}
	if got := strings.Join(keys, " "); got != "app fpad list" {
		t.Errorf("keys %s", got)
	}
	if b := r.Bytes(); len(b) != 70000 || r.Err() != nil || r.Peek() != None || r.Pos() != len(message()) {
		t.Errorf("%d bytes, %v", len(b), r.Err())
	}
}

func TestSkip(t *testing.T) {
	deep := func(n int, head string) string { return strings.Repeat(head, n) }
	tests := []struct {
		name, in string
		err      error
	}{
		{"number", "\x00abcdefgh", nil},
		{"boolean", "\x01\x01", nil},
		{"string", "\x02\x00\x01a", nil},
		{"object", "\x03\x00\x01a\x05\x00\x00\x09", nil},
		{"typed object", "\x10\x00\x01T\x00\x01a\x05\x00\x00\x09", nil},
		{"object without an end", "\x03\x00\x01a\x05", nil},
		{"null", "\x05", nil},
		{"undefined", "\x06", nil},
		{"reference", "\x07\x00\x01", nil},
		{"array", "\x08\xff\xff\xff\xff\x00\x01a\x05\x00\x00\x09", nil},
		{"strict array", "\x0a\x00\x00\x00\x02\x05\x06", nil},
		{"date", "\x0babcdefgh\x00\x00", nil},
		{"long string", "\x0c\x00\x00\x00\x02ab", nil},
		{"unsupported", "\x0d", nil},
		{"XML", "\x0f\x00\x00\x00\x01a", nil},
		{"an empty key", "\x03\x00\x00\x05\x00\x00\x09", nil},
		{"nothing", "", av.ErrTruncated},
		{"movie clip", "\x04", av.ErrUnsupported},
		{"AMF3", "\x11", av.ErrUnsupported},
		{"end alone", "\x09", av.ErrUnsupported},
		{"long string that lies", "\x0c\xff\xff\xff\xffab", av.ErrTruncated},
		{"strict array that lies", "\x0a\xff\xff\xff\xff\x05\x06", av.ErrTruncated},
		{"key without value", "\x03\x00\x01a", av.ErrTruncated},
		{"depth 16", deep(MaxDepth, "\x03\x00\x01a") + "\x05", nil},
		{"depth 17", deep(MaxDepth+1, "\x03\x00\x01a") + "\x05", av.ErrTooLarge},
		{"deep arrays", deep(300000, "\x0a\x00\x00\x00\x01"), av.ErrTooLarge},
		{"deep ECMA arrays", deep(300000, "\x08\x00\x00\x00\x01\x00\x01a"), av.ErrTooLarge},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			r := NewReader([]byte(c.in))
			r.Skip()
			if !errors.Is(r.Err(), c.err) {
				t.Errorf("%v, want %v", r.Err(), c.err)
			}
			if c.err == nil && r.Pos() != len(c.in) {
				t.Errorf("%d bytes read of %d", r.Pos(), len(c.in))
			}
		})
	}
}

// TestWrongKind: a value of another kind is a fault, and sticks.
func TestWrongKind(t *testing.T) {
	for name, f := range map[string]func(r *Reader) bool{
		"number": func(r *Reader) bool { return r.Number() == 0 },
		"bool":   func(r *Reader) bool { return !r.Bool() },
		"string": func(r *Reader) bool { return r.String() == "" },
	} {
		r := NewReader([]byte{byte(Null), byte(Null)})
		if !f(&r) || !errors.Is(r.Err(), av.ErrInvalid) {
			t.Errorf("%s: %v", name, r.Err())
		}
		first := r.Err()
		r.Skip()
		if _, ok := r.Key(); ok || r.Err() != first || r.Enter() || r.Peek() != None {
			t.Errorf("%s: the fault does not stick", name)
		}
		empty := NewReader(nil)
		if !f(&empty) || !errors.Is(empty.Err(), av.ErrTruncated) {
			t.Errorf("%s of nothing: %v", name, empty.Err())
		}
	}
	r := NewReader([]byte{byte(Null)})
	if r.Enter() || r.Err() != nil {
		t.Error("null is entered")
	}
}

func TestNumbers(t *testing.T) {
	for _, v := range []float64{0, -1, 1e300, math.Inf(-1), math.SmallestNonzeroFloat64} {
		r := NewReader(AppendNumber(nil, v))
		if got := r.Number(); got != v {
			t.Errorf("%v, want %v", got, v)
		}
	}
}

// walk reads everything.
func walk(b []byte) error {
	r := NewReader(b)
	for r.Peek() != None {
		r.Skip()
	}
	return r.Err()
}

func TestPrefixes(t *testing.T) {
	avtest.Prefixes(t, message(), func(b []byte) {
		if err := walk(b); err != nil && !errors.Is(err, av.ErrTruncated) {
			t.Fatal(err)
		}
	})
}

func TestLongName(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a name of 70000 bytes is written")
		}
	}()
	AppendKey(nil, strings.Repeat("x", 70000))
}

// TestNoAllocation: walking costs none.
func TestNoAllocation(t *testing.T) {
	b := message()
	if n := testing.AllocsPerRun(100, func() { walk(b) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzReader: no input panics or makes the reader go back or stand still.
func FuzzReader(f *testing.F) {
	f.Add(message()[:200])
	f.Add([]byte("\x0a\x00\x00\x00\x02\x05\x0b\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Add(bytes.Repeat([]byte{8, 0, 0, 0, 1, 0, 1, 'a'}, 20))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewReader(b)
		for r.Peek() != None {
			before := r.Pos()
			if r.Skip(); r.Pos() <= before && r.Err() == nil {
				t.Fatalf("stands at %d", before)
			}
		}
		if r.Pos() > len(b) {
			t.Fatalf("%d of %d bytes", r.Pos(), len(b))
		}
	})
}
