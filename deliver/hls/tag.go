package hls

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"

	"github.com/cleave-video/cleave/live"
)

// tagOf is the entity tag of a segment (RFC 9110 8.8.3): of what is stored, the digest of
// the object and the segment's place in it; before that the name, which has one content,
// too. Who was told the name is answered by it: what was begun before the segment was
// stored can be gone on with.
func tagOf(r *http.Request, s *live.Segment, name string) string {
	named := strconv.Quote(name)
	sum, section, ok := s.Digest()
	if !ok {
		return named
	}
	for _, condition := range [...]string{"If-None-Match", "If-Range", "If-Match"} {
		if strings.Contains(r.Header.Get(condition), named) {
			return named
		}
	}
	return strconv.Quote(base64.RawURLEncoding.EncodeToString(sum[:]) + "." + strconv.Itoa(section))
}
