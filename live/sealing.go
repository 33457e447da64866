package live

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cleave-video/cleave/index"
	"github.com/cleave-video/cleave/seal"
	"github.com/cleave-video/cleave/seal/vault"
)

// Errors of encrypted streams.
var (
	// ErrSealed is what viewers of packets get of a stream that is encrypted.
	ErrSealed = errors.New("live: the stream is encrypted: its packets are not given out in the clear")
	// ErrKey is returned by Publish if there is no key to encrypt with.
	ErrKey = errors.New("live: there is no key to encrypt with")
)

// Sealing says how a stream is encrypted. It must not change.
type Sealing struct {
	Scheme seal.Scheme
	Vault  *vault.Vault // where its keys are kept
	Supply seal.Supply  // where they come from
	// A new key comes after so many chunks, or after so much time; both 0: when the
	// server is started anew.
	Chunks uint64
	Every  time.Duration
	// AllowClear lets viewers of packets see them.
	AllowClear bool
	// What players are told: the URI of a key, with "{kid}" for its ID, empty: it is
	// below the stream; whether they leave samples to ClearKey; and where its clients
	// ask for keys, empty: nowhere.
	KeyURL     string
	ClearKey   bool
	LicenseURL string
}

// Validate reports what is wrong with x on a server that lists parts or does not.
func (x *Sealing) Validate(parts bool) error {
	switch {
	case x.Scheme != seal.AES128 && !x.Scheme.Samples():
		return fmt.Errorf("live: %q is no scheme of encryption", x.Scheme)
	case x.Scheme == seal.AES128 && parts:
		return errors.New("live: aes-128 encrypts whole segments, and parts of them are listed: choose cbcs or cenc, or switch low latency off")
	case x.Scheme == seal.AES128 && (x.ClearKey || x.LicenseURL != ""):
		return errors.New("live: with aes-128 the player has the key itself: ClearKey decrypts samples only")
	case x.Vault == nil || x.Supply == nil:
		return errors.New("live: encryption without keys")
	case x.Chunks > 0 && x.Every > 0:
		return errors.New("live: keys change by chunks or by time, not both")
	case x.Every < 0 || x.Every > 0 && x.Every < time.Second:
		return fmt.Errorf("live: keys change every %v: it must be a second at least", x.Every)
	}
	return nil
}

// KeysDir is the folder of keys below a stream, and KeySuffix ends their names there.
const (
	KeysDir   = "keys"
	KeySuffix = ".key"
)

// KeyURI is the URI of a key; up leads to the folder of the stream.
func (x *Sealing) KeyURI(id [16]byte, up string) string {
	name := hex.EncodeToString(id[:])
	if x.KeyURL == "" {
		return up + KeysDir + "/" + name + KeySuffix
	}
	return strings.ReplaceAll(x.KeyURL, "{kid}", name)
}

func (x *Sealing) rotates() bool { return x.Chunks > 0 || x.Every > 0 }

// Sealed says how a segment is encrypted.
type Sealed struct {
	KeyID [16]byte // its initialization section names it, too
	IV    [16]byte // of all of it, under AES-128: then that names none
}

// sealer is the encryption of a stream. Where nothing else is said, its methods belong
// to the publisher's goroutine.
type sealer struct {
	cfg    *Sealing
	name   string
	log    *slog.Logger
	keys   atomic.Pointer[vault.Keys] // nil: nothing was published yet
	stream *seal.Stream
	plan   plan
	given  []given // the keys that were taken, newest last
	number uint64  // of given[0]

	wakes  broadcast
	mu     sync.Mutex // guards what follows
	chunk  uint64     // that opened last
	wanted int        // keys that are planned and not there
	failed bool       // the last try to get one
	ready  []ready    // keys that can be asked for and are not in use, oldest first
}

// given is a key and the first chunk that has it.
type given struct {
	key   seal.Key
	first uint64
}

// ready is a key and the first chunk that may have it.
type ready struct {
	key  seal.Key
	from uint64
}

// firstKey is how long the first key may take.
const firstKey = 10 * time.Second

// begin readies the first key of the stream's life in this process: a new one, or if
// that cannot be had the last one that the stream had.
func (x *sealer) begin(ctx context.Context) error {
	if x.stream != nil {
		return nil
	}
	keys, err := x.cfg.Vault.Stream(x.name)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrKey, err)
	}
	ctx, cancel := context.WithTimeout(ctx, firstKey)
	defer cancel()
	key, err := x.obtain(ctx, keys)
	if last := keys.Newest(1); err != nil && len(last) > 0 {
		if !errors.Is(err, seal.ErrNoKey) {
			x.log.Error("no new key: the last one stays", "stream", x.name, "error", err)
		}
		key, err = last[0], nil
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrKey, err)
	}
	cfg := seal.Config{Scheme: x.cfg.Scheme, Keys: x}
	if x.cfg.rotates() {
		cfg.Number = x.numberOf
	}
	if x.stream, err = seal.NewStream(cfg); err != nil {
		return fmt.Errorf("%w: %w", ErrKey, err)
	}
	x.plan = plan{chunks: x.cfg.Chunks, every: x.cfg.Every}
	x.given = []given{{key: key}}
	x.keys.Store(keys)
	return nil
}

// obtain gets the next key and keeps it: from then on it can be asked for.
func (x *sealer) obtain(ctx context.Context, keys *vault.Keys) (seal.Key, error) {
	var last *seal.Key
	if n := keys.Newest(1); len(n) > 0 {
		last = &n[0]
	}
	key, err := x.cfg.Supply.Next(ctx, x.name, keys.Count(), last)
	if err != nil {
		return key, err
	}
	return key, keys.Add(key)
}

