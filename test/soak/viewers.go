package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/format/hls"
	"github.com/cleave-video/cleave/internal/pace"
	"github.com/cleave-video/cleave/proto/rtmp"
	"github.com/cleave-video/cleave/proto/rtsp"
	"github.com/cleave-video/cleave/proto/srt"
)

// viewers are those that there may be.
func (r *rig) viewers() []kind {
	endless := func(name, suffix string, header ...string) kind {
		return kind{name, func(ctx context.Context, r *rig, n int, a *act) error {
			return r.read(ctx, "/"+streamOf(n)+suffix, a, header...)
		}}
	}
	pulled := func(name string, open func(ctx context.Context, r *rig, n int) (av.Demuxer, error)) kind {
		return kind{name, func(ctx context.Context, r *rig, n int, a *act) error {
			d, err := open(ctx, r, n)
			if err != nil {
				return fmt.Errorf("%w: %w", errRefused, err)
			}
			defer d.Close()
			for {
				p, err := d.ReadPacket(av.Heap{})
				if err != nil && !errors.Is(err, av.ErrTracks) {
					return err
				}
				a.Bytes.Add(int64(len(p.Data)))
			}
		}}
	}
	return []kind{
		{"LL-HLS", lowLatency}, {"LL-HLS", lowLatency},
		{"HLS in TS", transport},
		{"DASH", dash},
		endless("HTTP-FLV", ".flv"), endless("HTTP-TS", ".ts"), endless("HTTP-fMP4", ".mp4"),
		endless("frames, events", "/frames", "Accept", "text/event-stream"), endless("frames, payload", "/frames?payload=1"),
		{"WS-FLV", socket},
		{"frames one by one, key frames, GOPs", clips},
		{"HTTP-FLV, does not read", dawdle},
		{"requests that are given up", giveUp},
		pulled("RTMP out", func(ctx context.Context, r *rig, n int) (av.Demuxer, error) {
			return demuxer(rtmp.Pull(ctx, r.rtmp(streamOf(n)), rtmp.PullConfig{}))
		}),
		pulled("RTSP out", func(ctx context.Context, r *rig, n int) (av.Demuxer, error) {
			return demuxer(rtsp.Pull(ctx, &url.URL{Scheme: "rtsp", Host: r.server.RTSP, Path: "/" + streamOf(n)}, rtsp.PullConfig{Transport: "tcp"}))
		}),
		pulled("SRT out", func(ctx context.Context, r *rig, n int) (av.Demuxer, error) {
			return demuxer(srt.Pull(ctx, &url.URL{Scheme: "srt", Host: r.server.SRT, RawQuery: "streamid=read:" + streamOf(n)}, srt.PullConfig{}))
		}),
	}
}

func streamOf(n int) string { return name(n) }

// demuxer keeps a nil pointer from becoming a Demuxer that is not nil.
func demuxer[D av.Demuxer](d D, err error) (av.Demuxer, error) {
	if err != nil {
		return nil, err
	}
	return d, nil
}

// read reads an answer that has no end.
func (r *rig) read(ctx context.Context, path string, a *act, header ...string) error {
	res, err := r.get(ctx, path, header...)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	n, err := io.Copy(io.Discard, res.Body)
	a.Bytes.Add(n)
	return err
}

// fetch returns a whole answer.
func (r *rig) fetch(ctx context.Context, path string, a *act) ([]byte, error) {
	res, err := r.get(ctx, path)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	a.Bytes.Add(int64(len(b)))
	return b, err
}

// lowLatency plays: it asks for each next part's playlist, and for what that hints at,
// which both wait.
func lowLatency(ctx context.Context, r *rig, n int, a *act) error {
	base := "/" + streamOf(n) + "/video0/"
	query := ""
	for ctx.Err() == nil {
		b, err := r.fetch(ctx, base+"index.m3u8"+query, a)
		if err != nil {
			return err
		}
		m, err := new(hls.Reader).Media(b)
		if err != nil {
			return err
		}
		if m.EndList || len(m.Segments) == 0 {
			return nil
		}
		last := len(m.Segments) - 1
		next, part := m.Sequence+m.Skipped+int64(last)+1, 0
		if s := &m.Segments[last]; s.URI == "" { // it is open
			next, part = next-1, len(s.Parts)
		}
		query = fmt.Sprintf("?_HLS_msn=%d&_HLS_part=%d&_HLS_skip=YES", next, part)
		for _, h := range m.Hints {
			if h.Type == "PART" {
				if _, err := r.fetch(ctx, base+h.URI, a); err != nil && !errors.Is(err, errRefused) {
					return err
				}
			}
		}
	}
	return nil
}

