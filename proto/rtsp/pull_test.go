package rtsp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/description"
	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/pion/rtp"

	"github.com/cleave-video/cleave/av"
)

// relay is a server that plays what is published to it.
type relay struct {
	server *gortsplib.Server
	ready  chan struct{}
	once   sync.Once

	mu     sync.Mutex // guards stream
	stream *gortsplib.ServerStream
}

func (r *relay) OnAnnounce(ctx *gortsplib.ServerHandlerOnAnnounceCtx) (*base.Response, error) {
	s := &gortsplib.ServerStream{Server: r.server, Desc: ctx.Description}
	if err := s.Initialize(); err != nil {
		return status(400, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stream = s
	return status(200, nil)
}

func (r *relay) OnSetup(ctx *gortsplib.ServerHandlerOnSetupCtx) (*base.Response, *gortsplib.ServerStream, error) {
	if ctx.Session.State() == gortsplib.ServerSessionStatePreRecord {
		return &base.Response{StatusCode: 200}, nil, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return &base.Response{StatusCode: 200}, r.stream, nil
}

func (r *relay) OnRecord(ctx *gortsplib.ServerHandlerOnRecordCtx) (*base.Response, error) {
	ctx.Session.OnPacketRTPAny(func(m *description.Media, _ format.Format, p *rtp.Packet) {
		r.stream.WritePacketRTP(m, p)
		r.once.Do(func() { close(r.ready) })
	})
	return status(200, nil)
}

func (r *relay) OnDescribe(ctx *gortsplib.ServerHandlerOnDescribeCtx) (*base.Response, *gortsplib.ServerStream, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stream == nil {
		return &base.Response{StatusCode: 404}, nil, nil
	}
	return &base.Response{StatusCode: 200}, r.stream, nil
}

func (r *relay) OnPlay(*gortsplib.ServerHandlerOnPlayCtx) (*base.Response, error) {
	return status(200, nil)
}

func (r *relay) OnPacketsLost(*gortsplib.ServerHandlerOnPacketsLostCtx) {}

// newRelay runs a relay until the test ends.
func newRelay(t *testing.T) (*relay, string) {
	t.Helper()
	r := &relay{ready: make(chan struct{})}
	udp := evenPort(t)
	rtcp, _ := nextPort(udp)
	var addr net.Addr
	r.server = &gortsplib.Server{Handler: r, RTSPAddress: "127.0.0.1:0", UDPRTPAddress: udp, UDPRTCPAddress: rtcp, Listen: func(n, a string) (net.Listener, error) {
		l, err := net.Listen(n, a)
		if err == nil {
			addr = l.Addr()
		}
		return l, err
	}}
	if err := r.server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.server.Close()
		r.server.Wait()
	})
	return r, "rtsp://" + addr.String() + "/live/cam"
}

func TestPull(t *testing.T) {
	tool := need(t, "ffmpeg")
	for _, transport := range []string{"tcp", "udp", ""} {
		t.Run("by "+transport, func(t *testing.T) {
			t.Parallel()
			r, address := newRelay(t)
			args := strings.Fields("-v error -nostdin -re -f lavfi -i testsrc2=s=320x180:r=25:d=4 -f lavfi -i sine=r=48000:d=4 " +
				"-c:v libx264 -preset ultrafast -bf 2 -g 25 -pix_fmt yuv420p -c:a aac -f rtsp -rtsp_transport tcp " + address)
			cmd := exec.CommandContext(t.Context(), tool, args...)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer cmd.Wait()
			<-r.ready
			u, err := url.Parse(address)
			if err != nil {
				t.Fatal(err)
			}
			d, err := Pull(t.Context(), u, PullConfig{Transport: transport})
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			var n [2]int
			for n[0] < 40 {
				p, err := d.ReadPacket(av.Heap{})
				if errors.Is(err, av.ErrTracks) {
					continue
				}
				if err != nil {
					t.Fatalf("%v after %v, %v", err, n, d.Warnings())
				}
				n[p.Track]++
			}
			if tr := d.Tracks(); len(tr) != 2 || tr[0].Codec != av.H264 || n[1] < 50 {
				t.Errorf("%v packets of %+v", n, tr)
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
			for err = nil; err == nil; {
				_, err = d.ReadPacket(av.Heap{}) // first what had come before
			}
			if !errors.Is(err, fs.ErrClosed) {
				t.Errorf("behind Close: %v", err)
			}
		})
	}
}

// fake is a server that answers by hand.
func fake(t *testing.T, answer func(method, cseq string) string) *url.URL {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		group.Wait()
	})
	group.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			group.Go(func() {
				defer c.Close()
				b := make([]byte, 4096)
				for {
					n, err := c.Read(b)
					if err != nil {
						return
					}
					method, rest, _ := strings.Cut(string(b[:n]), " ")
					_, cseq, _ := strings.Cut(rest, "CSeq: ")
					cseq, _, _ = strings.Cut(cseq, "\r\n")
					io.WriteString(c, answer(method, cseq))
				}
			})
		}
	})
	u, err := url.Parse("rtsp://" + l.Addr().String() + "/a")
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestPullRefuses(t *testing.T) {
	options := func(cseq string) string {
		return "RTSP/1.0 200 OK\r\nCSeq: " + cseq + "\r\nPublic: DESCRIBE, SETUP, PLAY\r\n\r\n"
	}
	describe := func(sdp string) func(method, cseq string) string {
		return func(method, cseq string) string {
			if method == "OPTIONS" {
				return options(cseq)
			}
			return fmt.Sprintf("RTSP/1.0 200 OK\r\nCSeq: %s\r\nContent-Type: application/sdp\r\nContent-Base: rtsp://127.0.0.1/a/\r\nContent-Length: %d\r\n\r\n%s", cseq, len(sdp), sdp)
		}
	}
	head := "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\n"
	for name, answer := range map[string]func(method, cseq string) string{
		"not found": func(method, cseq string) string {
			if method == "OPTIONS" {
				return options(cseq)
			}
			return "RTSP/1.0 404 Not Found\r\nCSeq: " + cseq + "\r\n\r\n"
		},
		"not an SDP":    describe("hello"),
		"no media":      describe(head),
		"unknown codec": describe(head + "m=video 0 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n"),
		"17 media":      describe(head + strings.Repeat("m=audio 0 RTP/AVP 96\r\na=rtpmap:96 opus/48000/2\r\n", 17)),
		"garbage":       func(string, string) string { return "\x00\x01\x02\r\n\r\n" },
	} {
		t.Run(name, func(t *testing.T) {
			d, err := Pull(t.Context(), fake(t, answer), PullConfig{Transport: "tcp", IdleTimeout: time.Second})
			if err == nil {
				d.Close()
				t.Error("no error")
			}
		})
	}
}

