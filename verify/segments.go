package verify

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/format/hls"
	"github.com/cleave-video/cleave/format/ts"
)

// trackState is one track of a playlist over all its segments.
type trackState struct {
	kind        av.Kind
	id          uint32
	scale       int64
	codec       string
	encrypted   bool
	description av.Track
	width       int
	height      int
	spans       []mediaSpan // of the segments, in order; missing ones have no samples
	frame       int64
	negative    bool
	edit        int64 // taken off the spans' times when they are shown
	transfer    uint16
}

// rangeOf is the VIDEO-RANGE of a track, empty if it is not known.
func rangeOf(t *trackState) string {
	switch {
	case t.kind != av.Video || t.transfer == 0 || t.transfer == 2:
		return ""
	case t.transfer == 16:
		return "PQ"
	case t.transfer == 18:
		return "HLG"
	}
	return "SDR"
}

// mediaSpan is what one segment holds of a track, in ticks.
type mediaSpan struct {
	index          int // of the segment
	dts, endDTS    int64
	pts, endPTS    int64
	sap            sap
	keys           []int64
	samples        int
	place          Place
	discont, moved bool // the playlist marks a break before it; the header changed
}

func (t *trackState) seconds(ticks int64) float64 { return float64(ticks) / float64(t.scale) }

// begins returns when a span is first shown, in seconds.
func (t *trackState) begins(i int) float64 { return t.seconds(t.spans[i].pts - t.edit) }

// formOf tells what a segment is from its first bytes.
func formOf(b []byte) string {
	switch {
	case len(b) > 0 && b[0] == ts.SyncByte:
		return "ts"
	case len(b) >= 8 && isBox(b[4:8]):
		return "mp4"
	case bytes.HasPrefix(b, []byte("WEBVTT")), bytes.HasPrefix(b, []byte("\xef\xbb\xbfWEBVTT")):
		return "vtt"
	case bytes.HasPrefix(b, []byte("ID3")), len(b) > 1 && b[0] == 0xFF && b[1]&0xE0 == 0xE0, len(b) > 1 && b[0] == 0x0B && b[1] == 0x77:
		return "audio"
	}
	return ""
}

func isBox(b []byte) bool {
	switch string(b) {
	case "styp", "moof", "sidx", "emsg", "prft", "ftyp", "moov", "mdat", "free", "uuid", "skip":
		return true
	}
	return false
}

// checkMedia loads and looks into all segments of a playlist.
func (c *checker) checkMedia(p *playlist) error {
	p.sizes = make([]int64, len(p.m.Segments))
	c.owed, c.late = nil, nil
	for i := range p.m.Segments {
		p.sizes[i] = -1
		s := &p.m.Segments[i]
		if err := c.ctx.Err(); err != nil {
			return err
		}
		if s.URI == "" {
			continue
		}
		if s.Gap {
			c.saw("H15")
			continue
		}
		name, data := c.load(p, i)
		if data == nil {
			continue
		}
		p.sizes[i] = int64(len(data))
		c.checkSegment(p, i, name, data)
		c.checkParted(p, i, data)
		if c.segmentDone != nil {
			c.segmentDone(p, i)
		}
	}
	for _, t := range p.tracks {
		c.checkContinuity(p, t)
	}
	if p.role != "iframes" {
		c.checkDurations(p)
		c.checkBitrates(p)
	}
	return nil
}

// load fetches a segment; nil if it is not there, which it reports.
func (c *checker) load(p *playlist, i int) (string, []byte) {
	s := &p.m.Segments[i]
	c.saw("H28", "H15")
	name, err := c.src.resolve(p.name, s.URI)
	if errors.Is(err, errOutside) {
		c.note("%s: %v; it is not loaded", p.name, err)
		return "", nil
	}
	if err != nil {
		c.find("S1", p.at(s.Line), "%v", err)
		return "", nil
	}
	a, err := c.src.fetch(c.ctx, name, s.Range.Offset, s.Range.Length)
	if err != nil {
		if c.ctx.Err() == nil {
			c.find("H15", p.at(s.Line), "%s cannot be loaded, and is not marked EXT-X-GAP: %v", s.URI, err)
		}
		return "", nil
	}
	c.count(0, 1, len(a.body))
	if int64(len(a.body)) < s.Range.Length {
		c.find("H28", p.at(s.Line), "%s has %d of the %d bytes of the range", s.URI, len(a.body), s.Range.Length)
	}
	if len(a.body) == 0 {
		c.find("H28", p.at(s.Line), "%s is empty", s.URI)
		return "", nil
	}
	return name, a.body
}

