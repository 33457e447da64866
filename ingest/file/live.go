package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/internal/pace"
)

// Live plays files one behind the other as a live source does: each packet comes
// when its time has come. Where a file ends the next begins, as new tracks.
type Live struct {
	names []string
	loop  bool
	ctx   context.Context // ends waiting; of the source
	stop  context.CancelFunc

	next  int // of names
	begun bool
	start time.Time     // when the present file's first packet came
	zero  time.Duration // its decode time
	held  av.Packet     // not due yet
	isSet bool

	mu     sync.Mutex // guards what follows
	in     *Input     // nil between files
	closed bool
}

var (
	_ av.Demuxer  = (*Live)(nil)
	_ av.Progress = (*Live)(nil)
	_ av.Warner   = (*Live)(nil)
)

// PlayLive opens the first of names; with loop it begins anew behind the last. ctx
// ends the source; its cause is ReadPacket's error then.
func PlayLive(ctx context.Context, names []string, loop bool) (*Live, error) {
	if len(names) == 0 {
		return nil, errors.New("file: no file to play")
	}
	l := &Live{names: names, loop: loop}
	l.ctx, l.stop = context.WithCancel(ctx)
	if err := l.open(); err != nil {
		l.stop()
		return nil, err
	}
	return l, nil
}

// open opens the next file; io.EOF when there is none.
func (l *Live) open() error {
	if l.next == len(l.names) {
		if !l.loop {
			return io.EOF
		}
		l.next = 0
	}
	in, err := Open(l.ctx, l.names[l.next], Options{})
	if err != nil {
		return err
	}
	l.next++
	l.begun = false
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return errors.Join(fs.ErrClosed, in.Close())
	}
	l.in = in
	return nil
}

// Tracks implements av.Demuxer.
func (l *Live) Tracks() []av.Track { return l.in.Tracks() }

// ReadPacket implements av.Demuxer. Errors: io.EOF behind the last file, fs.ErrClosed
// after Close, the cause of PlayLive's context, and those of Open and the files.
func (l *Live) ReadPacket(a av.Allocator) (av.Packet, error) {
	for empty := 0; ; {
		if !l.isSet {
			p, err := l.in.ReadPacket(a)
			switch {
			case errors.Is(err, io.EOF):
				if empty++; !l.begun && empty > len(l.names) {
					return av.Packet{}, av.Errorf("file", -1, "packets", "%w: none in any file", av.ErrTruncated)
				}
				if err := l.advance(); err != nil {
					return av.Packet{}, err
				}
				continue
			case err != nil:
				return av.Packet{}, l.ending(err)
			}
			l.held, l.isSet = p, true
		}
		if err := l.wait(); err != nil {
			return av.Packet{}, err
		}
		l.isSet = false
		return l.held, nil
	}
}

// advance closes the file that has ended and opens the next.
func (l *Live) advance() error {
	l.mu.Lock()
	err := l.in.Close()
	l.mu.Unlock()
	if err != nil {
		return err
	}
	return l.ending(l.open())
}

func (l *Live) ending(err error) error {
	l.mu.Lock()
	closed := l.closed
	l.mu.Unlock()
	switch {
	case err == nil || errors.Is(err, io.EOF) || errors.Is(err, av.ErrTracks):
		return err
	case closed:
		return fs.ErrClosed
	case l.ctx.Err() != nil:
		return context.Cause(l.ctx)
	}
	return fmt.Errorf("%s: %w", l.names[l.next-1], err)
}

// wait waits until the held packet is due.
func (l *Live) wait() error {
	at := l.in.Tracks()[l.held.Track].Timebase.Duration(l.held.DTS)
	if !l.begun {
		l.begun, l.start, l.zero = true, time.Now(), at
	}
	d := time.Until(l.start.Add(at - l.zero))
	if err := pace.Sleep(l.ctx, d); err != nil {
		return l.ending(err)
	}
	return nil
}

// Progress implements av.Progress: of the present file.
func (l *Live) Progress() (done, total int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.in.Progress()
}

// Warnings implements av.Warner: of the present file.
func (l *Live) Warnings() []string { return l.in.Warnings() }

// Close implements av.Demuxer.
func (l *Live) Close() error {
	l.stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	return l.in.Close()
}
