package rtp

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtpac3"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtpfragmented"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtpmpeg1audio"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtpmpeg4audio"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtpsimpleaudio"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/pion/rtp"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec/aac"
	"github.com/cleave-video/cleave/codec/ac3"
	"github.com/cleave-video/cleave/codec/mp3"
	"github.com/cleave-video/cleave/codec/opus"
)

// ascOf returns an AudioSpecificConfig and how long its frames are in ticks.
func ascOf(c *mpeg4audio.AudioSpecificConfig, rate int64) (asc []byte, dur int64, err error) {
	if asc, err = c.Marshal(); err != nil {
		return nil, 0, err
	}
	parsed, err := aac.ParseConfig(asc)
	if err != nil {
		return nil, 0, err
	}
	if parsed.SampleRate > 0 {
		dur = int64(parsed.FrameSamples) * rate / int64(parsed.SampleRate)
	}
	return asc, dur, nil
}

// following makes units of frames that last dur each, from the timestamp on.
func following(frames [][]byte, ts uint32, dur int64) []unit {
	out := make([]unit, 0, len(frames))
	for i, f := range frames {
		if len(f) > 0 {
			out = append(out, unit{parts: [][]byte{f}, ts: ts, behind: int64(i) * dur, dur: dur})
		}
	}
	return out
}

// RFC 3640
type aacPayload struct {
	format  *format.MPEG4Audio
	decoder *rtpmpeg4audio.Decoder
	asc     []byte
	dur     int64
}

func newAAC(f *format.MPEG4Audio) (*aacPayload, error) {
	if f.Config == nil {
		return nil, fmt.Errorf("%w: no config", av.ErrInvalid)
	}
	asc, dur, err := ascOf(f.Config, int64(f.ClockRate()))
	return &aacPayload{format: f, asc: asc, dur: dur}, err
}

func (a *aacPayload) config() []byte { return a.asc }

func (a *aacPayload) reset() (err error) {
	a.decoder, err = a.format.CreateDecoder()
	return err
}

func (a *aacPayload) decode(p *rtp.Packet) ([]unit, error) {
	frames, err := a.decoder.Decode(p)
	if errors.Is(err, rtpmpeg4audio.ErrMorePacketsNeeded) {
		return nil, errMore
	}
	return following(frames, p.Timestamp, a.dur), err
}

// latmPayload: RFC 6416 7
type latmPayload struct {
	format  *format.MPEG4AudioLATM
	decoder *rtpfragmented.Decoder
	mux     *mpeg4audio.StreamMuxConfig
	asc     []byte
	dur     int64
}

func (l *latmPayload) config() []byte { return l.asc }

// withoutExtension mends a configuration whose AudioSpecificConfig goes on with the
// syncExtensionType of ISO 14496-3 1.6.5, which audioMuxVersion 0 has no room for:
// GStreamer's rtpmp4apay writes what it is given, and ffmpeg's encoder gives that. Its
// 0x2b7 is read as the frameLengthType 2, which is reserved, and what follows as other
// data; frames are then those of frameLengthType 0.
func withoutExtension(c *mpeg4audio.StreamMuxConfig) {
	const reserved = 2 // ISO 14496-3 table 1.42
	if len(c.Programs) != 1 || len(c.Programs[0].Layers) != 1 || c.Programs[0].Layers[0].FrameLengthType != reserved {
		return
	}
	l := c.Programs[0].Layers[0]
	l.FrameLengthType, l.LatmBufferFullness = 0, 255
	c.OtherDataPresent, c.OtherDataLenBits, c.CRCCheckPresent, c.CRCCheckSum = false, 0, false, 0
}

func (l *latmPayload) reset() (err error) {
	if l.mux == nil && l.format.StreamMuxConfig != nil {
		withoutExtension(l.format.StreamMuxConfig)
		if _, err := l.adopt(l.format.StreamMuxConfig); err != nil {
			return err
		}
	}
	l.decoder, err = l.format.CreateDecoder()
	return err
}

// adopt takes a configuration and returns it if it is new.
func (l *latmPayload) adopt(c *mpeg4audio.StreamMuxConfig) ([]byte, error) {
	if len(c.Programs) != 1 || len(c.Programs[0].Layers) != 1 || c.Programs[0].Layers[0].AudioSpecificConfig == nil {
		return nil, fmt.Errorf("rtp: LATM: %w: not one program of one layer", av.ErrUnsupported)
	}
	asc, dur, err := ascOf(c.Programs[0].Layers[0].AudioSpecificConfig, int64(l.format.ClockRate()))
	if err != nil {
		return nil, err
	}
	l.mux, l.dur = c, dur
	if bytes.Equal(asc, l.asc) {
		return nil, nil
	}
	l.asc = asc
	return asc, nil
}

