package interop

import (
	"context"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cleave-video/cleave/ingest/file"
	"github.com/cleave-video/cleave/proto/rtmp"
)

// Ingest is a way in: a row of the tables.
type Ingest struct {
	Name string
	// Twin says that the row is run with H.264 + AAC only, and of which row it is a twin
	// in what it carries.
	Twin string
	kind func(file string) kind
	// lacks says why the protocol or the program does not carry c; empty if it does.
	lacks func(c Codec) string
	begin func(ctx context.Context, s *session) (stop func() string, err error)
}

// session is what a publisher needs to know.
type session struct {
	codec Codec
	file  string
	dir   string // for what it writes
	home  string // of programs that run as nobody
	host  *host
}

// carries makes a rule of what is carried. why names who does not.
func carries(why string, reordered bool, codecs ...string) func(Codec) string {
	return func(c Codec) string {
		for _, name := range []string{c.Video, c.Audio} {
			if name != "" && !slices.Contains(codecs, name) {
				return why + " has no " + spelt(name)
			}
		}
		if c.Reordered && !reordered {
			return why + " has no B-frames"
		}
		return ""
	}
}

// spelt is the name of a codec for readers.
func spelt(name string) string {
	return map[string]string{"h264": "H.264", "hevc": "H.265", "av1": "AV1", "vp9": "VP9", "aac": "AAC", "ac3": "AC-3", "mp3": "MP3", "opus": "Opus"}[name]
}

// What each carries.
func inFLV() func(Codec) string {
	return carries("FLV as ffmpeg 5.1 and GStreamer 1.22 write it", true, "h264", "aac", "mp3")
}

func inTS() func(Codec) string {
	return carries("MPEG-TS", true, "h264", "hevc", "aac", "mp3", "ac3", "opus")
}

func everything(Codec) string { return "" }

// Ingests returns every way in.
func Ingests() []Ingest {
	l := append(pushesRTMP(), pushesSRT()...)
	l = append(l, pushesRTSP()...)
	l = append(l, pushesHTTP()...)
	return append(l, pulls()...)
}

func plain(string) kind { return kind{} }

// ffmpegTo is an ffmpeg that sends the file at its own speed.
func ffmpegTo(file string, args ...string) func(ctx context.Context) *process {
	return func(ctx context.Context) *process {
		all := append([]string{"-v", "error", "-nostdin", "-re", "-i", file, "-c", "copy", "-strict", "experimental"}, args...)
		return program(ctx, "ffmpeg", all...)
	}
}

// sends is an Ingest's begin by one ffmpeg.
func sends(args func(s *session) []string) func(ctx context.Context, s *session) (func() string, error) {
	return func(ctx context.Context, s *session) (func() string, error) {
		return start(ctx, ffmpegTo(s.file, args(s)...))
	}
}

// launches is an Ingest's begin by GStreamer: mux is what the tracks are linked to, under
// the name m.
func launches(mux func(s *session) string) func(ctx context.Context, s *session) (func() string, error) {
	parsers := map[string]string{"h264": "h264parse", "hevc": "h265parse", "vp9": "vp9parse", "av1": "av1parse", "aac": "aacparse", "mp3": "mpegaudioparse", "ac3": "ac3parse", "opus": "opusparse"}
	return func(ctx context.Context, s *session) (func() string, error) {
		pipe := mux(s) + " filesrc location=" + s.file + " ! qtdemux name=d"
		if v := s.codec.Video; v != "" {
			pipe += " d.video_0 ! queue ! " + parsers[v] + " ! clocksync ! m."
		}
		if a := s.codec.Audio; a != "" {
			pipe += " d.audio_0 ! queue ! " + parsers[a] + " ! clocksync ! m."
		}
		return start(ctx, func(ctx context.Context) *process {
			return program(ctx, "gst-launch-1.0", append([]string{"-q"}, strings.Fields(pipe)...)...)
		})
	}
}

