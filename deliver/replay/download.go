package replay

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/cleave-video/cleave/httpio"
	"github.com/cleave-video/cleave/live"
)

const filmSuffix = ".mp4"

// maxFilms is how many files are sent at a time.
const maxFilms = 64

// download answers with a range as one file.
func (h *Handler) download(w http.ResponseWriter, r *http.Request, name string) error {
	if live.CheckName(name) != nil {
		return errNone
	}
	p, err := parsePeriod(r.URL.Query(), h.cfg.Hub.Now())
	if err != nil {
		return err
	}
	if h.films.Add(1) > maxFilms {
		h.films.Add(-1)
		return errMany
	}
	defer h.films.Add(-1)
	plan := h.film
	switch exact := r.URL.Query().Get("exact"); exact {
	case "", "0":
	case "1":
		plan = h.exact
	default:
		return bad(fmt.Sprintf("exact=%.40q: not 0 or 1", exact))
	}
	f, err := plan(r.Context(), name, p)
	if err != nil {
		return err
	}
	h.cfg.Hub.Promise(r.Context(), name, f.span.From, f.span.To)
	content := newFilmReader(r.Context(), f)
	defer content.Close()
	head := w.Header()
	head.Set("Content-Type", f.contentType())
	head.Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", strings.ReplaceAll(name, "/", "-")+"-"+f.span.From.UTC().Format("20060102T150405Z")+filmSuffix))
	head.Set("Cache-Control", "no-cache")
	head.Set("Etag", f.tag)
	defer httpio.Expire(w, f.size)()
	r = httpio.IgnoreRange(r)
	if strings.Contains(r.Header.Get("Range"), ",") { // several: all of it
		r = r.Clone(r.Context())
		r.Header.Del("Range")
	}
	http.ServeContent(w, r, "", time.Time{}, content)
	return nil
}

func (f *film) contentType() string {
	for _, t := range f.tracks {
		if t.video {
			return "video/mp4"
		}
	}
	return "audio/mp4"
}
