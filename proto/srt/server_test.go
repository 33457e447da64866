package srt

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
)

var picture = strings.Fields("-v error -nostdin -re -f lavfi -i testsrc2=s=320x180:r=25:d=4 -f lavfi -i sine=r=48000:d=4 " +
	"-c:v libx264 -preset ultrafast -bf 2 -g 25 -pix_fmt yuv420p -c:a aac -f mpegts")

// whole checks that picture came: what waits for its time when the caller hangs up
// is lost, and ffmpeg sends the last half second at once.
func whole(t *testing.T, r result) {
	t.Helper()
	if r.err != io.EOF || len(r.sets) != 1 || len(r.sets[0].Tracks) != 2 {
		t.Fatalf("%d sets, ended with %v", len(r.sets), r.err)
	}
	var n [2]int
	for _, p := range r.sets[0].Packets {
		n[p.Track]++
		if p.Flags.Has(av.Discont) {
			t.Errorf("a break at %d of track %d", p.DTS, p.Track)
		}
	}
	if n[0] < 75 || n[0] > 100 || n[1] < 130 || n[1] > 189 {
		t.Errorf("%d pictures and %d frames of sound", n[0], n[1])
	}
	for _, w := range r.warn {
		if strings.Contains(w, "continuity") {
			t.Error(w)
		}
	}
}

func TestFFmpeg(t *testing.T) {
	tool := need(t, "ffmpeg")
	for name, test := range map[string]struct {
		passphrase string
		options    []string
	}{
		"plain":          {"", []string{"-srt_streamid", "publish:live/cam1"}},
		"standard form":  {"", []string{"-srt_streamid", "#!::r=live/cam1,m=publish"}},
		"encrypted":      {"correct horse", []string{"-srt_streamid", "publish:live/cam1", "-passphrase", "correct horse"}},
		"AES-256":        {"correct horse", []string{"-srt_streamid", "publish:live/cam1", "-passphrase", "correct horse", "-pbkeylen", "32"}},
		"larger latency": {"", []string{"-srt_streamid", "publish:live/cam1", "-latency", "300000"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out := make(chan result, 1)
			addr := serve(t, Config{Publish: collect(out), Passphrase: test.passphrase})
			args := append(append(picture[:len(picture):len(picture)], test.options...), "srt://"+addr+"?pkt_size=1316")
			if b, err := exec.CommandContext(t.Context(), tool, args...).CombinedOutput(); err != nil {
				t.Fatalf("ffmpeg: %v: %s", err, b)
			}
			r := <-out
			if r.name != "live/cam1" {
				t.Errorf("name %q", r.name)
			}
			whole(t, r)
		})
	}
}

func TestLiveTransmit(t *testing.T) {
	ffmpeg, transmit := need(t, "ffmpeg"), need(t, "srt-live-transmit")
	out := make(chan result, 1)
	addr := serve(t, Config{Publish: collect(out), Passphrase: "correct horse"})
	src := exec.CommandContext(t.Context(), ffmpeg, append(picture[:len(picture):len(picture)], "-")...)
	dst := exec.CommandContext(t.Context(), transmit, "-q", "-chunk:1316", "file://con", "srt://"+addr+"?streamid=publish:live/cam1&passphrase=correct horse")
	pipe, err := src.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	dst.Stdin = pipe
	if err := errors.Join(src.Start(), dst.Start()); err != nil {
		t.Fatal(err)
	}
	if err := src.Wait(); err != nil {
		t.Error(err)
	}
	_ = dst.Process.Signal(os.Interrupt) // it does not end with its input
	_ = dst.Wait()
	r := <-out
	if r.name != "live/cam1" {
		t.Errorf("name %q", r.name)
	}
	whole(t, r)
}

// Callers are refused with the reason that fits, before Publish has read.
func TestRefuses(t *testing.T) {
	nothing := func(context.Context, *Publisher) error { return nil }
	for name, test := range map[string]struct {
		config  Config
		version uint32
		ext     [][]byte
		want    Reason
	}{
		"version 4":     {Config{}, 4, nil, Version},
		"no stream id":  {Config{}, 5, [][]byte{hello()}, BadRequest},
		"reading":       {Config{}, 5, [][]byte{hello(), streamID("read:live/cam1")}, Unimplemented},
		"mode":          {Config{}, 5, [][]byte{hello(), streamID("#!::r=a,m=bidirectional")}, BadMode},
		"newline":       {Config{}, 5, [][]byte{hello(), streamID("publish:a\nb")}, BadRequest},
		"no passphrase": {Config{Passphrase: "correct horse"}, 5, [][]byte{hello(), streamID("publish:a")}, Unsecure},
		"taken": {
			Config{Publish: func(context.Context, *Publisher) error { return &Refused{Conflict, "taken"} }},
			5,
			[][]byte{hello(), streamID("publish:a")},
			Conflict,
		},
		"fault": {
			Config{Publish: func(context.Context, *Publisher) error { return io.ErrUnexpectedEOF }},
			5,
			[][]byte{hello(), streamID("publish:a")},
			Failed,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if test.config.Publish == nil {
				test.config.Publish = nothing
			}
			c := dial(t, serve(t, test.config))
			field := uint16(5)
			if test.version == 4 {
				field = 2
			}
			if got := c.conclude(test.version, field, test.ext...); Reason(got) != test.want {
				t.Errorf("%v, want %v", Reason(got), test.want)
			}
		})
	}
}