func pushesRTMP() []Ingest {
	secured := func(string) kind { return kind{tls: true} }
	return []Ingest{
		{Name: "RTMP, ffmpeg", kind: plain, lacks: inFLV(), begin: sends(func(s *session) []string { return []string{"-f", "flv", s.host.rtmp()} })},
		{
			Name: "RTMP, GStreamer flvmux and rtmp2sink", kind: plain, lacks: inFLV(),
			begin: launches(func(s *session) string { return "flvmux name=m streamable=true ! rtmp2sink location=" + s.host.rtmp() }),
		},
		{
			Name: "Enhanced RTMP, cleave's own client", kind: plain, lacks: everything,
			begin: sendsEnhanced,
		},
		{Name: "RTMPS, ffmpeg", Twin: "RTMP, ffmpeg", kind: secured, lacks: inFLV(), begin: sends(func(s *session) []string {
			return []string{"-f", "flv", "rtmps://" + s.host.addrs.RTMPS.String() + "/" + name}
		})},
	}
}

// sendsEnhanced publishes by cleave's client, since neither ffmpeg 5.1 nor GStreamer 1.22
// speaks Enhanced RTMP.
func sendsEnhanced(ctx context.Context, s *session) (func() string, error) {
	ctx, cancel := context.WithCancel(ctx)
	d, err := file.PlayLive(ctx, []string{s.file}, true)
	if err != nil {
		cancel()
		return nil, err
	}
	c, err := rtmp.Dial(ctx, s.host.rtmp())
	if err != nil {
		cancel()
		d.Close()
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Publish(d) }()
	return func() string {
		cancel()
		d.Close()
		err := <-ended
		c.Close()
		if err != nil && ctx.Err() == nil {
			return err.Error()
		}
		return ""
	}, nil
}

func pushesSRT() []Ingest {
	secret := func(string) kind { return kind{secret: true} }
	byFFmpeg := sends(func(s *session) []string {
		args := []string{"-f", "mpegts", "-srt_streamid", "publish:" + name}
		if s.host.secret {
			args = append(args, "-passphrase", passphrase)
		}
		return append(args, s.host.srt()+"?pkt_size=1316")
	})
	byGStreamer := launches(func(s *session) string {
		uri := s.host.srt() + "?streamid=publish:" + name
		if s.host.secret {
			uri += "&passphrase=" + passphrase
		}
		return "mpegtsmux name=m alignment=7 ! srtsink uri=" + uri
	})
	byTransmit := func(ctx context.Context, s *session) (func() string, error) {
		uri := s.host.srt() + "?streamid=#!::r=" + name + ",m=publish"
		if s.host.secret {
			uri += "&passphrase=" + passphrase
		}
		return start(ctx, ffmpegTo(s.file, "-f", "mpegts", "-"), func(ctx context.Context) *process {
			return program(ctx, "srt-live-transmit", "-q", "-chunk:1316", "file://con", uri)
		})
	}
	return []Ingest{
		{Name: "SRT, ffmpeg", kind: plain, lacks: inTS(), begin: byFFmpeg},
		{Name: "SRT, GStreamer mpegtsmux and srtsink", kind: plain, lacks: inTS(), begin: byGStreamer},
		{Name: "SRT, ffmpeg into srt-live-transmit", kind: plain, lacks: inTS(), begin: byTransmit},
		{Name: "SRT with a passphrase, ffmpeg", Twin: "SRT, ffmpeg", kind: secret, lacks: inTS(), begin: byFFmpeg},
		{Name: "SRT with a passphrase, GStreamer", Twin: "SRT, GStreamer", kind: secret, lacks: inTS(), begin: byGStreamer},
		{Name: "SRT with a passphrase, srt-live-transmit", Twin: "SRT, srt-live-transmit", kind: secret, lacks: inTS(), begin: byTransmit},
	}
}

