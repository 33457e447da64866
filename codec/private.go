package codec

import (
	"encoding/binary"
	"fmt"

	"github.com/cleave-video/cleave/av"
)

// The fields of sample entries before their boxes. ISO 14496-12 12.1.3, 12.2.3
const (
	entryHead    = 4 + 4 + 4 // handler_type, then the box header
	visualFields = 78
	soundFields  = 28
)

// describePrivate reads what a track's MP4 sample entry says to those who do not know
// its codec: size, rate, and the name, with the object type where it has one. What is
// not there stays zero: the container's reader has judged the entry.
func describePrivate(t *av.Track, info *Info) {
	if t.Private != av.PrivateMP4 || len(t.Config) < entryHead {
		return
	}
	name, b := string(t.Config[8:12]), t.Config[entryHead:]
	for _, c := range []byte(name) {
		if c < 0x20 || c > 0x7e || c == '"' || c == ',' {
			return
		}
	}
	fields := soundFields
	switch {
	case t.Kind == av.Video && len(b) >= visualFields:
		info.Width, info.Height = int(binary.BigEndian.Uint16(b[24:])), int(binary.BigEndian.Uint16(b[26:]))
		fields = visualFields
	case t.Kind == av.Audio && len(b) >= soundFields:
		info.Channels, info.SampleRate = int(binary.BigEndian.Uint16(b[16:])), int(binary.BigEndian.Uint16(b[24:]))
	default:
		return
	}
	info.String = name
	switch name {
	case "mp4v", "mp4a":
		if oti, ok := objectType(b[fields:]); ok {
			info.String = fmt.Sprintf("%s.%02X", name, oti)
		}
	case "vp08":
		info.String = "vp08.00.10.08" // profile 0, level 1: VP8 has none, 8 bits
	}
}

// objectType returns the objectTypeIndication of the esds among boxes. ISO 14496-1
// 7.2.6.5, 7.2.6.6
func objectType(boxes []byte) (uint8, bool) {
	for len(boxes) >= 8 {
		n := int64(binary.BigEndian.Uint32(boxes))
		if n < 8 || n > int64(len(boxes)) {
			return 0, false
		}
		if string(boxes[4:8]) != "esds" {
			boxes = boxes[n:]
			continue
		}
		b := boxes[8:n]
		if len(b) < 4 {
			return 0, false
		}
		const tagES, tagDecoderConfig, esFields = 3, 4, 3
		es := descriptorBody(b[4:], tagES)
		if len(es) < esFields || es[2] != 0 { // with optional fields: nobody writes them
			return 0, false
		}
		if dc := descriptorBody(es[esFields:], tagDecoderConfig); len(dc) > 0 {
			return dc[0], true
		}
		return 0, false
	}
	return 0, false
}

// descriptorBody returns the body of the first descriptor, if it has that tag.
func descriptorBody(b []byte, tag byte) []byte {
	if len(b) < 2 || b[0] != tag {
		return nil
	}
	size, i := 0, 1
	for more := true; more && i < len(b) && i <= 4; i++ {
		size = size<<7 | int(b[i]&0x7f)
		more = b[i]&0x80 != 0
	}
	return b[i:min(i+size, len(b))]
}
