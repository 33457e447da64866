package replay_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/deliver/replay"
	"github.com/cleave-video/cleave/deliver/replay/replaytest"
	"github.com/cleave-video/cleave/format/hls"
	"github.com/cleave-video/cleave/format/mp4"
	indexmem "github.com/cleave-video/cleave/index/mem"
	"github.com/cleave-video/cleave/live"
)

// day serves the day.
func day(t testing.TB) http.Handler {
	t.Helper()
	d, err := replaytest.NewDay()
	if err != nil {
		t.Fatal(err)
	}
	ix, st := indexmem.New(), &replaytest.Store{Day: d}
	if err := d.Fill(t.Context(), ix, nil); err != nil {
		t.Fatal(err)
	}
	hub, err := live.NewHub(live.Config{Store: st, Index: ix, Retention: func(string) *live.Retention { return &live.Retention{} }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = hub.Close() })
	return replay.New(replay.Config{Hub: hub, Index: ix, Store: st})
}

func ask(t testing.TB, h http.Handler, path string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// span is a range of frames, the second one not in it.
type span struct{ from, to int }

func (s span) query() string {
	return fmt.Sprintf("from=%s&to=%s", stamp(replaytest.Wall(s.from)), stamp(replaytest.Wall(s.to)))
}

// stamp is a time as playlists have it, cut to milliseconds.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

const frames = replaytest.Chunks * replaytest.PerChunk

// TestHundredRanges: of a hundred ranges of a day, most of hours, the playlists list the
// chunks that they lie in and no others; of those of minutes the files have the frames
// from the key frame before up to the next one behind, and those that are cut exactly show
// the frames that were asked for.
func TestHundredRanges(t *testing.T) {
	h := day(t)
	r := rand.New(rand.NewPCG(1, 2))
	var list []span
	for range 60 {
		from := r.IntN(frames - 10)
		list = append(list, span{from, from + 1 + r.IntN(frames-from-1)})
	}
	for range 30 {
		from := r.IntN(frames - 5000)
		list = append(list, span{from, from + 1 + r.IntN(5000)})
	}
	for range 6 { // across the hole, and the chunk that is missing
		list = append(list, span{replaytest.Broken*60 - 1 - r.IntN(500), replaytest.Broken*60 + 1 + r.IntN(500)})
	}
	for range 4 {
		list = append(list, span{replaytest.Missing*60 - 1 - r.IntN(100), (replaytest.Missing+1)*60 + 1 + r.IntN(100)})
	}
	for i, s := range list {
		checkPlaylist(t, h, s)
		if s.to-s.from > 5600 {
			continue
		}
		gop := replaytest.PerGOP
		key := span{s.from / gop * gop, (s.to + gop - 1) / gop * gop}
		checkFile(t, h, s.query(), key, i)
		checkFile(t, h, s.query()+"&exact=1", s, i)
	}
}

func checkPlaylist(t *testing.T, h http.Handler, s span) {
	t.Helper()
	renditions := []string{"video0", "audio0"}
	if s.to-s.from > frames/8 {
		renditions = renditions[s.from%2:][:1] // reading takes its time
	}
	for _, rend := range renditions {
		w := ask(t, h, "/live/day/"+rend+"/index.m3u8?"+s.query())
		m, err := (&hls.Reader{MaxBytes: 16 << 20, MaxEntries: 1 << 20}).Media(w.Body.Bytes())
		if w.Code != http.StatusOK || err != nil {
			t.Fatal(s, w.Code, err)
		}
		first, last := s.from/replaytest.PerChunk, (s.to-1)/replaytest.PerChunk
		if len(m.Segments) != last-first+1 || m.Type != hls.VOD || !m.EndList || m.TargetDuration != 2 {
			t.Fatalf("%s of %v: %d segments, want %d to %d", rend, s, len(m.Segments), first, last)
		}
		for i := range m.Segments {
			x, n := &m.Segments[i], first+i
			name := fmt.Sprintf("1-%d.m4s", n)
			if n >= replaytest.Broken {
				name = fmt.Sprintf("2-%d.m4s", n+3)
			}
			off := x.ProgramDateTime.Sub(replaytest.Wall(n * replaytest.PerChunk))
			if x.URI != name || x.Gap != (n == replaytest.Missing) || x.Discontinuity != (n == replaytest.Broken && i > 0) || max(off, -off) > 12*time.Millisecond {
				t.Fatalf("%s of %v: segment %d is %+v", rend, s, n, x)
			}
		}
	}
}

// checkFile checks which frames a file shows: those of want but what is missing.
func checkFile(t *testing.T, h http.Handler, query string, want span, seed int) {
	t.Helper()
	w := ask(t, h, "/live/day.mp4?"+query)
	b := w.Body.Bytes()
	if w.Code != http.StatusOK || w.Header().Get("Content-Length") != fmt.Sprint(len(b)) {
		t.Fatal(query, w.Code, w.Header(), w.Body.String()[:min(200, w.Body.Len())])
	}
	length := int64(-1)
	if top, err := mp4.Tree(b, 0); err != nil {
		t.Fatal(query, err)
	} else if strings.Contains(query, "exact") {
		length = int64(binary.BigEndian.Uint64(mp4.First(top, "moov").First("trak", "edts", "elst").Body[8:]))
	}
	var shown []int
	var times []int64
	sound := int64(-1)
	last := int64(-1)
	d := mp4.New(bytes.NewReader(b), int64(len(b)))
	defer d.Close()
	for {
		p, err := d.ReadPacket(av.Heap{})
		if errors.Is(err, av.ErrTracks) {
			continue
		}
		if err != nil {
			break
		}
		n := int64(binary.BigEndian.Uint64(p.Data))
		if p.Track == 1 {
			if sound >= 0 && n != sound+1 && !slices.Contains([]int64{0}, n) && !missing(want) {
				t.Fatalf("%s: sound %d after %d", query, n, sound)
			}
			sound = n
			continue
		}
		if last >= 0 && p.DTS <= last {
			t.Fatalf("%s: frame %d is decoded at %d after %d", query, n, p.DTS, last)
		}
		last = p.DTS
		if p.PTS >= 0 && (length < 0 || p.PTS < length) {
			shown, times = append(shown, int(n)), append(times, p.PTS)
		}
	}
	slices.Sort(shown)
	slices.Sort(times)
	var expected []int
	for n := want.from; n < want.to; n++ {
		if n/replaytest.PerChunk != replaytest.Missing {
			expected = append(expected, n)
		}
	}
	if !slices.Equal(shown, expected) {
		t.Fatalf("%s: it shows %d frames, %v to %v, want %d, %v", query, len(shown), first(shown), final(shown), len(expected), want)
	}
	for i := range times {
		if i > 0 && times[i]-times[i-1] != replaytest.FrameDur && !missing(want) || i == 0 && times[0] != 0 {
			t.Fatalf("%s: frame %d at %d behind %d", query, i, times[i], times[max(0, i-1)])
		}
	}
	// Any part of it is the same.
	from := rand.New(rand.NewPCG(uint64(seed), 3)).IntN(len(b))
	to := min(len(b), from+5000)
	part := ask(t, h, "/live/day.mp4?"+query, "Range", fmt.Sprintf("bytes=%d-%d", from, to-1), "If-Range", w.Header().Get("Etag"))
	if part.Code != http.StatusPartialContent || !bytes.Equal(part.Body.Bytes(), b[from:to]) {
		t.Fatalf("%s: bytes %d to %d: %d", query, from, to, part.Code)
	}
}

// missing reports whether the chunk that was not stored is in a range.
func missing(s span) bool {
	return s.from < (replaytest.Missing+1)*replaytest.PerChunk && s.to > replaytest.Missing*replaytest.PerChunk
}

func first(l []int) any {
	if len(l) == 0 {
		return "none"
	}
	return l[0]
}

func final(l []int) any {
	if len(l) == 0 {
		return "none"
	}
	return l[len(l)-1]
}
