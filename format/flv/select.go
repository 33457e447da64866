package flv

import (
	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec"
	"github.com/cleave-video/cleave/format/flv/amf0"
)

// Select returns the tag type of each track that one FLV carries, the first video
// and the first audio track that have a form in it; 0 for the others.
func Select(tracks []av.Track) []byte {
	kinds := make([]byte, len(tracks))
	var taken [TypeScript + 1]bool
	for i := range tracks {
		kind := TagType(&tracks[i])
		if kind == 0 || taken[kind] {
			continue
		}
		if _, err := AppendSequenceStart(nil, &tracks[i]); err != nil {
			continue // a configuration that cannot be written: as if it were not carried
		}
		kinds[i], taken[kind] = kind, true
	}
	return kinds
}

// AppendMetadata appends the body of onMetaData for the tracks that kinds, of
// Select, keeps. FLV E.5
func AppendMetadata(dst []byte, tracks []av.Track, kinds []byte) []byte {
	dst = amf0.AppendObject(amf0.AppendString(dst, "onMetaData"))
	number := func(key string, v float64) { dst = amf0.AppendNumber(amf0.AppendKey(dst, key), v) }
	for i, kind := range kinds {
		info, err := codec.Describe(&tracks[i])
		switch {
		case kind == 0 || err != nil:
		case kind == TypeVideo:
			number("width", float64(info.Width))
			number("height", float64(info.Height))
			if info.FrameRate.Den != 0 {
				number("framerate", info.FrameRate.Float())
			}
		case kind == TypeAudio:
			number("audiosamplerate", float64(info.SampleRate))
			dst = amf0.AppendBool(amf0.AppendKey(dst, "stereo"), info.Channels > 1)
		}
	}
	return amf0.AppendEnd(dst)
}
