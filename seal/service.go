package seal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/cleave-video/cleave/av"
)

// Service asks a key service by HTTP.
type Service struct {
	// URL is what is asked, by GET, with "{stream}" and "{number}" replaced by the
	// stream's name, escaped, and by how many keys it has had. The answer is a line as
	// Parse reads it; 204 or 404 says that there is no further key now.
	URL   string
	Token string // of an Authorization header; empty: there is none
	// Client is how it is asked; nil: by one that follows no redirects.
	Client *http.Client
}

// Bounds of a key service.
const (
	serviceTimeout = 10 * time.Second
	maxAnswer      = 4 << 10
)

// Validate reports what is wrong with s.
func (s *Service) Validate() error {
	u, err := url.Parse(strings.NewReplacer("{stream}", "s", "{number}", "0").Replace(s.URL))
	switch {
	case err != nil:
		return fmt.Errorf("seal: key service: %w", err)
	case u.Scheme != "https" && u.Scheme != "http" || u.Host == "":
		return fmt.Errorf("seal: key service: %q is no URL of HTTP", s.URL)
	}
	return nil
}

// Next implements Supply. Errors never show what the service has said.
func (s *Service) Next(ctx context.Context, stream string, number uint64, last *Key) (Key, error) {
	ctx, cancel := context.WithTimeout(ctx, serviceTimeout)
	defer cancel()
	name := strings.NewReplacer("{stream}", url.QueryEscape(stream), "{number}", strconv.FormatUint(number, 10)).Replace(s.URL)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, name, nil)
	if err != nil {
		return Key{}, fmt.Errorf("seal: key service: %w", err)
	}
	if s.Token != "" {
		req.Header.Set("Authorization", "Bearer "+s.Token)
	}
	res, err := s.client().Do(req)
	if err != nil {
		return Key{}, fmt.Errorf("seal: key service: %w", err)
	}
	defer res.Body.Close()
	switch res.StatusCode {
	case http.StatusOK:
	case http.StatusNoContent, http.StatusNotFound:
		return Key{}, fmt.Errorf("seal: key service: %w: %s", ErrNoKey, res.Status)
	default:
		return Key{}, fmt.Errorf("seal: key service: it answers %s", res.Status)
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return Key{}, fmt.Errorf("seal: key service: %w", err)
	}
	if len(b) > maxAnswer {
		return Key{}, fmt.Errorf("seal: key service: %w: more than %d bytes", av.ErrTooLarge, maxAnswer)
	}
	list, err := Parse(b)
	if err != nil {
		return Key{}, fmt.Errorf("seal: key service: %w", err)
	}
	if last != nil && list[0].ID == last.ID {
		return Key{}, fmt.Errorf("seal: key service: %w: it gives the last one again", ErrNoKey)
	}
	return list[0], nil
}

func (s *Service) client() *http.Client {
	if s.Client != nil {
		return s.Client
	}
	return &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return errRedirect }}
}

var errRedirect = errors.New("it redirects, which is not followed")
