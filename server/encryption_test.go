package server

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

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

// TestEncryptedInBrowser: hls.js and shaka-player play encrypted live streams whose keys
// change, and ask for them with a token.
func TestEncryptedInBrowser(t *testing.T) {
	t.Parallel()
	b := browser.New(t, t.TempDir())
	for _, scheme := range []seal.Scheme{seal.CBCS, seal.CENC} {
		t.Run(string(scheme), func(t *testing.T) {
			s := encrypted(t, Encryption{Scheme: scheme, Rotation: Rotation{Chunks: 3}, KeyTokens: []string{secret}, KeyFormat: cut.ClearKey}, live.Config{})
			keys := url.Values{"license": {s.http + "/live/cam/keys/clearkey"}, "token": {secret}}
			for _, test := range []struct{ player, src string }{{browser.HLS, "/live/cam/index.m3u8"}, {browser.Shaka, "/live/cam/manifest.mpd"}} {
				w := b.WatchSealed(t, test.player, s.http+test.src, 350, keys, func(tab context.Context) {
					browser.Screenshot(tab, t, "sealed-"+string(scheme)+"-"+test.player+".png")
				})
				t.Logf("%s: %.2f s behind, %d stalls, %d of %d frames dropped, low latency %v", test.player, w.Latency, w.Stalls, w.Dropped, w.Frames, w.Low)
				if !w.Keys {
					t.Errorf("%s: no module has decrypted", test.player)
				}
			}
			if _, text := get(t, s.http+"/live/cam/index.m3u8"); strings.Count(text, "SESSION-KEY") < 3 {
				t.Errorf("too few keys:\n%s", text)
			}
		})
	}
}

// TestEncryptedDashJS: dash.js plays an encrypted stream. A Period a key is much for it:
// the key does not change here.
func TestEncryptedDashJS(t *testing.T) {
	t.Parallel()
	b := browser.New(t, t.TempDir())
	for _, scheme := range []seal.Scheme{seal.CBCS, seal.CENC} {
		t.Run(string(scheme), func(t *testing.T) {
			s := encrypted(t, Encryption{Scheme: scheme, KeyTokens: []string{secret}}, live.Config{})
			keys := url.Values{"license": {s.http + "/live/cam/keys/clearkey"}, "token": {secret}}
			if w := b.WatchSealed(t, browser.Dash, s.http+"/live/cam/manifest.mpd", 250, keys, nil); !w.Keys {
				t.Error("no module has decrypted")
			}
		})
	}
}

// TestEncryptedShakaHLS: shaka-player takes keys of HLS by itself, from their URI, also
// those that come. It does not load playlists of low latency, encrypted or not.
func TestEncryptedShakaHLS(t *testing.T) {
	t.Parallel()
	b := browser.New(t, t.TempDir())
	s := encrypted(t, Encryption{Scheme: seal.CBCS, KeyTokens: []string{secret}, Rotation: Rotation{Chunks: 2}}, live.Config{Part: -1})
	w := b.WatchSealed(t, browser.Shaka, s.http+"/live/cam/index.m3u8", 500, url.Values{"token": {secret}}, nil)
	if !w.Keys {
		t.Error("no module has decrypted")
	}
}

// TestEncryptedPage: the server's own page plays, with the token behind its URL.
func TestEncryptedPage(t *testing.T) {
	t.Parallel()
	need(t, "ffmpeg")
	need(t, "chromium")
	for name, x := range map[string]struct {
		e   Encryption
		cfg live.Config
	}{
		"cbcs":    {Encryption{Scheme: seal.CBCS, KeyFormat: cut.ClearKey}, live.Config{}},
		"aes-128": {Encryption{Scheme: seal.AES128, Rotation: Rotation{Chunks: 2}}, live.Config{Part: -1}},
	} {
		t.Run(name, func(t *testing.T) {
			x.e.KeyTokens = []string{secret}
			s := encrypted(t, x.e, x.cfg)
			browser.NeedScript(t, s.http)
			ctx, stopBrowser := browser.Start(t, 2*time.Minute, chromedp.WindowSize(1100, 900), browser.Autoplay)
			defer stopBrowser()
			if _, err := chromedp.Run(ctx, chromedp.Navigate(s.http+"/live/cam/#token="+url.QueryEscape(secret))); err != nil {
				t.Fatal(err)
			}
			played := fmt.Sprintf("video.currentTime > 1 && video.getVideoPlaybackQuality().totalVideoFrames > 150 && !!video.mediaKeys == %v", name == "cbcs")
			if _, err := chromedp.Run(ctx, chromedp.Poll[bool](played, chromedp.WithPollingTimeout(80*time.Second), chromedp.WithPollingInterval(200*time.Millisecond))); err != nil {
				browser.Screenshot(ctx, t, "sealed-page-stuck.png")
				t.Fatal("the page does not play: ", err)
			}
			browser.Screenshot(ctx, t, "sealed-page-"+name+".png")
		})
	}
}

