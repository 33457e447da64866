package ts

import (
	"encoding/binary"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec/aac"
	"github.com/cleave-video/cleave/codec/h264"
	"github.com/cleave-video/cleave/codec/h265"
	"github.com/cleave-video/cleave/codec/mp3"
	"github.com/cleave-video/cleave/codec/opus"
)

// The access unit delimiters that allow any kind of slice (H.264 7.3.2.4, H.265
// 7.3.2.5).
var (
	audH264 = []byte{0, 0, 0, 1, 0x09, 0xF0}
	audH265 = []byte{0, 0, 0, 1, 0x46, 0x01, 0x50}
)

// setUp works out how the track is carried.
func (t *muxTrack) setUp() error {
	switch t.Codec {
	case av.H264, av.H265:
		return t.setUpVideo()
	case av.AAC:
		t.typ, t.streamID = typeAAC, sidAudio
		if _, err := aac.AppendADTS(nil, t.Config, 1); err != nil {
			return av.Errorf("ts", -1, "AudioSpecificConfig", "aac: %w: %v", av.ErrUnsupported, err)
		}
	case av.AC3:
		t.typ, t.streamID, t.desc = typeAC3, sidPrivate1, registration("AC-3")
	case av.EAC3:
		t.typ, t.streamID, t.desc = typeEAC3, sidPrivate1, registration("EAC3")
	case av.MP3:
		h, err := mp3.ParseHeader(t.Config)
		if err != nil {
			return av.Errorf("ts", -1, "mp3 header", "%w: %v", av.ErrInvalid, err)
		}
		t.typ, t.streamID = typeMPEG1Audio, sidAudio
		if h.SampleRate < 32000 {
			t.typ = typeMPEG2Audio
		}
	case av.Opus:
		return t.setUpOpus()
	case av.Private:
		return t.setUpPrivate()
	default:
		return av.Errorf("ts", -1, "stream_type", "%w: %s in a transport stream", av.ErrUnsupported, t.Codec)
	}
	t.addLanguage()
	return nil
}

func (t *muxTrack) setUpVideo() error {
	t.streamID = sidVideo
	if t.Codec == av.H264 {
		c, err := h264.ParseConfig(t.Config)
		if err != nil {
			return av.Errorf("ts", -1, "AVCDecoderConfigurationRecord", "%w: %v", av.ErrInvalid, err)
		}
		t.typ, t.lengths = typeH264, c.NALLength
		t.sets = append(append(t.sets, c.SPS...), c.PPS...)
		t.prefix = append(t.prefix, audH264...)
	} else {
		c, err := h265.ParseConfig(t.Config)
		if err != nil {
			return av.Errorf("ts", -1, "HEVCDecoderConfigurationRecord", "%w: %v", av.ErrInvalid, err)
		}
		t.typ, t.lengths, t.desc = typeH265, c.NALLength, registration("HEVC")
		t.sets = append(append(append(t.sets, c.VPS...), c.SPS...), c.PPS...)
		t.prefix = append(t.prefix, audH265...)
	}
	t.aud = len(t.prefix)
	for _, s := range t.sets {
		t.prefix = append(append(t.prefix, 0, 0, 0, 1), s...)
	}
	return nil
}

// setUpOpus follows "Opus in MPEG-2 TS" 0.1.3, 4.
func (t *muxTrack) setUpOpus() error {
	c, err := opus.ParseConfig(t.Config)
	if err != nil {
		return av.Errorf("ts", -1, "dOps", "%w: %v", av.ErrInvalid, err)
	}
	if c.MappingFamily > 1 || c.Channels < 1 || c.Channels > 8 {
		return av.Errorf("ts", -1, "channel_config_code", "%w: opus with mapping family %d and %d channels",
			av.ErrUnsupported, c.MappingFamily, c.Channels)
	}
	t.typ, t.streamID = typePrivate, sidPrivate1
	t.desc = append(registration("Opus"), descExtension, 2, extOpus, byte(c.Channels))
	t.addLanguage()
	return nil
}

// setUpPrivate takes stream_type and descriptors as the demuxer gave them.
func (t *muxTrack) setUpPrivate() error {
	if t.Private != av.PrivateTS || len(t.Config) < 1 {
		return av.Errorf("ts", -1, "stream_type", "%w: a private track of another container", av.ErrUnsupported)
	}
	t.typ, t.desc = t.Config[0], t.Config[1:]
	switch t.typ {
	case 0x01, 0x02, 0x10, 0x20, 0x21, 0x42, 0xD1, 0xEA: // MPEG-1, 2, 4 video, MVC, JPEG 2000, AVS, Dirac, VC-1
		t.streamID = sidVideo
	case 0x11, 0x1C: // LATM, raw MPEG-4 audio
		t.streamID = sidAudio
	default:
		t.streamID = sidPrivate1
	}
	return nil
}

