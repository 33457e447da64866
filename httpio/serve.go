package httpio

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/cleave-video/cleave/mem"
)

// MaxRanges bounds the ranges of one request: each costs a header of its own.
const MaxRanges = 8

// FewRanges reports whether r asks for at most MaxRanges ranges, and answers it if not.
func FewRanges(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodGet || strings.Count(r.Header.Get("Range"), ",") < MaxRanges {
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
	http.ServeContent(uncopied{w}, IgnoreRange(r), "", modified, content)
}

// few is up to how many bytes of a file are read to be written behind the headers: the
// system calls that send them from the file cost more.
const few = 64 << 10

// ServeFile answers as http.ServeContent does with size bytes of f from off on. Unless they
// are few, and where the connection allows it, they do not pass through the process
// (sendfile), which moves f's position: f must be this answer's own. It is not closed.
func ServeFile(w http.ResponseWriter, r *http.Request, modified time.Time, f *os.File, off, size int64) {
	if size <= few {
		b := make([]byte, size)
		if _, err := f.ReadAt(b, off); err == nil {
			ServeReader(w, r, modified, mem.NewReader([][]byte{b}, nil))
			return
		}
	}
	http.ServeContent(uncopied{w}, IgnoreRange(r), "", modified, &section{SectionReader: io.NewSectionReader(f, off, size), f: f, off: off})
}

// section is a part of a file.
type section struct {
	*io.SectionReader
	f   *os.File
	off int64
}

// copyTo writes n bytes from where the section is read next.
func (s *section) copyTo(w http.ResponseWriter, n int64) (int64, error) {
	at, err := s.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, err
	}
	if _, err := s.f.Seek(s.off+at, io.SeekStart); err != nil {
		return 0, err
	}
	written, err := io.Copy(w, io.LimitReader(s.f, n))
	if _, serr := s.Seek(at+written, io.SeekStart); err == nil {
		err = serr
	}
	return written, err
}

// IgnoreRange returns r without a Range that is to be ignored: of a method that has none, or
// of a unit that is not known here (RFC 9110 14.2), which net/http refuses. Names of units
// are not case-sensitive (14.1).
func IgnoreRange(r *http.Request) *http.Request {
	given := r.Header.Get("Range")
	unit, set, _ := strings.Cut(given, "=") // one without a set is none
	want := ""
	if r.Method == http.MethodGet && strings.EqualFold(strings.TrimSpace(unit), "bytes") {
		want = "bytes=" + set
	}
	if want == given {
		return r
	}
	out := *r
	out.Header = r.Header.Clone()
	if out.Header.Del("Range"); want != "" {
		out.Header.Set("Range", want)
	}
	return &out
}

// uncopied lets a mem.Reader, and the kernel a file, write itself.
type uncopied struct{ http.ResponseWriter }

// ReadFrom implements io.ReaderFrom. http.ServeContent gives it content, limited to a
// range, by io.CopyN.
func (w uncopied) ReadFrom(src io.Reader) (int64, error) {
	if l, ok := src.(*io.LimitedReader); ok {
		n, err, done := int64(0), error(nil), true
		switch x := l.R.(type) {
		case *mem.Reader:
			n, err = x.CopyTo(w.ResponseWriter, l.N)
		case *section:
			n, err = x.copyTo(w.ResponseWriter, l.N)
		default:
			done = false
		}
		if done {
			l.N -= n
			return n, err
		}
	}
	return io.Copy(w.ResponseWriter, src)
}

// Unwrap is for http.ResponseController.
func (w uncopied) Unwrap() http.ResponseWriter { return w.ResponseWriter }
