// Package hls writes and reads HLS playlists (RFC 8216bis): media playlists,
// with the parts of low latency, and multivariant playlists. It is text both
// ways and knows nothing of files, of the network or of what a URI resolves to.
//
// Times are exact: a segment says where it starts and how long it is in ticks,
// and what is written is the difference of two rounded positions, so the sum of
// any run of EXTINF is wrong by at most a microsecond (Apple's rule 8.1), the
// parts of a segment sum to its EXTINF, and a segment's line never changes while
// a live window slides over it.
package hls

import (
	"time"

	"github.com/cleave-video/cleave/av"
)

// PlaylistType is the value of EXT-X-PLAYLIST-TYPE (RFC 8216bis 4.4.3.5).
type PlaylistType string

// The playlist types. A live playlist whose window slides has none.
const (
	Live  PlaylistType = ""
	VOD   PlaylistType = "VOD"
	Event PlaylistType = "EVENT"
)

// Media is a media playlist: the segments of one rendition.
type Media struct {
	// Version is what a parsed playlist declared (1 if it did not). Append does
	// not look at it; it writes Need.
	Version int
	// TargetDuration is in seconds, at least 1, and never less than any
	// segment's duration rounded to the nearest second (4.4.3.1).
	TargetDuration int64
	// Sequence is the number of the first listed segment (4.4.3.2).
	Sequence int64
	// DiscontinuitySequence is the number of discontinuities that came before
	// the first listed segment's own (4.4.3.3). Written unless the type is VOD
	// and it is 0.
	DiscontinuitySequence int64
	Type                  PlaylistType
	IndependentSegments   bool // every segment decodes alone (4.4.2.1)
	IFramesOnly           bool // every segment is one I-frame (4.4.3.6)
	EndList               bool // no segment follows, ever (4.4.3.4)

	// Map is the initialization section of the segments up to the first that
	// has its own. An empty URI means none.
	Map Map
	// Keys decrypt the segments up to the first that has its own; they do not
	// apply to Map.
	Keys []Key
	// Segments are in playback order. The last may have an empty URI: it is
	// then still open, and only its tags and Parts are written.
	Segments []Segment

	// Control, PartTarget, Skipped, Hints and Reports are for low latency.
	Control ServerControl
	// PartTarget is PART-TARGET (4.4.3.7), in whole milliseconds; 0 if there
	// are no parts.
	PartTarget time.Duration
	// Skipped is how many of the oldest segments a delta update leaves out
	// (4.4.5.2); Segments begins behind them, Sequence still counts them.
	Skipped int64
	Hints   []PreloadHint
	Reports []RenditionReport

	// Removed are the IDs of the date ranges that a delta update says are gone
	// (4.4.5.2, RECENTLY-REMOVED-DATERANGES).
	Removed []string
	// Dates are written before the segments.
	Dates   []DateRange
	Defines []Define
	Start   *Start
}

// Span is a stretch of media time in ticks of a timebase. Neighbours whose
// positions touch keep sums exact when they are rounded to be written.
type Span struct {
	Start, Dur int64
	Timebase   av.Timebase
}

// Segment is one media segment and the tags that apply to it.
type Segment struct {
	URI   string
	Span  Span
	Range ByteRange
	// Discontinuity: the segment does not continue the one before (4.4.4.3).
	Discontinuity bool
	// Gap: the segment is missing; nobody should load it (4.4.4.7).
	Gap bool
	// ProgramDateTime is the wall-clock time of the first sample (4.4.4.6), in
	// whole milliseconds when written; zero if unknown.
	ProgramDateTime time.Time
	// Map applies from this segment on. An empty URI means: as before.
	Map Map
	// Keys decrypt this segment and those that follow, each in the way of its
	// KeyFormat; they do not apply to Map. Empty means: as before.
	Keys  []Key
	Parts []Part
	// Bitrate is EXT-X-BITRATE in kbit/s, from this segment on; 0: as before.
	Bitrate int64
	Title   string
	// Line is where the segment's URI stands in what was parsed, or the last of
	// its parts if it is open; the tag's line in all that follows. Append does not
	// look at it.
	Line int
}

// Part is one partial segment (4.4.4.9).
type Part struct {
	URI         string
	Span        Span
	Range       ByteRange
	Independent bool // it contains an independent frame
	Gap         bool
	Line        int
}

// ByteRange is a part of a resource; Length 0 means all of it.
type ByteRange struct{ Length, Offset int64 }

// Map is a media initialization section (4.4.4.5).
type Map struct {
	URI   string
	Range ByteRange
}

// ServerControl is EXT-X-SERVER-CONTROL (4.4.3.8), not written when zero.
// Durations are in whole milliseconds when written.
type ServerControl struct {
	CanBlockReload bool
	CanSkipUntil   time.Duration // at least six target durations, or 0
	HoldBack       time.Duration // at least three target durations, or 0
	PartHoldBack   time.Duration // at least twice, better thrice PartTarget
	// CanSkipDateRanges goes with CanSkipUntil.
	CanSkipDateRanges bool
}

