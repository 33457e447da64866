package server

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/cleave-video/cleave/deliver/frames"
	"github.com/cleave-video/cleave/live"
	"github.com/cleave-video/cleave/test/browser"
)

// numbered is a picture whose upper third says its number: sixteen columns, the first
// one black if the number is even.
const numbered = "testsrc2=size=320x180:rate=25,format=yuv420p,geq=lum='if(lt(Y,60),16+219*mod(floor(N/pow(2,floor(X/20))),2),lum(X,Y))':" +
	"cb='if(lt(Y,30),128,cb(X,Y))':cr='if(lt(Y,30),128,cr(X,Y))'"

// publishNumbered runs ffmpeg with GOPs of 25 numbered pictures, with B pictures.
func publishNumbered(t *testing.T, address string, more ...string) (stop func()) {
	t.Helper()
	args := append(strings.Fields("-v error -nostdin -re -f lavfi -i NUMBERED -c:v libx264 -preset veryfast -bf 2 -g 25 -keyint_min 25 -sc_threshold 0"), more...)
	args[slices.Index(args, "NUMBERED")] = numbered
	return publishBy(t, "ffmpeg", append(args, "-f", "flv", address)...)
}

// framesPage is the page of frames in Chromium.
type framesPage struct {
	t   *testing.T
	ctx context.Context
}

func openFramesPage(t *testing.T, url string, width, height int, more ...chromedp.ExecAllocatorOption) *framesPage {
	t.Helper()
	ctx, stop := browser.Start(t, 3*time.Minute, append([]chromedp.ExecAllocatorOption{chromedp.WindowSize(width, height)}, more...)...)
	t.Cleanup(stop)
	p := &framesPage{t, ctx}
	if _, err := chromedp.Run(ctx, chromedp.Navigate(url)); err != nil {
		t.Fatal(err)
	}
	return p
}

// until waits for what a script says.
func (p *framesPage) until(js string) {
	p.t.Helper()
	poll := chromedp.Poll[bool](js, chromedp.WithPollingTimeout(40*time.Second), chromedp.WithPollingInterval(50*time.Millisecond))
	if _, err := chromedp.Run(p.ctx, poll); err != nil {
		browser.Screenshot(p.ctx, p.t, "frames-page-stuck.png")
		said, _ := chromedp.Run(p.ctx, chromedp.Evaluate[string]("$('state').textContent + ': ' + $('note').textContent"))
		p.t.Fatalf("%s: %v; the page says %q", js, err, said)
	}
}

func (p *framesPage) press(key string) {
	p.t.Helper()
	if _, err := chromedp.Run(p.ctx, chromedp.KeyEvent(key)); err != nil {
		p.t.Fatal(err)
	}
}

// onScreen is the frame that is shown: what the page says, and what the pixels say.
type onScreen struct {
	Time  int64
	Type  string
	Bytes int
	N     int
	Count int // of the GOP
}

// look waits until nothing is under way and reads the canvas back.
func (p *framesPage) look() (s onScreen) {
	p.t.Helper()
	const js = `player.busy.then(() => {
	const px = draws.getImageData(0, 15, 320, 1).data;
	let n = 0;
	for (let i = 0; i < 16; i++) if (px[4 * (20 * i + 10)] > 128) n += 1 << i;
	const {gop, frame} = player.current;
	return {time: frame.timestamp, type: frame.type, bytes: frame.data.length, n, count: player.gops.shown(gop).length};
})`
	s, err := chromedp.Run(p.ctx, chromedp.Evaluate[onScreen](js, chromedp.EvalAwaitPromise))
	if err != nil {
		p.t.Fatal(err)
	}
	return s
}

const frameTime = 40_000

// step is walk where key frames are numbered by 25.
func (p *framesPage) step(key string, from onScreen, d int) onScreen {
	p.t.Helper()
	s := p.walk(key, from, d)
	if (s.N%25 == 0) != (s.Type == "key") {
		p.t.Fatalf("%+v", s)
	}
	return s
}

