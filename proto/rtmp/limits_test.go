package rtmp

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
)

// flaky is a listener whose first Accepts fail.
type flaky struct {
	net.Listener
	errs []error
}

func (f *flaky) Accept() (net.Conn, error) {
	if len(f.errs) > 0 {
		err := f.errs[0]
		f.errs = f.errs[1:]
		return nil, err
	}
	return f.Listener.Accept()
}

type passing struct{}

func (passing) Error() string   { return "too many open files" }
func (passing) Temporary() bool { return true }

// TestAccept: a fault that passes does not end Serve, another does.
func TestAccept(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	out := make(chan result, 1)
	s := &Server{Config{Publish: collect(out)}}
	if err := s.Serve(t.Context(), &flaky{l, []error{passing{}, passing{}, broken}}); !errors.Is(err, broken) {
		t.Errorf("%v, want %v", err, broken)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is open: %v", err)
	}
	if err := new(Server).Serve(t.Context(), l); err == nil {
		t.Error("a server without Publish serves")
	}
}

// TestGate: connections are counted until they end, those of one address until
// they publish.
func TestGate(t *testing.T) {
	g := gate{config: Config{MaxConns: 3, MaxPending: 2}, pending: map[string]int{}}
	enter := func(from string, want bool) {
		t.Helper()
		if g.enter(from) != want {
			t.Errorf("%s enters: %v", from, !want)
		}
	}
	enter("a", true)
	enter("a", true)
	enter("a", false)
	g.settled("a")
	enter("a", true)
	enter("b", false)
	g.settled("a")
	g.settled("a")
	g.leave()
	enter("b", true)
	if len(g.pending) != 1 {
		t.Errorf("%v", g.pending)
	}
}

// TestDialEnds: a context that is done ends Dial and a client that publishes.
func TestDialEnds(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // that never answers
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cause := errors.New("no longer wanted")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		if c, err := l.Accept(); err == nil {
			defer c.Close()
			io.ReadFull(c, make([]byte, 1+packetLen))
			cancel(cause)
			io.Copy(io.Discard, c)
		}
	}()
	if _, err := Dial(ctx, "rtmp://"+l.Addr().String()+"/a/b"); err != cause {
		t.Errorf("Dial: %v", err)
	}

	addr := serve(t, Config{Publish: func(_ context.Context, p *Publisher) error {
		for {
			if _, err := p.ReadPacket(av.Heap{}); err != nil && !errors.Is(err, av.ErrTracks) {
				return err
			}
		}
	}})
	ctx, cancel = context.WithCancelCause(t.Context())
	c, err := Dial(ctx, "rtmp://"+addr+"/a/b")
	if err != nil {
		t.Fatal(err)
	}
	cancel(cause)
	if err := c.Publish(avtest.NewSynthetic(spec(1 << 20))); err != cause {
		t.Errorf("Publish: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// TestServerEnds: a client whose server goes away is told so.
func TestServerEnds(t *testing.T) {
	addr := serve(t, Config{Publish: func(_ context.Context, p *Publisher) error {
		for range 10 {
			if _, err := p.ReadPacket(av.Heap{}); err != nil && !errors.Is(err, av.ErrTracks) {
				return err
			}
		}
		return errors.New("enough")
	}})
	c, err := Dial(t.Context(), "rtmp://"+addr+"/a/b")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Publish(avtest.NewSynthetic(spec(1 << 20))); err == nil {
		t.Error("everything was published")
	}
	c.Close()
}

// TestSlowReader: a server that is slow makes the client wait, and nothing is lost.
func TestSlowReader(t *testing.T) {
	begin, out := make(chan struct{}), make(chan result, 1)
	addr := serve(t, Config{IdleTimeout: time.Minute, Publish: func(ctx context.Context, p *Publisher) error {
		if _, err := p.ReadPacket(av.Heap{}); !errors.Is(err, av.ErrTracks) {
			return err
		}
		<-begin
		g := avtest.Generation{Tracks: p.Tracks()}
		for {
			pkt, err := p.ReadPacket(av.Heap{})
			if err != nil {
				out <- result{p.Name(), p, []avtest.Generation{g}, err}
				return err
			}
			g.Packets = append(g.Packets, pkt)
		}
	}})
	c, err := Dial(t.Context(), "rtmp://"+addr+"/a/b")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	n := 0
	done := make(chan error, 1)
	big := avtest.Spec{Video: avtest.Video{Frames: 100, Size: 200 << 10}}
	go func() { done <- c.Publish(&counted{avtest.NewSynthetic(big), &n, begin}) }()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	c.Close()
	if r := <-out; len(r.sets[0].Packets) != 100 || r.err != io.EOF {
		t.Errorf("%d packets, %v", len(r.sets[0].Packets), r.err)
	}
}

// counted opens a channel after some packets: as many as fit into no buffer would
// hang a client that does not wait.
type counted struct {
	av.Demuxer
	n     *int
	begin chan struct{}
}

func (c *counted) ReadPacket(a av.Allocator) (av.Packet, error) {
	if *c.n++; *c.n == 5 {
		close(c.begin)
	}
	return c.Demuxer.ReadPacket(a)
}
