package verify

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"syscall"
	"time"
)

// source gives the bytes of what playlists name.
type source interface {
	// resolve returns the name that a reference in the text called base has.
	resolve(base, ref string) (string, error)
	// fetch returns the bytes [off, off+n) of a resource, n 0: all behind off.
	// It returns fewer if there are fewer, and an error that wraps errTooLarge if
	// there are more than the limit.
	fetch(ctx context.Context, name string, off, n int64) (*answer, error)
}

// answer is what was fetched.
type answer struct {
	body   []byte
	status int // 200 for files
	header http.Header
	url    string // after redirects
	// the request, first and last byte of the body; files have none
	began, first, ended time.Time
	marks               []progress // what had come of the body when; files have none
}

// progress is when so many bytes of a body had come.
type progress struct {
	bytes int
	at    time.Time
}

// reached is when the first n bytes of the body had come; zero if they have not.
func (a *answer) reached(n int) time.Time {
	for _, m := range a.marks {
		if m.bytes >= n {
			return m.at
		}
	}
	return time.Time{}
}

// marked is a body that notes when its bytes come: of those that come within a few
// milliseconds the last.
type marked struct {
	r     io.Reader
	now   func() time.Time
	bytes int
	marks []progress
	begun time.Time // of the last mark
}

// markEvery is how exactly a body's arrival is noted, maxMarks how often.
const (
	markEvery = 5 * time.Millisecond
	maxMarks  = 4096
)

func (m *marked) Read(b []byte) (int, error) {
	n, err := m.r.Read(b)
	if n == 0 {
		return n, err
	}
	m.bytes += n
	at := m.now()
	if k := len(m.marks); k > 0 && (at.Sub(m.begun) < markEvery || k == maxMarks) {
		m.marks[k-1] = progress{m.bytes, at}
	} else {
		m.marks, m.begun = append(m.marks, progress{m.bytes, at}), at
	}
	return n, err
}

// The most that is read of one resource.
const maxResource = 512 << 20

var (
	errTooLarge = fmt.Errorf("larger than %d MiB", maxResource>>20)
	errOutside  = errors.New("lies outside of the folder that is checked")
	errStatus   = errors.New("the server answered")
)

// folder is a source of files below one folder; it reads nothing outside of it.
type folder struct{ root *os.Root }

func (f *folder) resolve(base, ref string) (string, error) {
	u, err := url.Parse(ref)
	if err != nil {
		return "", fmt.Errorf("URI %q: %w", ref, err)
	}
	if u.Scheme != "" || u.Host != "" {
		return "", fmt.Errorf("URI %q: %w", ref, errOutside)
	}
	if u.Path == "" {
		return "", fmt.Errorf("URI %q is empty", ref)
	}
	return path.Join(path.Dir(base), strings.TrimPrefix(u.Path, "/")), nil
}

// open opens a file that has an end, and returns its size.
func (f *folder) open(name string) (*os.File, int64, error) {
	file, err := f.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe is not waited for
	if err != nil {
		return nil, 0, err
	}
	st, err := file.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", name)
	}
	if err != nil {
		file.Close()
		return nil, 0, err
	}
	return file, st.Size(), nil
}

func (f *folder) fetch(_ context.Context, name string, off, n int64) (*answer, error) {
	file, size, err := f.open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	have := max(size-off, 0)
	if n <= 0 || n > have {
		n = have
	}
	if n > maxResource {
		return nil, errTooLarge
	}
	b := make([]byte, n)
	k, err := file.ReadAt(b, off)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return &answer{body: b[:k], status: http.StatusOK, url: name}, nil
}

// web is a source of HTTP resources.
type web struct {
	client *http.Client
	now    func() time.Time
}

func (w *web) resolve(base, ref string) (string, error) {
	b, err := url.Parse(base)
	if err != nil {
		return "", err
	}
	u, err := b.Parse(ref)
	if err != nil {
		return "", fmt.Errorf("URI %q: %w", ref, err)
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return "", fmt.Errorf("URI %q: %w", ref, errOutside)
	}
	return u.String(), nil
}

func (w *web) fetch(ctx context.Context, name string, off, n int64) (*answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, name, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "cleave-verify")
	if n > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", off, off+n-1))
	} else if off > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", off))
	}
	a := &answer{began: w.now()}
	resp, err := w.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	a.status, a.header, a.url = resp.StatusCode, resp.Header, resp.Request.URL.String()
	a.header.Set("X-Uncompressed", fmt.Sprint(resp.Uncompressed)) // net/http took gzip off
	got := &marked{r: resp.Body, now: w.now}
	body := bufio.NewReader(io.LimitReader(got, maxResource+1))
	_, _ = body.Peek(1) // an error comes again
	a.first = w.now()
	a.body, err = io.ReadAll(body)
	a.ended, a.marks = w.now(), got.marks
	switch {
	case err != nil:
		return a, err
	case len(a.body) > maxResource:
		return a, errTooLarge
	case resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusPartialContent:
		return a, fmt.Errorf("%w %s", errStatus, resp.Status)
	case n > 0 && resp.StatusCode == http.StatusOK: // the server knows no ranges
		a.body = a.body[min(off, int64(len(a.body))):]
		a.body = a.body[:min(n, int64(len(a.body)))]
	}
	return a, nil
}
