package cut

import (
	"fmt"
	"io"
	"iter"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/chunk"
	"github.com/cleave-video/cleave/format/hls"
	"github.com/cleave-video/cleave/internal/plain"
	"github.com/cleave-video/cleave/pack"
	"github.com/cleave-video/cleave/seal"
)

// The files that name the whole output.
const (
	multivariantName = "index.m3u8"
	manifestName     = "manifest.mpd"
	iframesName      = "iframes.m3u8"
)

// finish writes what names the chunks, completes the report and gives the folder
// its name.
func (r *run) finish() error {
	td := int64(1)
	for _, rend := range r.rends {
		td = max(td, target(r.segments(rend)))
	}
	for _, rend := range r.rends {
		rend.td = td // all say the same (RFC 8216bis 6.2.4)
		rend.peak, rend.average = rend.rates()
		if err := r.writePlaylists(rend); err != nil {
			return err
		}
	}
	multi := r.multivariant()
	if err := multi.Check(); err != nil {
		return err
	}
	if err := r.out.write(multivariantName, [][]byte{multi.Append(nil)}); err != nil {
		return err
	}
	if r.hasManifest() {
		b, err := r.presentation().Append(nil)
		if err != nil {
			return err
		}
		if err := r.out.write(manifestName, [][]byte{b}); err != nil {
			return err
		}
	}
	if err := r.writeLicense(); err != nil {
		return err
	}
	err := r.index.close()
	r.index = nil
	if err != nil {
		return err
	}
	r.complete()
	return r.out.commit()
}

// hasManifest: MPEG-TS and whole segments that are encrypted are not for DASH.
func (r *run) hasManifest() bool { return r.cfg.Container == CMAF && r.seal.scheme() != seal.AES128 }

// hasIFrames reports whether a rendition has an I-frame playlist. A range of a
// segment that is encrypted as a whole cannot be decrypted.
func (r *run) hasIFrames(rend *rendition) bool {
	return rend.video() && r.seal.scheme() != seal.AES128
}

// complete fills the parts of the report that are known only at the end.
func (r *run) complete() {
	rp := &r.report
	rp.Dir = r.cfg.Dir
	for _, rend := range r.rends {
		for k := range rend.current {
			rp.Tracks = append(rp.Tracks, rend.describeTrack(k))
		}
	}
	s := r.chunker.Stats()
	rp.Dropped = s.DroppedLead + s.DroppedOther
	rp.Warnings = append(append(r.in.Warnings(), r.unturned()...), r.unknown()...)
	if r.keyed {
		rp.LongestGOP = max(rp.LongestGOP, r.lead.Duration(r.end-r.lastKey))
	}
	rp.Duration = r.duration()
	rp.Advice = r.advice()
	r.noteSealed()
}

// duration is that of each period's first rendition, since chunks may overlap: see span.
func (r *run) duration() (sum time.Duration) {
	next := make([]int, len(r.rends))
	for n := 0; n <= r.period; n++ {
		all := r.stretches(n, next)
		for _, s := range all[:min(1, len(all))] {
			for i := s.from; i < s.to; i++ {
				_, d := s.rend.span(i)
				sum += min(s.rend.timebase().Duration(d), math.MaxInt64-sum)
			}
		}
	}
	return sum
}

// unturned names the pictures that are to be turned when shown, and of which TS
// cannot say so.
func (r *run) unturned() (l []string) {
	for _, rend := range r.rends {
		for i := range rend.current {
			if d := rend.current[i].Rotation; d != 0 && rend.muxer != nil {
				l = append(l, fmt.Sprintf("%s is to be turned by %d degrees clockwise when it is shown: ts cannot say so", rend.name, d))
			}
		}
	}
	return l
}

