package seal

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/cleave-video/cleave/cut"
	"github.com/cleave-video/cleave/seal"
	"github.com/cleave-video/cleave/test/browser"
)

// played is what was played, and some pictures of it.
type played struct {
	browser.Played
	pictures []image.Image
}

// looks are the times, in seconds, at which played.pictures are taken: in the middle
// of frames of 1/25 s.
var looks = []float64{2.05, 4.05, 6.05}

// play plays to the end and looks at the screen at each of looks.
func play(t *testing.T, b *browser.Browser, player, src string, query url.Values) played {
	t.Helper()
	return playAt(t, b, player, src, query, looks)
}

// playAt is play with times of its own.
func playAt(t *testing.T, b *browser.Browser, player, src string, query url.Values, times []float64) (r played) {
	t.Helper()
	r.Played = b.Play(t, player, src, mediaLength, query, func(tab context.Context) {
		for _, at := range times {
			if _, err := chromedp.Run(tab, chromedp.Evaluate[any](fmt.Sprintf("show(%v)", at), chromedp.EvalAwaitPromise)); err != nil {
				t.Fatal(err)
			}
			shot, err := chromedp.Run(tab, chromedp.CaptureScreenshot())
			if err != nil {
				t.Fatal(err)
			}
			img, err := png.Decode(bytes.NewReader(shot))
			if err != nil {
				t.Fatal(err)
			}
			r.pictures = append(r.pictures, img)
			if folder := os.Getenv("CLEAVE_SCREENSHOTS"); folder != "" {
				name := fmt.Sprintf("%s-%s-%v.png", player, strings.ReplaceAll(src, "/", "-"), at)
				if err := os.WriteFile(filepath.Join(folder, name), shot, 0o600); err != nil {
					t.Error(err)
				}
			}
		}
	})
	return r
}

// same compares what was on the screen: the same decoder has made it of what
// should be the same frames.
func same(t *testing.T, want, got played) {
	t.Helper()
	for i := range want.pictures {
		if n := different(want.pictures[i], got.pictures[i]); n != 0 {
			t.Errorf("picture %d: %d pixels are other than in the clear", i, n)
		}
	}
}

// shifts is how many frames, to either side, a player may move a stream in TS.
// hls.js puts the first time that it has seen at zero; which one that is, of the
// picture or of the sound, of the first frame or of its decoding, depends on the
// pieces in which the first segment has arrived.
const shifts = 4

// shifted are the pictures of a clear output around each of looks, shifts frames to
// either side.
func shifted(t *testing.T, b *browser.Browser, src string) [][]image.Image {
	t.Helper()
	var times []float64
	for _, at := range looks {
		for shift := -shifts; shift <= shifts; shift++ {
			times = append(times, at+float64(shift)/25)
		}
	}
	pictures := playAt(t, b, "hls", src, url.Values{}, times).pictures
	return slices.Collect(slices.Chunk(pictures, 2*shifts+1))
}

// sameShifted compares what was on the screen with the clear one's pictures: one
// shift explains all of them.
func sameShifted(t *testing.T, want [][]image.Image, got played) {
	t.Helper()
	least := -1
	for shift := range 2*shifts + 1 {
		n := 0
		for i, picture := range got.pictures {
			n += different(want[i][shift], picture)
		}
		if n == 0 {
			return
		}
		if least < 0 || n < least {
			least = n
		}
	}
	t.Errorf("at no shift of up to %d frames are the pictures those of the clear output: %d pixels differ at least", shifts, least)
}

func different(a, b image.Image) (n int) {
	if a.Bounds() != b.Bounds() {
		return a.Bounds().Dx() * a.Bounds().Dy()
	}
	for y := range a.Bounds().Dy() {
		for x := range a.Bounds().Dx() {
			if a.At(x, y) != b.At(x, y) {
				n++
			}
		}
	}
	return n
}

