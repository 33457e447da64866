package rtp

import (
	"errors"
	"fmt"

	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/pion/rtp"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec"
)

// payload makes access units of one track's RTP packets, which come in order.
type payload interface {
	// decode returns the access units that p completes. errMore: none yet.
	decode(p *rtp.Packet) ([]unit, error)
	// config returns the track's configuration as far as it is known.
	config() []byte
	// reset forgets what is incomplete: a packet is missing.
	reset() error
}

// unit is an access unit or audio frame.
type unit struct {
	parts  [][]byte // one behind the other
	nal    bool     // each behind its length
	ts     uint32
	behind int64  // ticks from ts
	dur    int64  // ticks, 0 unknown
	config []byte // of the track from here on, nil as before

	track   int
	corrupt bool
	time    int64 // PTS
}

// size is that of the packet.
func (u *unit) size() int {
	n := 0
	for _, p := range u.parts {
		n += len(p)
		if u.nal {
			n += 4
		}
	}
	return n
}

// errMore says that an access unit is not whole yet.
var errMore = errors.New("rtp: more packets are needed")

// newTrack returns the track of a format, nil if that is none known here.
func newTrack(f format.Format) (*track, error) {
	t := &track{rate: int64(f.ClockRate()), kind: av.Audio, index: -1}
	if t.rate <= 0 || t.rate > 1<<31-1 {
		return nil, fmt.Errorf("rtp: %w: a clock of %d Hz", av.ErrInvalid, t.rate)
	}
	var err error
	switch f := f.(type) {
	case *format.H264:
		t.kind, t.codec = av.Video, av.H264
		t.payload = &h264Payload{nalPayload: nalPayload{es: codec.NewByteStream(av.H264)}, format: f}
		err = t.payload.(*h264Payload).prime(f.SPS, f.PPS)
	case *format.H265:
		t.kind, t.codec = av.Video, av.H265
		t.payload = &h265Payload{nalPayload: nalPayload{es: codec.NewByteStream(av.H265)}, format: f}
		err = t.payload.(*h265Payload).prime(f.VPS, f.SPS, f.PPS)
	case *format.AV1:
		t.kind, t.codec, t.payload = av.Video, av.AV1, &av1Payload{format: f}
	case *format.VP9:
		t.kind, t.codec, t.payload = av.Video, av.VP9, &vp9Payload{format: f}
	case *format.MPEG4Audio:
		t.codec = av.AAC
		t.payload, err = newAAC(f)
	case *format.MPEG4AudioLATM:
		t.codec, t.payload = av.AAC, &latmPayload{format: f}
	case *format.Opus:
		t.codec, t.payload = av.Opus, newOpus(f)
	case *format.AC3:
		t.codec, t.payload = av.AC3, &ac3Payload{format: f}
	case *format.MPEG1Audio:
		t.codec, t.payload = av.MP3, &mp3Payload{format: f}
	default:
		return nil, fmt.Errorf("rtp: %w: %s", av.ErrUnsupported, f.RTPMap())
	}
	if err == nil {
		err = t.payload.reset()
	}
	if err != nil {
		return nil, fmt.Errorf("rtp: %s: %w", t.codec, err)
	}
	return t, nil
}