func pushesRTSP() []Ingest {
	datagrams := func(string) kind { return kind{udp: true} }
	byFFmpeg := func(transport string) func(ctx context.Context, s *session) (func() string, error) {
		return sends(func(s *session) []string { return []string{"-f", "rtsp", "-rtsp_transport", transport, s.host.rtsp()} })
	}
	byGStreamer := func(transport string) func(ctx context.Context, s *session) (func() string, error) {
		return launches(func(s *session) string {
			return "rtspclientsink name=m protocols=" + transport + " location=" + s.host.rtsp()
		})
	}
	ffmpeg := carries("RTP as ffmpeg 5.1 writes it", true, "h264", "hevc", "vp9", "aac", "mp3", "opus")
	gst := carries("RTP as GStreamer 1.22 writes it", true, "h264", "hevc", "vp9", "aac", "mp3", "opus", "ac3")
	return []Ingest{
		{Name: "RTSP by TCP, ffmpeg", kind: plain, lacks: ffmpeg, begin: byFFmpeg("tcp")},
		{Name: "RTSP by TCP, GStreamer rtspclientsink", kind: plain, lacks: gst, begin: byGStreamer("tcp")},
		{Name: "RTSP by UDP, ffmpeg", Twin: "RTSP by TCP, ffmpeg", kind: datagrams, lacks: ffmpeg, begin: byFFmpeg("udp")},
		{Name: "RTSP by UDP, GStreamer rtspclientsink", Twin: "RTSP by TCP, GStreamer", kind: datagrams, lacks: gst, begin: byGStreamer("udp")},
	}
}

// fragmented are ffmpeg's options for MP4 in fragments, also without pictures.
func fragmented() []string {
	return []string{"-f", "mp4", "-movflags", "empty_moov+frag_keyframe+default_base_moof+delay_moov", "-frag_duration", "1000000"}
}

func pushesHTTP() []Ingest {
	formats := []struct {
		name, method string
		suffix       string
		lacks        func(Codec) string
		args         []string
	}{
		{"MPEG-TS", "PUT", ".ts", inTS(), []string{"-f", "mpegts"}},
		{"FLV", "POST", ".flv", inFLV(), []string{"-f", "flv"}},
		{"fragmented MP4", "PUT", ".mp4", everything, fragmented()},
	}
	var byFFmpeg, byCurl []Ingest
	for _, f := range formats {
		byFFmpeg = append(byFFmpeg, Ingest{
			Name: "HTTP " + f.method + " of " + f.name + ", ffmpeg", kind: plain, lacks: f.lacks,
			begin: sends(func(s *session) []string {
				return append(slices.Clone(f.args), "-method", f.method, s.host.http()+"/"+name+f.suffix)
			}),
		})
		byCurl = append(byCurl, Ingest{
			Name: "HTTP " + f.method + " of " + f.name + ", curl", Twin: "HTTP " + f.method + ", ffmpeg", kind: plain, lacks: f.lacks,
			begin: func(ctx context.Context, s *session) (func() string, error) {
				return start(ctx, ffmpegTo(s.file, append(slices.Clone(f.args), "-")...), func(ctx context.Context) *process {
					return program(ctx, "curl", "-sS", "-f", "-X", f.method, "-T", "-", s.host.http()+"/"+name+f.suffix)
				})
			},
		})
	}
	return append(byFFmpeg, byCurl...)
}

// served has what the host pulls served by another program, and declares it.
func served(url func(port string) string, serve func(s *session, port string) func(ctx context.Context) *process) func(ctx context.Context, s *session) (func() string, error) {
	return func(ctx context.Context, s *session) (func() string, error) {
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		stop, err := start(ctx, serve(s, port))
		if err != nil {
			return nil, err
		}
		if err := s.host.declare(ctx, url(port)); err != nil {
			return nil, failure(err, stop())
		}
		return stop, nil
	}
}

// relayed has what the host pulls served by a second server, to which ffmpeg puts MP4.
func relayed(url func(h *host) string) func(ctx context.Context, s *session) (func() string, error) {
	return func(ctx context.Context, s *session) (func() string, error) {
		origin, err := newHost(ctx, filepath.Join(s.dir, "origin"), kind{}, nil)
		if err != nil {
			return nil, err
		}
		stop, err := start(ctx, ffmpegTo(s.file, append(fragmented(), "-method", "PUT", origin.http()+"/"+name+".mp4")...))
		if err != nil {
			origin.stop()
			return nil, err
		}
		both := func() string { text := stop(); origin.stop(); return text }
		if _, err := origin.begins(ctx, s.codec); err != nil {
			return nil, failure(err, both())
		}
		if err := s.host.declare(ctx, url(origin)); err != nil {
			return nil, failure(err, both())
		}
		return both, nil
	}
}

func listening(format, scheme, path string, options ...string) func(ctx context.Context, s *session) (func() string, error) {
	return served(func(port string) string { return scheme + "://" + port + path }, func(s *session, port string) func(ctx context.Context) *process {
		return ffmpegTo(s.file, append(append([]string{"-f", format}, options...), scheme+"://"+port+path)...)
	})
}

