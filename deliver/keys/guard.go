package keys

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
)

// Guard says who may have keys. It is immutable.
type Guard struct {
	tokens [][sha256.Size]byte
	open   bool
}

// NewGuard lets in who shows one of the tokens, in the request's Authorization header or
// as its query parameter "token"; everybody if there are none.
func NewGuard(tokens ...string) *Guard {
	g := &Guard{open: len(tokens) == 0}
	for _, t := range tokens {
		g.tokens = append(g.tokens, sha256.Sum256([]byte(t)))
	}
	return g
}

// check returns 200, 401 if no token is shown, or 403 if it is another one, and why.
func (g *Guard) check(r *http.Request) (code int, text string) {
	if g.open {
		return http.StatusOK, ""
	}
	shown, ok := token(r)
	if !ok {
		return http.StatusUnauthorized, "keys are given to who shows a token, in the header Authorization: Bearer, or as the parameter token"
	}
	// Sums have one length, and are compared in one time, whatever was shown.
	sum, same := sha256.Sum256([]byte(shown)), 0
	for i := range g.tokens {
		same |= subtle.ConstantTimeCompare(sum[:], g.tokens[i][:])
	}
	if same != 1 {
		return http.StatusForbidden, "this is not a token for these keys"
	}
	return http.StatusOK, ""
}

// token returns what a request shows. RFC 6750 2.1, 2.3
func token(r *http.Request) (string, bool) {
	if h := r.Header.Get("Authorization"); h != "" {
		scheme, shown, _ := strings.Cut(h, " ")
		return strings.TrimSpace(shown), strings.EqualFold(scheme, "Bearer")
	}
	q := r.URL.Query()
	return q.Get("token"), q.Has("token")
}