// describeTrack is one line about a track.
func (rd *rendition) describeTrack(k int) string {
	t, info := &rd.current[k], &rd.infos[k]
	parts := []string{rd.name, t.Codec.String()}
	if info.String != "" {
		parts = append(parts, info.String)
	}
	if info.Width > 0 {
		parts = append(parts, fmt.Sprintf("%dx%d", info.Width, info.Height))
	}
	if k == 0 && t.Kind == av.Video {
		if v := rd.rate.Verdict(t.Timebase); v.Den != 0 {
			mode := "variable"
			if v.CFR {
				mode = "constant"
			}
			parts = append(parts, fmt.Sprintf("%.6g frames/s %s", v.Float(), mode))
		}
	}
	if info.SampleRate > 0 {
		parts = append(parts, fmt.Sprintf("%d Hz, %s", info.SampleRate, plain.Count(info.Channels, "channel")))
	}
	if t.Language != "" && t.Language != "und" {
		parts = append(parts, t.Language)
	}
	return strings.Join(parts, ", ")
}

// known are the codecs of ISO BMFF that players of HLS and DASH decode somewhere.
var known = []string{"avc1", "avc3", "hvc1", "hev1", "av01", "vp09", "mp4a", "Opus", "opus", "ac-3", "ec-3", "fLaC", "flac"}

// mp3InMP4 is what Chromium does not play by Media Source Extensions.
const mp3InMP4 = "mp4a.6b"

// unknown names the codecs that no player is known to decode: one of them keeps players
// from all of the output.
func (r *run) unknown() (l []string) {
	if r.cfg.Container != CMAF {
		return nil
	}
	for _, rend := range r.rends {
		name := rend.info.String
		if base, _, _ := strings.Cut(name, "."); base != "" && (!slices.Contains(known, base) || name == mp3InMP4) {
			l = append(l, fmt.Sprintf("%s is %s, which most browsers do not play in MP4, and then refuse all that is listed with it", rend.name, name))
		}
	}
	return l
}

// advice says why chunks are longer than the target, if they are.
func (r *run) advice() string {
	rp := &r.report
	target, gop := r.cfg.Target, rp.LongestGOP
	if target <= 0 || rp.Longest <= target+target/4 || rp.Cuts[chunk.Wall.String()] > 0 || gop == 0 {
		return ""
	}
	if gop <= target+target/4 {
		return fmt.Sprintf("target %s is no multiple of the GOP, which is up to %s: chunks can only be cut at key frames, so the longest is %s. Aim at a multiple of the GOP, or set the encoder's key-frame interval to a part of the target",
			short(target), short(gop), short(rp.Longest))
	}
	bound := ""
	if n := rp.Cuts[chunk.MaxDur.String()]; n > 0 {
		bound = fmt.Sprintf(", and %d had to be cut inside a GOP, since no chunk is longer than %s", n, short(chunk.MaxFileDuration))
	}
	return fmt.Sprintf("GOP is %s, target %s: chunks can only be cut at key frames, so the longest is %s%s. Set the encoder's key-frame interval to %s, or cut with --strategy fixed, whose chunks do not all decode alone",
		short(gop), short(target), short(rp.Longest), bound, short(target))
}

// span is when segment i is presented: up to the next, where that follows on.
func (rd *rendition) span(i int) (start, dur int64) {
	s := &rd.segs[i]
	if i+1 < len(rd.segs) && !rd.segs[i+1].discont && rd.segs[i+1].start > s.start {
		return s.start, rd.segs[i+1].start - s.start
	}
	return s.start, max(s.end-s.start, 1)
}

func (rd *rendition) timebase() av.Timebase { return av.Timebase{Num: 1, Den: rd.scale} }

// local is a name of the output as seen from the rendition's folder.
func (rd *rendition) local(name string) string { return strings.TrimPrefix(name, rd.name+"/") }

func (r *run) writePlaylists(rend *rendition) error {
	m := &hls.Media{Type: hls.VOD, EndList: true, Sequence: 1, IndependentSegments: !rend.dependent, TargetDuration: rend.td}
	if err := r.writePlaylist(rend, multivariantName, m, r.segments(rend)); err != nil {
		return err
	}
	if !r.hasIFrames(rend) {
		return nil
	}
	m = &hls.Media{Type: hls.VOD, EndList: true, IFramesOnly: true, Sequence: 1, TargetDuration: target(r.iframes(rend))}
	return r.writePlaylist(rend, iframesName, m, r.iframes(rend))
}