func pulls() []Ingest {
	srtListener := served(func(port string) string { return "srt://" + port }, func(s *session, port string) func(ctx context.Context) *process {
		return ffmpegTo(s.file, "-f", "mpegts", "srt://"+port+"?mode=listener&pkt_size=1316")
	})
	vlc := served(func(port string) string { return "rtsp://" + port + "/cam" }, func(s *session, port string) func(ctx context.Context) *process {
		return func(ctx context.Context) *process {
			p := program(ctx, "vlc", "-I", "dummy", "--verbose", "0", "--loop", s.file, "--sout", "#rtp{sdp=rtsp://"+port+"/cam}", "--sout-keep", "--sout-all")
			p.asNobody(s.home)
			return p
		}
	})
	return []Ingest{
		{Name: "RTMP pulled from ffmpeg -listen", kind: plain, lacks: inFLV(), begin: listening("flv", "rtmp", "/"+name, "-listen", "1")},
		{Name: "RTMP pulled from a second cleave", kind: plain, lacks: everything, begin: relayed(func(h *host) string { return h.rtmp() })},
		{Name: "RTSP pulled from VLC", kind: plain, lacks: carries("RTP as VLC writes it", true, "h264", "hevc", "aac", "mp3", "opus", "ac3"), begin: vlc},
		{Name: "SRT pulled from an ffmpeg listener", kind: plain, lacks: inTS(), begin: srtListener},
		{Name: "SRT pulled from a second cleave", Twin: "SRT pulled from ffmpeg", kind: plain, lacks: inTS(), begin: relayed(func(h *host) string { return h.srt() + "?streamid=read:" + name })},
		{Name: "HTTP-FLV pulled from ffmpeg -listen", Twin: "HTTP POST of FLV, ffmpeg", kind: plain, lacks: inFLV(), begin: listening("flv", "http", "/cam.flv", "-listen", "1")},
		{Name: "HTTP-FLV pulled from a second cleave", kind: plain, lacks: everything, begin: relayed(func(h *host) string { return h.http() + "/" + name + ".flv" })},
		{Name: "HTTP-TS pulled from ffmpeg -listen", Twin: "HTTP PUT of MPEG-TS, ffmpeg", kind: plain, lacks: inTS(), begin: listening("mpegts", "http", "/cam.ts", "-listen", "1")},
		{Name: "HTTP-TS pulled from a second cleave", kind: plain, lacks: inTS(), begin: relayed(func(h *host) string { return h.http() + "/" + name + ".ts" })},
		{Name: "HLS of TS pulled, packaged by ffmpeg", kind: plain, lacks: inTS(), begin: packaged("mpegts")},
		{Name: "HLS of fMP4 pulled, packaged by ffmpeg", kind: plain, lacks: everything, begin: packaged("fmp4")},
		{Name: "HLS pulled from a second cleave", Twin: "HLS of fMP4 pulled", kind: plain, lacks: everything, begin: relayed(func(h *host) string { return h.http() + "/" + name + "/index.m3u8" })},
		{
			Name: "file, over and over", kind: func(f string) kind { return kind{source: "file://" + f} }, lacks: everything,
			begin: func(context.Context, *session) (func() string, error) { return func() string { return "" }, nil },
		},
	}
}

// packaged has ffmpeg write a live playlist, and serves the folder.
func packaged(segments string) func(ctx context.Context, s *session) (func() string, error) {
	return func(ctx context.Context, s *session) (func() string, error) {
		dir := filepath.Join(s.dir, "hls")
		stop, err := start(ctx, ffmpegTo(s.file, "-f", "hls", "-hls_time", "1", "-hls_list_size", "8", "-hls_flags", "delete_segments", "-hls_segment_type", segments, filepath.Join(dir, "cam.m3u8")))
		if err != nil {
			return nil, err
		}
		w := httptest.NewServer(http.FileServer(http.Dir(dir)))
		both := func() string { text := stop(); w.Close(); return text }
		if err := s.host.declare(ctx, w.URL+"/cam.m3u8"); err != nil {
			return nil, failure(err, both())
		}
		return both, nil
	}
}
