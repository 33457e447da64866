package live

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/chunk"
	"github.com/cleave-video/cleave/index"
	"github.com/cleave-video/cleave/mem"
	"github.com/cleave-video/cleave/store"
)

// Stream is one name: at most one publisher at a time, any number of viewers.
type Stream struct {
	hub     *Hub
	name    string
	edge    atomic.Pointer[Edge]
	ring    *ring
	waits   waiters
	memory  memory
	headers headers
	sealer  *sealer // nil: the stream is in the clear
	stats   streamStats
	book    book

	feedMu sync.Mutex // guards feeds
	feeds  map[string]*Feed

	mu      sync.Mutex  // guards what follows
	turn    *turn       // of the publisher; nil: nobody publishes
	from    string      // where the last one came from
	left    time.Time   // when the last one left
	pools   []*mem.Pool // of publishers, of which something is in use
	expired []expiry

	// Of the one publisher, which the turn hands on.
	epoch   uint32
	seq     int64 // of the next chunk, the MEDIA-SEQUENCE number
	end     time.Duration
	clock   clock
	account account
	started bool      // epoch and seq were read from the store
	leaving []Segment // of the first rendition, of whose chunks others still have something

	unlisted []index.Entry // that the index did not take; of who commits
}

type streamStats struct {
	dropped, early, unstored atomic.Int64
	chunks, stored           atomic.Int64
	derived, underived       atomic.Int64 // segments that stages made, and did not
	frames, keys             atomic.Int64 // of video, in chunks
	jumps                    atomic.Int64 // of viewers of feeds
}

// Stats are counts over a stream's life, and what is there now.
type Stats struct {
	Viewers  int   // cursors
	Jumps    int64 // of viewers that were behind their budget
	Stalls   int64 // viewers closed because they held a batch for too long
	Dropped  int64 // packets that memory was full for
	Early    int64 // packets of other tracks before the first key frame
	Unstored int64 // chunks that the store did not take
	// Derived are the segments of renditions that stages made, Underived those that are
	// gaps because they could not.
	Derived, Underived int64

	Packets, Bytes int64     // shown to viewers of packets
	Chunks, Stored int64     // that were cut, and that the store took
	Frames, Keys   int64     // of video, in the chunks that were cut
	LastKey        time.Time // when the newest GOP that is kept began; zero: none is

	Feeds       int   // containers that somebody watches
	FeedViewers int   // of all feeds; each feed is one of Viewers
	FeedJumps   int64 // of viewers of feeds that were behind their budget
}

// Stats returns the stream's counts. It costs the publisher and viewers nothing but
// short locks.
func (s *Stream) Stats() Stats {
	st := Stats{
		Jumps: s.ring.stats.jumps.Load(), Stalls: s.ring.stats.stalls.Load(),
		Dropped: s.stats.dropped.Load(), Early: s.stats.early.Load(), Unstored: s.stats.unstored.Load(),
		Derived: s.stats.derived.Load(), Underived: s.stats.underived.Load(),
		Packets: s.ring.packets(), Bytes: s.ring.total.Load(), Chunks: s.stats.chunks.Load(), Stored: s.stats.stored.Load(),
		Frames: s.stats.frames.Load(), Keys: s.stats.keys.Load(), FeedJumps: s.stats.jumps.Load(),
	}
	if g := s.ring.key.Load(); g != nil {
		st.LastKey = g.opened
	}
	s.ring.mu.Lock()
	st.Viewers = len(s.ring.cursors)
	s.ring.mu.Unlock()
	s.feedMu.Lock()
	defer s.feedMu.Unlock()
	st.Feeds = len(s.feeds)
	for _, f := range s.feeds {
		st.FeedViewers += f.users
	}
	return st
}

// count notes what a closed chunk has.
func (s *streamStats) count(c *chunk.Chunk) {
	s.chunks.Add(1)
	var frames, keys int64
	for i, run := range c.Runs {
		if c.Tracks[i].Kind != av.Video {
			continue
		}
		frames += int64(len(run))
		for k := range run {
			if run[k].Flags&av.Key != 0 {
				keys++
			}
		}
	}
	s.frames.Add(frames)
	s.keys.Add(keys)
}

