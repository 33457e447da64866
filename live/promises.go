package live

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/cleave-video/cleave/internal/whole"
)

// promise says that chunks of a range were in playlists of up to a length.
type promise struct {
	From   time.Time     `json:"from"`
	To     time.Time     `json:"to"`
	Length time.Duration `json:"length"`
}

const (
	// A promise is made for a little more than was asked for, so that who asks again in a
	// moment, for a little later, needs no other one.
	aheadOfPromise = 10 * time.Minute
	// maxPromises is how many of a stream are told apart.
	maxPromises = 16
)

// promises are what playlists of ranges have promised, by the name of the stream. They
// are in a file, since they outlive the process.
type promises struct {
	path string // empty: they do not

	mu  sync.Mutex // guards all
	all map[string][]promise
}

// promisesFile is the format of the file.
type promisesFile struct {
	Version int                  `json:"version"`
	Streams map[string][]promise `json:"streams"`
}

// open reads the file.
func (p *promises) open() error {
	p.all = make(map[string][]promise)
	if p.path == "" {
		return nil
	}
	b, err := os.ReadFile(p.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	f := promisesFile{}
	if err == nil {
		err = json.Unmarshal(b, &f)
	}
	switch {
	case err != nil:
		return fmt.Errorf("live: %s: %w", p.path, err)
	case f.Version != 1:
		return fmt.Errorf("live: %s: version %d", p.path, f.Version)
	}
	maps.Copy(p.all, f.Streams)
	return nil
}

// add notes a playlist of a range, unless that is promised already.
func (p *promises) add(name string, from, to time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.all[name]
	length := to.Sub(from)
	if slices.ContainsFunc(list, func(o promise) bool { return !o.From.After(from) && !o.To.Before(to) && o.Length >= length }) {
		return nil
	}
	add := promise{from.Truncate(time.Second), to.Add(aheadOfPromise), (length + time.Minute).Truncate(time.Second)}
	kept := []promise{}
	for _, o := range list {
		if o.Length <= add.Length && !o.From.Before(add.From) && !o.To.After(add.To) {
			continue // it is part of the new one
		}
		kept = append(kept, o)
	}
	for len(kept) >= maxPromises {
		last := kept[len(kept)-1]
		kept = kept[:len(kept)-1]
		add = add.or(last)
	}
	p.all[name] = append(kept, add)
	return p.write()
}

// or is what promises both.
func (a promise) or(b promise) promise {
	if b.From.Before(a.From) {
		a.From = b.From
	}
	if b.To.After(a.To) {
		a.To = b.To
	}
	a.Length = max(a.Length, b.Length)
	return a
}

// length is that of the longest playlist that a chunk was in.
func (p *promises) length(name string, from, to time.Time) (longest time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, o := range p.all[name] {
		if o.From.Before(to) && o.To.After(from) {
			longest = max(longest, o.Length)
		}
	}
	return longest
}

// forget forgets what was promised of chunks that ended by a time: these are gone.
func (p *promises) forget(name string, ended time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.all[name]
	list := slices.DeleteFunc(slices.Clone(old), func(o promise) bool { return !o.To.After(ended) })
	if len(list) == len(old) {
		return nil
	}
	if p.all[name] = list; len(list) == 0 {
		delete(p.all, name)
	}
	return p.write()
}

// write replaces the file. mu is held.
func (p *promises) write() error {
	if p.path == "" {
		return nil
	}
	b, err := json.Marshal(promisesFile{1, p.all})
	if err != nil {
		return err
	}
	dir := filepath.Dir(p.path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	err = whole.WriteFile(p.path, func(w io.Writer) error {
		_, err := w.Write(append(b, '\n'))
		return err
	})
	if err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
