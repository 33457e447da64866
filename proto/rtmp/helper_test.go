package rtmp

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/format/flv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve runs a server on the loopback until the test ends, and returns its address.
func serve(t *testing.T, c Config) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- (&Server{c}).Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return l.Addr().String()
}

// result is what came of one publisher.
type result struct {
	name string
	p    *Publisher
	sets []avtest.Generation
	err  error
}

// collect is a Config.Publish that reads everything and sends what came.
func collect(out chan<- result) func(context.Context, *Publisher) error {
	return func(ctx context.Context, p *Publisher) error {
		l, err := avtest.Read(p)
		select {
		case out <- result{p.Name(), p, l, err}:
		case <-ctx.Done():
		}
		return err
	}
}

// count returns the packets of each track of the last set.
func (r result) count(t *testing.T) []int {
	t.Helper()
	if len(r.sets) == 0 {
		t.Fatalf("no tracks: %v", r.err)
	}
	g := r.sets[len(r.sets)-1]
	n := make([]int, len(g.Tracks))
	for _, p := range g.Packets {
		n[p.Track]++
	}
	return n
}

// bad reports whether the input was at fault.
func bad(err error) bool {
	var e *av.Error
	return errors.As(err, &e)
}

// readFile returns the packets of an FLV file.
func readFile(t *testing.T, path string) []av.Packet {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return avtest.ReadAll(t, flv.NewDemuxer(f))[0].Packets
}
