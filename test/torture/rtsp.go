package torture

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/cleave-video/cleave/internal/pace"
)

// speaker speaks RTSP by hand.
type speaker struct {
	net.Conn
	in      *bufio.Reader
	n       int
	session string
	url     string
}

func (r *rig) speak(ctx context.Context, name string) (*speaker, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", r.RTSP)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(40 * time.Second))
	return &speaker{Conn: conn, in: bufio.NewReader(conn), url: "rtsp://" + r.RTSP + "/" + name}, nil
}

// do sends a request and returns its status; 0 if the connection ended, -1 if neither
// came in time.
func (s *speaker) do(method, path, body string, headers ...string) (code int) {
	s.n++
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s%s RTSP/1.0\r\nCSeq: %d\r\n", method, s.url, path, s.n)
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	if s.session != "" {
		fmt.Fprintf(&b, "Session: %s\r\n", s.session)
	}
	if body != "" {
		fmt.Fprintf(&b, "Content-Type: application/sdp\r\nContent-Length: %d\r\n", len(body))
	}
	if _, err := s.Write([]byte(b.String() + "\r\n" + body)); err != nil {
		return 0
	}
	for {
		line, err := s.in.ReadString('\n')
		var late net.Error
		if errors.As(err, &late) && late.Timeout() {
			return -1
		}
		if err != nil {
			return 0
		}
		if line = strings.TrimSpace(line); line == "" {
			return code
		}
		if rest, ok := strings.CutPrefix(line, "RTSP/1.0 "); ok {
			_, _ = fmt.Sscan(rest, &code)
		}
		if id, ok := strings.CutPrefix(line, "Session: "); ok {
			s.session, _, _ = strings.Cut(id, ";")
		}
	}
}

const (
	sdpHead     = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\n"
	opusMedia   = "m=audio 0 RTP/AVP 96\r\na=rtpmap:96 opus/48000/2\r\na=control:trackID=0\r\n"
	h264Media   = "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1; sprop-parameter-sets=Z0LAHtkA2D3m8BEAAAMAAQAAAwAyDxYuSA==,aMuMsg==\r\na=control:trackID=0\r\n"
	interleaved = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1;mode=record"
)

// record brings a session to where it publishes.
func (s *speaker) record(media string) error {
	for _, q := range [][]string{{"ANNOUNCE", "", sdpHead + media}, {"SETUP", "/trackID=0", "", interleaved}, {"RECORD", "", ""}} {
		if code := s.do(q[0], q[1], q[2], q[3:]...); code != 200 {
			return fmt.Errorf("%s: %d", q[0], code)
		}
	}
	return nil
}

// rtp sends a packet of RTP.
func (s *speaker) rtp(n int, at uint32, payload []byte) {
	b := append([]byte{'$', 0, 0, 0, 0x80, 96}, byte(n>>8), byte(n))
	b = binary.BigEndian.AppendUint32(b, at)
	b = append(binary.BigEndian.AppendUint32(b, 7), payload...)
	b[2], b[3] = byte((len(b)-4)>>8), byte(len(b)-4)
	_, _ = s.Write(b) // it may be closed
}

// says is a trial of requests, whose last answer must be an error, or the end.
func says(row int, sent string, do func(s *speaker) int) trial {
	return trial{row: row, sent: sent, run: func(ctx context.Context, r *rig) (string, error) {
		s, err := r.speak(ctx, "torture/says")
		if err != nil {
			return "", err
		}
		defer s.Close()
		switch code := do(s); {
		case code == 0:
			return "closed", nil
		case code < 0:
			return "", errors.New("neither an answer nor the end came in 40 s")
		case code < 300:
			return fmt.Sprint(code), errors.New("it was accepted")
		default:
			return fmt.Sprint(code), nil
		}
	}}
}

