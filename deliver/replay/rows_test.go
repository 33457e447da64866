package replay_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// stuck is a client that reads nothing until it is let go.
type stuck struct {
	*httptest.ResponseRecorder
	begun func()
	free  <-chan struct{}
}

func (s stuck) Write(b []byte) (int, error) {
	s.begun()
	<-s.free
	return s.ResponseRecorder.Write(b)
}

// TestManyLongPlaylists: the memory that clients hold who read long playlists slowly is
// bounded; who has been answered leaves it to others.
func TestManyLongPlaylists(t *testing.T) {
	h := day(t)
	const clients = 60
	const path = "/live/day/video0/index.m3u8?from=2026-03-01T06:00:00Z"
	free := make(chan struct{})
	var begun, all sync.WaitGroup
	begun.Add(clients)
	answers := make([]stuck, clients)
	for i := range answers {
		var once sync.Once
		answers[i] = stuck{httptest.NewRecorder(), func() { once.Do(begun.Done) }, free}
		all.Go(func() { h.ServeHTTP(answers[i], httptest.NewRequest(http.MethodGet, path, nil)) })
	}
	begun.Wait()
	if w := ask(t, h, path+"&to=2026-03-01T06:10:00Z"); w.Code != http.StatusOK && w.Code != http.StatusServiceUnavailable {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	close(free)
	all.Wait()
	full, refused := 0, 0
	for i := range answers {
		switch w := answers[i]; {
		case w.Code == http.StatusOK && strings.HasSuffix(w.Body.String(), "#EXT-X-ENDLIST\n"):
			full++
		case w.Code == http.StatusServiceUnavailable && w.Header().Get("Retry-After") != "":
			refused++
		default:
			t.Errorf("%d %.100s", w.Code, w.Body)
		}
	}
	if full < 40 || full > 49 || full+refused != clients {
		t.Errorf("%d are answered, %d are refused", full, refused)
	}
	if w := ask(t, h, path); w.Code != http.StatusOK {
		t.Errorf("afterwards: %d %s", w.Code, w.Body)
	}
}
