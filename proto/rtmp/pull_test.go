package rtmp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
)

// player runs an ffmpeg that plays to who comes, and returns its address.
func player(t *testing.T, args string) string {
	t.Helper()
	tool, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is not installed: a foreign server is left out")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := "rtmp://" + l.Addr().String() + "/live/cam"
	l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, tool, strings.Fields("-v error -nostdin "+args+" -f flv -listen 1 "+address)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
	})
	return address
}

// comes pulls until the server is there.
func comes(t *testing.T, address string) *Pulled {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(20 * time.Second)
	for range tick.C {
		d, err := Pull(t.Context(), address, PullConfig{})
		if err == nil {
			return d
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	return nil
}

func TestPull(t *testing.T) {
	d := comes(t, player(t, "-f lavfi -i testsrc2=s=160x120:r=25:d=4 -f lavfi -i sine=r=48000:d=4 -c:v libx264 -preset ultrafast -bf 2 -g 25 -pix_fmt yuv420p -c:a aac"))
	l, err := avtest.Read(d)
	if err != io.EOF || len(l) != 1 {
		t.Fatalf("%d sets, %v", len(l), err)
	}
	var n [2]int
	for _, p := range l[0].Packets {
		n[p.Track]++
	}
	if n[0] != 100 || n[1] < 185 {
		t.Errorf("%v packets", n)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if _, err := d.ReadPacket(av.Heap{}); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("behind Close: %v", err)
	}
}

// Close from another goroutine ends a ReadPacket that waits, and the context's end.
func TestPullEnds(t *testing.T) {
	d := comes(t, player(t, "-re -f lavfi -i testsrc2=s=160x120:r=25 -c:v libx264 -preset ultrafast -g 25 -pix_fmt yuv420p"))
	begun := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		n := 0
		for {
			_, err := d.ReadPacket(av.Heap{})
			if n++; n == 5 {
				close(begun)
			}
			if err != nil && !errors.Is(err, av.ErrTracks) {
				ended <- err
				return
			}
		}
	}()
	<-begun
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, fs.ErrClosed) {
		t.Errorf("%v", err)
	}
}

// A server that refuses, one that is none, and one that may not be connected to.
func TestPullRefused(t *testing.T) {
	addr := serve(t, Config{Publish: func(context.Context, *Publisher) error { return nil }})
	var no *Refused
	if _, err := Pull(t.Context(), "rtmp://"+addr+"/live/cam", PullConfig{}); !errors.As(err, &no) {
		t.Errorf("a server that does not play: %v", err)
	}
	denied := errors.New("not allowed")
	dial := func(context.Context, string, string) (net.Conn, error) { return nil, denied }
	if _, err := Pull(t.Context(), "rtmp://"+addr+"/live/cam", PullConfig{Dial: dial}); !errors.Is(err, denied) {
		t.Errorf("%v", err)
	}
	for _, address := range []string{"http://x/a/b", "rtmp:///a/b", "rtmp://x", "rtmp://x/a/"} {
		if _, err := Pull(t.Context(), address, PullConfig{}); err == nil {
			t.Errorf("%q was pulled", address)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err == nil {
			fmt.Fprint(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
			c.Close()
		}
	}()
	if _, err := Pull(t.Context(), "rtmp://"+l.Addr().String()+"/live/cam", PullConfig{}); err == nil {
		t.Error("a web server was pulled")
	}
}
