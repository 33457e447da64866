// Package probe says what an input holds: tracks, frame rates, GOPs, and where each
// strategy would cut it.
package probe

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/chunk"
	"github.com/cleave-video/cleave/ingest/file"
	"github.com/cleave-video/cleave/mem"
)

// Config says what to find out. The zero value asks for everything but the picture
// and the timing.
type Config struct {
	Options file.Options
	Cut     chunk.Options // parameters of the strategies
	Picture bool          // gather what Report.SVG draws
	Timing  bool          // measure the reading
}

// Report is what an input holds. Its JSON is the command's.
type Report struct {
	Format     string     `json:"format"`
	Duration   float64    `json:"duration"` // seconds, of the longest track
	Tracks     []Track    `json:"tracks"`
	GOPs       []GOP      `json:"gops"`                 // of the first video track
	Strategies []Strategy `json:"strategies,omitempty"` // how each would cut it
	Timing     *Timing    `json:"timing,omitempty"`
	Warnings   []string   `json:"warnings,omitempty"`
	Broken     string     `json:"broken,omitempty"` // why the input ended before its end

	name    string // for people
	picture *picture
}

// Track is one elementary stream.
type Track struct {
	Kind        string         `json:"kind"`
	Codec       string         `json:"codec"`
	CodecString string         `json:"codec_string"`
	Timebase    string         `json:"timebase"`
	FrameRate   FrameRate      `json:"frame_rate"`
	Packets     int            `json:"packets"`
	Keyframes   int            `json:"keyframes"`
	Bytes       int64          `json:"bytes"`
	FrameTypes  map[string]int `json:"frame_types,omitempty"` // of video: "I", "P", "B", "?"
	Disposable  int            `json:"disposable,omitempty"`  // pictures of video that no other refers to
	Width       int            `json:"width,omitempty"`
	Height      int            `json:"height,omitempty"`
	SampleRate  int            `json:"sample_rate,omitempty"`
	Channels    int            `json:"channels,omitempty"`
	Language    string         `json:"language,omitempty"`
	Seconds     float64        `json:"duration"`
}

// FrameRate is what was observed of a track's packets: constant only if all
// distances agree within a tick. 0/0 if there are fewer than two.
type FrameRate struct {
	Num  uint32 `json:"num"`
	Den  uint32 `json:"den"`
	Mode string `json:"mode"` // "cfr" or "vfr"
}

// arenaLimit bounds the payload held at once: what a demuxer reads ahead.
const arenaLimit = 512 << 20

// Run reads all of an input. An input that breaks off is reported as far as it
// went, with Broken set; the error is of one that holds nothing, or wraps
// chunk.ErrPolicy if c.Cut is wrong.
func Run(ctx context.Context, name string, c Config) (*Report, error) {
	if c.Timing {
		c.Options.Timing = file.NewTiming()
	}
	p, err := newProber(name, &c)
	if err != nil {
		return nil, err
	}
	in, err := file.Open(ctx, name, c.Options)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	pool := mem.NewPool(arenaLimit)
	defer pool.Close()
	arena := pool.NewFailingArena()
	defer arena.Close()
	p.report.Format = in.Format

	end := p.loop(ctx, in, arena)
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case p.packets == 0 && errors.Is(end, io.EOF):
		return nil, fmt.Errorf("%s: %w: it holds no packet", name, av.ErrTruncated)
	case p.packets == 0:
		return nil, fmt.Errorf("%s: %w", name, end)
	case !errors.Is(end, io.EOF):
		p.report.Broken = end.Error()
	}
	p.finish(in.Warnings())
	p.report.Timing = timing(c.Options.Timing)
	return p.report, nil
}

// loop reads until an error, which it returns; the payload is used and forgotten.
func (p *prober) loop(ctx context.Context, in *file.Input, arena *mem.Arena) error {
	for ctx.Err() == nil {
		pkt, err := in.ReadPacket(arena)
		switch {
		case err == nil:
			err = p.packet(&pkt)
			arena.Passed(pkt.Track, pkt.Data)
		case errors.Is(err, av.ErrTracks):
			err = p.setTracks(in.Tracks())
		}
		if err != nil {
			return err
		}
	}
	return nil
}
