package srt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/datarhei/gosrt"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/format/ts"
)

// Publisher is one stream that a caller publishes. It belongs to the goroutine of
// Config.Publish, except Close and Progress, and is not to be used once that has
// returned. Its packets are those of ts.Demuxer: 90 kHz of 33 bits.
type Publisher struct {
	*ts.Demuxer
	s    *Server
	req  srt.ConnRequest
	ctx  context.Context // of Serve, whose cause ReadPacket returns
	name string
	in   feed

	watch sync.WaitGroup // the watcher
	quit  chan struct{}
	once  sync.Once

	mu     sync.Mutex // guards what follows
	conn   srt.Conn   // nil until the first ReadPacket
	closed bool
}

var (
	_ av.Demuxer  = (*Publisher)(nil)
	_ av.Progress = (*Publisher)(nil)
	_ av.Warner   = (*Publisher)(nil)
)

// Name is the name that the stream id says; it is not checked.
func (p *Publisher) Name() string { return p.name }

// RemoteAddr is the caller's address.
func (p *Publisher) RemoteAddr() net.Addr { return p.req.RemoteAddr() }

// open readies p before the caller is let in.
func (p *Publisher) open() {
	p.quit = make(chan struct{})
	p.in.ctx = p.ctx
	p.Demuxer = ts.NewDemuxer(&p.in)
	p.Demuxer.MaxUnit = p.s.config.MaxUnit
}

// ReadPacket implements av.Demuxer. The first call lets the caller in. io.EOF means
// that the caller has closed the connection, or was silent for five seconds: SRT
// tells no difference. Other errors: fs.ErrClosed after Close, the cause of Serve's
// context, ErrIdle, ErrBuffer, and ts.Demuxer's.
func (p *Publisher) ReadPacket(a av.Allocator) (av.Packet, error) {
	if p.in.conn == nil {
		if err := p.accept(); err != nil {
			return av.Packet{}, err
		}
	}
	return p.Demuxer.ReadPacket(a)
}

// accept lets the caller in.
func (p *Publisher) accept() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return fs.ErrClosed
	}
	conn, err := p.req.Accept()
	if err != nil {
		return fmt.Errorf("srt: %w", err)
	}
	p.conn, p.in.conn = conn, conn
	g := guard{p.s.config.IdleTimeout, p.s.config.MaxBuffer}
	p.watch.Go(func() { g.watch(p.ctx, conn, &p.in, p.quit) })
	return nil
}

func (p *Publisher) accepted() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conn != nil
}

// Close implements av.Demuxer: it closes the connection.
func (p *Publisher) Close() error {
	p.once.Do(func() { close(p.quit) })
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.conn == nil { // nobody waits in ReadPacket
		return nil
	}
	return errors.Join(p.Demuxer.Close(), p.conn.Close())
}

// Why a watcher closes a connection.
var (
	ErrIdle   = errors.New("srt: no data")
	ErrBuffer = errors.New("srt: too many bytes wait for the time that their sender gave them")
)

const watchEvery = 250 * time.Millisecond

// guard bounds what the library does not.
type guard struct {
	idle   time.Duration // without data
	buffer int64         // bytes that wait for their time
}

// watch closes conn when no data come or too many are held back, or ctx is done;
// quit ends it.
func (g guard) watch(ctx context.Context, conn srt.Conn, in *feed, quit <-chan struct{}) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	var st srt.Statistics
	received, since := uint64(0), time.Now()
	for {
		select {
		case <-quit:
			return
		case now := <-tick.C:
			conn.Stats(&st)
			if n := st.Accumulated.ByteRecv; n != received {
				received, since = n, now
			}
			switch {
			case now.Sub(since) > g.idle:
				in.fail(fmt.Errorf("%w for %v", ErrIdle, g.idle))
			case int64(st.Instantaneous.ByteRecvBuf) > g.buffer:
				in.fail(fmt.Errorf("%w: %d", ErrBuffer, st.Instantaneous.ByteRecvBuf))
			default:
				continue
			}
			conn.Close()
			return
		}
	}
}

// feed is what the demuxer reads.
type feed struct {
	ctx  context.Context
	conn srt.Conn
	read atomic.Int64
	why  atomic.Pointer[error] // why the watcher closed conn
}

func (f *feed) fail(err error) { f.why.Store(&err) }

func (f *feed) Read(b []byte) (int, error) {
	n, err := f.conn.Read(b)
	f.read.Add(int64(n))
	if err == nil {
		return n, nil
	}
	switch why := f.why.Load(); {
	case f.ctx.Err() != nil:
		err = context.Cause(f.ctx)
	case why != nil:
		err = *why
	case !errors.Is(err, io.EOF):
		err = fmt.Errorf("srt: %w", err)
	}
	return n, err
}
