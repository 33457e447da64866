package libav

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os/exec"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/format/libav/wire"
)

// pictureCodec returns libavcodec's name of a codec whose key frames become pictures.
func pictureCodec(c av.Codec) string {
	switch c {
	case av.H264:
		return "h264"
	case av.H265:
		return "hevc"
	case av.AV1:
		return "av1"
	case av.VP9:
		return "vp9"
	}
	return ""
}

// PictureHead returns what a worker is to be told before the payload of a key frame of t,
// of size bytes. The error wraps av.ErrUnsupported if no pictures are made of its codec,
// or av.ErrTooLarge.
func PictureHead(t *av.Track, size int) ([]byte, error) {
	name := pictureCodec(t.Codec)
	switch {
	case name == "":
		return nil, fault("codec", "%w: no pictures are made of %s", av.ErrUnsupported, t.Codec)
	case size > wire.MaxPicture:
		return nil, fault("size", "%w: %d > %d", av.ErrTooLarge, size, wire.MaxPicture)
	}
	p := wire.Picture{Codec: name, Config: len(t.Config), Size: size}
	if t.Codec == av.VP9 {
		p.Config = 0 // its record is nothing to libavcodec
	}
	return append(p.Append(nil), t.Config[:p.Config]...), nil
}

// Picture has a worker, the program at path, make a JPEG picture of at most limit bytes of
// a key frame: in reads what PictureHead returned, then the payload. The worker is ended
// when ctx is done. The error is that of ctx, or wraps ErrNoWorker, av.ErrTooLarge, or
// ErrCrashed if no picture came. in may still be read for a moment when Picture returns.
func Picture(ctx context.Context, path string, in io.Reader, limit int) ([]byte, error) {
	out, says := &capped{left: limit}, &tail{}
	cmd := exec.CommandContext(ctx, path, "picture")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, says
	cmd.Env = environment()
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	switch {
	case out.left < 0:
		return nil, fault("picture", "%w: more than %d bytes", av.ErrTooLarge, limit)
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return nil, fault("picture", "%w: %w", ErrNoWorker, err)
	case err != nil || out.b.Len() == 0:
		return nil, fault("picture", "%w without a picture: %v: %s", ErrCrashed, err, says.line())
	}
	return out.b.Bytes(), nil
}

// capped keeps what is written to it, up to a bound.
type capped struct {
	b    bytes.Buffer
	left int
}

var errBound = errors.New("libav: more than the bound")

func (w *capped) Write(p []byte) (int, error) {
	if w.left -= len(p); w.left < 0 {
		return 0, errBound
	}
	return w.b.Write(p)
}

// Turn returns a JPEG picture that says, by Exif's Orientation, that it is to be turned
// clockwise by some degrees when it is shown. CIPA DC-008 4.6.4
func Turn(jpeg []byte, degrees uint16) []byte {
	var orientation byte
	switch degrees {
	case 90:
		orientation = 6
	case 180:
		orientation = 3
	case 270:
		orientation = 8
	}
	if orientation == 0 || len(jpeg) < 2 {
		return jpeg
	}
	exif := append([]byte("Exif\x00\x00"), "MM\x00\x2a\x00\x00\x00\x08"+ // TIFF, the directory at 8
		"\x00\x01"+"\x01\x12\x00\x03\x00\x00\x00\x01"...) // of one entry: Orientation, a SHORT
	exif = append(exif, 0, orientation, 0, 0, 0, 0, 0, 0) // no other directory
	out := append(bytes.Clone(jpeg[:2]), 0xff, 0xe1)      // APP1 behind SOI
	out = binary.BigEndian.AppendUint16(out, uint16(2+len(exif)))
	return append(append(out, exif...), jpeg[2:]...)
}
