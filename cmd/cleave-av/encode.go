//go:build libav

package main

import (
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/cleave-video/cleave/cmd/cleave-av/internal/shim"
	"github.com/cleave-video/cleave/format/libav/wire"
)

var errNoEncoder = errors.New("libavcodec here has no libx264")

// encode reads a chunk of video, as wire.Chunk says, and writes it encoded anew.
func encode(r io.Reader, w io.Writer) error {
	if !shim.CanEncode() {
		return errNoEncoder
	}
	go watch(int32(syscall.Stdout))
	var c wire.Chunk
	if err := c.Read(r); err != nil {
		return fmt.Errorf("the chunk: %w", err)
	}
	out, err := shim.Encode(&c, maxPixels)
	if err != nil {
		return err
	}
	return out.Write(w)
}
