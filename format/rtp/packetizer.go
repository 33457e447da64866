package rtp

import (
	"fmt"
	"time"

	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/pion/rtp"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec/ac3"
	"github.com/cleave-video/cleave/codec/av1"
	"github.com/cleave-video/cleave/codec/h264"
	"github.com/cleave-video/cleave/codec/h265"
	"github.com/cleave-video/cleave/codec/opus"
	"github.com/cleave-video/cleave/internal/nal"
)

// Packetizer makes RTP packets of the packets of one track. It belongs to one goroutine.
type Packetizer struct {
	// Format is what a session description says of the track.
	Format format.Format

	tb     av.Timebase
	rate   av.Timebase
	encode func(p *av.Packet) ([]*rtp.Packet, error)
	list   [][]byte // of the packet at hand
}

// NewPacketizer returns a Packetizer of t, whose packets have the payload type, unless
// the codec has one of its own. The error wraps av.ErrUnsupported where RTP has no payload
// format for the codec that is known here.
func NewPacketizer(t *av.Track, payloadType uint8) (*Packetizer, error) {
	k := &Packetizer{tb: t.Timebase}
	var err error
	switch t.Codec {
	case av.H264:
		err = k.h264(t, payloadType)
	case av.H265:
		err = k.h265(t, payloadType)
	case av.AV1:
		err = k.av1(t, payloadType)
	case av.VP9:
		err = k.vp9(payloadType)
	case av.AAC:
		err = k.aac(t, payloadType)
	case av.Opus:
		err = k.opus(t, payloadType)
	case av.AC3:
		err = k.ac3(t, payloadType)
	case av.MP3:
		err = k.mp3()
	default:
		err = av.ErrUnsupported
	}
	if err != nil {
		return nil, fmt.Errorf("rtp: %s: %w", t.Codec, err)
	}
	k.rate = av.Timebase{Num: 1, Den: uint32(k.Format.ClockRate())}
	return k, nil
}

// Packetize returns the RTP packets of p, in the order they are to be sent. Their
// timestamp is p's PTS plus offset. Their payloads may be slices of p's.
func (k *Packetizer) Packetize(p *av.Packet, offset time.Duration) ([]*rtp.Packet, error) {
	if len(p.Data) == 0 {
		return nil, nil
	}
	out, err := k.encode(p)
	if err != nil {
		return nil, fmt.Errorf("rtp: %w", err)
	}
	ts := uint32(k.tb.Rescale(p.PTS, k.rate) + k.rate.Ticks(offset))
	for _, r := range out {
		r.Timestamp = ts
	}
	return out, nil
}

// RFC 6184
func (k *Packetizer) h264(t *av.Track, payloadType uint8) error {
	c, err := h264.ParseConfig(t.Config)
	if err != nil {
		return err
	}
	f := &format.H264{PayloadTyp: payloadType, PacketizationMode: 1}
	if len(c.SPS) > 0 && len(c.PPS) > 0 {
		f.SPS, f.PPS = c.SPS[0], c.PPS[0]
	}
	e, err := f.CreateEncoder()
	if err != nil {
		return err
	}
	k.Format = f
	k.encode = k.units(func(p *av.Packet) {
		k.split(p, c.NALLength, h264.Type, h264.TypeAUD, h264.TypeSPS, c.SPS, c.PPS)
	}, e.Encode)
	return nil
}

// RFC 7798
func (k *Packetizer) h265(t *av.Track, payloadType uint8) error {
	c, err := h265.ParseConfig(t.Config)
	if err != nil {
		return err
	}
	f := &format.H265{PayloadTyp: payloadType}
	if len(c.VPS) > 0 && len(c.SPS) > 0 && len(c.PPS) > 0 {
		f.VPS, f.SPS, f.PPS = c.VPS[0], c.SPS[0], c.PPS[0]
	}
	e, err := f.CreateEncoder()
	if err != nil {
		return err
	}
	k.Format = f
	k.encode = k.units(func(p *av.Packet) {
		k.split(p, c.NALLength, h265.Type, h265.TypeAUD, h265.TypeSPS, c.VPS, c.SPS, c.PPS)
	}, e.Encode)
	return nil
}

// units is for encoders of what fill puts into the list; of nothing there are no packets.
func (k *Packetizer) units(fill func(p *av.Packet), encode func(units [][]byte) ([]*rtp.Packet, error)) func(p *av.Packet) ([]*rtp.Packet, error) {
	return func(p *av.Packet) ([]*rtp.Packet, error) {
		k.list = k.list[:0]
		if fill(p); len(k.list) == 0 {
			return nil, nil
		}
		return encode(k.list)
	}
}