// walk presses a key and expects the picture d frames on.
func (p *framesPage) walk(key string, from onScreen, d int) onScreen {
	p.t.Helper()
	p.press(key)
	s := p.look()
	if s.N != from.N+d || s.Time != from.Time+int64(d)*frameTime {
		browser.Screenshot(p.ctx, p.t, "frames-page-wrong.png")
		said, _ := chromedp.Run(p.ctx, chromedp.Evaluate[string](`$('state').textContent + ' ' + $('note').textContent + ' ' + JSON.stringify([player.current.gop.key, player.current.gop.state, player.current.gop.next, player.window, [...player.gops.map.values()].map(g => [g.key, g.state, g.next, g.frames.length])])`))
		p.t.Log(said)
		p.t.Fatalf("behind %+v, %d frames on, came %+v", from, d, s)
	}
	return s
}

// The page shows a live stream; paused, it steps frame by frame, back into GOPs that it
// did not hold and forward to the newest, and jumps between key frames: the picture's
// own number says that each is the one it should be.
func TestFramesPage(t *testing.T) {
	t.Parallel()
	need(t, "ffmpeg")
	s := start(t, live.Config{})
	defer publishNumbered(t, s.rtmp+"/live/cam")()
	cam := s.http + "/live/cam"
	until(t, cam+"/video0/index.m3u8", "1-3.m4s")
	p := openFramesPage(t, cam+"/frames.html", 1100, 1000)
	p.until("player && player.mode === 'live' && $('state').textContent === 'live' && player.current.frame.timestamp > 0")
	first := p.look()
	p.until(fmt.Sprintf("player.current.frame.timestamp > %d", first.Time+3_000_000))
	browser.Screenshot(p.ctx, t, "frames-page-live.png")
	p.press(" ")
	p.until("player.mode === 'paused'")
	at := p.look()
	t.Logf("paused at %+v", at)
	if zero := at.Time - int64(at.N)*frameTime; zero < 0 || zero > 500_000 {
		t.Errorf("picture %d is shown at %d µs", at.N, at.Time)
	}
	for range 40 { // over two key frames
		at = p.step(kb.ArrowLeft, at, -1)
	}
	browser.Screenshot(p.ctx, t, "frames-page-paused.png")
	for range 60 {
		at = p.step(kb.ArrowRight, at, 1)
	}
	if at.Count != 25 {
		t.Errorf("a GOP of %d frames", at.Count)
	}
	at = p.step(kb.PageUp, at, -(at.N % 25))
	at = p.step(kb.PageUp, at, -25)
	at = p.step(kb.PageDown, at, 25)
	// Half way through the window, then a frame by its address.
	if _, err := chromedp.Run(p.ctx, chromedp.Evaluate[any](`(() => { const s = $('scrub'); for (const part of [.1, .9, .3, .5]) {
		s.value = +s.min + part * (s.max - s.min); s.dispatchEvent(new Event('input')); } s.dispatchEvent(new Event('change')); })()`)); err != nil {
		t.Fatal(err)
	}
	p.until("!player.scrubbing")
	key := p.look()
	if key.Type != "key" || key.N%25 != 0 || key.N-at.N != int(key.Time-at.Time)/frameTime || key.N >= at.N {
		t.Errorf("scrubbing came to %+v, from %+v", key, at)
	}
	at = p.step(kb.ArrowRight, key, 1)
	if _, err := chromedp.Run(p.ctx, chromedp.Evaluate[any](fmt.Sprintf("location.hash = '#t=%.6f'", float64(at.Time+5*frameTime)/1e6))); err != nil {
		t.Fatal(err)
	}
	p.until(fmt.Sprintf("player.current.frame.timestamp === %d", at.Time+5*frameTime))
	if now := p.look(); now.N != at.N+5 {
		t.Errorf("the address leads to %+v", now)
	}
	browser.Screenshot(p.ctx, t, "frames-page-scrubbed.png")
	// It plays on from there, over key frames, and goes back to what is live.
	p.press(" ")
	p.until(fmt.Sprintf("player.current.frame.timestamp > %d", at.Time+45*frameTime))
	p.press(" ")
	now := p.look()
	if now.N-at.N != int(now.Time-at.Time)/frameTime {
		t.Errorf("playing came to %+v, from %+v", now, at)
	}
	p.press("l")
	p.until(fmt.Sprintf("player.mode === 'live' && player.current.frame.timestamp > %d", first.Time+8_000_000))
	if note, _ := chromedp.Run(p.ctx, chromedp.Evaluate[string]("$('note').textContent")); note != "" {
		t.Errorf("the page says %q", note)
	}
}

