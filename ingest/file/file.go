// Package file opens stored media: local files, standard input and http(s) URLs.
// What an input is, its content says, not its name.
package file

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/format/libav"
	"github.com/cleave-video/cleave/timeline"
)

// Options say how to open an input. The zero value is the default.
type Options struct {
	// Format names the demuxer instead of letting the content choose: "mp4",
	// "ts", "flv", "h264", "h265", "adts", "mp3".
	Format string
	// Demuxer says whose demuxers to use; "" is Auto.
	Demuxer Demuxer
	// Libav is how workers of libavformat are run; nil: as libav.Config's defaults
	// say. One is started only if a file needs it.
	Libav *libav.Workers
	// ProbeSize (bytes) and AnalyzeDuration (microseconds) bound what libavformat
	// looks at to know an input; 0 are its defaults.
	ProbeSize, AnalyzeDuration int64
	// Carry is what libavformat's tracks of codecs unknown here are made for; 0 is MP4.
	Carry av.PrivateFormat
	// RawTimes leaves the container's own times: no wrap undone, no jump closed.
	RawTimes bool
	// Timing measures the reading, if it is not nil.
	Timing *Timing
}

// Input is an opened input: an av.Demuxer that also closes what it reads from.
type Input struct {
	av.Demuxer
	Format string // as in Options
	close  func() error
	read   *atomic.Int64
	size   int64
}

var _ av.Progress = (*Input)(nil)

// Open opens name: a path, "-" for standard input, or an http or https URL. ctx
// ends reads of the network and of standard input. The error says what the input
// is not, if no demuxer knows it.
func Open(ctx context.Context, name string, o Options) (*Input, error) {
	switch {
	case name == "-":
		in, err := openStream(ctx, standardInput(), 0, o)
		if err != nil {
			return nil, fmt.Errorf("standard input: %w", err)
		}
		return in, nil
	case scheme(name) == "http", scheme(name) == "https":
		return openURL(ctx, name, o)
	case scheme(name) != "":
		if _, err := os.Stat(name); err != nil {
			return nil, fmt.Errorf("%s: inputs are files, '-' for standard input, and http(s) URLs, not %s: live streams are what serve takes", name, scheme(name))
		}
	}
	// A pipe is opened at once, also while nobody writes to it; of files the flag says nothing.
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	in, err := openFile(ctx, f, o)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return in, nil
}

// scheme returns that of a URL, in small letters; empty if name is none.
func scheme(name string) string {
	s, _, ok := strings.Cut(name, "://")
	if !ok || s == "" || strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 || r <= ' ' || r == '/' || r == '.' }) {
		return ""
	}
	return strings.ToLower(s)
}

func openFile(ctx context.Context, f *os.File, o Options) (*Input, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.IsDir() {
		return nil, errors.New("is a folder, not a media file")
	}
	if st.Mode()&os.ModeNamedPipe != 0 {
		return openStream(ctx, &fifo{File: f}, 0, o)
	}
	if !st.Mode().IsRegular() { // a device
		return openStream(ctx, f, 0, o)
	}
	head := make([]byte, sniffLen)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	format, err := choose(head[:n], o)
	if err != nil {
		return nil, err
	}
	if format.libav {
		in, err := openLibav(ctx, f, st.Size(), nil, o)
		if err != nil {
			return nil, format.unknown(err)
		}
		return in, nil
	}
	if format.at != nil {
		return newInput(format.at(o.Timing.readerAt(&osFile{f}), st.Size()), format.name, f.Close, nil, st.Size(), o), nil
	}
	c := &counter{r: o.Timing.reader(f)}
	return newInput(format.stream(c), format.name, f.Close, &c.n, st.Size(), o), nil
}

// openStream reads r front to back. A format that must seek goes through a
// temporary file. r is closed with the input, and when ctx is done, if it is an
// io.Closer; reads then fail with ctx's error.
func openStream(ctx context.Context, r io.Reader, size int64, o Options) (*Input, error) {
	cl, _ := r.(io.Closer)
	if cl == nil {
		cl = io.NopCloser(r)
	}
	stop := context.AfterFunc(ctx, func() { cl.Close() })
	closeAll := func() error { stop(); return cl.Close() }
	c := &counter{r: o.Timing.reader(&interruptible{ctx, r})}
	br := bufio.NewReaderSize(c, sniffLen)
	head, err := br.Peek(sniffLen)
	if err != nil && !errors.Is(err, io.EOF) {
		closeAll()
		return nil, err
	}
	format, err := choose(head, o)
	if err != nil {
		closeAll()
		return nil, err
	}
	if format.libav {
		in, err := openLibav(ctx, br, -1, closeAll, o)
		if err != nil {
			closeAll()
			return nil, format.unknown(err)
		}
		return in, nil
	}
	if format.at == nil {
		return newInput(format.stream(br), format.name, closeAll, &c.n, size, o), nil
	}
	sp, err := newSpool(br)
	if err != nil {
		closeAll()
		return nil, err
	}
	done := func() error { return errors.Join(closeAll(), sp.Close()) }
	return newInput(format.at(sp, -1), format.name, done, &c.n, size, o), nil
}

func newInput(d av.Demuxer, format string, cl func() error, read *atomic.Int64, size int64, o Options) *Input {
	d = o.Timing.demuxer(d, Parse, o.RawTimes)
	if !o.RawTimes {
		d = o.Timing.demuxer(timeline.New(d, timeline.Options{}), Fixup, true)
	}
	return &Input{Demuxer: d, Format: format, close: cl, read: read, size: size}
}

// Close closes the demuxer and what it reads from.
func (in *Input) Close() error {
	cl := in.close
	if cl == nil {
		return nil
	}
	in.close = nil
	return errors.Join(cl(), in.Demuxer.Close())
}

// Progress implements av.Progress.
func (in *Input) Progress() (done, total int64) {
	if in.read != nil {
		return in.read.Load(), in.size
	}
	if p, ok := in.Demuxer.(av.Progress); ok {
		done, _ = p.Progress()
	}
	return done, in.size
}

// Duration implements av.Durationer if the container knows.
func (in *Input) Duration() (int64, av.Timebase, bool) {
	if d, ok := in.Demuxer.(av.Durationer); ok {
		return d.Duration()
	}
	return 0, av.Timebase{}, false
}

// Warnings implements av.Warner.
func (in *Input) Warnings() []string {
	if w, ok := in.Demuxer.(av.Warner); ok {
		return w.Warnings()
	}
	return nil
}

// counter counts what is read of the input.
type counter struct {
	r io.Reader
	n atomic.Int64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n.Add(int64(n))
	return n, err
}
