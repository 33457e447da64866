package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// output runs the program and returns its exit code and what it printed.
func output(t *testing.T, args ...string) (int, string) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "stdout"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	saved := os.Stdout
	os.Stdout = f
	code := run(args)
	os.Stdout = saved
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return code, string(b)
}

// The flags of probe, and its exit codes.
func TestProbe(t *testing.T) {
	const input = "../../format/mp4/testdata/first.mp4"
	svg := filepath.Join(t.TempDir(), "out.svg")
	code, out := output(t, "probe", input, "--svg", svg, "--timing", "--target", "1s")
	if code != exitDone || !strings.Contains(out, "keyframe      1 s") || !strings.Contains(out, "refill") {
		t.Errorf("exit %d\n%s", code, out)
	}
	if b, err := os.ReadFile(svg); err != nil || !strings.HasPrefix(string(b), "<svg") || !strings.Contains(string(b), "1 s: ") {
		t.Errorf("%v: %.100s", err, b)
	}
	if code, out := output(t, "probe", "--json", input); code != exitDone || !json.Valid([]byte(out)) || strings.Contains(out, "timing") {
		t.Errorf("exit %d\n%s", code, out)
	}
	for _, c := range []struct {
		code int
		args string
	}{
		{exitUsage, "probe"},
		{exitUsage, "probe --target 1ms " + input},
		{exitUsage, "probe --min-gop 100 --max-gop 5 " + input},
		{exitUsage, "probe --svg"},
		{exitFailed, "probe nothing-of-that-name"},
		{exitFailed, "probe --svg no-folder/x.svg " + input},
		{exitFailed, "probe probe_test.go"},
	} {
		if code, out := output(t, strings.Fields(c.args)...); code != c.code {
			t.Errorf("%s: exit %d, want %d\n%s", c.args, code, c.code, out)
		}
	}
}
