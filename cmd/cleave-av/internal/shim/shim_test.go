//go:build libav

package shim

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"runtime"
	"runtime/cgo"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"
	"unsafe"

	"go.uber.org/goleak"

	"github.com/cleave-video/cleave/format/libav/wire"
)

func TestMain(m *testing.M) {
	Setup(1 << 30)
	goleak.VerifyTestMain(m)
}

func sample(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := os.ReadFile("../../../../format/libav/testdata/" + name)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// buffers are memory for a batch that C may keep pointers to during a call: slices of
// bytes hold no Go pointers. An input of the tests has several of these batches.
func buffers() Batch {
	return Batch{Descs: make([]byte, 64*wire.DescSize), Payload: make([]byte, 1<<20), Soft: wire.BatchBytes}
}

// count reads d to its end.
func count(d *Demuxer) (int, error) {
	b, total := buffers(), 0
	for {
		n, err := d.Read(b)
		for i := range n {
			if _, ok := wire.ParseDesc(b.Descs[i*wire.DescSize:], len(b.Payload)); !ok {
				return total, errors.New("a descriptor that is wrong")
			}
		}
		total += n
		if err != nil {
			return total, err
		}
	}
}

const packets = 145 // of av.mkv

// TestReaders: every kind of reader gives the same packets.
func TestReaders(t *testing.T) {
	b := sample(t, "av.mkv")
	for name, c := range map[string]struct {
		r    io.Reader
		size int64
	}{
		"at":            {bytes.NewReader(b), int64(len(b))},
		"seeker":        {bytes.NewReader(b), -1},
		"reader":        {struct{ io.Reader }{bytes.NewReader(b)}, -1},
		"one byte":      {iotest.OneByteReader(bytes.NewReader(b)), -1},
		"half":          {iotest.HalfReader(bytes.NewReader(b)), -1},
		"data with EOF": {iotest.DataErrReader(bytes.NewReader(b)), -1},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := Open(c.r, c.size, wire.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			if n, err := count(d); n != packets || !errors.Is(err, io.EOF) {
				t.Errorf("%d packets, %v", n, err)
			}
			if o := d.Opened(); o.Format != "matroska,webm" || len(o.Streams) != 2 || o.Streams[0].Codec != "h264" {
				t.Errorf("%+v", o)
			}
		})
	}
}

// TestReaderErrors: a reader that fails or panics ends the demuxer with that error.
func TestReaderErrors(t *testing.T) {
	b := sample(t, "av.mkv")
	bad := errors.New("the reader failed")
	panics := func(n int) io.Reader { return &panicking{r: bytes.NewReader(b), left: n} }
	for name, c := range map[string]struct {
		r    io.Reader
		want error
	}{
		"at once":   {iotest.ErrReader(bad), bad},
		"in middle": {io.MultiReader(bytes.NewReader(b[:3000]), iotest.ErrReader(bad)), bad},
		"time-out":  {iotest.TimeoutReader(iotest.OneByteReader(bytes.NewReader(b))), iotest.ErrTimeout},
		"panic":     {panics(3000), errPanic},
		"panics":    {panics(0), errPanic},
		"nothing":   {nothing{}, io.ErrNoProgress},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := Open(c.r, -1, wire.Options{})
			if err == nil {
				defer d.Close()
				_, err = count(d)
			}
			if !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

type panicking struct {
	r    io.Reader
	left int
}

func (p *panicking) Read(b []byte) (int, error) {
	if p.left <= 0 {
		panic("boom")
	}
	n, err := p.r.Read(b[:min(len(b), p.left)])
	p.left -= n
	return n, err
}

type nothing struct{}

func (nothing) Read([]byte) (int, error) { return 0, nil }

// TestLateCallbacks: a callback behind Close finds no source, and one whose handle
// never was none either.
func TestLateCallbacks(t *testing.T) {
	d, err := Open(bytes.NewReader(sample(t, "av.mkv")), -1, wire.Options{})
	if err != nil {
		t.Fatal(err)
	}
	h, src := uintptr(d.src.handle), d.src
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	eof := newSource(nothing{}, -1)
	eof.dead.Store(true)
	want := eof.read(buf)
	for _, handle := range []uintptr{h, 0, 1 << 40} {
		if n := onRead(handle, unsafe.Pointer(&buf[0]), len(buf)); n != want || n >= 0 {
			t.Errorf("handle %d: read %d, want %d", handle, n, want)
		}
		if n := onSeek(handle, 0, io.SeekStart); n != int64(want) {
			t.Errorf("handle %d: seek %d, want %d", handle, n, want)
		}
	}
	// The flag is looked at even while the handle still is.
	again := cgo.NewHandle(src)
	defer again.Delete()
	if n := onRead(uintptr(again), unsafe.Pointer(&buf[0]), len(buf)); n != want {
		t.Errorf("a source that is closed: read %d", n)
	}
}

// TestClose: it is idempotent, and ends a Read whose reader blocks.
func TestClose(t *testing.T) {
	b := sample(t, "av.mkv")
	d, err := Open(bytes.NewReader(b), int64(len(b)), wire.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := d.Read(buffers()); !errors.Is(err, fs.ErrClosed) {
		t.Error(err)
	}
	if o := d.Opened(); len(o.Streams) > 0 || d.Complete() {
		t.Error(o)
	}
	r, w := io.Pipe()
	fed := make(chan error)
	go func() {
		_, err := w.Write(bytes.Repeat(b, 3)) // the reader is closed before it is done
		fed <- err
	}()
	d, err = Open(r, -1, wire.Options{Format: "matroska"})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() {
		_, err := count(d)
		ended <- err
	}()
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err == nil {
		t.Error("Read goes on")
	}
	<-fed
}

// TestInterrupt: the interrupt callback ends what is in progress.
func TestInterrupt(t *testing.T) {
	b := sample(t, "av.mkv")
	d, err := Open(bytes.NewReader(b), int64(len(b)), wire.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	d.Interrupt()
	if n, err := d.Read(buffers()); n != 0 || err == nil {
		t.Errorf("%d packets, %v", n, err)
	}
}

// TestMany: 200 inputs at once in one process, each of several batches.
func TestMany(t *testing.T) {
	b := sample(t, "av.mkv")
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			d, err := Open(struct{ io.Reader }{bytes.NewReader(b)}, -1, wire.Options{})
			if err != nil {
				t.Error(err)
				return
			}
			defer d.Close()
			if n, err := count(d); n != packets || !errors.Is(err, io.EOF) {
				t.Errorf("%d packets, %v", n, err)
			}
		})
	}
	wg.Wait()
}

// slow gives a few bytes at a time, and waits once when most have been given.
type slow struct {
	r    *bytes.Reader
	wait time.Duration
}

func (s *slow) Read(p []byte) (int, error) {
	if s.wait > 0 && s.r.Len() < 1000 {
		<-time.After(s.wait)
		s.wait = 0
	}
	return s.r.Read(p[:min(len(p), 100)])
}

// TestSlow: a large batch ends when its input has become slow.
func TestSlow(t *testing.T) {
	d, err := Open(&slow{bytes.NewReader(sample(t, "av.mkv")), 50 * time.Millisecond}, -1, wire.Options{ProbeSize: 2000})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	n, err := d.Read(Batch{Descs: make([]byte, wire.DescsSize), Payload: make([]byte, 1<<20), Soft: wire.BatchBytes})
	if err != nil || n < 64 || n >= packets {
		t.Errorf("%d packets, %v", n, err)
	}
}

// TestGarbage: the collector runs between and during calls, and closes what nobody
// closed.
func TestGarbage(t *testing.T) {
	b := sample(t, "av.mkv")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				runtime.GC()
			}
		}
	})
	var forgotten *source
	for i := range 30 {
		d, err := Open(bytes.NewReader(bytes.Clone(b)), int64(len(b)), wire.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if n, err := count(d); n != packets {
			t.Errorf("%d packets, %v", n, err)
		}
		if i%3 > 0 {
			d.Close()
		} else {
			forgotten = d.src
		}
	}
	h := uintptr(forgotten.handle)
	for sourceOf(h) != nil { // ends when the cleanup has run; else the test's deadline ends it
		runtime.Gosched()
	}
	close(stop)
	wg.Wait()
}

