// Package seal encrypts samples and segments: common encryption of samples by
// cbcs and cenc (ISO 23001-7), and AES-128 of whole segments (RFC 8216bis
// 4.4.4.4).
//
// A Stream has the keys of one stream, which may change from chunk to chunk; its
// Tracks say of each fragment what must be written beside the samples, and seal
// the samples on their way to where they are rendered. No clear byte that should
// be sealed is ever written there. A Stream and its Tracks belong to one
// goroutine.
package seal

import (
	"cmp"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/format/hls"
)

// Scheme is how a stream is encrypted.
type Scheme string

// The schemes.
const (
	None   Scheme = "none"
	AES128 Scheme = "aes-128" // whole segments, CBC
	CBCS   Scheme = "cbcs"    // samples, CBC by pattern
	CENC   Scheme = "cenc"    // samples, CTR
)

// ParseScheme reads the name of a scheme; "" is None.
func ParseScheme(s string) (Scheme, error) {
	switch x := Scheme(s); x {
	case "":
		return None, nil
	case None, AES128, CBCS, CENC:
		return x, nil
	}
	return None, fmt.Errorf("seal: %q is not none, aes-128, cbcs or cenc", s)
}

// Samples reports whether the scheme encrypts samples, so that a fragment is
// sealed as soon as it is rendered.
func (s Scheme) Samples() bool { return s == CBCS || s == CENC }

// Method is the METHOD of the scheme's EXT-X-KEY. RFC 8216bis 4.4.4.4
func (s Scheme) Method() string {
	switch s {
	case AES128:
		return hls.MethodAES128
	case CBCS:
		return hls.MethodSampleAES
	case CENC:
		return hls.MethodSampleAESCTR
	}
	return hls.MethodNone
}

// Key is a content key and its name.
type Key struct {
	ID  [16]byte
	Key [16]byte
	IV  [16]byte // of every sample under cbcs; the other schemes do not use it
}

// Name is the ID in hexadecimal, as URIs have it.
func (k *Key) Name() string { return hex.EncodeToString(k.ID[:]) }

// Source gives the keys of a stream by number, from 0. It may block. The same
// number gives the same key, no two the same one, ID or, for cbcs, IV. It returns ErrNoKey if it has no
// such key and will not have it.
type Source interface {
	Key(n uint64) (Key, error)
}

// ErrNoKey says that a Source has fewer keys than are wanted.
var ErrNoKey = errors.New("there is no such key")

// Config is what a Stream is made of.
type Config struct {
	Scheme Scheme
	Keys   Source
	// Rotation is how many chunks have the same key; 0: all.
	Rotation uint64
	// Number, in place of Rotation, says which key a chunk has. A later chunk has no
	// lower number.
	Number func(chunk uint64) uint64
}

// Stream is the sealing of one stream.
type Stream struct {
	cfg     Config
	recent  []*Period
	lost    uint64  // periods below are not remembered
	current *Period // the newest asked for
}

// keepPeriods is how many periods a Stream remembers. A chunk that is closing
// lies a chunk or two behind the one that is open.
const keepPeriods = 16

// NewStream returns a Stream that has asked for no key yet.
func NewStream(c Config) (*Stream, error) {
	switch {
	case c.Scheme != AES128 && !c.Scheme.Samples():
		return nil, fmt.Errorf("seal: %q is no scheme of encryption", c.Scheme)
	case c.Keys == nil:
		return nil, errors.New("seal: no source of keys")
	}
	return &Stream{cfg: c}, nil
}

// Scheme returns the scheme, None if s is nil.
func (s *Stream) Scheme() Scheme {
	if s == nil {
		return None
	}
	return s.cfg.Scheme
}

// Rotates reports whether keys change.
func (s *Stream) Rotates() bool { return s != nil && (s.cfg.Rotation > 0 || s.cfg.Number != nil) }

// Period is the chunks that have one key. Under cenc it counts the initialization
// vectors, over all tracks, so that none is ever used twice with its key.
type Period struct {
	Number uint64
	Key    Key
	block  cipher.Block
	next   uint64 // IV of the next sample
	cbc    [16]byte
	ctr    [ctrBatch]byte
}

// Period returns the period of a chunk by the chunk's number. The error is the
// Source's.
func (s *Stream) Period(chunk uint64) (*Period, error) {
	n := uint64(0)
	switch {
	case s.cfg.Number != nil:
		n = s.cfg.Number(chunk)
	case s.cfg.Rotation > 0:
		n = chunk / s.cfg.Rotation
	}
	for _, p := range s.recent {
		if p.Number == n {
			return p, nil
		}
	}
	if n < s.lost {
		// Its vectors are forgotten; counting them anew would use some twice.
		return nil, fmt.Errorf("seal: chunk %d: its key, number %d, was given up for later ones", chunk, n)
	}
	p, err := s.open(n)
	if err != nil {
		return nil, fmt.Errorf("seal: key %d: %w", n, err)
	}
	if len(s.recent) == keepPeriods {
		oldest := slices.MinFunc(s.recent, func(a, b *Period) int { return cmp.Compare(a.Number, b.Number) })
		s.lost = oldest.Number + 1
		s.recent = slices.DeleteFunc(s.recent, func(p *Period) bool { return p == oldest })
	}
	s.recent = append(s.recent, p)
	if s.current == nil || n > s.current.Number {
		s.current = p
	}
	return p, nil
}

func (s *Stream) open(n uint64) (*Period, error) {
	key, err := s.cfg.Keys.Key(n)
	if err != nil {
		return nil, err
	}
	for _, p := range s.recent {
		if p.Key.Key == key.Key || p.Key.ID == key.ID {
			return nil, fmt.Errorf("%w: key %s is that of number %d, too", av.ErrInvalid, key.Name(), p.Number)
		}
		if s.cfg.Scheme == CBCS && p.Key.IV == key.IV {
			return nil, fmt.Errorf("%w: key %s has the initialization vector of number %d", av.ErrInvalid, key.Name(), p.Number)
		}
	}
	block, err := aes.NewCipher(key.Key[:])
	if err != nil {
		return nil, err
	}
	// The vectors begin anywhere, so that a key from a file that seals a second
	// stream does so with other ones.
	var first [8]byte
	_, _ = rand.Read(first[:]) // never fails
	return &Period{Number: n, Key: key, block: block, next: binary.BigEndian.Uint64(first[:])}, nil
}
