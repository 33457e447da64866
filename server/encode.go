package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cleave-video/cleave/format/libav"
	"github.com/cleave-video/cleave/stage"
	"github.com/cleave-video/cleave/stage/encode"
)

// Encode says of which streams a smaller rendition of the video is made.
type Encode struct {
	// Streams are patterns of names, in which "*" stands for anything; none: all.
	Streams []string `yaml:"streams"`
	Height  int      `yaml:"height"`  // of the pictures
	Bitrate BitRate  `yaml:"bitrate"` // that is not exceeded for long
}

// BitRate is a number of bits a second on the command line or in a configuration file:
// "600k", "1.5M", "800000".
type BitRate int64

// UnmarshalText reads it.
func (r *BitRate) UnmarshalText(text []byte) error {
	s, unit := strings.TrimSpace(string(text)), 1.
	for suffix, v := range map[string]float64{"k": 1e3, "M": 1e6} {
		if t, ok := strings.CutSuffix(s, suffix); ok {
			s, unit = t, v
			break
		}
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || !(v > 0 && v*unit < 1e12) {
		return fmt.Errorf("%q is not a bit rate such as 600k", text)
	}
	*r = BitRate(v*unit + .5)
	return nil
}

func (e *Encode) config(path string) encode.Config {
	c := encode.Config{Path: path, Height: e.Height, Bitrate: int64(e.Bitrate)}
	if len(e.Streams) > 0 {
		c.Streams = func(name string) bool {
			return slices.ContainsFunc(e.Streams, func(p string) bool { return matches(p, name) })
		}
	}
	return c
}

// validateEncode reports which settings are wrong together, and why.
func (c *Config) validateEncode() error {
	e := c.Encode
	if e == nil {
		return nil
	}
	switch x := e.config(""); {
	case slices.ContainsFunc(e.Streams, func(p string) bool { return strings.Count(p, "*") > 4 }):
		return errors.New("encode: streams: a pattern has at most four *")
	case c.Live.Part >= 0:
		return errors.New("encode: a rendition is made of whole chunks, and parts of the source are listed: switch low latency off")
	case slices.ContainsFunc(c.Encryption, func(e Encryption) bool { return e.encrypts() }):
		return errors.New("encode: what is made would be in the clear, and streams are encrypted: choose one of both")
	default:
		return x.Validate()
	}
}

// encoderWait is how long a server that starts waits for cleave-av to say what it can.
const encoderWait = 10 * time.Second

// stages are what closed chunks pass.
func (c *Config) stages(ctx context.Context) ([]stage.Stage, error) {
	if c.Encode == nil {
		return nil, nil
	}
	path, err := libav.Find()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, encoderWait)
	defer cancel()
	if err := libav.CheckEncoder(ctx, path); err != nil {
		return nil, err
	}
	e, err := encode.New(c.Encode.config(path))
	if err != nil {
		return nil, err
	}
	return []stage.Stage{e}, nil
}
