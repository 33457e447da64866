package rtmp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/format/flv"
)

// playing serves one player, who gets the packets of a synthetic stream.
func playing(t *testing.T, send func(p *Player, r *Renderer, d av.Demuxer) error) (address string, ended chan error) {
	t.Helper()
	ended = make(chan error, 1)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		s := &Server{Config{
			Publish: func(context.Context, *Publisher) error { return &Refused{Code: Denied} },
			Play: func(ctx context.Context, p *Player) error {
				err := p.Start(ctx, func(ctx context.Context) error {
					if err := send(p, NewRenderer(p.Stream()), avtest.NewSynthetic(spec(50))); err != nil {
						return err
					}
					if p.Name() == "live/endless" {
						<-ctx.Done()
						return context.Cause(ctx)
					}
					return nil
				})
				ended <- err
				return err
			},
		}}
		served <- s.Serve(ctx, l)
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String(), ended
}

// render sends what d gives.
func render(p *Player, r *Renderer, d av.Demuxer) error {
	for {
		pkt, err := d.ReadPacket(av.Heap{})
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, av.ErrTracks):
			if err := r.Begin(d.Tracks(), time.Second); err != nil {
				return err
			}
			err = p.Write([][]byte{r.Header(nil, true)})
		case err == nil:
			err = p.Write([][]byte{r.Append(nil, &pkt)})
		}
		if err != nil {
			return err
		}
	}
}

// watch connects and asks for a name, and returns what the server sends.
func watch(t *testing.T, address, key string) (net.Conn, *chunkReader) {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if err := dialHandshake(c); err != nil {
		t.Fatal(err)
	}
	w := newWire()
	w.command(0, "connect", 1, app("live")).command(0, "createStream", 2, null()).command(1, "play", 3, null(), text(key), num(-2000))
	if _, err := c.Write(w.buf); err != nil {
		t.Fatal(err)
	}
	r := newChunkReader(c, DefaultMaxUnit)
	t.Cleanup(r.close)
	return c, r
}

// TestPlay: a player gets the tags of the stream, whole and in order, and its end.
func TestPlay(t *testing.T) {
	address, ended := playing(t, render)
	_, r := watch(t, address, "k")
	s := &session{in: r}
	var got, want []uint32
	var bodies [][]byte
	over := false
	for !over {
		m, err := r.next()
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case m.kind == typeSetChunkSize:
			if err := s.handle(m); err != nil {
				t.Fatal(err)
			}
		case m.kind == typeVideo || m.kind == typeAudio:
			got = append(got, m.timestamp)
			bodies = append(bodies, bytes.Clone(m.body))
		case m.kind == typeCommandAMF0:
			over = bytes.Contains(m.body, []byte("UnpublishNotify"))
		}
	}
	d := avtest.NewSynthetic(spec(50))
	var tracks []av.Track
	for i := 0; ; {
		p, err := d.ReadPacket(av.Heap{})
		if errors.Is(err, io.EOF) {
			break
		}
		if errors.Is(err, av.ErrTracks) {
			tracks = d.Tracks()
			for range tracks { // a sequence header each
				want = append(want, 0)
				i++
			}
			continue
		}
		tb := tracks[p.Track].Timebase
		dts, pts := tb.Rescale(p.DTS, av.Millisecond), tb.Rescale(p.PTS, av.Millisecond)
		want = append(want, uint32(dts+1000))
		head := flv.AppendFrameHead(nil, &tracks[p.Track], p.Flags, pts-dts)
		if i < len(bodies) && !bytes.Equal(bodies[i], append(head, p.Data...)) {
			t.Errorf("message %d differs", i)
		}
		i++
	}
	if !slices.Equal(got, want) {
		t.Errorf("timestamps %v, want %v", got, want)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestPlayerLeaves: a player who closes its stream, or its connection, ends the
// sending; one who pings gets its answer between the pictures.
func TestPlayerLeaves(t *testing.T) {
	for name, leave := range map[string]func(c net.Conn){
		"closeStream": func(c net.Conn) { _, _ = c.Write(newWire().command(1, "closeStream", 4, null()).buf) },
		"connection":  func(c net.Conn) { c.Close() },
		"flood":       func(c net.Conn) { _, _ = c.Write(repeated(newWire(), commandsASec+1, "pause").buf) },
	} {
		t.Run(name, func(t *testing.T) {
			address, ended := playing(t, render)
			c, r := watch(t, address, "endless")
			ping := newWire()
			ping.chunkWriter.append(controlID, typeUserControl, 0, 0, []byte{0, eventPing, 1, 2, 3, 4}, nil)
			if _, err := c.Write(ping.buf); err != nil {
				t.Fatal(err)
			}
			s := &session{in: r}
			for {
				m, err := r.next()
				if err != nil {
					t.Fatal(err)
				}
				if m.kind == typeSetChunkSize {
					_ = s.handle(m)
				}
				if m.kind == typeUserControl && bytes.Equal(m.body, []byte{0, eventPong, 1, 2, 3, 4}) {
					break
				}
			}
			leave(c)
			if err := <-ended; err == nil {
				t.Error("sending ended without a reason")
			}
		})
	}
}

// TestTryWrite: whatever the connection takes at once, messages come whole, also
// with answers between them.
func TestTryWrite(t *testing.T) {
	left := make(chan int, 1)
	const count, size = 300, 50000
	address, ended := playing(t, func(p *Player, _ *Renderer, _ av.Demuxer) error {
		_ = p.conn.(*net.TCPConn).SetWriteBuffer(16 << 10)
		w := chunkWriter{chunkSize: playChunkSize}
		n := 0
		for i := range count {
			w.append(mediaID, typeVideo, p.Stream(), uint32(i), []byte{byte(i)}, bytes.Repeat([]byte{byte(i)}, size))
			b := w.take()
			whole, err := p.TryWrite([][]byte{b[:100], b[100:]})
			if err == nil && !whole {
				n++
				err = p.Write(nil)
			}
			if err != nil {
				return err
			}
		}
		left <- n
		return nil
	})
	c, r := watch(t, address, "k")
	s := &session{in: r}
	ping := newWire()
	ping.chunkWriter.append(controlID, typeUserControl, 0, 0, []byte{0, eventPing, 1, 2, 3, 4}, nil)
	got, pongs := 0, 0
	for got < count {
		m, err := r.next()
		if err != nil {
			t.Fatal(err)
		}
		switch m.kind {
		case typeSetChunkSize:
			_ = s.handle(m)
		case typeUserControl:
			pongs++
		case typeVideo:
			if m.timestamp != uint32(got) || !bytes.Equal(m.body, bytes.Repeat([]byte{byte(got)}, size+1)) {
				t.Fatalf("message %d differs", got)
			}
			if got++; got%10 == 0 {
				if _, err := c.Write(ping.buf); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if n := <-left; n == 0 || pongs < 2 {
		t.Errorf("%d times something was left, %d answers", n, pongs)
	}
}
