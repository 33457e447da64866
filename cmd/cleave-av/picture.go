//go:build libav

package main

import (
	"fmt"
	"io"

	"github.com/cleave-video/cleave/cmd/cleave-av/internal/shim"
	"github.com/cleave-video/cleave/format/libav/wire"
)

// Bounds of a picture, and its quality: from 1, the best, to 31.
const (
	maxPixels = 64 << 20
	quality   = 3
)

// picture reads a key frame, as wire.Picture says, and writes it as JPEG.
func picture(r io.Reader, w io.Writer) error {
	var p wire.Picture
	config, data, err := p.Read(r)
	if err != nil {
		return fmt.Errorf("the picture: %w", err)
	}
	jpeg, err := shim.Picture(p.Codec, config, data, maxPixels, quality)
	if err != nil {
		return err
	}
	_, err = w.Write(jpeg)
	return err
}
