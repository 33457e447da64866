package deliver

import "github.com/cleave-video/cleave/format/hls"

// Past is what a live playlist lists before its window.
type Past struct {
	Segments        []hls.Segment
	Discontinuities int64 // how many of them have one before them
	Independent     bool  // each can be decoded by itself
}