// The pictures that lead a key frame of an open GOP are those of the GOP before, and are
// decoded with it.
func TestFramesPageOfOpenGOPs(t *testing.T) {
	t.Parallel()
	need(t, "ffmpeg")
	s := start(t, live.Config{})
	defer publishNumbered(t, s.rtmp+"/live/cam", "-x264-params", "open-gop=1")()
	cam := s.http + "/live/cam"
	until(t, cam+"/video0/index.m3u8", "1-3.m4s")
	p := openFramesPage(t, cam+"/frames.html", 1100, 1000)
	p.until("player && player.mode === 'live' && player.current && [...player.gops.map.values()].some(g => g.frames.some(f => f.leading))")
	p.press(" ")
	at := p.look()
	for range 30 {
		at = p.walk(kb.ArrowLeft, at, -1)
	}
	for range 40 {
		at = p.walk(kb.ArrowRight, at, 1)
	}
	// Some GOPs cannot be decoded by themselves.
	p.press(kb.Home)
	for at = p.look(); at.N < 110; {
		at = p.walk(kb.ArrowRight, at, 1)
	}
	needed, err := chromedp.Run(p.ctx, chromedp.Evaluate[int]("[...player.gops.map.values()].filter(g => g.runUp).length"))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d GOPs were decoded behind those before", needed)
	browser.Screenshot(p.ctx, t, "frames-page-open.png")
	// One that is on the screen while the GOP it is shown with is not held.
	const alone = `(async () => {
	const gop = [...player.gops.map.values()].find(g => g.frames.some(f => f.leading) && player.gops.before(g));
	const before = player.gops.before(gop), frame = player.gops.shown(before).at(-1);
	await player.show(before, frame);
	player.gops.map.delete(before.key);
	player.current = {gop, frame};
})()`
	for key, d := range map[string]int{kb.ArrowLeft: -1, kb.ArrowRight: 1} {
		if _, err := chromedp.Run(p.ctx, chromedp.Evaluate[any](alone, chromedp.EvalAwaitPromise)); err != nil {
			t.Fatal(err)
		}
		at = p.look()
		p.walk(key, at, d)
	}
}

// On a phone everything is there: buttons are large enough, nothing is wider than the
// screen, and a swipe steps.
func TestFramesPageOnPhone(t *testing.T) {
	t.Parallel()
	need(t, "ffmpeg")
	s := start(t, live.Config{})
	defer publishNumbered(t, s.rtmp+"/live/cam")()
	until(t, s.http+"/live/cam/video0/index.m3u8", "1-2.m4s")
	p := openFramesPage(t, "about:blank", 390, 844)
	if _, err := chromedp.Run(p.ctx, chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile, chromedp.EmulateTouch, chromedp.EmulateScale(2))); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Run(p.ctx, chromedp.Navigate(s.http+"/live/cam/frames.html")); err != nil {
		t.Fatal(err)
	}
	p.until("player && player.mode === 'live' && player.current && player.gops.map.size > 1")
	layout, err := chromedp.Run(p.ctx, chromedp.Evaluate[string](`[document.documentElement.scrollWidth <= innerWidth, ...[...document.querySelectorAll('nav button')].map(b => b.offsetHeight >= 44 && b.offsetWidth >= 44)].join()`))
	if err != nil || strings.Contains(layout, "false") {
		t.Errorf("%v: %s", err, layout)
	}
	swipe := func(dx int) {
		js := fmt.Sprintf(`(() => { const s = $('screen'), say = (type, x) => s.dispatchEvent(new PointerEvent(type, {pointerId: 1, pointerType: 'touch', clientX: x, clientY: 100, isPrimary: true}));
			s.setPointerCapture = () => {}; say('pointerdown', 200); say('pointermove', 200 + %d); say('pointerup', 200 + %d); })()`, dx, dx)
		if _, err := chromedp.Run(p.ctx, chromedp.Evaluate[any](js)); err != nil {
			t.Fatal(err)
		}
	}
	swipe(0) // a tap
	p.until("player.mode === 'paused'")
	at := p.look()
	swipe(-20)
	if now := p.look(); now.N != at.N-1 {
		t.Errorf("behind %+v came %+v", at, now)
	}
	swipe(20)
	if now := p.look(); now.N != at.N || now.Time != at.Time {
		t.Errorf("back at %+v, not %+v", now, at)
	}
	browser.Screenshot(p.ctx, t, "frames-page-phone.png")
}

