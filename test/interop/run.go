// Package interop runs every way in against every way out, with programs that were not
// made here on both sides.
package interop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cleave-video/cleave/internal/testnet"
)

// Config says what is run. The zero value of each field is the default named.
type Config struct {
	Match   string        // rows whose "INGEST: CODEC" contains one of these, between |; empty: all
	Have    []Row         // rows that are not run again
	Players string        // deliveries whose "PROTOCOL PLAYER" contains it; empty: all
	Twins   bool          // twins are run with every codec that they carry
	Rows    int           // rows at a time; 0: 3
	Tabs    int           // tabs of the browser at a time; 0: 4
	Limit   time.Duration // no row begins after it; 0: there is no limit
	NoPages bool          // the players of the browser are left out
	Log     io.Writer     // for progress; nil: none
}

// Cell is what came of one play. Its zero value was not run.
type Cell struct {
	Run   bool
	Lacks string // why it is not carried, and so not run
	Fault string // what went wrong, twice
	Again bool   // it went well when it was tried again
	First string // what went wrong at first then
}

// Row is one way in with one codec: a Cell for each Delivery.
type Row struct {
	Ingest, Codec string
	Lacks         string // why it is not carried
	Fault         string // why there was no stream
	Codecs        string // as the multivariant playlist has them
	Cells         []Cell
	Log           string // what the server warned of
}

// Result is everything that was run.
type Result struct {
	Deliveries []Delivery
	Rows       []Row
	Took       time.Duration
	Load       []string // average of the machine before and after each run
}

// rowLimit bounds one row, cellLimit one try of one cell.
const (
	rowLimit  = 3 * time.Minute
	cellLimit = 45 * time.Second
)

// runner is what the rows share.
type runner struct {
	config     Config
	dir        string
	deliveries []Delivery
	browser    *browser
	programs   chan struct{} // as many players that are programs may run
	pairs      *testnet.Pairs
	mu         sync.Mutex
	files      map[string]string // by Codec.Name; guarded by mu
	done, all  int               // rows; guarded by mu
}

// Run runs the rows, some at a time. What did not go well is tried once more. When ctx is
// done it returns what was run until then.
func Run(ctx context.Context, c Config) (*Result, error) {
	if c.Rows == 0 {
		c.Rows = 3
	}
	if c.Tabs == 0 {
		c.Tabs = 4
	}
	if c.Log == nil {
		c.Log = io.Discard
	}
	begun := time.Now()
	dir, err := os.MkdirTemp("", "interop-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // programs that run as nobody read below it
		return nil, err
	}
	r := &runner{config: c, dir: dir, files: map[string]string{}, programs: make(chan struct{}, 4*c.Rows), pairs: testnet.NewPairs()}
	if !c.NoPages {
		if r.browser, err = newBrowser(ctx, c.Tabs); err != nil {
			return nil, fmt.Errorf("interop: browser: %w", err)
		}
		defer r.browser.stop()
	}
	r.deliveries = slices.DeleteFunc(Deliveries(r.browser), func(d Delivery) bool { return !strings.Contains(d.Protocol+" "+d.Player, c.Players) })
	res := &Result{Deliveries: r.deliveries, Load: []string{load()}}
	r.run(ctx, res, begun)
	res.Took, res.Load = time.Since(begun), append(res.Load, load())
	return res, nil
}

// job is a row that is to be run.
type job struct {
	ingest Ingest
	codec  Codec
	row    *Row
}

// jobs lists the rows, the codec that everything carries first, and fills in those that
// are not carried.
func (r *runner) jobs(res *Result) []job {
	var order []job
	for n, c := range Codecs() {
		for _, in := range Ingests() {
			if n > 0 && in.Twin != "" && !r.config.Twins || !r.config.wants(in, c) {
				continue
			}
			res.Rows = append(res.Rows, Row{Ingest: in.Name, Codec: c.Name, Lacks: in.lacks(c)})
			order = append(order, job{ingest: in, codec: c})
		}
	}
	for i := range order {
		order[i].row = &res.Rows[i]
	}
	return slices.DeleteFunc(order, func(j job) bool { return j.row.Lacks != "" })
}

// wants reports whether a row is to be run.
func (c *Config) wants(in Ingest, codec Codec) bool {
	if slices.ContainsFunc(c.Have, func(row Row) bool { return row.Ingest == in.Name && row.Codec == codec.Name && row.wasRun() }) {
		return false
	}
	return slices.ContainsFunc(strings.Split(c.Match, "|"), func(part string) bool { return strings.Contains(in.Name+": "+codec.Name, part) })
}

// wasRun reports whether something came of a row.
func (row *Row) wasRun() bool { return row.Fault != "" || row.Cells != nil }

func (r *runner) run(ctx context.Context, res *Result, begun time.Time) {
	jobs := r.jobs(res)
	r.all = len(jobs)
	queue := make(chan job)
	var wg sync.WaitGroup
	for n := range r.config.Rows {
		wg.Go(func() {
			for j := range queue {
				start := time.Now()
				r.row(ctx, j, filepath.Join(r.dir, fmt.Sprintf("row%d-%d", n, start.UnixNano())))
				r.tell(j, time.Since(start))
			}
		})
	}
	for _, j := range jobs {
		if ctx.Err() != nil || r.config.Limit > 0 && time.Since(begun) > r.config.Limit {
			break
		}
		select {
		case queue <- j:
		case <-ctx.Done():
		}
	}
	close(queue)
	wg.Wait()
}