// TestEncryptedAccess: keys are given to who shows a token, packets in the clear to
// nobody, each with the reason; streams that another rule is for are in the clear.
func TestEncryptedAccess(t *testing.T) {
	t.Parallel()
	s := encrypted(t, Encryption{Scheme: seal.CBCS, KeyTokens: []string{secret}}, live.Config{})
	defer publish(t, s.rtmp+"/open/cam")()
	list := until(t, s.http+"/live/cam/video0/index.m3u8", "#EXT-X-PART:")
	key := regexp.MustCompile(`URI="\.\./(keys/[0-9a-f]{32}\.key)"`).FindStringSubmatch(list)
	if key == nil {
		t.Fatal(list)
	}
	base := s.http + "/live/cam/"
	for token, want := range map[string]int{"": 401, "other": 403, secret: 200} {
		for method, url := range map[string]string{http.MethodGet: base + key[1], http.MethodPost: base + "keys/clearkey"} {
			code, text := shown(t, method, url, token)
			if method == http.MethodPost && want == 200 {
				want = 400 // it names no keys
			}
			if code != want || want == 200 && len(text) != 16 {
				t.Errorf("%s %s with %q: %d %q, want %d", method, url, token, code, text, want)
			}
		}
	}
	if code, text := get(t, base+key[1]+"?token="+url.QueryEscape(secret)); code != 200 || len(text) != 16 {
		t.Errorf("%d %q", code, text)
	}
	for _, path := range []string{"live/cam.flv", "live/cam.ts", "live/cam/frames", "live/cam/frames?payload=1", "live/cam/keyframe", "live/cam/gop"} {
		if code, text := get(t, s.http+"/"+path); code != http.StatusForbidden || !strings.Contains(text, "encrypted") {
			t.Errorf("%s: %d %s", path, code, text)
		}
	}
	probe := need(t, "ffprobe")
	if out, err := exec.Command(probe, "-v", "error", s.rtmp+"/live/cam").CombinedOutput(); err == nil {
		t.Errorf("RTMP plays: %s", out)
	}
	until(t, s.http+"/open/cam/video0/index.m3u8", "#EXT-X-PART:")
	if code, text := get(t, s.http+"/open/cam/video0/index.m3u8"); code != 200 || strings.Contains(text, "EXT-X-KEY") {
		t.Errorf("open/cam: %d %s", code, text)
	}
	if code, _ := get(t, s.http+"/open/cam/keyframe"); code != 200 {
		t.Errorf("open/cam: %d", code)
	}
	if code, _ := shown(t, http.MethodGet, s.http+"/open/cam/keys/clearkey", secret); code != 404 {
		t.Errorf("keys of what is in the clear: %d", code)
	}
}

// TestAllowClear: viewers of packets are let in if the configuration says so.
func TestAllowClear(t *testing.T) {
	t.Parallel()
	probe := need(t, "ffprobe")
	s := encrypted(t, Encryption{Scheme: seal.CENC, PublicKeys: true, AllowClear: true}, live.Config{})
	for _, url := range []string{s.http + "/live/cam.flv", s.http + "/live/cam.ts", s.rtmp + "/live/cam"} {
		out, err := exec.CommandContext(t.Context(), probe, "-v", "error", "-show_entries", "stream=codec_name", "-of", "csv=p=0", url).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "h264") {
			t.Errorf("%s: %v %s", url, err, out)
		}
	}
	if code, text := get(t, s.http+"/live/cam/keyframe"); code != http.StatusForbidden || !strings.Contains(text, "segments") {
		t.Errorf("a key frame of encrypted segments: %d %s", code, text)
	}
}

