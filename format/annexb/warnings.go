package annexb

import "fmt"

// warning is a kind of fault that is repaired or skipped.
type warning uint8

const (
	warnJunk warning = iota
	warnNoConfig
	warnNoSlice
	warnBadUnit
	warnOrder
	numWarnings
)

var warningTexts = [numWarnings]string{
	warnJunk:     "bytes before the first start code skipped",
	warnNoConfig: "pictures before the first parameter sets dropped",
	warnNoSlice:  "access units without a slice dropped",
	warnBadUnit:  "access units that cannot be read dropped",
	warnOrder:    "pictures without a readable picture order count, shown in decoding order",
}

// Warnings implements av.Warner.
func (d *Demuxer) Warnings() []string {
	var l []string
	for w, n := range d.count {
		if n > 0 {
			l = append(l, fmt.Sprintf("annexb: %d %s", n, warningTexts[w]))
		}
	}
	return l
}