// split adds the NAL units of p but for delimiters; a key frame that has no sequence
// parameter set gets those of the configuration.
func (k *Packetizer) split(p *av.Packet, length int, kind func(unit []byte) int, delimiter, sps int, sets ...[][]byte) {
	if p.Flags&av.Key != 0 && !contains(p.Data, length, kind, sps) {
		for _, s := range sets {
			k.list = append(k.list, s...)
		}
	}
	for units := nal.Split(p.Data, length); ; {
		u, ok := units.Next()
		if !ok {
			return
		}
		if len(u) > 0 && kind(u) != delimiter {
			k.list = append(k.list, u)
		}
	}
}

func contains(au []byte, length int, kind func(unit []byte) int, want int) bool {
	for units := nal.Split(au, length); ; {
		u, ok := units.Next()
		if !ok {
			return false
		}
		if len(u) > 0 && kind(u) == want {
			return true
		}
	}
}

// RTP Payload Format For AV1 1.0
func (k *Packetizer) av1(t *av.Track, payloadType uint8) error {
	f := &format.AV1{PayloadTyp: payloadType}
	e, err := f.CreateEncoder()
	if err != nil {
		return err
	}
	var sequence []byte // header OBU
	if len(t.Config) > 4 {
		sequence = t.Config[4:]
	}
	k.Format = f
	k.encode = k.units(func(p *av.Packet) {
		if p.Flags&av.Key != 0 && av1.Look(p.Data).Sequence == nil {
			k.addOBUs(sequence)
		}
		k.addOBUs(p.Data)
	}, e.Encode)
	return nil
}

// addOBUs adds the OBUs of b, without their sizes, to the list.
func (k *Packetizer) addOBUs(b []byte) {
	for {
		o, rest, ok := av1.Next(b)
		if !ok {
			return
		}
		b = rest
		if o.Type != av1.TypeTemporalDelimiter && o.Type != av1.TypeTileList {
			k.list = append(k.list, withoutSize(o))
		}
	}
}

// withoutSize is an OBU as RTP has it. AV1 5.3.1
func withoutSize(o av1.OBU) []byte {
	const extension, hasSize = 0x04, 0x02
	if o.Raw[0]&hasSize == 0 {
		return o.Raw
	}
	out := make([]byte, 0, len(o.Payload)+2)
	out = append(out, o.Raw[0]&^hasSize)
	if o.Raw[0]&extension != 0 {
		out = append(out, o.Raw[1])
	}
	return append(out, o.Payload...)
}

// RFC 9628
func (k *Packetizer) vp9(payloadType uint8) error {
	f := &format.VP9{PayloadTyp: payloadType}
	e, err := f.CreateEncoder()
	if err != nil {
		return err
	}
	k.Format = f
	k.encode = func(p *av.Packet) ([]*rtp.Packet, error) { return e.Encode(p.Data) }
	return nil
}

// RFC 3640
func (k *Packetizer) aac(t *av.Track, payloadType uint8) error {
	c := new(mpeg4audio.AudioSpecificConfig)
	if err := c.Unmarshal(t.Config); err != nil {
		return fmt.Errorf("AudioSpecificConfig: %w: %v", av.ErrInvalid, err)
	}
	f := &format.MPEG4Audio{PayloadTyp: payloadType, ProfileLevelID: 1, Config: c, SizeLength: 13, IndexLength: 3, IndexDeltaLength: 3}
	e, err := f.CreateEncoder()
	if err != nil {
		return err
	}
	k.Format = f
	k.encode = k.frame(e.Encode)
	return nil
}

// frame is for encoders that can put several frames into a packet: each gets its own.
func (k *Packetizer) frame(encode func(frames [][]byte) ([]*rtp.Packet, error)) func(p *av.Packet) ([]*rtp.Packet, error) {
	return k.units(func(p *av.Packet) { k.list = append(k.list, p.Data) }, encode)
}

// RFC 7587
func (k *Packetizer) opus(t *av.Track, payloadType uint8) error {
	c, err := opus.ParseConfig(t.Config)
	if err != nil {
		return err
	}
	f := &format.Opus{PayloadTyp: payloadType, ChannelCount: c.Channels}
	e, err := f.CreateEncoder()
	if err != nil {
		return err
	}
	k.Format = f
	k.encode = func(p *av.Packet) ([]*rtp.Packet, error) {
		r, err := e.Encode(p.Data)
		return []*rtp.Packet{r}, err
	}
	return nil
}

// RFC 4184
func (k *Packetizer) ac3(t *av.Track, payloadType uint8) error {
	rate, channels, err := ac3.ParseConfig(t.Config, false)
	if err != nil {
		return err
	}
	f := &format.AC3{PayloadTyp: payloadType, SampleRate: rate, ChannelCount: channels}
	e, err := f.CreateEncoder()
	if err != nil {
		return err
	}
	k.Format = f
	k.encode = k.frame(e.Encode)
	return nil
}

// RFC 2250
func (k *Packetizer) mp3() error {
	f := new(format.MPEG1Audio)
	e, err := f.CreateEncoder()
	if err != nil {
		return err
	}
	k.Format = f
	k.encode = k.frame(e.Encode)
	return nil
}
