package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cleave-video/cleave/live"
)

// TestRetentionRules: the first rule that matches is a stream's; rules of flags go before
// those of the file.
func TestRetentionRules(t *testing.T) {
	name := filepath.Join(t.TempDir(), "cleave.yaml")
	text := "retention:\n  - streams: [\"live/test*\"]\n    none: true\n  - streams: [\"live/*\", \"yard\"]\n    age: 24h\n    bytes: 50GiB\n  - bytes: 1MiB\n"
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var c Config
	f.Apply(&c)
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	for stream, want := range map[string]*live.Retention{
		"live/test": nil, "live/test/2": nil, "live/cam": {Age: 24 * time.Hour, Bytes: 50 << 30}, "yard": {Age: 24 * time.Hour, Bytes: 50 << 30}, "other": {Bytes: 1 << 20},
	} {
		got := c.retention(stream)
		if (got == nil) != (want == nil) || got != nil && *got != *want {
			t.Errorf("%s: %+v, want %+v", stream, got, want)
		}
	}
	c = Config{Retention: []Retention{{Age: time.Hour}}}
	f.Apply(&c)
	if got := c.retention("live/test"); got == nil || got.Age != time.Hour {
		t.Errorf("by a flag: %+v", got)
	}
	for want, rule := range map[string]Retention{
		"less than the window": {Age: time.Second}, "not negative": {Age: -time.Hour}, "either nothing": {None: true, Bytes: 1}, "four *": {Streams: []string{"a*b*c*d*e*f"}},
	} {
		c := Config{Retention: []Retention{{}, rule}}
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "retention 2") {
			t.Errorf("%+v: %v, want %q", rule, err, want)
		}
	}
}
