package hls

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/format/hls"
	"github.com/cleave-video/cleave/httpio"
)

// Bounds of what is fetched.
const (
	maxSegment  = 256 << 20 // bytes
	listTimeout = 10 * time.Second
	partTimeout = 30 * time.Second // of a segment, at least; else four target durations
)

// resolve returns the address of a URI that a playlist has.
func resolve(base *url.URL, uri string) (*url.URL, error) {
	u, err := base.Parse(uri)
	if err != nil {
		return nil, av.Errorf("hls", -1, "URI", "%w: %w", av.ErrInvalid, err)
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil, av.Errorf("hls", -1, "URI", "%w: scheme %q", av.ErrUnsupported, u.Scheme)
	}
	return u, nil
}

// playlist fetches a playlist and returns it with the address that it came from.
func playlist(ctx context.Context, c *http.Client, u *url.URL) ([]byte, *url.URL, error) {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	res, err := get(ctx, c, u, hls.ByteRange{})
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, hls.DefaultMaxBytes+1))
	return b, res.Request.URL, err
}

// get requests a resource, or a range of it. The error is a *httpio.StatusError if the
// server has answered otherwise.
func get(ctx context.Context, c *http.Client, u *url.URL, r hls.ByteRange) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("hls: %w", err)
	}
	want := http.StatusOK
	if r.Length > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", r.Offset, r.Offset+r.Length-1))
		want = http.StatusPartialContent
	}
	res, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != want {
		res.Body.Close()
		return nil, fmt.Errorf("hls: %w", &httpio.StatusError{URL: u.Redacted(), Code: res.StatusCode})
	}
	return res, nil
}

// body is a segment that is being read. It ends in order, or with an error: a
// segment that was cut is no end of the stream.
type body struct {
	res    *http.Response
	cancel context.CancelFunc
	left   int64
}

// open requests a segment, to be read within a time.
func open(ctx context.Context, c *http.Client, u *url.URL, r hls.ByteRange, within time.Duration) (*body, error) {
	ctx, cancel := context.WithTimeout(ctx, max(within, partTimeout))
	res, err := get(ctx, c, u, r)
	if err != nil {
		cancel()
		return nil, err
	}
	left := int64(maxSegment)
	if r.Length > 0 {
		left = min(left, r.Length)
	}
	return &body{res, cancel, left}, nil
}

func (b *body) Read(p []byte) (int, error) {
	if b.left == 0 {
		// A server that ignores the end of a range is not read further.
		return 0, io.EOF
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.res.Body.Read(p)
	b.left -= int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("hls: %s: %w", b.res.Request.URL.Redacted(), err)
	}
	return n, err
}

func (b *body) Close() error {
	b.cancel()
	return b.res.Body.Close()
}
