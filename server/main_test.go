package server

import (
	"os"
	"testing"

	"github.com/cleave-video/cleave/format/libav/libavtest"
)

func TestMain(m *testing.M) { os.Exit(libavtest.Main(m)) }