// target is the least EXT-X-TARGETDURATION that holds (RFC 8216bis 4.4.3.1).
func target(segments iter.Seq[hls.Segment]) int64 {
	longest := int64(1)
	for s := range segments {
		longest = max(longest, s.Span.Timebase.Rescale(s.Span.Dur, av.Timebase{Num: 1, Den: 1}))
	}
	return longest
}

func (r *run) writePlaylist(rend *rendition, name string, m *hls.Media, segments iter.Seq[hls.Segment]) error {
	return r.out.stream(rend.name+"/"+name, func(w io.Writer) error { return m.Stream(w, segments) })
}

// segments are those of the media playlist.
func (r *run) segments(rend *rendition) iter.Seq[hls.Segment] {
	return func(yield func(hls.Segment) bool) {
		var before *segment
		for i := range rend.segs {
			s := &rend.segs[i]
			start, dur := rend.span(i)
			seg := r.listed(rend, i, before)
			seg.Span = hls.Span{Start: start, Dur: dur, Timebase: rend.timebase()}
			seg.Discontinuity = s.discont
			before = s
			if !yield(seg) {
				return
			}
		}
	}
}

// listed is what every playlist says of a segment, or of a part of it. before is
// the segment listed before, if any.
func (r *run) listed(rend *rendition, i int, before *segment) hls.Segment {
	s := &rend.segs[i]
	seg := hls.Segment{URI: rend.local(rend.file(i)), Keys: r.seal.hlsKeys(s, before)}
	if rend.muxer == nil {
		seg.Map = hls.Map{URI: rend.local(rend.inits[s.init])}
	}
	return seg
}

// iframes are the key frames, as ranges of the segments.
func (r *run) iframes(rend *rendition) iter.Seq[hls.Segment] {
	return func(yield func(hls.Segment) bool) {
		var before *segment
		discont := false
		for i := range rend.segs {
			s := &rend.segs[i]
			discont = discont || s.discont && before != nil
			for key, dur := range rend.keyFrames(i) {
				seg := r.listed(rend, i, before)
				seg.Range = hls.ByteRange{Length: key.Size, Offset: key.Offset}
				seg.Span = hls.Span{Start: key.PTS, Dur: dur, Timebase: rend.timebase()}
				seg.Discontinuity = discont
				discont, before = false, s
				if !yield(seg) {
					return
				}
			}
		}
	}
}

// keyFrames are those of segment i, each with how long it is shown if only key
// frames are.
func (rd *rendition) keyFrames(i int) iter.Seq2[pack.KeyRange, int64] {
	return func(yield func(pack.KeyRange, int64) bool) {
		start, dur := rd.span(i)
		keys := rd.keysOf(i)
		for k, key := range keys {
			end := start + dur
			if k+1 < len(keys) {
				end = keys[k+1].PTS
			}
			if !yield(key, max(end-key.PTS, 1)) {
				return
			}
		}
	}
}

// independent reports whether every segment of every rendition decodes alone.
func (r *run) independent() bool {
	for _, rend := range r.rends {
		if rend.dependent {
			return false
		}
	}
	return true
}

// rates returns the peak and the average bit rate of the segments' bytes. The peak
// is that of any run of segments that lasts half to one and a half target durations
// (RFC 8216bis 4.1).
func (rd *rendition) rates() (peak, average int64) {
	least, most := rd.td*int64(rd.scale)/2, rd.td*int64(rd.scale)*3/2
	var bytes, ticks int64
	from, runBytes, runTicks := 0, int64(0), int64(0)
	for i := range rd.segs {
		_, dur := rd.span(i)
		bytes, ticks = bytes+rd.segs[i].size, ticks+dur
		runBytes, runTicks = runBytes+rd.segs[i].size, runTicks+dur
		for ; runTicks > most && from < i; from++ {
			_, d := rd.span(from)
			runBytes, runTicks = runBytes-rd.segs[from].size, runTicks-d
		}
		// Every run that ends here; a sliver alone says nothing about what a client must
		// load in time.
		b, t := runBytes, runTicks
		for k := from; k <= i && t >= least; k++ {
			peak = max(peak, rate(b, t, rd.scale))
			_, d := rd.span(k)
			b, t = b-rd.segs[k].size, t-d
		}
	}
	average = rate(bytes, ticks, rd.scale)
	return max(peak, average), average
}

