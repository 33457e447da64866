package libav

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"github.com/cleave-video/cleave/format/libav/libavtest"
)

// TestSandbox: what the worker must not do is denied, or contained, in the program
// that runs: it tries each itself.
func TestSandbox(t *testing.T) {
	var out bytes.Buffer
	cmd := exec.Command(libavtest.Need(t), "check")
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Errorf("%v\n%s", err, &out)
	}
	const column = 16
	got := map[string]string{}
	for line := range strings.Lines(out.String()) {
		if len(line) > column {
			got[strings.TrimSpace(line[:column])] = strings.TrimSpace(line[column:])
		}
	}
	const denied = "denied: operation not permitted"
	for what, want := range map[string]string{
		"resource limits": "in force", "seccomp": "in force",
		"read a file": "denied: permission denied", "write a file": "denied: permission denied",
		"TCP": denied, "UDP": denied, "fork": denied, "exec": denied, "ptrace": denied, "kill": denied,
		"2 GB of memory": "denied: cannot allocate memory",
	} {
		if got[what] != want {
			t.Errorf("%s: %q, want %q", what, got[what], want)
		}
	}
	if got["landlock"] != "in force" {
		t.Logf("landlock: %s; seccomp denies the same", got["landlock"])
	}
}

// TestUsage: the program says what it is to who starts it by hand.
func TestUsage(t *testing.T) {
	path := libavtest.Need(t)
	for _, args := range [][]string{nil, {"nothing"}, {"worker", "more"}} {
		out, err := exec.Command(path, args...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "is started by cleave") {
			t.Errorf("%q: %v %s", args, err, out)
		}
	}
	if out, err := exec.Command(path, "worker").CombinedOutput(); err == nil || !strings.Contains(string(out), "the shared memory") {
		t.Errorf("%v %s", err, out)
	}
}
