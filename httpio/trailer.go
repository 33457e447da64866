package httpio

import (
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"net/http"
	"strconv"
	"strings"
)

// Names of trailers.
const (
	digestField  = "Content-Digest" // RFC 9530 2
	sentField    = "X-Frames-Sent"
	skippedField = "X-Frames-Skipped"
)

// trailers are the fields behind a body (RFC 9110 6.5). They only say more of what was
// sent, so that they need no leave of the client (RFC 9110 6.5.1).
type trailers struct {
	digest        hash.Hash // nil: nobody asked for it, for it costs as much as encryption does
	frames        bool
	sent, skipped int64
}

// declare names them before the body.
func (t *trailers) declare(h http.Header) {
	var names []string
	if t.digest != nil {
		names = append(names, digestField)
	}
	if t.frames {
		names = append(names, sentField, skippedField)
	}
	if len(names) > 0 {
		h.Set("Trailer", strings.Join(names, ", "))
	}
}

// set writes them into h.
func (t *trailers) set(h http.Header) {
	if t.digest != nil {
		h.Set(digestField, "sha-256=:"+base64.StdEncoding.EncodeToString(t.digest.Sum(nil))+":")
	}
	if t.frames {
		h.Set(sentField, strconv.FormatInt(t.sent, 10))
		h.Set(skippedField, strconv.FormatInt(t.skipped, 10))
	}
}

func (t *trailers) add(bufs [][]byte) {
	if t.digest == nil {
		return
	}
	for _, b := range bufs {
		t.digest.Write(b)
	}
}

// wanted returns a digest if the request asks for one that is known here.
func wanted(r *http.Request) hash.Hash {
	if wantsDigest(r.Header.Values("Want-Content-Digest")) {
		return sha256.New()
	}
	return nil
}

// wantsDigest reads Want-Content-Digest (RFC 9530 4): a dictionary of algorithms with
// weights, of which 0 is not acceptable. The last one of a name counts (RFC 8941 3.2).
func wantsDigest(values []string) bool {
	wants := false
	for item := range strings.SplitSeq(strings.Join(values, ","), ",") {
		name, weight, found := strings.Cut(strings.TrimSpace(item), "=")
		if name != "sha-256" {
			continue
		}
		weight, _, _ = strings.Cut(weight, ";")
		n, err := strconv.Atoi(strings.TrimSpace(weight))
		wants = found && err == nil && n > 0 && n <= 10
	}
	return wants
}
