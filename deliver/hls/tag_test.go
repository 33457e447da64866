package hls

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-video/cleave/live"
)

// TestDigestTags: a segment that is stored has the digest of its object for a tag, from
// memory and from the store, which conditions are compared with; so is the name, which
// was its tag before.
func TestDigestTags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, live.Config{})
		defer r.end()
		r.publish()
		time.Sleep(40 * time.Second)
		synctest.Wait()
		e := r.hub.Lookup("cam").Edge()
		tags := map[string]bool{}
		for i := range e.Renditions {
			x := &e.Renditions[i]
			for k := range x.Segments {
				s := &x.Segments[k]
				key, off, ok := s.Stored()
				if !ok {
					t.Fatalf("%s: %d is not stored", x.Name, s.MSN)
				}
				o, err := r.h.cfg.Store.Open(t.Context(), key)
				if err != nil {
					t.Fatal(err)
				}
				all, err := io.ReadAll(io.NewSectionReader(o, 0, o.Size()))
				o.Close()
				if err != nil {
					t.Fatal(err)
				}
				sum := sha256.Sum256(all)
				tag := strconv.Quote(base64.RawURLEncoding.EncodeToString(sum[:]) + "." + strconv.Itoa(i))
				path := "/cam/" + x.Name + "/" + segmentURI(s)
				a := r.get(path)
				body := a.Body.Bytes()
				if got := a.Header().Get("Etag"); got != tag || tags[got] || !bytes.Equal(body, all[off:off+s.Size]) {
					t.Fatalf("%s: %s, want %s", path, got, tag)
				}
				tags[tag] = true
				conditions(t, r, path, tag, body)
				conditions(t, r, path, strconv.Quote("1-"+strconv.FormatInt(s.MSN, 10)), body)
			}
		}
		// What is open has no digest yet.
		open := e.Renditions[0].Open
		if a := r.get(video + partURI(1, open.MSN, 0)); a.Header().Get("Etag") != strconv.Quote("1-"+strconv.FormatInt(open.MSN, 10)+".0") {
			t.Error(a.Header().Get("Etag"))
		}
	})
}

func conditions(t *testing.T, r *rig, path, tag string, body []byte) {
	t.Helper()
	for _, c := range []struct {
		code int
		head []string
	}{
		{http.StatusNotModified, []string{"If-None-Match", tag}},
		{http.StatusNotModified, []string{"If-None-Match", `"x", W/` + tag}},
		{http.StatusOK, []string{"If-None-Match", `"x"`}},
		{http.StatusPartialContent, []string{"Range", "bytes=10-19", "If-Range", tag}},
		{http.StatusOK, []string{"Range", "bytes=10-19", "If-Range", `"x"`}},
		{http.StatusOK, []string{"If-Match", tag}},
		{http.StatusPreconditionFailed, []string{"If-Match", `"x"`}},
	} {
		a := r.get(path, c.head...)
		want := map[int][]byte{http.StatusOK: body, http.StatusPartialContent: body[10:20]}[c.code]
		if a.Code != c.code || want != nil && !bytes.Equal(a.Body.Bytes(), want) {
			t.Errorf("%s %v: %d, want %d", path, c.head, a.Code, c.code)
		}
		if c.code == http.StatusNotModified && a.Header().Get("Etag") != tag {
			t.Errorf("%s %v: %s", path, c.head, a.Header().Get("Etag"))
		}
	}
}
