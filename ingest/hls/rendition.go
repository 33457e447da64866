package hls

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/format/hls"
	"github.com/cleave-video/cleave/format/mp4"
	"github.com/cleave-video/cleave/format/ts"
	"github.com/cleave-video/cleave/httpio"
	"github.com/cleave-video/cleave/internal/pace"
)

// rendition follows one media playlist. Its segments are read one behind the other,
// as one stream up to a break: a discontinuity, another initialization section, a
// segment that is missing. Behind it a new demuxer begins.
type rendition struct {
	ctx    context.Context // of the source
	client *http.Client
	url    *url.URL
	base   *url.URL // that the playlist came from
	list   *hls.Media
	loaded time.Time
	fresh  time.Time // when the playlist was last seen to have grown
	next   int64     // media sequence number of the next segment; -1 not begun
	start  time.Time // when the first segment was asked for, of a playlist with an end
	from   int64     // where that began in the playlist, ns

	init    hls.Map // of the section that is read
	initURL string
	failed  int // segments in a row
	cur     *body
	segment bool // a segment of the section was begun
	cut     bool // the section ends here
	demuxer av.Demuxer
	format  string
	bytes   atomic.Int64
}

const (
	startBehind = 3 // segments behind the end of a live playlist (RFC 8216bis 6.3.3)
	maxFailed   = 3
	stalledFor  = 6 // target durations
)

// ErrStalled is a live playlist that does not grow any more.
var ErrStalled = errors.New("hls: the playlist does not grow")

// load fetches the playlist.
func (r *rendition) load() error {
	b, from, err := playlist(r.ctx, r.client, r.url)
	if err != nil {
		return err
	}
	return r.take(b, from, time.Now())
}

// take reads a playlist that was fetched.
func (r *rendition) take(b []byte, from *url.URL, now time.Time) error {
	m, err := (&hls.Reader{}).Media(b)
	if err != nil {
		return err
	}
	if m.IFramesOnly {
		return av.Errorf("hls", -1, "EXT-X-I-FRAMES-ONLY", "%w", av.ErrUnsupported)
	}
	for i := range m.Segments {
		for _, k := range m.Segments[i].Keys {
			if k.Method != "NONE" {
				return av.Errorf("hls", -1, "EXT-X-KEY", "%w: METHOD=%s", av.ErrEncrypted, k.Method)
			}
		}
	}
	for len(m.Segments) > 0 && m.Segments[len(m.Segments)-1].URI == "" {
		m.Segments = m.Segments[:len(m.Segments)-1] // one of which only parts are there
	}
	if old := r.list; old == nil || m.Sequence+int64(len(m.Segments)) != old.Sequence+int64(len(old.Segments)) || m.EndList {
		r.fresh = now
	}
	r.list, r.base, r.loaded = m, from, now
	r.place()
	return nil
}

// place says which segment is next, where that is not the one behind the last.
func (r *rendition) place() {
	m := r.list
	end := m.Sequence + int64(len(m.Segments))
	switch {
	case r.next < 0 && m.EndList:
		r.next = m.Sequence
	case r.next < 0:
		r.next = max(m.Sequence, end-startBehind)
	case r.next < m.Sequence: // too slow: they are gone
		r.next, r.cut = m.Sequence, true
	case r.next > end: // the server has begun to count anew
		r.next, r.cut = max(m.Sequence, end-startBehind), true
	}
}

func (r *rendition) target() time.Duration { return time.Duration(r.list.TargetDuration) * time.Second }

// following returns the next segment, waiting for it where need be; io.EOF behind
// the last.
func (r *rendition) following() (*hls.Segment, error) {
	for {
		i := r.next - r.list.Sequence
		if i >= 0 && i < int64(len(r.list.Segments)) {
			return &r.list.Segments[i], r.pace(&r.list.Segments[i])
		}
		if r.list.EndList {
			return nil, io.EOF
		}
		now := time.Now()
		if now.Sub(r.fresh) > max(stalledFor*r.target(), listTimeout) {
			return nil, fmt.Errorf("%w: for %v", ErrStalled, now.Sub(r.fresh).Round(time.Second))
		}
		wait := r.target() / 2 // it has not changed (RFC 8216bis 6.3.4)
		if r.fresh.Equal(r.loaded) {
			wait = r.target()
		}
		if err := pace.Sleep(r.ctx, r.loaded.Add(wait).Sub(now)); err != nil {
			return nil, err
		}
		if err := r.load(); err != nil {
			var no *httpio.StatusError
			if !errors.As(err, &no) || r.failed >= maxFailed {
				return nil, err
			}
			r.failed++
			r.loaded = time.Now()
		}
	}
}

