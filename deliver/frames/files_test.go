package frames

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/format/mp4"
	"github.com/cleave-video/cleave/live"
	"github.com/cleave-video/cleave/store/disk"
)

// madeFile is a fragmented file: gops GOPs of 23 frames, 25 a second.
func madeFile(t *testing.T, gops int) []byte {
	t.Helper()
	d := avtest.NewSynthetic(avtest.Spec{Video: avtest.Video{
		Frames: 23 * gops, Timebase: av.Timebase{Num: 1, Den: 90000}, FrameDur: frameDur, Size: 2000, GOPs: []int{23}, B: 1,
	}})
	defer d.Close()
	g := avtest.ReadAll(t, d)[0]
	b, err := mp4.AppendInit(nil, &g.Tracks[0], 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(g.Packets); i += 23 {
		f := mp4.Fragment{Sequence: uint32(1 + i/23), TrackID: 1, Factor: 1, Packets: g.Packets[i : i+23]}
		b = f.Append(b)
		for _, p := range f.Packets {
			b = append(b, p.Data...)
		}
	}
	return b
}

// shelf is a Handler of a folder, "vod", and no stream.
type shelf struct {
	*rig
	dir string
}

func newShelf(t *testing.T, budget int64) *shelf {
	t.Helper()
	dir := t.TempDir()
	files, err := OpenFiles([]Folder{{"vod", dir}, {"vod/deep", t.TempDir()}}, budget)
	if err != nil {
		t.Fatal(err)
	}
	st, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	hub, err := live.NewHub(live.Config{Store: st})
	if err != nil {
		t.Fatal(err)
	}
	s := &shelf{&rig{t: t, h: New(Config{Hub: hub, Store: st, Files: files}), hub: hub}, dir}
	t.Cleanup(func() {
		if n := files.pool.InUse(); n != 0 {
			t.Errorf("%d bytes did not come home", n)
		}
		if err := errors.Join(files.Close(), files.Close(), hub.Close()); err != nil {
			t.Error(err)
		}
		if files.bytes != 0 || len(files.open) != 0 || files.recent.Len() != 0 {
			t.Errorf("%d bytes of %d files are still counted", files.bytes, len(files.open))
		}
	})
	return s
}

func (s *shelf) write(name string, b []byte) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// Any key frame and GOP of a stored file, by time and by number, in every format.
func TestStoredFile(t *testing.T) {
	s := newShelf(t, 0)
	s.write("a/film one.mp4", madeFile(t, 10))
	const film = "/vod/a/film%20one.mp4/"
	first := ticks(t, s.get(film+"keyframe?index=0"), "X-Frame-PTS-Ticks")
	for n := range int64(10) {
		pts := first + n*gopDur
		for _, query := range []string{
			"index=" + strconv.FormatInt(n, 10), "index=" + strconv.FormatInt(n-10, 10), fmt.Sprintf("at=%.6f", av.Clock90k.Seconds(pts)),
			fmt.Sprintf("at=%.6f", av.Clock90k.Seconds(pts+gopDur-frameDur)),
		} {
			for _, f := range []string{"annexb", "mp4"} {
				for path, frames := range map[string]int{"keyframe": 1, "gop": 23} {
					w := s.get(film + path + "?format=" + f + "&" + query)
					if w.Code != 200 || ticks(t, w, "X-Frame-PTS-Ticks") != pts || w.Header().Get("Last-Modified") == "" {
						t.Fatalf("%s?%s: %d, %v", path, query, w.Code, w.Header())
					}
					checkBody(t, w, f, frames)
				}
			}
		}
		w := s.get(fmt.Sprintf("%sgop?format=frames&index=%d", film, n))
		if next := w.Header().Get("X-Gop-Next-Pts"); n < 9 && next != strconv.FormatInt(int64(av.Clock90k.Duration(pts+gopDur)), 10) || n == 9 && next != "" {
			t.Errorf("GOP %d: the next is at %q", n, next)
		}
		if w.Header().Get("X-Gop-Frames") != "23" || w.Header().Get("X-Gop-Open") != "false" {
			t.Errorf("%v", w.Header())
		}
		if m, err := ReadMessage(w.Body); err != nil || !m.Config() {
			t.Errorf("%v, %+v", err, m)
		}
	}
	w := s.get(film + "keyframe")
	if ticks(t, w, "X-Frame-PTS-Ticks") != first+9*gopDur || ticks(t, w, "X-Window-End")-ticks(t, w, "X-Window-Start") != int64(av.Clock90k.Duration(10*gopDur)) {
		t.Errorf("the last one: %v", w.Header())
	}
	for query, n := range map[string]int64{"at=-0.5": 9, "at=-1": 8, "at=99999": 9} {
		if w := s.get(film + "keyframe?" + query); ticks(t, w, "X-Frame-PTS-Ticks") != first+n*gopDur {
			t.Errorf("%s: %v", query, w.Header())
		}
	}
	whole := s.get(film + "gop?index=3")
	tag, body := whole.Header().Get("Etag"), whole.Body.Bytes()
	for _, c := range []struct {
		header, value string
		code, n       int
	}{
		{"If-None-Match", tag, 304, 0},
		{"If-Modified-Since", whole.Header().Get("Last-Modified"), 304, 0},
		{"Range", "bytes=10-19", 206, 10},
		{"Range", "bytes=999999999-", 416, -1},
		{"If-Match", `"other"`, 412, 0},
	} {
		if w := s.get(film+"gop?index=3", c.header, c.value); w.Code != c.code || c.n >= 0 && w.Body.Len() != c.n {
			t.Errorf("%s: %s: %d, %d bytes", c.header, c.value, w.Code, w.Body.Len())
		}
	}
	if w := s.do(http.MethodHead, film+"gop?index=3"); w.Code != 200 || w.Body.Len() != 0 || w.Header().Get("Content-Length") != strconv.Itoa(len(body)) {
		t.Errorf("HEAD: %d, %v", w.Code, w.Header())
	}
	if n := len(s.h.cfg.Files.open); n != 1 {
		t.Errorf("%d files are open", n)
	}
}

// A file whose tables stand behind the media, as cameras and ffmpeg write it, gives the
// samples that the demuxer reads.
func TestStoredFileOfTables(t *testing.T) {
	b, err := os.ReadFile("../../format/mp4/testdata/last.mp4")
	if err != nil {
		t.Fatal(err)
	}
	s := newShelf(t, 0)
	s.write("last.mp4", b)
	d := mp4.New(bytes.NewReader(b), int64(len(b)))
	defer d.Close()
	var want []av.Packet
	g := avtest.ReadAll(t, d)[0]
	for _, p := range g.Packets {
		if g.Tracks[p.Track].Kind == av.Video {
			want = append(want, p)
		}
	}
	for n, i := 0, 0; i < len(want); n++ {
		w := s.get(fmt.Sprintf("/vod/last.mp4/gop?format=mp4&index=%d", n))
		got := mp4.New(bytes.NewReader(w.Body.Bytes()), int64(w.Body.Len()))
		for _, p := range avtest.ReadAll(t, got)[0].Packets {
			if p.PTS != want[i].PTS || p.DTS != want[i].DTS || p.Flags&av.Key != want[i].Flags&av.Key || !bytes.Equal(p.Data, want[i].Data) {
				t.Fatalf("GOP %d: packet %d: %d, %d, want %d, %d", n, i, p.DTS, p.PTS, want[i].DTS, want[i].PTS)
			}
			i++
		}
		got.Close()
	}
}

// What is no file, leads out of the folder, or cannot be answered from says so.
func TestStoredFileRefused(t *testing.T) {
	s := newShelf(t, 0)
	film := madeFile(t, 2)
	sound, err := os.ReadFile("../../format/mp4/testdata/sound.mp4")
	if err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(t.TempDir(), "secret.mp4")
	if err := os.WriteFile(outside, film, 0o644); err != nil {
		t.Fatal(err)
	}
	s.write("film.mp4", film)
	s.write(".hidden.mp4", film)
	s.write("sound.mp4", sound)
	s.write("text.mp4", []byte("not a film, but long enough to be looked at"))
	s.write("lies.mp4", []byte("\x40\x00\x00\x00moov"))
	s.write("empty.mp4", nil)
	s.write("cut.mp4", film[:len(film)/2])
	for name, to := range map[string]string{"out.mp4": outside, "in.mp4": "film.mp4", "none.mp4": "nothing"} {
		if err := os.Symlink(to, filepath.Join(s.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(s.dir, "pipe.mp4"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path string
		code int
		text string
	}{
		{"film.mp4/keyframe", 200, ""},
		{"in.mp4/keyframe", 200, ""},
		{"cut.mp4/keyframe?index=0", 200, ""}, // as far as it goes
		{"cut.mp4/keyframe?index=1", 404, "1 key frame"},
		{"film.mp4/frames", 404, "use keyframe"},
		{"film.mp4/keyframe?index=2", 404, "2 key frames"},
		{"film.mp4/keyframe?index=-3", 404, "2 key frames"},
		{"film.mp4/keyframe?at=-100", 404, "is later"},
		{"film.mp4/keyframe?at=0", 404, "is later"},
		{"film.mp4/keyframe?at=x", 400, "not a number"},
		{"film.mp4/keyframe?format=jpeg", 501, "no cleave-av"},
		{"film.mp4/other/keyframe", 404, "no such"},
		{"other.mp4/keyframe", 404, "no such"},
		{".hidden.mp4/keyframe", 404, "no such"},
		{"out.mp4/keyframe", 404, "no such"},
		{"none.mp4/keyframe", 404, "no such"},
		{"pipe.mp4/keyframe", 404, "no such"},
		{"../film.mp4/keyframe", 404, "no such"},
		{"./film.mp4/keyframe", 404, "no such"},
		{"/film.mp4/keyframe", 404, "no such"},
		{"keyframe", 404, "no such"},
		{"sound.mp4/keyframe", 404, "no video"},
		{"text.mp4/keyframe", 415, "no MP4"},
		{"empty.mp4/keyframe", 415, "no MP4"},
		{"lies.mp4/keyframe", 415, "no MP4"},
	} {
		if w := s.get("/vod/" + c.path); w.Code != c.code || c.code != 200 && (!strings.Contains(w.Body.String(), c.text) || w.Header().Get("Cache-Control") != "no-store") {
			t.Errorf("%s: %d %.100q, want %d %q", c.path, w.Code, w.Body, c.code, c.text)
		}
	}
	for _, bad := range [][]Folder{{{"", s.dir}}, {{".", s.dir}}, {{"/a", s.dir}}, {{"a", s.dir}, {"a", s.dir}}, {{"a", "/nowhere/at/all"}}} {
		if x, err := OpenFiles(bad, 0); err == nil {
			t.Errorf("%v was opened", bad)
			x.Close()
		}
	}
}

// TestSharedHandle: however many ask, a file is opened and indexed once; a file that
// changes is opened anew; and what is over the budget is let go of.
func TestSharedHandle(t *testing.T) {
	s := newShelf(t, 0)
	files := s.h.cfg.Files
	s.write("film.mp4", madeFile(t, 4))
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("/vod/film.mp4/gop?index=%d", i%4), nil)
			w := httptest.NewRecorder()
			s.h.ServeHTTP(w, req)
			if w.Code != 200 || w.Header().Get("X-Gop-Frames") != "23" {
				t.Errorf("%d: %s", w.Code, w.Body)
			}
		})
	}
	wg.Wait()
	first := files.open["vod/film.mp4"]
	if first == nil || first.refs != 0 || len(files.open) != 1 || files.bytes != first.index.Bytes() {
		t.Fatalf("%+v, %d bytes", first, files.bytes)
	}
	held, err := files.acquire(t.Context(), "vod/film.mp4")
	if err != nil || held != first {
		t.Fatal("it was opened twice:", err)
	}
	s.write("film.mp4", madeFile(t, 6))
	if w := s.get("/vod/film.mp4/keyframe?index=5"); w.Code != 200 {
		t.Errorf("after a change: %d %s", w.Code, w.Body)
	}
	if n, err := held.f.ReadAt(make([]byte, 8), 0); n != 8 || err != nil {
		t.Error("one that is still read was closed:", err)
	}
	handle := held.f
	files.release(held)
	if _, err := handle.ReadAt(make([]byte, 8), 0); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("one that nobody reads is open: %v", err)
	}
	// What is wrong with a file is known until it changes.
	s.write("bad.mp4", []byte("nothing"))
	if w := s.get("/vod/bad.mp4/keyframe"); w.Code != 415 {
		t.Errorf("%d", w.Code)
	}
	s.write("bad.mp4", madeFile(t, 1))
	if w := s.get("/vod/bad.mp4/keyframe"); w.Code != 200 {
		t.Errorf("then: %d %s", w.Code, w.Body)
	}
	// A client that does not wait does not spoil it for the others.
	for range maxLoading {
		files.loading <- struct{}{}
	}
	s.write("late.mp4", madeFile(t, 1))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := files.acquire(ctx, "vod/late.mp4"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	for range maxLoading {
		<-files.loading
	}
	if w := s.get("/vod/late.mp4/keyframe"); w.Code != 200 {
		t.Errorf("then: %d %s", w.Code, w.Body)
	}
}

