// Package encode makes a smaller rendition of a stream's video, chunk by chunk, in
// restricted child processes. Cuts, times and numbers are the source's, so that both are
// aligned by construction.
package encode

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/chunk"
	"github.com/cleave-video/cleave/codec"
	"github.com/cleave-video/cleave/format/libav"
	"github.com/cleave-video/cleave/stage"
)

// The bounds of what comes out.
const (
	MinHeight, MaxHeight   = 64, 2160
	MinBitrate, MaxBitrate = 32_000, 100_000_000
)

// Config says what is made.
type Config struct {
	Path    string // of cleave-av
	Height  int    // of the pictures, even; sources that are not higher are left as they are
	Bitrate int64  // bits a second that are not exceeded for long
	// Streams reports whether a rendition is made of the stream of a name; nil: of all.
	Streams func(name string) bool
	Workers int           // processes at a time; 0: as many as there are processors
	Timeout time.Duration // of one try; 0: 30 s and ten times the chunk's length
}

// Validate reports what is wrong with c.
func (c *Config) Validate() error {
	switch {
	case c.Height < MinHeight || c.Height > MaxHeight || c.Height%2 != 0:
		return fmt.Errorf("encode: height %d: it must be even, %d to %d", c.Height, MinHeight, MaxHeight)
	case c.Bitrate < MinBitrate || c.Bitrate > MaxBitrate:
		return fmt.Errorf("encode: bitrate %d: it must be %d to %d bits a second", c.Bitrate, MinBitrate, MaxBitrate)
	case c.Workers < 0 || c.Timeout < 0:
		return fmt.Errorf("encode: workers %d, timeout %v: they must not be negative", c.Workers, c.Timeout)
	}
	return nil
}

// Encoder is the stage. It is safe for concurrent use.
type Encoder struct {
	cfg   Config
	slots chan struct{} // of processes
}

var (
	_ stage.Stage = (*Encoder)(nil)
	_ stage.Maker = (*Encoder)(nil)
)

// New returns an Encoder.
func New(c Config) (*Encoder, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Workers == 0 {
		c.Workers = runtime.GOMAXPROCS(0)
	}
	return &Encoder{cfg: c, slots: make(chan struct{}, c.Workers)}, nil
}

// Makes implements stage.Maker: one rendition, of the first video.
func (e *Encoder) Makes(stream string, tracks []av.Track) []stage.Rendition {
	if e.cfg.Streams != nil && !e.cfg.Streams(stream) {
		return nil
	}
	i := slices.IndexFunc(tracks, func(t av.Track) bool { return t.Kind == av.Video })
	if i < 0 || !libav.Encodes(tracks[i].Codec) {
		return nil
	}
	if info, err := codec.Describe(&tracks[i]); err != nil || info.Height <= e.cfg.Height {
		return nil
	}
	return []stage.Rendition{{Name: fmt.Sprintf("%dp", e.cfg.Height), Of: i}}
}

// errAlone is the error of a chunk that was cut inside a GOP, of which the beginning is
// not there.
var errAlone = errors.New("encode: it cannot be decoded: what it stands on is not there")

// Run implements stage.Stage.
func (e *Encoder) Run(ctx context.Context, o *stage.Object) error {
	for _, r := range e.Makes(o.Stream, o.Chunk.Tracks) {
		m, err := e.rendition(ctx, o, r)
		if err != nil {
			return err
		}
		o.Made = append(o.Made, m)
	}
	return nil
}

func (e *Encoder) rendition(ctx context.Context, o *stage.Object, r stage.Rendition) (m stage.Made, err error) {
	job, err := e.job(o, r.Of)
	if err != nil {
		return m, err
	}
	select {
	case e.slots <- struct{}{}:
	case <-ctx.Done():
		return m, context.Cause(ctx)
	}
	defer func() { <-e.slots }()
	try, cancel := context.WithTimeoutCause(ctx, e.timeout(o.Chunk), libav.ErrHung)
	defer cancel()
	config, packets, _, err := libav.Encode(try, e.cfg.Path, job)
	if err != nil {
		if again(err) {
			err = fmt.Errorf("%w: %w", stage.ErrTransient, err)
		}
		return m, err
	}
	t := job.Track
	m = stage.Made{Name: r.Name, Packets: packets}
	m.Track = av.Track{Kind: av.Video, Codec: av.H264, Timebase: t.Timebase, Config: config, Language: t.Language, Rotation: t.Rotation}
	return m, nil
}

// again reports whether a worker that failed so may succeed with the same.
func again(err error) bool {
	return errors.Is(err, libav.ErrCrashed) || errors.Is(err, libav.ErrHung) || errors.Is(err, libav.ErrNoWorker)
}

// job is what a worker is given of a chunk, and of those before it.
func (e *Encoder) job(o *stage.Object, track int) (*libav.EncodeJob, error) {
	c := o.Chunk
	run := c.Runs[track]
	if len(run) == 0 {
		return nil, errors.New("encode: there is no picture in it")
	}
	if !c.Independent && len(o.Before) == 0 && run[0].Flags&av.Key == 0 {
		return nil, errAlone
	}
	j := &libav.EncodeJob{Track: &c.Tracks[track], Height: e.cfg.Height, Bitrate: e.cfg.Bitrate, Rate: rate(o, track)}
	for _, b := range o.Before {
		j.Packets = append(j.Packets, b.Runs[track]...)
	}
	j.Before = len(j.Packets)
	j.Packets = append(j.Packets, run...)
	return j, nil
}

// rate is how many pictures a second there are, for the encoder's account of bits.
func rate(o *stage.Object, track int) av.Rational {
	if track < len(o.Rates) {
		if r := o.Rates[track]; r.Num > 0 && r.Den > 0 && r.Num < 1<<31 && r.Den < 1<<31 {
			return r
		}
	}
	return av.Rational{Num: 30, Den: 1}
}

// timeout is how long a try may take: what only a worker that hangs takes, also on a
// machine that is busy. Who is in a hurry ends it before.
func (e *Encoder) timeout(c *chunk.Chunk) time.Duration {
	if e.cfg.Timeout > 0 {
		return e.cfg.Timeout
	}
	return 30*time.Second + 10*c.Span.Timebase.Duration(max(0, c.Span.MaxPTS-c.Span.Start))
}