func (c *checker) checkSegment(p *playlist, i int, name string, data []byte) {
	s := &p.m.Segments[i]
	at := Place{File: name, group: p.name}
	if m := p.keyOf(i); m == "AES-128" {
		c.note("%s: segments are encrypted with AES-128 and are not looked into", p.name)
		return
	}
	switch form := formOf(data); form {
	case "ts":
		p.isTS = true
		looks := c.lookTS(at, data, p, i)
		if p.role != "iframes" {
			c.addLooks(p, i, looks, false)
		}
	case "mp4":
		p.isMP4 = true
		c.checkMP4(p, i, at, data)
	case "vtt":
		c.saw("A38")
		if !bytes.Contains(data[:min(len(data), 4096)], []byte("X-TIMESTAMP-MAP=")) {
			c.find("A38", at, "no X-TIMESTAMP-MAP")
		}
	case "audio":
		c.saw("T14")
		if !bytes.Contains(data[:min(len(data), 4096)], []byte("com.apple.streaming.transportStreamTimestamp")) {
			c.find("T14", at, "no ID3 PRIV frame com.apple.streaming.transportStreamTimestamp")
		}
	default:
		if k := p.keyOf(i); k != "NONE" {
			c.note("%s: segments are encrypted with %s and are not looked into", p.name, k)
			return
		}
		c.find("S3", p.at(s.Line), "%s is neither a transport stream, fragmented MP4, packed audio nor WebVTT", s.URI)
	}
}

func (c *checker) checkMP4(p *playlist, i int, at Place, data []byte) {
	s := &p.m.Segments[i]
	m := p.mapOf(i)
	c.saw("A19")
	if m.URI == "" {
		if !bytes.Contains(data[:min(len(data), 1<<16)], []byte("moov")) {
			c.find("A19", p.at(s.Line), "fragmented MP4, and no EXT-X-MAP")
		} else {
			c.find("A19", p.at(s.Line), "the segment brings its own moov in place of an EXT-X-MAP")
		}
		return
	}
	h := c.headerOf(p, m, s.Line)
	if h == nil {
		return
	}
	if p.role == "iframes" {
		c.saw("A29")
		if string(data[4:8]) != "moof" && !bytes.Contains(data[:min(len(data), 4096)], []byte("moof")) {
			c.find("A29", p.at(s.Line), "the range of the I-frame has no moof")
		}
		return
	}
	looks := c.lookMP4(at, h, data, s.Range.Offset)
	c.addLooks(p, i, looks, i > 0 && p.mapOf(i-1) != m)
}

// headerOf loads an initialization section, each once.
func (c *checker) headerOf(p *playlist, m hls.Map, line int) *header {
	name, err := c.src.resolve(p.name, m.URI)
	if err != nil {
		c.note("%s: %v; it is not loaded", p.name, err)
		return nil
	}
	key := fmt.Sprint(name, m.Range)
	if h, ok := c.headers[key]; ok {
		return h
	}
	var h *header
	a, err := c.src.fetch(c.ctx, name, m.Range.Offset, m.Range.Length)
	if err != nil {
		if c.ctx.Err() == nil {
			c.find("H28", p.at(line), "initialization section %s: %v", m.URI, err)
		}
	} else {
		h = c.readHeader(Place{File: name, group: p.name}, a.body, m.Range.Offset)
	}
	c.headers[key] = h
	return h
}

// addLooks appends what a segment holds to the playlist's tracks.
func (c *checker) addLooks(p *playlist, i int, looks []*look, moved bool) {
	p.looked = true
	s := &p.m.Segments[i]
	for _, l := range looks {
		t := p.track(l)
		if t == nil {
			t = &trackState{kind: l.kind, id: l.id, scale: l.scale, codec: l.codec, encrypted: l.encrypted, edit: l.edit, description: l.description, width: l.width, height: l.height, transfer: l.transfer}
			if len(p.tracks) > 0 && len(p.tracks[0].spans) > 0 && !s.Discontinuity && l.kind != av.Data && i > 0 && p.tracks[0].spans[0].index < i {
				c.find("H11", p.at(s.Line), "a %s track begins here without EXT-X-DISCONTINUITY", l.kind)
			}
			p.tracks = append(p.tracks, t)
		}
		c.saw("H11")
		if !s.Discontinuity && len(t.spans) > 0 && (t.scale != l.scale || family(t.codec) != family(l.codec)) {
			c.find("H11", p.at(s.Line), "%s at %d ticks a second follows %s at %d without EXT-X-DISCONTINUITY", l.codec, l.scale, t.codec, t.scale)
		}
		t.scale, t.codec = l.scale, l.codec
		t.frame = max(t.frame, l.frame)
		t.negative = t.negative || l.negative
		sp := mediaSpan{
			index: i, dts: l.dts, endDTS: l.endDTS, pts: l.pts, endPTS: l.endPTS, sap: l.sap, keys: l.keys, samples: l.samples, place: l.place,
			discont: s.Discontinuity, moved: moved,
		}
		if l.wraps && len(t.spans) > 0 {
			sp.unwrap(t.spans[len(t.spans)-1].endDTS)
		}
		t.spans = append(t.spans, sp)
		c.checkStart(p, i, t, &sp)
	}
}

