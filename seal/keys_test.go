package seal

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
)

const (
	idText  = "00112233445566778899aabbccddeeff"
	keyText = "fedcba98765432100123456789abcdef"
	ivText  = "0f0e0d0c0b0a09080706050403020100"
)

func TestParse(t *testing.T) {
	l, err := Parse([]byte("# keys of a film\n\n" + idText + ":" + strings.ToUpper(keyText) + "\r\n" + keyText + " : " + idText + ":" + ivText))
	if err != nil || len(l) != 2 {
		t.Fatal(l, err)
	}
	if l[0].Name() != idText || string(l[0].Key[:]) != string(unhex(keyText)) || l[0].IV == [16]byte{} {
		t.Errorf("%+v", l[0])
	}
	if string(l[1].IV[:]) != string(unhex(ivText)) || l[1].Name() != keyText {
		t.Errorf("%+v", l[1])
	}
	for name, test := range map[string]struct {
		in  string
		err error
	}{
		"nothing":    {"# only words\n", av.ErrInvalid},
		"one part":   {idText, av.ErrInvalid},
		"four parts": {idText + ":" + keyText + ":" + ivText + ":00", av.ErrInvalid},
		"short":      {idText + ":" + keyText[1:], av.ErrInvalid},
		"not hex":    {idText + ":" + keyText[1:] + "x", av.ErrInvalid},
		"same ID":    {idText + ":" + keyText + "\n" + idText + ":" + ivText, av.ErrInvalid},
		"same key":   {idText + ":" + keyText + "\n" + ivText + ":" + keyText, av.ErrInvalid},
		"too large":  {strings.Repeat("#\n", maxKeyFile/2+1), av.ErrTooLarge},
	} {
		_, err := Parse([]byte(test.in))
		if !errors.Is(err, test.err) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && (strings.Contains(err.Error(), idText) || strings.Contains(err.Error(), keyText[1:])) {
			t.Errorf("%s: the error tells a secret: %v", name, err)
		}
	}
	avtest.Prefixes(t, []byte(idText+":"+keyText+":"+ivText+"\n"), func(b []byte) {
		l, err := Parse(b)
		if whole := len(b) == 65 || len(b) == 98 || len(b) == 99; whole != (err == nil) || whole && len(l) != 1 {
			t.Errorf("%q: %v", b, err)
		}
	})
}

func TestReadFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(name, []byte(idText+":"+keyText), 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err := ReadFile(name); err != nil || len(l) != 1 {
		t.Error(l, err)
	}
	if _, err := ReadFile(name + "x"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if err := os.WriteFile(name, []byte(idText), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadFile(name); err == nil || !strings.Contains(err.Error(), name) {
		t.Error(err)
	}
}

func TestSources(t *testing.T) {
	g := NewGenerated()
	seen := map[[16]byte]bool{}
	for n := range uint64(100) {
		k, err := g.Key(n)
		again, err2 := g.Key(n)
		if err != nil || err2 != nil || k != again {
			t.Fatal("a number gives two keys", err, err2)
		}
		for _, x := range [][16]byte{k.ID, k.Key, k.IV} {
			if seen[x] {
				t.Fatal("twice the same")
			}
			seen[x] = true
		}
	}
	if _, err := g.Key(1 << 40); !errors.Is(err, ErrNoKey) {
		t.Error(err)
	}
	if _, err := (List{{}}).Key(1); !errors.Is(err, ErrNoKey) {
		t.Error(err)
	}
	for name, want := range map[string]Scheme{"": None, "none": None, "aes-128": AES128, "cbcs": CBCS, "cenc": CENC} {
		if s, err := ParseScheme(name); err != nil || s != want {
			t.Errorf("%q: %v %v", name, s, err)
		}
	}
	if _, err := ParseScheme("cens"); err == nil {
		t.Error("cens was taken")
	}
	if (*Stream)(nil).Scheme() != None || (*Stream)(nil).Rotates() {
		t.Error("no stream is encrypted")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(idText + ":" + keyText + "\n#\n" + keyText + ":" + idText + ":" + ivText))
	f.Add([]byte(":::\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := Parse(b)
		if err == nil && len(l) == 0 {
			t.Fatal("no keys, no error")
		}
	})
}