func rtspTrials() []trial {
	media := strings.Replace(opusMedia, "a=control:trackID=0\r\n", "", 1)
	setup := func(s *speaker, path string) int { return s.do("SETUP", path, "", interleaved) }
	return append([]trial{
		says(48, "SDP of 5,000 media", func(s *speaker) int {
			return s.do("ANNOUNCE", "", sdpHead+strings.Repeat("m=audio 0 RTP/AVP 96\r\n", 5000))
		}),
		says(48, "SDP of 17 media", func(s *speaker) int { return s.do("ANNOUNCE", "", sdpHead+strings.Repeat(media, 17)) }),
		says(48, "SDP that is none", func(s *speaker) int { return s.do("ANNOUNCE", "", "\x00\xff") }),
		says(48, "Content-Length -1", func(s *speaker) int { return s.do("ANNOUNCE", "", "", "Content-Length: -1") }),
		says(48, "Content-Length 2^63", func(s *speaker) int { return s.do("ANNOUNCE", "", "", "Content-Length: 9223372036854775808") }),
		says(48, "a header of 1 MiB", func(s *speaker) int { return s.do("OPTIONS", "", "", "X: "+strings.Repeat("x", 1<<20)) }),
		says(48, "10,000 headers", func(s *speaker) int { return s.do("OPTIONS", "", "", strings.Repeat("X: 1\r\n", 10000)+"Y: 1") }),
		says(48, "a header continued on the next line", func(s *speaker) int { return s.do("OPTIONS", "", "", "X: 1\r\n 2") }),
		says(48, "garbage", func(s *speaker) int { return s.do("\x16\x03\x01\x02\x00\x01 \xff", "\r\n\r\n", "") }),
		says(49, "RECORD first", func(s *speaker) int { return s.do("RECORD", "", "") }),
		says(49, "PLAY first", func(s *speaker) int { return s.do("PLAY", "", "") }),
		says(49, "ANNOUNCE twice", func(s *speaker) int {
			s.do("ANNOUNCE", "", sdpHead+opusMedia)
			return s.do("ANNOUNCE", "", sdpHead+opusMedia)
		}),
		says(49, "SETUP twice", func(s *speaker) int {
			s.do("ANNOUNCE", "", sdpHead+opusMedia)
			setup(s, "/trackID=0")
			return setup(s, "/trackID=0")
		}),
		says(49, "SETUP of a track that is not there", func(s *speaker) int {
			s.do("ANNOUNCE", "", sdpHead+opusMedia)
			return setup(s, "/trackID=9")
		}),
		says(59, "ANNOUNCE of a name with ..", func(s *speaker) int {
			s.url = strings.TrimSuffix(s.url, "/torture/says") + "/live/../../etc"
			s.do("ANNOUNCE", "", sdpHead+opusMedia)
			setup(s, "/trackID=0")
			return s.do("RECORD", "", "")
		}),
	}, rtpTrials()...)
}

// rtpTrials are packets between those of an Opus stream of 4 s, which must come.
func rtpTrials() []trial {
	between := func(row int, sent, key string, from uint32, frames int, junk ...string) trial {
		return trial{row: row, sent: sent, run: func(ctx context.Context, r *rig) (string, error) {
			s, err := r.speak(ctx, "torture/"+key)
			if err != nil {
				return "", err
			}
			defer s.Close()
			if err := s.record(opusMedia); err != nil {
				return "", err
			}
			began := time.Now()
			for n := range 200 {
				_ = pace.Sleep(ctx, time.Until(began.Add(time.Duration(n)*20*time.Millisecond)))
				s.rtp(n, from+uint32(n)*960, []byte{0xfc, 1, 2, 3})
				if n > 10 && len(junk) > 0 && n%10 == 0 {
					_, _ = s.Write([]byte(junk[n/10%len(junk)]))
				}
			}
			if frames == 0 {
				return "the server lives", nil
			}
			v, err := r.view(ctx, "torture/"+key, frames)
			if err == nil {
				err = (&want{breaks: 0}).check(v)
			}
			return v.String(), err
		}}
	}
	return []trial{
		between(28, "the 32-bit wrap of RTP's time", "wrap32", 1<<32-96000, 100),
		between(50, "RTP that is short, empty, or whose padding, extension and RTCP lie", "rtp", 0, 100,
			"$\x00\x00\x00", "$\x00\x00\x02\x80\x60", "$\x00\x00\x0d\xa0\x60\x00\x01\x00\x00\x00\x00\x00\x00\x00\x07\xff",
			"$\x00\x00\x10\x90\x60\x00\x01\x00\x00\x00\x00\x00\x00\x00\x07\x01\x02\xff\xff", "$\x01\x00\x04\x80\xc8\xff\xff"),
		{row: 50, sent: "H.264 of fragments without a start, aggregates that lie, empty payloads", run: func(ctx context.Context, r *rig) (string, error) {
			s, err := r.speak(ctx, "torture/fu")
			if err != nil {
				return "", err
			}
			defer s.Close()
			if err := s.record(h264Media); err != nil {
				return "", err
			}
			for n, p := range []string{"\x7c\x05abc", "\x7c\x45", "\x78\xff\xffabc", "\x78\x00\x00", "", "\x18", "\x00", "\x7c\x85\x00", "\x7c"} {
				s.rtp(n, uint32(n)*3000, []byte(p))
			}
			return fmt.Sprintf("TEARDOWN: %d", s.do("TEARDOWN", "", "")), nil
		}},
		{row: 51, sent: "64 frames of 64 KiB of a channel that was not set up", run: func(ctx context.Context, r *rig) (string, error) {
			s, err := r.speak(ctx, "torture/channel")
			if err != nil {
				return "", err
			}
			defer s.Close()
			if err := s.record(opusMedia); err != nil {
				return "", err
			}
			for range 64 {
				if _, err := s.Write(append([]byte{'$', 9, 0xff, 0xff}, make([]byte, 65535)...)); err != nil {
					return "closed", nil
				}
			}
			if code := s.do("TEARDOWN", "", ""); code > 0 {
				return fmt.Sprintf("dropped; TEARDOWN: %d", code), nil
			} else if code < 0 {
				return "", errors.New("the connection hangs")
			}
			return "closed", nil
		}},
	}
}
