package httpio

import (
	"errors"
	"fmt"
)

// ErrClosed is returned by Write after Close.
var ErrClosed = errors.New("httpio: response is closed")

// State is what a Response is at.
type State uint8

const (
	Open    State = iota // the headers are sent, and nothing was given yet
	Writing              // bytes were given that have not left
	Flushed              // all that was given has left
	Closed
	states // how many there are
)

func (s State) String() string {
	switch s {
	case Open:
		return "open"
	case Writing:
		return "writing"
	case Flushed:
		return "flushed"
	case Closed:
		return "closed"
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// States returns all there are.
func States() []State { return []State{Open, Writing, Flushed, Closed} }

// event is what happens to a Response.
type event uint8

const (
	give event = iota // bytes
	left              // all of them left
	end
)

// next returns the state that follows:
//
//	Open, Writing, Flushed -give-> Writing
//	Writing -left-> Flushed
//	any -end-> Closed
func (s State) next(e event) (State, error) {
	switch {
	case e == end:
		return Closed, nil
	case s == Closed:
		return s, ErrClosed
	case e == give:
		return Writing, nil
	case s == Writing:
		return Flushed, nil
	}
	return s, nil // nothing was to leave
}
