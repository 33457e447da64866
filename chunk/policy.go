package chunk

import (
	"errors"
	"fmt"
	"time"

	"github.com/cleave-video/cleave/av"
)

// Keyframe cuts at key frames, on the grid of media time: two packagers with the
// same target cut at the same places, wherever they began.
type Keyframe struct {
	Target time.Duration // of a chunk
	TD     time.Duration // the duration promised to players; 0: none
}

// Cut implements Policy.
func (k Keyframe) Cut(s Span, h Head) Reason {
	if !h.Lead || h.Flags&av.Key == 0 || s.Frames == 0 {
		return None
	}
	target := s.Timebase.Ticks(k.Target)
	if target <= 0 {
		return Grid
	}
	half := h.Dur / 2
	if floorDiv(h.PTS+half, target) > floorDiv(s.Start+half, target) {
		return Grid
	}
	// One more GOP like the last would exceed what was promised by more than the
	// half second that rounding allows (Apple 7.7).
	if k.TD > 0 && (h.PTS-s.Start)+(h.PTS-s.LastKey) >= s.Timebase.Ticks(k.TD+500*time.Millisecond) {
		return NextGOP
	}
	return None
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// Fixed cuts when the target is reached, key frame or not; at a key frame if one
// stands within half a frame. The first chunk of a timeline is not
// cut where it would be a sliver, in which some track may have nothing yet.
type Fixed struct{ Target time.Duration }

// Cut implements Policy.
func (f Fixed) Cut(s Span, h Head) Reason {
	if !h.Lead || s.Frames == 0 {
		return None
	}
	target := s.Timebase.Ticks(f.Target)
	half := h.Dur / 2
	if target <= 0 || floorDiv(h.PTS+half, target) <= floorDiv(s.Start+half+target/4, target) {
		return None // a start shortly before a wall counts as behind it
	}
	if h.Flags&av.Key != 0 || s.Safe {
		return Wall
	}
	return None
}

// Memory fills chunks up to MaxBytes of payload: it cuts at the last key frame
// from which one more GOP, a quarter larger than those before, would not fit, and
// inside a GOP that is larger still before the bound.
type Memory struct{ MaxBytes int64 }

// Cut implements Policy.
func (m Memory) Cut(s Span, h Head) Reason {
	if s.Frames == 0 || !h.Lead {
		return None
	}
	switch after := s.Bytes + int64(h.Size); {
	case after > m.MaxBytes:
		return Bytes
	case h.Flags&av.Key != 0:
		if s.Bytes+max(larger(max(s.GOPBytes, s.LastGOPBytes)), int64(h.Size)) > m.MaxBytes {
			return Bytes
		}
	case s.Safe && after > m.MaxBytes-m.MaxBytes/8 && !m.keyAhead(s):
		return Bytes // the next place where pictures are in order may come too late
	}
	return None
}

// larger is a quarter more than bytes: what GOPs of an even stream differ by.
func larger(bytes int64) int64 { return bytes + bytes/4 }

// keyAhead reports whether the next key frame comes before the bound, unless this GOP
// is much larger than the last.
func (m Memory) keyAhead(s Span) bool {
	next := larger(s.LastGOPBytes)
	return s.GOPBytes <= next && s.Bytes-s.GOPBytes+next <= m.MaxBytes
}

// AdaptiveGOP merges GOPs until a chunk has MinGOP frames, but never past MaxGOP;
// a single longer GOP stays whole. The durations bound in time what the frame
// counts bound at the usual rates; 0 means none.
type AdaptiveGOP struct {
	MinGOP, MaxGOP int
	MinDur, MaxDur time.Duration
}

// Cut implements Policy.
func (a AdaptiveGOP) Cut(s Span, h Head) Reason {
	if !h.Lead || h.Flags&av.Key == 0 || s.Frames == 0 {
		return None
	}
	length := h.PTS - s.Start
	if s.Frames >= a.MinGOP && (a.MinDur <= 0 || length >= s.Timebase.Ticks(a.MinDur)) {
		return Frames
	}
	if s.Frames+s.GOPFrames > a.MaxGOP {
		return Frames // one more GOP like the last would exceed it
	}
	if a.MaxDur > 0 && length+(h.PTS-s.LastKey) > s.Timebase.Ticks(a.MaxDur) {
		return Frames
	}
	return None
}

// Options are the parameters of all policies; each takes what it needs.
type Options struct {
	Target         time.Duration // keyframe, fixed; 0 is 2 s
	TD             time.Duration // keyframe
	MaxBytes       int64         // memory; 0 is 16 MiB
	MinGOP, MaxGOP int           // adaptive_gop; 0 is 12 and 48
	MinDur, MaxDur time.Duration // adaptive_gop
}

// Defaults of Options.
const (
	DefaultTarget   = 2 * time.Second
	DefaultMaxBytes = 16 << 20
	DefaultMinGOP   = 12
	DefaultMaxGOP   = 48
)

// Names lists the policies that Parse knows.
func Names() []string { return []string{"keyframe", "fixed", "memory", "adaptive_gop"} }

// ErrPolicy is wrapped by the errors of Parse.
var ErrPolicy = errors.New("chunk: policy")

// Parse returns the policy of that name.
func Parse(name string, o Options) (Policy, error) {
	if o.Target == 0 {
		o.Target = DefaultTarget
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.MinGOP == 0 {
		o.MinGOP = DefaultMinGOP
	}
	if o.MaxGOP == 0 {
		o.MaxGOP = max(DefaultMaxGOP, o.MinGOP)
	}
	bad := func(text string, args ...any) (Policy, error) {
		return nil, fmt.Errorf("%w %s: %s", ErrPolicy, name, fmt.Sprintf(text, args...))
	}
	switch name {
	case "keyframe", "fixed":
		if o.Target < 100*time.Millisecond || o.Target > time.Hour {
			return bad("target %v is not between 100 ms and 1 h", o.Target)
		}
		if name == "fixed" {
			return Fixed{o.Target}, nil
		}
		return Keyframe{Target: o.Target, TD: o.TD}, nil
	case "memory":
		if o.MaxBytes < 64<<10 || o.MaxBytes > 1<<30 {
			return bad("max_bytes %d is not between 64 KiB and 1 GiB", o.MaxBytes)
		}
		return Memory{o.MaxBytes}, nil
	case "adaptive_gop":
		if o.MinGOP < 1 || o.MaxGOP < o.MinGOP || o.MaxGOP > 1<<16 {
			return bad("min_gop %d, max_gop %d: 1 <= min <= max <= 65536", o.MinGOP, o.MaxGOP)
		}
		if o.MinDur < 0 || o.MaxDur < 0 || o.MaxDur > 0 && o.MaxDur < o.MinDur {
			return bad("min_duration %v, max_duration %v", o.MinDur, o.MaxDur)
		}
		return AdaptiveGOP{o.MinGOP, o.MaxGOP, o.MinDur, o.MaxDur}, nil
	}
	return bad("is not one of %v", Names())
}
