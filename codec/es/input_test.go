package es

import (
	"bytes"
	"io"
	"testing"
	"testing/iotest"
)

// TestInput: what is read is what the reader gave, however it is skipped.
func TestInput(t *testing.T) {
	in := make([]byte, 500<<10)
	for i := range in {
		in[i] = byte(i * i >> 3)
	}
	for _, step := range []int{1, 4000, 64 << 10, 200 << 10} {
		for _, r := range []io.Reader{bytes.NewReader(in), iotest.HalfReader(bytes.NewReader(in)), iotest.DataErrReader(bytes.NewReader(in))} {
			s := NewInput(r)
			var got []byte
			for {
				for len(s.Bytes()) >= step {
					got = append(got, s.Bytes()[:step]...)
					s.Skip(step)
				}
				if err := s.Fill(); err == io.EOF {
					break
				} else if err != nil {
					t.Fatal(err)
				}
			}
			got = append(got, s.Bytes()...)
			if !bytes.Equal(got, in) {
				t.Errorf("steps of %d: %d bytes differ", step, len(got))
			}
			if done, total := s.Progress(); done != int64(len(in)/step*step) || total != 0 || s.Offset() != done {
				t.Errorf("steps of %d: progress %d of %d at %d", step, done, total, s.Offset())
			}
		}
	}
}

// TestInputLinear: bytes are moved less often than they are read.
func TestInputLinear(t *testing.T) {
	s := NewInput(&io.LimitedReader{R: zeros{}, N: 8 << 20})
	moved := int64(0)
	for before := int64(0); ; before = s.base {
		if err := s.Fill(); err != nil {
			break
		}
		if s.base != before {
			moved += int64(len(s.Bytes()))
		}
		for len(s.Bytes()) > 40<<10 {
			s.Skip(1000)
		}
	}
	if moved > 3*8<<20 {
		t.Errorf("%d bytes moved", moved)
	}
	if len(s.buf) > 256<<10 {
		t.Errorf("a buffer of %d bytes", len(s.buf))
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	n := min(len(p), 1460)
	clear(p[:n])
	return n, nil
}
