package server

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cleave-video/cleave/internal/size"
	"github.com/cleave-video/cleave/live"
)

// RetentionDir is the folder in the data folder of what playlists of kept chunks promise.
const RetentionDir = "+retention"

// Retention says how long the chunks of the streams are kept whose names match. With
// neither age nor bytes they are kept for ever.
type Retention struct {
	// Streams are patterns of names, in which "*" stands for anything; none: all.
	Streams []string      `yaml:"streams"`
	Age     time.Duration `yaml:"age"`   // 0: whatever their age
	Bytes   size.Bytes    `yaml:"bytes"` // of each stream; 0: however many
	// None: chunks go with the window, as without a rule.
	None bool `yaml:"none"`
}

// validate returns what is wrong with a rule.
func (r *Retention) validate(window time.Duration) error {
	if window <= 0 {
		window = live.DefaultWindow
	}
	switch {
	case r.Age < 0 || r.Bytes < 0:
		return errors.New("age and bytes are not negative")
	case r.None && (r.Age > 0 || r.Bytes > 0):
		return errors.New("none, and age or bytes: either nothing is kept or it is")
	case slices.ContainsFunc(r.Streams, func(p string) bool { return strings.Count(p, "*") > 4 }):
		return errors.New("streams: a pattern has at most four *")
	case r.Age > 0 && r.Age < window:
		return fmt.Errorf("age %v is less than the window, %v, which is kept anyway", r.Age, window)
	}
	return nil
}

// retention is the rule for a stream; nil: its chunks go with the window.
func (c *Config) retention(name string) *live.Retention {
	i := slices.IndexFunc(c.Retention, func(r Retention) bool {
		return len(r.Streams) == 0 || slices.ContainsFunc(r.Streams, func(p string) bool { return matches(p, name) })
	})
	if i < 0 || c.Retention[i].None {
		return nil
	}
	return &live.Retention{Age: c.Retention[i].Age, Bytes: int64(c.Retention[i].Bytes)}
}
