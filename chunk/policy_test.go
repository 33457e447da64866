package chunk_test

import (
	"testing"
	"time"

	"github.com/cleave-video/cleave/chunk"
	"github.com/cleave-video/cleave/chunk/policytest"
)

func TestPolicies(t *testing.T) {
	for name, p := range map[string]chunk.Policy{
		"keyframe":         chunk.Keyframe{Target: 2 * time.Second},
		"keyframe, TD 2 s": chunk.Keyframe{Target: 2 * time.Second, TD: 2 * time.Second},
		"fixed":            chunk.Fixed{Target: time.Second},
		"memory":           chunk.Memory{MaxBytes: 64 << 10},
		"adaptive_gop":     chunk.AdaptiveGOP{MinGOP: 12, MaxGOP: 48},
		"adaptive_gop, s":  chunk.AdaptiveGOP{MinGOP: 1, MaxGOP: 1 << 16, MinDur: time.Second, MaxDur: 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) { policytest.Run(t, p) })
	}
}