// rate is bits a second, rounded up.
func rate(bytes, ticks int64, scale uint32) int64 {
	return av.Timebase{Num: scale, Den: uint32(min(max(ticks, 1), 1<<32-1))}.Rescale(bytes*8, av.Timebase{Num: 1, Den: 1}) + 1
}

// multivariant offers each video with each audio.
func (r *run) multivariant() *hls.Multivariant {
	m := &hls.Multivariant{IndependentSegments: r.independent(), SessionKeys: r.seal.sessionKeys()}
	var audio, video []*rendition
	for _, rend := range r.rends {
		if len(rend.segs) == 0 {
			continue
		}
		if rend.video() {
			video = append(video, rend)
		} else if rend.kind == av.Audio {
			audio = append(audio, rend)
		}
	}
	if len(video) == 0 {
		for _, a := range audio[:min(1, len(audio))] {
			m.Variants = append(m.Variants, a.variant())
		}
		if len(audio) < 2 {
			return m
		}
	}
	var peak, average int64
	codecs := ""
	for i, a := range audio {
		m.Media = append(m.Media, a.media(i))
		peak, average = max(peak, a.peak), max(average, a.average)
		codecs = join(codecs, a.names)
	}
	for i := range m.Variants {
		m.Variants[i].Audio = groupID(audio)
	}
	for _, v := range video {
		x := v.variant()
		x.Bandwidth, x.AverageBandwidth = x.Bandwidth+peak, x.AverageBandwidth+average
		x.Codecs, x.Audio = join(x.Codecs, codecs), groupID(audio)
		m.Variants = append(m.Variants, x)
		if r.hasIFrames(v) {
			m.IFrames = append(m.IFrames, v.iframeVariant())
		}
	}
	return m
}

func groupID(audio []*rendition) string {
	if len(audio) == 0 {
		return ""
	}
	return "audio"
}

// media is the rendition as an alternative of the audio group.
func (rd *rendition) media(i int) hls.Rendition {
	t := &rd.current[0]
	out := hls.Rendition{
		Type: "AUDIO", GroupID: "audio", Name: rd.name, Default: i == 0, Autoselect: true, URI: rd.name + "/" + multivariantName,
	}
	if out.Language = t.Language; t.Language == "" {
		out.Language = "und" // Apple's rule 8.10: each rendition has a LANGUAGE
	}
	if n := rd.info.Channels; n > 0 {
		out.Channels = fmt.Sprint(n)
	}
	return out
}

func (rd *rendition) variant() hls.Variant {
	v := hls.Variant{
		URI: rd.name + "/" + multivariantName, Bandwidth: rd.peak, AverageBandwidth: rd.average, Codecs: rd.names,
	}
	if rd.video() {
		v.Width, v.Height, v.FrameRate = rd.info.Width, rd.info.Height, rd.frameRate()
	}
	return v
}

func (rd *rendition) iframeVariant() hls.Variant {
	v := hls.Variant{URI: rd.name + "/" + iframesName, Codecs: rd.main, Width: rd.info.Width, Height: rd.info.Height}
	for i := range rd.segs {
		for key, dur := range rd.keyFrames(i) {
			v.Bandwidth = max(v.Bandwidth, rate(key.Size, dur, rd.scale))
		}
	}
	v.Bandwidth = max(v.Bandwidth, 1)
	return v
}

func (rd *rendition) frameRate() av.Rational { return rd.rate.Verdict(rd.clock).Rational }

// join adds the names of b to the list a, each once.
func join(a, b string) string {
	for _, name := range strings.Split(b, ",") {
		if name == "" || strings.Contains(","+a+",", ","+name+",") {
			continue
		}
		if a != "" {
			a += ","
		}
		a += name
	}
	return a
}

// wait rounds a duration up to the microsecond, as manifests state it.
func wait(d time.Duration) time.Duration {
	return (d + time.Microsecond - 1).Truncate(time.Microsecond)
}
