package replay_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/cleave-video/cleave/deliver/replay/replaytest"
)

// until is a ResponseWriter that notes when the first byte came.
type until struct {
	*httptest.ResponseRecorder
	began, first time.Time
}

func (u *until) Write(b []byte) (int, error) {
	if u.first.IsZero() {
		u.first = time.Now()
	}
	return len(b), nil
}

// BenchmarkFirstByte is how long a playlist and a file of a whole day take until their first
// byte, and until their end.
func BenchmarkFirstByte(b *testing.B) {
	h := day(b)
	all := span{0, replaytest.Chunks*replaytest.PerChunk - 1}
	for name, path := range map[string]string{"playlist": "/live/day/video0/index.m3u8?", "file": "/live/day.mp4?", "list": "/live/day/recordings.json?"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var sum time.Duration
			for b.Loop() {
				r := httptest.NewRequest(http.MethodGet, path+all.query(), nil)
				if name == "file" {
					r.Header.Set("Range", "bytes=0-0")
				}
				w := &until{ResponseRecorder: httptest.NewRecorder(), began: time.Now()}
				h.ServeHTTP(w, r)
				sum += w.first.Sub(w.began)
			}
			b.ReportMetric(float64(sum.Microseconds())/1000/float64(b.N), "ms/first")
		})
	}
}
