package live

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/cleave-video/cleave/index"
)

// Recover stores the parts of chunks that an earlier process had received when it was
// killed, makes store and index equal, and shows again, as an earlier process left them,
// the streams whose publisher may still come back: the window from the index, then gaps
// for the numbers that were given and whose chunks were not stored. It is to be called
// before the first Publish. What cannot be done now is logged: a stream that is not shown
// again begins anew behind its last number. The error is the cause of ctx.
func (h *Hub) Recover(ctx context.Context) error {
	streamer, ok := h.cfg.Index.(index.Streamer)
	if !ok || h.states == nil {
		return nil
	}
	began := time.Now()
	left := h.salvage(ctx)
	wait, cancel := h.patience(ctx)
	found, err := index.Reconcile(wait, h.cfg.Store, h.cfg.Index, func(key string) bool { return !strings.HasSuffix(key, chunkSuffix) })
	cancel()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		h.cfg.Log.Error("store and index not compared", "error", err)
	case found.Changed():
		h.cfg.Log.Warn("store and index differed", "entries", found.Entries, "adopted", found.Adopted, "dropped", found.Dropped, "deleted", found.Deleted,
			"repaired", found.Repaired, "damaged", found.Lost, "error", errors.Join(found.Damaged...), "took", time.Since(began))
	}
	wait, cancel = h.patience(ctx)
	defer cancel()
	if err := h.restoreAll(wait, streamer, left); ctx.Err() == nil && err != nil {
		h.cfg.Log.Error("streams not restored", "error", err)
	}
	if ctx.Err() == nil {
		left.clear(h)
	}
	return context.Cause(ctx)
}

// patience bounds how long Recover waits for the store.
func (h *Hub) patience(ctx context.Context) (context.Context, context.CancelFunc) {
	if h.cfg.RecoverWait <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, h.cfg.RecoverWait)
}

func (h *Hub) restoreAll(ctx context.Context, streamer index.Streamer, left salvaged) error {
	for name, err := range streamer.Streams(ctx) {
		if err != nil {
			return err
		}
		if CheckName(name) != nil {
			continue
		}
		s, err := h.restore(ctx, name, left)
		if err != nil {
			h.cfg.Log.Error("stream not restored", "stream", name, "error", err)
		}
		if s != nil && !h.adopt(s) {
			h.cfg.Log.Warn("stream not restored", "stream", name, "error", ErrCrowded)
		}
	}
	return nil
}

// adopt has the hub keep a stream that waits for its publisher.
func (h *Hub) adopt(s *Stream) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.streams) >= namesPerStream*h.cfg.Streams {
		return false
	}
	h.streams[s.name] = s
	return true
}

// expireBefore lets the chunks go that an earlier process listed before a time, and that
// nobody lists any more; a zero time is the end.
func (s *Stream) expireBefore(ctx context.Context, before time.Time) error {
	at := time.Now().Add(s.hub.cfg.Window)
	for e, err := range s.hub.cfg.Index.Range(ctx, s.name, time.Time{}, before) {
		if err != nil {
			return err
		}
		if before.IsZero() || e.Wall.Before(before) {
			s.expire(e.Object, at, e.End())
		}
	}
	return nil
}