// PreloadHint announces a resource that will be asked for soon (4.4.5.3).
type PreloadHint struct {
	Type   string // "PART" or "MAP"
	URI    string
	Start  int64 // BYTERANGE-START
	Length int64 // BYTERANGE-LENGTH, 0 if it is not known yet
	Line   int
}

// RenditionReport tells how far another rendition is (4.4.5.4).
type RenditionReport struct {
	URI      string
	LastMSN  int64
	LastPart int64 // -1: the rendition has no parts
	Line     int
}

// Multivariant is a multivariant playlist: what there is to choose from.
type Multivariant struct {
	// Version is what a parsed playlist declared (1 if it did not). Append does
	// not look at it; it writes Need.
	Version             int
	IndependentSegments bool
	Media               []Rendition
	Variants            []Variant
	// IFrames are I-frame playlists; FrameRate and Audio are not written
	// for them (4.4.6.3).
	IFrames     []Variant
	SessionData []SessionData
	SessionKeys []Key // that a client may load beforehand
	Steering    *Steering
	Defines     []Define
	Start       *Start
}

// Variant is EXT-X-STREAM-INF or EXT-X-I-FRAME-STREAM-INF (4.4.6.2, 4.4.6.3).
type Variant struct {
	URI              string
	Bandwidth        int64 // peak, bits per second, of any playable combination
	AverageBandwidth int64 // bits per second, 0 if unknown
	// Codecs lists every format in any rendition of it, RFC 6381, by commas.
	Codecs        string
	Width, Height int         // 0 if unknown
	FrameRate     av.Rational // the highest; Den 0 if unknown; more than 100,000 is not written
	Audio         string      // GroupID of its audio renditions, or empty
	VideoRange    string      // "SDR", "HLG", "PQ" or empty
	// More are the attributes that this package has no word for, as they stood.
	More Attributes
	Line int
}

// Rendition is EXT-X-MEDIA (4.4.6.1).
type Rendition struct {
	Type       string // "AUDIO", "VIDEO", "SUBTITLES" or "CLOSED-CAPTIONS"
	GroupID    string
	Name       string // unique in its group
	Language   string // RFC 5646, or empty
	Default    bool   // at most one of a group; it is then Autoselect too
	Autoselect bool
	Channels   string // "2", "6", ...
	URI        string // empty if the variant itself carries it
	// More are the attributes that this package has no word for, as they stood.
	More Attributes
	Line int
}

// Need returns the lowest protocol version that has all m uses (section 8).
func (m *Media) Need() int {
	need := 3 // durations are written as fractions
	if m.IFramesOnly {
		need = 4
	}
	if m.Map.URI != "" {
		need = max(need, mapVersion(m.IFramesOnly))
	}
	need = max(need, keyVersion(m.Keys))
	for i := range m.Segments {
		s := &m.Segments[i]
		need = max(need, keyVersion(s.Keys))
		if s.Range.Length > 0 {
			need = max(need, 4)
		}
		if s.Map.URI != "" {
			need = max(need, mapVersion(m.IFramesOnly))
		}
		for j := range s.Keys {
			need = max(need, s.Keys[j].need())
		}
	}
	if len(m.Defines) > 0 {
		need = max(need, 8)
	}
	// AVPlayer wants 9 of a playlist that offers what only 9 has: delta updates.
	if m.Skipped > 0 || m.Control != (ServerControl{}) {
		need = max(need, 9)
	}
	if len(m.Removed) > 0 {
		need = max(need, 10)
	}
	return need
}

// mapVersion is the version that EXT-X-MAP needs: 5, and 6 outside of I-frame
// playlists.
func mapVersion(iframesOnly bool) int {
	if iframesOnly {
		return 5
	}
	return 6
}

// Need returns the lowest protocol version that has all m uses. It is 1 without
// session keys and variables, since clients skip the attributes that they do not
// know.
func (m *Multivariant) Need() int {
	need := keyVersion(m.SessionKeys)
	if len(m.Defines) > 0 {
		need = max(need, 8)
	}
	return need
}

// keyVersion is the version that keys need.
func keyVersion(keys []Key) int {
	need := 1
	for i := range keys {
		need = max(need, keys[i].need())
	}
	return need
}

var microsecond = av.Timebase{Num: 1, Den: 1e6}

// micros returns the difference of the two rounded ends, in microseconds.
func (s Span) micros() int64 {
	if !s.Timebase.Valid() {
		return 0
	}
	return s.Timebase.Rescale(s.Start+s.Dur, microsecond) - s.Timebase.Rescale(s.Start, microsecond)
}