// TestEncryptedStreamKeepsTheRules: the verifier finds no MUST that is broken.
func TestEncryptedStreamKeepsTheRules(t *testing.T) {
	for name, x := range map[string]struct {
		e   Encryption
		cfg live.Config
		src string
	}{
		"cbcs":    {Encryption{Scheme: seal.CBCS, Rotation: Rotation{Chunks: 2}}, live.Config{}, "index.m3u8"},
		"cenc":    {Encryption{Scheme: seal.CENC, Rotation: Rotation{Chunks: 2}, KeyFormat: cut.ClearKey}, live.Config{}, "index.m3u8"},
		"dash":    {Encryption{Scheme: seal.CBCS, Rotation: Rotation{Chunks: 2}}, live.Config{}, "manifest.mpd"},
		"aes-128": {Encryption{Scheme: seal.AES128, Rotation: Rotation{Every: 3 * time.Second}}, live.Config{Part: -1}, "index.m3u8"},
	} {
		t.Run(name, func(t *testing.T) {
			x.e.PublicKeys = true
			s := encrypted(t, x.e, x.cfg)
			keepsRules(t, s.http+"/live/cam/"+x.src, 12*time.Second)
		})
	}
}

// packets are the sums of what ffmpeg reads, without decoding it.
func packets(t *testing.T, input []byte, args ...string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "ffmpeg", append(append([]string{"-v", "error", "-nostdin"}, args...), "-c", "copy", "-f", "framehash", "-hash", "md5", "-")...)
	cmd.Stdin = bytes.NewReader(input)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, &complaints)
	}
	var sums []string
	for line := range strings.Lines(string(out)) {
		if f := strings.Split(strings.TrimSpace(line), ","); line[0] != '#' && len(f) >= 6 {
			sums = append(sums, strings.TrimSpace(f[5]))
		}
	}
	return sums
}

// fetched is the header and the segments that a media playlist lists, and its keys.
func fetched(t *testing.T, list string) (all []byte, keys []string) {
	t.Helper()
	base, text := list[:strings.LastIndex(list, "/")+1], until(t, list, "#EXT-X-ENDLIST")
	if m := regexp.MustCompile(`EXT-X-MAP:URI="([^"]+)"`).FindStringSubmatch(text); m != nil {
		_, body := get(t, base+m[1])
		all = append(all, body...)
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if m := regexp.MustCompile(`^#EXT-X-KEY:.*URI="([^"]+)"`).FindStringSubmatch(line); m != nil {
			_, key := shown(t, http.MethodGet, base+m[1], secret)
			keys = append(keys, hex.EncodeToString([]byte(key)))
		}
		if line != "" && line[0] != '#' {
			_, body := get(t, base+line)
			all = append(all, body...)
		}
	}
	return all, keys
}

