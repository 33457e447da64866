package browser

import (
	"context"
	"encoding/json"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// Watched is what the page says of a live stream.
type Watched struct {
	Faults  []string
	Stalls  int     // how often it stood still after it had begun
	Latency float64 // seconds, as the player says
	Low     bool    // the player is in its low-latency mode
	Time    float64
	Frames  int
	Dropped int
	Width   int
	Live    bool
	Keys    bool // a module of the browser decrypted
}

// Watch plays the live stream at src, the URL of a server that lets pages of any origin
// read it, until it has shown so many frames. It fails the test if that did not come
// about, or if the player reported an error. after is called with the page still open,
// if it is not nil.
func (b *Browser) Watch(t *testing.T, player, src string, frames int, after func(tab context.Context)) (w Watched) {
	t.Helper()
	return b.WatchSealed(t, player, src, frames, nil, after)
}

// WatchSealed is Watch with further parameters of the page, where it gets keys: see there.
func (b *Browser) WatchSealed(t *testing.T, player, src string, frames int, query url.Values, after func(tab context.Context)) (w Watched) {
	t.Helper()
	tab, cancel := chromedp.NewContext(b.ctx)
	defer cancel()
	tab, cancel = context.WithTimeout(tab, 2*time.Minute)
	defer cancel()
	all := url.Values{"player": {player}, "src": {src}}
	for k, v := range query {
		all[k] = v
	}
	page := b.URL + "/live?" + all.Encode()
	if _, err := chromedp.Run(tab, chromedp.Navigate(page)); err != nil {
		t.Fatal(err)
	}
	poll := chromedp.Poll[bool]("((r) => r.frames > want || r.faults.length > 0)(JSON.parse(result()))",
		chromedp.WithPollingTimeout(90*time.Second), chromedp.WithPollingInterval(200*time.Millisecond))
	if _, err := chromedp.Run(tab, chromedp.Evaluate[int]("window.want = "+strconv.Itoa(frames))); err != nil {
		t.Fatal(err)
	}
	_, perr := chromedp.Run(tab, poll)
	text, err := chromedp.Run(tab, chromedp.Evaluate[string]("result()"))
	if err != nil {
		t.Fatal(perr, err)
	}
	if err := json.Unmarshal([]byte(text), &w); err != nil {
		t.Fatal(err)
	}
	if after != nil {
		after(tab)
	}
	if perr != nil || len(w.Faults) > 0 || w.Width == 0 {
		t.Fatalf("%s: %v: %s", player, perr, text)
	}
	return w
}
