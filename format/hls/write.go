package hls

import (
	"slices"
	"strconv"
	"time"
)

// Append writes the playlist behind dst and returns the result.
func (m *Media) Append(dst []byte) []byte {
	dst = m.appendHeader(dst, m.Need())
	state := appendState{m.Map, m.Keys}
	for i := range m.Segments {
		dst = state.append(dst, &m.Segments[i])
	}
	return m.appendEnd(dst)
}

// appendHeader writes what stands before the first segment.
func (m *Media) appendHeader(dst []byte, version int) []byte {
	dst = appendHead(dst, version, m.IndependentSegments)
	dst = appendShared(dst, m.Defines, m.Start)
	dst = appendInt(dst, "#EXT-X-TARGETDURATION:", m.TargetDuration)
	if m.Type != Live {
		dst = append(append(append(dst, "#EXT-X-PLAYLIST-TYPE:"...), m.Type...), '\n')
	}
	if m.IFramesOnly {
		dst = append(dst, "#EXT-X-I-FRAMES-ONLY\n"...)
	}
	dst = m.Control.append(dst)
	if m.PartTarget > 0 {
		dst = appendMillis(append(dst, "#EXT-X-PART-INF:PART-TARGET="...), m.PartTarget)
		dst = append(dst, '\n')
	}
	dst = appendInt(dst, "#EXT-X-MEDIA-SEQUENCE:", m.Sequence)
	// A client that first sees the tag after a removal has counted wrongly
	// till then, so it is always there when anything can be removed.
	if m.Type != VOD || m.DiscontinuitySequence > 0 {
		dst = appendInt(dst, "#EXT-X-DISCONTINUITY-SEQUENCE:", m.DiscontinuitySequence)
	}
	if m.Skipped > 0 {
		dst = m.appendSkip(dst)
	}
	for i := range m.Dates {
		dst = m.Dates[i].append(dst)
	}
	if m.Map.URI != "" {
		dst = m.Map.append(dst)
	}
	return appendKeys(dst, m.Keys)
}

// appendState is what applies to the next segment unless it says otherwise.
type appendState struct {
	now  Map
	keys []Key
}

func (a *appendState) append(dst []byte, s *Segment) []byte {
	changed := s.Map.URI != "" && s.Map != a.now
	if changed {
		a.now = s.Map
	}
	dst = s.append(dst, changed, a.keys)
	if len(s.Keys) > 0 {
		a.keys = s.Keys
	}
	return dst
}

// appendEnd writes what stands behind the last segment.
func (m *Media) appendEnd(dst []byte) []byte {
	for i := range m.Hints {
		dst = m.Hints[i].append(dst)
	}
	for i := range m.Reports {
		dst = m.Reports[i].append(dst)
	}
	if m.EndList {
		dst = append(dst, "#EXT-X-ENDLIST\n"...)
	}
	return dst
}

func appendHead(dst []byte, version int, independent bool) []byte {
	dst = append(dst, "#EXTM3U\n"...)
	if version > 1 {
		dst = appendInt(dst, "#EXT-X-VERSION:", int64(version))
	}
	if independent {
		dst = append(dst, "#EXT-X-INDEPENDENT-SEGMENTS\n"...)
	}
	return dst
}

// append writes the segment's tags, then its parts, then itself: what applies
// to a segment also applies to its parts, so it stands before them. keys are
// those of the segment before.
func (s *Segment) append(dst []byte, mapChanged bool, keys []Key) []byte {
	if s.Discontinuity {
		dst = append(dst, "#EXT-X-DISCONTINUITY\n"...)
	}
	next := s.Keys
	if len(next) == 0 {
		next = keys
	}
	if mapChanged {
		// A key of whole segments would apply to the initialization section, too.
		if off := wholeSegments(keys); off {
			dst = append(dst, "#EXT-X-KEY:METHOD=NONE\n"...)
			keys = nil
		}
		dst = s.Map.append(dst)
	}
	if !slices.EqualFunc(keys, next, Key.same) {
		dst = appendKeys(dst, next)
	}
	if !s.ProgramDateTime.IsZero() {
		dst = append(dst, "#EXT-X-PROGRAM-DATE-TIME:"...)
		dst = s.ProgramDateTime.UTC().AppendFormat(dst, "2006-01-02T15:04:05.000Z07:00")
		dst = append(dst, '\n')
	}
	for i := range s.Parts {
		dst = s.Parts[i].append(dst)
	}
	if s.URI == "" {
		return dst
	}
	if s.Gap {
		dst = append(dst, "#EXT-X-GAP\n"...)
	}
	if s.Bitrate > 0 {
		dst = appendInt(dst, "#EXT-X-BITRATE:", s.Bitrate)
	}
	dst = appendMicros(append(dst, "#EXTINF:"...), s.Span.micros())
	dst = append(appendText(append(dst, ','), s.Title), '\n')
	if s.Range.Length > 0 {
		dst = s.Range.append(append(dst, "#EXT-X-BYTERANGE:"...))
		dst = append(dst, '\n')
	}
	return append(appendText(dst, s.URI), '\n')
}

