package index

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/cleave-video/cleave/store"
)

// Rebuilt says what Rebuild found.
type Rebuilt struct {
	Objects int     // in the store, without those skipped
	Entries int     // added to the index
	Known   int     // chunks that the index had, or that came before its last
	Others  int     // objects that do not describe themselves
	Damaged []error // *CorruptError, of at most 100 objects
	Lost    int     // objects that are damaged, all of them
}

// RebuildConfig says how Rebuild goes about it. Zero values mean the defaults.
type RebuildConfig struct {
	Prefix   string                // of the objects to look at; all
	Parallel int                   // objects read at a time; 8
	Skip     func(store.Info) bool // objects not to be read, if set: those that the caller knows
	Progress func(objects, of int) // called now and then, by one goroutine at a time
}

func (c RebuildConfig) withDefaults() RebuildConfig {
	if c.Parallel <= 0 {
		c.Parallel = 8
	}
	if c.Progress == nil {
		c.Progress = func(int, int) {}
	}
	return c
}

// Rebuild adds to an index the chunks of a store that come behind the last entry of
// their stream; to an empty one it adds all. It takes about 200 bytes of memory for
// each. Objects that are damaged are reported and left out; other errors of the
// store end it, before anything was added.
func Rebuild(ctx context.Context, s store.Store, ix Index, c RebuildConfig) (*Rebuilt, error) {
	c = c.withDefaults()
	var keys []string
	for info, err := range s.List(ctx, c.Prefix) {
		if err != nil {
			return nil, fmt.Errorf("index: list: %w", err)
		}
		if c.Skip == nil || !c.Skip(info) {
			keys = append(keys, info.Key)
		}
	}
	r := &rebuild{Rebuilt: Rebuilt{Objects: len(keys)}, s: s, c: c, streams: make(map[string][]Entry)}
	if err := r.readAll(ctx, keys); err != nil {
		return nil, err
	}
	for name, list := range r.streams {
		if err := r.add(ctx, ix, name, list); err != nil {
			return &r.Rebuilt, fmt.Errorf("index: stream %s: %w", name, err)
		}
	}
	return &r.Rebuilt, nil
}

type rebuild struct {
	Rebuilt
	s store.Store
	c RebuildConfig

	mu      sync.Mutex // guards what follows, and Rebuilt
	streams map[string][]Entry
	read    int
}

// readAll reads the description of each object.
func (r *rebuild) readAll(ctx context.Context, keys []string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	todo := make(chan string)
	var group sync.WaitGroup
	for range r.c.Parallel {
		group.Go(func() {
			for key := range todo {
				if err := r.readOne(ctx, key, len(keys)); err != nil {
					cancel(fmt.Errorf("index: %s: %w", key, err))
				}
			}
		})
	}
	for _, key := range keys {
		select {
		case todo <- key:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(todo)
	group.Wait()
	return context.Cause(ctx)
}

func (r *rebuild) readOne(ctx context.Context, key string, of int) error {
	o, err := r.s.Open(ctx, key)
	if errors.Is(err, store.ErrNotExist) {
		return nil // deleted meanwhile
	}
	if err != nil {
		return err
	}
	defer o.Close()
	stream, e, err := ReadDescription(o, key)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.read++; r.read%100 == 0 || r.read == of {
		r.c.Progress(r.read, of)
	}
	var damage *CorruptError
	switch {
	case errors.Is(err, ErrNoDescription):
		r.Others++
	case errors.As(err, &damage):
		r.damaged(err)
	case err != nil:
		return err
	default:
		r.streams[stream] = append(r.streams[stream], e)
	}
	return nil
}

// maxDamaged is how many damaged objects are named.
const maxDamaged = 100

// damaged notes an object that is left out. r.mu is held, or nobody else reads.
func (r *rebuild) damaged(err error) {
	if r.Lost++; len(r.Damaged) < maxDamaged {
		r.Damaged = append(r.Damaged, err)
	}
}

// perAdd is how many entries are added at a time.
const perAdd = 4096

// add adds the entries of a stream that come behind its last one, in order.
func (r *rebuild) add(ctx context.Context, ix Index, name string, list []Entry) error {
	slices.SortFunc(list, func(a, b Entry) int { return cmp.Or(cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Seq, b.Seq)) })
	last, err := ix.Last(ctx, name)
	some := err == nil
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	fresh := list[:0]
	for i := range list {
		if some && !behind(&list[i], &last) {
			r.Known++
			continue
		}
		some, last = true, list[i]
		fresh = append(fresh, list[i])
	}
	for part := range slices.Chunk(fresh, perAdd) {
		if err := addAll(ctx, ix, name, part); err != nil {
			return err
		}
		r.Entries += len(part)
	}
	return nil
}

func addAll(ctx context.Context, ix Index, name string, list []Entry) error {
	if b, ok := ix.(Batcher); ok {
		return b.AddAll(ctx, name, list)
	}
	for i := range list {
		if err := ix.Add(ctx, name, list[i]); err != nil {
			return err
		}
	}
	return nil
}
