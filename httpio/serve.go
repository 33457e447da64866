package httpio

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/cleave-video/cleave/mem"
)

// MaxRanges bounds the ranges of one request: each costs a header of its own.
const MaxRanges = 8

// FewRanges reports whether r asks for at most MaxRanges ranges, and answers it if not.
func FewRanges(w http.ResponseWriter, r *http.Request) bool {
	if strings.Count(r.Header.Get("Range"), ",") < MaxRanges {
		return true
	}
	Fail(w, http.StatusRequestedRangeNotSatisfiable, fmt.Sprintf("at most %d ranges", MaxRanges))
	return false
}

// ServeReader answers as http.ServeContent does, with conditions and ranges, and writes
// the memory itself unless several ranges are asked for. It closes content, which is let
// go of when nothing reads it any more: with several ranges a goroutine of net/http may
// still do that when ServeReader has returned. Content-Type must be set; modified may be
// zero.
func ServeReader(w http.ResponseWriter, r *http.Request, modified time.Time, content *mem.Reader) {
	defer content.Close()
	if !FewRanges(w, r) {
		return
	}
	http.ServeContent(uncopied{w}, r, "", modified, content)
}

// uncopied lets a mem.Reader write itself.
type uncopied struct{ http.ResponseWriter }

// ReadFrom implements io.ReaderFrom. http.ServeContent gives it content, limited to a
// range, by io.CopyN.
func (w uncopied) ReadFrom(src io.Reader) (int64, error) {
	if l, ok := src.(*io.LimitedReader); ok {
		if m, ok := l.R.(*mem.Reader); ok {
			n, err := m.CopyTo(w.ResponseWriter, l.N)
			l.N -= n
			return n, err
		}
	}
	return io.Copy(w.ResponseWriter, src)
}

// Unwrap is for http.ResponseController.
func (w uncopied) Unwrap() http.ResponseWriter { return w.ResponseWriter }
