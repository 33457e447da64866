package frames

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/live"
)

// listener is a client of an answer that goes on.
type listener struct {
	*httptest.ResponseRecorder
	mu   sync.Mutex // guards the recorder's body, and slow
	slow chan struct{}
}

func (l *listener) Write(b []byte) (int, error) {
	l.mu.Lock()
	slow := l.slow
	l.mu.Unlock()
	if slow != nil {
		<-slow
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ResponseRecorder.Write(b)
}

func (l *listener) SetWriteDeadline(time.Time) error { return nil }

func (l *listener) hold(c chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slow = c
}

func (l *listener) body() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Body.String()
}

// listen asks for path until stop is called.
func (r *rig) listen(path string, header ...string) (l *listener, stop func()) {
	ctx, cancel := context.WithCancel(r.t.Context())
	req := httptest.NewRequestWithContext(ctx, http.MethodGet, path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	l = &listener{ResponseRecorder: httptest.NewRecorder()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if e := recover(); e != nil && e != http.ErrAbortHandler { // as net/http does
				panic(e)
			}
		}()
		r.h.ServeHTTP(l, req)
	}()
	return l, func() { cancel(); <-done }
}

// said is one event.
type said struct{ name, id, data string }

// parseEvents reads what a client was sent, strictly.
func parseEvents(t *testing.T, body string) (list []said, beats int) {
	t.Helper()
	for _, block := range strings.Split(strings.TrimSuffix(body, "\n\n"), "\n\n") {
		if block == ":" {
			beats++
			continue
		}
		var e said
		for _, l := range strings.Split(block, "\n") {
			name, value, ok := strings.Cut(l, ": ")
			switch {
			case ok && name == "event":
				e.name = value
			case ok && name == "id":
				e.id = value
			case ok && name == "data" && e.data == "" && json.Valid([]byte(value)):
				e.data = value
			default:
				t.Fatalf("a line %q in %q", l, block)
			}
		}
		list = append(list, e)
	}
	return list, beats
}

// framesOf checks that frames follow each other without a gap, each GOP from its key
// frame on, and returns them.
func framesOf(t *testing.T, list []said, gapless bool) (out []Frame) {
	t.Helper()
	for _, e := range list {
		if e.name != "frame" {
			continue
		}
		var f Frame
		if err := json.Unmarshal([]byte(e.data), &f); err != nil || f.ID != e.id || f.Duration != nil && *f.Duration != 40000 {
			t.Fatalf("%v: %+v", err, e)
		}
		if n := len(out); n > 0 && (f.DTS != out[n-1].DTS+frameDur && (gapless || f.Type != "key")) {
			t.Errorf("after %d came %d, %s", out[n-1].DTS, f.DTS, f.Type)
		}
		out = append(out, f)
	}
	return out
}

func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, live.Config{}, endless)
		defer r.end()
		pass(5 * time.Second)
		l, stop := r.listen("/cam/frames", "Accept", "text/event-stream")
		pass(10 * time.Second)
		stop()
		if h := l.Header(); h.Get("Content-Type") != "text/event-stream" || h.Get("Vary") != "Accept" || h.Get("Cache-Control") != "no-store" {
			t.Errorf("%v", h)
		}
		list, _ := parseEvents(t, l.body())
		var d Decoder
		if err := json.Unmarshal([]byte(list[0].data), &d); err != nil || list[0].name != "config" || d.Codec != "avc1.64001f" && !strings.HasPrefix(d.Codec, "avc1.") || d.Width != 320 || d.Height != 192 {
			t.Errorf("%v: %+v", err, list[0])
		}
		if b, err := base64.StdEncoding.DecodeString(d.Description); err != nil || len(b) < 7 || b[0] != 1 {
			t.Errorf("description: % x, %v", b, err)
		}
		got := framesOf(t, list, true)
		if len(got) < 250 || len(got) > 280 || got[0].Type != "key" {
			t.Errorf("%d frames, the first is %+v", len(got), got[0])
		}
		// One that was there goes on behind it; one that was not is told so.
		last := got[len(got)-30]
		pass(time.Second)
		l, stop = r.listen("/cam/frames", "Accept", "text/event-stream", "Last-Event-ID", last.ID)
		pass(time.Second)
		stop()
		list, _ = parseEvents(t, l.body())
		if again := framesOf(t, list, true); again[0].DTS != last.DTS+frameDur || strings.Contains(l.body(), "event: skip") {
			t.Errorf("after %s came %+v", last.ID, again[0])
		}
		for _, id := range []string{"1/90000", got[0].ID, "9999999999999/90000"} {
			l, stop = r.listen("/cam/frames", "Accept", "text/event-stream", "Last-Event-ID", id)
			pass(time.Second)
			stop()
			list, _ = parseEvents(t, l.body())
			if list[0] != (said{"skip", "", `{"reason":"resume","bytes":0}`}) || framesOf(t, list, true)[0].Type != "key" {
				t.Errorf("after %s: %+v", id, list[0])
			}
		}
	})
}

