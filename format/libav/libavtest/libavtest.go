// Package libavtest builds the worker for tests. It is imported by tests only.
package libavtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// variable is what libav.Find looks at.
const variable = "CLEAVE_AV"

// Main builds cleave-av, makes libav.Find return it, runs the tests of a package and
// returns the exit code. Without FFmpeg's development files Need skips.
func Main(m *testing.M) int {
	dir, err := os.MkdirTemp("", "cleave-av-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	path, err := build(dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, "libavtest:", err)
	}
	if !errors.Is(err, errNoFFmpeg) && err != nil {
		return 1
	}
	if err := os.Setenv(variable, path); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

var errNoFFmpeg = errors.New("FFmpeg's development files are not here: tests of libavformat are left out")

func build(dir string) (string, error) {
	if err := exec.Command("pkg-config", "--exists", "libavformat >= 59.27.100", "libavcodec", "libavutil").Run(); err != nil {
		return "", errNoFFmpeg
	}
	path := filepath.Join(dir, "cleave-av")
	cmd := exec.Command("go", "build", "-tags", "libav", "-o", path, "github.com/cleave-video/cleave/cmd/cleave-av")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
}

// Need skips the test if there is no worker, and returns its path.
func Need(tb testing.TB) string {
	tb.Helper()
	path := os.Getenv(variable)
	if path == "" {
		tb.Skip("no worker: ", errNoFFmpeg)
	}
	return path
}
