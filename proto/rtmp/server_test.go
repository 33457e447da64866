package rtmp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/format/flv"
)

// dial connects and does the handshake.
func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if err := dialHandshake(c); err != nil {
		t.Fatal(err)
	}
	return c
}

func send(t *testing.T, c io.Writer, b []byte) {
	t.Helper()
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
}

// answers says that no more comes and reads what the server says until it closes.
func answers(t *testing.T, c net.Conn) string {
	t.Helper()
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	return said(t, c)
}

// said reads what the server says until it closes.
func said(t *testing.T, c net.Conn) string {
	t.Helper()
	b, err := io.ReadAll(c)
	if err != nil {
		t.Errorf("the server did not close in an orderly way: %v", err)
	}
	return string(b)
}

// TestClient: every codec that is written arrives, to the bit, and the answer to
// the end too.
func TestClient(t *testing.T) {
	for _, name := range []string{"h264_aac.flv", "h264_mp3.flv", "hevc_opus.flv", "av1_ac3.flv", "vp9_eac3.flv"} {
		t.Run(name, func(t *testing.T) {
			out := make(chan result, 1)
			addr := serve(t, Config{Publish: collect(out)})
			c, err := Dial(t.Context(), "rtmp://"+addr+"/live/"+name+"?a=b&a=c")
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Publish(flv.NewDemuxer(bytes.NewReader(sample(t, name)))); err != nil {
				t.Error(err)
			}
			for range 2 {
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			}
			r := <-out
			if r.err != io.EOF || r.name != "live/"+name || len(r.p.Query()["a"]) != 2 || r.p.RemoteAddr() == nil {
				t.Errorf("%q %v ended with %v", r.name, r.p.Query(), r.err)
			}
			same(t, avtest.ReadAll(t, flv.NewDemuxer(bytes.NewReader(sample(t, name)))), r.sets)
			if done, total := r.p.Progress(); done == 0 || total != 0 {
				t.Errorf("progress %d of %d", done, total)
			}
		})
	}
}

// ahead reads a packet before the one before it is returned, as the demuxer of MP4 does.
type ahead struct {
	av.Demuxer
	packets []av.Packet
}

func (d *ahead) ReadPacket(a av.Allocator) (av.Packet, error) {
	for len(d.packets) < 2 {
		p, err := d.Demuxer.ReadPacket(a)
		if errors.Is(err, io.EOF) && len(d.packets) > 0 {
			break
		}
		if err != nil {
			return av.Packet{}, err
		}
		d.packets = append(d.packets, p)
	}
	p := d.packets[0]
	d.packets = d.packets[1:]
	return p, nil
}