// wholeSegments reports whether keys decrypt whole segments.
func wholeSegments(keys []Key) bool {
	for i := range keys {
		if keys[i].Method == MethodAES128 {
			return true
		}
	}
	return false
}

func appendKeys(dst []byte, keys []Key) []byte {
	for i := range keys {
		dst = keys[i].append(append(dst, "#EXT-X-KEY:"...))
	}
	return dst
}

func (p *Part) append(dst []byte) []byte {
	dst = append(dst, "#EXT-X-PART:"...)
	dst = appendMicros(append(dst, "DURATION="...), p.Span.micros())
	dst = appendQuoted(dst, ",URI=", p.URI)
	if p.Range.Length > 0 {
		dst = append(p.Range.append(append(dst, `,BYTERANGE="`...)), '"')
	}
	if p.Independent {
		dst = append(dst, ",INDEPENDENT=YES"...)
	}
	if p.Gap {
		dst = append(dst, ",GAP=YES"...)
	}
	return append(dst, '\n')
}

func (p Map) append(dst []byte) []byte {
	dst = appendQuoted(dst, "#EXT-X-MAP:URI=", p.URI)
	if p.Range.Length > 0 {
		dst = append(p.Range.append(append(dst, `,BYTERANGE="`...)), '"')
	}
	return append(dst, '\n')
}

func (c *ServerControl) append(dst []byte) []byte {
	if *c == (ServerControl{}) {
		return dst
	}
	dst = append(dst, "#EXT-X-SERVER-CONTROL:"...)
	head := len(dst)
	if c.CanBlockReload {
		dst = append(dst, "CAN-BLOCK-RELOAD=YES,"...)
	}
	for _, f := range [...]struct {
		name string
		d    time.Duration
	}{{"CAN-SKIP-UNTIL=", c.CanSkipUntil}, {"HOLD-BACK=", c.HoldBack}, {"PART-HOLD-BACK=", c.PartHoldBack}} {
		if f.d > 0 {
			dst = append(appendMillis(append(dst, f.name...), f.d), ',')
		}
	}
	if c.CanSkipDateRanges {
		dst = append(dst, "CAN-SKIP-DATERANGES=YES,"...)
	}
	if len(dst) > head {
		dst = dst[:len(dst)-1]
	}
	return append(dst, '\n')
}

func (h *PreloadHint) append(dst []byte) []byte {
	dst = appendQuoted(append(append(dst, "#EXT-X-PRELOAD-HINT:TYPE="...), h.Type...), ",URI=", h.URI)
	if h.Start > 0 || h.Length > 0 {
		dst = strconv.AppendInt(append(dst, ",BYTERANGE-START="...), h.Start, 10)
	}
	if h.Length > 0 {
		dst = strconv.AppendInt(append(dst, ",BYTERANGE-LENGTH="...), h.Length, 10)
	}
	return append(dst, '\n')
}

func (r *RenditionReport) append(dst []byte) []byte {
	dst = appendQuoted(dst, "#EXT-X-RENDITION-REPORT:URI=", r.URI)
	dst = strconv.AppendInt(append(dst, ",LAST-MSN="...), r.LastMSN, 10)
	if r.LastPart >= 0 {
		dst = strconv.AppendInt(append(dst, ",LAST-PART="...), r.LastPart, 10)
	}
	return append(dst, '\n')
}

func (r ByteRange) append(dst []byte) []byte {
	dst = strconv.AppendInt(dst, r.Length, 10)
	return strconv.AppendInt(append(dst, '@'), r.Offset, 10)
}