func (t *muxTrack) inSections() bool { return t.Codec == av.Private && inSections(t.typ) }

func registration(id string) []byte {
	return append([]byte{descRegistration, byte(len(id))}, id...)
}

// addLanguage appends an ISO_639_language_descriptor (ISO 13818-1 2.6.18).
func (t *muxTrack) addLanguage() {
	if len(t.Language) == 3 {
		t.desc = append(t.desc, descLanguage, 4, t.Language[0], t.Language[1], t.Language[2], 0)
	}
}

// appendADTS appends one AAC frame behind its header; NewMuxer has tried the Config.
func appendADTS(dst, config, data []byte) []byte {
	b, err := aac.AppendADTS(dst, config, len(data))
	if err != nil {
		return dst // a frame that no ADTS header can hold
	}
	return append(b, data...)
}

// pat returns the PAT's section.
func (m *Muxer) pat() []byte { return patSection[:] }

// patSection lists the one program (ISO 13818-1 2.4.4.3).
var patSection = func() (b [16]byte) {
	copy(b[:], []byte{tablePAT, 0xB0, 13, 0, 1, 0xC1, 0, 0, 0, muxProgram, 0xE0 | muxPMT>>8, muxPMT & 0xFF})
	binary.BigEndian.PutUint32(b[12:], crc32(b[:12]))
	return b
}()

// The program descriptors that say what private streams there are: ID3 (Apple,
// "Timed Metadata for HTTP Live Streaming" 2.3.2) and splice information (SCTE 35 8.1).
var (
	id3Pointer = []byte{0x25, 15, 0xFF, 0xFF, 'I', 'D', '3', ' ', 0xFF, 'I', 'D', '3', ' ', 0, 0x1F, 0, muxProgram}
	cueRegistr = []byte{descRegistration, 4, 'C', 'U', 'E', 'I'}
)

// buildPMT returns the PMT's section (ISO 13818-1 2.4.4.8).
func (m *Muxer) buildPMT() ([]byte, error) {
	pcr := uint16(pidNull)
	if len(m.tracks) > 0 {
		pcr = m.tracks[m.lead].pid
	}
	b := []byte{tablePMT, 0, 0, 0, muxProgram, 0xC1, 0, 0, 0xE0 | byte(pcr>>8), byte(pcr), 0xF0, 0}
	if m.carries(typeSCTE35) {
		b = append(b, cueRegistr...)
	}
	if m.carries(typeMetadata) {
		b = append(b, id3Pointer...)
	}
	b[11] = byte(len(b) - 12)
	for i := range m.tracks {
		t := &m.tracks[i]
		n := len(t.desc)
		b = append(b, t.typ, 0xE0|byte(t.pid>>8), byte(t.pid), 0xF0|byte(n>>8), byte(n))
		b = append(b, t.desc...)
		if n > 0x3FF {
			break
		}
	}
	n := len(b) - 3 + 4
	if n > 1021 {
		return nil, av.Errorf("ts", -1, "PMT.section_length", "%w: %d > 1021", av.ErrTooLarge, n)
	}
	b[1], b[2] = 0xB0|byte(n>>8), byte(n)
	return binary.BigEndian.AppendUint32(b, crc32(b)), nil
}

func (m *Muxer) carries(typ uint8) bool {
	for i := range m.tracks {
		if m.tracks[i].Codec == av.Private && m.tracks[i].typ == typ {
			return true
		}
	}
	return false
}

// appendSection writes one section in packets of its own (ISO 13818-1 2.4.4).
func appendSection(dst []byte, pid uint16, cc *uint8, sec []byte) []byte {
	start := byte(flagStart)
	for first := true; first || len(sec) > 0; first = false {
		dst = append(dst, syncByte, start|byte(pid>>8), byte(pid), flagPayload|*cc)
		*cc = (*cc + 1) & maskCC
		room := packetSize - headerSize
		if first {
			dst = append(dst, 0) // pointer_field
			room--
		}
		n := min(len(sec), room)
		dst = append(dst, sec[:n]...)
		dst = append(dst, ones[:room-n]...)
		sec, start = sec[n:], 0
	}
	return dst
}