// turn is a publisher's claim of a name.
type turn struct {
	in   av.Demuxer
	from string // key of the client's address
	stop context.CancelCauseFunc
	done chan struct{} // closed when the name is free again
}

// expiry is an object that left the window.
type expiry struct {
	key   string
	at    time.Time
	ended time.Time // when it had been shown; zero if unknown
}

func newStream(h *Hub, name string) *Stream {
	s := &Stream{
		hub: h, name: name, left: time.Now(), ring: newRing(h.cfg.Viewer, h.cfg.StreamMemory/4),
		memory: memory{most: h.cfg.StreamMemory / 4}, sealer: h.newSealer(name),
	}
	s.edge.Store(&Edge{Sealing: s.Sealing(), changed: make(chan struct{})})
	return s
}

// Name returns the stream's name.
func (s *Stream) Name() string { return s.name }

// Edge returns what the stream offers now; never nil.
func (s *Stream) Edge() *Edge { return s.edge.Load() }

// show replaces the edge and wakes who waits for what it has.
func (s *Stream) show(e *Edge) {
	e.changed = make(chan struct{})
	close(s.edge.Swap(e).changed)
	s.waits.wake(e)
}

// change shows a copy of the edge that set has changed.
func (s *Stream) change(set func(e *Edge)) {
	e := s.edge.Load().next()
	set(e)
	s.show(e)
}

// unclaim ends a publisher's turn; viewers wait for the next.
func (s *Stream) unclaim(t *turn, now time.Time) {
	s.change(func(e *Edge) { e.Live = false })
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left, s.turn = now, nil
	close(t.done)
}

// over ends the stream when its grace has passed, and reports whether even late
// viewers have had the time to see that. Nobody can claim the name meanwhile.
func (s *Stream) over(now time.Time) bool {
	s.mu.Lock()
	gone, turn := now.Sub(s.left), s.turn
	s.mu.Unlock()
	if turn != nil || gone < s.hub.cfg.Grace {
		return false
	}
	if !s.edge.Load().Ended {
		s.finish()
		s.hub.cfg.Log.Info("stream ended", "stream", s.name, "waited", s.hub.cfg.Grace)
	}
	return gone >= s.hub.cfg.Grace+s.hub.cfg.Window
}

// slide moves the segments that left the window to Past, and returns those that left it.
func (s *Stream) slide(r *Rendition) (left []Segment) {
	keep := newest(r.Segments, s.window())
	if keep == 0 {
		return nil
	}
	for i := range r.Segments[:keep] {
		if r.Segments[i].Discontinuity {
			r.Discontinuities++
		}
	}
	past := append(r.Past[:len(r.Past):len(r.Past)], r.Segments[:keep]...)
	r.Segments = r.Segments[keep:]
	// For the length of the longest playlist that it was in, and its own (RFC 8216bis
	// 6.2.2); a segment more, since a playlist is as old as the answer took.
	gone := newest(past, s.window()+2*time.Duration(s.edge.Load().TargetDuration)*time.Second)
	r.Past = past[gone:]
	return past[:gone]
}

// window is how long playlists are at least: as configured, and three target durations
// (RFC 8216bis 6.2.2).
func (s *Stream) window() time.Duration {
	return max(s.hub.cfg.Window, 3*time.Duration(s.edge.Load().TargetDuration)*time.Second)
}

// newest returns from where on list has four segments and is at least so long.
func newest(list []Segment, least time.Duration) int {
	var length time.Duration
	keep := len(list)
	for keep > 0 && (length < least || len(list)-keep < 4) {
		keep--
		length += list[keep].Duration()
	}
	return keep
}

// resume continues numbers behind what an earlier process has left in the index, or if
// that has nothing in the store, and lets that expire.
func (s *Stream) resume(ctx context.Context) error {
	if s.started {
		return nil
	}
	if done, err := s.resumeState(ctx); done || err != nil {
		s.started = err == nil
		return err
	}
	ended, err := s.resumeIndex(ctx)
	if err != nil {
		return err
	}
	err = s.resumeStore(ctx, ended)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		// What was there before cannot be known now. No epoch that was counted is as late
		// as the time of day, so that no object is replaced and no URL names two contents.
		s.hub.cfg.Log.Warn("the store does not say what an earlier process left", "stream", s.name, "error", err)
		s.epoch = max(s.epoch, uint32(time.Now().Unix()))
	}
	if s.seq > 0 {
		// The last ones may have been listed and not stored: their numbers are in answers
		// that caches keep.
		s.seq += maxUnstored
	}
	s.started = true
	return nil
}