// A stored file is shown like a stream: every key frame of it, and every GOP, are the
// pictures that ffmpeg decodes, and the page steps through them.
func TestStoredFile(t *testing.T) {
	t.Parallel()
	ffmpeg := need(t, "ffmpeg")
	dir := t.TempDir()
	made := filepath.Join(t.TempDir(), "made.mp4")
	film := filepath.Join(dir, "my films", "numbered.mp4")
	if err := os.Mkdir(filepath.Dir(film), 0o755); err != nil {
		t.Fatal(err)
	}
	args := append(strings.Fields("-v error -nostdin -f lavfi -i NUMBERED -f lavfi -i sine=sample_rate=48000 -t 8 -c:v libx264 -preset veryfast -bf 2 -g 25 -keyint_min 25 -sc_threshold 0 -c:a aac"), made)
	args[slices.Index(args, "NUMBERED")] = numbered
	if out, err := exec.Command(ffmpeg, args...).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	if err := os.Link(made, film); err != nil {
		t.Fatal(err)
	}
	s := startWith(t, Config{Files: []frames.Folder{{Name: "vod", Dir: dir}}})
	base := s.http + "/vod/my%20films/numbered.mp4"
	want := pictures(t, nil, "-i "+made)
	if len(want) != 200 {
		t.Fatalf("%d pictures", len(want))
	}
	for n := range 8 {
		for query, args := range map[string]string{"gop?": "-f h264 -i pipe:0", "gop?format=mp4&": "-f mp4 -i pipe:0"} {
			res, body := fetch(t, fmt.Sprintf("%s/%sat=%d.5", base, query, n))
			if got := pictures(t, body, args); res.StatusCode != 200 || !slices.Equal(got, want[25*n:25*n+25]) {
				t.Errorf("%s of second %d: %d, %d pictures", query, n, res.StatusCode, len(got))
			}
		}
		res, body := fetch(t, fmt.Sprintf("%s/keyframe?index=%d", base, n))
		if got := pictures(t, body, "-f h264 -i pipe:0"); !slices.Equal(got, want[25*n:25*n+1]) || res.Header.Get("X-Frame-PTS") != strconv.Itoa(n*1e9) {
			t.Errorf("key frame %d: %d, %v", n, res.StatusCode, res.Header)
		}
	}
	jpegOf(t, base+"/keyframe?at=3&format=jpeg")
	for _, path := range []string{"/vod/none.mp4/frames.html", "/vod/my%20films/none.mp4/frames.html", "/vod/my%20films/none.mp4/gop"} {
		if res, _ := fetch(t, s.http+path); res.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d", path, res.StatusCode)
		}
	}
	p := openFramesPage(t, base+"/frames.html", 1100, 1000)
	p.until("!!(player && player.current)")
	at := p.look()
	if at.N != 0 || at.Time != 0 || at.Type != "key" {
		t.Fatalf("the page begins with %+v", at)
	}
	for range 60 {
		at = p.step(kb.ArrowRight, at, 1)
	}
	p.press("l") // the end
	last := p.look()
	if last.N != 199 || last.Time != 199*frameTime {
		t.Errorf("the page ends with %+v", last)
	}
	for range 30 {
		last = p.step(kb.ArrowLeft, last, -1)
	}
	browser.Screenshot(p.ctx, t, "frames-page-file.png")
	p.press(kb.Home)
	if at = p.look(); at.N != 0 {
		t.Errorf("the oldest is %+v", at)
	}
	p.press(" ")
	p.until("player.current.frame.timestamp >= 1500000")
	p.press(" ")
	if at = p.look(); at.Time != int64(at.N)*frameTime {
		t.Errorf("playing came to %+v", at)
	}
}
