package server

import (
	"fmt"
	"net/http"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/cleave-video/cleave/format/libav/libavtest"
)

// TestMain looks for goroutines that are left when all tests are over: most of them run side
// by side. Those do not whose outcome depends on how soon a publisher or a viewer is back, or
// on what the machine's clock says.
func TestMain(m *testing.M) {
	code := libavtest.Main(m)
	http.DefaultClient.CloseIdleConnections()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
