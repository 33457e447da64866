package libav

import (
	"encoding/binary"

	"github.com/cleave-video/cleave/av"
)

// carry makes a Private track of a codec that is unknown here, in the words of the
// container it is to be written to. It returns why that cannot be done, or "".
func (l *lane) carry(f av.PrivateFormat) string {
	l.info.Reorder = -1 // unknown
	l.mpeg.begin(l.stream.Codec)
	if f == av.PrivateTS {
		return l.carryTS()
	}
	entry := l.sampleEntry()
	if entry == nil {
		return "cleave does not know the codec, and MP4 has no sample entry for it"
	}
	handler := "vide"
	if l.track.Kind == av.Audio {
		handler = "soun"
	}
	l.track.Codec, l.track.Private = av.Private, av.PrivateMP4
	l.track.Config = append([]byte(handler), entry...)
	l.ready = true
	return ""
}

// carryTS uses the stream types of ISO 13818-1 table 2-34.
func (l *lane) carryTS() string {
	types := map[string]byte{"mpeg1video": 0x01, "mpeg2video": 0x02, "mpeg4": 0x10}
	typ, ok := types[l.stream.Codec]
	if !ok {
		return "cleave does not know the codec, and transport streams have no type for it"
	}
	l.track.Codec, l.track.Private, l.track.Config = av.Private, av.PrivateTS, []byte{typ}
	l.ready = true
	return ""
}

// The objectTypeIndications of codecs that go into mp4v and mp4a entries. MP4
// registration authority, "object types"; Vorbis has a private one that FFmpeg and
// VLC share.
func objectTypes() map[string]byte {
	return map[string]byte{
		"mpeg4": 0x20, "mpeg2video": 0x61, "mpeg1video": 0x6A, "mjpeg": 0x6C, "vorbis": 0xDD,
	}
}

// sampleEntry returns the whole box, nil if MP4 has none.
func (l *lane) sampleEntry() []byte {
	s := l.stream
	switch s.Codec {
	case "vp8":
		// Profile 0, level unknown, 8 bits, 4:2:0. VP Codec ISO Media File Format Binding
		return visual("vp08", s.Width, s.Height, fullBox("vpcC", 1, []byte{0, 0, 8<<4 | 0<<1, 2, 2, 2, 0, 0}))
	case "vvc":
		if len(s.Extradata) > 4 {
			return visual("vvc1", s.Width, s.Height, fullBox("vvcC", 0, s.Extradata))
		}
		return nil
	case "flac":
		const streamInfo = 34
		if len(s.Extradata) != streamInfo {
			return nil
		}
		// The last metadata block, STREAMINFO. "Encapsulation of FLAC in ISO BMFF" 3.3.2
		return sound("fLaC", s.Channels, s.SampleRate, fullBox("dfLa", 0, append([]byte{0x80, 0, 0, streamInfo}, s.Extradata...)))
	}
	oti, ok := objectTypes()[s.Codec]
	switch {
	case !ok:
		return nil
	case l.track.Kind == av.Audio:
		return sound("mp4a", s.Channels, s.SampleRate, esds(oti, 0x15, s.Extradata))
	}
	return visual("mp4v", s.Width, s.Height, esds(oti, 0x11, s.Extradata))
}

func box(kind string, parts ...[]byte) []byte {
	b := append(make([]byte, 4), kind...)
	for _, p := range parts {
		b = append(b, p...)
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)))
	return b
}

func fullBox(kind string, version byte, body []byte) []byte {
	return box(kind, []byte{version, 0, 0, 0}, body)
}

// visual is a VisualSampleEntry. ISO 14496-12 12.1.3
func visual(kind string, width, height int, record []byte) []byte {
	b := make([]byte, 78)
	b[7] = 1 // data_reference_index
	binary.BigEndian.PutUint16(b[24:], uint16(width))
	binary.BigEndian.PutUint16(b[26:], uint16(height))
	binary.BigEndian.PutUint32(b[28:], 72<<16) // dots an inch
	binary.BigEndian.PutUint32(b[32:], 72<<16)
	b[41] = 1 // frame_count
	b[75] = 0x18
	b[76], b[77] = 0xff, 0xff
	return box(kind, b, record)
}

// sound is an AudioSampleEntry. ISO 14496-12 12.2.3
func sound(kind string, channels, rate int, record []byte) []byte {
	b := make([]byte, 28)
	b[7] = 1
	binary.BigEndian.PutUint16(b[16:], uint16(channels))
	b[19] = 16 // samplesize
	if rate > 0xffff {
		rate = 0 // does not fit; the record says
	}
	binary.BigEndian.PutUint32(b[24:], uint32(rate)<<16)
	return box(kind, b, record)
}

// esds is an ES_Descriptor. ISO 14496-1 7.2.6, ISO 14496-14 5.6
func esds(objectType, streamType byte, info []byte) []byte {
	config := append([]byte{objectType, streamType, 0, 0, 0}, make([]byte, 8)...)
	if len(info) > 0 {
		config = append(config, descriptor(5, info)...)
	}
	es := append([]byte{0, 0, 0}, descriptor(4, config)...)
	es = append(es, descriptor(6, []byte{2})...) // SLConfigDescriptor, predefined
	return fullBox("esds", 0, descriptor(3, es))
}

// descriptor writes the size in the four-byte form that all readers know.
func descriptor(tag byte, body []byte) []byte {
	n := len(body)
	return append([]byte{tag, 0x80 | byte(n>>21), 0x80 | byte(n>>14), 0x80 | byte(n>>7), byte(n & 0x7f)}, body...)
}
