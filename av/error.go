package av

import (
	"errors"
	"fmt"
)

// The kinds of fault in input. Every *Error wraps one of them or a reader's error.
var (
	ErrTruncated   = errors.New("ends too early")
	ErrInvalid     = errors.New("not valid")
	ErrUnsupported = errors.New("not supported")
	ErrTooLarge    = errors.New("too large")
	ErrEncrypted   = errors.New("encrypted")
)

// Error says what was wrong with an input, and where.
type Error struct {
	Format string // package that read it: "mp4", "ts"
	Offset int64  // byte in the input, or -1
	Field  string // the standard's name: "stsz.sample_count"
	Err    error
}

func (e *Error) Error() string {
	s := e.Format + ": "
	if e.Offset >= 0 {
		s += fmt.Sprintf("offset %d: ", e.Offset)
	}
	if e.Field != "" {
		s += e.Field + ": "
	}
	return s + e.Err.Error()
}

// Unwrap returns the kind of fault.
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an *Error whose text is formatted; %w names the kind.
func Errorf(format string, offset int64, field, text string, args ...any) *Error {
	return &Error{Format: format, Offset: offset, Field: field, Err: fmt.Errorf(text, args...)}
}
