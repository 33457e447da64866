// Package size reads sizes as people write them.
package size

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Bytes is a number of bytes on the command line or in a configuration file: "16MiB", "500kB", "4096".
type Bytes int64

// UnmarshalText reads the binary and the decimal units.
func (s *Bytes) UnmarshalText(text []byte) error {
	t := strings.TrimSpace(string(text))
	n := strings.TrimRight(t, "kKMGiB")
	v, err := strconv.ParseInt(strings.TrimSpace(n), 10, 64)
	if err != nil || v < 0 {
		return fmt.Errorf("%q is not a size such as 16MiB", t)
	}
	units := map[string]int64{
		"": 1, "B": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9,
		"K": 1 << 10, "KiB": 1 << 10, "M": 1 << 20, "MiB": 1 << 20, "G": 1 << 30, "GiB": 1 << 30,
	}
	unit, ok := units[strings.TrimPrefix(t, n)]
	if !ok || v > math.MaxInt64/unit {
		return fmt.Errorf("%q is not a size such as 16MiB", t)
	}
	*s = Bytes(v * unit)
	return nil
}
