package verify

import (
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/codec"
	"github.com/cleave-video/cleave/format/dash"
	"github.com/cleave-video/cleave/format/hls"
	"github.com/cleave-video/cleave/format/mp4"
	"github.com/cleave-video/cleave/format/ts"
	"github.com/cleave-video/cleave/pack"
)

// files is a packaged folder.
type files map[string][]byte

func (f files) clone() files { return maps.Clone(f) }

// check writes the files and runs the checker on them, or on one of them.
func (f files) check(t testing.TB, only string) *Report {
	t.Helper()
	dir := t.TempDir()
	for name, b := range f {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r, err := Run(t.Context(), Config{Input: filepath.Join(dir, only)})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func broken(r *Report, rule string) *Finding {
	for i := range r.Findings {
		if r.Findings[i].Rule == rule {
			return &r.Findings[i]
		}
	}
	return nil
}

// plan says how media is made; the zero plan is 6 s of 25 frames a second with a
// key frame a second, in segments of 2 s.
type plan struct {
	gop    int // frames
	per    int // video frames of a segment
	aper   int // audio frames of a segment
	offset int // frames before the first segment: it begins inside a GOP
	start  int64
	bytes  int
}

func (s plan) defaults() plan {
	if s.gop == 0 {
		s.gop = 25
	}
	if s.per == 0 {
		s.per = 50
	}
	if s.aper == 0 {
		s.aper = 94
	}
	if s.bytes == 0 {
		s.bytes = 400
	}
	return s
}

// media returns the packets of both tracks.
func (s plan) media(t testing.TB) (tracks []av.Track, video, audio []av.Packet) {
	g := avtest.ReadAll(t, avtest.NewSynthetic(avtest.Spec{
		Video: avtest.Video{Frames: 150 + s.offset, GOPs: []int{s.gop}, Size: s.bytes}, Audio: avtest.Audio{Frames: 282, Size: 60},
	}))[0]
	video, audio = g.Of(0)[s.offset:], g.Of(1)
	for i := range video {
		video[i].Dur = 1
	}
	for i := range audio {
		audio[i].Dur = 1024
	}
	return g.Tracks, video, audio
}

func runs(p []av.Packet, per int) (out [][]av.Packet) {
	for len(p) > 0 {
		n := min(per, len(p))
		out = append(out, p[:n])
		p = p[n:]
	}
	return out
}

// cmaf writes one track as a folder of CMAF with its playlist.
func (f files) cmaf(t testing.TB, dir string, track *av.Track, segments [][]av.Packet, start int64) (*hls.Media, *dash.Representation) {
	init, err := mp4.AppendInit(nil, track, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	f[dir+"/init.mp4"] = init
	info, _ := codec.Describe(track)
	m := &hls.Media{TargetDuration: 2, Sequence: 1, Type: hls.VOD, EndList: true, IndependentSegments: true, Map: hls.Map{URI: "init.mp4"}}
	rep := &dash.Representation{
		ID: dir, Codecs: info.String, Bandwidth: 1e6, Width: info.Width, Height: info.Height, SampleRate: info.SampleRate, Channels: info.Channels,
		Timescale: track.Timebase.Den, Init: dir + "/init.mp4", Media: dir + "/$Number$.m4s", StartNumber: 1, FrameRate: info.FrameRate,
	}
	var r pack.Segment
	sequence := uint32(1)
	for i, packets := range segments {
		sequence = r.Render(packets, pack.Style{TrackID: 1, Timebase: track.Timebase, Video: track.Kind == av.Video, Offset: start}, sequence)
		var b []byte
		for _, x := range r.Bufs {
			b = append(b, x...)
		}
		name := fmt.Sprintf("%d.m4s", i+1)
		f[dir+"/"+name] = b
		from, to := packets[0].DTS, packets[len(packets)-1].DTS+packets[len(packets)-1].Dur
		m.Segments = append(m.Segments, hls.Segment{URI: name, Span: hls.Span{Start: from, Dur: to - from, Timebase: track.Timebase}})
		rep.Segments = append(rep.Segments, dash.Segment{Start: from, Dur: to - from})
	}
	return m, rep
}

func bitrate(f files, dir string, m *hls.Media) (peak, mean int64) {
	p := &playlist{m: m}
	for i := range m.Segments {
		m.Segments[i].Span.Dur = m.Segments[i].Span.Timebase.Rescale(m.Segments[i].Span.Dur, av.Nanosecond)
		p.sizes = append(p.sizes, int64(len(f[dir+"/"+m.Segments[i].URI])))
	}
	a, b := p.rates()
	return int64(a) + 1, int64(b) + 1
}

// vod is a correct presentation: two videos, one audio, I-frames, HLS and DASH.
func vod(t testing.TB, s, second plan) files {
	t.Helper()
	s, second = s.defaults(), second.defaults()
	f := files{}
	tracks, video, audio := s.media(t)
	_, video2, _ := second.media(t)
	v, vr := f.cmaf(t, "v", &tracks[0], runs(video, s.per), 0)
	w, wr := f.cmaf(t, "w", &tracks[0], runs(video2, second.per), 0)
	a, ar := f.cmaf(t, "a", &tracks[1], runs(audio, s.aper), s.start)
	for dir, m := range map[string]*hls.Media{"v": v, "w": w, "a": a} {
		for i := range m.Segments {
			m.TargetDuration = max(m.TargetDuration, m.Segments[i].Span.Timebase.Rescale(m.Segments[i].Span.Dur, av.Timebase{Num: 1, Den: 1}))
		}
		f[dir+"/index.m3u8"] = m.Append(nil)
	}
	f["v/iframes.m3u8"] = f.iframes(t)
	vi, _ := codec.Describe(&tracks[0])
	ai, _ := codec.Describe(&tracks[1])
	ap, am := bitrate(f, "a", a)
	multi := &hls.Multivariant{
		IndependentSegments: true,
		Media:               []hls.Rendition{{Type: "AUDIO", GroupID: "a", Name: "English", Language: "en", Default: true, URI: "a/index.m3u8"}},
		IFrames:             []hls.Variant{{URI: "v/iframes.m3u8", Bandwidth: 50000, Codecs: vi.String, Width: 320, Height: 192}},
	}
	for _, x := range []struct {
		dir string
		m   *hls.Media
	}{{"v", v}, {"w", w}} {
		p, m := bitrate(f, x.dir, x.m)
		multi.Variants = append(multi.Variants, hls.Variant{
			URI: x.dir + "/index.m3u8", Bandwidth: p + ap, AverageBandwidth: m + am, Codecs: vi.String + "," + ai.String, Width: 320, Height: 192,
			FrameRate: av.Rational{Num: 25, Den: 1}, Audio: "a",
		})
	}
	f["index.m3u8"] = multi.Append(nil)
	p := &dash.Presentation{Periods: []dash.Period{{Duration: 6016e6, Sets: []dash.Set{
		{Kind: av.Video, StartsWithSAP: 1, Representation: *vr}, {Kind: av.Video, StartsWithSAP: 1, Representation: *wr}, {Kind: av.Audio, StartsWithSAP: 1, Representation: *ar},
	}}}}
	text, err := p.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	f["manifest.mpd"] = text
	return f
}

// iframes lists the key frames of v's first segment.
func (f files) iframes(t testing.TB) []byte {
	m := &hls.Media{TargetDuration: 1, Type: hls.VOD, IFramesOnly: true, EndList: true, Sequence: 1, Map: hls.Map{URI: "init.mp4"}}
	nodes, err := mp4.Tree(f["v/1.m4s"], 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range nodes {
		if nodes[i].Type == "moof" {
			m.Segments = append(m.Segments, hls.Segment{
				URI: "1.m4s", Range: hls.ByteRange{Offset: nodes[i].Offset, Length: nodes[i].Size() + 500},
				Span: hls.Span{Start: int64(len(m.Segments)), Dur: 1, Timebase: av.Timebase{Num: 1, Den: 1}},
			})
		}
	}
	return m.Append(nil)
}

// tsShape says how a transport stream is made.
type tsShape struct {
	data    bool // a stream of an unknown type
	audios  int  // 0: 1
	swap    bool // PTS before DTS
	discont bool // discontinuity_indicator in the second segment
	slow    bool // one frame a second
}

// tsvod is a correct media playlist of transport stream segments, unless x says
// otherwise.
func tsvod(t testing.TB, x tsShape) files {
	t.Helper()
	tracks, video, audio := plan{}.defaults().media(t)
	list := []av.Track{tracks[0], tracks[1]}
	for range max(x.audios, 1) - 1 {
		list = append(list, tracks[1])
	}
	if x.data {
		list = append(list, av.Track{Kind: av.Data, Codec: av.Private, Private: av.PrivateTS, Timebase: av.Clock90k, Config: []byte{0x99}})
	}
	mux, err := ts.NewMuxer(list)
	if err != nil {
		t.Fatal(err)
	}
	f := files{}
	m := &hls.Media{TargetDuration: 2, Sequence: 1, Type: hls.VOD, EndList: true, IndependentSegments: true}
	frame := int64(3600)
	if x.slow {
		frame = 90000
	}
	a := 0
	for i, run := range runs(video, 50) {
		if x.discont && i == 1 {
			mux.Discontinuity()
		}
		b := mux.AppendHeader(nil)
		for _, p := range run {
			dts := ts.PCRLead + p.DTS*frame
			for ; a < len(audio) && ts.PCRLead+int64(a)*1920 < dts; a++ {
				for k := range max(x.audios, 1) {
					q := audio[a]
					q.Track = 1 + k
					b = mux.AppendPacket(b, q, ts.PCRLead+int64(a)*1920, ts.PCRLead+int64(a)*1920)
				}
			}
			pts := dts
			if x.swap {
				pts -= 3600
			}
			b = mux.AppendPacket(b, p, dts, pts)
		}
		name := fmt.Sprintf("%d.ts", i+1)
		f[name] = b
		m.Segments = append(m.Segments, hls.Segment{URI: name, Span: hls.Span{Start: int64(i) * 50 * frame, Dur: 50 * frame, Timebase: av.Clock90k}})
	}
	m.TargetDuration = 50 * frame / 90000
	f["index.m3u8"] = m.Append(nil)
	return f
}

// low is a correct low-latency playlist whose parts are its fragments.
func low(t testing.TB) files {
	t.Helper()
	f := vod(t, plan{}, plan{})
	out := files{"init.mp4": f["v/init.mp4"]}
	text := "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:2\n#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12.0,HOLD-BACK=6.0,PART-HOLD-BACK=3.0\n" +
		"#EXT-X-PART-INF:PART-TARGET=1.0\n#EXT-X-MEDIA-SEQUENCE:1\n#EXT-X-DISCONTINUITY-SEQUENCE:0\n#EXT-X-MAP:URI=\"init.mp4\"\n#EXT-X-PROGRAM-DATE-TIME:2026-03-01T12:00:00.000Z\n"
	for i := range 3 {
		b := f[fmt.Sprintf("v/%d.m4s", i+1)]
		nodes, err := mp4.Tree(b, 0)
		if err != nil {
			t.Fatal(err)
		}
		half := nodes[3].Offset // styp moof mdat | moof mdat
		out[fmt.Sprintf("%d.0.m4s", i+1)], out[fmt.Sprintf("%d.1.m4s", i+1)] = b[:half], b[half:]
		text += fmt.Sprintf("#EXT-X-PART:DURATION=1.0,URI=\"%d.0.m4s\",INDEPENDENT=YES\n#EXT-X-PART:DURATION=1.0,URI=\"%d.1.m4s\",INDEPENDENT=YES\n", i+1, i+1)
		if i < 2 {
			out[fmt.Sprintf("%d.m4s", i+1)] = b
			text += fmt.Sprintf("#EXTINF:2.0,\n%d.m4s\n", i+1)
		}
	}
	out["index.m3u8"] = []byte(text + "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"4.0.m4s\"\n")
	return out
}

// box returns the first box of a file at a path.
func box(t testing.TB, b []byte, path ...string) *mp4.Node {
	t.Helper()
	nodes, err := mp4.Tree(b, 0)
	if err != nil {
		t.Fatal(err)
	}
	n := mp4.First(nodes, path[0]).First(path[1:]...)
	if n == nil {
		t.Fatal("no box", path)
	}
	return n
}

// edited copies a file and lets change alter a box's body in the copy.
func edited(t testing.TB, b []byte, change func(body []byte), path ...string) []byte {
	t.Helper()
	out := append([]byte(nil), b...)
	change(box(t, out, path...).Body)
	return out
}

// grown appends a box inside another, whose sizes and those of all around it grow.
func grown(t testing.TB, b, child []byte, path ...string) []byte {
	t.Helper()
	out := append([]byte(nil), b...)
	inner := box(t, out, path...)
	end := inner.Offset + inner.Size()
	for i := range path {
		n := box(t, b, path[:i+1]...)
		binary.BigEndian.PutUint32(out[n.Offset:], uint32(n.Size())+uint32(len(child)))
	}
	return append(out[:end:end], append(append([]byte(nil), child...), b[end:]...)...)
}

func makeBox(kind string, body ...byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(8+len(body)))
	return append(append(b, kind...), body...)
}
