package live

import (
	"context"
	"errors"
	"fmt"

	"github.com/cleave-video/cleave/chunk"
	"github.com/cleave-video/cleave/index"
	"github.com/cleave-video/cleave/live/journal"
	"github.com/cleave-video/cleave/mem"
	"github.com/cleave-video/cleave/store"
)

// openJournal begins to keep the parts of chunks until they are committed. A stream whose
// parts cannot be kept goes on without.
func (p *publisher) openJournal() {
	dir := p.s.hub.cfg.Journal
	if dir == "" {
		return
	}
	w, err := journal.NewWriter(journal.Config{Dir: dir, Stream: p.s.name, Epoch: p.s.epoch, Log: p.s.hub.cfg.Log})
	if err != nil {
		p.s.hub.cfg.Log.Error("parts of open chunks are not kept", "stream", p.s.name, "error", err)
		return
	}
	p.journal = w
}

// journalID is the name of a chunk there.
func journalID(o *opened) journal.ID { return journal.ID{Epoch: o.c.ID.Epoch, Seq: int64(o.c.Seq)} }

// journalChunk keeps that a chunk was opened, and what its parts need.
func (p *publisher) journalChunk(o *opened) {
	if p.journal == nil {
		return
	}
	inits := make([]journal.Init, len(p.lanes))
	for i, l := range p.lanes {
		inits[i] = journal.Init{Name: l.init, Bytes: l.header}
	}
	p.journal.Open(journalID(o), inits)
}

// journalPart keeps a part of an open segment.
func (p *publisher) journalPart(l *lane, b *mem.Block) {
	if p.journal == nil {
		return
	}
	o := l.in
	at, size := make([]int64, len(p.lanes)), int64(0)
	for i := range p.lanes {
		at[i] = size
		for _, b := range o.blocks[i] {
			size += int64(len(b.Bytes()))
		}
	}
	var description []byte
	if e, ok := p.entry(o, at, true); ok {
		e.Size = size
		description = index.AppendDescription(nil, p.s.name, &e)
	}
	p.journal.Part(journalID(o), l.section, b, description)
}

// salvaged is what an earlier process has left of its open chunks, by stream.
type salvaged map[string]*journal.Left

// salvage stores what an earlier process had received and not stored.
func (h *Hub) salvage(ctx context.Context) salvaged {
	if h.cfg.Journal == "" {
		return nil
	}
	list, err := journal.Find(h.cfg.Journal)
	if err != nil {
		h.cfg.Log.Error("open chunks not recovered", "error", err)
	}
	out := make(salvaged)
	for _, l := range list {
		out[l.Stream] = l
		last, err := h.cfg.Index.Last(ctx, l.Stream)
		some := err == nil
		for _, id := range l.IDs {
			if some && id.Seq <= last.Seq {
				continue
			}
			if err := h.salvageChunk(ctx, l, id); err != nil {
				h.cfg.Log.Error("chunk not recovered", "stream", l.Stream, "epoch", id.Epoch, "number", id.Seq, "error", err)
			}
		}
	}
	return out
}

// clear removes what was left, when it is stored, or given up.
func (l salvaged) clear(h *Hub) {
	for _, x := range l {
		if err := x.Clear(); err != nil {
			h.cfg.Log.Warn("journal", "error", err)
		}
	}
}

// salvageChunk stores a chunk, unless it is stored.
func (h *Hub) salvageChunk(ctx context.Context, l *journal.Left, id journal.ID) error {
	c, err := l.Read(id)
	if err != nil || !c.Some || c.Entry.Gap {
		return err
	}
	if c.Stream != l.Stream {
		return fmt.Errorf("live: it is of %s", c.Stream)
	}
	key := chunkKey(l.Stream, id.Epoch, id.Seq)
	if there, err := h.stored(ctx, key); there || err != nil {
		return err
	}
	for _, x := range c.Inits {
		name := l.Stream + "/" + x.Name
		there, err := h.stored(ctx, name)
		if err == nil && !there {
			err = h.cfg.Store.Put(ctx, name, newBytes(x.Bytes), int64(len(x.Bytes)))
		}
		if err != nil {
			return err
		}
	}
	if !c.Ended {
		c.Entry.Reason = chunk.Crash
	}
	body := &buffers{}
	for _, b := range c.Body {
		body.add(b)
	}
	c.Entry.Size = body.size
	body.add(index.AppendDescription(nil, l.Stream, &c.Entry))
	if err := h.cfg.Store.Put(ctx, key, body, body.size); err != nil {
		return err
	}
	h.cfg.Log.Info("chunk recovered", "stream", l.Stream, "key", key, "whole", c.Ended, "bytes", body.size)
	return nil
}

// stored reports whether the store has an object.
func (h *Hub) stored(ctx context.Context, key string) (bool, error) {
	o, err := h.cfg.Store.Open(ctx, key)
	if errors.Is(err, store.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, o.Close()
}

// next returns the number to go on with. Where it is known which chunk was the last that
// the process had begun, that is the one behind it, whatever the state says, which may not
// have been written for a while: a chunk's file is there before its first part has come
// and it is listed. Else it is what was claimed.
func (l salvaged) next(stream string, state *index.State, last int64) int64 {
	x := l[stream]
	if x == nil || !x.Complete(state.Epoch) {
		return max(state.Next, last+1)
	}
	n := max(last, state.Begun-1)
	for _, id := range x.IDs {
		n = max(n, id.Seq)
	}
	return n + 1
}