// TestEncryptedFFmpeg: ffmpeg decrypts a stream to the packets that it has in the
// clear: samples with the key, whole segments by the playlist, with a token.
func TestEncryptedFFmpeg(t *testing.T) {
	t.Parallel()
	ffmpeg := need(t, "ffmpeg")
	file := filepath.Join(t.TempDir(), "a.mp4")
	args := strings.Fields("-v error -nostdin -f lavfi -i testsrc2=size=320x180:rate=25 -f lavfi -i sine=sample_rate=48000 -t 12 -c:v libx264 -preset ultrafast -bf 2 -g 25 -pix_fmt yuv420p -c:a aac -movflags +frag_keyframe+empty_moov+default_base_moof " + file)
	if out, err := exec.CommandContext(t.Context(), ffmpeg, args...).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	put := func(s *running, name string) string {
		t.Helper()
		res, err := http.Post(s.http+"/"+name+".mp4", "video/mp4", bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if res.StatusCode/100 != 2 {
			t.Fatal(res.Status)
		}
		return s.http + "/" + name + "/"
	}
	for _, scheme := range []seal.Scheme{seal.CBCS, seal.CENC, seal.AES128} {
		t.Run(string(scheme), func(t *testing.T) {
			e := Encryption{Streams: []string{"live/*"}, Scheme: scheme, KeyTokens: []string{secret}}
			cfg := live.Config{Grace: time.Second}
			if scheme == seal.AES128 {
				cfg.Part, e.Rotation = -1, Rotation{Chunks: 2}
			}
			s := startWith(t, Config{Live: cfg, Encryption: []Encryption{e}})
			clear, sealed := put(s, "open/a"), put(s, "live/a")
			for _, track := range []string{"video0", "audio0"} {
				plain, _ := fetched(t, clear+track+"/index.m3u8")
				want := packets(t, plain, "-i", "-")
				cipher, keys := fetched(t, sealed+track+"/index.m3u8")
				var got []string
				if scheme == seal.AES128 {
					got = packets(t, nil, "-headers", "Authorization: Bearer "+secret+"\r\n", "-i", sealed+track+"/index.m3u8")
				} else {
					got = packets(t, cipher, "-decryption_key", keys[0], "-i", "-")
					if slices.Equal(packets(t, cipher, "-i", "-"), want) {
						t.Errorf("%s is in the clear", track)
					}
				}
				if !slices.Equal(got, want) || len(want) < 250 {
					t.Errorf("%s: %d packets are not the %d of the clear", track, len(got), len(want))
				}
			}
		})
	}
}

// TestKeysAfterRestart: a server that was started anew has the keys of what its store
// keeps, before anybody publishes; and takes another one for what comes.
func TestKeysAfterRestart(t *testing.T) {
	t.Parallel()
	need(t, "ffmpeg")
	cfg := Config{Data: t.TempDir(), Live: live.Config{Target: time.Second}, Encryption: []Encryption{{Scheme: seal.CENC, KeyTokens: []string{secret}}}}
	keyURI := regexp.MustCompile(`URI="\.\./(keys/[0-9a-f]{32}\.key)"`)
	var before, key string
	for start := range 2 {
		s := startWith(t, cfg)
		if start == 1 {
			if code, text := shown(t, http.MethodGet, s.http+"/live/cam/"+before, secret); code != 200 || text != key {
				t.Errorf("after the restart: %d %x, want %x", code, text, key)
			}
		}
		stop := publish(t, s.rtmp+"/live/cam")
		// The window of the server before is listed, too: the newest key is the last.
		want := []string{"#EXTINF", "#EXT-X-KEY"}
		if start == 1 {
			want = append(want, "#EXT-X-DISCONTINUITY\n")
		}
		all := keyURI.FindAllStringSubmatch(until(t, s.http+"/live/cam/video0/index.m3u8", want[:2+start]...), -1)
		if len(all) == 0 || all[len(all)-1][1] == before {
			t.Fatalf("the keys are %v, before it was %s", all, before)
		}
		before = all[len(all)-1][1]
		_, key = shown(t, http.MethodGet, s.http+"/live/cam/"+before, secret)
		stop()
		s.stop()
	}
}

// TestEncryptionConfig: what is wrong is refused before the server starts, and told why.
func TestEncryptionConfig(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(file, []byte(strings.Repeat("0", 32)+":"+strings.Repeat("1", 32)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ text, want string }{
		"tokens":           {"[{scheme: cbcs, key_tokens: [a, b], key_rotation: 10m}]", ""},
		"by chunks":        {"[{scheme: cenc, public_keys: true, key_rotation: 30}]", ""},
		"a number":         {"[{scheme: cenc, public_keys: true, key_rotation: \"30\"}]", ""},
		"file":             {"[{scheme: cbcs, key_file: FILE, key_url: \"https://k/{kid}\", license_url: \"https://h/{stream}\"}]", ""},
		"service":          {"[{scheme: cbcs, key_service: \"https://k/{stream}\", key_service_token: x, key_tokens: [a]}]", ""},
		"none":             {"[{streams: [\"open/*\"], scheme: none}, {scheme: cbcs, public_keys: true, key_format: clearkey, allow_clear: true}]", ""},
		"whole segments":   {"[{scheme: aes-128, public_keys: true}]\nlow_latency: false", ""},
		"parts":            {"[{scheme: aes-128, public_keys: true}]", "parts"},
		"nobody":           {"[{scheme: cbcs}]", "who may have the keys"},
		"everybody, some":  {"[{scheme: cbcs, public_keys: true, key_tokens: [a]}]", "either"},
		"empty token":      {"[{scheme: cbcs, key_tokens: [\"\"]}]", "empty"},
		"two sources":      {"[{scheme: cbcs, public_keys: true, key_file: FILE, key_service: \"https://k\"}]", "one of them"},
		"no file":          {"[{scheme: cbcs, public_keys: true, key_file: /nowhere}]", "nowhere"},
		"no URL":           {"[{scheme: cbcs, public_keys: true, key_service: keys}]", "no URL"},
		"nobody knows":     {"[{scheme: cbcs, key_url: \"https://k/{kid}\"}]", "nobody else would know"},
		"no kid":           {"[{scheme: cbcs, key_file: FILE, key_url: \"https://k/\"}]", "{kid}"},
		"relative":         {"[{scheme: cbcs, key_file: FILE, key_url: \"keys/{kid}\"}]", "absolute"},
		"token of nothing": {"[{scheme: cbcs, public_keys: true, key_service_token: x}]", "without key_service"},
		"nothing":          {"[{key_tokens: [a]}]", "choose a scheme"},
		"no scheme":        {"[{scheme: rot13, public_keys: true}]", "rot13"},
		"clearkey":         {"[{scheme: aes-128, public_keys: true, key_format: clearkey}]\nlow_latency: false", "ClearKey"},
		"format":           {"[{scheme: cbcs, public_keys: true, key_format: widevine}]", "widevine"},
		"rotation":         {"[{scheme: cbcs, public_keys: true, key_rotation: often}]", "often"},
		"too often":        {"[{scheme: cbcs, public_keys: true, key_rotation: 10ms}]", "a second"},
		"unknown":          {"[{scheme: cbcs, publik_keys: true}]", "publik_keys"},
	} {
		conf := filepath.Join(t.TempDir(), "c.yaml")
		if err := os.WriteFile(conf, []byte("encryption: "+strings.ReplaceAll(test.text, "FILE", file)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := ReadFile(conf)
		var c Config
		if err == nil {
			f.Apply(&c)
			err = c.Validate()
		}
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
		if name == "by chunks" && c.Encryption[0].Rotation.Chunks != 30 || name == "tokens" && c.Encryption[0].Rotation.Every != 10*time.Minute {
			t.Errorf("%s: %+v", name, c.Encryption[0].Rotation)
		}
	}
}

func TestStreamPatterns(t *testing.T) {
	for _, x := range []struct {
		pattern, name string
		want          bool
	}{
		{"live/cam", "live/cam", true},
		{"live/cam", "live/cam1", false},
		{"live/*", "live/cam", true},
		{"live/*", "live/a/b", true},
		{"live/*", "live", false},
		{"*", "anything", true},
		{"*/cam", "live/cam", true},
		{"*/cam", "live/cam2", false},
		{"a*b*c", "aXbYc", true},
		{"a*b*c", "aXcYb", false},
		{"*a*a*a*a", strings.Repeat("a", 300), true},
	} {
		if matches(x.pattern, x.name) != x.want {
			t.Errorf("%s, %s: %v", x.pattern, x.name, !x.want)
		}
	}
	enc := &encryption{rules: []Encryption{{Streams: []string{"open/*", "live/lobby"}}, {Streams: []string{"live/*"}, Scheme: seal.CBCS, LicenseURL: "https://h/{stream}/keys/clearkey"}}}
	for name, want := range map[string]bool{"open/a": false, "live/lobby": false, "live/a": true, "other": false} {
		x := enc.of(name)
		if (x != nil) != want || x != nil && x.LicenseURL != "https://h/live/a/keys/clearkey" {
			t.Errorf("%s: %+v", name, x)
		}
	}
}

// TestKeyService: keys come from a service, which is asked with the stream's name, how
// many it has had, and a token; what it gives is what players get.
func TestKeyService(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	asked := map[string]int{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer of the service" {
			http.Error(w, "who?", http.StatusUnauthorized)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		asked[r.URL.RawQuery]++
		n := len(asked)
		fmt.Fprintf(w, "%032x:%032x\n", 0xa0+n, 0xb0+n)
	}))
	defer srv.Close()
	s := encrypted(t, Encryption{
		Scheme: seal.CBCS, Rotation: Rotation{Chunks: 1}, KeyTokens: []string{secret}, KeyService: srv.URL + "/?s={stream}&n={number}", KeyServiceToken: "of the service",
	}, live.Config{Target: time.Second})
	id := fmt.Sprintf("%032x", 0xa3)
	until(t, s.http+"/live/cam/video0/index.m3u8", "../keys/"+id+".key")
	if code, key := shown(t, http.MethodGet, s.http+"/live/cam/keys/"+id+".key", secret); code != 200 || hex.EncodeToString([]byte(key)) != fmt.Sprintf("%032x", 0xb3) {
		t.Errorf("%d %x", code, key)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, q := range []string{"s=live%2Fcam&n=0", "s=live%2Fcam&n=1", "s=live%2Fcam&n=2"} {
		if asked[q] != 1 {
			t.Errorf("%s was asked %d times: %v", q, asked[q], asked)
		}
	}
}

// TestNoKeyService: a publisher is refused whose stream has no key.
func TestNoKeyService(t *testing.T) {
	t.Parallel()
	need(t, "ffmpeg")
	srv := httptest.NewServer(http.NotFoundHandler())
	defer srv.Close()
	s := startWith(t, Config{Encryption: []Encryption{{Scheme: seal.CBCS, PublicKeys: true, KeyService: srv.URL}}})
	res, err := http.Post(s.http+"/live/cam.ts", "video/mp2t", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(b), "key") {
		t.Errorf("%s %s %v", res.Status, b, err)
	}
	if code, _ := get(t, s.http+"/live/cam/keys/clearkey"); code != http.StatusNotFound {
		t.Error(code)
	}
}
