//go:build libav

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"unsafe"

	"github.com/cleave-video/cleave/cmd/cleave-av/internal/shim"
	"github.com/cleave-video/cleave/format/libav/wire"
)

// errGone: the parent has closed the socket. There is nothing left to do.
var errGone = errors.New("cleave is gone")

// worker serves one input.
type worker struct {
	mem     []byte // shared with the parent
	buf     [wire.MessageSize]byte
	options wire.Options
	asked   []int64 // slots to be filled, that were asked for meanwhile
	in      *shim.Demuxer
	pending error // ends the input once the packets before it are given
	read    int64 // bytes of the input
	told    int64 // read, when OpTick was sent
}

// work answers the parent until it goes.
func work() error {
	mem, err := syscall.Mmap(wire.MemoryFD, 0, wire.MemorySize, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("the shared memory: %w", err)
	}
	go watch(wire.SocketFD)
	w := &worker{mem: mem}
	if err := w.send(wire.Message{Op: wire.OpHello, N: wire.Version}); err != nil {
		return err
	}
	for {
		m, err := w.receive()
		switch {
		case errors.Is(err, errGone):
			return nil
		case err != nil:
			return err
		}
		switch m.Op {
		case wire.OpOpen:
			err = w.open(m)
		case wire.OpNext:
			err = w.queue(m)
		default:
			return fmt.Errorf("unexpected message %d", m.Op)
		}
		for err == nil && len(w.asked) > 0 {
			slot := w.asked[0]
			w.asked = w.asked[:copy(w.asked, w.asked[1:])]
			err = w.next(slot)
		}
		if err != nil {
			return err
		}
	}
}

// queue notes that a slot is to be filled.
func (w *worker) queue(m wire.Message) error {
	if m.N >= wire.Slots || len(w.asked) >= wire.Slots {
		return wire.ErrMessage
	}
	w.asked = append(w.asked, int64(m.N))
	return nil
}

// answer waits for the answer to what was asked, and notes what is said before it.
func (w *worker) answer() (wire.Message, error) {
	for {
		m, err := w.receive()
		if err != nil || m.Op != wire.OpNext {
			return m, err
		}
		if err := w.queue(m); err != nil {
			return m, err
		}
	}
}

// pollFD is struct pollfd.
type pollFD struct {
	fd              int32
	events, revents int16
}

// watch ends the process when the parent, which has the other end of fd, is gone, even
// while one of FFmpeg's libraries is busy.
func watch(fd int32) {
	for {
		p := pollFD{fd: fd} // no events: only the end is reported
		n, _, errno := syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, 0, 0, 0, 0)
		if errno == 0 && n > 0 {
			os.Exit(exitFailed)
		}
	}
}

func (w *worker) send(m wire.Message) error {
	for {
		_, err := syscall.Write(wire.SocketFD, m.Append(w.buf[:0]))
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

func (w *worker) receive() (wire.Message, error) {
	for {
		n, err := syscall.Read(wire.SocketFD, w.buf[:])
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return wire.Message{}, err
		case n == 0:
			return wire.Message{}, errGone
		default:
			return wire.Parse(w.buf[:n])
		}
	}
}

// slot returns the descriptors and the payload area of a slot.
func (w *worker) slot(i int64) (descs, payload []byte) {
	s := w.mem[i*wire.SlotSize : (i+1)*wire.SlotSize]
	return s[:wire.DescsSize:wire.DescsSize], s[wire.DescsSize:]
}

// open opens the input and says what is in it.
func (w *worker) open(m wire.Message) error {
	_, payload := w.slot(0)
	if int(m.N) > len(payload) {
		return wire.ErrMessage
	}
	if err := json.Unmarshal(payload[:m.N], &w.options); err != nil {
		return err
	}
	in, widened, err := w.probe()
	if err != nil {
		return w.fail(0, err)
	}
	w.in = in
	o := in.Opened()
	o.Widened = widened
	text, err := json.Marshal(o)
	if err != nil {
		return err
	}
	return w.send(wire.Message{Op: wire.OpOpened, N: uint32(copy(payload, text))})
}

// What probing widens to, step by step, while a stream's codec is unknown:
// libavformat stops at 5 MB or 5 s of its own accord.
const (
	widenStep     = 4
	defaultProbe  = 5_000_000
	defaultWindow = 5_000_000 // microseconds
	mostProbe     = 80_000_000
)

// probe opens the input, again with more of it if that was too little to know
// what is in it. An input that cannot be sought in is opened once.
func (w *worker) probe() (in *shim.Demuxer, widened int64, err error) {
	o := w.options
	for size, window := int64(defaultProbe), int64(defaultWindow); ; {
		in, err = shim.Open(w.reader(), w.size(), o)
		if err != nil || in.Complete() || !o.Seekable || o.Size >= 0 && o.Size <= size ||
			w.options.ProbeSize > 0 || w.options.AnalyzeDuration > 0 || size >= mostProbe {
			return in, widened, err
		}
		if err := in.Close(); err != nil {
			return nil, 0, err
		}
		if !o.Direct && !o.At {
			if _, err := (seeking{w}).Seek(0, io.SeekStart); err != nil {
				return nil, 0, err
			}
		}
		size, window = size*widenStep, window*widenStep
		o.ProbeSize, o.AnalyzeDuration, widened = size, window, size
	}
}

func (w *worker) size() int64 {
	if !w.options.Seekable {
		return -1
	}
	return w.options.Size
}

// next fills a slot.
func (w *worker) next(slot int64) error {
	if w.in == nil {
		return wire.ErrMessage
	}
	if w.pending != nil {
		return w.fail(slot, w.pending)
	}
	descs, payload := w.slot(slot)
	n, err := w.in.Read(shim.Batch{Descs: descs, Payload: payload, Soft: wire.BatchBytes})
	w.pending = err
	if n == 0 && err != nil {
		return w.fail(slot, err)
	}
	return w.send(wire.Message{Op: wire.OpBatch, N: uint32(n), A: slot, B: w.read})
}

// fail says what ended the input.
func (w *worker) fail(slot int64, err error) error {
	if errors.Is(err, errGone) {
		return err
	}
	if errors.Is(err, io.EOF) {
		return w.send(wire.Message{Op: wire.OpEnd, B: w.read})
	}
	_, payload := w.slot(slot)
	code := int64(0)
	var e *shim.Error
	if errors.As(err, &e) {
		code = int64(e.Code)
	}
	n := copy(payload, err.Error())
	return w.send(wire.Message{Op: wire.OpFail, N: uint32(n), A: slot, B: code})
}