// HOSTILE: a wrong passphrase again and again is answered without a look at it.
func TestWrongPassphraseLoop(t *testing.T) {
	var j journal
	addr := serve(t, Config{Publish: func(context.Context, *Publisher) error { return nil }, Passphrase: "correct horse", Log: j.log()})
	km := make([]byte, 16+16+24)
	copy(km, []byte{0x12, 0x20, 0x29, 1, 0, 0, 0, 0, 2, 0, 2, 0, 0, 0, 4, 4})
	for i := range refusalsAllowed + 3 {
		want := BadSecret
		if i >= refusalsAllowed {
			want = Overload
		}
		c := dial(t, addr)
		if got := c.conclude(5, 7, hello(), extension(extKM, km), streamID("publish:a")); Reason(got) != want {
			t.Errorf("attempt %d: %v, want %v", i, Reason(got), want)
		}
	}
	j.until(t, "refused too often")
	if n := strings.Count(j.text(), "wrong passphrase"); n > refusalsAllowed {
		t.Errorf("%d lines", n)
	}
}

// HOSTILE: handshakes that are cut, or whose extensions lie, end nothing else.
func TestHostileHandshakes(t *testing.T) {
	out := make(chan result, 1)
	addr := serve(t, Config{Publish: collect(out)})
	c := dial(t, addr)
	whole := append(c.handshake(5, 5, conclusion, c.cookie()), bytes.Join([][]byte{hello(), streamID("publish:a")}, nil)...)
	for n := range whole {
		c.control(0, 0, 0, whole[:n])
	}
	for _, ext := range [][]byte{
		extension(extKM, make([]byte, 4096-64)), // oversize KMREQ
		{0, extKM, 0xFF, 0xFF},
		{0, extSID, 0xFF, 0xFF, 'a'},
		extension(extKM, []byte{0, 0, 0, 0}),
		{0, 9, 0, 0},
		{1},
	} {
		c.control(0, 0, 0, append(c.handshake(5, 7, conclusion, c.cookie()), ext[:min(len(ext), 1400)]...))
	}
	for kind := range uint16(9) {
		c.control(kind, 3, 1234, []byte{1, 2, 3})
	}
	other := dial(t, addr)
	if got := other.conclude(5, 5, hello(), streamID("publish:b")); got != conclusion {
		t.Fatalf("an honest caller is answered %v", Reason(got))
	}
	// Forged key material within a connection is dropped.
	for _, sub := range []uint16{1, 2, 3, 4} {
		other.control(0x7FFF, sub, other.peer, nil)
		other.control(0x7FFF, sub, other.peer, []byte{0, 0, 0, 3})
		other.control(0x7FFF, sub, other.peer, make([]byte, 1000))
	}
	other.control(5, 0, other.peer, nil) // shutdown
	if r := <-out; r.name != "b" && r.name != "a" {
		t.Errorf("%q ended with %v", r.name, r.err)
	}
}

// A publisher that sends nothing is closed, and one that sends for a time that
// does not come.
func TestWatched(t *testing.T) {
	for name, test := range map[string]struct {
		config Config
		send   bool
		want   error
	}{
		"silent": {Config{IdleTimeout: 300 * time.Millisecond}, false, ErrIdle},
		"hoards": {Config{MaxBuffer: 64 << 10}, true, ErrBuffer},
	} {
		t.Run(name, func(t *testing.T) {
			out := make(chan result, 1)
			test.config.Publish = collect(out)
			c := dial(t, serve(t, test.config))
			if got := c.conclude(5, 5, hello(), streamID("publish:a")); got != conclusion {
				t.Fatalf("answered %v", Reason(got))
			}
			for range 100 {
				if !test.send {
					break
				}
				c.data(25_000_000, make([]byte, 1316)) // due in 25 s
			}
			if r := <-out; !errors.Is(r.err, test.want) {
				t.Errorf("%v, want %v", r.err, test.want)
			}
		})
	}
}

// No more than MaxConns publish at a time.
func TestMaxConns(t *testing.T) {
	out := make(chan result, 2)
	addr := serve(t, Config{Publish: collect(out), MaxConns: 1})
	c := dial(t, addr)
	if got := c.conclude(5, 5, hello(), streamID("publish:a")); got != conclusion {
		t.Fatalf("answered %v", Reason(got))
	}
	d := dial(t, addr)
	d.id++
	if got := d.conclude(5, 5, hello(), streamID("publish:b")); Reason(got) != Overload {
		t.Errorf("answered %v", Reason(got))
	}
	c.control(5, 0, c.peer, nil)
	<-out
}

// The end of the server is told to ReadPacket.
func TestServerEnds(t *testing.T) {
	s, err := Listen("127.0.0.1:0", Config{Publish: func(_ context.Context, p *Publisher) error {
		_, err := avtest.Read(p)
		return err
	}})
	if err != nil {
		t.Fatal(err)
	}
	why := errors.New("the end")
	ctx, cancel := context.WithCancelCause(context.Background())
	var j journal
	s.config.Log = j.log()
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx) }()
	c := dial(t, s.Addr().String())
	if got := c.conclude(5, 5, hello(), streamID("publish:a")); got != conclusion {
		t.Fatalf("answered %v", Reason(got))
	}
	cancel(why)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	j.until(t, "name=a", "the end")
}

func TestValidate(t *testing.T) {
	ok := func(context.Context, *Publisher) error { return nil }
	for _, c := range []Config{{}, {Publish: ok, Passphrase: "short"}, {Publish: ok, Latency: -1}, {Publish: ok, MaxConns: -1}, {Publish: ok, Latency: time.Hour}} {
		if _, err := Listen("127.0.0.1:0", c); err == nil {
			t.Errorf("%+v is valid", c)
		}
	}
}
