package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/cleave-video/cleave/av"
)

// maxBatch bounds the payload of a batch, unless its first packet alone is larger.
const maxBatch = 256 << 10

// Errors of Cursor.Next, beside av.ErrTracks, *LagError, io.EOF and the context's
// cause.
var (
	ErrStalled = errors.New("live: a viewer held a batch for too long")
	ErrClosed  = errors.New("live: cursor is closed")
)

// LagError is returned once when a cursor has jumped: it was further behind than
// its budget, or what it was to read next had left the ring.
type LagError struct {
	Bytes  int64 // payload that was skipped
	Frames int64 // packets of the lead track in it
}

func (e *LagError) Error() string { return fmt.Sprintf("live: a viewer skipped %d bytes", e.Bytes) }

// CursorOptions say how a cursor reads. The zero value is right for most.
type CursorOptions struct {
	// Budget is how many bytes the viewer may be behind the newest packet before it
	// jumps to the newest key frame; 0, or more than that, is Config.Viewer.
	Budget int64
	// Oldest begins at the oldest key frame that is kept and within the budget, for
	// viewers that go on where they were.
	Oldest bool
	// Stalled is called at most once, from another goroutine, when the viewer has
	// held a batch for 5 s after its GOP left the ring: the write that is under way
	// must be broken off (close the connection) and the cursor closed. It must not
	// block and must not call the cursor's methods.
	Stalled func()
}

// Cursor reads the packets of a stream, of all its tracks, in the order in which
// they came in. It belongs to one goroutine. A slow one never slows the source:
// it jumps.
//
// What a viewer does:
//
//	c := stream.NewCursor(live.CursorOptions{Stalled: cancel})
//	defer c.Close()
//	batch := make([]av.Packet, 64)
//	for {
//		n, err := c.Next(ctx, batch)
//		switch {
//		case errors.Is(err, av.ErrTracks):
//			// headers for c.Tracks(), times + c.Offset() from now on
//		case errors.As(err, &lag):
//			// packets are missing; the next one is a key frame
//		case err != nil:
//			return err // io.EOF: the stream is over
//		}
//		// batch[:n], valid until the next call
//	}
type Cursor struct {
	r      *ring
	opts   CursorOptions
	budget int64

	at      *gop      // nil: begin at the newest key frame
	i       int       // packets of at that were read
	pos     int64     // bytes of the ring before the next packet
	frames  int64     // packets of the lead track before it
	set     *trackSet // announced
	begun   bool      // at least one batch was given out
	placed  bool      // it had a place
	skipped LagError  // by a jump, to be announced
	closed  bool
	refused error // what Next returns of a stream that is encrypted

	holds   atomic.Pointer[gop] // what the last batch pins; read by the ring
	stalled atomic.Bool         // set by the ring
}

// NewCursor returns a cursor that begins at the newest key frame at once, or at the
// next one if there is none. The caller must Close it.
func (s *Stream) NewCursor(o CursorOptions) *Cursor {
	c := &Cursor{r: s.ring, opts: o, budget: s.ring.viewer, refused: s.Guarded()}
	if o.Budget > 0 {
		c.budget = min(c.budget, o.Budget)
	}
	s.ring.mu.Lock()
	s.ring.cursors[c] = struct{}{}
	s.ring.mu.Unlock()
	return c
}

// Tracks are those of the packets that follow; valid once Next has returned
// av.ErrTracks, and until it does so again. The caller must not change them.
func (c *Cursor) Tracks() []av.Track {
	if c.set == nil {
		return nil
	}
	return c.set.tracks
}

// Lead is the index of the track whose key packets begin GOPs.
func (c *Cursor) Lead() int {
	if c.set == nil {
		return 0
	}
	return c.set.lead
}

// Offset is to be added to the times of the packets that follow, so that they
// continue those of an earlier publisher of the stream, and so that HLS has the same
// ones. It is a whole number of seconds and changes only with av.ErrTracks.
func (c *Cursor) Offset() time.Duration {
	if c.set == nil {
		return 0
	}
	return time.Duration(c.set.offset) * time.Second
}

// Behind returns how many bytes of payload the cursor has not given out yet.
func (c *Cursor) Behind() int64 {
	if !c.begun {
		return 0
	}
	return max(0, c.r.total.Load()-c.pos)
}

