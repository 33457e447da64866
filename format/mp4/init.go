package mp4

import (
	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec"
)

// AppendInit appends a CMAF header, ftyp and moov, for one track. delay is what
// the track's fragments have in their Offset beyond the times they are to be
// presented at, in ticks of the timescale: an edit list takes it off again, so
// that reordered pictures can be decoded from time 0 on. It returns an error that
// wraps av.ErrUnsupported if CMAF has no sample entry for the codec.
// ISO 23000-19 7.3.1, 7.5.13
func AppendInit(dst []byte, t *av.Track, trackID uint32, delay int64) ([]byte, error) {
	return AppendSealedInit(dst, t, trackID, delay, nil)
}

// AppendSealedInit is AppendInit for a track whose samples are encrypted as p
// says, where a fragment says nothing else. Its pssh names the key for the
// common system of the W3C.
func AppendSealedInit(dst []byte, t *av.Track, trackID uint32, delay int64, p *Protection) ([]byte, error) {
	info, entry, err := entryOf(t)
	if err != nil {
		return nil, err
	}
	if p != nil {
		entry = protectEntry(entry, t.Kind, p)
	}
	w := writer{b: dst}
	w.begin("ftyp")
	w.string("cmf2")
	w.u32(0)
	w.string("iso6cmfccmf2")
	w.string(mediaBrand(t, info))
	w.end()
	scale, _ := t.Timebase.Timescale()
	w.beginMovie(scale, trackID+1)
	w.track(t, info, entry, trackID, delay)
	w.extends(trackID)
	if p != nil {
		w.b = AppendPSSH(w.b, [][16]byte{p.KID})
	}
	w.end()
	return w.b, nil
}

// Fits returns the error that AppendInit has for a track; nil: CMAF carries it.
func Fits(t *av.Track) error {
	_, _, err := entryOf(t)
	return err
}

// entryOf returns the sample entry of a track, and what it was made of.
func entryOf(t *av.Track) (info codec.Info, entry []byte, err error) {
	if info, err = codec.Describe(t); err == nil {
		entry, err = sampleEntry(t, info)
	}
	return info, entry, err
}

// AppendMovie appends ftyp and moov for all tracks, of which track i has the ID i+1:
// what fragments of several tracks in one file begin with. Those that no sample entry is
// known for are left out; the error wraps av.ErrUnsupported if that are all.
// ISO 14496-12 8.2, 8.8
func AppendMovie(dst []byte, tracks []av.Track) ([]byte, error) {
	w := writer{b: dst}
	w.begin("ftyp")
	w.string("iso6")
	w.u32(0)
	w.string("iso6mp41")
	w.end()
	w.beginMovie(1000, uint32(len(tracks)+1))
	var carried []uint32
	for i := range tracks {
		t, id := &tracks[i], uint32(i+1)
		if info, entry, err := entryOf(t); err == nil {
			w.track(t, info, entry, id, 0)
			carried = append(carried, id)
		}
	}
	if len(carried) == 0 {
		return dst, av.Errorf("mp4", -1, "stsd", "%w: none of the %d tracks can be carried", av.ErrUnsupported, len(tracks))
	}
	w.extends(carried...)
	w.end()
	return w.b, nil
}

// beginMovie begins moov. ISO 14496-12 8.2.2
func (w *writer) beginMovie(scale, nextID uint32) {
	w.begin("moov")
	w.full("mvhd", 0, 0) // durations are 0: C6, the fragments say
	w.words(0, 0, scale, 0, 0x10000, 0x1000000, 0, 0)
	w.matrix()
	w.words(0, 0, 0, 0, 0, 0, nextID)
	w.end()
}

func (w *writer) track(t *av.Track, info codec.Info, entry []byte, id uint32, delay int64) {
	w.describedTrack(t, info, [][]byte{entry}, id, delay)
}

// describedTrack is track with any number of sample entries.
func (w *writer) describedTrack(t *av.Track, info codec.Info, entries [][]byte, id uint32, delay int64) {
	scale, _ := t.Timebase.Timescale()
	w.begin("trak")
	w.trackHeader(t, info, id)
	if delay > 0 {
		w.editList(delay)
	}
	w.media(t, scale, entries)
	w.end()
}

// extends writes mvex: the tracks' samples come in fragments. ISO 14496-12 8.8.1
func (w *writer) extends(ids ...uint32) {
	w.begin("mvex")
	for _, id := range ids {
		w.full("trex", 0, 0)
		w.words(id, 1, 0, 0, 0)
		w.end()
	}
	w.end()
}

