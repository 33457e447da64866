package index

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cleave-video/cleave/store"
)

// Replacer is an optional ability of an Index.
type Replacer interface {
	// Replace makes list all entries of the stream, at once. If it is empty, numbers
	// go on from the last entry that there was.
	Replace(ctx context.Context, stream string, list []Entry) error
}

// Repairer is an optional ability of an Index.
type Repairer interface {
	// Repair makes a stream readable again of which reads return *CorruptError, and
	// returns how many entries are left.
	Repair(ctx context.Context, stream string) (int, error)
}

// Reconciled says what Reconcile found.
type Reconciled struct {
	Objects  int     // in the store, without those skipped
	Entries  int     // in the index afterwards
	Adopted  int     // objects that had no entry and have one now
	Deleted  int     // objects whose entries had been dropped before the crash
	Dropped  int     // entries whose object is not there, or is another
	Repaired int     // streams whose entries could not be read
	Damaged  []error // objects that have no entry and are not right, of at most 100
	Lost     int     // all of those
}

// Changed reports whether index and store differed.
func (r *Reconciled) Changed() bool {
	return r.Adopted+r.Deleted+r.Dropped+r.Repaired+r.Lost > 0
}

// Reconcile makes an index and a store equal that a crash may have left a step apart.
// Chunks that are stored and not indexed get their entry, if they come behind the last
// one of their stream or were never in it; those before the first entry were dropped,
// and are deleted. Entries whose object is missing, or has another size, are dropped;
// where the store is a KeyLister, only the newest are asked for their size. skip says of
// a key that it is no chunk's; nil: of none. Nobody may add to either
// meanwhile.
func Reconcile(ctx context.Context, s store.Store, ix Index, skip func(key string) bool) (*Reconciled, error) {
	r := &reconciler{rebuild: rebuild{s: s, c: RebuildConfig{}.withDefaults(), streams: make(map[string][]Entry)}, ix: ix, known: make(map[string]*place), had: make(map[string]*had)}
	var group sync.WaitGroup
	var objects []store.Info
	var listed error
	group.Go(func() { objects, listed = r.list(ctx, skip) })
	err := r.readIndex(ctx)
	group.Wait()
	if err = errors.Join(err, listed); err != nil {
		return nil, err
	}
	strange, err := r.strange(ctx, objects)
	if err != nil {
		return nil, err
	}
	if err := r.readAll(ctx, strange); err != nil {
		return nil, err
	}
	for name := range r.streams {
		if r.had[name] == nil {
			r.had[name] = &had{}
		}
	}
	for name, h := range r.had {
		if err := r.stream(ctx, name, h); err != nil {
			return nil, fmt.Errorf("index: stream %s: %w", name, err)
		}
	}
	r.out.Damaged, r.out.Lost = r.Damaged, r.Lost
	return &r.out, nil
}

// unknown is the size of an object that was not asked for.
const unknown = -1

// list returns the objects of the store, without their sizes where keys cost less.
func (r *reconciler) list(ctx context.Context, skip func(key string) bool) (out []store.Info, _ error) {
	add := func(i store.Info) {
		if skip == nil || !skip(i.Key) {
			out = append(out, i)
		}
	}
	if l, ok := r.s.(store.KeyLister); ok {
		for key, err := range l.Keys(ctx, "") {
			if err != nil {
				return nil, fmt.Errorf("index: list: %w", err)
			}
			add(store.Info{Key: key, Size: unknown})
		}
		return out, nil
	}
	for info, err := range r.s.List(ctx, "") {
		if err != nil {
			return nil, fmt.Errorf("index: list: %w", err)
		}
		add(info)
	}
	return out, nil
}

// measured is how many of the newest chunks of a stream are asked for their size, where
// a listing does not tell: no crash makes an older one shorter.
const measured = 256

// strange returns the objects that no entry claims.
func (r *reconciler) strange(ctx context.Context, objects []store.Info) (out []string, err error) {
	r.out.Objects = len(objects)
	for i := range objects {
		o := &objects[i]
		p := r.known[o.Key]
		if p != nil && o.Size == unknown && len(p.in.places)-p.at <= measured {
			if o.Size, err = r.size(ctx, o.Key); err != nil {
				return nil, err
			}
		}
		if p != nil && (o.Size == unknown || o.Size == p.size) {
			p.there = true
		} else {
			out = append(out, o.Key)
		}
	}
	return out, nil
}

func (r *reconciler) size(ctx context.Context, key string) (int64, error) {
	o, err := r.s.Open(ctx, key)
	if err != nil {
		return 0, fmt.Errorf("index: %s: %w", key, err)
	}
	defer o.Close()
	return o.Size(), nil
}

type reconciler struct {
	rebuild // reads objects without an entry
	ix      Index
	known   map[string]*place // by key
	had     map[string]*had
	out     Reconciled
}

