package live

import (
	"context"
	"fmt"
	"time"

	"github.com/cleave-video/cleave/chunk"
	"github.com/cleave-video/cleave/index"
	"github.com/cleave-video/cleave/live/journal"
	"github.com/cleave-video/cleave/mem"
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
	inits := make([]journal.Init, len(o.inits))
	for i, x := range o.inits {
		inits[i] = journal.Init{Name: x.name, Bytes: x.header}
	}
	o.kin = make([]string, len(p.derived))
	for i, d := range p.derived {
		n := len(d.r.Segments)
		if n == 0 {
			continue
		}
		name := d.r.Segments[n-1].Init
		if b := p.s.Init(name); b != nil {
			o.kin[i] = name
			inits = append(inits, journal.Init{Name: name, Bytes: b})
		}
	}
	o.kept = p.journal.Open(journalID(o), inits)
}

// keptWait is how long the first part of a chunk may be held back until the chunk's file
// is there. It nearly always is before the part has come.
const keptWait = 200 * time.Millisecond

// awaitKept waits for that.
func (o *opened) awaitKept() {
	if o.kept == nil {
		return
	}
	limit := time.NewTimer(keptWait)
	defer limit.Stop()
	select {
	case <-o.kept:
	case <-limit.C:
	}
	o.kept = nil
}

// journalPart keeps a part of an open segment.
func (p *publisher) journalPart(l *lane, b *mem.Block) {
	if p.journal == nil {
		return
	}
	o := l.in
	o.awaitKept()
	var description []byte
	if e, ok := p.entry(o, true); ok {
		description = index.AppendDescription(nil, p.s.name, p.withGaps(o, e))
	}
	p.journal.Part(journalID(o), l.section, b, description)
}

// salvaged is what an earlier process has left of its open chunks.
type salvaged struct {
	streams map[string]*journal.Left
	inits   map[string][]byte // by stream, "/" and name
}

// salvage stores and indexes what an earlier process had received and not committed.
func (h *Hub) salvage(ctx context.Context) salvaged {
	out := salvaged{make(map[string]*journal.Left), make(map[string][]byte)}
	if h.cfg.Journal == "" {
		return out
	}
	list, err := journal.Find(h.cfg.Journal)
	if err != nil {
		h.cfg.Log.Error("open chunks not recovered", "error", err)
	}
	for _, l := range list {
		out.streams[l.Stream] = l
		last, err := h.cfg.Index.Last(ctx, l.Stream)
		some := err == nil
		for _, id := range l.IDs {
			c, err := l.Read(id)
			if err == nil {
				for _, x := range c.Inits {
					out.inits[l.Stream+"/"+x.Name] = x.Bytes
				}
				if !some || id.Seq > last.Seq {
					err = h.salvageChunk(ctx, l.Stream, c)
				}
			}
			if err != nil {
				h.cfg.Log.Error("chunk not recovered", "stream", l.Stream, "epoch", id.Epoch, "number", id.Seq, "error", err)
			}
		}
	}
	return out
}

// clear removes what was left, when it is committed, or given up.
func (l salvaged) clear(h *Hub) {
	for _, x := range l.streams {
		if err := x.Clear(); err != nil {
			h.cfg.Log.Warn("journal", "error", err)
		}
	}
}

// salvageChunk commits a chunk. One that is stored, and was not indexed any more, is left
// as it is; it may have more than was written here.
func (h *Hub) salvageChunk(ctx context.Context, stream string, c *journal.Chunk) error {
	if !c.Some || c.Entry.Gap {
		return nil
	}
	if c.Stream != stream {
		return fmt.Errorf("live: it is of %s", c.Stream)
	}
	e := c.Entry
	e.Object = chunkKey(stream, c.Epoch, c.Seq)
	there, err := h.describes(ctx, &e)
	if err != nil {
		return err
	}
	if !there {
		if err := h.salvageObject(ctx, stream, c, &e); err != nil {
			return err
		}
	}
	h.cfg.Log.Info("chunk recovered", "stream", stream, "key", e.Object, "whole", c.Ended, "stored", there, "bytes", e.Size)
	return h.cfg.Index.Add(ctx, stream, e)
}

// salvageObject stores the object of a chunk, and its initialization sections.
func (h *Hub) salvageObject(ctx context.Context, stream string, c *journal.Chunk, e *index.Entry) error {
	for _, x := range c.Inits {
		if err := h.cfg.Store.Put(ctx, stream+"/"+x.Name, newBytes(x.Bytes), int64(len(x.Bytes))); err != nil {
			return err
		}
	}
	if !c.Ended {
		e.Reason = chunk.Crash
	}
	body := &buffers{}
	for _, b := range c.Body {
		body.add(b)
	}
	description := index.AppendDescription(nil, stream, e)
	body.add(description)
	e.Size = body.size
	return h.cfg.Store.Put(ctx, e.Object, body, body.size)
}

// storeWait is how long the store may take to say whether it has a chunk.
const storeWait = 2 * time.Second

// describes reports whether the store has the object of an entry, whose description it
// then reads into that. A store that does not say in time is taken not to have it.
func (h *Hub) describes(ctx context.Context, e *index.Entry) (bool, error) {
	wait, cancel := context.WithTimeout(ctx, storeWait)
	defer cancel()
	o, err := h.cfg.Store.Open(wait, e.Object)
	if err != nil {
		return false, context.Cause(ctx)
	}
	defer o.Close()
	_, found, err := index.ReadDescription(o, e.Object)
	if err != nil {
		return false, context.Cause(ctx)
	}
	*e = found
	return true, nil
}

// next returns the number to go on with. Where it is known which chunk was the last that
// the process had begun, that is the one behind it, whatever the state says, which may not
// have been written for a while: a chunk's file is there before its first part has come
// and it is listed. Else it is what was claimed.
func (l salvaged) next(stream string, state *index.State, last int64) int64 {
	x := l.streams[stream]
	if x == nil || !x.Complete(state.Epoch) {
		return max(state.Next, last+1)
	}
	n := max(last, state.Begun-1)
	for _, id := range x.IDs {
		n = max(n, id.Seq)
	}
	return n + 1
}
