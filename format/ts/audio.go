package ts

import (
	"bytes"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec/aac"
	"github.com/cleave-video/cleave/codec/ac3"
	"github.com/cleave-video/cleave/codec/mp3"
	"github.com/cleave-video/cleave/codec/opus"
)

// audio finds the frames of a stream and counts samples from the last PTS, so
// that rounding never adds up.
type audio struct {
	want    int   // bytes of the buffer before which looking is in vain
	synced  bool  // a frame ends at head
	known   bool  // base is valid
	base    int64 // the last PTS
	samples int64 // since base
	rate    int
	sig     uint32
}

// frame is what the header of an audio frame says.
type frame struct {
	size, header  int // bytes of the frame and of the header that is left out
	samples, rate int
	sig           uint32 // changes with the configuration
}

// headOf is how many bytes the header parser of a codec must have.
func headOf(c av.Codec) int {
	switch c {
	case av.AAC:
		return 7
	case av.MP3:
		return 4
	}
	return 16
}

// parseFrame reads the header of one frame.
func parseFrame(c av.Codec, b []byte) (frame, bool) {
	switch c {
	case av.AAC:
		h, err := aac.ParseADTS(b)
		if err != nil || h.SampleRate() <= 0 {
			return frame{}, false
		}
		sig := uint32(h.ObjectType)<<16 | uint32(h.SampleRateIndex)<<8 | uint32(h.ChannelConfig) | 1<<31
		return frame{h.FrameLen, h.HeaderLen, 1024 * max(h.Blocks, 1), h.SampleRate(), sig}, h.FrameLen > h.HeaderLen
	case av.MP3:
		h, err := mp3.ParseHeader(b)
		if err != nil {
			return frame{}, false
		}
		sig := uint32(h.SampleRate)<<8 | uint32(h.Channels)<<4 | uint32(h.Layer) | 1<<31
		return frame{h.FrameLen, 0, h.Samples, h.SampleRate, sig}, h.FrameLen > 0
	}
	f, err := ac3.ParseFrame(b)
	if err != nil || f.EAC3 != (c == av.EAC3) {
		return frame{}, false
	}
	sig := uint32(f.SampleRate)<<8 | uint32(f.Channels) | 1<<31
	return frame{f.Size, 0, f.Samples, f.SampleRate, sig}, f.Size > 0
}

// frameConfig is the track's Config by one whole frame.
func frameConfig(c av.Codec, b []byte) []byte {
	switch c {
	case av.AAC:
		if c, err := aac.FrameConfig(b); err == nil {
			return c
		}
		if h, err := aac.ParseADTS(b); err == nil {
			return h.Config() // the channels may still be told in frames to come
		}
	case av.MP3:
		return bytes.Clone(b[:4])
	default:
		if f, err := ac3.ParseFrame(b); err == nil {
			return f.Config()
		}
	}
	return nil
}

// nextFrame returns the frame at head; frames may cross PES packets.
func (s *stream) nextFrame() (unit, bool) {
	a := &s.audio
	for {
		b := s.buf[s.head:]
		if n := headOf(s.codec); len(b) < n {
			a.want = s.head + n
			return unit{}, false
		}
		f, ok := parseFrame(s.codec, b)
		if !ok {
			s.hunt()
			continue
		}
		if s.codec == av.EAC3 && f.size <= len(b) {
			f.size = s.withDependents(f.size)
		}
		if f.size > len(b) || f.size == 0 {
			a.want = s.head + max(f.size, len(b)+1)
			return unit{}, false
		}
		if !s.trusted(f) {
			s.hunt()
			continue
		}
		u, ok := s.cutFrame(f)
		if ok {
			return u, true
		}
	}
}

// withDependents adds the substreams that belong to an E-AC-3 frame (ETSI TS
// 102 366 E.1.3.1.1); it returns 0 if more bytes must come to tell.
func (s *stream) withDependents(size int) int {
	b := s.buf[s.head:]
	whole := s.left == 0 || s.over // nothing follows in this PES packet
	for {
		if len(b)-size < headOf(av.EAC3) {
			if whole {
				return size
			}
			return 0
		}
		next := b[size:]
		if next[0] != 0x0B || next[1] != 0x77 || next[2]>>6 != 1 && next[2]>>3&7 == 0 {
			return size
		}
		f, ok := parseFrame(av.EAC3, next)
		if !ok {
			return size
		}
		size += f.size
		if size > len(b) {
			return size
		}
	}
}

// trusted reports whether the frame at head is one: it follows a frame, or
// another of its kind follows it. A change of configuration needs the latter.
func (s *stream) trusted(f frame) bool {
	a := &s.audio
	same := a.sig == f.sig
	if a.synced && same {
		return true
	}
	next := s.buf[s.head+f.size:]
	if len(next) < headOf(s.codec) {
		return !a.synced || same || s.left == 0
	}
	g, ok := parseFrame(s.codec, next)
	return ok && g.sig == f.sig
}

