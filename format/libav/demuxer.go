package libav

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/format/libav/wire"
)

// Options say how to open an input. The zero value is the default.
type Options struct {
	Format          string           // libavformat's name of the demuxer; "" lets the content choose
	ProbeSize       int64            // bytes; 0 is libavformat's default, widened where it is too little
	AnalyzeDuration int64            // microseconds; 0 likewise
	Carry           av.PrivateFormat // what tracks of codecs unknown here are made for; 0 is PrivateMP4
}

// Demuxer reads one input through a worker, which is started by Open or the first
// ReadPacket.
//
// Times are the container's, in its timebase. Where it has none they are derived,
// and flagged so. What is a key frame the bitstream says, for codecs known here.
// Not safe for concurrent use except Close and Progress.
type Demuxer struct {
	workers *Workers
	o       Options
	in      *input
	done    atomic.Int64
	gone    chan struct{} // closed by Close

	mu     sync.Mutex // guards the fields below
	closed bool
	busy   bool // a call is in progress: it gives the worker back
	proc   *process

	opened wire.Opened
	began  bool
	bits   int // of the times
	lanes  []*lane
	tracks []av.Track
	stats  stats
	notes  []string // what probing found
	err    error    // ends the stream

	// The batch at hand; the worker is filling the other slots.
	batch   batch
	raw     raw
	next    int   // slot of the next batch
	since   int64 // done at the last packet
	probing bool
	queue   []raw // what the search for tracks read; given out first
	ready   []item
	scratch []byte
	cleanup runtime.Cleanup
}

// item is what ReadPacket owes: a packet, or a new set of tracks.
type item struct {
	p      av.Packet
	tracks []av.Track
}

var (
	_ av.Demuxer    = (*Demuxer)(nil)
	_ av.Progress   = (*Demuxer)(nil)
	_ av.Durationer = (*Demuxer)(nil)
	_ av.Warner     = (*Demuxer)(nil)
)

// NewDemuxer returns a Demuxer of r, an io.Reader or io.ReaderAt. The worker reads
// an *os.File of a plain file itself; an io.ReaderAt is read by position if size is
// not negative, an io.Seeker is sought in. Close closes r if it is an io.Closer.
func (w *Workers) NewDemuxer(r any, size int64, o Options) *Demuxer {
	return &Demuxer{workers: w, o: o, in: newInput(r, size), gone: make(chan struct{}), probing: true}
}

// Format returns libavformat's name of the container, "" before Open.
func (d *Demuxer) Format() string { return d.opened.Format }

// WrapBits is the width of the container's times, 0 if they do not wrap, once Open
// has returned.
func (d *Demuxer) WrapBits() int { return d.bits }

// Tracks implements av.Demuxer.
func (d *Demuxer) Tracks() []av.Track { return d.tracks }

// Progress implements av.Progress.
func (d *Demuxer) Progress() (done, total int64) {
	done, total = d.done.Load(), max(d.in.size, 0)
	if total > 0 {
		done = min(done, total)
	}
	return done, total
}

// Duration implements av.Durationer.
func (d *Demuxer) Duration() (int64, av.Timebase, bool) {
	return d.opened.Duration, av.Timebase{Num: 1, Den: 1000000}, d.opened.Duration > 0
}

// Warnings implements av.Warner.
func (d *Demuxer) Warnings() []string {
	return append(append([]string(nil), d.notes...), d.stats.lines()...)
}

// enter begins a call that uses the worker.
func (d *Demuxer) enter() error {
	d.mu.Lock() // for each packet: a deferred Unlock would cost more than the rest
	closed := d.closed
	d.busy = d.busy || !closed
	d.mu.Unlock()
	if closed {
		return fs.ErrClosed
	}
	return nil
}

// leave ends it; a Close that came meanwhile is completed.
func (d *Demuxer) leave() {
	d.mu.Lock()
	d.busy = false
	if d.closed {
		d.stop()
	}
	d.mu.Unlock()
}

// stop ends the worker, if there is one, and returns how it ended. mu is held.
func (d *Demuxer) stop() string {
	if d.proc == nil {
		return ""
	}
	d.cleanup.Stop()
	how := d.proc.stop()
	d.proc = nil
	d.workers.release()
	return how
}

// Close implements av.Demuxer.
func (d *Demuxer) Close() error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil
	}
	d.closed = true
	close(d.gone)
	if d.proc != nil {
		d.proc.kill()
	}
	if !d.busy {
		d.stop()
	}
	d.mu.Unlock()
	return d.in.close()
}

// Open starts the worker and opens the input, which waits while as many workers
// run as may. It returns what ReadPacket does; calling it again does nothing.
func (d *Demuxer) Open() error {
	if err := d.enter(); err != nil {
		return err
	}
	defer d.leave()
	return d.open()
}