// pace keeps a playlist that has an end from being read faster than it plays.
func (r *rendition) pace(s *hls.Segment) error {
	if !r.list.EndList {
		return nil
	}
	if r.start.IsZero() {
		r.start, r.from = time.Now(), s.Span.Start
	}
	due := time.Duration(s.Span.Start-r.from) - 2*r.target()
	return pace.Sleep(r.ctx, time.Until(r.start.Add(due)))
}

// Read reads the section: its initialization section, and segment behind segment.
// io.EOF ends the section.
func (r *rendition) Read(p []byte) (int, error) {
	for {
		if r.cur != nil {
			n, err := r.cur.Read(p)
			r.bytes.Add(int64(n))
			if err != nil {
				r.cur.Close()
				r.cur = nil
				if !errors.Is(err, io.EOF) {
					if err := r.skip(err); err != nil {
						return n, err
					}
				}
			}
			if n > 0 {
				return n, nil
			}
			continue
		}
		if r.cut {
			return 0, io.EOF
		}
		if err := r.step(); err != nil {
			return 0, err
		}
	}
}

// step opens what comes next: a segment, or the initialization section before it.
func (r *rendition) step() error {
	s, err := r.following()
	if err != nil || r.cut {
		return err // a reload has moved on
	}
	init := r.mapOf(s)
	switch {
	case s.Gap:
		r.next++
		r.cut = true
		return nil
	case r.segment && (s.Discontinuity || init != r.init):
		r.cut = true
		return nil
	case !r.segment && init.URI != "" && r.initURL == "":
		r.init = init
		return r.open(init.URI, init.Range, true)
	}
	r.init, r.segment = init, true
	r.next++
	return r.open(s.URI, s.Range, false)
}

// mapOf returns the initialization section of a segment: the last that stands
// before it.
func (r *rendition) mapOf(s *hls.Segment) hls.Map {
	m := r.list.Map
	for i := range r.list.Segments {
		x := &r.list.Segments[i]
		if x.Map.URI != "" {
			m = x.Map
		}
		if x == s {
			break
		}
	}
	return m
}

func (r *rendition) open(uri string, at hls.ByteRange, init bool) error {
	u, err := resolve(r.base, uri)
	if err != nil {
		return err
	}
	r.cur, err = open(r.ctx, r.client, u, at, 4*r.target())
	if err != nil {
		if r.ctx.Err() != nil {
			return context.Cause(r.ctx)
		}
		if init {
			return err
		}
		return r.skip(err)
	}
	if init {
		r.initURL = u.String()
	} else {
		r.failed = 0
	}
	return nil
}

// skip gives a segment up; too many in a row are too many.
func (r *rendition) skip(err error) error {
	if r.ctx.Err() != nil {
		return context.Cause(r.ctx)
	}
	if r.failed++; r.failed >= maxFailed {
		return err
	}
	r.cut = true
	return nil
}

// section begins a new demuxer. io.EOF: nothing follows.
func (r *rendition) section() error {
	r.cut, r.segment, r.initURL = false, false, ""
	br := bufio.NewReaderSize(r, 4096)
	head, err := br.Peek(5 * 204)
	if len(head) == 0 && r.cut {
		return nil // nothing was in it: the next
	}
	if err != nil && (!errors.Is(err, io.EOF) || len(head) == 0) {
		return err
	}
	switch {
	case ts.Sniff(head) > 0:
		r.format, r.demuxer = "ts", ts.NewDemuxer(br)
	case mp4.Sniff(head) > 0:
		r.format, r.demuxer = "mp4", mp4.NewStream(br)
	default:
		return av.Errorf("hls", -1, "segment", "%w: neither MPEG-TS nor fragmented MP4: %x", av.ErrUnsupported, head[:min(8, len(head))])
	}
	return nil
}

// read returns the next packet; av.ErrTracks where tracks begin anew; io.EOF at the
// end of the playlist.
func (r *rendition) read(a av.Allocator) (av.Packet, error) {
	for {
		if r.demuxer == nil {
			if err := r.section(); err != nil {
				return av.Packet{}, err
			}
			continue
		}
		p, err := r.demuxer.ReadPacket(a)
		if err == nil || errors.Is(err, av.ErrTracks) {
			return p, err
		}
		var bad *av.Error
		damaged := errors.As(err, &bad)
		if !errors.Is(err, io.EOF) && !damaged {
			return av.Packet{}, err
		}
		if damaged {
			if serr := r.skip(err); serr != nil {
				return av.Packet{}, serr
			}
		}
		r.close()
	}
}

// close ends the section.
func (r *rendition) close() {
	if r.cur != nil {
		r.cur.Close()
		r.cur = nil
	}
	r.demuxer = nil
}
