package mp4

import (
	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec/mp3"
)

// entry is one sample entry of stsd as a track description.
type entry struct {
	codec  av.Codec
	config []byte // nil with mp3: taken from the first sample
	frame  uint32 // bytes of a sample of uncompressed sound, else 0
	raw    []byte // the whole box
	width  int    // as the sample entry has it
	height int
}

// maxEntries bounds the sample entries of one track.
const maxEntries = 64

// readEntries reads stsd. ISO 14496-12 8.5.2
func (t *track) readEntries(stsd box) error {
	w := stsd.children(8)
	for {
		b, ok := w.next()
		if !ok {
			break
		}
		if len(t.entries) == maxEntries {
			return av.Errorf("mp4", b.off, "stsd.entry_count", "%w: more than %d", av.ErrTooLarge, maxEntries)
		}
		e, err := t.readEntry(b)
		if err != nil {
			return err
		}
		t.entries = append(t.entries, e)
	}
	if w.err != nil {
		return w.err
	}
	if len(t.entries) == 0 {
		return av.Errorf("mp4", stsd.off, "stsd.entry_count", "%w: track %d has no sample entry", av.ErrInvalid, t.id)
	}
	return nil
}

func (t *track) readEntry(b box) (entry, error) {
	raw := make([]byte, 0, 8+len(b.body))
	raw = be.AppendUint32(raw, uint32(8+len(b.body)))
	raw = append(append(raw, b.kind[:]...), b.body...)
	e := entry{codec: av.Private, raw: raw}
	switch kindOf(t.handler) {
	case av.Video:
		return t.readVisual(b, e)
	case av.Audio:
		return t.readSound(b, e)
	}
	return e, nil
}

// visualFields are the bytes of VisualSampleEntry before its boxes. ISO 14496-12 12.1.3
const visualFields = 78

func (t *track) readVisual(b box, e entry) (entry, error) {
	record := ""
	switch b.kind {
	case cc("avc1"), cc("avc3"), cc("dva1"), cc("dvav"):
		e.codec, record = av.H264, "avcC"
	case cc("hvc1"), cc("hev1"), cc("dvh1"), cc("dvhe"):
		e.codec, record = av.H265, "hvcC"
	case cc("av01"):
		e.codec, record = av.AV1, "av1C"
	case cc("vp09"):
		e.codec, record = av.VP9, "vpcC"
	case cc("encv"):
		return e, av.Errorf("mp4", b.off, "encv", "%w: track %d: %w", av.ErrEncrypted, t.id, errEncrypted)
	default:
		return e, nil
	}
	if len(b.body) >= visualFields {
		e.width, e.height = int(be.Uint16(b.body[24:])), int(be.Uint16(b.body[26:]))
	}
	c, ok := b.find(visualFields, record)
	if !ok {
		return e, av.Errorf("mp4", b.off, b.kind.String(), "%w: no %s", av.ErrInvalid, record)
	}
	e.config = c.body
	if record == "vpcC" { // a FullBox: version and flags come first
		if len(c.body) < 12 {
			return e, av.Errorf("mp4", c.off, "vpcC", "%w: %d bytes", av.ErrTruncated, len(c.body))
		}
		e.config = c.body[4:]
	}
	return e, nil
}

// soundFields are the bytes of AudioSampleEntry before its boxes; QuickTime's
// versions 1 and 2 have more. ISO 14496-12 12.2.3, QTFF "Sound Sample Descriptions"
func soundFields(b box) int {
	if len(b.body) < 10 {
		return 28
	}
	switch be.Uint16(b.body[8:]) {
	case 1:
		return 28 + 16
	case 2:
		return 28 + 36
	}
	return 28
}

func (t *track) readSound(b box, e entry) (entry, error) {
	skip := soundFields(b)
	record := ""
	switch b.kind {
	case cc("mp4a"):
		return t.readESDS(b, skip, e)
	case cc(".mp3"):
		e.codec = av.MP3
		return e, nil
	case cc("Opus"):
		e.codec, record = av.Opus, "dOps"
	case cc("ac-3"):
		e.codec, record = av.AC3, "dac3"
	case cc("ec-3"):
		e.codec, record = av.EAC3, "dec3"
	case cc("enca"):
		return e, av.Errorf("mp4", b.off, "enca", "%w: track %d: %w", av.ErrEncrypted, t.id, errEncrypted)
	default:
		e.frame = pcmFrame(b)
		return e, nil
	}
	c, ok := b.find(skip, record)
	if !ok {
		return e, av.Errorf("mp4", b.off, b.kind.String(), "%w: no %s", av.ErrInvalid, record)
	}
	e.config = c.body
	return e, nil
}

