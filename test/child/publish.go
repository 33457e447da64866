package child

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/format/flv"
	"github.com/cleave-video/cleave/internal/pace"
	"github.com/cleave-video/cleave/proto/rtmp"
)

// Publish sends d by RTMP to an address, so many times as fast as time, until it ends.
func Publish(ctx context.Context, address string, d av.Demuxer, speed float64) error {
	c, err := rtmp.Dial(ctx, address)
	if err != nil {
		return err
	}
	defer c.Close()
	began := time.Now()
	for {
		p, err := d.ReadPacket(av.Heap{})
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, av.ErrTracks):
			err = c.WriteTracks(d.Tracks())
		case err == nil:
			at := float64(d.Tracks()[p.Track].Timebase.Duration(p.DTS)) / speed
			if err = pace.Sleep(ctx, time.Until(began.Add(time.Duration(at)))); err == nil {
				err = c.WritePacket(p)
			}
		}
		if err != nil {
			return err
		}
	}
}

// EachTag gives the tags of FLV that d is: their type, time in ms, and body.
func EachTag(d av.Demuxer, give func(kind byte, at uint32, body []byte) error) error {
	for {
		p, err := d.ReadPacket(av.Heap{})
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, av.ErrTracks):
			for _, t := range d.Tracks() {
				b, err := flv.AppendSequenceStart(nil, &t)
				if err == nil && len(b) > 0 {
					err = give(flv.TagType(&t), 0, b)
				}
				if err != nil {
					return err
				}
			}
			continue
		case err != nil:
			return err
		}
		t := d.Tracks()[p.Track]
		dts, pts := t.Timebase.Rescale(p.DTS, av.Millisecond), t.Timebase.Rescale(p.PTS, av.Millisecond)
		if err := give(flv.TagType(&t), uint32(dts), append(flv.AppendFrameHead(nil, &t, p.Flags, pts-dts), p.Data...)); err != nil {
			return err
		}
	}
}

// WriteFLV writes d as FLV in real time, until it or ctx ends.
func WriteFLV(ctx context.Context, w io.Writer, d av.Demuxer) error {
	if _, err := w.Write(flv.AppendHeader(nil, true, true)); err != nil {
		return err
	}
	began := time.Now()
	return EachTag(d, func(kind byte, at uint32, body []byte) error {
		if err := pace.Sleep(ctx, time.Until(began.Add(time.Duration(at)*time.Millisecond))); err != nil {
			return err
		}
		_, err := w.Write(flv.AppendTag(nil, kind, at, nil, body))
		return err
	})
}
