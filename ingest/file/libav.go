package file

import (
	"context"
	"errors"
	"fmt"

	"github.com/cleave-video/cleave/format/libav"
)

// Demuxer says whose demuxers to use.
type Demuxer string

// The choices.
const (
	Auto   Demuxer = "auto"   // cleave's own where they know the input, else libavformat
	Native Demuxer = "native" // cleave's own only
	Libav  Demuxer = "libav"  // libavformat, in a worker
)

// needLibav turns the error of an input that only libavformat might read into nil,
// or adds how to get a worker.
func (o *Options) needLibav(err error) error {
	if o.Libav != nil {
		return nil
	}
	if _, missing := libav.Find(); missing != nil {
		return fmt.Errorf("%w; libavformat may know it: %w", err, missing)
	}
	return nil
}

// openLibav opens an input by a worker. done, if not nil, closes r; else the demuxer
// does.
func openLibav(ctx context.Context, r any, size int64, done func() error, o Options) (*Input, error) {
	workers := o.Libav
	if workers == nil {
		var err error
		if workers, err = libav.New(libav.Config{}); err != nil {
			return nil, err
		}
	}
	d := workers.NewDemuxer(r, size, libav.Options{
		Format: o.Format, ProbeSize: o.ProbeSize, AnalyzeDuration: o.AnalyzeDuration, Carry: o.Carry,
	})
	stop := context.AfterFunc(ctx, func() { d.Close() })
	if err := d.Open(); err != nil {
		stop()
		return nil, errors.Join(err, d.Close())
	}
	closeAll := func() error {
		stop()
		err := d.Close()
		if done != nil {
			err = errors.Join(err, done())
		}
		return err
	}
	return newInput(d, "libav/"+d.Format(), closeAll, nil, max(size, 0), o), nil
}