// TestVersions: an older or another major version is refused, a newer minor is not.
func TestVersions(t *testing.T) {
	v := func(major, minor, micro version) version { return major<<16 | minor<<8 | micro }
	built := v(59, 27, 100)
	for running, want := range map[version]bool{
		built: true, v(59, 28, 0): true, v(59, 27, 101): true,
		v(59, 16, 100): false, v(60, 3, 100): false, v(58, 76, 100): false, v(59, 27, 99): false,
	} {
		if compatible(built, running) != want {
			t.Errorf("%v built, %v running: %v", built, running, !want)
		}
	}
	if err := CheckVersions(); err != nil {
		t.Error(err)
	}
}

// TestProbeSize: what is asked for reaches avformat_open_input: less is read before the
// input is open.
func TestProbeSize(t *testing.T) {
	b := sample(t, "unnamed.avi") // a codec that no amount of reading tells
	read := func(o wire.Options) int {
		r := bytes.NewReader(b)
		d, err := Open(struct{ io.Reader }{iotest.OneByteReader(r)}, -1, o)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		return len(b) - r.Len()
	}
	whole := read(wire.Options{})
	if n := read(wire.Options{ProbeSize: 2000}); n >= whole*2/3 {
		t.Errorf("%d bytes read with a probesize of 2000, %d without", n, whole)
	}
	if n := read(wire.Options{AnalyzeDuration: 100000}); n >= whole*2/3 {
		t.Errorf("%d bytes read with an analyzeduration of 0.1 s, %d without", n, whole)
	}
}

// TestErrors: errors of libavformat have its code and words.
func TestErrors(t *testing.T) {
	_, err := Open(bytes.NewReader(nil), 0, wire.Options{Format: "no such"})
	var e *Error
	if !errors.As(err, &e) || !strings.Contains(e.Text, "Demuxer") {
		t.Error(err)
	}
	if _, err = Open(bytes.NewReader([]byte("text, not media")), 15, wire.Options{}); !errors.As(err, &e) {
		t.Error(err)
	}
}

// BenchmarkOpen compares opening under a lock of the whole process, behind a sync.Once
// as network initialization would need, and under nothing, which is what Open does:
// without network protocols there is nothing to initialize.
func BenchmarkOpen(b *testing.B) {
	data := sample(b, "av.mkv")
	open := func(b *testing.B) {
		d, err := Open(bytes.NewReader(data), int64(len(data)), wire.Options{})
		if err != nil {
			b.Error(err)
			return
		}
		d.Close()
	}
	var mu sync.Mutex
	var once sync.Once
	for name, f := range map[string]func(b *testing.B){
		"none":  open,
		"once":  func(b *testing.B) { once.Do(func() {}); open(b) },
		"mutex": func(b *testing.B) { mu.Lock(); defer mu.Unlock(); open(b) },
	} {
		b.Run(name, func(b *testing.B) {
			b.SetParallelism(100) // 200 at once on two processors
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					f(b)
				}
			})
		})
	}
}
