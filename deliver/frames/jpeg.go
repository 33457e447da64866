package frames

import (
	"context"
	"errors"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/format/libav"
	"github.com/cleave-video/cleave/mem"
)

// Bounds of the decoder, a child process.
const (
	maxDecoders   = 2
	maxPicture    = 16 << 20
	decodeTimeout = 10 * time.Second
)

// coded returns the clip's key frame as the decoder takes it.
func (c *clip) coded() (out pieces, err error) {
	data := c.packets[0].Data
	head, err := libav.PictureHead(&c.track, len(data))
	switch {
	case errors.Is(err, av.ErrUnsupported):
		return nil, &refusal{406, "of " + c.track.Codec.String() + " no pictures are made: use format=mp4"}
	case err != nil:
		return nil, err
	}
	out.add(head)
	out.add(data)
	return out, nil
}

// picture has a worker, which may do nothing but compute, decode what coded returned.
func (h *Handler) picture(ctx context.Context, in *mem.Reader, rotation uint16) ([]byte, error) {
	select {
	case h.pictures <- struct{}{}:
		defer func() { <-h.pictures }()
	default:
		return nil, later("other pictures are being decoded")
	}
	ctx, cancel := context.WithTimeout(ctx, decodeTimeout)
	defer cancel()
	b, err := libav.Picture(ctx, h.cfg.Worker, in, maxPicture)
	switch {
	case err == nil:
		return libav.Turn(b, rotation), nil
	case errors.Is(err, av.ErrTooLarge):
		return nil, &refusal{500, "the picture is too large"}
	case ctx.Err() != nil:
		return nil, later("the picture was not decoded in time")
	case errors.Is(err, libav.ErrNoWorker):
		return nil, &refusal{501, "cleave-av is no longer there"}
	}
	return nil, &refusal{500, "the picture cannot be decoded"}
}