// TestLoaderLeaves: who waits for a file that another was to load has it, though that one
// leaves.
func TestLoaderLeaves(t *testing.T) {
	s := newShelf(t, 0)
	files := s.h.cfg.Files
	s.write("film.mp4", madeFile(t, 1))
	for range maxLoading {
		files.loading <- struct{}{}
	}
	users := func(n int) { // waits until the file has so many
		for {
			files.mu.Lock()
			f := files.open["vod/film.mp4"]
			ok := f != nil && f.refs == n
			files.mu.Unlock()
			if ok {
				return
			}
			runtime.Gosched()
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	first, others := make(chan error, 1), make(chan error, 3)
	go func() {
		_, err := files.acquire(ctx, "vod/film.mp4")
		first <- err
	}()
	users(1)
	for range cap(others) {
		go func() {
			f, err := files.acquire(t.Context(), "vod/film.mp4")
			if err == nil {
				files.release(f)
			}
			others <- err
		}()
	}
	users(1 + cap(others))
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Error("the first:", err)
	}
	for range maxLoading {
		<-files.loading
	}
	for range cap(others) {
		if err := <-others; err != nil {
			t.Error("another:", err)
		}
	}
}

// TestFileMemoryIsBounded: when answers hold all that they may, the next is asked to come
// again.
func TestFileMemoryIsBounded(t *testing.T) {
	s := newShelf(t, 0)
	s.write("film.mp4", madeFile(t, 2))
	all, err := s.h.cfg.Files.pool.TryNewBlock(maxCopied)
	if err != nil {
		t.Fatal(err)
	}
	if w := s.get("/vod/film.mp4/gop"); w.Code != 503 || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	all.Release()
	if w := s.get("/vod/film.mp4/gop"); w.Code != 200 {
		t.Errorf("then: %d", w.Code)
	}
}

// TestIndexBudget: the indexes of files asked for last are kept, within the budget.
func TestIndexBudget(t *testing.T) {
	film := madeFile(t, 2)
	x, err := mp4.ReadIndex(bytes.NewReader(film), int64(len(film)), maxSamples)
	if err != nil {
		t.Fatal(err)
	}
	s := newShelf(t, 3*x.Bytes())
	files := s.h.cfg.Files
	for i := range 5 {
		s.write(fmt.Sprintf("%d.mp4", i), film)
		if w := s.get(fmt.Sprintf("/vod/%d.mp4/keyframe", i)); w.Code != 200 {
			t.Fatal(w.Code, w.Body)
		}
		if w := s.get("/vod/0.mp4/keyframe"); w.Code != 200 { // again and again
			t.Fatal(w.Code, w.Body)
		}
	}
	if files.bytes > 3*x.Bytes() || len(files.open) != 3 || files.open["vod/0.mp4"] == nil || files.open["vod/4.mp4"] == nil || files.open["vod/1.mp4"] != nil {
		t.Errorf("%d bytes, %d files: %v", files.bytes, len(files.open), files.open)
	}
}
