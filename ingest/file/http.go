package file

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// client fetches inputs. It follows at most three redirects, and only to http(s).
func client() *http.Client {
	return &http.Client{
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, ResponseHeaderTimeout: 15 * time.Second, DisableCompression: true},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > 3 || r.URL.Scheme != "http" && r.URL.Scheme != "https" {
				return fmt.Errorf("file: redirect to %s refused", r.URL)
			}
			return nil
		},
	}
}

func openURL(ctx context.Context, url string, o Options) (*Input, error) {
	s := &remote{ctx: ctx, url: url, client: client(), size: -1}
	if err := s.open(0); err != nil {
		return nil, err
	}
	if !s.ranges {
		return openStream(ctx, s.body, max(s.size, 0), o)
	}
	head := make([]byte, min(sniffLen, max(s.size, 0)))
	n, err := s.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		s.Close()
		return nil, err
	}
	format, err := choose(head[:n], o)
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("%s: %w", url, err)
	}
	if format.libav {
		in, err := openLibav(ctx, s, s.size, s.Close, o)
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("%s: %w", url, err)
		}
		return in, nil
	}
	if format.at != nil {
		return newInput(format.at(o.Timing.readerAt(s), s.size), format.name, s.Close, nil, s.size, o), nil
	}
	if err := s.open(0); err != nil {
		return nil, err
	}
	c := &counter{r: o.Timing.reader(s.body)}
	return newInput(format.stream(c), format.name, s.Close, &c.n, s.size, o), nil
}

// Blocks of a remote file kept in memory: reads come almost in order, and a
// request for each step back would cost a round trip.
const (
	remoteBlock  = 1 << 20
	remoteBlocks = 8
)

// remote reads a URL by position, through one open response as long as the reads
// go forward.
type remote struct {
	ctx    context.Context // of the input; reads end with it
	url    string
	client *http.Client
	size   int64
	ranges bool
	body   io.ReadCloser
	pos    int64 // of body
	blocks [remoteBlocks]struct {
		at   int64
		data []byte
		used int64
	}
	clock int64
}

// open begins a response at off.
func (s *remote) open(off int64) error {
	s.Close()
	req, err := http.NewRequestWithContext(s.ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-", off))
	res, err := s.client.Do(req)
	if err != nil {
		return err
	}
	switch {
	case res.StatusCode == http.StatusPartialContent:
		s.ranges = true
		if _, total, ok := strings.Cut(res.Header.Get("Content-Range"), "/"); ok {
			if _, err := fmt.Sscan(total, &s.size); err != nil {
				s.size = off + res.ContentLength
			}
		}
	case res.StatusCode == http.StatusOK && off == 0:
		s.size = res.ContentLength
	default:
		res.Body.Close()
		return fmt.Errorf("%s: the server answered %s", s.url, res.Status)
	}
	s.body, s.pos = res.Body, off
	return nil
}

// ReadAt implements io.ReaderAt.
func (s *remote) ReadAt(b []byte, off int64) (int, error) {
	total := 0
	for total < len(b) {
		at := off + int64(total)
		if at >= s.size {
			return total, io.EOF
		}
		block, err := s.block(at / remoteBlock * remoteBlock)
		if err != nil {
			return total, err
		}
		n := copy(b[total:], block[at%remoteBlock:])
		total += n
	}
	return total, nil
}

// block returns the block that begins at at, fetched if it is not kept.
func (s *remote) block(at int64) ([]byte, error) {
	s.clock++
	oldest := 0
	for i := range s.blocks {
		k := &s.blocks[i]
		if k.data != nil && k.at == at && len(k.data) > 0 {
			k.used = s.clock
			return k.data, nil
		}
		if k.used < s.blocks[oldest].used {
			oldest = i
		}
	}
	if s.pos != at || s.body == nil {
		if err := s.open(at); err != nil {
			return nil, err
		}
	}
	k := &s.blocks[oldest]
	n := min(remoteBlock, s.size-at)
	if int64(cap(k.data)) < n {
		k.data = make([]byte, n)
	}
	k.data = k.data[:n]
	got, err := io.ReadFull(s.body, k.data)
	s.pos += int64(got)
	if err != nil {
		k.data = k.data[:0]
		return nil, fmt.Errorf("%s: byte %d: %w", s.url, s.pos, err)
	}
	k.at, k.used = at, s.clock
	return k.data, nil
}

// Close ends the open response.
func (s *remote) Close() error {
	if s.body == nil {
		return nil
	}
	err := s.body.Close()
	s.body = nil
	return err
}
