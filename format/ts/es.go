package ts

import (
	"github.com/cleave-video/cleave/av"
)

// The stream types this package reads (ISO 13818-1 table 2-34, ATSC A/52,
// SCTE 35). Every other type is passed through.
const (
	typeMPEG1Audio = 0x03
	typeMPEG2Audio = 0x04
	typeSections   = 0x05
	typePrivate    = 0x06
	typeAAC        = 0x0F
	typeMetadata   = 0x15
	typeH264       = 0x1B
	typeH265       = 0x24
	typeAC3        = 0x81
	typeSCTE35     = 0x86
	typeEAC3       = 0x87
)

// The descriptors that tell codecs and languages apart (ISO 13818-1 2.6,
// ETSI EN 300 468 6.2, annex D).
const (
	descRegistration = 0x05
	descLanguage     = 0x0A
	descAC3          = 0x6A
	descEAC3         = 0x7A
	descExtension    = 0x7F
	extOpus          = 0x80
)

// descriptors walks a list of descriptors; lengths that lie end the walk.
type descriptors []byte

func (d *descriptors) next() (tag uint8, body []byte, ok bool) {
	b := *d
	if len(b) < 2 || 2+int(b[1]) > len(b) {
		return 0, nil, false
	}
	n := 2 + int(b[1])
	*d = b[n:]
	return b[0], b[2:n], true
}

// identify tells what an elementary stream carries.
func (e *esInfo) identify() (av.Kind, av.Codec) {
	switch e.typ {
	case typeH264:
		return av.Video, av.H264
	case typeH265:
		return av.Video, av.H265
	case typeAAC:
		return av.Audio, av.AAC
	case typeMPEG1Audio, typeMPEG2Audio:
		return av.Audio, av.MP3
	case typeAC3:
		return av.Audio, av.AC3
	case typeEAC3:
		return av.Audio, av.EAC3
	case typePrivate:
		return e.identifyPrivate()
	}
	return av.Data, av.Private
}

// identifyPrivate reads the descriptors of a stream of type 6.
func (e *esInfo) identifyPrivate() (av.Kind, av.Codec) {
	list := descriptors(e.desc)
	for {
		tag, b, ok := list.next()
		switch {
		case !ok:
			return av.Data, av.Private
		case tag == descAC3:
			return av.Audio, av.AC3
		case tag == descEAC3:
			return av.Audio, av.EAC3
		case tag == descRegistration && len(b) >= 4:
			switch string(b[:4]) {
			case "AC-3":
				return av.Audio, av.AC3
			case "EAC3":
				return av.Audio, av.EAC3
			case "HEVC":
				return av.Video, av.H265
			case "Opus":
				return av.Audio, av.Opus
			}
		}
	}
}

// language returns the ISO 639-2 code of the stream, or "".
func (e *esInfo) language() string {
	list := descriptors(e.desc)
	for {
		tag, b, ok := list.next()
		if !ok {
			return ""
		}
		if tag != descLanguage || len(b) < 3 {
			continue
		}
		for _, c := range b[:3] {
			if c < 'a' || c > 'z' {
				return ""
			}
		}
		return string(b[:3])
	}
}

// inSections reports whether streams of this type carry sections, not PES
// (ISO 13818-1 table 2-34: private sections, DSM-CC; SCTE 35).
func inSections(typ uint8) bool {
	switch typ {
	case typeSections, 0x0A, 0x0B, 0x0C, 0x0D, 0x14, typeSCTE35:
		return true
	}
	return false
}

// privateConfig is the Config of a track that is passed through.
func (e *esInfo) privateConfig() []byte {
	return append([]byte{e.typ}, e.desc...)
}
