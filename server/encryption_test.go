package server

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/cleave-video/cleave/cut"
	"github.com/cleave-video/cleave/live"
	"github.com/cleave-video/cleave/seal"
	"github.com/cleave-video/cleave/test/browser"
)

// secret is the token of the tests.
const secret = "correct horse"

// encrypted starts a server whose streams are encrypted, and ffmpeg, and waits until
// there is something to play.
func encrypted(t *testing.T, e Encryption, cfg live.Config) *running {
	t.Helper()
	need(t, "ffmpeg")
	s := startWith(t, Config{Live: cfg, Encryption: []Encryption{{Streams: []string{"open/*"}}, e}})
	t.Cleanup(publish(t, s.rtmp+"/live/cam"))
	until(t, s.http+"/live/cam/video0/index.m3u8", "#EXT-X-KEY:", "#EXTINF")
	return s
}

// shown sends a request that shows a token, unless that is empty.
func shown(t *testing.T, method, url, token string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// TestEncryptedInBrowser: hls.js and shaka-player play encrypted live streams whose keys
// change, and ask for them with a token.
func TestEncryptedInBrowser(t *testing.T) {
	b := browser.New(t, t.TempDir())
	for _, scheme := range []seal.Scheme{seal.CBCS, seal.CENC} {
		t.Run(string(scheme), func(t *testing.T) {
			s := encrypted(t, Encryption{Scheme: scheme, Rotation: Rotation{Chunks: 3}, KeyTokens: []string{secret}, KeyFormat: cut.ClearKey}, live.Config{})
			keys := url.Values{"license": {s.http + "/live/cam/keys/clearkey"}, "token": {secret}}
			for _, test := range []struct{ player, src string }{{browser.HLS, "/live/cam/index.m3u8"}, {browser.Shaka, "/live/cam/manifest.mpd"}} {
				w := b.WatchSealed(t, test.player, s.http+test.src, 600, keys, func(tab context.Context) {
					screenshot(tab, t, "sealed-"+string(scheme)+"-"+test.player+".png")
				})
				t.Logf("%s: %.2f s behind, %d stalls, %d of %d frames dropped, low latency %v", test.player, w.Latency, w.Stalls, w.Dropped, w.Frames, w.Low)
				if !w.Keys {
					t.Errorf("%s: no module has decrypted", test.player)
				}
			}
			if _, text := get(t, s.http+"/live/cam/index.m3u8"); strings.Count(text, "SESSION-KEY") < 4 {
				t.Errorf("too few keys:\n%s", text)
			}
		})
	}
}
