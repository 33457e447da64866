package libav

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/codec"
	"github.com/cleave-video/cleave/format/libav/libavtest"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "worker" {
		os.Exit(rogue(filepath.Base(os.Args[0])))
	}
	code := libavtest.Main(m)
	if code == 0 {
		if err := goleak.Find(); err != nil {
			os.Stderr.WriteString(err.Error())
			code = 1
		}
	}
	os.Exit(code)
}

func newWorkers(tb testing.TB, c Config) *Workers {
	tb.Helper()
	libavtest.Need(tb)
	w, err := New(c)
	if err != nil {
		tb.Fatal(err)
	}
	return w
}

func sample(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// samples and what is in them.
var samples = []struct {
	file     string
	codecs   string
	packets  []int
	keys     int // of the first track
	composed bool
	bits     int
}{
	{"av.mkv", "h264 aac", []int{50, 95}, 5, true, 0},
	{"av.avi", "h264 aac", []int{50, 95}, 5, true, 0},
	{"unnamed.avi", "h264 aac", []int{50, 95}, 5, true, 0},
	{"av.mpg", "private ac3", []int{50, 63}, 5, true, 33},
	{"hevc.mkv", "h265", []int{50}, 5, true, 0},
	{"vp9.webm", "vp9 opus", []int{50, 101}, 5, true, 0},
	{"vp8.webm", "private private", []int{50, 96}, 5, true, 0},
	{"mpeg4.avi", "private mp3", []int{50, 85}, 5, true, 0},
	{"opus.ogg", "opus", []int{101}, 101, true, 0},
}

// TestConformance: the demuxer keeps av.Demuxer's promises, whatever it reads from.
func TestConformance(t *testing.T) {
	w := newWorkers(t, Config{})
	for _, s := range samples {
		t.Run(s.file, func(t *testing.T) {
			b := sample(t, s.file)
			stream := func(r io.Reader) av.Demuxer { return w.NewDemuxer(r, -1, Options{}) }
			o := avtest.Options{Bits: s.bits, Composed: s.composed}
			opens := map[string]func(tb testing.TB) av.Demuxer{
				"file": func(tb testing.TB) av.Demuxer {
					f, err := os.Open(filepath.Join("testdata", s.file))
					if err != nil {
						tb.Fatal(err)
					}
					return w.NewDemuxer(f, -1, Options{})
				},
				"at":     func(testing.TB) av.Demuxer { return w.NewDemuxer(bytes.NewReader(b), int64(len(b)), Options{}) },
				"seeker": func(testing.TB) av.Demuxer { return w.NewDemuxer(bytes.NewReader(b), -1, Options{}) },
			}
			for name, open := range opens {
				t.Run(name, func(t *testing.T) { avtest.Run(t, open, o) })
			}
			o.Input, o.Open = b, stream
			t.Run("stream", func(t *testing.T) {
				avtest.Run(t, func(testing.TB) av.Demuxer { return stream(struct{ io.Reader }{bytes.NewReader(b)}) }, o)
			})
		})
	}
}

// TestContents: tracks, packets, key frames; frames come at a constant distance.
func TestContents(t *testing.T) {
	w := newWorkers(t, Config{})
	for _, s := range samples {
		t.Run(s.file, func(t *testing.T) {
			d := w.NewDemuxer(bytes.NewReader(sample(t, s.file)), int64(len(sample(t, s.file))), Options{})
			defer d.Close()
			l := avtest.ReadAll(t, d)
			if len(l) != 1 {
				t.Fatalf("%d generations", len(l))
			}
			var names []string
			for i, tr := range l[0].Tracks {
				names = append(names, tr.Codec.String())
				if n := len(l[0].Of(i)); n != s.packets[i] {
					t.Errorf("track %d: %d packets, want %d", i, n, s.packets[i])
				}
				if info, err := codec.Describe(&tr); err != nil || tr.Kind == av.Video && (info.Width == 0 || info.Height == 0) {
					t.Errorf("track %d: pictures of %d x %d, %v", i, info.Width, info.Height, err)
				}
			}
			if got := strings.Join(names, " "); got != s.codecs {
				t.Errorf("codecs %q, want %q", got, s.codecs)
			}
			keys := 0
			for _, p := range l[0].Of(0) {
				if p.Flags.Has(av.Key) {
					keys++
				}
			}
			if keys != s.keys {
				t.Errorf("%d keys, want %d", keys, s.keys)
			}
			if l[0].Tracks[0].Kind == av.Video {
				regular(t, l[0].Tracks[0].Timebase, l[0].Of(0))
			}
		})
	}
}

// regular: every picture is shown a 25th of a second after another.
func regular(t *testing.T, tb av.Timebase, l []av.Packet) {
	t.Helper()
	shown := map[int64]bool{}
	first := l[0].PTS
	for _, p := range l {
		first = min(first, p.PTS)
	}
	for i, p := range l {
		frame := tb.Rescale(p.PTS-first, av.Timebase{Num: 1, Den: 25})
		if shown[frame] || frame >= int64(len(l)) {
			t.Errorf("packet %d: PTS %d is frame %d for the second time or beyond the last", i, p.PTS, frame)
		}
		shown[frame] = true
	}
}

// TestNotes: what was left out or forced is said.
func TestNotes(t *testing.T) {
	w := newWorkers(t, Config{})
	b := sample(t, "unnamed.avi")
	d := w.NewDemuxer(bytes.NewReader(b), int64(len(b)), Options{})
	defer d.Close()
	avtest.ReadAll(t, d)
	if n := strings.Join(d.Warnings(), "\n"); !strings.Contains(n, "its content is h264") {
		t.Errorf("%q", n)
	}
}

// TestCarry: a codec unknown here becomes a track of the container asked for.
func TestCarry(t *testing.T) {
	w := newWorkers(t, Config{})
	b := sample(t, "av.mpg")
	for f, want := range map[av.PrivateFormat]string{av.PrivateTS: "\x02", av.PrivateMP4: "vide\x00\x00\x00"} {
		d := w.NewDemuxer(bytes.NewReader(b), int64(len(b)), Options{Carry: f})
		tr := avtest.ReadAll(t, d)[0].Tracks[0]
		if tr.Private != f || !strings.HasPrefix(string(tr.Config), want) {
			t.Errorf("%d: %d %q", f, tr.Private, tr.Config)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	b = sample(t, "vp8.webm")
	d := w.NewDemuxer(bytes.NewReader(b), int64(len(b)), Options{Carry: av.PrivateTS})
	defer d.Close()
	if _, err := avtest.Read(d); !errors.Is(err, av.ErrUnsupported) {
		t.Errorf("%v, want %v", err, av.ErrUnsupported)
	}
}

// TestReaders: iotest's, and those that panic, end the demuxer with their own error.
func TestReaders(t *testing.T) {
	w := newWorkers(t, Config{})
	b := sample(t, "av.mkv")
	bad := errors.New("the disk is gone")
	for name, c := range map[string]struct {
		r    any
		want error
	}{
		"time-out":      {iotest.TimeoutReader(iotest.OneByteReader(bytes.NewReader(b))), iotest.ErrTimeout},
		"error at once": {iotest.ErrReader(bad), bad},
		"panic":         {panicking{bytes.NewReader(b), 3000}, errPanic},
		"panic at":      {panickingAt{bytes.NewReader(b), 3000}, errPanic},
		"lies":          {lying{}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			d := w.NewDemuxer(c.r, int64(len(b)), Options{})
			defer d.Close()
			_, err := avtest.Read(d)
			if err == nil || errors.Is(err, io.EOF) || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			if _, again := d.ReadPacket(av.Heap{}); again != err {
				t.Errorf("then %v", again)
			}
		})
	}
}

type panicking struct {
	r    io.Reader
	from int
}

func (p panicking) Read(b []byte) (int, error) {
	n, err := p.r.Read(b[:min(len(b), 1000)])
	if r, ok := p.r.(*bytes.Reader); ok && int(r.Size())-r.Len() > p.from {
		panic("boom")
	}
	return n, err
}

type panickingAt struct {
	r    io.ReaderAt
	from int64
}

func (p panickingAt) ReadAt(b []byte, off int64) (int, error) {
	if off+int64(len(b)) > p.from {
		panic("boom")
	}
	return p.r.ReadAt(b, off)
}

type lying struct{}

func (lying) Read(b []byte) (int, error) { return len(b) + 1, nil }

// begun returns an open demuxer of several batches.
func begun(t *testing.T, w *Workers) *Demuxer {
	t.Helper()
	d := w.NewDemuxer(struct{ io.Reader }{bytes.NewReader(sample(t, "av.mkv"))}, -1, Options{})
	t.Cleanup(func() { d.Close() })
	if err := d.Open(); err != nil {
		t.Fatal(err)
	}
	return d
}

// signal sends a signal to d's worker and waits for what comes of it.
func signal(t *testing.T, d *Demuxer, s syscall.Signal, until int) {
	t.Helper()
	if err := d.proc.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
	if err := unix.Waitid(unix.P_PID, d.proc.cmd.Process.Pid, nil, until|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
}

// TestKilled: the death of a worker is an error of its input, and of no other.
func TestKilled(t *testing.T) {
	w := newWorkers(t, Config{})
	d, other := begun(t, w), begun(t, w)
	signal(t, d, syscall.SIGKILL, unix.WEXITED)
	_, err := avtest.Read(d)
	var bad *av.Error
	if !errors.Is(err, ErrCrashed) || !errors.As(err, &bad) {
		t.Errorf("%v, want %v", err, ErrCrashed)
	}
	if l := avtest.ReadAll(t, other); len(l[0].Of(0)) != 50 {
		t.Errorf("the other gave %d packets", len(l[0].Of(0)))
	}
	if n := len(w.slots); n != 0 {
		t.Errorf("%d workers are left of inputs that ended", n)
	}
}

// TestHung: a worker that says nothing is ended.
func TestHung(t *testing.T) {
	w := newWorkers(t, Config{})
	d := begun(t, w)
	signal(t, d, syscall.SIGSTOP, unix.WSTOPPED)
	d.proc.timeout = time.Millisecond // it will not answer, however long one waits
	_, err := avtest.Read(d)
	var bad *av.Error
	if !errors.Is(err, ErrHung) || !errors.As(err, &bad) {
		t.Errorf("%v, want %v", err, ErrHung)
	}
}

// TestMax: no more workers run than may; one that waits is let go by Close.
func TestMax(t *testing.T) {
	w := newWorkers(t, Config{Max: 2})
	a := begun(t, w)
	begun(t, w)
	third, fourth := w.NewDemuxer(bytes.NewReader(nil), 0, Options{}), w.NewDemuxer(bytes.NewReader(sample(t, "av.mkv")), -1, Options{})
	ended := make(chan error)
	go func() { ended <- third.Open() }()
	if err := third.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Open behind Close: %v", err)
	}
	go func() { ended <- fourth.Open() }()
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := fourth.Close(); err != nil {
		t.Error(err)
	}
	if n := len(w.slots); n != 1 {
		t.Errorf("%d workers", n)
	}
}

// TestForgotten: the collector ends the worker of a demuxer that nobody closed.
func TestForgotten(t *testing.T) {
	w := newWorkers(t, Config{})
	func() {
		d := w.NewDemuxer(bytes.NewReader(sample(t, "av.mkv")), -1, Options{})
		if _, err := d.ReadPacket(av.Heap{}); !errors.Is(err, av.ErrTracks) {
			t.Fatal(err)
		}
	}()
	for len(w.slots) > 0 { // the deadline of tests ends it
		runtime.GC()
		runtime.Gosched()
	}
}

// TestInvalid: what libavformat cannot read is an *av.Error.
func TestInvalid(t *testing.T) {
	w := newWorkers(t, Config{})
	for name, c := range map[string]struct {
		in   []byte
		o    Options
		want error
	}{
		"empty":   {nil, Options{}, nil},
		"text":    {[]byte(strings.Repeat("no media ", 1000)), Options{}, nil},
		"no such": {sample(t, "av.mkv"), Options{Format: "nothing"}, av.ErrUnsupported},
		"other":   {sample(t, "av.mkv"), Options{Format: "avi"}, av.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			d := w.NewDemuxer(bytes.NewReader(c.in), int64(len(c.in)), c.o)
			defer d.Close()
			_, err := avtest.Read(d)
			var bad *av.Error
			if !errors.As(err, &bad) || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

// TestPrefixes: whatever is missing of a file, it ends with an error of its own or as
// a shorter file.
func TestPrefixes(t *testing.T) {
	w := newWorkers(t, Config{})
	for _, name := range []string{"av.mkv", "av.avi", "av.mpg"} {
		b := sample(t, name)
		for n := 0; n < len(b); n += 1 + len(b)/23 {
			d := w.NewDemuxer(bytes.NewReader(b[:n]), int64(n), Options{})
			_, err := avtest.Read(d)
			var bad *av.Error
			if !errors.Is(err, io.EOF) && !errors.As(err, &bad) {
				t.Errorf("%s: %d bytes: %v", name, n, err)
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if n := len(w.slots); n != 0 {
		t.Errorf("%d workers are left", n)
	}
}

// TestFind: CLEAVE_AV decides; the error says how to get a worker.
func TestFind(t *testing.T) {
	t.Setenv(pathVariable, filepath.Join(t.TempDir(), "nothing"))
	if _, err := Find(); !errors.Is(err, ErrNoWorker) || !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	t.Setenv(pathVariable, "")
	if _, err := New(Config{}); !errors.Is(err, ErrNoWorker) || !strings.Contains(err.Error(), "libavformat-dev") {
		t.Error(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(pathVariable, self)
	if p, err := Find(); p != self || err != nil {
		t.Error(p, err)
	}
}