// Key implements seal.Source.
func (x *sealer) Key(n uint64) (seal.Key, error) {
	if n < x.number || n-x.number >= uint64(len(x.given)) {
		return seal.Key{}, fmt.Errorf("%w: number %d", seal.ErrNoKey, n)
	}
	return x.given[n-x.number].key, nil
}

// numberOf returns the number of a chunk's key.
func (x *sealer) numberOf(chunk uint64) uint64 {
	i := len(x.given) - 1
	for i > 0 && x.given[i].first > chunk {
		i--
	}
	return x.number + uint64(i)
}

// maxGiven is how many keys are remembered, for chunks that are still open.
const maxGiven = 32

// opens returns the period of a chunk that opens, at a time of day, and has the keys
// readied of those that come. The keys change when the one that is due has been there to
// be asked for since two chunks. Who is patient waits for those that are to be readied.
func (x *sealer) opens(ctx context.Context, chunk uint64, at time.Time, patient bool) (*seal.Period, error) {
	if x.cfg.rotates() {
		x.advance(chunk, at)
		for patient && ctx.Err() == nil {
			woken := x.wakes.wait()
			if !x.waits() {
				break
			}
			select {
			case <-woken:
			case <-ctx.Done():
			}
		}
	}
	return x.stream.Period(chunk)
}

// advance takes the key that is due, if it is ready, and orders the next.
func (x *sealer) advance(chunk uint64, at time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.chunk = chunk
	if x.plan.due(chunk) && len(x.ready) > 0 && x.ready[0].from <= chunk {
		x.plan.take(chunk, at)
		x.given = append(x.given, given{x.ready[0].key, chunk})
		x.ready = append(x.ready[:0], x.ready[1:]...)
		if drop := len(x.given) - maxGiven; drop > 0 {
			x.given = append(x.given[:0], x.given[drop:]...)
			x.number += uint64(drop)
		}
	}
	if x.plan.open(chunk, at) {
		x.wanted++
		x.wakes.wake()
	}
}

// waits reports whether keys are on their way.
func (x *sealer) waits() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.wanted > 0 && !x.failed
}

// How long to wait before a key is asked for again, doubled with each failure.
const (
	keyRetry    = time.Second
	keyRetryMax = 30 * time.Second
)

// run readies the keys that are ordered, until ctx is done. It has a goroutine of its
// own. While there is no new key the last one stays in use.
func (x *sealer) run(ctx context.Context) {
	wait := keyRetry
	for {
		woken := x.wakes.wait()
		if !x.orders() {
			select {
			case <-woken:
				continue
			case <-ctx.Done():
				return
			}
		}
		key, err := x.obtain(ctx, x.keys.Load())
		if err == nil {
			x.show(key)
			wait = keyRetry
			continue
		}
		if ctx.Err() != nil {
			return
		}
		x.fail(err)
		select {
		case <-time.After(wait/2 + rand.N(wait/2)):
		case <-ctx.Done():
			return
		}
		wait = min(2*wait, keyRetryMax)
	}
}

func (x *sealer) orders() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.wanted > 0
}

// show notes that a key can be asked for, while the chunk is open that opened last.
func (x *sealer) show(key seal.Key) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.ready = append(x.ready, ready{key, x.chunk + keyNotice})
	x.wanted--
	x.failed = false
	x.wakes.wake()
}

func (x *sealer) fail(err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.failed {
		x.log.Error("no new key: the last one stays", "stream", x.name, "error", err)
	}
	x.failed = true
	x.wakes.wake()
}

// upcoming lists the IDs of keys that can be asked for and are not in use.
func (x *sealer) upcoming() (ids [][16]byte) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for i := range x.ready {
		ids = append(ids, x.ready[i].key.ID)
	}
	return ids
}

// newSealer returns the encryption of the stream of that name, nil if it has none.
func (h *Hub) newSealer(name string) *sealer {
	cfg := h.Sealing(name)
	if cfg == nil {
		return nil
	}
	return &sealer{cfg: cfg, name: name, log: h.cfg.Log}
}

// Sealing returns how the stream is encrypted, nil if it is not.
func (s *Stream) Sealing() *Sealing {
	if s.sealer == nil {
		return nil
	}
	return s.sealer.cfg
}

// Guarded returns ErrSealed if viewers of packets are turned away.
func (s *Stream) Guarded() error {
	if x := s.Sealing(); x != nil && !x.AllowClear {
		return ErrSealed
	}
	return nil
}

// manyKeys is how many are kept before it is looked whether some can be forgotten, and
// look how many entries of the index are looked at.
const (
	manyKeys = 128
	look     = 1024
)

// forgetKeys gives up the keys before the oldest one that the index has use for.
func (s *Stream) forgetKeys(ctx context.Context) {
	ix := s.hub.cfg.Index
	if s.sealer == nil || ix == nil {
		return
	}
	keys := s.sealer.keys.Load()
	if keys == nil || keys.Len() < manyKeys {
		return
	}
	var id [16]byte
	n := 0
	for e, err := range ix.Range(ctx, s.name, time.Time{}, time.Time{}) {
		if n++; err != nil || n > look {
			return
		}
		if id = keyOf(&e); id != [16]byte{} {
			break
		}
	}
	if err := keys.Forget(id); err != nil {
		s.hub.cfg.Log.Warn("keys", "stream", s.name, "error", err)
	}
}

func keyOf(e *index.Entry) (id [16]byte) {
	for i := range e.Tracks {
		if id = e.Tracks[i].KeyID; id != [16]byte{} {
			break
		}
	}
	return id
}
