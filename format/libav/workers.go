// Package libav reads any container that libavformat knows. libavformat runs in
// processes of their own, cleave-av, which may open no file and no connection: a
// crash, a hang or a lack of memory there is an error of one input.
package libav

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/cleave-video/cleave/av"
)

// The ways in which a worker fails. An *av.Error wraps them.
var (
	// ErrNoWorker: there is no cleave-av on this machine.
	ErrNoWorker = errors.New("no libavformat worker")
	// ErrCrashed: the worker ended before its input.
	ErrCrashed = errors.New("the libavformat worker ended")
	// ErrHung: the worker gave no sign of life and was ended.
	ErrHung = errors.New("the libavformat worker hangs")
	// ErrVersion: the worker is of another version of this program.
	ErrVersion = errors.New("the libavformat worker is of another version")
)

const (
	maxWorkers = 8
	// defaultTimeout is how long a worker may say nothing while it has all that it
	// asked for. A read of 64 KiB is a sign of life or part of one.
	defaultTimeout = 30 * time.Second
	workerName     = "cleave-av"
	pathVariable   = "CLEAVE_AV"
)

// Config says how workers are run. The zero value is the default.
type Config struct {
	Path    string        // of cleave-av; "": that of Find
	Max     int           // processes at once; 0: 8
	Timeout time.Duration // without a sign of life; 0: 30 s
}

// Workers starts and bounds the worker processes, one for each open input. It is
// safe for concurrent use.
type Workers struct {
	path    string
	timeout time.Duration
	slots   chan struct{}
}

// New returns Workers; no process is started. It returns an error that wraps
// ErrNoWorker and says how to get one.
func New(c Config) (*Workers, error) {
	if c.Path == "" {
		path, err := Find()
		if err != nil {
			return nil, err
		}
		c.Path = path
	}
	if c.Max <= 0 {
		c.Max = maxWorkers
	}
	if c.Timeout <= 0 {
		c.Timeout = defaultTimeout
	}
	return &Workers{path: c.Path, timeout: c.Timeout, slots: make(chan struct{}, c.Max)}, nil
}

// Find returns the path of cleave-av: what CLEAVE_AV says, else beside this
// executable. The error wraps ErrNoWorker.
func Find() (string, error) {
	if p := os.Getenv(pathVariable); p != "" {
		if err := executable(p); err != nil {
			return "", fmt.Errorf("libav: %w: %s=%s: %w", ErrNoWorker, pathVariable, p, err)
		}
		return p, nil
	}
	self, err := os.Executable()
	if err == nil {
		p := filepath.Join(filepath.Dir(self), workerName)
		if executable(p) == nil {
			return p, nil
		}
	}
	return "", fmt.Errorf("libav: %w: install FFmpeg's development files (Debian: libavformat-dev libavcodec-dev libavutil-dev pkg-config) "+
		"and run 'make', which puts %s beside cleave; or set %s to its path", ErrNoWorker, workerName, pathVariable)
}

func executable(path string) error {
	st, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case !st.Mode().IsRegular() || st.Mode()&0o111 == 0:
		return errors.New("not an executable file")
	}
	return nil
}

// acquire waits for a free place, or for done.
func (w *Workers) acquire(done <-chan struct{}) bool {
	select {
	case w.slots <- struct{}{}:
		return true
	case <-done:
		return false
	}
}

func (w *Workers) release() { <-w.slots }

// fault makes an *av.Error of this package.
func fault(field, text string, args ...any) error {
	return av.Errorf("libav", -1, field, text, args...)
}