// TestClientReadsAhead: a demuxer may hold several packets at a time.
func TestClientReadsAhead(t *testing.T) {
	out := make(chan result, 1)
	addr := serve(t, Config{Publish: collect(out)})
	c, err := Dial(t.Context(), "rtmp://"+addr+"/live/cam")
	if err != nil {
		t.Fatal(err)
	}
	const name = "h264_aac.flv"
	if err := c.Publish(&ahead{Demuxer: flv.NewDemuxer(bytes.NewReader(sample(t, name)))}); err != nil {
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	same(t, avtest.ReadAll(t, flv.NewDemuxer(bytes.NewReader(sample(t, name)))), (<-out).sets)
}

// same compares what was read to what was published.
func same(t *testing.T, want, got []avtest.Generation) {
	t.Helper()
	if len(got) != len(want) || len(got[0].Packets) != len(want[0].Packets) {
		t.Fatalf("%d sets of tracks", len(got))
	}
	for i, tr := range want[0].Tracks {
		if u := got[0].Tracks[i]; u.Codec != tr.Codec || !bytes.Equal(u.Config, tr.Config) {
			t.Errorf("track %d: %v, want %v", i, u, tr)
		}
	}
	for i, p := range want[0].Packets {
		if q := got[0].Packets[i]; q.Track != p.Track || q.DTS != p.DTS || q.PTS != p.PTS || q.Flags != p.Flags || !bytes.Equal(q.Data, p.Data) {
			t.Fatalf("packet %d differs", i)
		}
	}
}

// TestLargeFrames: frames of several MiB, and a change of tracks between them.
func TestLargeFrames(t *testing.T) {
	out := make(chan result, 1)
	addr := serve(t, Config{Publish: collect(out)})
	c, err := Dial(t.Context(), "rtmp://"+addr+"/a/b")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	big := avtest.Spec{Video: avtest.Video{Frames: 4, KeySize: 7 << 20, Size: 1 << 20}, Audio: avtest.Audio{Frames: 8}}
	other := big
	other.Video.Width, other.Start = 640, 5*time.Second
	if err := c.Publish(avtest.NewSynthetic(big, other)); err != nil {
		t.Fatal(err)
	}
	c.Close()
	r := <-out
	if n := r.count(t); r.err != io.EOF || len(r.sets) != 2 || n[0] != 4 || n[1] != 8 {
		t.Errorf("%v packets in %d sets, %v", n, len(r.sets), r.err)
	}
	if err := c.WritePacket(av.Packet{Track: 9}); err == nil {
		t.Error("a packet of no track is written")
	}
}

// TestRefused: a publisher that is turned away learns why.
func TestRefused(t *testing.T) {
	for _, code := range []string{BadName, Denied} {
		addr := serve(t, Config{Publish: func(context.Context, *Publisher) error { return &Refused{code, "go away"} }})
		_, err := Dial(t.Context(), "rtmp://"+addr+"/live/key")
		var no *Refused
		if !errors.As(err, &no) || no.Code != code || no.Description != "go away" {
			t.Errorf("%v, want %s", err, code)
		}
	}
	addr := serve(t, Config{Publish: func(context.Context, *Publisher) error { return errors.New("broken") }})
	if _, err := Dial(t.Context(), "rtmp://"+addr+"/live/key"); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v", err)
	}
}

// TestRefusedFFmpeg: ffmpeg ends with an error too.
func TestRefusedFFmpeg(t *testing.T) {
	tool, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is not installed: a foreign publisher is left out")
	}
	addr := serve(t, Config{Publish: func(context.Context, *Publisher) error { return &Refused{BadName, "in use"} }})
	b, err := exec.CommandContext(t.Context(), tool, "-v", "error", "-nostdin", "-f", "lavfi", "-i", "sine=d=1", "-c:a", "aac", "-f", "flv", "rtmp://"+addr+"/a/b").CombinedOutput()
	if err == nil || !strings.Contains(string(b), "in use") {
		t.Errorf("%v: %s", err, b)
	}
}

// TestGStreamer: both of its sinks.
func TestGStreamer(t *testing.T) {
	tool, err := exec.LookPath("gst-launch-1.0")
	if err != nil {
		t.Skip("GStreamer is not installed: its sinks are left out")
	}
	for _, sink := range []string{"rtmp2sink", "rtmpsink"} {
		for _, e := range []string{sink, "flvmux", "openh264enc", "voaacenc"} {
			if exec.CommandContext(t.Context(), "gst-inspect-1.0", e).Run() != nil {
				t.Skipf("GStreamer has no %s: %s is left out", e, sink)
			}
		}
		t.Run(sink, func(t *testing.T) {
			out := make(chan result, 1)
			addr := serve(t, Config{Publish: collect(out)})
			pipe := "flvmux name=m streamable=true ! " + sink + " location=rtmp://" + addr + "/live/gst " +
				"videotestsrc num-buffers=60 ! video/x-raw,width=320,height=240,framerate=30/1 ! openh264enc ! h264parse ! m. " +
				"audiotestsrc num-buffers=90 ! audio/x-raw,rate=48000,channels=2 ! voaacenc ! aacparse ! m."
			if b, err := exec.CommandContext(t.Context(), tool, append([]string{"-q"}, strings.Fields(pipe)...)...).CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, b)
			}
			r := <-out
			if n := r.count(t); r.err != io.EOF || len(n) != 2 || n[0] != 60 || n[1] < 80 || r.name != "live/gst" {
				t.Errorf("%q: %v packets, %v", r.name, n, r.err)
			}
			t.Log(r.p.Warnings())
		})
	}
}

