package disk_test

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/cleave-video/cleave/store/disk"
)

func Example() {
	dir, err := os.MkdirTemp("", "cleave")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	st, err := disk.Open(dir, disk.WithMinFree(64<<20))
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := st.Put(ctx, "live/cam1/1/0000000000.chunk", strings.NewReader("moof mdat"), 9); err != nil {
		fmt.Println(err)
		return
	}
	for info, err := range st.List(ctx, "live/cam1/") {
		fmt.Println(info.Key, info.Size, err)
	}
	// Output: live/cam1/1/0000000000.chunk 9 <nil>
}
