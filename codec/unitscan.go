package codec

import (
	"bytes"
	"fmt"

	"github.com/cleave-video/cleave/av"
)

// ScanUnits is Scan for an access unit whose NAL units are known apart, as RTP
// brings them. It returns those that the packet holds, in the memory of units.
// The error wraps av.ErrTooLarge.
func (s *ByteStream) ScanUnits(units [][]byte) (kept [][]byte, changed bool, err error) {
	if len(units) > MaxUnits {
		return nil, false, fmt.Errorf("codec: access unit: %w: more than %d NAL units", av.ErrTooLarge, MaxUnits)
	}
	s.begins, s.ended = s.begins || s.ended, false
	key := false
	for _, u := range units {
		if u = bytes.TrimRight(u, "\x00"); len(u) == 0 {
			continue
		}
		s.earn(len(u))
		s.ended = s.ended || s.endsSequence(u)
		s.learn(u)
		s.activate(u)
		key = key || s.isKey(u)
	}
	if (key || s.config == nil) && (s.dirty || s.active != s.inUse || s.config == nil) {
		old := s.config
		if err := s.rebuild(4); err != nil {
			return nil, false, err
		}
		changed = s.config != nil && !bytes.Equal(old, s.config)
	}
	kept = units[:0]
	for _, u := range units {
		if u = bytes.TrimRight(u, "\x00"); len(u) > 0 && s.kept(u) {
			kept = append(kept, u)
		}
	}
	return kept, changed, nil
}