// A client that is too slow jumps to a key frame, and is told; the others and the
// source notice nothing.
func TestSlowListenerJumps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, live.Config{Viewer: 200_000}, endless)
		defer r.end()
		pass(5 * time.Second)
		slow, stopSlow := r.listen("/cam/frames", "Accept", "text/event-stream")
		good, stopGood := r.listen("/cam/frames", "Accept", "text/event-stream")
		pass(time.Second)
		release := make(chan struct{})
		slow.hold(release)
		pass(8 * time.Second)
		slow.hold(nil)
		close(release)
		pass(3 * time.Second)
		stopSlow()
		stopGood()
		list, _ := parseEvents(t, good.body())
		if framesOf(t, list, true); strings.Contains(good.body(), "event: skip") {
			t.Error("one that keeps up jumped")
		}
		list, _ = parseEvents(t, slow.body())
		n := 0
		for i, e := range list {
			if e.name == "skip" {
				n++
				if !strings.Contains(e.data, `"behind"`) || !strings.Contains(list[i+1].data, `"key"`) {
					t.Errorf("%+v, then %+v", e, list[i+1])
				}
			}
		}
		if framesOf(t, list, false); n != 1 {
			t.Errorf("%d jumps", n)
		}
	})
}

// Who listens to a stream whose publisher left hears a heartbeat, and then the end.
func TestHeartbeatAndEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, live.Config{Grace: 21 * time.Second}, endless)
		defer r.end()
		pass(5 * time.Second)
		l, stop := r.listen("/cam/frames", "Accept", "text/event-stream")
		m, stopM := r.listen("/cam/frames?payload=1")
		pass(time.Second)
		r.camera.Close()
		pass(16 * time.Second)
		if _, beats := parseEvents(t, l.body()); beats != 4 { // the first at once
			t.Errorf("%d heartbeats in 16 s", beats)
		}
		pass(10 * time.Second)
		stop() // both have ended by themselves
		stopM()
		idle := 0
		for b := strings.NewReader(m.body()); ; {
			x, err := ReadMessage(b)
			if err != nil {
				break
			}
			if x.Flags == flagIdle {
				idle++
			}
		}
		if idle < 4 {
			t.Errorf("%d idle messages", idle)
		}
		if w := r.get("/cam/frames?after=999999999999"); w.Code != 404 {
			t.Errorf("after the end: %d", w.Code)
		}
	})
}

// The binary stream has the same frames as the events, with the bytes of the source.
func TestMultiplex(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, live.Config{}, endless)
		defer r.end()
		pass(5 * time.Second)
		l, stop := r.listen("/cam/frames?payload=1")
		e, stopE := r.listen("/cam/frames", "Accept", "text/event-stream")
		pass(5 * time.Second)
		stop()
		stopE()
		if l.Header().Get("Content-Type") != "application/vnd.cleave.frames" {
			t.Errorf("%v", l.Header())
		}
		list, _ := parseEvents(t, e.body())
		want := framesOf(t, list, true)
		source := avtest.NewSynthetic(avtest.Spec{Video: avtest.Video{
			Frames: endless, Timebase: av.Timebase{Num: 1, Den: 90000}, FrameDur: 3600, Size: 2000, GOPs: []int{23}, B: 1,
		}})
		defer source.Close()
		payload := map[int]int{}
		n := 0
		for b := strings.NewReader(l.body()); ; {
			m, err := ReadMessage(b)
			if errors.Is(err, io.EOF) {
				break
			}
			switch {
			case err != nil:
				t.Fatal(err)
			case m.Config():
				var d Decoder
				if err := json.Unmarshal(m.Payload, &d); err != nil || d.Width != 320 {
					t.Errorf("%v: %s", err, m.Payload)
				}
			case m.Frame():
				if n < len(want) && (m.Timestamp != want[n].Timestamp || m.Key() != (want[n].Type == "key") || len(m.Payload) != want[n].Size) {
					t.Errorf("frame %d: %d, %d bytes; the event says %+v", n, m.Timestamp, len(m.Payload), want[n])
				}
				payload[len(m.Payload)]++
				n++
			}
		}
		if n < 120 || len(payload) != 2 {
			t.Errorf("%d frames, sizes %v", n, payload)
		}
	})
}