// listWait is how long a new stream waits for the store to say what it has of it.
const listWait = 5 * time.Second

// resumeStore continues numbers behind what the store has, and lets that expire.
func (s *Stream) resumeStore(ctx context.Context, ended time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, listWait)
	defer cancel()
	now := time.Now()
	for info, err := range s.hub.cfg.Store.List(ctx, s.name+"/") {
		if err != nil {
			return fmt.Errorf("live: %s: %w", s.name, err)
		}
		var epoch uint64
		var seq int64
		rest := strings.Split(strings.TrimPrefix(info.Key, s.name+"/"), "/")
		if len(rest) != 2 {
			continue // of a stream whose name begins with ours
		}
		epoch, err1 := strconv.ParseUint(rest[0], 10, 32)
		seq, err2 := strconv.ParseInt(strings.TrimSuffix(rest[1], chunkSuffix), 10, 64)
		if err1 != nil || err2 != nil {
			continue
		}
		s.epoch, s.seq = max(s.epoch, uint32(epoch)), max(s.seq, seq+1)
		s.expire(info.Key, now.Add(s.hub.cfg.Window), ended)
	}
	return nil
}

// maxUnstored is how many numbers may have been used beyond what the store has.
const maxUnstored = 16

// chunkSuffix ends the keys of chunk objects.
const chunkSuffix = ".chunk"

func chunkKey(name string, epoch uint32, seq int64) string {
	return fmt.Sprintf("%s/%d/%010d%s", name, epoch, seq, chunkSuffix)
}

// expire has an object deleted at the next sweep from now on, unless a rule says how long
// it is kept.
func (s *Stream) expire(key string, now, ended time.Time) {
	if key == "" || s.hub.Retention(s.name) != nil {
		return // a gap has none
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expired = append(s.expired, expiry{key, now, ended})
}

// expires reports whether there is something to delete.
func (s *Stream) expires() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.expired) > 0
}

// expireAll lets everything that is still there go at a time. Nobody publishes any more.
func (s *Stream) expireAll(at time.Time) {
	list := s.leaving
	s.leaving = nil
	for _, r := range s.edge.Load().Renditions {
		list = append(append(list, r.Past...), r.Segments...)
	}
	seen := make(map[string]bool)
	for i := range list {
		if key := list[i].object.key; !seen[key] {
			seen[key] = true
			s.expire(key, at, list[i].Date.Add(list[i].Duration()))
		}
	}
}

// deleteAgain is how long a store is left alone that would not delete.
const deleteAgain = 30 * time.Second

// expireAgain has objects deleted later, before others.
func (s *Stream) expireAgain(list []expiry, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range list {
		list[i].at = at
	}
	s.expired = append(list, s.expired...)
}

// deleteExpired deletes what has expired.
func (s *Stream) deleteExpired(ctx context.Context, now time.Time) {
	s.mu.Lock()
	n := 0
	for n < len(s.expired) && !s.expired[n].at.After(now) {
		n++
	}
	due := append([]expiry(nil), s.expired[:n]...)
	s.expired = append(s.expired[:0], s.expired[n:]...)
	s.mu.Unlock()
	for i, x := range due {
		if ctx.Err() != nil {
			return
		}
		s.drop(ctx, x.ended) // first, so that the index has nothing that is not there
		err := s.hub.cfg.Store.Delete(ctx, x.key)
		if err == nil {
			continue
		}
		s.hub.cfg.Log.Warn("delete", "key", x.key, "waiting", len(due)-i, "error", err)
		if errors.Is(err, store.ErrTransient) {
			s.expireAgain(due[i:], now.Add(deleteAgain))
			return
		}
	}
	if len(due) > 0 {
		s.forgetKeys(ctx)
	}
}
