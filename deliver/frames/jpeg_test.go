package frames

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cleave-video/cleave/mem"
)

// A decoder that misbehaves is ended, and costs no more than its bounds.
func TestDecoderIsBounded(t *testing.T) {
	file := func() *mem.Reader { return mem.NewReader([][]byte{[]byte("header"), []byte("picture")}, nil) }
	for _, x := range []struct {
		name, script string
		limit        time.Duration
		code         int
	}{
		{"endless output", "exec yes", time.Minute, 500},
		{"endless, reads all", "cat >/dev/null; exec yes", time.Minute, 500},
		{"hangs", "exec sleep 1000", 100 * time.Millisecond, 503},
		{"hangs, and its child holds the pipe", "sleep 5 & sleep 1000", 100 * time.Millisecond, 503},
		{"fails", "exit 1", time.Minute, 500},
		{"says nothing", "exit 0", time.Minute, 500},
		{"is gone", "", time.Minute, 501},
	} {
		t.Run(x.name, func(t *testing.T) {
			program := filepath.Join(t.TempDir(), "worker")
			if x.script != "" {
				if err := os.WriteFile(program, []byte("#!/bin/sh\nPATH=/usr/bin:/bin\n"+x.script+"\n"), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			h := New(Config{Worker: program})
			ctx, cancel := context.WithTimeout(t.Context(), x.limit)
			defer cancel()
			_, err := h.picture(ctx, file(), 0)
			var no *refusal
			if !errors.As(err, &no) || no.code != x.code {
				t.Errorf("%v, want %d", err, x.code)
			}
			if len(h.pictures) != 0 {
				t.Error("its place is still taken")
			}
		})
	}
	h := New(Config{Worker: "worker"})
	for range maxDecoders {
		h.pictures <- struct{}{}
	}
	var no *refusal
	if _, err := h.picture(t.Context(), file(), 0); !errors.As(err, &no) || no.code != 503 {
		t.Errorf("one too many: %v", err)
	}
}