// HOSTILE: a server that sends on for ever.
func TestPullRedirects(t *testing.T) {
	var u *url.URL
	n := 0
	u = fake(t, func(method, cseq string) string {
		if method == "OPTIONS" {
			return "RTSP/1.0 200 OK\r\nCSeq: " + cseq + "\r\nPublic: DESCRIBE\r\n\r\n"
		}
		n++
		return "RTSP/1.0 302 Found\r\nCSeq: " + cseq + "\r\nLocation: " + u.String() + "\r\n\r\n"
	})
	if d, err := Pull(t.Context(), u, PullConfig{Transport: "tcp"}); err == nil {
		d.Close()
		t.Error("no error")
	}
	if n > maxDials {
		t.Errorf("%d redirects were followed", n)
	}
}

// The policy of who pulls decides about addresses.
func TestPullDial(t *testing.T) {
	no := errors.New("not allowed")
	u, _ := url.Parse("rtsp://127.0.0.1:1/a")
	_, err := Pull(t.Context(), u, PullConfig{Dial: func(context.Context, string, string) (net.Conn, error) { return nil, no }})
	if !errors.Is(err, no) {
		t.Errorf("%v", err)
	}
	if _, err := Pull(t.Context(), u, PullConfig{Transport: "smoke"}); err == nil {
		t.Error("a transport that is none")
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(no)
	if _, err := Pull(ctx, u, PullConfig{}); !errors.Is(err, no) {
		t.Errorf("%v", err)
	}
}