// place is an entry's claim of an object.
type place struct {
	size  int64
	there bool // it is
	in    *had
	at    int // of in.places
}

// had is what the index has of a stream.
type had struct {
	places   []*place
	first    Entry // of places
	last     Entry // also if it was dropped
	some     bool  // there is a last one
	repaired bool
}

// readIndex notes what each entry claims.
func (r *reconciler) readIndex(ctx context.Context) error {
	streamer, ok := r.ix.(Streamer)
	if !ok {
		return errors.New("index: streams cannot be listed")
	}
	for name, err := range streamer.Streams(ctx) {
		if err != nil {
			return err
		}
		h := &had{}
		r.had[name] = h
		err := r.readStream(ctx, name, h)
		var damage *CorruptError
		if errors.As(err, &damage) {
			repairer, ok := r.ix.(Repairer)
			if !ok {
				return err
			}
			*h = had{repaired: true}
			r.out.Repaired++
			if _, err := repairer.Repair(ctx, name); err != nil {
				return err
			}
			err = r.readStream(ctx, name, h)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *reconciler) readStream(ctx context.Context, name string, h *had) error {
	err := walk(ctx, r.ix, name, func(e *Entry) bool {
		if len(h.places) == 0 {
			h.first = Entry{Epoch: e.Epoch, Seq: e.Seq, Object: e.Object}
		}
		p := &place{size: e.Size, there: e.Object == "", in: h, at: len(h.places)} // a gap has none
		h.places = append(h.places, p)
		if !p.there {
			r.known[e.Object] = p
		}
		return true
	})
	if err != nil {
		return err
	}
	last, err := r.ix.Last(ctx, name)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	h.last, h.some = last, err == nil
	return err
}

// stream makes one stream equal.
func (r *reconciler) stream(ctx context.Context, name string, h *had) error {
	missing := 0
	for _, p := range h.places {
		if !p.there {
			missing++
		}
	}
	found := r.streams[name]
	slices.SortFunc(found, order)
	if err := r.deleteDropped(ctx, h, &found); err != nil {
		return err
	}
	r.out.Entries += len(h.places) - missing
	switch {
	case missing == 0 && len(found) == 0:
		return nil
	case missing == 0 && (!h.some || behind(&found[0], &h.last)):
		r.out.Adopted += len(found)
		r.out.Entries += len(found)
		return r.append(ctx, name, found)
	}
	return r.replace(ctx, name, found, missing)
}

func order(a, b Entry) int { return cmp.Or(cmp.Compare(a.Seq, b.Seq), cmp.Compare(a.Epoch, b.Epoch)) }

func behind(e, last *Entry) bool { return e.Seq > last.Seq && e.Epoch >= last.Epoch }

// deleteDropped deletes the objects whose entries were dropped, which is done first
// when retention lets a chunk go, and takes them out of found.
func (r *reconciler) deleteDropped(ctx context.Context, h *had, found *[]Entry) error {
	if !h.some || h.repaired {
		return nil
	}
	kept := (*found)[:0]
	for i := range *found {
		e := &(*found)[i]
		if behind(e, &h.last) || len(h.places) > 0 && behind(e, &h.first) {
			kept = append(kept, *e)
			continue
		}
		if len(h.places) > 0 && e.Seq == h.first.Seq && e.Object == h.first.Object {
			kept = append(kept, *e) // its entry has another size
			continue
		}
		if err := r.s.Delete(ctx, e.Object); err != nil {
			return err
		}
		r.out.Deleted++
	}
	*found = kept
	return nil
}

// append adds entries behind the last one.
func (r *reconciler) append(ctx context.Context, name string, list []Entry) error {
	for part := range slices.Chunk(list, perAdd) {
		if err := addAll(ctx, r.ix, name, part); err != nil {
			return err
		}
	}
	return nil
}

// replace writes a stream's entries anew: those whose object is there, and found.
func (r *reconciler) replace(ctx context.Context, name string, found []Entry, missing int) error {
	replacer, ok := r.ix.(Replacer)
	if !ok {
		return errors.New("its entries cannot be replaced")
	}
	var list []Entry
	for e, err := range r.ix.Range(ctx, name, time.Time{}, time.Time{}) {
		if err != nil {
			return err
		}
		if p := r.known[e.Object]; p == nil || p.there {
			list = append(list, e)
		}
	}
	list = append(list, found...)
	slices.SortFunc(list, order)
	kept := list[:0]
	for i := range list {
		if n := len(kept); n > 0 && !behind(&list[i], &kept[n-1]) {
			r.damaged(&CorruptError{Path: list[i].Object, Why: "its number is that of another, or its epoch is older"})
			continue
		}
		kept = append(kept, list[i])
	}
	r.out.Adopted += max(0, len(kept)+missing-len(r.had[name].places))
	r.out.Dropped += missing
	r.out.Entries += len(found)
	return replacer.Replace(ctx, name, kept)
}
