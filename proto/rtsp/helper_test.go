package rtsp

import (
	"context"
	"os/exec"
	"testing"

	"go.uber.org/goleak"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/internal/testnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var pairs = testnet.NewPairs()

// evenPort returns a free pair of UDP ports of the loopback, of which the first is even.
func evenPort(t *testing.T) string {
	t.Helper()
	addr, err := pairs.Next()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// serve runs a server on the loopback until the test ends, and returns its address.
func serve(t *testing.T, c Config) string {
	t.Helper()
	s, err := Listen("127.0.0.1:0", c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return s.Addr().String()
}

// result is what came of one publisher.
type result struct {
	name string
	sets []avtest.Generation
	warn []string
	err  error
}

// collect is a Config.Publish that reads everything and sends what came.
func collect(out chan<- result) func(context.Context, *Publisher) error {
	return func(ctx context.Context, p *Publisher) error {
		l, err := avtest.Read(p)
		select {
		case out <- result{p.Name(), l, p.Warnings(), err}:
		case <-ctx.Done():
		}
		return err
	}
}

// track is what came of one track.
type track struct {
	codec     av.Codec
	packets   int
	keys      int
	first     float64 // seconds
	last      float64
	reordered bool
}

func (r result) tracks(t *testing.T) []track {
	t.Helper()
	if len(r.sets) != 1 {
		t.Fatalf("%d sets of tracks, ended with %v, %v", len(r.sets), r.err, r.warn)
	}
	g := r.sets[0]
	out := make([]track, len(g.Tracks))
	last := make([]int64, len(g.Tracks))
	for i, tr := range g.Tracks {
		out[i].codec = tr.Codec
	}
	for _, p := range g.Packets {
		o := &out[p.Track]
		tb := g.Tracks[p.Track].Timebase
		if o.packets == 0 {
			o.first = tb.Duration(p.PTS).Seconds()
		} else if p.DTS <= last[p.Track] {
			t.Errorf("track %d: DTS %d behind %d", p.Track, p.DTS, last[p.Track])
		}
		if p.DTS > p.PTS {
			t.Errorf("track %d: DTS %d, PTS %d", p.Track, p.DTS, p.PTS)
		}
		last[p.Track] = p.DTS
		o.last = max(o.last, tb.Duration(p.PTS).Seconds())
		o.packets++
		if p.Flags.Has(av.Key) {
			o.keys++
		}
		o.reordered = o.reordered || p.PTS != p.DTS
	}
	return out
}

func need(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("%s is not installed: a foreign peer is left out", program)
	}
	return path
}
