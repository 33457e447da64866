package dash

import (
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

// TestProtection: each Period has one key, which its tracks name, and the manifest says
// where to ask for it.
func TestProtection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := sealed(t, live.Config{}, live.Sealing{Scheme: seal.CBCS, Chunks: 3, LicenseURL: "https://h/cam/keys/clearkey"})
		defer r.end()
		r.publish(camera(), nil)
		sleep(24*time.Second + 500*time.Millisecond)
		text := r.manifest()
		e := r.hub.Lookup("cam").Edge()
		kids := regexp.MustCompile(`default_KID="([0-9a-f-]+)"`).FindAllStringSubmatch(text, -1)
		if len(kids) < 10 || strings.Count(text, `value="cbcs"`) != len(kids) || !strings.Contains(text, "https://h/cam/keys/clearkey") || strings.Contains(text, "pssh") {
			t.Fatalf("%d: %s", len(kids), text)
		}
		said := map[string]int{}
		for _, k := range kids {
			said[strings.ReplaceAll(k[1], "-", "")]++
		}
		for i := range e.Renditions[0].Segments {
			if id := fmt.Sprintf("%x", e.Renditions[0].Segments[i].Sealed.KeyID); said[id] != 2 {
				t.Errorf("key %s is in the manifest %d times", id, said[id])
			}
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
