package dash

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-video/cleave/live"
	"github.com/cleave-video/cleave/seal"
	"github.com/cleave-video/cleave/seal/vault"
)

func sealed(t *testing.T, cfg live.Config, x live.Sealing) *rig {
	t.Helper()
	v, err := vault.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	x.Vault, x.Supply = v, seal.Random{}
	cfg.Sealing = func(string) *live.Sealing { return &x }
	return newRig(t, cfg)
}

// TestProtection: each Period has one key, the manifest names that, those that come, and
// where to ask for them.
func TestProtection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := sealed(t, live.Config{}, live.Sealing{Scheme: seal.CBCS, Chunks: 3, LicenseURL: "https://h/cam/keys/clearkey"})
		defer r.end()
		r.publish(camera(), nil)
		sleep(24*time.Second + 500*time.Millisecond)
		text := r.manifest()
		e := r.hub.Lookup("cam").Edge()
		boxes := regexp.MustCompile(`default_KID="([0-9a-f-]+)"(?s:.*?)<cenc:pssh[^>]*>([^<]+)<`).FindAllStringSubmatch(text, -1)
		if len(boxes) < 10 || strings.Count(text, `value="cbcs"`) != len(boxes) || !strings.Contains(text, "https://h/cam/keys/clearkey") {
			t.Fatalf("%d: %s", len(boxes), text)
		}
		last := boxes[len(boxes)-1]
		box, err := base64.StdEncoding.DecodeString(last[2])
		if err != nil {
			t.Fatal(err)
		}
		newest := e.Renditions[0].Open.Sealed.KeyID
		for _, id := range append([][16]byte{newest}, e.Ahead...) {
			if !strings.Contains(string(box), string(id[:])) {
				t.Errorf("key %x is not in the manifest", id)
			}
		}
		said := map[string]bool{}
		for _, b := range boxes {
			said[strings.ReplaceAll(b[1], "-", "")] = true
		}
		for i := range e.Renditions[0].Segments {
			if id := fmt.Sprintf("%x", e.Renditions[0].Segments[i].Sealed.KeyID); !said[id] {
				t.Errorf("key %s is not in the manifest", id)
			}
		}
		if len(e.Ahead) == 0 {
			t.Error("no key comes")
		}
	})
}

// TestWholeSegments: there is no manifest of what DASH cannot say, which is told why.
func TestWholeSegments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := sealed(t, live.Config{Part: -1}, live.Sealing{Scheme: seal.AES128})
		defer r.end()
		r.publish(camera(), nil)
		sleep(8 * time.Second)
		if w := r.do(http.MethodGet, "/cam/manifest.mpd"); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "aes-128") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}
