package chunk

import (
	"time"

	"github.com/cleave-video/cleave/mem"
)

// Bounds of one chunk of a stored input, whatever the policy wants.
const (
	MaxFileDuration = 60 * time.Second

	fileMaxBytes = 48 << 20
	// A file may hold its tracks one behind the other; bytes bound it, not time.
	fileMaxSkew = 10 * time.Minute
)

// FileConfig is how stored inputs are cut. All that cut them, or say how they would
// be cut, share it, so that they agree.
func FileConfig(p Policy, a *mem.Arena) Config {
	return Config{
		Stream: "cut", Epoch: 1, Policy: p, Arena: a, MaxSkew: fileMaxSkew,
		Bounds: Bounds{MaxDur: MaxFileDuration, MaxBytes: fileMaxBytes},
	}
}