// TestPlayers: encrypted outputs play to the end without a gap, and show what the
// clear one shows.
func TestPlayers(t *testing.T) {
	dir := t.TempDir()
	input := made(t, h264Args)
	b := browser.New(t, dir)
	run := func(name string, e cut.Encryption, c cut.Container) *cut.Report {
		return cutTo(t, input, filepath.Join(dir, name), e, c)
	}
	run("clear", cut.Encryption{}, cut.CMAF)
	keys := testKeys(8)
	for _, s := range []seal.Scheme{seal.AES128, seal.CBCS, seal.CENC} {
		one, many := cut.Encryption{Scheme: s}, cut.Encryption{Scheme: s, Keys: keys, Rotation: 1}
		if s != seal.AES128 {
			one.LicenseURL = fmt.Sprintf("%s/media/%s/keys/clearkey.json", b.URL, s)
			many.LicenseURL = fmt.Sprintf("%s/media/%s-rotated/keys/clearkey.json", b.URL, s)
		}
		run(string(s), one, cut.CMAF)
		run(string(s)+"-rotated", many, cut.CMAF)
		if s != seal.AES128 {
			one.KeyFormat, many.KeyFormat = cut.ClearKey, cut.ClearKey
			run(string(s)+"-clearkey", one, cut.CMAF)
			run(string(s)+"-clearkey-rotated", many, cut.CMAF)
		}
	}
	vp9 := made(t, vp9Args)
	for _, s := range []seal.Scheme{seal.None, seal.CBCS, seal.CENC} {
		cutTo(t, vp9, filepath.Join(dir, "vp9-"+string(s)), cut.Encryption{Scheme: s}, cut.CMAF)
	}
	run("aes-128-ts", cut.Encryption{Scheme: seal.AES128, Rotation: 1}, cut.TS)
	reference := map[string]played{}
	clearAround := shifted(t, b, "clear/index.m3u8")
	unshifted := played{}
	for _, pictures := range clearAround {
		unshifted.pictures = append(unshifted.pictures, pictures[shifts])
	}
	reference["hlsindex.m3u8"] = unshifted
	for _, r := range [][2]string{{"shaka", "index.m3u8"}, {"shaka", "manifest.mpd"}} {
		reference[r[0]+r[1]] = play(t, b, r[0], "clear/"+r[1], url.Values{})
	}
	reference["vp9"] = play(t, b, "shaka", "vp9-none/index.m3u8", url.Values{})
	if different(reference["shakaindex.m3u8"].pictures[0], reference["shakaindex.m3u8"].pictures[1]) == 0 {
		t.Fatal("nothing moves: pictures cannot be told apart")
	}
	clearKeys := map[string]string{}
	for i := range keys {
		clearKeys[keys[i].Name()] = fmt.Sprintf("%x", keys[i].Key)
	}
	given, err := json.Marshal(clearKeys)
	if err != nil {
		t.Fatal(err)
	}
	license := func(name string) url.Values { return url.Values{"license": {"/media/" + name + "/keys/clearkey.json"}} }
	for _, test := range []struct {
		player, src string
		query       url.Values
		eme         bool
	}{
		{"hls", "aes-128/index.m3u8", url.Values{}, false},
		{"hls", "aes-128-rotated/index.m3u8", url.Values{}, false},
		{"hls", "aes-128-ts/index.m3u8", url.Values{}, false},
		{"hls", "cbcs-clearkey/index.m3u8", license("cbcs-clearkey"), true},
		{"hls", "cenc-clearkey/index.m3u8", license("cenc-clearkey"), true},
		{"hls", "cbcs-clearkey-rotated/index.m3u8", license("cbcs-clearkey-rotated"), true},
		{"hls", "cenc-clearkey-rotated/index.m3u8", license("cenc-clearkey-rotated"), true},
		{"shaka", "aes-128/index.m3u8", url.Values{}, false},
		{"shaka", "aes-128-rotated/index.m3u8", url.Values{}, false},
		{"shaka", "cbcs/index.m3u8", url.Values{}, true},
		{"shaka", "cenc/index.m3u8", url.Values{}, true},
		{"shaka", "cbcs/manifest.mpd", url.Values{}, true},
		{"shaka", "cenc/manifest.mpd", url.Values{}, true},
		{"shaka", "vp9-cbcs/index.m3u8", url.Values{}, true},
		{"shaka", "vp9-cenc/index.m3u8", url.Values{}, true},
		{"shaka", "cbcs-rotated/manifest.mpd", url.Values{}, true},
		{"shaka", "cenc-rotated/manifest.mpd", url.Values{}, true},
		{"shaka", "cbcs-rotated/index.m3u8", url.Values{"keys": {string(given)}}, true},
		{"shaka", "cenc-rotated/index.m3u8", url.Values{"keys": {string(given)}}, true},
	} {
		t.Run(test.player+"/"+test.src, func(t *testing.T) {
			r := play(t, b, test.player, test.src, test.query)
			if r.Keys != test.eme {
				t.Errorf("a module for decryption: %v, want %v", r.Keys, test.eme)
			}
			switch {
			case strings.HasSuffix(path.Dir(test.src), "-ts"):
				sameShifted(t, clearAround, r)
			case strings.HasPrefix(test.src, "vp9"):
				same(t, reference["vp9"], r)
			default:
				same(t, reference[test.player+path.Base(test.src)], r)
			}
		})
	}
}
