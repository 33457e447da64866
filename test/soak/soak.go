// Package soak lets publishers and viewers of all protocols come, go, stall and lie for a
// long time, at a server that is a process of its own, and judges from its metrics whether
// anything grows, and whether anything is left when all have gone.
package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cleave-video/cleave/internal/pace"
	"github.com/cleave-video/cleave/test/child"
)

// Config says what to do. The zero value of each field but Binary and Dir is its default.
type Config struct {
	Binary     string        // of cleave
	Dir        string        // for its data and media, empty
	For        time.Duration // 20 minutes
	Publishers int           // at a time: 8
	Viewers    int           // at a time: 28
	Every      time.Duration // between samples: 2 s
	Seed       uint64
	Progress   func(at time.Duration, s Sample) // if set
}

func (c *Config) defaults() {
	if c.For <= 0 {
		c.For = 20 * time.Minute
	}
	if c.Publishers <= 0 {
		c.Publishers = 8
	}
	if c.Viewers <= 0 {
		c.Viewers = 28
	}
	if c.Every <= 0 {
		c.Every = 2 * time.Second
	}
}

// budget is what the server gets: little, so that the bounds are met.
var budget = []string{"--memory", "96MiB", "--stream-memory", "24MiB", "--viewer", "2MiB", "--target", "1s", "--window", "10s", "--grace", "5s", "--takeover"}

// Report is what came of it.
type Report struct {
	Config
	Samples  []Sample // while there was load
	Before   Sample   // any client came
	After    Sample   // all had gone
	Drained  time.Duration
	Acts     map[string]*Act // what clients did
	LeftOut  []string        // kinds of clients, and why
	Verdicts []Verdict
	Log      string // of the server, if something is wrong
}

// Passed reports whether every verdict is good.
func (r *Report) Passed() bool {
	for i := range r.Verdicts {
		if !r.Verdicts[i].OK {
			return false
		}
	}
	return len(r.Verdicts) > 0
}

// Act counts what one kind of client did.
type Act struct {
	Begun, Ended, Refused atomic.Int64           // Ended: in a way of its own; Refused: by the server
	Bytes                 atomic.Int64           // that viewers read
	Last                  atomic.Pointer[string] // why the last one was refused
	reads                 bool                   // viewers
}

// newActs returns what kinds of clients have done that have not come yet.
func newActs(publishers, viewers []kind) map[string]*Act {
	acts := make(map[string]*Act)
	for _, k := range publishers {
		acts[k.name] = &Act{}
	}
	for _, k := range viewers {
		acts[k.name] = &Act{reads: true}
	}
	return acts
}

// rig is the server and its clients.
type rig struct {
	Config
	server *child.Server
	file   string // of media, for ffmpeg; empty: there is no ffmpeg
	client *http.Client
	acts   map[string]*Act
}

// Run does it. The error is why it could not be done; what was wrong is in the report.
func Run(ctx context.Context, c Config) (*Report, error) {
	c.defaults()
	r := &rig{Config: c, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8, DisableCompression: true}}, acts: make(map[string]*Act)}
	defer r.client.CloseIdleConnections()
	out := &Report{Config: c, Acts: r.acts}
	if err := r.media(ctx); err != nil {
		out.LeftOut = append(out.LeftOut, "publishers by RTSP and SRT: "+err.Error())
	}
	var err error
	if r.server, err = child.Start(ctx, c.Binary, filepath.Join(c.Dir, "data"), budget...); err != nil {
		return nil, err
	}
	began := time.Now()
	if out.Before, err = r.sample(ctx, began); err == nil {
		err = r.load(ctx, began, out)
	}
	if err == nil {
		err = r.drain(ctx, began, out)
	}
	log, ended := r.server.Stop()
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, log)
	}
	out.judge(ended)
	if !out.Passed() {
		out.Log = log
	}
	return out, nil
}

