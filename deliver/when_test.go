package deliver_test

import (
	"testing"
	"time"

	"github.com/cleave-video/cleave/deliver"
)

// TestParseTime: times of day, seconds since 1970, and seconds before now, to the
// nanosecond; nothing else.
func TestParseTime(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"0":                               time.Unix(0, 0),
		"1769860800":                      time.Unix(1769860800, 0),
		"1769860800.000000001":            time.Unix(1769860800, 1),
		"1769860800.25":                   time.Unix(1769860800, 250e6),
		"-0":                              now,
		"-3600":                           now.Add(-time.Hour),
		"-0.5":                            now.Add(-500 * time.Millisecond),
		"2026-01-31T12:00:00Z":            time.Unix(1769860800, 0),
		"2026-01-31t12:00:00.123456789z":  time.Unix(1769860800, 123456789),
		"2026-01-31T13:30:00.5+01:30":     time.Unix(1769860800, 500e6),
		"2026-01-31T13:30:00 01:30":       time.Unix(1769860800, 0), // a plus sign that was not escaped
		"2026-01-31T10:00:00-02:00":       time.Unix(1769860800, 0),
		"2026-01-31T12:00:00.25000+00:00": time.Unix(1769860800, 250e6),
	} {
		if got, err := deliver.ParseTime(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q is %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "-", "+1", ".", "1.", ".5", "1.0000000001", "1e3", "--1", "1 2", "99999999999", "-99999999999", "now", "2026-01-31", "12:00:00", "2026-01-31T12:00:00",
		"2026-02-30T12:00:00Z", "1969-12-31T23:59:59Z", "9999-01-01T00:00:00Z", "\x00", "٣",
	} {
		if got, err := deliver.ParseTime(text, now); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}

// FuzzParseTime: what is a time lies within those that an index has.
func FuzzParseTime(f *testing.F) {
	f.Add("-1.5")
	f.Add("2026-01-31T12:00:00.5+01:00")
	now := time.Unix(1769860800, 0)
	f.Fuzz(func(t *testing.T, text string) {
		if at, err := deliver.ParseTime(text, now); err == nil && (at.Year() < 1600 || at.Year() > 2262) {
			t.Errorf("%q is %v", text, at)
		}
	})
}