// transport plays HLS in MPEG-TS: the newest segment of each playlist.
func transport(ctx context.Context, r *rig, n int, a *act) error {
	for last := ""; ctx.Err() == nil; _ = pace.Sleep(ctx, time.Second) {
		b, err := r.fetch(ctx, "/"+streamOf(n)+"/ts/index.m3u8", a)
		if err != nil {
			return err
		}
		lines := strings.Fields(string(b))
		if uri := lines[len(lines)-1]; strings.HasSuffix(uri, ".ts") && uri != last {
			last = uri
			if _, err := r.fetch(ctx, "/"+streamOf(n)+"/ts/"+uri, a); err != nil {
				return err
			}
		}
	}
	return nil
}

// segmentURI is what playlists call segments.
var segmentURI = regexp.MustCompile(`(?m)^[0-9]+-[0-9]+\.m4s$`)

// dash asks for manifests, and for the segment that is open, which is sent as it grows.
func dash(ctx context.Context, r *rig, n int, a *act) error {
	base := "/" + streamOf(n)
	for ctx.Err() == nil {
		if _, err := r.fetch(ctx, base+"/manifest.mpd", a); err != nil {
			return err
		}
		b, err := r.fetch(ctx, base+"/video0/index.m3u8", a)
		if err != nil {
			return err
		}
		all := segmentURI.FindAllString(string(b), -1)
		if len(all) == 0 {
			return nil
		}
		var epoch, msn int64
		if _, err := fmt.Sscanf(all[len(all)-1], "%d-%d.m4s", &epoch, &msn); err != nil {
			return err
		}
		if _, err := r.fetch(ctx, fmt.Sprintf("%s/video0/%d-%d.m4s", base, epoch, msn+1), a); err != nil {
			return err
		}
	}
	return nil
}

// socket reads FLV by a WebSocket.
func socket(ctx context.Context, r *rig, n int, a *act) error {
	ws, res, err := websocket.Dial(ctx, "ws://"+r.server.HTTP+"/"+streamOf(n)+".flv", nil)
	if err != nil {
		if res != nil {
			return fmt.Errorf("%w: %s", errRefused, res.Status)
		}
		return err
	}
	defer ws.CloseNow() //nolint:errcheck // it is left in the middle
	ws.SetReadLimit(64 << 20)
	for {
		_, b, err := ws.Read(ctx)
		if err != nil {
			return err
		}
		a.Bytes.Add(int64(len(b)))
	}
}

// clips asks for key frames, GOPs and the next frame, in turn.
func clips(ctx context.Context, r *rig, n int, a *act) error {
	for i := 0; ctx.Err() == nil; i++ {
		if _, err := r.fetch(ctx, "/"+streamOf(n)+[]string{"/keyframe", "/gop?format=mp4", "/frames?after=0", "/keyframe?index=-3&format=mp4", "/"}[i%5], a); err != nil {
			return err
		}
		_ = pace.Sleep(ctx, 200*time.Millisecond)
	}
	return nil
}

// dawdle asks for FLV and reads next to nothing.
func dawdle(ctx context.Context, r *rig, n int, a *act) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", r.server.HTTP)
	if err != nil {
		return err
	}
	defer conn.Close()
	if c, ok := conn.(*net.TCPConn); ok {
		_ = c.SetReadBuffer(4096)
	}
	if _, err := fmt.Fprintf(conn, "GET /%s.flv HTTP/1.1\r\nHost: x\r\n\r\n", streamOf(n)); err != nil {
		return err
	}
	b := make([]byte, 64)
	for pace.Sleep(ctx, time.Second) == nil {
		_ = conn.SetReadDeadline(time.Now().Add(time.Second))
		k, err := conn.Read(b)
		a.Bytes.Add(int64(k))
		var late net.Error
		if err != nil && (!errors.As(err, &late) || !late.Timeout()) {
			return err
		}
	}
	return nil
}

// giveUp begins requests of all kinds and leaves within half a second.
func giveUp(ctx context.Context, r *rig, n int, a *act) error {
	paths := []string{".flv", ".ts", ".mp4", "/video0/index.m3u8?_HLS_msn=99999", "/index.m3u8", "/frames?after=999999999", "/manifest.mpd", "/ts/index.m3u8", "/nobody/index.m3u8"}
	for ctx.Err() == nil {
		within, cancel := context.WithTimeout(ctx, time.Duration(20+a.random.IntN(480))*time.Millisecond)
		_ = r.read(within, "/"+streamOf(a.random.IntN(streams))+paths[a.random.IntN(len(paths))], a)
		cancel()
		_ = pace.Sleep(ctx, 50*time.Millisecond)
	}
	return nil
}