// family is the codec without profile and level.
func family(codec string) string {
	f, _, _ := strings.Cut(codec, ".")
	switch f {
	case "avc3":
		return "avc1"
	case "hev1":
		return "hvc1"
	}
	return f
}

// unwrap moves times of 33 bits to where they follow on end.
func (s *mediaSpan) unwrap(end int64) {
	by := end + ts.Since(s.dts, end) - s.dts
	s.dts, s.endDTS, s.pts, s.endPTS = s.dts+by, s.endDTS+by, s.pts+by, s.endPTS+by
	for i := range s.keys {
		s.keys[i] += by
	}
}

func (p *playlist) track(l *look) *trackState {
	for _, t := range p.tracks {
		if t.id == l.id && t.kind == l.kind {
			return t
		}
	}
	for _, t := range p.tracks { // after a discontinuity numbers may change
		if t.kind == l.kind && t.kind != av.Data && len(p.tracks) <= 2 {
			return t
		}
	}
	return nil
}

// checkStart checks how a video segment starts.
func (c *checker) checkStart(p *playlist, i int, t *trackState, s *mediaSpan) {
	if t.kind != av.Video || s.sap == sapUnknown {
		return
	}
	c.saw("A2")
	line := p.m.Segments[i].Line
	claims := p.m.IndependentSegments || c.independent
	switch {
	case s.sap == sapNone && claims:
		c.find("A2", p.at(line), "%s starts with no key frame, and the playlist promises EXT-X-INDEPENDENT-SEGMENTS", p.m.Segments[i].URI)
	case s.sap == sapNone:
		c.find("A2", p.at(line), "%s starts with no key frame", p.m.Segments[i].URI)
	case s.sap != sapClosed:
		c.should("A2", p.at(line), "%s starts with an %s, not with an IDR", p.m.Segments[i].URI, s.sap)
	}
}

// checkContinuity checks that each segment goes on where the one before ended.
func (c *checker) checkContinuity(p *playlist, t *trackState) {
	for k := 1; k < len(t.spans); k++ {
		c.checkJoin(p, t, k)
	}
}

// checkJoin checks that the segment of span k goes on where the one before ended.
func (c *checker) checkJoin(p *playlist, t *trackState, k int) {
	if t.kind == av.Data || k < 1 {
		return
	}
	rule, tolerance := "A7", int64(1)
	if p.isTS {
		// The demuxer sees 90 kHz; an audio frame is not a whole number of ticks,
		// and a variable frame rate has no length for its last frame.
		rule, tolerance = "A6", max(t.frame, 90)
	}
	a, b := &t.spans[k-1], &t.spans[k]
	if b.discont || b.index != a.index+1 {
		return
	}
	c.saw("A5", rule)
	off := b.dts - a.endDTS
	switch {
	case off > t.scale || -off > t.scale:
		c.find("H11", p.at(p.m.Segments[b.index].Line), "times jump by %.3f s without EXT-X-DISCONTINUITY", t.seconds(off))
	case off > tolerance+t.frame || -off > tolerance+t.frame:
		c.find("A5", b.place, "%s: %.3f s of %s are missing or double: the segment begins at %d, the one before ended at %d", rule, t.seconds(off), t.kind, b.dts, a.endDTS)
	case off > tolerance || -off > tolerance:
		c.find(rule, b.place, "the segment begins at %d, the one before ended at %d of %d ticks a second", b.dts, a.endDTS, t.scale)
	}
}

// lead is the track that the durations are those of.
func (p *playlist) lead() *trackState {
	for _, k := range [...]av.Kind{av.Video, av.Audio} {
		for _, t := range p.tracks {
			if t.kind == k {
				return t
			}
		}
	}
	return nil
}

