package hls

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/format/ts"
	"github.com/cleave-video/cleave/live"
)

var transportURI = regexp.MustCompile(`(?m)^\d+-\d+\.ts$`)

// TestTransport: the segments of MPEG-TS, one behind the other, are one stream with every
// picture and all sound, whose counters go on; each is the same however often it is asked
// for, from memory and from the store.
func TestTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, live.Config{Window: 20 * time.Second})
		defer r.end()
		r.publish()
		time.Sleep(30 * time.Second)
		list := r.get("/cam/ts/index.m3u8")
		uris := transportURI.FindAllString(list.Body.String(), -1)
		if list.Code != http.StatusOK || len(uris) < 9 {
			t.Fatalf("%d\n%s", list.Code, list.Body)
		}
		var whole []byte
		for _, uri := range uris {
			a := r.get("/cam/ts/" + uri)
			if a.Code != http.StatusOK || a.Header().Get("Content-Type") != "video/mp2t" || a.Body.Len()%188 != 0 {
				t.Fatalf("%s: %d, %d bytes, %v", uri, a.Code, a.Body.Len(), a.Header())
			}
			if part := r.get("/cam/ts/"+uri, "Range", "bytes=188-375"); part.Code != http.StatusPartialContent || !bytes.Equal(part.Body.Bytes(), a.Body.Bytes()[188:376]) {
				t.Errorf("%s: a range: %d", uri, part.Code)
			}
			whole = append(whole, a.Body.Bytes()...)
		}
		counters(t, whole)
		l := avtest.ReadAll(t, ts.NewDemuxer(bytes.NewReader(whole)))
		if len(l) != 1 || len(l[0].Tracks) != 2 {
			t.Fatalf("%d sets of tracks", len(l))
		}
		video := l[0].Of(0)
		if want := 50 * len(uris); len(video) != want {
			t.Errorf("%d pictures in %d segments of 50", len(video), len(uris))
		}
		for i := 1; i < len(video); i++ {
			if d := video[i].DTS - video[i-1].DTS; d != 3600 {
				t.Errorf("picture %d comes %d ticks after the one before", i, d)
			}
		}
		again := New(r.h.cfg) // that has made none
		r.h = again
		var second []byte
		for _, uri := range uris {
			second = append(second, r.get("/cam/ts/"+uri).Body.Bytes()...)
		}
		if !bytes.Equal(whole, second) {
			t.Error("segments that are made again differ")
		}
		for _, none := range []string{"9-1.ts", "1-999.ts", "1-1.0.ts", "x.ts", "1-1.m4s"} {
			if a := r.get("/cam/ts/" + none); a.Code != http.StatusNotFound {
				t.Errorf("%s: %d", none, a.Code)
			}
		}
	})
}

// counters checks that continuity counters go on.
func counters(t *testing.T, b []byte) {
	t.Helper()
	last := map[int]byte{}
	for at := 0; at < len(b); at += 188 {
		p := b[at : at+188]
		pid, cc := int(p[1]&0x1F)<<8|int(p[2]), p[3]&0x0F
		if p[3]&0x10 == 0 {
			continue // without payload
		}
		if before, ok := last[pid]; ok && cc != (before+1)&0x0F {
			t.Fatalf("PID %#x at %d: counter %d after %d", pid, at, cc, before)
		}
		last[pid] = cc
	}
}

// TestMadeBeside: segments are made beside each other, and what is kept is counted right.
func TestMadeBeside(t *testing.T) {
	m := made{most: 100}
	var wg sync.WaitGroup
	for i := range 400 {
		wg.Go(func() {
			b, err := m.get(fmt.Sprint(i%40), func() ([]byte, error) { return make([]byte, 10+i%7), nil })
			if err != nil || len(b) < 10 {
				t.Error(len(b), err)
			}
		})
	}
	wg.Wait()
	kept := int64(0)
	for _, x := range m.items {
		kept += int64(len(x.b))
	}
	if kept != m.bytes || kept > m.most || kept < m.most/2 {
		t.Errorf("%d bytes are kept, %d counted", kept, m.bytes)
	}
}

// TestMadeOnce: a thousand requests for what is not made yet make it once; an error is not
// kept, and what was not used for longest goes.
func TestMadeOnce(t *testing.T) {
	m := made{most: 100}
	var built atomic.Int64
	var wg sync.WaitGroup
	for range 1000 {
		wg.Go(func() {
			b, err := m.get("a", func() ([]byte, error) { built.Add(1); return make([]byte, 40), nil })
			if err != nil || len(b) != 40 {
				t.Error(len(b), err)
			}
		})
	}
	wg.Wait()
	if n := built.Load(); n != 1 {
		t.Errorf("made %d times", n)
	}
	if _, err := m.get("b", func() ([]byte, error) { return nil, av.ErrInvalid }); !errors.Is(err, av.ErrInvalid) {
		t.Error(err)
	}
	for i := range 10 {
		build := func() ([]byte, error) { return make([]byte, 40), nil }
		if _, err := m.get("a", build); err != nil {
			t.Error(err)
		}
		if _, err := m.get(fmt.Sprint(i), build); err != nil {
			t.Error(err)
		}
	}
	if m.bytes > m.most || m.items["a"] == nil || len(m.items) != 2 {
		t.Errorf("%d bytes in %d items", m.bytes, len(m.items))
	}
}