// tell prints what came of a row.
func (r *runner) tell(j job, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done++
	ok, again, faults := 0, 0, 0
	var text []string
	for i, c := range j.row.Cells {
		at := r.deliveries[i].Protocol + " " + r.deliveries[i].Player + ": "
		switch {
		case c.Fault != "":
			faults++
			text = append(text, at+c.Fault)
		case c.Run:
			ok++
		}
		if c.Again {
			again++
			text = append(text, at+"the second time; at first: "+c.First)
		}
	}
	fmt.Fprintf(r.config.Log, "%d/%d %s: %s: %d ok, %d of them at the second try, %d faults, %.1f s\n", r.done, r.all, j.ingest.Name, j.codec.Name, ok, again, faults, took.Seconds())
	if j.row.Codecs != "" {
		text = append(text, "codecs: "+j.row.Codecs)
	}
	if j.row.Fault != "" {
		text = append(text, j.row.Fault)
	}
	if j.row.Log != "" {
		text = append(text, "log: "+oneLine(j.row.Log))
	}
	for _, t := range text {
		fmt.Fprintf(r.config.Log, "\t%s\n", t)
	}
}

// media returns the file of a codec, made when it is first asked for.
func (r *runner) media(ctx context.Context, c Codec) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.files[c.Name]; f != "" {
		return f, nil
	}
	f, err := c.file(ctx, r.dir)
	if err == nil {
		r.files[c.Name] = f
	}
	return f, err
}

// row runs one row with a server of its own.
func (r *runner) row(ctx context.Context, j job, dir string) {
	whole := ctx
	ctx, cancel := context.WithTimeout(ctx, rowLimit)
	defer cancel()
	defer os.RemoveAll(dir)
	defer func() {
		if whole.Err() != nil { // it was not run to its end
			j.row.Cells, j.row.Fault = nil, ""
		}
	}()
	for try := range 2 {
		if j.row.Fault = ""; r.tryRow(ctx, j, filepath.Join(dir, fmt.Sprint(try))) || ctx.Err() != nil {
			return
		}
	}
}

// tryRow reports whether there was a stream.
func (r *runner) tryRow(ctx context.Context, j job, dir string) bool {
	fail := func(err error) bool {
		j.row.Fault = err.Error()
		return false
	}
	file, err := r.media(ctx, j.codec)
	if err != nil {
		return fail(err)
	}
	home := filepath.Join(dir, "home")
	if err := errors.Join(os.MkdirAll(home, 0o777), os.Chmod(home, 0o777), os.MkdirAll(filepath.Join(dir, "hls"), 0o777)); err != nil {
		return fail(err)
	}
	h, err := newHost(ctx, filepath.Join(dir, "host"), j.ingest.kind(file), r.pairs)
	if err != nil {
		return fail(err)
	}
	defer h.stop()
	stop, err := j.ingest.begin(ctx, &session{codec: j.codec, file: file, dir: dir, home: home, host: h})
	if err != nil {
		return fail(err)
	}
	list, err := h.begins(ctx, j.codec)
	if err != nil {
		return fail(failure(err, stop()+"\n"+warnings(h.log.String())))
	}
	j.row.Codecs = codecsOf(list)
	j.row.Cells = make([]Cell, len(r.deliveries))
	v := &view{codec: j.codec, host: h, home: home, browser: r.browser}
	var wg sync.WaitGroup
	for i, d := range r.deliveries {
		cell := &j.row.Cells[i]
		if cell.Lacks = d.lacks(j.codec); cell.Lacks == "" {
			wg.Go(func() { r.cell(ctx, cell, d, v) })
		}
	}
	wg.Wait()
	j.row.Log = warnings(h.log.String())
	if text := stop(); text != "" {
		j.row.Log += text
	}
	return true
}

// cell plays once, and once more if that did not go well.
func (r *runner) cell(ctx context.Context, c *Cell, d Delivery, v *view) {
	if !inBrowser(d.Player) {
		select {
		case r.programs <- struct{}{}:
			defer func() { <-r.programs }()
		case <-ctx.Done():
			return
		}
	}
	for try := range 2 {
		one, cancel := context.WithTimeout(ctx, cellLimit)
		err := d.plays(one, v)
		cancel()
		c.Run = true
		if err == nil {
			c.Fault, c.Again = "", try > 0
			return
		}
		if try == 0 {
			c.First = err.Error()
		}
		c.Fault = err.Error()
	}
}

// warnings returns the lines of a log that are more than information.
func warnings(log string) string {
	var b strings.Builder
	for line := range strings.Lines(log) {
		if _, rest, _ := strings.Cut(line, "level="); !strings.HasPrefix(rest, "INFO") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// codecsOf is the CODECS attribute of a multivariant playlist.
func codecsOf(list string) string {
	_, rest, _ := strings.Cut(list, `CODECS="`)
	codecs, _, _ := strings.Cut(rest, `"`)
	return codecs
}

// load is the load average of the last minute, empty where it is not known.
func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	one, _, _ := strings.Cut(string(b), " ")
	return one
}
