package frames

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os/exec"
	"strings"
	"time"

	"github.com/cleave-video/cleave/mem"
)

// Bounds of the decoder, a child process.
const (
	maxDecoders   = 2
	maxPicture    = 16 << 20
	decodeTimeout = 10 * time.Second
)

// decoderArgs reads MP4 on standard input and writes one JPEG picture. It opens
// nothing else, decodes what is served here, and allocates no block of more than 256 MiB.
const decoderArgs = "-v error -nostdin -max_alloc 268435456 -protocol_whitelist pipe -format_whitelist mov " +
	"-codec_whitelist h264,hevc,libdav1d,libaom-av1,av1,vp9 -max_pixels 67108864 -threads 1 -f mp4 -i pipe:0 -map 0:v:0 -frames:v 1 " +
	"-c:v mjpeg -threads 1 -pix_fmt yuvj420p -q:v 3 -f image2pipe pipe:1"

// picture has FFmpeg decode the key frame that is in an MP4 file.
func (h *Handler) picture(ctx context.Context, file *mem.Reader) ([]byte, error) {
	select {
	case h.pictures <- struct{}{}:
		defer func() { <-h.pictures }()
	default:
		return nil, later("other pictures are being decoded")
	}
	ctx, cancel := context.WithTimeout(ctx, decodeTimeout)
	defer cancel()
	out := &limited{left: maxPicture}
	cmd := exec.CommandContext(ctx, h.cfg.FFmpeg, strings.Fields(decoderArgs)...)
	cmd.Stdin = file
	cmd.Stdout = out
	cmd.Env = []string{} // nothing of ours
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	switch {
	case out.left < 0:
		return nil, &refusal{http.StatusInternalServerError, "the picture is too large"}
	case ctx.Err() != nil:
		return nil, later("the picture was not decoded in time")
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return nil, &refusal{http.StatusNotImplemented, "ffmpeg is no longer there"}
	case err != nil || out.b.Len() == 0:
		return nil, &refusal{http.StatusInternalServerError, "ffmpeg cannot decode the picture"}
	}
	return out.b.Bytes(), nil
}

// limited keeps what is written to it, up to a bound.
type limited struct {
	b    bytes.Buffer
	left int
}

var errLong = errors.New("frames: more than the bound")

func (l *limited) Write(p []byte) (int, error) {
	if l.left -= len(p); l.left < 0 {
		return 0, errLong
	}
	return l.b.Write(p)
}
