package ts

import "fmt"

// warning is a kind of fault that is repaired or skipped.
type warning uint8

const (
	warnContinuity warning = iota
	warnDuplicate
	warnTransportError
	warnScrambled
	warnAdaptation
	warnBadPSI
	warnBadPES
	warnShortPES
	warnLongPES
	warnCutUnit
	warnNoConfig
	warnBadUnit
	warnNoTime
	warnJunk
	warnManyPIDs
	warnQueue
	numWarnings
)

var warningTexts = [numWarnings]string{
	warnContinuity:     "continuity_counter errors: packets were lost",
	warnDuplicate:      "duplicate packets dropped",
	warnTransportError: "packets with transport_error_indicator dropped",
	warnScrambled:      "scrambled packets dropped",
	warnAdaptation:     "packets with adaptation_field_length > 183 dropped",
	warnBadPSI:         "damaged PAT, PMT or other sections dropped",
	warnBadPES:         "PES packets without a valid header dropped",
	warnShortPES:       "PES packets shorter than their PES_packet_length",
	warnLongPES:        "PES packets cut to their PES_packet_length",
	warnCutUnit:        "incomplete frames dropped",
	warnNoConfig:       "pictures before the first parameter sets dropped",
	warnBadUnit:        "frames that cannot be read dropped",
	warnNoTime:         "frames before the first PTS dropped",
	warnJunk:           "bytes between audio frames skipped",
	warnManyPIDs:       "elementary streams beyond 256 PIDs ignored",
	warnQueue:          "packets before the first PMT dropped: more than 4 MiB",
}

// stats counts warnings.
type stats struct{ n [numWarnings]int64 }

func (s *stats) add(w warning, n int64) { s.n[w] += n }

// lines returns each kind once with its count.
func (s *stats) lines() []string {
	var l []string
	for w, n := range s.n {
		if n > 0 {
			l = append(l, fmt.Sprintf("ts: %d %s", n, warningTexts[w]))
		}
	}
	return l
}