// TestShutdown: when Serve's context is done, publishers end with its cause and
// Serve returns.
func TestShutdown(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cause := errors.New("going home")
	ctx, cancel := context.WithCancelCause(context.Background())
	reading, got := make(chan struct{}), make(chan error, 1)
	ended := make(chan error, 1)
	s := &Server{Config{Publish: func(_ context.Context, p *Publisher) error {
		close(reading)
		_, err := p.ReadPacket(av.Heap{})
		got <- err
		return err
	}}}
	go func() { ended <- s.Serve(ctx, l) }()
	silent, err := net.Dial("tcp", l.Addr().String()) // in its handshake meanwhile
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	c, err := Dial(t.Context(), "rtmp://"+l.Addr().String()+"/live/key")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	<-reading
	cancel(cause)
	if err := <-got; err != cause {
		t.Errorf("ReadPacket: %v, want %v", err, cause)
	}
	if err := <-ended; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// TestClose: Close from elsewhere ends ReadPacket and the connection.
func TestClose(t *testing.T) {
	got := make(chan error, 1)
	addr := serve(t, Config{Publish: func(_ context.Context, p *Publisher) error {
		closed := make(chan struct{})
		go func() { p.Close(); p.Close(); close(closed) }()
		_, err := p.ReadPacket(av.Heap{})
		<-closed
		got <- err
		return err
	}})
	if c, err := Dial(t.Context(), "rtmp://"+addr+"/live/key"); err == nil {
		defer c.Close()
	}
	if err := <-got; !errors.Is(err, fs.ErrClosed) {
		t.Errorf("%v", err)
	}
}

// TestDeadlines: a client that is silent, slow in its handshake or commands, or
// stops sending is closed.
func TestDeadlines(t *testing.T) {
	short := 50 * time.Millisecond
	got := make(chan error, 1)
	addr := serve(t, Config{
		HandshakeTimeout: short, CommandTimeout: 2 * short, IdleTimeout: short,
		Publish: func(_ context.Context, p *Publisher) error {
			_, err := p.ReadPacket(av.Heap{})
			got <- err
			return err
		},
	})
	for _, first := range []string{"", "\x03", "\x03\x00\x00"} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		send(t, c, []byte(first))
		if b, err := io.ReadAll(c); len(b) > 0 {
			t.Errorf("%d bytes, %v", len(b), err)
		}
		c.Close()
	}
	c := dial(t, addr)
	send(t, c, newWire().command(0, "connect", 1, app("live")).buf)
	if s := said(t, c); !strings.Contains(s, "NetConnection.Connect.Success") {
		t.Errorf("%q", s)
	}
	c = dial(t, addr)
	send(t, c, newWire().publish("live", "key").buf)
	if err := <-got; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

// TestOtherProtocols: what is not RTMP gets no answer.
func TestOtherProtocols(t *testing.T) {
	addr := serve(t, Config{Publish: func(context.Context, *Publisher) error {
		t.Error("somebody publishes")
		return nil
	}})
	for _, b := range []string{"GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x02\x00\x01", "\x06" + strings.Repeat("x", packetLen), "\x00"} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		send(t, c, []byte(b))
		if got, _ := io.ReadAll(c); len(got) > 0 {
			t.Errorf("%q is answered with %d bytes", b[:1], len(got))
		}
		c.Close()
	}
}

// TestCrowded: connections that do not publish are few per address.
func TestCrowded(t *testing.T) {
	addr := serve(t, Config{MaxPending: 2, Publish: func(context.Context, *Publisher) error { return nil }})
	a := dial(t, addr)
	dial(t, addr)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if b, err := io.ReadAll(c); len(b) > 0 {
		t.Errorf("the third: %d bytes, %v", len(b), err)
	}
	send(t, a, newWire().publish("live", "key").buf) // is settled then
	answers(t, a)
	dial(t, addr)
}
