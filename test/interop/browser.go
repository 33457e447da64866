package interop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	_ "embed"

	"github.com/chromedp/chromedp"

	players "github.com/cleave-video/cleave/test/browser"
)

// lowLatency is hls.js in its low-latency mode.
const lowLatency = "hls.js low latency"

//go:embed page.html
var page []byte

// browser is Chromium with the players.
type browser struct {
	url     string
	ctx     context.Context
	tabs    chan struct{}   // as many as may be open
	decodes map[string]bool // by Codec.Type, as Media Source Extensions say
	stop    func()
}

// newBrowser starts Chromium, until stop is called.
func newBrowser(ctx context.Context, tabs int) (*browser, error) {
	path, err := exec.LookPath("chromium")
	if err != nil {
		return nil, err
	}
	modules, err := players.Install()
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/page", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write(page)
	})
	for player, script := range map[string]string{
		"hls.js": "hls.js/dist/hls.min.js", "shaka-player": "shaka-player/dist/shaka-player.compiled.js",
		"dash.js": "dashjs/dist/modern/umd/dash.all.min.js", "mpegts.js": "mpegts.js/dist/mpegts.js",
	} {
		mux.HandleFunc("/player/"+player, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=3600")
			http.ServeFile(w, r, filepath.Join(modules, script))
		})
	}
	s := httptest.NewServer(mux)
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.Flag("autoplay-policy", "no-user-gesture-required"))
	actx, stopAllocator := chromedp.NewExecAllocator(ctx, opts...)
	bctx, stopBrowser := chromedp.NewContext(actx)
	b := &browser{url: s.URL, ctx: bctx, tabs: make(chan struct{}, tabs), decodes: map[string]bool{}}
	b.stop = func() { stopBrowser(); stopAllocator(); s.Close() }
	if _, err := chromedp.Run(bctx, chromedp.Navigate(s.URL+"/page")); err != nil {
		b.stop()
		return nil, err
	}
	for _, c := range Codecs() {
		if b.decodes[c.Type], err = chromedp.Run(bctx, chromedp.Evaluate[bool]("MediaSource.isTypeSupported('"+c.Type+"')")); err != nil {
			b.stop()
			return nil, err
		}
	}
	return b, nil
}

// shown is what the page says at the end.
type shown struct {
	Faults          []string
	Stalls, Parts   int
	Start, Time     float64
	Frames, Width   int
	Pictures, Sound int // bytes decoded
}

// play plays what is at src in a tab of its own until enough was shown.
func (b *browser) play(ctx context.Context, player, src string, c Codec) error {
	select {
	case b.tabs <- struct{}{}:
		defer func() { <-b.tabs }()
	case <-ctx.Done():
		return ctx.Err()
	}
	tab, closeTab := chromedp.NewContext(b.ctx)
	defer closeTab()
	tab, cancel := context.WithTimeout(tab, 40*time.Second)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	if _, err := chromedp.Run(tab, chromedp.Navigate(b.url+"/page?"+url.Values{"player": {player}, "src": {src}}.Encode())); err != nil {
		return err
	}
	done := "r.faults.length > 0 || r.time - r.start >= " + strconv.FormatFloat(wantSeconds, 'f', -1, 64)
	if c.Video != "" {
		done += " && r.frames >= " + strconv.Itoa(wantPictures)
	}
	_, perr := chromedp.Run(tab, chromedp.Poll[bool]("((r) => "+done+")(JSON.parse(result()))",
		chromedp.WithPollingTimeout(30*time.Second), chromedp.WithPollingInterval(200*time.Millisecond)))
	text, err := chromedp.Run(tab, chromedp.Evaluate[string]("result()"))
	if err != nil {
		return errors.Join(perr, err)
	}
	var r shown
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return err
	}
	return r.fault(player, c, perr)
}

// fault says what went wrong.
func (r *shown) fault(player string, c Codec, err error) error {
	sum := fmt.Sprintf("%d pictures, %.1f s shown, %d bytes of pictures and %d of sound decoded, stood still %d times", r.Frames, r.Time-r.Start, r.Pictures, r.Sound, r.Stalls)
	switch {
	case len(r.Faults) > 0:
		return errors.New(oneLine(strings.Join(r.Faults, "\n")))
	case err != nil:
		return fmt.Errorf("not enough in 30 s: %s", sum)
	case c.Video != "" && (r.Width == 0 || r.Pictures == 0), c.Audio != "" && r.Sound == 0:
		return errors.New(sum)
	case r.Stalls > 1:
		return errors.New(sum)
	case player == lowLatency && r.Parts == 0:
		return errors.New("it plays whole segments, not parts")
	}
	return nil
}