// media makes ten seconds with ffmpeg, which its processes repeat.
func (r *rig) media(ctx context.Context) error {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		return err
	}
	r.file = filepath.Join(r.Dir, "media.flv")
	cmd := exec.CommandContext(ctx, "ffmpeg", "-v", "error", "-nostdin", "-f", "lavfi", "-i", "testsrc2=s=640x360:r=25:d=10", "-f", "lavfi", "-i", "sine=r=48000:d=10",
		"-c:v", "libx264", "-preset", "ultrafast", "-b:v", "1500k", "-g", "25", "-bf", "0", "-pix_fmt", "yuv420p", "-c:a", "aac", r.file)
	if out, err := cmd.CombinedOutput(); err != nil {
		r.file = ""
		return fmt.Errorf("ffmpeg: %w %s", err, out)
	}
	return nil
}

// load has so many clients at a time come and go until the time is over. Each place is
// taken by one after the other, of random kinds.
func (r *rig) load(ctx context.Context, began time.Time, out *Report) error {
	ctx, cancel := context.WithTimeout(ctx, r.For)
	defer cancel()
	var group sync.WaitGroup
	defer group.Wait()
	publishers, viewers := r.publishers(), r.viewers()
	maps.Copy(r.acts, newActs(publishers, viewers))
	for _, part := range []struct {
		n     int
		kinds []kind
	}{{r.Publishers, publishers}, {r.Viewers, viewers}} {
		for place := range part.n {
			random := rand.New(rand.NewPCG(r.Seed, uint64(place)<<8|uint64(part.n)))
			group.Go(func() { r.occupy(ctx, place, part.kinds, random) })
		}
	}
	tick := time.NewTicker(r.Every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		s, err := r.sample(ctx, began)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("soak: the server does not answer after %v: %w", time.Since(began).Round(time.Second), err)
		}
		out.Samples = append(out.Samples, s)
		if r.Progress != nil {
			r.Progress(time.Since(began), s)
		}
	}
}

// kind is one kind of client. run returns when it or ctx has ended; n is the place's.
type kind struct {
	name string
	run  func(ctx context.Context, r *rig, n int, a *act) error
}

// act is one client.
type act struct {
	*Act
	random *rand.Rand
}

// errRefused is a client that the server would not have.
var errRefused = errors.New("refused")

// occupy has one client after the other, for 3 to 30 s each. The first kinds follow the
// place, so that each is there from the beginning.
func (r *rig) occupy(ctx context.Context, place int, kinds []kind, random *rand.Rand) {
	for turn := 0; ctx.Err() == nil; turn++ {
		k := kinds[place%len(kinds)]
		if turn > 0 {
			k = kinds[random.IntN(len(kinds))]
		}
		a := &act{r.acts[k.name], random}
		a.Begun.Add(1)
		within, cancel := context.WithTimeout(ctx, time.Duration(3000+random.IntN(27000))*time.Millisecond)
		if err := k.run(within, r, place, a); errors.Is(err, errRefused) {
			a.Refused.Add(1)
			text := err.Error()
			a.Last.Store(&text)
		} else {
			a.Ended.Add(1)
		}
		cancel()
		_ = pace.Sleep(ctx, time.Duration(random.IntN(1500))*time.Millisecond)
	}
}

// drain waits until nothing is left, at most a minute and a half.
func (r *rig) drain(ctx context.Context, began time.Time, out *Report) error {
	r.client.CloseIdleConnections()
	since := time.Now()
	for {
		s, err := r.sample(ctx, began)
		if err != nil {
			return fmt.Errorf("soak: the server does not answer when all have gone: %w", err)
		}
		out.After, out.Drained = s, time.Since(since)
		if len(left(&out.Before, &s)) == 0 || out.Drained > 90*time.Second {
			return nil
		}
		if err := pace.Sleep(ctx, time.Second); err != nil {
			return err
		}
	}
}

// get asks for a path of the server.
func (r *rig) get(ctx context.Context, path string, header ...string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.server.HTTP+path, nil)
	if err != nil {
		return nil, err
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := r.client.Do(req)
	if err == nil && res.StatusCode >= 400 {
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		return nil, fmt.Errorf("%w: %s: %s", errRefused, path, res.Status)
	}
	return res, err
}
