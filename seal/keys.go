package seal

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"os"

	"github.com/cleave-video/cleave/av"
)

// Generated is a Source of random keys, made as they are asked for and kept. It
// belongs to one goroutine.
type Generated struct{ keys []Key }

// NewGenerated returns a Source without keys yet.
func NewGenerated() *Generated { return &Generated{} }

// maxGenerated bounds the keys of a Generated.
const maxGenerated = 1 << 20

// Key implements Source.
func (g *Generated) Key(n uint64) (Key, error) {
	if n >= maxGenerated {
		return Key{}, fmt.Errorf("%w: at most %d are made", ErrNoKey, maxGenerated)
	}
	for uint64(len(g.keys)) <= n {
		g.keys = append(g.keys, newKey())
	}
	return g.keys[n], nil
}

// List is a Source of given keys.
type List []Key

// Key implements Source.
func (l List) Key(n uint64) (Key, error) {
	if n >= uint64(len(l)) {
		return Key{}, fmt.Errorf("%w: %d are given", ErrNoKey, len(l))
	}
	return l[n], nil
}

// Bounds of a file of keys.
const (
	maxKeyFile = 1 << 20
	maxKeys    = 1 << 14
)

// ReadFile reads a file of keys. See Parse.
func ReadFile(name string) (List, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, err
	}
	l, err := Parse(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return l, nil
}

// Parse reads keys, one a line: the key's ID, a colon, the key, and after another
// colon, if cbcs shall use that one, the initialization vector; each in 32
// hexadecimal digits. A vector that is not given is made at random. Empty lines
// and those that begin with # are skipped. The error wraps av.ErrInvalid or
// av.ErrTooLarge, names the line, and shows nothing of what stands there.
func Parse(b []byte) (List, error) {
	if len(b) > maxKeyFile {
		return nil, fmt.Errorf("seal: keys: %w: more than %d bytes", av.ErrTooLarge, maxKeyFile)
	}
	var l List
	var at [2]map[[16]byte]int // lines of IDs and of keys
	at[0], at[1] = make(map[[16]byte]int), make(map[[16]byte]int)
	line := 0
	for text := range bytes.Lines(b) {
		line++
		text = bytes.TrimSpace(text)
		if len(text) == 0 || text[0] == '#' {
			continue
		}
		k, err := parseKey(text)
		if err != nil {
			return nil, fmt.Errorf("seal: keys: line %d: %w", line, err)
		}
		for i, x := range [][16]byte{k.ID, k.Key} {
			if other := at[i][x]; other > 0 {
				return nil, fmt.Errorf("seal: keys: line %d: %w: %s is that of line %d", line, av.ErrInvalid, keyPart(i), other)
			}
			at[i][x] = line
		}
		if len(l) == maxKeys {
			return nil, fmt.Errorf("seal: keys: %w: more than %d", av.ErrTooLarge, maxKeys)
		}
		l = append(l, k)
	}
	if len(l) == 0 {
		return nil, fmt.Errorf("seal: keys: %w: there are none", av.ErrInvalid)
	}
	return l, nil
}

func parseKey(text []byte) (k Key, err error) {
	parts := bytes.Split(text, []byte{':'})
	if len(parts) < 2 || len(parts) > 3 {
		return k, fmt.Errorf("%w: not ID:KEY or ID:KEY:IV", av.ErrInvalid)
	}
	for i, dst := range [][]byte{k.ID[:], k.Key[:], k.IV[:]} {
		if i == len(parts) {
			_, _ = rand.Read(dst) // never fails
			break
		}
		p := bytes.TrimSpace(parts[i])
		if len(p) != 2*len(dst) {
			return k, fmt.Errorf("%w: %s has %d digits, not 32", av.ErrInvalid, keyPart(i), len(p))
		}
		if _, err := hex.Decode(dst, p); err != nil {
			return k, fmt.Errorf("%w: %s is not hexadecimal", av.ErrInvalid, keyPart(i))
		}
	}
	return k, nil
}

func keyPart(i int) string { return [...]string{"ID", "KEY", "IV"}[i] }