// checkDurations compares EXTINF with the media (Apple 8.1): the sum of any run is
// within a frame of it.
func (c *checker) checkDurations(p *playlist) {
	t := p.lead()
	if t == nil || len(t.spans) == 0 {
		return
	}
	c.saw("A8")
	tolerance := t.frame*1e9/t.scale + 1e6
	if t.kind != av.Video {
		tolerance = max(tolerance, 42e6) // a frame of the video it goes with
	}
	first := 0
	low, high := int64(0), int64(0)
	for k := range t.spans {
		s := &t.spans[k]
		if k > 0 && (s.discont || s.index != t.spans[k-1].index+1) {
			first, low, high = k, 0, 0
		}
		if k == first {
			continue
		}
		start := &t.spans[first]
		media := (s.pts - start.pts) * 1000 / t.scale * 1e6
		said := p.m.Segments[s.index].Span.Start - p.m.Segments[start.index].Span.Start
		off := said - media
		low, high = min(low, off), max(high, off)
		if high-low > tolerance {
			c.find("A8", p.at(p.m.Segments[s.index].Line), "EXTINF up to here sum to %.4f s, the media between is %.4f s", seconds(said), seconds(media))
			first, low, high = k, 0, 0
		}
	}
	last := &t.spans[len(t.spans)-1]
	if seg := &p.m.Segments[last.index]; last.samples > 0 {
		if off := seg.Span.Dur - (last.endPTS-last.pts)*1e6/t.scale*1000; off > tolerance+1e7 || -off > tolerance+1e7 {
			c.should("A8", p.at(seg.Line), "EXTINF of the last segment is %.4f s, its media %.4f s", seconds(seg.Span.Dur), t.seconds(last.endPTS-last.pts))
		}
	}
	c.checkKeys2s(p, t)
}

// checkKeys2s checks the distance of key frames.
func (c *checker) checkKeys2s(p *playlist, t *trackState) {
	if t.kind != av.Video {
		return
	}
	c.saw("A1")
	last, have := int64(0), false
	for k := range t.spans {
		s := &t.spans[k]
		if s.discont {
			have = false
		}
		for _, key := range s.keys {
			if gap := key - last; have && gap > 2*t.scale+t.frame {
				c.find("A1", s.place, "%.3f s between two key frames", t.seconds(gap))
			}
			last, have = key, true
		}
	}
}

// checkBitrates checks EXT-X-BITRATE.
func (c *checker) checkBitrates(p *playlist) {
	said := int64(0)
	for i := range p.m.Segments {
		s := &p.m.Segments[i]
		if s.Bitrate > 0 {
			said = s.Bitrate
		}
		if said == 0 || p.sizes[i] < 0 || s.Span.Dur <= 0 || s.Range.Length > 0 {
			continue // byte ranges are exempt
		}
		c.saw("H17")
		got := float64(p.sizes[i]) * 8 / seconds(s.Span.Dur) / 1000
		if got < 0.9*float64(said) || got > 1.1*float64(said) {
			c.find("H17", p.at(s.Line), "EXT-X-BITRATE is %d kbit/s, the segment has %.0f", said, got)
		}
	}
}

// checkParted compares parts that are byte ranges or files with their segment.
func (c *checker) checkParted(p *playlist, i int, data []byte) {
	s := &p.m.Segments[i]
	if len(s.Parts) == 0 || !p.isMP4 {
		return
	}
	h := c.headerOf(p, p.mapOf(i), s.Line)
	sum := int64(0)
	for k := range s.Parts {
		part := &s.Parts[k]
		name, err := c.src.resolve(p.name, part.URI)
		if err != nil || part.Gap {
			return
		}
		a, err := c.src.fetch(c.ctx, name, part.Range.Offset, part.Range.Length)
		if err != nil {
			if c.ctx.Err() == nil && !c.live {
				c.find("H28", p.at(part.Line), "part %s: %v", part.URI, err)
			}
			return
		}
		sum += int64(len(a.body))
		c.checkIndependent(p, part, h, a.body)
	}
	c.saw("L12")
	if sum != int64(len(data)) {
		c.find("L12", p.at(s.Line), "the parts have %d bytes, the segment %d", sum, len(data))
	}
}

// checkIndependent compares INDEPENDENT with the part's samples.
func (c *checker) checkIndependent(p *playlist, part *hls.Part, h *header, data []byte) {
	if h == nil || formOf(data) != "mp4" {
		return
	}
	quiet := &checker{recorder: newRecorder(""), ctx: c.ctx}
	for _, l := range quiet.lookMP4(Place{}, h, data, 0) {
		if l.kind != av.Video || l.encrypted {
			continue
		}
		c.saw("L8")
		switch {
		case part.Independent && len(l.keys) == 0 && l.sap == sapNone:
			c.find("L8", p.at(part.Line), "INDEPENDENT=YES, and the part has no key frame")
		case !part.Independent && (l.sap == sapClosed || l.sap == sapOpen):
			c.find("L8", p.at(part.Line), "the part starts with a key frame and has no INDEPENDENT=YES")
		}
	}
}
