package file

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/format/adts"
	"github.com/cleave-video/cleave/format/annexb"
	"github.com/cleave-video/cleave/format/flv"
	"github.com/cleave-video/cleave/format/mp3"
	"github.com/cleave-video/cleave/format/mp4"
	"github.com/cleave-video/cleave/format/ts"
)

// sniffLen is how much of an input decides what it is.
const sniffLen = 4096

// format is one container: how sure it is of an input, and how to open it, either
// by position or front to back.
type format struct {
	name   string
	sniff  func(head []byte) int
	at     func(r io.ReaderAt, size int64) av.Demuxer
	stream func(r io.Reader) av.Demuxer
	libav  bool  // neither: libavformat reads it
	why    error // why none of our own does, with libav
}

func formats() []format {
	return []format{
		{name: "mp4", sniff: mp4.Sniff, at: func(r io.ReaderAt, size int64) av.Demuxer { return mp4.New(r, size) }},
		{name: "flv", sniff: flv.Sniff, stream: func(r io.Reader) av.Demuxer { return flv.NewDemuxer(r) }},
		{name: "ts", sniff: ts.Sniff, stream: patient},
		{name: "h264", sniff: sniffRaw(av.H264), stream: func(r io.Reader) av.Demuxer { return annexb.NewDemuxer(r, av.H264) }},
		{name: "h265", sniff: sniffRaw(av.H265), stream: func(r io.Reader) av.Demuxer { return annexb.NewDemuxer(r, av.H265) }},
		{name: "adts", sniff: adts.Sniff, stream: func(r io.Reader) av.Demuxer { return adts.NewDemuxer(r) }},
		{name: "mp3", sniff: mp3.Sniff, stream: func(r io.Reader) av.Demuxer { return mp3.NewDemuxer(r) }},
	}
}

func sniffRaw(c av.Codec) func([]byte) int {
	return func(head []byte) int {
		got, sure := annexb.Sniff(head)
		if got != c {
			return 0
		}
		return sure
	}
}

// choose returns the format that is surest of head.
func choose(head []byte, o Options) (format, error) {
	if o.Demuxer == Libav {
		return format{name: string(Libav), libav: true}, nil
	}
	best, err := chooseNative(head, o)
	if errors.Is(err, av.ErrUnsupported) && o.Demuxer != Native && o.Format == "" {
		return format{name: string(Libav), libav: true, why: err}, o.needLibav(err)
	}
	return best, err
}

func chooseNative(head []byte, o Options) (format, error) {
	var best format
	sure := 0
	for _, f := range formats() {
		if f.name == o.Format {
			return f, nil
		}
		if s := f.sniff(head); s > sure {
			best, sure = f, s
		}
	}
	if o.Format != "" {
		return best, fmt.Errorf("file: no demuxer is named %q", o.Format)
	}
	if sure == 0 {
		if len(head) == 0 {
			return best, fmt.Errorf("file: %w: the input is empty", av.ErrTruncated)
		}
		return best, fmt.Errorf("file: %w: the first bytes (%s) are of no format known here: %s",
			av.ErrUnsupported, hint(head), "mp4, ts, flv, h264, h265, adts, mp3")
	}
	return best, nil
}

// hint names what else an input seems to be, or shows how it begins.
func hint(head []byte) string {
	for _, m := range []struct{ magic, name string }{
		{"\x1a\x45\xdf\xa3", "Matroska or WebM"},
		{"OggS", "Ogg"},
		{"RIFF", "AVI or WAV"},
		{"\x00\x00\x01\xba", "MPEG program stream"},
		{"#EXTM3U", "an HLS playlist"},
		{"<?xml", "XML"},
		{"<!DOCTYPE", "a web page"},
		{"<html", "a web page"},
	} {
		if strings.HasPrefix(string(head), m.magic) {
			return m.name
		}
	}
	return fmt.Sprintf("%x", head[:min(8, len(head))])
}

// unknown is the error of an input that libavformat does not know either.
func (f *format) unknown(err error) error {
	if f.why == nil || !errors.Is(err, av.ErrInvalid) && !errors.Is(err, av.ErrUnsupported) {
		return err
	}
	return fmt.Errorf("%w; and libavformat does not know it: %w", f.why, err)
}

// patient waits longer than a live stream may for what the PMT lists: a track that
// is announced later cuts the others, at a place where no key frame is.
func patient(r io.Reader) av.Demuxer {
	d := ts.NewDemuxer(r)
	d.Patience = 10
	return d
}
