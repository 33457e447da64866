package hls

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	text "github.com/cleave-video/cleave/format/hls"
	"github.com/cleave-video/cleave/live"
	"github.com/cleave-video/cleave/seal"
	"github.com/cleave-video/cleave/seal/vault"
)

// sealed is a rig whose stream is encrypted as x says, with keys of its own.
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

// keyOf returns the ID of the key that a segment, or a part, of a playlist is decrypted
// with, and its IV.
func keyOf(t *testing.T, playlist, uri string) (method, key string, iv []byte) {
	t.Helper()
	m, err := (&text.Reader{}).Media([]byte(playlist))
	if err != nil {
		t.Fatal(err)
	}
	for i := range m.Segments {
		s := &m.Segments[i]
		if len(s.Keys) > 0 {
			method, key, iv = s.Keys[0].Method, s.Keys[0].URI, s.Keys[0].IV
		}
		if s.URI == uri {
			return method, key, iv
		}
		for k := range s.Parts {
			if s.Parts[k].URI == uri {
				return method, key, iv
			}
		}
	}
	t.Fatalf("%s is not in\n%s", uri, playlist)
	return "", "", nil
}

// TestKeysInPlaylists: every segment, and the parts of the one that is open, stand
// behind the key that they have; delta updates and I-frame playlists say so, too; the
// multivariant playlist has those that come.
func TestKeysInPlaylists(t *testing.T) {
	for name, x := range map[string]live.Sealing{
		"cbcs":      {Scheme: seal.CBCS, Chunks: 2},
		"cenc":      {Scheme: seal.CENC, Chunks: 2},
		"clearkey":  {Scheme: seal.CBCS, Chunks: 2, ClearKey: true},
		"elsewhere": {Scheme: seal.CBCS, Chunks: 2, KeyURL: "https://keys.example/{kid}?of=cam"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := sealed(t, live.Config{}, x)
				defer r.end()
				r.publish()
				time.Sleep(30*time.Second + 700*time.Millisecond)
				synctest.Wait()
				e := r.hub.Lookup("cam").Edge()
				for _, rend := range []string{"video0", "audio0"} {
					full := r.get("/cam/" + rend + "/index.m3u8").Body.String()
					delta := r.get("/cam/" + rend + "/index.m3u8?_HLS_skip=YES").Body.String()
					lists := []string{full, delta}
					if rend == "video0" {
						lists = append(lists, r.get("/cam/video0/iframes.m3u8").Body.String())
					}
					seen := map[string]bool{}
					for i, list := range lists {
						er := e.Rendition(rend)
						for msn := er.Last() - 2; msn <= er.Last(); msn++ {
							s := er.Segment(1, msn)
							method, uri, _ := keyOf(t, list, segmentURI(s))
							want := fmt.Sprintf("../keys/%x.key", s.Sealed.KeyID)
							if x.KeyURL != "" {
								want = fmt.Sprintf("https://keys.example/%x?of=cam", s.Sealed.KeyID)
							}
							if method != x.Scheme.Method() || uri != want {
								t.Errorf("%s, list %d: %d: %s %s, want %s", rend, i, msn, method, uri, want)
							}
							seen[uri] = true
						}
						if format := `KEYFORMAT="org.w3.clearkey"`; strings.Contains(list, format) != x.ClearKey || strings.Contains(list, ",IV=") {
							t.Errorf("%s", list)
						}
					}
					_, uri, _ := keyOf(t, full, partURI(1, e.Rendition(rend).Open.MSN, 1))
					if !strings.Contains(uri, fmt.Sprintf("%x", e.Rendition(rend).Open.Sealed.KeyID)) || len(seen) < 2 {
						t.Errorf("an open segment has %s; %d keys", uri, len(seen))
					}
					if !strings.Contains(delta, "#EXT-X-SKIP") {
						t.Error("nothing was skipped")
					}
				}
				multi := r.get("/cam/index.m3u8").Body.String()
				n := strings.Count(multi, "#EXT-X-SESSION-KEY:")
				if n < 5 || n > maxSessionKeys || len(e.Ahead) == 0 || !strings.Contains(multi, fmt.Sprintf("%x", e.Ahead[0])) {
					t.Errorf("%d keys, %d ahead:\n%s", n, len(e.Ahead), multi)
				}
			})
		})
	}
}

// TestWholeSegmentKeys: with AES-128 each segment has its own vector in the playlist,
// there are no I-frame playlists, and a segment that is asked for while it is open comes
// encrypted, when it is whole.
func TestWholeSegmentKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := sealed(t, live.Config{Part: -1}, live.Sealing{Scheme: seal.AES128, Chunks: 2})
		defer r.end()
		r.publish()
		time.Sleep(20*time.Second + 700*time.Millisecond)
		synctest.Wait()
		list := r.get("/cam/video0/index.m3u8").Body.String()
		seen := map[string]bool{}
		x := r.hub.Lookup("cam").Edge().Rendition("video0")
		for i := range x.Segments {
			s := &x.Segments[i]
			method, uri, iv := keyOf(t, list, segmentURI(s))
			if method != "AES-128" || uri != fmt.Sprintf("../keys/%x.key", s.Sealed.KeyID) || !bytes.Equal(iv, s.Sealed.IV[:]) || seen[string(iv)] {
				t.Errorf("%d: %s %s %x", s.MSN, method, uri, iv)
			}
			seen[string(iv)] = true
		}
		if a := r.get("/cam/video0/iframes.m3u8"); a.Code != 404 {
			t.Error("I-frames:", a.Code)
		}
		if multi := r.get("/cam/index.m3u8").Body.String(); strings.Contains(multi, "I-FRAME") || !strings.Contains(multi, "SESSION-KEY:METHOD=AES-128") {
			t.Error(multi)
		}
		uri := segmentURI(x.Open)
		a := r.get("/cam/video0/" + uri)
		whole := r.get("/cam/video0/" + uri)
		if a.Code != 200 || a.took == 0 || a.Body.Len()%16 != 0 || !bytes.Equal(a.Body.Bytes(), whole.Body.Bytes()) || bytes.Contains(a.Body.Bytes(), []byte("moof")) {
			t.Errorf("%d after %v, %d bytes, then %d", a.Code, a.took, a.Body.Len(), whole.Body.Len())
		}
	})
}
