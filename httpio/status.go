package httpio

import (
	"fmt"
	"net/http"
)

// StatusError is another server's answer that is not what was asked for.
type StatusError struct {
	URL  string // without what is secret in it
	Code int
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("%s: the server answered %s", e.URL, e.Answer())
}

// Answer is the status, which may be shown to anybody.
func (e *StatusError) Answer() string { return fmt.Sprintf("%d %s", e.Code, http.StatusText(e.Code)) }
