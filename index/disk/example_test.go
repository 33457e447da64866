package disk_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/index"
	"github.com/cleave-video/cleave/index/disk"
)

func Example() {
	dir, err := os.MkdirTemp("", "cleave")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	ix, err := disk.Open(dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer ix.Close()
	noon := time.Date(2026, 6, 21, 12, 0, 0, 0, time.UTC)
	err = ix.Add(ctx, "live/cam1", index.Entry{
		Epoch: 1, Timebase: av.Clock90k, Duration: 180000, Wall: noon, Object: "live/cam1/1/0000000000.chunk", Size: 1000, Independent: true,
		Tracks: []index.Track{{Name: "video0", Timescale: 90000, Duration: 180000, Size: 1000, Independent: true}},
		Keys:   []index.Key{{Time: 0, Offset: 100, Size: 300}, {Time: 90000, Offset: 600, Size: 280}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	e, key, err := ix.Seek(ctx, "live/cam1", noon.Add(1500*time.Millisecond))
	fmt.Println(e.Object, key.Offset, key.Size, err)
	// Output: live/cam1/1/0000000000.chunk 600 280 <nil>
}