func (d *Demuxer) open() error {
	if d.began {
		return d.err
	}
	d.began = true
	if !d.workers.acquire(d.gone) {
		return d.fail(fs.ErrClosed)
	}
	p, err := start(d.workers.path, d.in.file, d.workers.timeout)
	if err != nil {
		d.workers.release()
		return d.fail(err)
	}
	d.mu.Lock()
	d.proc = p
	d.cleanup = runtime.AddCleanup(d, forget, forgotten{p, d.workers})
	closed := d.closed
	d.mu.Unlock()
	if closed {
		return d.fail(fs.ErrClosed)
	}
	if err := d.greet(); err != nil {
		return d.fail(err)
	}
	d.makeLanes()
	d.batch.slot = -1
	for i := range wire.Slots {
		if err := d.ask(i); err != nil {
			return err
		}
	}
	return nil
}

// forgotten is what a Demuxer holds that nobody closed.
type forgotten struct {
	p *process
	w *Workers
}

// forget is a net only: Close is what ends a worker.
func forget(f forgotten) {
	f.p.stop()
	f.w.release()
}

// greet opens the input in the worker.
func (d *Demuxer) greet() error {
	m, err := d.proc.receive()
	if err != nil {
		return err
	}
	if m.Op != wire.OpHello || m.N != wire.Version {
		return fault("worker", "%w: it speaks version %d, not %d", ErrVersion, m.N, wire.Version)
	}
	o := wire.Options{Format: d.o.Format, ProbeSize: d.o.ProbeSize, AnalyzeDuration: d.o.AnalyzeDuration}
	d.in.describe(&o)
	n, err := d.proc.put(o)
	if err != nil {
		return err
	}
	if err := d.proc.send(wire.Message{Op: wire.OpOpen, N: uint32(n)}); err != nil {
		return err
	}
	m, err = d.await()
	if err != nil {
		return err
	}
	if m.Op != wire.OpOpened {
		return d.said(m)
	}
	const most = 4 << 20
	if err := json.Unmarshal(d.proc.text(0, int(m.N), most), &d.opened); err != nil {
		return fault("worker", "%w: %w", wire.ErrMessage, err)
	}
	return nil
}

// await waits for an answer, and serves the worker until it comes.
func (d *Demuxer) await() (wire.Message, error) {
	for {
		m, err := d.proc.receive()
		if err != nil {
			return m, err
		}
		switch m.Op {
		case wire.OpRead, wire.OpSeek:
			if m.Op == wire.OpRead && (m.N == 0 || m.N > wire.WindowSize) {
				return m, fmt.Errorf("%w: %d bytes asked for", wire.ErrMessage, m.N)
			}
			a := d.in.answer(m, d.proc.window())
			d.done.Add(int64(a.N))
			if err := d.proc.send(a); err != nil {
				return m, err
			}
		case wire.OpTick:
			d.done.Store(m.A)
		default:
			return m, nil
		}
		if err := d.lost(); err != nil {
			return m, err
		}
	}
}

// maxBarren is how much is read without a packet, beyond twice the input.
const maxBarren = 1 << 30

// lost ends a search that does not.
func (d *Demuxer) lost() error {
	if n := d.done.Load() - d.since; n > maxBarren+2*max(d.in.size, 0) {
		return fault("packet", "%w: %d bytes were read and no packet was found", av.ErrInvalid, n)
	}
	return nil
}

// ask lets the worker fill a slot.
func (d *Demuxer) ask(slot int) error {
	if err := d.proc.send(wire.Message{Op: wire.OpNext, N: uint32(slot)}); err != nil {
		return d.fail(err)
	}
	return nil
}

// fail ends the stream with err, or with what is behind it, and gives the worker
// back.
func (d *Demuxer) fail(err error) error {
	d.mu.Lock()
	closed := d.closed
	how := d.stop()
	d.mu.Unlock()
	var bad *av.Error
	switch {
	case closed:
		err = fs.ErrClosed
	case d.in.err != nil:
		err = d.in.err
	case errors.Is(err, ErrHung):
		err = fault("worker", "%w", err)
	case errors.Is(err, io.EOF) && how != "", errors.Is(err, wire.ErrMessage) && !errors.As(err, &bad), isSocketError(err):
		err = fault("worker", "%w: %s", ErrCrashed, how)
	}
	d.err = err
	return err
}

// said is the error that the worker reports.
func (d *Demuxer) said(m wire.Message) error {
	switch m.Op {
	case wire.OpEnd:
		if len(d.opened.Streams) == 0 {
			return fault("", "%w", av.ErrTruncated)
		}
		return errEnd
	case wire.OpFail:
		if m.A < 0 || m.A >= wire.Slots {
			return fmt.Errorf("%w", wire.ErrMessage)
		}
		const most = 512
		return fault("", "%w: %s", kindOf(m.B), printable(d.proc.text(int(m.A), int(m.N), most)))
	}
	return fmt.Errorf("%w: %d was not expected", wire.ErrMessage, m.Op)
}

// errEnd is the end of the input: a worker that ends is io.EOF on its socket.
var errEnd = errors.New("libav: the input ends")