// mediaBrand returns the CMAF media profile that the content surely keeps, or
// nothing. ISO 23000-19 tables A.1, A.2
func mediaBrand(t *av.Track, info codec.Info) string {
	switch {
	case t.Codec == av.AAC && info.Channels <= 2:
		return "caac"
	case t.Codec == av.H264 && len(t.Config) > 3 && t.Config[1] <= 100:
		level, rate := t.Config[3], info.FrameRate.Float()
		switch {
		case level <= 31 && info.Width <= 864 && info.Height <= 576 && rate <= 60:
			return "cfsd"
		case level <= 40 && info.Width <= 1920 && info.Height <= 1080 && rate <= 60:
			return "cfhd"
		case level <= 42 && info.Width <= 1920 && info.Height <= 1080 && rate <= 60:
			return "chdf"
		}
	}
	return ""
}

func (w *writer) matrix() {
	w.words(0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
}

// trackHeader writes tkhd; its size is the shown one. ISO 14496-12 8.3.2
func (w *writer) trackHeader(t *av.Track, info codec.Info, id uint32) {
	w.full("tkhd", 0, 3)
	w.words(0, 0, id, 0, 0, 0, 0)
	w.u32(0) // layer, alternate group
	volume := uint32(0)
	if t.Kind == av.Audio {
		volume = 0x1000000
	}
	w.u32(volume)
	w.rotation(t.Rotation, info)
	width := uint64(info.Width) << 16
	if s := info.SAR; s.Num > 0 && s.Den > 0 {
		width = width * uint64(s.Num) / uint64(s.Den)
	}
	w.words(uint32(width), uint32(info.Height)<<16)
	w.end()
}

// editList writes the one edit that CMAF allows: everything, from mediaTime on.
// ISO 14496-12 8.6.6
func (w *writer) editList(mediaTime int64) {
	w.begin("edts")
	w.full("elst", 1, 0)
	w.u32(1)
	w.u64(0) // segment_duration: all that the fragments bring
	w.u64(uint64(mediaTime))
	w.u32(0x10000) // media_rate 1
	w.end()
	w.end()
}

func (w *writer) media(t *av.Track, scale uint32, entries [][]byte) {
	w.begin("mdia")
	w.mediaHeader(t, scale, 0)
	w.begin("minf")
	w.mediaInfo(t)
	w.sampleTable(entries)
	w.end()
	w.end()
}

// mediaHeader writes mdhd and hdlr. ISO 14496-12 8.4.2, 8.4.3
func (w *writer) mediaHeader(t *av.Track, scale uint32, duration uint64) {
	if duration > 1<<32-2 {
		w.full("mdhd", 1, 0)
		w.u64(0)
		w.u64(0)
		w.u32(scale)
		w.u64(duration)
	} else {
		w.full("mdhd", 0, 0)
		w.words(0, 0, scale, uint32(duration))
	}
	w.u16(packLanguage(t.Language))
	w.u16(0)
	w.end()
	handler, name := "vide", "video"
	if t.Kind == av.Audio {
		handler, name = "soun", "audio"
	}
	w.full("hdlr", 0, 0)
	w.u32(0)
	w.string(handler)
	w.words(0, 0, 0)
	w.string(name)
	w.u8(0)
	w.end()
}

// mediaInfo writes what minf begins with. ISO 14496-12 8.4.5, 8.7.2
func (w *writer) mediaInfo(t *av.Track) {
	if t.Kind == av.Audio {
		w.full("smhd", 0, 0)
		w.u32(0)
	} else {
		w.full("vmhd", 0, 1)
		w.words(0, 0)
	}
	w.end()
	w.begin("dinf")
	w.full("dref", 0, 0)
	w.u32(1)
	w.full("url ", 0, 1)
	w.end()
	w.end()
	w.end()
}

// sampleTable writes an stbl without samples. ISO 14496-12 8.5
func (w *writer) sampleTable(entries [][]byte) {
	w.begin("stbl")
	w.descriptions(entries)
	for _, kind := range []string{"stts", "stsc", "stco"} {
		w.full(kind, 0, 0)
		w.u32(0)
		w.end()
	}
	w.full("stsz", 0, 0)
	w.words(0, 0)
	w.end()
	w.end()
}

// descriptions writes stsd. ISO 14496-12 8.5.2
func (w *writer) descriptions(entries [][]byte) {
	w.full("stsd", 0, 0)
	w.u32(uint32(len(entries)))
	for _, e := range entries {
		w.bytes(e)
	}
	w.end()
}

func packLanguage(s string) uint16 {
	if len(s) != 3 {
		s = "und"
	}
	v := uint16(0)
	for i := range 3 {
		v = v<<5 | uint16(s[i]-0x60)&31
	}
	return v
}

// sampleEntry renders the stsd entry of t.
func sampleEntry(t *av.Track, info codec.Info) ([]byte, error) {
	w := writer{}
	switch t.Codec {
	case av.H264:
		w.visual("avc1", "avcC", t.Config, info)
	case av.H265:
		w.visual("hvc1", "hvcC", t.Config, info)
	case av.AV1:
		w.visual("av01", "av1C", t.Config, info)
	case av.VP9:
		w.visual("vp09", "vpcC", append([]byte{1, 0, 0, 0}, t.Config...), info)
	case av.AAC:
		w.sound("mp4a", "", nil, info)
		w.esds(0x40, t.Config)
		w.end()
	case av.MP3:
		w.sound("mp4a", "", nil, info)
		w.esds(0x6b, nil)
		w.end()
	case av.Opus:
		w.sound("Opus", "dOps", t.Config, info)
		w.end()
	case av.AC3:
		w.sound("ac-3", "dac3", t.Config, info)
		w.end()
	case av.EAC3:
		w.sound("ec-3", "dec3", t.Config, info)
		w.end()
	default:
		if t.Kind != av.Data && t.Private == av.PrivateMP4 && len(t.Config) > 4+8 {
			return t.Config[4:], nil
		}
		return nil, av.Errorf("mp4", -1, "stsd", "%w: CMAF cannot carry %s of kind %s", av.ErrUnsupported, t.Codec, t.Kind)
	}
	return w.b, nil
}

// visual writes a VisualSampleEntry. ISO 14496-12 12.1.3
func (w *writer) visual(kind, record string, config []byte, info codec.Info) {
	w.begin(kind)
	w.words(0, 1) // reserved, data_reference_index
	w.words(0, 0, 0, 0)
	w.u16(uint16(info.Width))
	w.u16(uint16(info.Height))
	w.words(0x480000, 0x480000, 0) // 72 dpi
	w.u16(1)
	w.bytes(zeros[:32]) // compressorname
	w.u16(0x18)
	w.u16(0xffff)
	w.begin(record)
	w.bytes(config)
	w.end()
	if s := info.SAR; s.Num > 0 && s.Den > 0 && s.Num != s.Den {
		w.begin("pasp")
		w.words(s.Num, s.Den)
		w.end()
	}
	w.end()
}

// sound begins an AudioSampleEntry and leaves it open. ISO 14496-12 12.2.3
func (w *writer) sound(kind, record string, config []byte, info codec.Info) {
	w.begin(kind)
	w.words(0, 1) // reserved, data_reference_index
	w.words(0, 0)
	w.u16(uint16(info.Channels))
	w.u16(16)
	w.u32(0)
	rate := uint32(info.SampleRate)
	if rate > 0xffff {
		rate = 0 // does not fit; the codec's record says
	}
	w.u32(rate << 16)
	if record != "" {
		w.begin(record)
		w.bytes(config)
		w.end()
	}
}

// esds writes the ES_Descriptor. ISO 14496-1 7.2.6, ISO 14496-14 5.6
func (w *writer) esds(objectType uint8, config []byte) {
	w.full("esds", 0, 0)
	info := 0
	if len(config) > 0 {
		info = 5 + len(config)
	}
	w.descriptor(tagES, 3+5+13+info+5+1)
	w.u16(0)
	w.u8(0)
	w.descriptor(tagDecoderConfig, 13+info)
	w.u8(objectType)
	w.u8(0x15) // audio stream
	w.b = append(w.b, 0, 0, 0)
	w.words(0, 0)
	if info > 0 {
		w.descriptor(tagDecoderInfo, len(config))
		w.bytes(config)
	}
	w.descriptor(6, 1) // SLConfigDescriptor, predefined 2
	w.u8(2)
	w.end()
}

// descriptor writes tag and size, in the four-byte form that all readers know.
func (w *writer) descriptor(tag uint8, size int) {
	w.b = append(w.b, tag, 0x80|byte(size>>21), 0x80|byte(size>>14), 0x80|byte(size>>7), byte(size&0x7f))
}
