package http

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/format/flv"
	"github.com/cleave-video/cleave/format/mp4"
	"github.com/cleave-video/cleave/format/ts"
)

// container is a format that can be read front to back.
type container struct {
	suffix string
	head   int // bytes that tell it
	sniff  func(head []byte) int
	open   func(r io.Reader, maxUnit int) av.Demuxer
}

func containers() []container {
	return []container{
		{".ts", 5 * 204, ts.Sniff, func(r io.Reader, maxUnit int) av.Demuxer {
			d := ts.NewDemuxer(r)
			d.MaxUnit = maxUnit
			return d
		}},
		{".flv", 24, flv.Sniff, func(r io.Reader, _ int) av.Demuxer { return flv.NewDemuxer(r) }},
		{".mp4", 8, mp4.Sniff, func(r io.Reader, _ int) av.Demuxer { return mp4.NewStream(r) }},
	}
}

// bySuffix returns the container that a path ends in, and the path without.
func bySuffix(path string) (name string, c container, ok bool) {
	for _, c := range containers() {
		if name, ok := strings.CutSuffix(path, c.suffix); ok {
			return name, c, true
		}
	}
	return "", container{}, false
}

// check looks at the first bytes of a body without taking them.
func (c container) check(r *bufio.Reader) error {
	head, err := r.Peek(c.head)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if len(head) == 0 {
		return av.Errorf("http", 0, "body", "%w: empty", av.ErrTruncated)
	}
	if c.sniff(head) == 0 {
		return av.Errorf("http", 0, "body", "%w: does not begin as %s does", av.ErrUnsupported, c.suffix)
	}
	return nil
}

// guess returns the container that is surest of a body's first bytes, which it
// does not take.
func guess(r *bufio.Reader) (container, error) {
	need := 0
	for _, c := range containers() {
		need = max(need, c.head)
	}
	head, err := r.Peek(need)
	if err != nil && !errors.Is(err, io.EOF) {
		return container{}, err
	}
	var best container
	sure := 0
	for _, c := range containers() {
		if s := c.sniff(head); s > sure {
			best, sure = c, s
		}
	}
	if sure == 0 {
		return best, av.Errorf("http", 0, "body", "%w: neither MPEG-TS, FLV nor MP4: %s", av.ErrUnsupported, fmt.Sprintf("%x", head[:min(8, len(head))]))
	}
	return best, nil
}
