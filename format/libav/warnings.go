package libav

import "fmt"

// warning is a kind of fault that is repaired or skipped.
type warning uint8

const (
	warnLate warning = iota
	warnDamaged
	warnNoConfig
	warnBadUnit
	warnNoTime
	warnBadConfig
	warnDiscard
	numWarnings
)

var warningTexts = [numWarnings]string{
	warnLate:      "packets of streams that began too late left out",
	warnDamaged:   "packets that are marked as damaged",
	warnNoConfig:  "pictures before the first parameter sets dropped",
	warnBadUnit:   "packets that cannot be read dropped",
	warnNoTime:    "packets before the first time dropped",
	warnBadConfig: "configurations that cannot be read ignored",
	warnDiscard:   "packets that the container does not want shown",
}

// stats counts warnings.
type stats struct{ n [numWarnings]int64 }

func (s *stats) add(w warning, n int64) { s.n[w] += n }

// lines returns each kind once with its count.
func (s *stats) lines() []string {
	var l []string
	for w, n := range s.n {
		if n > 0 {
			l = append(l, fmt.Sprintf("libav: %d %s", n, warningTexts[w]))
		}
	}
	return l
}
