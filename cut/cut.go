// Package cut turns one stored input into a folder of chunks with the playlists
// and the manifest that play them.
package cut

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/chunk"
	"github.com/cleave-video/cleave/ingest/file"
	"github.com/cleave-video/cleave/mem"
	"github.com/cleave-video/cleave/pack"
)

// Container is what chunks are written as.
type Container string

// The containers.
const (
	CMAF Container = "cmaf"
	TS   Container = "ts"
)

// Config says what to cut and how.
type Config struct {
	Input     string // path, "-" or URL: see file.Open
	Dir       string // made by Run; must not exist unless Force
	Policy    chunk.Policy
	Target    time.Duration // what the policy aims at, for the report; 0 if it has none
	Container Container     // "" is CMAF
	Encrypt   Encryption
	Force     bool // replace Dir, if cleave wrote it
	Options   file.Options
	MaxMemory int64                   // bytes of payload held at once; 0 is 192 MiB
	Progress  func(done, total int64) // called after each chunk, if not nil
}

const defaultMemory = 192 << 20

// Validate reports what is wrong with c.
func (c *Config) Validate() error {
	switch {
	case c.Input == "":
		return errors.New("cut: no input")
	case c.Policy == nil:
		return errors.New("cut: no policy")
	case c.Container != "" && c.Container != CMAF && c.Container != TS:
		return fmt.Errorf("cut: container %q is neither cmaf nor ts", c.Container)
	}
	if err := checkName(c.Dir); err != nil {
		return err
	}
	return c.Encrypt.Validate(c.Container)
}

// Run cuts c.Input into c.Dir and reports what it did. The work is done in
// Dir.partial, which becomes Dir only when all of it is written; after an error
// nothing is left. An input that breaks off keeps what came before: then the
// report is complete, its Broken says why, and the error is nil.
func Run(ctx context.Context, c Config) (*Report, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Container == "" {
		c.Container = CMAF
	}
	if c.Container == TS {
		c.Options.Carry = av.PrivateTS
	}
	sealing, err := newSealing(c.Encrypt)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	in, err := file.Open(ctx, c.Input, c.Options)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	out, err := newOutput(c.Dir, c.Force)
	if err != nil {
		return nil, err
	}
	defer out.abandon()

	r := newRun(c, in, out)
	r.seal = sealing
	defer r.free()
	if err := r.loop(ctx); err != nil {
		return nil, err
	}
	if err := r.finish(); err != nil {
		return nil, err
	}
	r.report.Elapsed = time.Since(start)
	return &r.report, nil
}

// run is one cut in progress.
type run struct {
	cfg     Config
	in      *file.Input
	out     *output
	pool    *mem.Pool
	arena   *mem.Arena
	chunker *chunk.Chunker

	set     pack.Carried // being read
	tracks  []av.Track   // of the chunks being written
	rends   []*rendition
	index   *indexWriter
	seal    *sealing
	offset  int64 // whole seconds added to every time of the output
	placed  bool  // offset is set
	discont bool  // the chunk being written begins a timeline or configuration
	period  int   // counts those
	lead    av.Timebase
	lastKey int64 // newest key frame of the lead, for the longest GOP
	end     int64 // of the lead's pictures
	keyed   bool  // lastKey is valid
	report  Report
}

func newRun(c Config, in *file.Input, out *output) *run {
	limit := c.MaxMemory
	if limit <= 0 {
		limit = defaultMemory
	}
	pool := mem.NewPool(limit)
	r := &run{cfg: c, in: in, out: out, pool: pool, arena: pool.NewFailingArena()}
	r.report.Reasons = make(map[string]int)
	return r
}

func (r *run) free() {
	if r.chunker != nil {
		for _, e := range r.chunker.Close(chunk.Shutdown) {
			if e.Op == chunk.Close {
				e.Chunk.Release()
			}
		}
	}
	r.arena.Close()
	r.pool.Close()
}

// loop moves packets from the input through the chunker to the output.
func (r *run) loop(ctx context.Context) error {
	var err error
	r.chunker, err = chunk.New(chunk.FileConfig(r.cfg.Policy, r.arena))
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		p, err := r.in.ReadPacket(r.arena)
		var events []chunk.Event
		switch {
		case err == nil && !r.set.Has(p.Track):
			r.arena.Passed(p.Track, p.Data)
		case err == nil:
			events, err = r.chunker.Write(p)
		case errors.Is(err, av.ErrTracks):
			events, err = r.begin(r.in.Tracks())
		case ctx.Err() != nil: // which has closed the input
			return context.Cause(ctx)
		default:
			return r.ended(err)
		}
		if err != nil {
			if why := slices.Concat(r.report.LeftOut, r.in.Warnings()); len(why) > 0 { // a track is not there
				return fmt.Errorf("cut: %s: %w (%s)", r.cfg.Input, err, strings.Join(why, "; "))
			}
			return fmt.Errorf("cut: %s: %w", r.cfg.Input, err)
		}
		if err := r.take(events); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// begin takes a set of tracks. One in which what is carried is the same does not cut.
func (r *run) begin(tracks []av.Track) ([]chunk.Event, error) {
	set := pack.Carry(tracks, r.fits)
	for i, err := range set.Left {
		if err != nil {
			r.leaveOut(i, &tracks[i])
		}
	}
	if r.set.Tracks != nil && set.Same(&r.set) {
		return nil, nil
	}
	r.set = set
	return r.chunker.SetTracks(set.Tracks)
}

// ended closes the last chunks, whatever ended the input.
func (r *run) ended(err error) error {
	if errors.Is(err, mem.ErrFull) {
		return fmt.Errorf("cut: the tracks of %s lie too far apart to be cut within %d MiB: %w", r.cfg.Input, r.pool.Limit()>>20, err)
	}
	if terr := r.take(r.chunker.Close(chunk.End)); terr != nil {
		return terr
	}
	if r.report.Chunks == 0 {
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("cut: %s has no packet that can be cut: %s", r.cfg.Input, r.why())
		}
		return fmt.Errorf("cut: %s: %w", r.cfg.Input, err)
	}
	if !errors.Is(err, io.EOF) {
		r.report.Broken = fmt.Errorf("%s: %w", r.cfg.Input, err)
	}
	return nil
}

func (r *run) why() string {
	if s := r.chunker.Stats(); s.DroppedLead > 0 {
		return fmt.Sprintf("none of its %d video packets is a key frame", s.DroppedLead)
	}
	if w := r.in.Warnings(); len(w) > 0 {
		return "it has none, or none that can be read (" + strings.Join(w, "; ") + ")"
	}
	return "it is empty"
}

// take writes the chunks that were closed.
func (r *run) take(events []chunk.Event) error {
	for i, e := range events {
		if e.Op != chunk.Close {
			continue
		}
		err := r.write(e.Chunk)
		e.Chunk.Release()
		// Who does not yield in 10 ms has the runtime watch every 20 µs: a context switch
		// each, a twentieth of the time.
		runtime.Gosched()
		if err != nil {
			for _, rest := range events[i+1:] {
				if rest.Op == chunk.Close {
					rest.Chunk.Release()
				}
			}
			return err
		}
	}
	return nil
}
