package frames

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// format is how a key frame or a GOP is written.
type format uint8

// The formats. anyFormat is Annex B where the codec has it, else MP4.
const (
	anyFormat format = iota
	annexB
	mp4File
	frameMessages
	jpeg
)

// maxAt bounds times asked for: 30 years.
const maxAt = 30 * 365 * 24 * time.Hour

// place says which key frame is asked for.
type place struct {
	kind placeKind
	at   time.Duration // of the timeline, or before the edge
	n    int64         // number, or how many before the newest
}

type placeKind uint8

const (
	newest     placeKind = iota
	atTime               // at
	beforeEdge           // at, before the end of what there is
	numbered             // n, as the playlist of key frames counts
	fromNewest           // n back; 0 is the newest
)

// parsePlace reads at=SECONDS or index=N.
func parsePlace(q url.Values) (p place, err error) {
	switch {
	case q.Has("at") && q.Has("index"):
		return p, fmt.Errorf("at and index: only one of them")
	case len(q["at"]) > 1 || len(q["index"]) > 1:
		return p, fmt.Errorf("at, index: given twice")
	case q.Has("at"):
		text, before := strings.CutPrefix(q.Get("at"), "-")
		if p.at, err = seconds(text); err != nil {
			return p, err
		}
		if p.kind = atTime; before {
			p.kind = beforeEdge
		}
	case q.Has("index"):
		text := q.Get("index")
		if p.n, err = strconv.ParseInt(text, 10, 64); err != nil {
			return p, fmt.Errorf("index=%.40q: not a whole number", text)
		}
		if p.kind = numbered; p.n < 0 {
			p.kind, p.n = fromNewest, -(p.n + 1)
		}
	}
	return p, nil
}

// seconds reads digits with at most nine decimals, exactly: a floating-point number
// is off by more than a tick when a stream has run for some days.
func seconds(text string) (time.Duration, error) {
	whole, part, point := strings.Cut(text, ".")
	for _, c := range whole + part {
		if c < '0' || c > '9' {
			return 0, fmt.Errorf("at=%.40q: not a number of seconds", text)
		}
	}
	if whole == "" || point && part == "" || len(part) > 9 {
		return 0, fmt.Errorf("at=%.40q: not a number of seconds with at most 9 decimals", text)
	}
	s, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || s > int64(maxAt/time.Second) {
		return 0, fmt.Errorf("at=%.40q: more than %d s", text, int64(maxAt/time.Second))
	}
	ns, _ := strconv.ParseInt((part + "000000000")[:9], 10, 64) // nine digits
	return time.Duration(s)*time.Second + time.Duration(ns), nil
}

// parseFormat reads format=annexb|mp4|frames|jpeg.
func parseFormat(q url.Values, picture bool) (format, error) {
	if len(q["format"]) > 1 {
		return 0, fmt.Errorf("format: given twice")
	}
	switch f := q.Get("format"); {
	case !q.Has("format"):
		return anyFormat, nil
	case f == "annexb":
		return annexB, nil
	case f == "mp4":
		return mp4File, nil
	case f == "frames":
		return frameMessages, nil
	case f == "jpeg" && picture:
		return jpeg, nil
	case picture:
		return 0, fmt.Errorf("format=%.40q: not annexb, mp4, frames or jpeg", f)
	default:
		return 0, fmt.Errorf("format=%.40q: not annexb, mp4 or frames", f)
	}
}
