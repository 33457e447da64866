// Package machine says where measurements were made.
package machine

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// Name is the day, the number of processors and their name.
func Name() string {
	cpu := "unknown processor"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if key, value, _ := strings.Cut(line, ":"); strings.TrimSpace(key) == "model name" {
				cpu = strings.TrimSpace(value)
				break
			}
		}
		cpu = fmt.Sprintf("%d × %s", strings.Count(string(b), "processor\t"), cpu)
	}
	return time.Now().UTC().Format(time.DateOnly) + ", " + cpu
}

// Load is the load over the last 1, 5 and 15 minutes.
func Load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	f := strings.Fields(string(b))
	return strings.Join(f[:min(3, len(f))], ", ")
}
