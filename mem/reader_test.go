package mem

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"pgregory.net/rapid"
)

// pieces cuts b into pieces of the sizes given, the rest behind.
func pieces(b []byte, sizes ...int) [][]byte {
	var out [][]byte
	for _, n := range sizes {
		out = append(out, b[:n:n])
		b = b[n:]
	}
	return append(out, b)
}

func numbered(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7)
	}
	return b
}

// TestReaderToTheLetter: io.Reader, io.ReaderAt and io.Seeker as their documentation says.
func TestReaderToTheLetter(t *testing.T) {
	b := numbered(1000)
	for _, sizes := range [][]int{nil, {1}, {0, 1, 0, 0, 998}, {500, 1, 1, 1}, {100, 100, 100, 100, 100, 100, 100, 100, 100, 100}} {
		r := NewReader(pieces(b, sizes...), nil)
		if err := iotest.TestReader(r, b); err != nil {
			t.Errorf("%v: %v", sizes, err)
		}
		r.Close()
	}
	if err := iotest.TestReader(NewReader(nil, nil), nil); err != nil {
		t.Error("nothing:", err)
	}
}

// TestReadNeverBytesWithEOF, nor 0 and nil for a buffer that is not empty.
func TestReadNeverBytesWithEOF(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := numbered(rapid.IntRange(0, 300).Draw(t, "size"))
		var sizes []int
		for left := len(b); ; {
			n := rapid.IntRange(0, 60).Draw(t, "piece")
			if n > left {
				break
			}
			sizes, left = append(sizes, n), left-n
			if len(sizes) > 20 {
				break
			}
		}
		r := NewReader(pieces(b, sizes...), nil)
		var got []byte
		for {
			buf := make([]byte, rapid.IntRange(0, 80).Draw(t, "buffer"))
			n, err := r.Read(buf)
			got = append(got, buf[:n]...)
			if n > 0 && err != nil || n == 0 && err == nil && len(buf) > 0 || len(buf) == 0 && err != nil {
				t.Fatalf("%d bytes for a buffer of %d, and %v", n, len(buf), err)
			}
			if errors.Is(err, io.EOF) {
				break
			}
		}
		if !bytes.Equal(got, b) {
			t.Fatalf("%d bytes read, not as they were", len(got))
		}
		off, n := rapid.Int64Range(0, int64(len(b))+10).Draw(t, "offset"), rapid.Int64Range(-5, 400).Draw(t, "n")
		if _, err := r.Seek(off, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		var w bytes.Buffer
		k, err := r.CopyTo(&w, n)
		from := min(off, int64(len(b)))
		want := b[from : from+min(max(n, 0), int64(len(b))-from)]
		if err != nil || k != int64(len(want)) || !bytes.Equal(w.Bytes(), want) {
			t.Fatalf("CopyTo of %d from %d: %d, %v", n, off, k, err)
		}
		if now, err := r.Seek(0, io.SeekCurrent); err != nil || now != off+k {
			t.Fatalf("then at %d, %v", now, err)
		}
	})
}

func TestSeek(t *testing.T) {
	r := NewReader(pieces(numbered(100), 40), nil)
	defer r.Close()
	for _, c := range []struct {
		offset int64
		whence int
		want   int64
		ok     bool
	}{{10, io.SeekStart, 10, true}, {5, io.SeekCurrent, 15, true}, {-16, io.SeekCurrent, 15, false}, {-1, io.SeekEnd, 99, true}, {50, io.SeekEnd, 150, true}, {-1, io.SeekStart, 150, false}, {0, 3, 150, false}} {
		if at, err := r.Seek(c.offset, c.whence); (err == nil) != c.ok || c.ok && at != c.want {
			t.Errorf("%+v: %d, %v", c, at, err)
		}
		if at, err := r.Seek(0, io.SeekCurrent); at != c.want || err != nil {
			t.Errorf("%+v: now at %d, %v", c, at, err)
		}
	}
	if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("behind the end: %d, %v", n, err)
	}
	if n, err := r.WriteTo(io.Discard); n != 0 || err != nil {
		t.Errorf("behind the end: %d, %v", n, err)
	}
}

// seen keeps what Write was given, itself.
type seen struct {
	bufs [][]byte
	fail int // the number of the call that fails, from 1
}

func (s *seen) Write(b []byte) (int, error) {
	s.bufs = append(s.bufs, b)
	if len(s.bufs) == s.fail {
		return len(b) / 2, errNoRoom
	}
	return len(b), nil
}

var errNoRoom = errors.New("no room")

