package flv

import (
	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec/ac3"
	"github.com/cleave-video/cleave/codec/mp3"
	"github.com/cleave-video/cleave/codec/opus"
)

// An audio body. FLV E.4.2.1, E-RTMP "ExAudioTagHeader"
//
//	sound format(4) rate(2) size(1) type(1)   if AAC: AAC packet type(8)   ...
//	9(4) packet type(4)                       FourCC(32) ...
const (
	soundMP3  = 2
	soundEx   = 9
	soundAAC  = 10
	soundMP38 = 14 // 8 kHz
	aacHeader = 0
	aacRaw    = 1
)

// Audio takes the body of an audio tag, as Video does.
func (t *Tags) Audio(timestamp uint32, body []byte) error {
	if err := t.body(len(body)); err != nil {
		return err
	}
	if len(body) < 2 {
		return t.short()
	}
	switch format := body[0] >> 4; format {
	case soundEx:
		return t.enhanced(av.Audio, timestamp, body)
	case soundMP3, soundMP38:
		return t.audioFrame(0, av.MP3, timestamp, body[1:])
	case soundAAC:
		switch body[1] {
		case aacHeader:
			return t.audioConfig(0, av.AAC, body[2:])
		case aacRaw:
			return t.audioFrame(0, av.AAC, timestamp, body[2:])
		}
		return t.unsupported("an AAC packet type")
	default:
		return t.unsupported(audioName(format))
	}
}

func (t *Tags) audioConfig(id uint8, c av.Codec, config []byte) error {
	switch c {
	case av.Opus:
		if h, err := opus.ParseHead(config); err == nil {
			config = h.Append(nil)
		}
	case av.MP3, av.AC3, av.EAC3:
		return nil // their frames tell
	}
	if !t.sequence(av.Audio, id, c, config) {
		return t.badAudio("AudioSpecificConfig")
	}
	t.badA = 0
	return nil
}

func (t *Tags) audioFrame(id uint8, c av.Codec, timestamp uint32, data []byte) error {
	i := t.find(av.Audio, id)
	switch c {
	case av.MP3, av.AC3, av.EAC3:
		sig, config := t.head3(c, i, data)
		if sig == 0 {
			t.stats.add(warnBadFrame, 1)
			return nil
		}
		if config != nil {
			var ok bool
			if i, ok = t.configure(av.Audio, id, c, config); !ok {
				return t.badAudio("frame header")
			}
		}
		t.slots[i].sig = sig
	case av.AAC:
		if len(data) > maxAAC {
			t.stats.add(warnBadFrame, 1)
			return t.badAudio("raw_data_block")
		}
	}
	if i < 0 || t.slots[i].track.Codec != c {
		t.stats.add(warnNoConfig, 1)
		return nil
	}
	t.frame(i, timestamp, 0, data)
	return nil
}

// head3 reads the head of an MP3, AC-3 or E-AC-3 frame: sig is what a track must
// keep, 0 if there is no head; config is that of a new track if slot i has
// another.
func (t *Tags) head3(c av.Codec, i int, data []byte) (sig uint32, config []byte) {
	if c == av.MP3 {
		h, err := mp3.ParseHeader(data)
		if err != nil {
			return 0, nil
		}
		sig = uint32(h.SampleRate)<<8 | uint32(h.Layer)<<4 | uint32(h.Channels)
		if t.same(i, c, sig) {
			return sig, nil
		}
		return sig, data[:4]
	}
	f, err := ac3.ParseFrame(data)
	if err != nil || f.EAC3 != (c == av.EAC3) {
		return 0, nil
	}
	sig = uint32(f.SampleRate)<<8 | uint32(f.Channels)
	if t.same(i, c, sig) {
		return sig, nil
	}
	return sig, f.Config()
}

// same reports whether slot i is a track of frames with this head.
func (t *Tags) same(i int, c av.Codec, sig uint32) bool {
	return i >= 0 && t.slots[i].track.Codec == c && t.slots[i].sig == sig
}

// audioName names a codec that is not read. FLV E.4.2.1
func audioName(format byte) string {
	switch format {
	case 0, 3:
		return "PCM"
	case 1:
		return "ADPCM"
	case 4, 5, 6:
		return "Nellymoser"
	case 7, 8:
		return "G.711"
	case 11:
		return "Speex"
	}
	return "a reserved audio codec"
}
