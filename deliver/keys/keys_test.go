package keys

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cleave-video/cleave/seal"
	"github.com/cleave-video/cleave/seal/vault"
)

// rig is streams "live/cam" with keys behind tokens, "live/open" with keys for all, and
// "live/new" without keys yet.
type rig struct {
	h    *Handler
	keys []seal.Key
	dir  string
}

func newRig(t *testing.T, n int) *rig {
	t.Helper()
	r := &rig{dir: t.TempDir()}
	v, err := vault.Open(r.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"live/cam", "live/open"} {
		k, err := v.Stream(name)
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			key := seal.Key{ID: [16]byte{1, byte(i), byte(i >> 8)}, Key: [16]byte{2, byte(i), byte(i >> 8)}}
			if err := k.Add(key); err != nil {
				t.Fatal(err)
			}
			if name == "live/cam" {
				r.keys = append(r.keys, key)
			}
		}
	}
	guards := map[string]*Guard{"live/cam": NewGuard("one", "two words"), "live/open": NewGuard(), "live/new": NewGuard(), "live/bad": NewGuard()}
	r.h = New(Config{Find: func(name string) (*vault.Vault, *Guard) {
		if g := guards[name]; g != nil {
			return v, g
		}
		return nil, nil
	}})
	return r
}

func (r *rig) do(method, path, body string, header ...string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	r.h.ServeHTTP(w, req)
	return w
}

// TestAuthorisation: who gets a key, and what others are told. Nothing is to be stored,
// pages of any origin may read it.
func TestAuthorisation(t *testing.T) {
	r := newRig(t, 3)
	id := r.keys[1].Name()
	cam, open := "/live/cam/keys/"+id+".key", "/live/open/keys/"+id+".key"
	for _, test := range []struct {
		method, path, auth string
		code               int
	}{
		{"GET", cam, "", 401},
		{"GET", cam, "Basic b25l", 401},
		{"GET", cam, "Bearer", 403},
		{"GET", cam, "Bearer on", 403},
		{"GET", cam, "Bearer one ", 200},
		{"GET", cam, "bearer two words", 200},
		{"HEAD", cam, "Bearer one", 200},
		{"GET", cam + "?token=one", "", 200},
		{"GET", cam + "?token=two+words", "", 200},
		{"GET", cam + "?token=", "", 403},
		{"GET", cam + "?token=three", "", 403},
		{"GET", cam + "?token=one", "Bearer other", 403}, // the header decides
		{"GET", strings.Replace(cam, id[:6], "ffffff", 1) + "?token=one", "", 404},
		{"GET", strings.Replace(cam, id[:6], "ffffff", 1), "", 401}, // what is not there is not told
		{"GET", "/live/cam/keys/clearkey", "", 401},
		{"POST", "/live/cam/keys/clearkey", "", 401},
		{"GET", open, "", 200},
		{"GET", "/live/new/keys/clearkey", "", 404},
		{"GET", "/live/none/keys/clearkey", "", 404},
		{"POST", open, "", 405},
		{"PUT", "/live/open/keys/clearkey", "", 405},
		{"OPTIONS", cam, "", 204},
	} {
		var header []string
		if test.auth != "" {
			header = []string{"Authorization", test.auth}
		}
		w := r.do(test.method, test.path, "", header...)
		name := fmt.Sprint(test.method, " ", test.path, " ", test.auth)
		if w.Code != test.code {
			t.Errorf("%s: %d %s, want %d", name, w.Code, w.Body, test.code)
		}
		head := w.Header()
		if head.Get("Access-Control-Allow-Origin") != "*" || test.method != "OPTIONS" && head.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v", name, head)
		}
		if (test.code == 401) != (head.Get("WWW-Authenticate") != "") {
			t.Errorf("%s: WWW-Authenticate: %q", name, head.Get("WWW-Authenticate"))
		}
		if w.Code == 200 && test.method == "GET" && !bytes.Equal(w.Body.Bytes(), r.keys[1].Key[:]) {
			t.Errorf("%s: %x", name, w.Body)
		}
	}
	w := r.do("OPTIONS", "/live/cam/keys/clearkey", "")
	if h := w.Header(); !strings.Contains(h.Get("Access-Control-Allow-Headers"), "Authorization") || !strings.Contains(h.Get("Access-Control-Allow-Methods"), "POST") {
		t.Errorf("%v", h)
	}
}