// hunt moves head to the next byte that may start a frame.
func (s *stream) hunt() {
	sync := byte(0xFF)
	if s.codec == av.AC3 || s.codec == av.EAC3 {
		sync = 0x0B
	}
	n := bytes.IndexByte(s.buf[s.head+1:], sync)
	if n < 0 {
		n = len(s.buf) - s.head - 1
	}
	s.head += 1 + n
	s.audio.synced = false
	s.stats.add(warnJunk, int64(1+n))
}

// cutFrame takes the frame at head; ok is false if it has to be dropped.
func (s *stream) cutFrame(f frame) (u unit, ok bool) {
	a := &s.audio
	whole := s.buf[s.head : s.head+f.size]
	st := s.take(s.head)
	s.head += f.size
	a.synced = true
	if a.sig != f.sig {
		if c := frameConfig(s.codec, whole); c != nil {
			a.sig = f.sig
			u.config = c
		}
	}
	s.stampFrame(&u, st, f.samples, f.rate)
	u.data = whole[f.header:]
	if !a.known {
		s.stats.add(warnNoTime, 1)
		return u, false
	}
	if s.codec == av.AAC && f.samples != 1024 {
		s.stats.add(warnBadUnit, 1) // several raw_data_blocks have no form in ISO BMFF
		return u, false
	}
	return u, true
}

// stampFrame gives u its time and counts its samples.
func (s *stream) stampFrame(u *unit, st stamp, samples, rate int) {
	a := &s.audio
	if st.discont {
		u.flags |= av.Discont
	}
	switch {
	case st.hasPTS:
		a.base, a.samples, a.known = st.pts, 0, true
	case a.rate != rate && a.known:
		a.base, a.samples = a.at(a.samples), 0
	}
	a.rate = rate
	if !a.known {
		return
	}
	u.pts = a.at(a.samples)
	u.dts = u.pts
	a.samples += int64(samples)
	u.dur = since(a.at(a.samples), u.pts)
}

// at returns the time n samples after base, to the nearest tick.
func (a *audio) at(n int64) int64 {
	if a.rate == 0 {
		return a.base
	}
	return (a.base + av.Timebase{Num: 1, Den: uint32(a.rate)}.Rescale(n, av.Clock90k)) & timeMask
}

const opusRate = 48000

// nextOpus returns the next Opus packet: each stands behind a control header
// (opus_control_header of "Opus in MPEG-2 TS", 0.1.3).
//
//	11 bits 0x3FF | start_trim | end_trim | extension | 2 reserved
//	size: bytes that add up, the last is not 0xFF | trims (2 each) | extension
func (s *stream) nextOpus() (unit, bool) {
	for {
		b := s.buf[s.head:]
		n, size, trim := opusHeader(b)
		if n < 0 {
			s.skipPES()
			continue
		}
		if n == 0 || n+size > len(b) {
			s.audio.want = max(s.head+n+size, len(s.buf)+1)
			return unit{}, false
		}
		st := s.take(s.head)
		u := unit{data: b[n : n+size]}
		s.head += n + size
		samples, err := opus.Samples(u.data)
		if err != nil {
			s.stats.add(warnBadUnit, 1)
			continue
		}
		if s.stampFrame(&u, st, max(samples-trim, 0), opusRate); !s.audio.known {
			s.stats.add(warnNoTime, 1)
			continue
		}
		return u, true
	}
}

// opusHeader returns the length of the control header and of the packet behind
// it, and the samples to be left out at its end; n is 0 if more bytes must come,
// -1 if there is none.
func opusHeader(b []byte) (n, size, trim int) {
	if len(b) < 3 {
		return 0, 0, 0
	}
	if b[0] != 0x7F || b[1]&0xE0 != 0xE0 {
		return -1, 0, 0
	}
	n = 2
	for more := true; more; n++ {
		if n >= len(b) {
			return 0, 0, 0
		}
		size += int(b[n])
		if size > 0xFFFF {
			return -1, 0, 0
		}
		more = b[n] == 0xFF
	}
	if b[1]&0x10 != 0 {
		n += 2
	}
	if b[1]&0x08 != 0 {
		if n+2 > len(b) {
			return 0, 0, 0
		}
		trim = int(b[n]&0x1F)<<8 | int(b[n+1])
		n += 2
	}
	if b[1]&0x04 != 0 {
		if n >= len(b) {
			return 0, 0, 0
		}
		n += 1 + int(b[n])
	}
	return n, size, trim
}

// skipPES drops what is left of the PES packet at head.
func (s *stream) skipPES() {
	end := len(s.buf)
	for _, m := range s.marks {
		if m.off > s.head {
			end = m.off
			break
		}
	}
	s.stats.add(warnBadUnit, 1)
	s.take(s.head)
	s.head = end
	s.audio.want = end
	s.skipping = s.skipping || end == len(s.buf)
}
