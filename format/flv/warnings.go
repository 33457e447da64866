package flv

import "fmt"

// warning is a kind of fault that is repaired or skipped.
type warning uint8

const (
	warnResync warning = iota
	warnSkipped
	warnPrevSize
	warnCutTag
	warnEncrypted
	warnOtherTag
	warnShort
	warnBadConfig
	warnNoConfig
	warnBadFrame
	warnUnsupported
	warnBadMulti
	warnManyTracks
	warnManyChanges
	warnScript
	numWarnings
)

var warningTexts = [numWarnings]string{
	warnResync:      "times the next tag had to be searched for",
	warnSkipped:     "bytes outside whole tags skipped",
	warnPrevSize:    "wrong previous tag sizes",
	warnCutTag:      "incomplete tags dropped",
	warnEncrypted:   "encrypted tags dropped",
	warnOtherTag:    "tags of unknown type dropped",
	warnShort:       "tags too short for their header dropped",
	warnBadConfig:   "sequence headers that cannot be read dropped",
	warnNoConfig:    "frames before the first sequence header dropped",
	warnBadFrame:    "damaged frames dropped",
	warnUnsupported: "tags with codecs or packet types that are not supported dropped",
	warnBadMulti:    "multitrack tags with wrong lengths dropped or cut",
	warnManyTracks:  "tags of more than 16 tracks dropped",
	warnManyChanges: "changes of tracks dropped: too many for so few bytes",
	warnScript:      "script tags that cannot be read dropped",
}

// stats counts warnings.
type stats struct{ n [numWarnings]int64 }

func (s *stats) add(w warning, n int64) { s.n[w] += n }

// lines returns each kind once with its count.
func (s *stats) lines() []string {
	var l []string
	for w, n := range s.n {
		if n > 0 {
			l = append(l, fmt.Sprintf("flv: %d %s", n, warningTexts[w]))
		}
	}
	return l
}
