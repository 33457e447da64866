package main

import (
	"github.com/cleave-video/cleave/ingest/file"
	"github.com/cleave-video/cleave/internal/size"
)

// inputFlags say how an input is read.
type inputFlags struct {
	Demuxer         string     `default:"auto" enum:"auto,native,libav" help:"Which demuxers to use: ${enum}. auto takes cleave's own where they know the input, else libavformat's."`
	ProbeSize       size.Bytes `name:"probesize" default:"0" help:"Bytes that libavformat looks at to know an input; 0 is its default."`
	AnalyzeDuration int64      `name:"analyzeduration" default:"0" help:"Microseconds of media that libavformat looks at; 0 is its default."`
}

func (f *inputFlags) reading() file.Options {
	return file.Options{
		Demuxer: file.Demuxer(f.Demuxer), ProbeSize: int64(f.ProbeSize), AnalyzeDuration: f.AnalyzeDuration,
	}
}