// Append writes the playlist behind dst and returns the result.
func (m *Multivariant) Append(dst []byte) []byte {
	dst = appendHead(dst, m.Need(), m.IndependentSegments)
	dst = appendShared(dst, m.Defines, m.Start)
	dst = m.appendSession(dst)
	for i := range m.Media {
		dst = m.Media[i].append(dst)
	}
	for i := range m.Variants {
		v := &m.Variants[i]
		dst = v.append(append(dst, "#EXT-X-STREAM-INF:"...))
		if v.FrameRate.Den != 0 && v.FrameRate.Float() <= maxRate {
			dst = append(dst, ",FRAME-RATE="...)
			dst = strconv.AppendFloat(dst, v.FrameRate.Float(), 'f', 3, 64)
		}
		if v.Audio != "" {
			dst = appendQuoted(dst, ",AUDIO=", v.Audio)
		}
		dst = v.More.append(dst)
		dst = append(appendText(append(dst, '\n'), v.URI), '\n')
	}
	for i := range m.IFrames {
		v := &m.IFrames[i]
		dst = v.More.append(v.append(append(dst, "#EXT-X-I-FRAME-STREAM-INF:"...)))
		dst = append(appendQuoted(dst, ",URI=", v.URI), '\n')
	}
	return dst
}

// append writes the attributes that both kinds of variant have.
func (v *Variant) append(dst []byte) []byte {
	dst = strconv.AppendInt(append(dst, "BANDWIDTH="...), v.Bandwidth, 10)
	if v.AverageBandwidth > 0 {
		dst = strconv.AppendInt(append(dst, ",AVERAGE-BANDWIDTH="...), v.AverageBandwidth, 10)
	}
	if v.Codecs != "" {
		dst = appendQuoted(dst, ",CODECS=", v.Codecs)
	}
	if v.Width > 0 && v.Height > 0 {
		dst = strconv.AppendInt(append(dst, ",RESOLUTION="...), int64(v.Width), 10)
		dst = strconv.AppendInt(append(dst, 'x'), int64(v.Height), 10)
	}
	if v.VideoRange != "" {
		dst = appendEnum(append(dst, ",VIDEO-RANGE="...), v.VideoRange)
	}
	return dst
}

func (r *Rendition) append(dst []byte) []byte {
	dst = appendEnum(append(dst, "#EXT-X-MEDIA:TYPE="...), r.Type)
	dst = appendQuoted(dst, ",GROUP-ID=", r.GroupID)
	dst = appendQuoted(dst, ",NAME=", r.Name)
	if r.Language != "" {
		dst = appendQuoted(dst, ",LANGUAGE=", r.Language)
	}
	if r.Default {
		dst = append(dst, ",DEFAULT=YES"...)
	}
	if r.Autoselect || r.Default {
		dst = append(dst, ",AUTOSELECT=YES"...)
	}
	if r.Channels != "" {
		dst = appendQuoted(dst, ",CHANNELS=", r.Channels)
	}
	if r.URI != "" {
		dst = appendQuoted(dst, ",URI=", r.URI)
	}
	return append(r.More.append(dst), '\n')
}

func appendInt(dst []byte, tag string, v int64) []byte {
	return append(strconv.AppendInt(append(dst, tag...), v, 10), '\n')
}

// appendMicros writes us as seconds with three to six digits behind the point.
func appendMicros(dst []byte, us int64) []byte {
	us = max(us, 0)
	dst = append(strconv.AppendInt(dst, us/1000000, 10), '.')
	frac := us % 1000000
	for i, unit := 0, int64(100000); unit > 0 && (i < 3 || frac > 0); i, unit = i+1, unit/10 {
		dst = append(dst, byte('0'+frac/unit))
		frac %= unit
	}
	return dst
}

// appendMillis writes d, rounded up to the millisecond: a target or a distance
// that was rounded down would be broken by what was measured against it.
func appendMillis(dst []byte, d time.Duration) []byte {
	return appendMicros(dst, (d+time.Millisecond-1).Milliseconds()*1000)
}

func appendQuoted(dst []byte, name, s string) []byte {
	dst = append(append(dst, name...), '"')
	return append(appendText(dst, s), '"')
}

// appendText writes s with '_' for what would end the line or the quotes.
func appendText(dst []byte, s string) []byte {
	for i := range len(s) {
		c := s[i]
		if unsafe(c) {
			c = '_'
		}
		dst = append(dst, c)
	}
	return dst
}

func appendEnum(dst []byte, s string) []byte {
	for i := range len(s) {
		c := s[i]
		if !isEnum(s[i : i+1]) {
			c = '_'
		}
		dst = append(dst, c)
	}
	return dst
}
