package replay

import (
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec"
	"github.com/cleave-video/cleave/httpio"
	"github.com/cleave-video/cleave/index"
	"github.com/cleave-video/cleave/live"
	"github.com/cleave-video/cleave/store"
)

// segment answers with a segment of a chunk that is stored.
func (h *Handler) segment(w http.ResponseWriter, r *http.Request, name, rend, file string) error {
	gone := missing("it is not kept any more, or was never there")
	epoch, seq, ok := parseSegment(file)
	if !ok {
		return missing("no such segment")
	}
	e, err := h.cfg.Index.(index.Finder).Find(r.Context(), name, seq)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(e.Tracks, func(t index.Track) bool { return t.Name == rend })
	if e.Epoch != epoch || e.Object == "" || i < 0 || e.Tracks[i].Gap {
		return gone
	}
	tag := strconv.Quote(file)
	if e.Digest != [32]byte{} { // as of the same segment when it was live
		tag = strconv.Quote(base64.RawURLEncoding.EncodeToString(e.Digest[:]) + "." + strconv.Itoa(i))
	}
	return h.stored(w, r, e.Object, rend, tag, e.Tracks[i].Offset, e.Tracks[i].Size)
}

// init answers with an initialization section.
func (h *Handler) init(w http.ResponseWriter, r *http.Request, name, rend, file string) error {
	return h.stored(w, r, name+"/"+file, rend, strconv.Quote(file), 0, -1)
}

// stored answers with bytes of an object, which never change under their name; size -1 is
// all of it.
func (h *Handler) stored(w http.ResponseWriter, r *http.Request, key, rend, tag string, off, size int64) error {
	if !httpio.FewRanges(w, r) {
		return nil
	}
	o, err := h.cfg.Store.Open(r.Context(), key)
	if err != nil {
		return err
	}
	defer o.Close()
	if size < 0 {
		size = o.Size()
	}
	kind := "video/mp4"
	if len(rend) > 5 && rend[:5] == av.Audio.String() {
		kind = "audio/mp4"
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	w.Header().Set("Etag", tag)
	defer httpio.Expire(w, size)()
	http.ServeContent(w, httpio.IgnoreRange(r), "", time.Time{}, io.NewSectionReader(o, off, size))
	return nil
}

// head is an initialization section, read.
type head struct {
	track av.Track
	info  codec.Info
}

// maxHeads is how many are kept, and maxHead how long one may be.
const (
	maxHeads = 256
	maxHead  = 1 << 20
)

// heads keeps those that were read; they never change under their name.
type heads struct {
	mu  sync.Mutex // guards all
	all map[string]*head
}

// head returns the initialization section of that name of a stream.
func (h *Handler) head(ctx context.Context, name, init string) (*head, error) {
	key := name + "/" + init
	h.heads.mu.Lock()
	x := h.heads.all[key]
	h.heads.mu.Unlock()
	if x != nil {
		return x, nil
	}
	b, err := readAll(ctx, h.cfg.Store, key)
	if err != nil {
		return nil, err
	}
	x = &head{}
	if x.track, x.info, err = live.ReadInit(b); err != nil {
		return nil, &index.CorruptError{Path: key, Why: err.Error()}
	}
	h.heads.mu.Lock()
	defer h.heads.mu.Unlock()
	if h.heads.all == nil || len(h.heads.all) >= maxHeads {
		h.heads.all = make(map[string]*head)
	}
	h.heads.all[key] = x
	return x, nil
}

func readAll(ctx context.Context, s store.Store, key string) ([]byte, error) {
	o, err := s.Open(ctx, key)
	if err != nil {
		return nil, err
	}
	defer o.Close()
	if o.Size() > maxHead {
		return nil, &index.CorruptError{Path: key, Why: "it is too long"}
	}
	return io.ReadAll(io.NewSectionReader(o, 0, o.Size()))
}