// A GOP as messages has the frames of the binary stream; its headers lead from GOP to
// GOP, to the end of the window and back.
func TestGOPAsMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, live.Config{}, endless)
		defer r.end()
		pass(5 * time.Second)
		l, stop := r.listen("/cam/frames?payload=1")
		pass(5*time.Second + 200*time.Millisecond)
		stop()
		want := map[int64]Message{}
		for b := strings.NewReader(l.body()); ; {
			m, err := ReadMessage(b)
			if err != nil {
				break
			}
			if m.Frame() {
				want[m.Timestamp] = m
			}
		}
		at := func(ns int64) string { return fmt.Sprintf("/cam/gop?format=frames&at=%d.%09d", ns/1e9, ns%1e9) }
		newest := r.get("/cam/keyframe?format=frames")
		first, end := ticks(t, newest, "X-Window-Start"), ticks(t, newest, "X-Window-End")
		if end-first < 9e9 || newest.Header().Get("X-Gop-Frames") != "" {
			t.Errorf("%v", newest.Header())
		}
		seen, compared := 0, 0
		for ns := first; ; {
			w := r.get(at(ns))
			if w.Code != 200 || w.Header().Get("Content-Type") != messagesType || ticks(t, w, "X-Frame-PTS") != ns {
				t.Fatalf("at %d: %d, %v", ns, w.Code, w.Header())
			}
			m, err := ReadMessage(w.Body)
			var d Decoder
			if err != nil || !m.Config() || json.Unmarshal(m.Payload, &d) != nil || d.Width != 320 || d.Timebase != "1/90000" {
				t.Fatalf("the first message: %v, %+v", err, m)
			}
			n := int64(0)
			for ; ; n++ {
				m, err := ReadMessage(w.Body)
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil || m.Key() != (n == 0) {
					t.Fatalf("message %d: %v, %x", n, err, m.Flags)
				}
				if same, ok := want[m.Timestamp]; ok {
					if compared++; !bytes.Equal(same.Payload, m.Payload) || same.Flags != m.Flags {
						t.Errorf("%d: not as in the stream", m.Timestamp)
					}
				}
			}
			if n != ticks(t, w, "X-Gop-Frames") {
				t.Errorf("%d messages, %v", n, w.Header())
			}
			if seen++; w.Header().Get("X-Gop-Open") == "true" {
				if w.Header().Get("X-Gop-Next-Pts") != "" {
					t.Errorf("%v", w.Header())
				}
				break
			}
			next := ticks(t, w, "X-Gop-Next-Pts")
			// One tick before; half of one is taken to the nearest.
			if before := r.get(at(next - 11112)); ticks(t, before, "X-Frame-PTS") != ns {
				t.Errorf("before %d: %v", next, before.Header())
			}
			ns = next
		}
		if seen < 10 || compared < 100 {
			t.Errorf("%d GOPs, %d frames compared", seen, compared)
		}
	})
}

func TestReadMessage(t *testing.T) {
	b := append(message(nil, flagKey, -5, 40000, 3), "abc"...)
	m, err := ReadMessage(bytes.NewReader(b))
	if err != nil || !m.Key() || !m.Frame() || m.Timestamp != -5 || m.Duration != 40000 || string(m.Payload) != "abc" {
		t.Errorf("%+v: %v", m, err)
	}
	avtest.Prefixes(t, b, func(b []byte) {
		if _, err := ReadMessage(bytes.NewReader(b)); len(b) == 0 && err != io.EOF || len(b) > 0 && len(b) < 20 && err != io.ErrUnexpectedEOF {
			t.Errorf("%d bytes: %v", len(b), err)
		}
	})
	for _, c := range []struct {
		b    string
		want error
	}{{"\x00\x00\x00\x0c", av.ErrInvalid}, {"\xff\xff\xff\xff", av.ErrTooLarge}} {
		if _, err := ReadMessage(strings.NewReader(c.b + strings.Repeat("x", 20))); !errors.Is(err, c.want) {
			t.Errorf("%q: %v", c.b, err)
		}
	}
}

func FuzzReadMessage(f *testing.F) {
	f.Add(append(message(nil, flagKey, -5, 40000, 3), "abc"...))
	f.Add([]byte{0, 0, 0, 13, flagIdle})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ReadMessage(bytes.NewReader(b))
		if err == nil && len(m.Payload)+4+messageHead > len(b) {
			t.Fatalf("%d bytes of payload in %d", len(m.Payload), len(b))
		}
	})
}

// No line break of a stream's words ends an event.
func TestLineIsOneLine(t *testing.T) {
	b := event(nil, "config", &Decoder{Codec: "avc1\r\nevent: x\n\ndata: \u2028"})
	if bytes.Count(b, []byte("\n")) != 3 || bytes.ContainsRune(b, '\r') {
		t.Errorf("%q", b)
	}
}