// TestWriteToCopiesNothing: a writer gets the memory itself.
func TestWriteToCopiesNothing(t *testing.T) {
	b := numbered(100)
	r := NewReader(pieces(b, 40, 0, 20), nil)
	defer r.Close()
	if _, err := r.Seek(10, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	w := &seen{}
	if n, err := r.CopyTo(w, 55); n != 55 || err != nil || len(w.bufs) != 3 {
		t.Fatalf("%d, %v in %d pieces", n, err, len(w.bufs))
	}
	for i, at := range []int{10, 40, 60} {
		if &w.bufs[i][0] != &b[at] {
			t.Errorf("piece %d is a copy", i)
		}
	}
	// It goes on where a failed one stopped.
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if n, err := r.WriteTo(&seen{fail: 2}); n != 50 || !errors.Is(err, errNoRoom) {
		t.Errorf("%d, %v", n, err)
	}
	var rest bytes.Buffer
	if n, err := r.WriteTo(&rest); n != 50 || err != nil || !bytes.Equal(rest.Bytes(), b[50:]) {
		t.Errorf("%d, %v", n, err)
	}
	if allocs := testing.AllocsPerRun(100, func() { _, _ = r.ReadAt(rest.Bytes(), 7) }); allocs > 0 {
		t.Errorf("ReadAt allocates %v times", allocs)
	}
}

// TestWriteToTCP: several pieces arrive in order, by writev.
func TestWriteToTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	b := numbered(1 << 20)
	sizes := make([]int, 3000) // more than one call takes
	for i := range sizes {
		sizes[i] = 300
	}
	r := NewReader(pieces(b, sizes...), nil)
	defer r.Close()
	var wg sync.WaitGroup
	wg.Go(func() {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		if n, err := r.WriteTo(c); n != r.Size() || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	})
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got, err := io.ReadAll(c)
	wg.Wait()
	if err != nil || !bytes.Equal(got, b) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if len(r.list[0]) != 300 || !bytes.Equal(r.list[0], b[:300]) {
		t.Error("the pieces were consumed")
	}
}

// gate is a writer that waits.
type gate struct{ in, out chan struct{} }

func (g *gate) Write(b []byte) (int, error) {
	g.in <- struct{}{}
	<-g.out
	sum := byte(0)
	for _, c := range b {
		sum += c // a fault, were the memory gone
	}
	return len(b), nil
}

// TestReleaseWhileReading: Close does not wait, what is being written stays until it is
// written, and who comes later is refused.
func TestReleaseWhileReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(64 << 20)
		var blocks []*Block
		for range 3 {
			k, err := p.TryNewBlock(5 << 20) // mapped to fit, and unmapped at once
			if err != nil {
				t.Fatal(err)
			}
			blocks = append(blocks, k)
		}
		r := NewBlockReader(blocks)
		if r.Size() != 15<<20 {
			t.Errorf("%d bytes", r.Size())
		}
		g := &gate{make(chan struct{}), make(chan struct{})}
		done := make(chan error, 1)
		go func() {
			_, err := r.WriteTo(g)
			done <- err
		}()
		<-g.in
		r.Close()
		r.Close()
		if p.InUse() == 0 {
			t.Fatal("memory that is being read was let go of")
		}
		b := make([]byte, 1)
		_, err1 := r.Read(b)
		_, err2 := r.ReadAt(b, 0)
		_, err3 := r.Seek(0, io.SeekStart)
		_, err4 := r.CopyTo(io.Discard, 1)
		for i, err := range []error{err1, err2, err3, err4} {
			if !errors.Is(err, fs.ErrClosed) {
				t.Errorf("call %d after Close: %v", i, err)
			}
		}
		for i := range blocks {
			if i > 0 {
				<-g.in
			}
			g.out <- struct{}{}
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		home(t, p)
	})
}

// TestCloseAmongReaders: many read by position while it is closed; none reads what is
// gone, and the memory comes home once.
func TestCloseAmongReaders(t *testing.T) {
	p := NewPool(64 << 20)
	defer home(t, p)
	for range 50 {
		k, err := p.TryNewBlock(5 << 20)
		if err != nil {
			t.Fatal(err)
		}
		k.Bytes()[4<<20] = 9
		r := NewBlockReader([]*Block{k})
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				b := make([]byte, 64<<10)
				for {
					if _, err := r.ReadAt(b, 4<<20); err != nil {
						if !errors.Is(err, fs.ErrClosed) {
							t.Error(err)
						}
						return
					}
					if b[0] != 9 {
						t.Error("other bytes")
						return
					}
				}
			})
		}
		wg.Go(func() { r.Close() })
		wg.Wait()
	}
}