// Next waits for packets and copies as many as there are into dst, of one GOP, at
// most len(dst), and at most 256 KiB of payload unless one packet alone is more.
// Their Data is shared by all viewers, is not to be written to, and is valid until
// the next call of Next or Close; a viewer that keeps it longer copies it.
//
// It returns packets or an error, never both:
//   - av.ErrTracks before the first packet, and whenever the tracks or Offset change
//     (also when another publisher took the name, with tracks that look the same):
//     what follows begins with a key packet of the lead track;
//   - *LagError when packets were skipped; the next one is a key packet of the lead
//     track. If the tracks changed meanwhile av.ErrTracks comes after it;
//   - io.EOF at the stream's end, when no publisher returned in time;
//   - ErrStalled when the batch was held for too long; ErrClosed after Close;
//   - ErrSealed if the stream is encrypted, unless Sealing.AllowClear;
//   - the cause of ctx.
//
// A stream whose publisher left is waited for. Packets may have Dur 0 (not known
// yet), and those flagged Leading behind a first or skipped-to key packet that is
// Open cannot be decoded. Nothing is allocated.
func (c *Cursor) Next(ctx context.Context, dst []av.Packet) (int, error) {
	c.unhold()
	for {
		n, err := c.read(dst)
		if n > 0 || err != nil {
			return n, err
		}
		woken := c.r.wakes.wait()
		// What came between the look and the wait has woken nobody.
		if n, err = c.read(dst); n > 0 || err != nil {
			return n, err
		}
		select {
		case <-woken:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

// Close lets go of the batch. Idempotent. Every cursor must be closed.
func (c *Cursor) Close() {
	if c.closed {
		return
	}
	c.closed = true
	c.unhold()
	c.at = nil
	c.r.mu.Lock()
	delete(c.r.cursors, c)
	c.r.mu.Unlock()
}

// Release lets go of the batch, whose Data is not valid any more: who has taken from
// it what is needed holds no memory while that is on its way. Idempotent.
func (c *Cursor) Release() { c.unhold() }

// unhold lets go of the last batch.
func (c *Cursor) unhold() {
	if g := c.holds.Load(); g != nil {
		c.holds.Store(nil)
		g.release()
	}
}

// read gives out what is there; 0, nil if that is nothing.
func (c *Cursor) read(dst []av.Packet) (int, error) {
	for {
		switch {
		case c.closed:
			return 0, ErrClosed
		case c.refused != nil:
			return 0, c.refused
		case c.stalled.Load():
			return 0, ErrStalled
		case c.at == nil && !c.begin():
			if c.r.ended.Load() {
				return 0, io.EOF
			}
			return 0, nil
		case c.skipped.Bytes > 0:
			err := c.skipped
			c.skipped = LagError{}
			c.r.stats.jumps.Add(1)
			return 0, &err
		case c.set != c.at.set:
			c.set = c.at.set
			return 0, av.ErrTracks
		case c.late() || c.at.left.Load() != 0 || !c.at.tryRetain():
			c.at = nil
			continue
		}
		g, next := c.at, c.at.next.Load()
		// Looked at behind next: if there is one, the entry grows no more.
		if n := c.fill(dst, g); n > 0 {
			c.holds.Store(g)
			c.begun = true
			return n, nil
		}
		g.release()
		switch {
		case next != nil:
			c.at, c.i = next, 0
		case c.r.ended.Load():
			return 0, io.EOF
		default:
			return 0, nil
		}
	}
}

// begin places the cursor at the newest key frame.
func (c *Cursor) begin() bool {
	g := c.r.key.Load()
	if g == nil {
		return false
	}
	if c.opts.Oldest && !c.placed {
		g = c.oldest(g)
	}
	c.placed = true
	if c.begun {
		c.skipped = LagError{g.base - c.pos, g.frames - c.frames}
	}
	c.at, c.i, c.pos, c.frames = g, 0, g.base, g.frames
	return true
}

// oldest returns the oldest entry, before key, that begins with a key frame and that
// the budget reaches; else key.
func (c *Cursor) oldest(key *gop) *gop {
	total := c.r.total.Load()
	for g := c.r.first.Load(); g != nil && g.seq < key.seq; g = g.next.Load() {
		if g.key && total-g.base <= c.budget {
			return g
		}
	}
	return key
}

// late reports whether the cursor is further behind than its budget and has
// somewhere to jump to.
func (c *Cursor) late() bool {
	if c.r.total.Load()-c.pos <= c.budget {
		return false
	}
	key := c.r.key.Load()
	return key != nil && key.seq > c.at.seq
}

// fill copies the next packets of g, to which the caller holds a reference.
func (c *Cursor) fill(dst []av.Packet, g *gop) int {
	end := int(g.n.Load())
	list := *g.list.Load()
	n, bytes := 0, 0
	for n < len(dst) && c.i < end {
		size := len(list[c.i].Data)
		if n > 0 && bytes+size > maxBatch {
			break
		}
		dst[n] = list[c.i]
		if list[c.i].Track == g.set.lead {
			c.frames++
		}
		c.i++
		n++
		bytes += size
	}
	c.pos += int64(bytes)
	return n
}
