package live

import (
	"fmt"
	"strings"

	"github.com/cleave-video/cleave/index"
)

// reserved are the last parts of paths below a stream.
var reserved = [...]string{"frames", "keyframe", "gop", "index.m3u8", "manifest.mpd", "frames.html", "recordings.json"}

// CheckName returns ErrName unless name is one to five parts of 1 to 64 bytes
// [A-Za-z0-9._~-], none of them "." or "..", the last one not reserved, and not longer
// than the index takes.
func CheckName(name string) error {
	parts := strings.Split(name, "/")
	if len(parts) > 5 {
		return fmt.Errorf("%w: %d parts, at most 5", ErrName, len(parts))
	}
	if len(name) > index.MaxStream {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrName, len(name), index.MaxStream)
	}
	for _, p := range parts {
		if p == "" || p == "." || p == ".." || len(p) > 64 || strings.ContainsFunc(p, foreign) {
			return fmt.Errorf("%w: %q", ErrName, p)
		}
	}
	last := parts[len(parts)-1]
	for _, r := range reserved {
		if last == r {
			return fmt.Errorf("%w: %q is reserved", ErrName, last)
		}
	}
	for _, suffix := range [...]string{".flv", ".ts", ".mp4"} {
		if strings.HasSuffix(last, suffix) {
			return fmt.Errorf("%w: it ends in %s", ErrName, suffix)
		}
	}
	return nil
}

func foreign(c rune) bool {
	return (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (c < '0' || c > '9') && !strings.ContainsRune("._~-", c)
}
