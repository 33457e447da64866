package flv_test

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/format/flv"
)

// A file is read packet by packet; the tracks come first.
func ExampleDemuxer() {
	f, err := os.Open("testdata/h264_aac.flv")
	if err != nil {
		fmt.Println(err)
		return
	}
	d := flv.NewDemuxer(f)
	defer d.Close()
	n := 0
	for {
		_, err := d.ReadPacket(av.Heap{})
		switch {
		case errors.Is(err, av.ErrTracks):
			for _, t := range d.Tracks() {
				fmt.Println(t.Kind, t.Codec, t.Timebase)
			}
		case err == io.EOF:
			fmt.Println(n, "packets")
			return
		case err != nil:
			fmt.Println(err)
			return
		default:
			n++
		}
	}
	// Output:
	// video h264 1/1000
	// audio aac 1/1000
	// 59 packets
}
