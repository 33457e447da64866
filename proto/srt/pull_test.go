package srt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"net/url"
	"os/exec"
	"testing"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
)

// freePort returns a UDP port of the loopback that nobody uses, below those that the
// system hands out, so that nobody takes it meanwhile.
func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		c, err := net.ListenPacket("udp", fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(20000)))
		if err == nil {
			defer c.Close()
			return c.LocalAddr().String()
		}
	}
	t.Fatal("no port is free")
	return ""
}

func address(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// What a listener of libsrt sends to its caller arrives.
func TestPull(t *testing.T) {
	tool := need(t, "ffmpeg")
	for name, options := range map[string][2]string{
		"plain":     {"", ""},
		"encrypted": {"&passphrase=correct horse", "&passphrase=correct+horse"},
	} {
		t.Run(name, func(t *testing.T) {
			at := freePort(t)
			cmd := exec.CommandContext(t.Context(), tool, append(picture[:len(picture):len(picture)], "srt://"+at+"?mode=listener&pkt_size=1316"+options[0])...)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer cmd.Wait()
			var d *Pulled
			for i := 0; ; i++ {
				var err error
				if d, err = Pull(t.Context(), address(t, "srt://"+at+"?streamid=cam"+options[1]), PullConfig{Timeout: time.Second}); err == nil {
					break
				}
				if i == 15 {
					t.Fatal(err)
				}
			}
			l, err := avtest.Read(d)
			if cerr := d.Close(); cerr != nil {
				t.Error(cerr)
			}
			whole(t, result{sets: l, err: err, warn: d.Warnings()})
		})
	}
}

// A refusal, silence and the end of the context are told, and leave nothing behind.
func TestPullRefused(t *testing.T) {
	addr := serve(t, Config{Publish: func(context.Context, *Publisher) error { return nil }})
	_, err := Pull(t.Context(), address(t, "srt://"+addr+"?streamid=read:cam"), PullConfig{Timeout: 300 * time.Millisecond})
	var no *Refused
	if !errors.As(err, &no) || no.Reason != Unimplemented {
		t.Errorf("%v", err)
	}
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if _, err := Pull(t.Context(), address(t, "srt://"+silent.LocalAddr().String()), PullConfig{Timeout: 300 * time.Millisecond}); !errors.Is(err, ErrTimeout) {
		t.Errorf("%v", err)
	}
	why := errors.New("the end")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(100*time.Millisecond, func() { cancel(why) })
	if _, err := Pull(ctx, address(t, "srt://"+silent.LocalAddr().String()), PullConfig{Timeout: 300 * time.Millisecond}); !errors.Is(err, why) {
		t.Errorf("%v", err)
	}
	if _, err := Pull(t.Context(), address(t, "srt://"+freePort(t)), PullConfig{Timeout: 300 * time.Millisecond}); err == nil {
		t.Error("nobody listens there")
	}
}

// HOSTILE: a server whose conclusions are cut or lie is refused.
func TestPullHostileServer(t *testing.T) {
	for i, tail := range [][]byte{{}, {0}, {0, 2, 0}, {0, 2, 0, 3}, {0, 2, 0xFF, 0xFF, 1}, extension(2, make([]byte, 12)), extension(2, []byte{0, 1, 4, 1, 0, 0, 0, 0xFF, 0, 0, 0, 0})} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			s, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				b := make([]byte, 2048)
				for {
					n, from, err := s.ReadFrom(b)
					if err != nil {
						return
					}
					if !isHandshake(b[:n]) {
						continue
					}
					copy(b[12:16], b[atSocket:atSocket+4])
					binary.BigEndian.PutUint32(b[packetHead:], 5)
					if binary.BigEndian.Uint32(b[atKind:]) == kindInduction {
						binary.BigEndian.PutUint16(b[atExtension:], magic)
						_, _ = s.WriteTo(b[:64], from)
						continue
					}
					_, _ = s.WriteTo(append(b[:64:64], tail...), from)
				}
			}()
			_, err = Pull(t.Context(), address(t, "srt://"+s.LocalAddr().String()), PullConfig{Timeout: 300 * time.Millisecond})
			s.Close()
			<-ended
			if !errors.Is(err, av.ErrInvalid) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestPullAddress(t *testing.T) {
	no := errors.New("not allowed")
	denied := PullConfig{Resolve: func(context.Context, string) (netip.Addr, error) { return netip.Addr{}, no }}
	if _, err := Pull(t.Context(), address(t, "srt://host:1"), denied); !errors.Is(err, no) {
		t.Errorf("%v", err)
	}
	for _, s := range []string{"srt://host", "srt://:1", "srt://host:0", "srt://h:1?mode=listener", "srt://h:1?latency=soon", "srt://h:1?x=1", "srt://h:1?passphrase=short", "srt://h:1?streamid=%zz"} {
		if _, err := Pull(t.Context(), address(t, s), denied); err == nil || errors.Is(err, no) {
			t.Errorf("%s: %v", s, err)
		}
	}
}

// FuzzConclusion: what is handed on, the library can read.
func FuzzConclusion(f *testing.F) {
	whole := append(make([]byte, 64), extension(2, []byte{0, 1, 4, 1, 0, 0, 0, 0xBF, 0, 120, 0, 120})...)
	whole[packetHead+3] = 5
	binary.BigEndian.PutUint32(whole[atMTU:], 1500)
	f.Add(whole)
	f.Add(whole[:66])
	f.Add(append(whole, 0, 4, 0, 1, 1, 2, 3, 4))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < packetHead+handshakeSize {
			return
		}
		binary.BigEndian.PutUint32(b[atKind:], kindConclude)
		if err := checkConclusion(b); err != nil {
			return
		}
		defer func() {
			if r := recover(); r != nil {
				t.Fatalf("%x: %v", b, r)
			}
		}()
		unmarshal(b[packetHead:])
	})
}
