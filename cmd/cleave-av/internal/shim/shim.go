//go:build libav

// Package shim is libavformat's demuxers in Go. It is not for untrusted input
// unless the process is restricted.
package shim

/*
#cgo pkg-config: libavformat libavcodec libavutil
#cgo CFLAGS: -std=c11 -Wall -Wextra -Wno-unused-parameter -O2
#include <stdlib.h>
#include "shim.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"runtime/cgo"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/cleave-video/cleave/format/libav/wire"
)

// Error is an AVERROR.
type Error struct {
	Code int
	Text string
}

func (e *Error) Error() string { return "libavformat: " + e.Text }

// Is makes the end of the input io.EOF.
func (e *Error) Is(target error) bool { return target == io.EOF && e.Code == int(C.cav_eof) }

func errorOf(code C.int) error {
	if code >= 0 {
		return nil
	}
	var buf [128]C.char
	C.cav_error(code, &buf[0], C.size_t(len(buf)))
	text := C.GoString(&buf[0])
	if text == "" {
		text = fmt.Sprintf("error %d", int(code))
	}
	return &Error{Code: int(code), Text: text}
}

// Setup silences libavformat and bounds a single allocation of it. Call it once,
// before anything else.
func Setup(maxAlloc int) { C.cav_setup(C.size_t(maxAlloc)) }

// Version is that of libavformat, as it runs.
func Version() string {
	_, running := versions()
	return running[0].String()
}

// version is a library's, as AV_VERSION_INT.
type version uint32

func (v version) String() string { return fmt.Sprintf("%d.%d.%d", v>>16, v>>8&0xff, v&0xff) }

func versions() (built, running [3]version) {
	var b, r [3]C.uint
	C.cav_versions(&b[0], &r[0])
	for i := range b {
		built[i], running[i] = version(b[i]), version(r[i])
	}
	return built, running
}

// CheckVersions compares the libraries with those that the program was built for.
func CheckVersions() error {
	built, running := versions()
	for i, name := range [...]string{"libavformat", "libavcodec", "libavutil"} {
		if !compatible(built[i], running[i]) {
			return fmt.Errorf("%s is version %v here, and this program was built for %v: build it again with 'make'", name, running[i], built[i])
		}
	}
	return nil
}

// compatible: structures stay as they are within a major version, and only grow.
func compatible(built, running version) bool {
	return built>>16 == running>>16 && running >= built
}

// Demuxer reads one input. Read and Opened belong to one goroutine; Interrupt
// and Close may be called from any.
type Demuxer struct {
	mu      sync.Mutex // guards c: held while C runs
	c       *C.cav     // nil once closed
	src     *source
	closed  atomic.Bool
	cleanup runtime.Cleanup
}

// held is what the cleanup must let go of.
type held struct {
	c      *C.cav
	handle cgo.Handle
}

// Open opens r, which is read by position if it is an io.ReaderAt and size is
// not negative, and sought in if it is an io.Seeker. It returns an *Error, or the
// error of r.
func Open(r io.Reader, size int64, o wire.Options) (*Demuxer, error) {
	return open(newSource(r, size), o)
}

func open(src *source, o wire.Options) (*Demuxer, error) {
	handle := cgo.NewHandle(src)
	src.handle = handle
	opt := C.struct_cav_options{
		handle: C.uintptr_t(handle), probesize: C.int64_t(o.ProbeSize), analyzeduration: C.int64_t(o.AnalyzeDuration),
	}
	if src.seekable() {
		opt.seekable = 1
	}
	if o.Format != "" {
		opt.format = C.CString(o.Format)
		defer C.free(unsafe.Pointer(opt.format))
	}
	var c *C.cav
	if rc := C.cav_open(&c, &opt); rc < 0 {
		handle.Delete()
		return nil, src.why(errorOf(rc))
	}
	d := &Demuxer{c: c, src: src}
	d.cleanup = runtime.AddCleanup(d, func(h held) {
		C.cav_close(h.c)
		h.handle.Delete()
	}, held{c, handle})
	return d, nil
}

// Batch is where Read puts packets. The memory must not be Go's.
type Batch struct {
	Descs   []byte // a multiple of wire.DescSize
	Payload []byte
	Soft    int // bytes of payload that end a batch
}

// Read fills b and returns the number of packets; there may be some with an
// error. io.EOF matches the end, and the reader's own error what it ended by.
// After Close it returns fs.ErrClosed.
func (d *Demuxer) Read(b Batch) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.c == nil || d.closed.Load() {
		return 0, fs.ErrClosed
	}
	var n C.int
	rc := C.cav_read(d.c, (*C.struct_cav_packet)(unsafe.Pointer(unsafe.SliceData(b.Descs))), C.int(len(b.Descs)/wire.DescSize),
		(*C.uint8_t)(unsafe.SliceData(b.Payload)), C.size_t(len(b.Payload)), C.size_t(b.Soft), &n)
	if rc < 0 && d.closed.Load() {
		return int(n), fs.ErrClosed
	}
	return int(n), d.src.why(errorOf(rc))
}

// Complete reports whether every stream's codec is known.
func (d *Demuxer) Complete() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.c != nil && C.cav_complete(d.c) != 0
}

// Opened describes the input. It is empty after Close.
func (d *Demuxer) Opened() wire.Opened {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.c == nil {
		return wire.Opened{}
	}
	o := wire.Opened{
		Format: C.GoString(C.cav_format(d.c)), Version: Version(), Duration: int64(C.cav_duration(d.c)),
	}
	for i := range C.cav_streams(d.c) {
		var s C.struct_cav_stream
		if C.cav_stream(d.c, i, &s) == 0 {
			o.Streams = append(o.Streams, streamOf(&s))
		}
	}
	return o
}

// kinds are AVMediaType's.
var kinds = [...]string{"video", "audio", "data", "subtitle", "attachment"}

func streamOf(s *C.struct_cav_stream) wire.Stream {
	kind := "unknown"
	if int(s.kind) >= 0 && int(s.kind) < len(kinds) {
		kind = kinds[s.kind]
	}
	w := wire.Stream{
		Kind: kind, Codec: C.GoString(s.codec), Tag: tagOf(uint32(s.tag)), ID: int64(s.id),
		Num: int64(s.num), Den: int64(s.den), WrapBits: int(s.wrap_bits),
		Width: int(s.width), Height: int(s.height), SampleRate: int(s.sample_rate), Channels: int(s.channels),
		Bits: int(s.bits), FrameBytes: int(s.frame_bytes), RateNum: int64(s.rate_num), RateDen: int64(s.rate_den),
		Picture: s.picture != 0,
	}
	if s.extradata_size > 0 {
		w.Extradata = C.GoBytes(unsafe.Pointer(s.extradata), s.extradata_size)
	}
	if s.language != nil {
		w.Language = strings.ToValidUTF8(C.GoString(s.language), "")
	}
	return w
}

// tagOf prints a FourCC if it is one.
func tagOf(v uint32) string {
	b := []byte{byte(v), byte(v >> 8), byte(v >> 16), byte(v >> 24)}
	for _, c := range b {
		if c < 0x20 || c > 0x7e {
			return ""
		}
	}
	return string(b)
}

// Interrupt makes the call in progress return soon. A reader that blocks is not
// interrupted: Close closes it.
func (d *Demuxer) Interrupt() {
	d.closed.Store(true)
	d.src.dead.Store(true)
}

// Close ends a Read in progress, closes the reader if it is an io.Closer, and
// frees everything. It is idempotent.
func (d *Demuxer) Close() error {
	first := !d.closed.Swap(true)
	d.src.dead.Store(true)
	var err error
	if first {
		err = d.src.close()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.c == nil {
		return err
	}
	d.cleanup.Stop()
	C.cav_close(d.c)
	d.c = nil
	d.src.handle.Delete()
	return err
}

var errPanic = errors.New("the reader panicked")