func (l *latmPayload) decode(p *rtp.Packet) ([]unit, error) {
	frame, err := l.decoder.Decode(p)
	if errors.Is(err, rtpfragmented.ErrMorePacketsNeeded) {
		return nil, errMore
	}
	if err != nil {
		return nil, err
	}
	e := mpeg4audio.AudioMuxElement{MuxConfigPresent: l.format.CPresent, StreamMuxConfig: l.mux}
	if l.mux == nil && !l.format.CPresent {
		return nil, fmt.Errorf("rtp: LATM: %w: no config", av.ErrInvalid)
	}
	if err := e.Unmarshal(frame); err != nil {
		return nil, err
	}
	var changed []byte
	if l.format.CPresent && e.StreamMuxConfig != nil {
		if changed, err = l.adopt(e.StreamMuxConfig); err != nil {
			return nil, err
		}
	}
	if l.asc == nil {
		return nil, nil
	}
	var frames [][]byte
	for _, sub := range e.Payloads {
		if len(sub) == 1 && len(sub[0]) == 1 {
			frames = append(frames, sub[0][0])
		}
	}
	out := following(frames, p.Timestamp, l.dur)
	if len(out) > 0 {
		out[0].config = changed
	}
	return out, nil
}

// RFC 7587
type opusPayload struct {
	format  *format.Opus
	decoder *rtpsimpleaudio.Decoder
	record  []byte
}

func newOpus(f *format.Opus) *opusPayload {
	n := 2
	if f.ChannelCount == 1 {
		n = 1
	}
	c := opus.Config{Channels: n, PreSkip: 312, InputRate: 48000}
	return &opusPayload{format: f, record: c.Append(nil)}
}

func (o *opusPayload) config() []byte { return o.record }

func (o *opusPayload) reset() (err error) {
	o.decoder, err = o.format.CreateDecoder()
	return err
}

func (o *opusPayload) decode(p *rtp.Packet) ([]unit, error) {
	frame, err := o.decoder.Decode(p)
	if err != nil {
		return nil, err
	}
	n, err := opus.Samples(frame)
	if err != nil {
		return nil, err
	}
	return following([][]byte{frame}, p.Timestamp, int64(n)), nil
}

// RFC 4184
type ac3Payload struct {
	format  *format.AC3
	decoder *rtpac3.Decoder
	record  []byte
}

func (a *ac3Payload) config() []byte { return a.record }

func (a *ac3Payload) reset() (err error) {
	a.decoder, err = a.format.CreateDecoder()
	return err
}

func (a *ac3Payload) decode(p *rtp.Packet) ([]unit, error) {
	frames, err := a.decoder.Decode(p)
	if errors.Is(err, rtpac3.ErrMorePacketsNeeded) {
		return nil, errMore
	}
	if err != nil || len(frames) == 0 {
		return nil, err
	}
	head, err := ac3.ParseFrame(frames[0])
	if err != nil {
		return nil, err
	}
	if head.EAC3 || head.SampleRate <= 0 {
		return nil, fmt.Errorf("rtp: AC-3: %w: E-AC-3 in it", av.ErrInvalid)
	}
	out := following(frames, p.Timestamp, int64(head.Samples)*int64(a.format.ClockRate())/int64(head.SampleRate))
	if c := head.Config(); len(out) > 0 && !bytes.Equal(c, a.record) {
		a.record, out[0].config = c, c
	}
	return out, nil
}

// mp3Payload: RFC 2250 3.5
type mp3Payload struct {
	format  *format.MPEG1Audio
	decoder *rtpmpeg1audio.Decoder
	record  []byte
}

func (m *mp3Payload) config() []byte { return m.record }

func (m *mp3Payload) reset() (err error) {
	m.decoder, err = m.format.CreateDecoder()
	return err
}

func (m *mp3Payload) decode(p *rtp.Packet) ([]unit, error) {
	frames, err := m.decoder.Decode(p)
	if errors.Is(err, rtpmpeg1audio.ErrMorePacketsNeeded) {
		return nil, errMore
	}
	if err != nil || len(frames) == 0 {
		return nil, err
	}
	head, err := mp3.ParseHeader(frames[0])
	if err != nil || head.Layer != 3 || head.SampleRate <= 0 {
		return nil, fmt.Errorf("rtp: MPEG audio: %w: not layer III", av.ErrUnsupported)
	}
	out := following(frames, p.Timestamp, int64(head.Samples)*int64(m.format.ClockRate())/int64(head.SampleRate))
	if len(out) > 0 && m.record == nil {
		m.record = bytes.Clone(frames[0][:4])
		out[0].config = m.record
	}
	return out, nil
}
