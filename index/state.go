package index

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// State is what of a stream outlives its process and stands in no entry.
type State struct {
	Epoch uint32 // the newest that was begun
	Begun int64  // number of that epoch's first chunk
	First int64  // EXT-X-MEDIA-SEQUENCE was no less
	// Next is above the number of every chunk that players may have seen. Those below
	// it that are in no entry were lost, or never were.
	Next int64
	// TargetDuration, in seconds, and PartTarget are what playlists promise; 0: nothing
	// was promised yet.
	TargetDuration int64
	PartTarget     time.Duration
	// Discontinuities is how many there have been. Breaks are the numbers of the newest
	// chunks that one stands before, in order.
	Discontinuities int64
	Breaks          []int64
	// Keys is above the number of every key frame in playlists of key frames.
	Keys int64
}

// Catalogue is an optional ability of an Index: it keeps a State of each stream.
type Catalogue interface {
	// SetState replaces the state and returns when that will survive a crash. Errors:
	// ErrEntry, store.ErrFull, store.ErrTransient.
	SetState(ctx context.Context, stream string, s State) error
	// State returns it. Errors: ErrNotFound, *CorruptError, store.ErrTransient.
	State(ctx context.Context, stream string) (State, error)
}

// MaxBreaks bounds State.Breaks.
const MaxBreaks = 1024

// Validate returns what is wrong with a state; it matches ErrEntry.
func (s *State) Validate() error {
	ok := s.Begun >= 0 && s.First >= 0 && s.Next >= max(s.Begun, s.First) && s.TargetDuration >= 0 && s.PartTarget >= 0 && s.Discontinuities >= 0 && s.Keys >= 0 && len(s.Breaks) <= MaxBreaks
	last := int64(-1)
	for _, b := range s.Breaks {
		ok = ok && b > last
		last = b
	}
	if !ok {
		return fmt.Errorf("%w: state %+v", ErrEntry, *s)
	}
	return nil
}

// AppendState appends a state, which must be valid, as docs/format/index.md has it.
func AppendState(b []byte, s *State) []byte {
	for _, v := range [...]int64{int64(s.Epoch), s.Begun, s.First, s.Next, s.TargetDuration, int64(s.PartTarget), s.Discontinuities, s.Keys, int64(len(s.Breaks))} {
		b = binary.AppendUvarint(b, uint64(v))
	}
	last := int64(0)
	for _, k := range s.Breaks {
		b = binary.AppendUvarint(b, uint64(k-last))
		last = k
	}
	return b
}

// ParseState is the inverse of AppendState. It takes all of b.
func ParseState(b []byte) (State, error) {
	r := reader{b: b}
	s := State{Epoch: r.max32(), Begun: r.size(), First: r.size(), Next: r.size(), TargetDuration: r.size(), PartTarget: time.Duration(r.size()), Discontinuities: r.size(), Keys: r.size()}
	last := int64(0)
	for range r.count(1, MaxBreaks) {
		k := r.size()
		if k > math.MaxInt64-last {
			r.fail()
			break
		}
		last += k
		s.Breaks = append(s.Breaks, last)
	}
	switch {
	case r.err != nil:
		return State{}, r.err
	case len(r.b) > 0:
		return State{}, errors.New("bytes behind the state")
	}
	return s, s.Validate()
}