// licensed are the keys of an answer, by ID.
func licensed(t *testing.T, w *httptest.ResponseRecorder) map[string]string {
	t.Helper()
	var l struct {
		Keys []struct{ Kty, Kid, K string }
		Type string
	}
	if err := json.Unmarshal(w.Body.Bytes(), &l); err != nil || l.Type != "temporary" || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("%v: %d %s", err, w.Code, w.Body)
	}
	out := map[string]string{}
	for _, k := range l.Keys {
		out[k.Kid] = k.K
		if k.Kty != "oct" {
			t.Errorf("%+v", k)
		}
	}
	return out
}

func TestLicense(t *testing.T) {
	r := newRig(t, 300)
	text := base64.RawURLEncoding.EncodeToString
	request := func(ids ...string) string {
		b, err := json.Marshal(map[string]any{"kids": ids, "type": "temporary"})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	post := func(body string) *httptest.ResponseRecorder { return r.do("POST", "/live/open/keys/clearkey", body) }
	got := licensed(t, post(request(text(r.keys[0].ID[:]), text(r.keys[7].ID[:]), text(make([]byte, 16)))))
	if len(got) != 2+maxBeside || got[text(r.keys[7].ID[:])] != text(r.keys[7].Key[:]) || got[text(r.keys[299].ID[:])] == "" {
		t.Errorf("%v", got)
	}
	for body, code := range map[string]int{
		"":                              400,
		"{}":                            400,
		`{"kids":["x"]}`:                400,
		`{"kids":[7]}`:                  400,
		request(text(make([]byte, 16))): 404,
		request(text(make([]byte, 17))): 400,
		strings.Repeat(" ", maxRequest+1) + request(text(r.keys[0].ID[:])): 400,
	} {
		if w := post(body); w.Code != code {
			t.Errorf("%.60q: %d %s, want %d", body, w.Code, w.Body, code)
		}
	}
	newest := licensed(t, r.do("GET", "/live/open/keys/clearkey", ""))
	if len(newest) != maxNewest || newest[text(r.keys[299].ID[:])] == "" || newest[text(r.keys[0].ID[:])] != "" {
		t.Errorf("%d keys", len(newest))
	}
}

func TestServes(t *testing.T) {
	id := strings.Repeat("0a", 16)
	for path, want := range map[string]bool{
		"/live/cam/keys/" + id + ".key":                  true,
		"/cam/keys/clearkey":                             true,
		"/keys/clearkey":                                 false,
		"/live/cam/keys/" + id:                           false,
		"/live/cam/keys/" + strings.ToUpper(id) + ".key": false,
		"/live/cam/keys/" + id[1:] + ".key":              false,
		"/live/cam/keys/" + id + "00.key":                false,
		"/live/cam/key/" + id + ".key":                   false,
		"/live/cam/keys/index.m3u8":                      false,
		"/live/cam/keys/clearkey/index.m3u8":             false,
		"/":                                              false,
		"":                                               false,
	} {
		if Serves(path) != want {
			t.Errorf("%s: %v", path, !want)
		}
	}
}

// TestDamagedKeys: a file that cannot be read is said to be so, without its contents.
func TestDamagedKeys(t *testing.T) {
	r := newRig(t, 1)
	if err := os.WriteFile(filepath.Join(r.dir, "live+bad.keys"), []byte("not keys"), 0o600); err != nil {
		t.Fatal(err)
	}
	if w := r.do("GET", "/live/bad/keys/clearkey", ""); w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "not keys") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
