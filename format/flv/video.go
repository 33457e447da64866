package flv

import "github.com/cleave-video/cleave/av"

// A video body. FLV E.4.3.1, E-RTMP "ExVideoTagHeader"
//
//	0 frame type(3) codec id(4)      AVC packet type(8) composition time(24) ...
//	1 frame type(3) packet type(4)   FourCC(32) ...
const (
	maskExVideo   = 0x80
	frameCommand  = 5 // a hint to the player, without a picture
	codecAVC      = 7
	codecHEVC     = 12 // not in the standard, but in use before Enhanced RTMP
	avcHeader     = 0
	avcNALUs      = 1
	avcHeaderSize = 5
)

// Video takes the body of a video tag. Bodies that cannot be used are counted; an
// error, an *av.Error, says that the stream is to be given up.
func (t *Tags) Video(timestamp uint32, body []byte) error {
	if err := t.body(len(body)); err != nil {
		return err
	}
	if len(body) < 2 {
		return t.short()
	}
	if body[0]&maskExVideo != 0 {
		return t.enhanced(av.Video, timestamp, body)
	}
	if body[0]>>4 == frameCommand {
		return nil
	}
	c := av.H264
	switch id := body[0] & 0x0f; id {
	case codecAVC:
	case codecHEVC:
		c = av.H265
	default:
		return t.unsupported(videoName(id))
	}
	switch {
	case body[1] > avcNALUs: // end of sequence
		return nil
	case len(body) < avcHeaderSize:
		return t.short()
	case body[1] == avcHeader:
		return t.videoConfig(0, c, body[avcHeaderSize:])
	}
	return t.videoFrame(0, c, timestamp, i24(body[2:]), body[avcHeaderSize:])
}

func (t *Tags) videoConfig(id uint8, c av.Codec, config []byte) error {
	switch {
	case c == av.VP9 && len(config) >= 12 && config[0] == 1 && config[1]|config[2]|config[3] == 0:
		config = config[4:] // with the version and flags of its box
	case c == av.AV1 && len(config) > 0 && config[0] != 0x81: // AV1-ISOBMFF 2.3.3: marker and version
		t.stats.add(warnBadConfig, 1)
		return t.badVideo("AV1CodecConfigurationRecord.marker")
	}
	if !t.sequence(av.Video, id, c, config) {
		return t.badVideo("SequenceStart")
	}
	t.badV = 0
	return nil
}

func (t *Tags) videoFrame(id uint8, c av.Codec, timestamp uint32, composition int64, data []byte) error {
	i := t.find(av.Video, id)
	if i < 0 || t.slots[i].track.Codec != c {
		t.stats.add(warnNoConfig, 1)
		return nil
	}
	if c == av.AV1 {
		data = withoutDelimiter(data)
	}
	t.frame(i, timestamp, composition, data)
	return nil
}

// withoutDelimiter drops the temporal delimiter at the front. AV1 5.6
func withoutDelimiter(data []byte) []byte {
	const typeDelimiter, maskType, hasExtension, hasSize = 2 << 3, 0x78, 0x04, 0x02
	if len(data) < 2 || data[0]&maskType != typeDelimiter || data[0]&hasSize == 0 {
		return data
	}
	n := 2
	if data[0]&hasExtension != 0 {
		n = 3
	}
	if len(data) < n || data[n-1] != 0 {
		return data
	}
	return data[n:]
}

// videoName names a codec that is not read. FLV E.4.3.1
func videoName(id byte) string {
	switch id {
	case 2:
		return "Sorenson H.263"
	case 3:
		return "Screen video"
	case 4, 5:
		return "On2 VP6"
	case 6:
		return "Screen video 2"
	}
	return "a reserved video codec"
}
