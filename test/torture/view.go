package torture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/format/flv/amf0"
	"github.com/cleave-video/cleave/format/hls"
	"github.com/cleave-video/cleave/format/mp4"
	"github.com/cleave-video/cleave/internal/pace"
	"github.com/cleave-video/cleave/test/child"
)

// view is what a player gets of a stream's rendition.
type view struct {
	segments, frames, breaks, gaps int
	inits                          int
	target                         int64
	longest                        time.Duration
	length                         time.Duration
}

func (v *view) String() string {
	if v == nil {
		return ""
	}
	out := fmt.Sprintf("%d frames in %d segments, %.1f s", v.frames, v.segments, v.length.Seconds())
	if v.breaks > 0 {
		out += fmt.Sprintf(", %d discontinuities", v.breaks)
	}
	return out
}

// playlist returns the media playlist of a rendition, NAME/video0, that there must be, and
// is valid.
func (r *rig) playlist(ctx context.Context, rendition string) (*hls.Media, error) {
	code, b, err := r.fetch(ctx, "/"+rendition+"/index.m3u8")
	if err != nil {
		return nil, err
	}
	if code != http.StatusOK {
		return nil, &statusError{code, strings.TrimSpace(string(b[:min(len(b), 200)]))}
	}
	m, err := new(hls.Reader).Media(b)
	if err != nil {
		return nil, err
	}
	return m, m.Check()
}

type statusError struct {
	code int
	text string
}

func (e *statusError) Error() string { return fmt.Sprintf("%d %s", e.code, e.text) }

// view waits until a stream's video, or else its sound, shows so many frames, and looks
// at all of them: what is played must be in order.
func (r *rig) view(ctx context.Context, name string, frames int) (v *view, err error) {
	for began := time.Now(); ; {
		v, err = r.look(ctx, name+"/video0")
		var no *statusError
		if errors.As(err, &no) {
			v, err = r.look(ctx, name+"/audio0")
		}
		if err == nil && v.frames >= frames || time.Since(began) > 15*time.Second || ctx.Err() != nil {
			break
		}
		_ = pace.Sleep(ctx, 200*time.Millisecond)
	}
	if err == nil && v.frames < frames {
		err = fmt.Errorf("%d frames were to come", frames)
	}
	return v, err
}

// look reads all segments of a rendition.
func (r *rig) look(ctx context.Context, rendition string) (*view, error) {
	m, err := r.playlist(ctx, rendition)
	if err != nil {
		return nil, err
	}
	v := &view{target: m.TargetDuration}
	var run []byte // an initialization section and what follows it
	last := hls.Map{}
	use := m.Map
	for i := range m.Segments {
		s := &m.Segments[i]
		if s.Map.URI != "" {
			use = s.Map
		}
		if s.URI == "" || s.Gap {
			if s.Gap {
				v.gaps++
			}
			continue
		}
		if s.Discontinuity {
			v.breaks++
		}
		v.segments++
		length := s.Span.Timebase.Duration(s.Span.Dur)
		v.longest = max(v.longest, length)
		v.length += length
		if use.URI != last.URI || s.Discontinuity {
			if err := v.read(run); err != nil {
				return v, err
			}
			last, v.inits = use, v.inits+1
			if run, err = r.media(ctx, rendition, use.URI); err != nil {
				return v, err
			}
		}
		b, err := r.media(ctx, rendition, s.URI)
		if err != nil {
			return v, err
		}
		run = append(run, b...)
	}
	if err := v.read(run); err != nil {
		return v, err
	}
	if round := int64((v.longest + 500*time.Millisecond - 1) / time.Second); round > v.target {
		return v, fmt.Errorf("a segment of %v, TARGETDURATION is %d", v.longest, v.target)
	}
	return v, nil
}

func (r *rig) media(ctx context.Context, rendition, uri string) ([]byte, error) {
	code, b, err := r.fetch(ctx, "/"+rendition+"/"+uri)
	if err == nil && code != http.StatusOK {
		err = &statusError{code, uri}
	}
	return b, err
}

// read counts the frames of a run of segments, whose DTS must rise.
func (v *view) read(run []byte) error {
	if len(run) == 0 {
		return nil
	}
	d := mp4.NewStream(bytes.NewReader(run))
	defer d.Close()
	last, begun := int64(0), false
	for {
		p, err := d.ReadPacket(av.Heap{})
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, av.ErrTracks):
			continue
		case err != nil:
			return err
		case begun && p.DTS <= last:
			return fmt.Errorf("DTS %d behind %d", p.DTS, last)
		}
		last, begun = p.DTS, true
		v.frames++
	}
}

// injected is of row 64, over HTTP: the healthy stream's answers have no header and no
// line that metadata brought.
func injected(ctx context.Context, r *rig) (string, error) {
	var b body
	b.head(3)
	meta := amf0.AppendString(amf0.AppendKey(amf0.AppendArray(amf0.AppendString(nil, "onMetaData"), 1), "title"), "x\r\nX-Evil: 1\r\n\r\n#EXT-X-KEY:METHOD=NONE\n")
	b.tag(dataMessage, 0, amf0.AppendEnd(meta))
	_ = child.EachTag(newHealthy(100), func(kind byte, at uint32, x []byte) error { b.tag(kind, at, x); return nil })
	if code, text, err := r.put(ctx, "torture/injected.flv", bytes.NewReader(b.b)); err != nil || code != http.StatusNoContent {
		return text, fmt.Errorf("PUT: %d %w", code, err)
	}
	v, err := r.view(ctx, "torture/injected", 60)
	if err != nil {
		return v.String(), err
	}
	for _, path := range []string{"/index.m3u8", "/video0/index.m3u8", "/manifest.mpd", "/frames", "/"} {
		res, err := r.get(ctx, "/torture/injected"+path)
		if err != nil {
			return v.String(), err
		}
		text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
		res.Body.Close()
		if err != nil || res.Header.Get("X-Evil") != "" || bytes.Contains(text, []byte("X-Evil")) || bytes.Contains(text, []byte("METHOD=NONE")) {
			return v.String(), fmt.Errorf("%s has it: %w", path, err)
		}
	}
	return v.String() + "; nowhere in what is served", nil
}
