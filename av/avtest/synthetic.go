package avtest

import (
	"io"
	"io/fs"
	"sync/atomic"
	"time"

	"github.com/cleave-video/cleave/av"
)

// Spec describes a synthetic stream: a video track, an audio track, or both,
// video first. Video is H.264 whose parameter sets and slice headers are real and
// whose pictures are filler; audio is AAC-LC of the same kind.
type Spec struct {
	Video Video
	Audio Audio
	// Start is the DTS of the first packets.
	Start time.Duration
	// Jumps change the times from a place on, in order.
	Jumps []Jump
	// WrapBits, if not 0, is how many bits of the times survive.
	WrapBits int
}

// Video describes the video track; Frames 0 is none.
type Video struct {
	Frames   int
	Timebase av.Timebase // zero: one tick a frame at 25 a second
	FrameDur int64       // ticks; 0: 1
	GOPs     []int       // lengths in frames, taken in turn; nil: 25
	B        int         // B pictures, to which none refers, between others
	Open     bool        // keys but the first are recovery points with leading B pictures
	Width    int         // 0: 320; of a whole macroblock
	Height   int         // 0: 192
	Size     int         // bytes of a packet; 0: 200
	KeySize  int         // bytes of a key packet; 0: 3 times Size
}

// Audio describes the audio track; Frames 0 is none.
type Audio struct {
	Frames     int
	SampleRate int         // 0: 48000
	Channels   int         // 0: 2
	Timebase   av.Timebase // zero: one sample
	Size       int         // bytes of a packet; 0: 100
}

// Jump adds By to the times of every packet whose DTS, without jumps, is At or
// later, counted from the start.
type Jump struct {
	At, By time.Duration
	Marked bool // the first packet of each track behind it has Discont
}

// Synthetic is a Demuxer of Specs, one after the other: each begins with
// av.ErrTracks. Packets of both tracks come in the order of their DTS.
type Synthetic struct {
	specs  []Spec
	tracks []av.Track
	lanes  []*lane
	closed atomic.Bool
	given  atomic.Int64 // packets
	total  int64
}

var (
	_ av.Demuxer  = (*Synthetic)(nil)
	_ av.Progress = (*Synthetic)(nil)
)

// NewSynthetic returns a demuxer of specs.
func NewSynthetic(specs ...Spec) *Synthetic {
	s := &Synthetic{specs: specs}
	for _, spec := range specs {
		s.total += int64(spec.Video.Frames) + int64(spec.Audio.Frames)
	}
	return s
}

// Tracks implements av.Demuxer.
func (s *Synthetic) Tracks() []av.Track { return s.tracks }

// Close implements av.Demuxer.
func (s *Synthetic) Close() error {
	s.closed.Store(true)
	return nil
}

// Progress implements av.Progress, in packets.
func (s *Synthetic) Progress() (done, total int64) { return s.given.Load(), s.total }

// WrapBits is that of the current Spec.
func (s *Synthetic) WrapBits() int {
	if len(s.lanes) > 0 {
		return s.lanes[0].spec.WrapBits
	}
	if len(s.specs) > 0 {
		return s.specs[0].WrapBits
	}
	return 0
}

// ReadPacket implements av.Demuxer. It does not allocate but at av.ErrTracks.
func (s *Synthetic) ReadPacket(a av.Allocator) (av.Packet, error) {
	if s.closed.Load() {
		return av.Packet{}, fs.ErrClosed
	}
	l := s.earliest()
	if l == nil {
		if len(s.specs) == 0 {
			return av.Packet{}, io.EOF
		}
		s.open(s.specs[0])
		s.specs = s.specs[1:]
		return av.Packet{}, av.ErrTracks
	}
	data, err := a.Alloc(l.track, l.size())
	if err != nil {
		return av.Packet{}, err
	}
	s.given.Add(1)
	return l.take(data), nil
}

// earliest returns the track whose next packet decodes first, nil at the end.
func (s *Synthetic) earliest() *lane {
	var first *lane
	for _, l := range s.lanes {
		if l.left() && (first == nil || l.tb.Compare(l.dts(), first.tb, first.dts()) < 0) {
			first = l
		}
	}
	return first
}

func (s *Synthetic) open(spec Spec) {
	s.tracks, s.lanes = nil, nil
	if spec.Video.Frames > 0 {
		v := spec.Video.defaults()
		s.tracks = append(s.tracks, av.Track{Kind: av.Video, Codec: av.H264, Timebase: v.Timebase, Config: v.config()})
		s.lanes = append(s.lanes, newVideo(&spec, v, 0))
	}
	if spec.Audio.Frames > 0 {
		a := spec.Audio.defaults()
		n := len(s.tracks)
		s.tracks = append(s.tracks, av.Track{Kind: av.Audio, Codec: av.AAC, Timebase: a.Timebase, Config: a.config()})
		s.lanes = append(s.lanes, newAudio(&spec, a, n))
	}
}
