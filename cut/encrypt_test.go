package cut

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cleave-video/cleave/chunk"
	"github.com/cleave-video/cleave/seal"
)

func someKeys(n int) seal.List {
	l := make(seal.List, n)
	for i := range l {
		l[i] = seal.Key{ID: [16]byte{byte(i), 1}, Key: [16]byte{byte(i), 2}, IV: [16]byte{byte(i), 3}}
	}
	return l
}

func read(t *testing.T, elem ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestWrongCombinations are refused before anything is read, with the reason.
func TestWrongCombinations(t *testing.T) {
	for _, test := range []struct {
		e         Encryption
		container Container
		reason    string
	}{
		{Encryption{Scheme: "cens"}, CMAF, "is not none, aes-128, cbcs or cenc"},
		{Encryption{Keys: someKeys(1)}, CMAF, "nothing is to be encrypted"},
		{Encryption{Scheme: seal.None, Rotation: 2}, CMAF, "nothing is to be encrypted"},
		{Encryption{KeyURL: "https://k/{kid}"}, CMAF, "nothing is to be encrypted"},
		{Encryption{Scheme: seal.CBCS}, TS, "encrypts the samples of CMAF"},
		{Encryption{Scheme: seal.CENC}, TS, "encrypts the samples of CMAF"},
		{Encryption{Scheme: seal.CENC, Rotation: -1}, CMAF, "-1 chunks"},
		{Encryption{Scheme: seal.CBCS, KeyURL: "https://k/{kid}"}, CMAF, "nobody would know"},
		{Encryption{Scheme: seal.CBCS, KeyURL: "https://k/1", Keys: someKeys(2), Rotation: 1}, CMAF, "{kid}"},
		{Encryption{Scheme: seal.CBCS, KeyURL: "https://k/\"", Keys: someKeys(2)}, CMAF, "quote"},
		{Encryption{Scheme: seal.AES128, KeyFormat: ClearKey}, CMAF, "samples only"},
		{Encryption{KeyFormat: ClearKey}, CMAF, "nothing is to be encrypted"},
		{Encryption{Scheme: seal.CBCS, KeyFormat: "widevine"}, CMAF, "neither identity nor clearkey"},
		{Encryption{Scheme: seal.AES128, LicenseURL: "https://k/"}, CMAF, "no encryption of whole segments"},
	} {
		c := Config{Input: "/nowhere", Dir: filepath.Join(t.TempDir(), "out"), Policy: chunk.Keyframe{Target: time.Second}, Container: test.container, Encrypt: test.e}
		if _, err := Run(t.Context(), c); err == nil || !strings.Contains(err.Error(), test.reason) {
			t.Errorf("%+v: %v, want %q", test.e, err, test.reason)
		}
	}
	for _, e := range []Encryption{
		{}, {Scheme: seal.None}, {Scheme: seal.AES128, Rotation: 1}, {Scheme: seal.CBCS, Keys: someKeys(1), KeyURL: "https://k/1"},
	} {
		if err := e.Validate(CMAF); err != nil {
			t.Errorf("%+v: %v", e, err)
		}
	}
	if err := (&Encryption{Scheme: seal.AES128}).Validate(TS); err != nil {
		t.Error(err)
	}
}

// TestKeysBesideTheOutput: each key is written once, for its owner's eyes, under
// the name that playlists have; ClearKey's answer holds all.
func TestKeysBesideTheOutput(t *testing.T) {
	input := made(t)
	for _, s := range []seal.Scheme{seal.AES128, seal.CBCS, seal.CENC} {
		dir := filepath.Join(t.TempDir(), "out")
		c := config(input, dir)
		c.Encrypt = Encryption{Scheme: s, Keys: someKeys(2), Rotation: 2}
		r, err := Run(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if r.Encryption != string(s)+", 2 keys" {
			t.Error(r.Encryption)
		}
		for i, k := range someKeys(2) {
			if read(t, dir, "keys", k.Name()+".key") != string(k.Key[:]) {
				t.Errorf("%s: key %d is another", s, i)
			}
		}
		names, err := filepath.Glob(filepath.Join(dir, "keys", "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if st, err := os.Stat(name); err != nil || st.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v %v", name, st.Mode(), err)
			}
		}
		if s == seal.AES128 {
			if _, err := os.Stat(filepath.Join(dir, manifestName)); !errors.Is(err, os.ErrNotExist) {
				t.Error("a manifest of what DASH does not know:", err)
			}
			if _, err := os.Stat(filepath.Join(dir, "video0", iframesName)); !errors.Is(err, os.ErrNotExist) {
				t.Error("I-frames that cannot be decrypted:", err)
			}
			if strings.Contains(read(t, dir, multivariantName), "I-FRAME") || len(names) != 2 {
				t.Error("what is not there is listed, or", names)
			}
			continue
		}
		var license struct {
			Keys []struct{ Kty, Kid, K string }
		}
		if err := json.Unmarshal([]byte(read(t, dir, licenseName)), &license); err != nil || len(license.Keys) != 2 {
			t.Fatal(license, err)
		}
		for i, k := range someKeys(2) {
			if l := license.Keys[i]; l.Kty != "oct" || l.Kid != base64.RawURLEncoding.EncodeToString(k.ID[:]) || l.K != base64.RawURLEncoding.EncodeToString(k.Key[:]) {
				t.Errorf("%s: %+v", s, l)
			}
		}
	}
}

var keyTag = regexp.MustCompile(`EXT-X-KEY:METHOD=([A-Z0-9-]+)(?:,URI="([^"]*)")?(?:,IV=0x([0-9a-f]{32}))?`)

// TestOneKeyForASegment: as the playlists say it. With aes-128 no two segments of
// any rendition have both the same key and the same vector.
func TestOneKeyForASegment(t *testing.T) {
	input := made(t)
	for _, test := range []struct {
		scheme seal.Scheme
		Container
		method string
	}{{seal.AES128, CMAF, "AES-128"}, {seal.AES128, TS, "AES-128"}, {seal.CBCS, CMAF, "SAMPLE-AES"}, {seal.CENC, CMAF, "SAMPLE-AES-CTR"}} {
		dir := filepath.Join(t.TempDir(), "out")
		c := config(input, dir)
		c.Policy, c.Target, c.Container = chunk.Keyframe{Target: time.Second}, time.Second, test.Container
		c.Encrypt = Encryption{Scheme: test.scheme, Keys: someKeys(3), Rotation: 2}
		if _, err := Run(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		vectors := map[string]bool{}
		lists, err := filepath.Glob(filepath.Join(dir, "*", "*.m3u8"))
		if err != nil {
			t.Fatal(err)
		}
		for _, list := range lists {
			key, iv, n := "", "", 0
			for line := range strings.Lines(read(t, list)) {
				if m := keyTag.FindStringSubmatch(line); m != nil {
					key, iv = m[2], m[3]
					if m[1] != test.method || (iv != "") != (test.scheme == seal.AES128) {
						t.Errorf("%s: %s", list, line)
					}
				}
				if line[0] == '#' {
					if strings.HasPrefix(line, "#EXT-X-MAP") && key != "" {
						t.Errorf("%s: the header would be encrypted", list)
					}
					continue
				}
				want := someKeys(3)[n/2]
				n++
				if key != "../keys/"+want.Name()+".key" {
					t.Errorf("%s: segment %d has key %q", list, n, key)
				}
				if name := key + iv; test.scheme == seal.AES128 && vectors[name] {
					t.Errorf("%s: vector %s again", list, name)
				}
				vectors[key+iv] = true
			}
			if n != 6 {
				t.Errorf("%s: %d segments", list, n)
			}
		}
		for i, k := range someKeys(3) {
			tag := fmt.Sprintf("#EXT-X-SESSION-KEY:METHOD=%s,URI=\"keys/%s.key\"\n", test.method, k.Name())
			if !strings.Contains(read(t, dir, multivariantName), tag) {
				t.Errorf("%s: session key %d is missing", test.scheme, i)
			}
		}
	}
}

// TestKeysElsewhere: with URLs of their own no key is written.
func TestKeysElsewhere(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	c := config(made(t), dir)
	c.Encrypt = Encryption{
		Scheme: seal.CENC, Keys: someKeys(1), KeyURL: "https://k.example/{kid}?x=1", LicenseURL: "https://l.example/", KeyFormat: ClearKey,
	}
	if _, err := Run(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, keysDir)); !errors.Is(err, os.ErrNotExist) {
		t.Error("keys were written:", err)
	}
	name := someKeys(1)[0].Name()
	for _, list := range []string{multivariantName, "video0/index.m3u8", "audio0/index.m3u8", "video0/iframes.m3u8"} {
		if !strings.Contains(read(t, dir, list), `URI="https://k.example/`+name+`?x=1",KEYFORMAT="org.w3.clearkey"`) {
			t.Errorf("%s:\n%s", list, read(t, dir, list))
		}
	}
	if !strings.Contains(read(t, dir, manifestName), ">https://l.example/</dashif:Laurl>") {
		t.Error(read(t, dir, manifestName))
	}
}

// TestKeysRunOut: what cannot be encrypted is not written, not even in part.
func TestKeysRunOut(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	c := config(made(t), dir)
	c.Encrypt = Encryption{Scheme: seal.CBCS, Keys: someKeys(2), Rotation: 1}
	if _, err := Run(t.Context(), c); !errors.Is(err, seal.ErrNoKey) || !strings.Contains(err.Error(), "chunk 3") {
		t.Error(err)
	}
	for _, name := range []string{dir, dir + ".partial"} {
		if _, err := os.Stat(name); !errors.Is(err, os.ErrNotExist) {
			t.Error(name, err)
		}
	}
}

func TestBelow(t *testing.T) {
	for url, want := range map[string]string{
		"keys/1": "../keys/1", "/keys/1": "/keys/1", "https://k/1": "https://k/1", "skd://k": "skd://k", "a/b:c": "../a/b:c", "k?u=a:b": "../k?u=a:b",
	} {
		if got := below(url, 1); got != want {
			t.Errorf("%s: %s, want %s", url, got, want)
		}
		if below(url, 0) != url {
			t.Errorf("%s changed", url)
		}
	}
}
