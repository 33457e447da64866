package libav

import (
	"bytes"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec"
	"github.com/cleave-video/cleave/codec/aac"
	"github.com/cleave-video/cleave/codec/ac3"
	"github.com/cleave-video/cleave/codec/av1"
	"github.com/cleave-video/cleave/codec/mp3"
	"github.com/cleave-video/cleave/codec/opus"
	"github.com/cleave-video/cleave/codec/vp9"
)

// isAnnexB reports whether b begins with a start code.
func isAnnexB(b []byte) bool {
	return bytes.HasPrefix(b, []byte{0, 0, 1}) || bytes.HasPrefix(b, []byte{0, 0, 0, 1})
}

// extradata reads what libavformat calls so: the configuration in the form of
// whatever container it came from. False means that it cannot be read.
func (l *lane) extradata(x []byte) bool {
	switch l.track.Codec {
	case av.H264, av.H265:
		if len(x) < 7 || isAnnexB(x) {
			l.form = formAnnexB
			return true
		}
		l.form = formPlain
		c := bytes.Clone(x)
		c[0] = 1 // early writers of HEVC in Matroska left configurationVersion at 0
		return l.adopt(c)
	case av.AAC:
		if len(x) >= 2 {
			return l.adopt(x)
		}
		l.form = formADTS
	case av.AV1:
		l.form = formOBU
		if len(x) > 4 && x[0] == 0x81 {
			return l.adopt(x)
		}
	case av.Opus:
		c, err := opus.ParseHead(x)
		return err == nil && l.adopt(c.Append(nil))
	}
	return true
}

// fromPacket makes the configuration of a packet that tells it.
func (l *lane) fromPacket(data []byte) {
	switch l.track.Codec {
	case av.H264, av.H265:
		if l.ahead == nil {
			l.ahead = l.newStream()
		}
		if _, _, err := l.ahead.Scan(data, codec.StartCodes(nil, data)); err == nil && l.ahead.Config() != nil {
			l.adopt(l.ahead.Config())
		}
	case av.AAC:
		if c, err := aac.FrameConfig(data); err == nil {
			l.adopt(c)
		}
	case av.AC3, av.EAC3:
		if f, err := ac3.ParseFrame(data); err == nil {
			l.adopt(f.Config())
		}
	case av.MP3:
		if _, err := mp3.ParseHeader(data); err == nil {
			l.adopt(data[:4])
		}
	case av.VP9:
		if c, err := vp9.Config(data); err == nil {
			l.adopt(c)
		}
	case av.AV1:
		if c, err := av1.Config(av1.Look(data).Sequence); err == nil {
			l.adopt(c)
		}
	}
}

// strip removes what ISO BMFF does not store; nil if nothing is left.
func (l *lane) strip(data []byte) []byte {
	switch l.form {
	case formADTS:
		h, err := aac.ParseADTS(data)
		if err != nil || h.HeaderLen >= len(data) || h.Blocks > 1 {
			return nil
		}
		return data[h.HeaderLen:]
	case formOBU:
		const temporalDelimiter = 2
		if o, rest, ok := av1.Next(data); ok && o.Type == temporalDelimiter {
			return rest
		}
	}
	return data
}

// samples is the length of an audio frame at rate, 0 if nothing tells.
func (l *lane) samples(data []byte) int {
	switch l.track.Codec {
	case av.Opus:
		if n, err := opus.Samples(data); err == nil {
			return n
		}
	case av.MP3:
		if h, err := mp3.ParseHeader(data); err == nil {
			return h.Samples
		}
	case av.AC3, av.EAC3:
		if f, err := ac3.ParseFrame(data); err == nil {
			return f.Samples
		}
	}
	return l.info.FrameSamples
}

func (l *lane) rate() int {
	if l.info.SampleRate > 0 {
		return l.info.SampleRate
	}
	return l.stream.SampleRate
}

// guess finds out what an unnamed stream carries.
type guess struct {
	avc, hevc *codec.ByteStream
	audio     map[av.Codec]int // frames in a row
}

func newGuess() *guess {
	return &guess{avc: codec.NewByteStream(av.H264), hevc: codec.NewByteStream(av.H265), audio: map[av.Codec]int{}}
}

// sureFrames is how many packets must begin with a header for that to be no accident.
const sureFrames = 3

// see looks at a packet. Parameter sets that can be read, or headers at the start of
// several packets, tell the codec.
func (g *guess) see(data []byte) (av.Codec, form, bool) {
	if isAnnexB(data) {
		codes := codec.StartCodes(nil, data)
		for c, s := range map[av.Codec]*codec.ByteStream{av.H264: g.avc, av.H265: g.hevc} {
			if _, _, err := s.Scan(data, codes); err == nil && s.Config() != nil {
				return c, formAnnexB, true
			}
		}
	}
	if h, err := aac.ParseADTS(data); g.count(av.AAC, err == nil && h.FrameLen == len(data)) {
		return av.AAC, formADTS, true
	}
	f, err := ac3.ParseFrame(data)
	if g.count(av.AC3, err == nil && !f.EAC3 && f.Size == len(data)) {
		return av.AC3, formPlain, true
	}
	if g.count(av.EAC3, err == nil && f.EAC3 && f.Size <= len(data)) {
		return av.EAC3, formPlain, true
	}
	if h, err := mp3.ParseHeader(data); g.count(av.MP3, err == nil && h.FrameLen == len(data)) {
		return av.MP3, formPlain, true
	}
	return 0, 0, false
}

func (g *guess) count(c av.Codec, ok bool) bool {
	if !ok {
		g.audio[c] = 0
		return false
	}
	g.audio[c]++
	return g.audio[c] >= sureFrames
}
