// Package keys gives the keys of encrypted live streams to players that may have them.
package keys

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/cleave-video/cleave/httpio"
	"github.com/cleave-video/cleave/live"
	"github.com/cleave-video/cleave/seal"
	"github.com/cleave-video/cleave/seal/vault"
)

// Config is what a Handler is made of.
type Config struct {
	// Find returns where the keys of the stream of that name are, and who may have them;
	// nil if there are none to be had here.
	Find func(name string) (*vault.Vault, *Guard)
}

// Handler answers, to who shows a token,
//
//	GET, HEAD  /NAME/keys/ID.key    the 16 bytes of a key
//	POST       /NAME/keys/clearkey  the keys asked for, as a ClearKey server (W3C EME 9.1.4),
//	                                and the newest beside them
//	GET, HEAD  /NAME/keys/clearkey  the newest keys, in the same form
//
// Nothing of it is to be stored. A key is there from two chunks before its first use on,
// as long as anything that is kept needs it, also while nobody publishes.
type Handler struct{ cfg Config }

var _ http.Handler = (*Handler)(nil)

// New returns a Handler.
func New(cfg Config) *Handler { return &Handler{cfg} }

// license is the last part of the path of what is asked by ClearKey clients.
const license = "clearkey"

// Serves reports whether a path is one that a Handler answers.
func Serves(path string) bool {
	_, _, ok := split(path)
	return ok
}

// split returns the stream's name and the key's ID, which is nil for a license.
func split(path string) (name string, id *[16]byte, ok bool) {
	rest, last, found := cutLast(strings.TrimPrefix(path, "/"))
	name, dir, below := cutLast(rest)
	if !found || !below || dir != live.KeysDir {
		return "", nil, false
	}
	if last == license {
		return name, nil, true
	}
	digits, isKey := strings.CutSuffix(last, live.KeySuffix)
	b, err := hex.DecodeString(digits)
	if !isKey || err != nil || len(b) != len(id) || digits != strings.ToLower(digits) {
		return "", nil, false
	}
	return name, (*[16]byte)(b), true
}

func cutLast(s string) (before, after string, found bool) {
	i := strings.LastIndexByte(s, '/')
	return s[:max(i, 0)], s[i+1:], i > 0
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, id, ok := split(r.URL.Path)
	if !methods(w, r, id == nil) {
		return
	}
	var v *vault.Vault
	var g *Guard
	if ok {
		v, g = h.cfg.Find(name)
	}
	if v == nil {
		httpio.Fail(w, http.StatusNotFound, "no such stream, or none with keys here")
		return
	}
	if code, text := g.check(r); code != http.StatusOK {
		if code == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", "Bearer")
		}
		httpio.Fail(w, code, text)
		return
	}
	keys, err := v.Lookup(name)
	switch {
	case err != nil:
		httpio.Fail(w, http.StatusInternalServerError, "the keys cannot be read")
	case keys == nil:
		httpio.Fail(w, http.StatusNotFound, "the stream has had no keys yet")
	case id != nil:
		one(w, r, keys, *id)
	default:
		answer(w, r, keys)
	}
}

// methods lets those through that the path has and answers the others. Pages of any
// origin may ask, with a token.
func methods(w http.ResponseWriter, r *http.Request, post bool) bool {
	head, allowed := w.Header(), "GET, HEAD"
	if post {
		allowed += ", POST"
	}
	head.Set("Access-Control-Allow-Origin", "*")
	switch {
	case r.Method == http.MethodGet, r.Method == http.MethodHead, post && r.Method == http.MethodPost:
		head.Set("Access-Control-Expose-Headers", "Content-Length, Date, WWW-Authenticate")
		head.Set("Timing-Allow-Origin", "*")
		return true
	case r.Method == http.MethodOptions:
		head.Set("Access-Control-Allow-Methods", allowed)
		head.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Range, Cache-Control")
		head.Set("Access-Control-Max-Age", "86400")
		w.WriteHeader(http.StatusNoContent)
	default:
		head.Set("Allow", allowed+", OPTIONS")
		httpio.Fail(w, http.StatusMethodNotAllowed, "only "+allowed)
	}
	return false
}

func one(w http.ResponseWriter, r *http.Request, keys *vault.Keys, id [16]byte) {
	k, ok := keys.Find(id)
	if !ok {
		httpio.Fail(w, http.StatusNotFound, "there is no such key, or it is not needed any more")
		return
	}
	write(w, r, "application/octet-stream", k.Key[:])
}

func write(w http.ResponseWriter, r *http.Request, kind string, b []byte) {
	head := w.Header()
	head.Set("Content-Type", kind)
	head.Set("Cache-Control", "no-store")
	head.Set("Content-Length", strconv.Itoa(len(b)))
	if r.Method != http.MethodHead {
		defer httpio.Expire(w, int64(len(b)))()
		_, _ = w.Write(b) // a client that is gone needs no answer
	}
}

// Bounds of a license.
const (
	maxRequest = 64 << 10
	maxNewest  = 256 // keys, for who does not say which
	maxBeside  = 16  // of them, beside those that are asked for
)

// answer answers a ClearKey client.
func answer(w http.ResponseWriter, r *http.Request, keys *vault.Keys) {
	var list []seal.Key
	if r.Method != http.MethodPost {
		list = keys.Newest(maxNewest)
	} else {
		ids, err := asked(http.MaxBytesReader(w, r.Body, maxRequest))
		if err != nil {
			httpio.Fail(w, http.StatusBadRequest, "not the request for a license of ClearKey: "+err.Error())
			return
		}
		list = beside(keys, ids)
	}
	if len(list) == 0 {
		httpio.Fail(w, http.StatusNotFound, "there are no such keys, or they are not needed any more")
		return
	}
	b, err := seal.License(list)
	if err != nil {
		httpio.Fail(w, http.StatusInternalServerError, "the keys cannot be written")
		return
	}
	write(w, r, "application/json", b)
}

// beside returns the keys asked for, and the newest: hls.js, when keys change, asks for
// the one before in place of the next now and then, and takes it for an error if the next
// is not in the answer.
func beside(keys *vault.Keys, ids [][16]byte) (list []seal.Key) {
	for _, id := range ids {
		if k, ok := keys.Find(id); ok {
			list = append(list, k)
		}
	}
	if len(list) == 0 {
		return nil
	}
	for _, k := range keys.Newest(maxBeside) {
		if !slices.ContainsFunc(list, func(have seal.Key) bool { return have.ID == k.ID }) {
			list = append(list, k)
		}
	}
	return list
}

// asked reads the IDs of a license request. W3C EME 9.1.3
func asked(body io.Reader) ([][16]byte, error) {
	var request struct {
		Kids []string `json:"kids"`
	}
	if err := json.NewDecoder(body).Decode(&request); err != nil {
		return nil, errors.New("it is no JSON, or too large")
	}
	if len(request.Kids) == 0 {
		return nil, errors.New("it names no keys")
	}
	out := make([][16]byte, len(request.Kids))
	for i, text := range request.Kids {
		b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(text, "="))
		if err != nil || len(b) != len(out[i]) {
			return nil, errors.New("an ID is not 16 bytes in base64url")
		}
		out[i] = [16]byte(b)
	}
	return out, nil
}