// pcmFrame returns the bytes of one sample of uncompressed sound, all channels.
func pcmFrame(b box) uint32 {
	if len(b.body) < 20 {
		return 0
	}
	channels, bits := uint32(be.Uint16(b.body[16:])), uint32(be.Uint16(b.body[18:]))
	switch b.kind {
	case cc("sowt"), cc("twos"), cc("raw "), cc("NONE"), cc("ipcm"), cc("fpcm"):
		return channels * bits / 8
	case cc("in24"):
		return channels * 3
	case cc("in32"), cc("fl32"):
		return channels * 4
	case cc("fl64"):
		return channels * 8
	case cc("alaw"), cc("ulaw"):
		return channels
	case cc("lpcm"):
		if be.Uint16(b.body[8:]) == 2 && len(b.body) >= 60 { // constBytesPerAudioPacket
			return be.Uint32(b.body[56:])
		}
	}
	return 0
}

// Descriptor tags and objectTypeIndications. ISO 14496-1 7.2.2.1, 7.2.6.6
const (
	tagES            = 3
	tagDecoderConfig = 4
	tagDecoderInfo   = 5
)

// readESDS reads what codec an mp4a entry has, and its configuration.
func (t *track) readESDS(b box, skip int, e entry) (entry, error) {
	d, ok := b.find(skip, "esds")
	if !ok {
		wave, found := b.find(skip, "wave") // QuickTime wraps it
		if found {
			d, ok = wave.find(0, "esds")
		}
	}
	if !ok {
		return e, av.Errorf("mp4", b.off, "mp4a", "%w: no esds", av.ErrInvalid)
	}
	if len(d.body) < 4 {
		return e, av.Errorf("mp4", d.off, "esds", "%w: %d bytes", av.ErrTruncated, len(d.body))
	}
	es, ok := descriptor(d.body[4:], tagES)
	if ok && len(es) >= 3 {
		es = skipESFields(es)
	}
	dc, ok2 := descriptor(es, tagDecoderConfig)
	if !ok || !ok2 || len(dc) < 13 {
		return e, av.Errorf("mp4", d.off, "esds.DecoderConfigDescriptor", "%w", av.ErrInvalid)
	}
	switch dc[0] {
	case 0x40, 0x66, 0x67, 0x68:
		asc, ok := descriptor(dc[13:], tagDecoderInfo)
		if !ok || len(asc) < 2 {
			return e, av.Errorf("mp4", d.off, "esds.DecoderSpecificInfo", "%w: no AudioSpecificConfig", av.ErrInvalid)
		}
		e.codec, e.config = av.AAC, asc
	case 0x69, 0x6b:
		e.codec = av.MP3
	}
	return e, nil
}

// skipESFields skips ES_ID and the optional fields its flags announce. ISO 14496-1 7.2.6.5
func skipESFields(es []byte) []byte {
	flags, n := es[2], 3
	if flags&0x80 != 0 {
		n += 2
	}
	if flags&0x40 != 0 && len(es) > n {
		n += 1 + int(es[n])
	}
	if flags&0x20 != 0 {
		n += 2
	}
	return es[min(n, len(es)):]
}

// descriptor finds a descriptor by tag among its siblings. ISO 14496-1 8.3.3
func descriptor(b []byte, tag byte) ([]byte, bool) {
	for len(b) >= 2 {
		size, i := 0, 1
		for ; i < len(b) && i <= 4; i++ {
			size = size<<7 | int(b[i]&0x7f)
			if b[i]&0x80 == 0 {
				i++
				break
			}
		}
		size = min(size, len(b)-i)
		if b[0] == tag {
			return b[i : i+size], true
		}
		b = b[i+size:]
	}
	return nil, false
}

// track makes the description that the rest of the program sees.
func (t *track) describe(desc uint32, firstSample []byte) (av.Track, error) {
	if desc == 0 || int64(desc) > int64(len(t.entries)) {
		desc = 1
	}
	e := t.entries[desc-1]
	a := av.Track{Kind: kindOf(t.handler), Codec: e.codec, Timebase: t.tb, Config: e.config, Language: t.lang, ID: t.id}
	if a.Kind == av.Video {
		a.Rotation = t.rotation
	}
	switch {
	case e.codec == av.VP9:
		a.Width, a.Height = e.width, e.height
	case e.codec == av.Private:
		a.Private = av.PrivateMP4
		a.Config = append(t.handler[:len(t.handler):len(t.handler)], e.raw...)
	case e.codec == av.MP3:
		if _, err := mp3.ParseHeader(firstSample); err != nil {
			return a, err
		}
		a.Config = append([]byte(nil), firstSample[:4]...)
	}
	return a, nil
}
