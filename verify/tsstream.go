package verify

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/cleave-video/cleave/format/ts"
)

// isTransport reports whether bytes begin a transport stream.
func isTransport(b []byte) bool {
	return len(b) >= 2*ts.PacketSize && b[0] == ts.SyncByte && b[ts.PacketSize] == ts.SyncByte
}

// checkIfStream checks a file if it is a transport stream.
func (c *checker) checkIfStream(src *folder, name string) (bool, error) {
	f, _, err := src.open(name)
	if err != nil {
		return false, fmt.Errorf("verify: %w", err)
	}
	defer f.Close()
	head := make([]byte, 2*ts.PacketSize)
	if n, _ := f.ReadAt(head, 0); !isTransport(head[:n]) {
		return false, nil
	}
	return true, c.checkStream(c.ctx, name, f, nil)
}

// checkStream checks a transport stream that is no segment of a playlist: what
// ISO/IEC 13818-1 and TR 101 290 ask of one that goes on. It reads r to its end, or until
// ctx is done, in constant memory.
func (c *checker) checkStream(ctx context.Context, name string, r io.Reader, tell func(packets int64)) error {
	c.kind("ts")
	c.saw("T2", "T3", "T10")
	at := Place{File: name, group: name}
	s := newTSSegment(c, at, map[uint16]counter{})
	s.continuous, s.first, s.broke = true, true, true
	in := bufio.NewReaderSize(r, 256*ts.PacketSize)
	n := int64(1)
	for ; ; n++ {
		b, err := in.Peek(ts.PacketSize)
		if len(b) > 0 && b[0] != ts.SyncByte {
			c.find("T2", s.packet(n), "begins with 0x%02x, not 0x47", b[0])
			if err = resync(in); err == nil {
				n--
				continue
			}
		} else if len(b) > 0 && len(b) < ts.PacketSize && errors.Is(err, io.EOF) {
			c.find("T2", s.packet(n), "the last packet has %d bytes of %d", len(b), ts.PacketSize)
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF) || ctx.Err() != nil:
			c.count(0, 0, int(n-1)*ts.PacketSize)
			if !s.in.HasPAT || !s.in.HasPMT {
				c.saw("T1")
				c.find("T1", at, "no PAT and PMT that can be read in %d packets", n-1)
			}
			return nil
		default:
			return fmt.Errorf("verify: %s: %w", name, err)
		}
		s.take(n, b)
		if _, err := in.Discard(ts.PacketSize); err != nil {
			return err
		}
		if tell != nil && n%512 == 0 {
			tell(n)
		}
	}
}

// resync skips to where two packets follow each other.
func resync(in *bufio.Reader) error {
	for {
		if _, err := in.Discard(1); err != nil {
			return err
		}
		b, err := in.Peek(ts.PacketSize + 1)
		switch {
		case err != nil:
			return err
		case b[0] == ts.SyncByte && b[ts.PacketSize] == ts.SyncByte:
			return nil
		}
	}
}

// tables checks how often PAT and PMT come, by the program's clock (TR 101 290 1.3, 1.5).
func (s *tsSegment) tables(n int64, p *ts.PacketInfo) {
	const most = 500 * 90
	if !p.Start || p.Table == "" {
		return
	}
	if last, ok := s.tabled[p.Table]; ok && last >= 0 {
		s.c.saw("T4")
		if gap := ts.Since(s.pcr, last); gap > most {
			s.c.find("T4", s.packet(n), "%s comes %d ms after the one before", p.Table, gap/90)
		}
	}
	s.tabled[p.Table] = s.pcr // -1: clock sets it
}

// restart forgets the times before a break of the clock that is marked (2.4.3.5).
func (s *tsSegment) restart() {
	s.pcr = -1
	clear(s.pts)
	clear(s.dts)
	clear(s.tabled)
}

// open asks for a URL whose body may never end. It returns nil if that is not a transport
// stream.
func (w *web) open(ctx context.Context, name string) (io.ReadCloser, string, error) {
	u, err := url.Parse(name)
	if err != nil {
		return nil, "", err
	}
	switch path.Ext(u.Path) {
	case ".m3u8", ".m3u", ".mpd":
		return nil, "", nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, name, nil)
	if err != nil {
		return nil, "", err
	}
	req.Header.Set("User-Agent", "cleave-verify")
	client := *w.client
	client.Timeout = 0 // of the whole body
	resp, err := client.Do(req)
	if err != nil {
		return nil, "", err
	}
	body := bufio.NewReaderSize(resp.Body, 4*ts.PacketSize)
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	stream := resp.StatusCode == http.StatusOK && strings.EqualFold(kind, "video/mp2t")
	if resp.StatusCode == http.StatusOK && !stream && resp.ContentLength != 0 {
		head, _ := body.Peek(2 * ts.PacketSize)
		stream = isTransport(head)
	}
	if !stream {
		resp.Body.Close()
		return nil, "", nil
	}
	return &struct {
		io.Reader
		io.Closer
	}{body, resp.Body}, resp.Request.URL.String(), nil
}

// watchStream checks a transport stream from a URL for as long as the configuration says.
func (c *checker) watchStream(cfg Config, name string, body io.ReadCloser) (*Report, error) {
	defer body.Close()
	ctx, cancel := context.WithTimeout(c.ctx, cfg.For)
	defer cancel()
	defer context.AfterFunc(ctx, func() { body.Close() })()
	c.checkTransport(name)
	c.now = cfg.Now
	start := cfg.Now()
	told := start
	tell := func(packets int64) {
		now := cfg.Now()
		if cfg.Progress == nil || now.Sub(told) < tellEvery {
			return
		}
		told = now
		elapsed := now.Sub(start)
		c.mu.Lock()
		defer c.mu.Unlock()
		cfg.Progress(Status{
			Elapsed: elapsed, For: cfg.For, Must: c.report.Count(Must), Should: c.report.Count(Should),
			Renditions: []RenditionStatus{{Name: path.Base(name), Role: "ts", Bitrate: float64(packets*ts.PacketSize*8) / elapsed.Seconds()}},
		})
	}
	if err := c.checkStream(ctx, name, body, tell); err != nil {
		return nil, err
	}
	if err := c.ctx.Err(); err != nil && cfg.Now().Sub(start) < cfg.For/10 {
		return nil, err
	}
	c.report.Watched = cfg.Now().Sub(start)
	return c.done(), nil
}
