// Package torture sends a server what it should survive, over the network as anybody
// could, and tells what came of it: the rows of docs/hostile.md that can be tried from
// outside. A healthy stream runs beside, whose viewer must not miss a frame.
package torture

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Target is a server. An empty address leaves out what needs it.
type Target struct {
	HTTP, RTMP, RTSP, SRT string // HOST:PORT
	Admin                 string // of a server that may not pull from private addresses
	PullAdmin             string // of one that may: it is sent playlists of this program
}

// ErrRemote is a target beyond the loopback.
var ErrRemote = errors.New("torture: the address is not of the loopback")

// Local reports whether every address is one of the loopback; the error wraps ErrRemote.
// What is sent harms servers that do not withstand it.
func (t *Target) Local(ctx context.Context) error {
	for _, address := range []string{t.HTTP, t.RTMP, t.RTSP, t.SRT, t.Admin, t.PullAdmin} {
		if address == "" {
			continue
		}
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return fmt.Errorf("torture: %w", err)
		}
		ips, err := net.DefaultResolver.LookupIPAddr(ctx, host)
		if err != nil {
			return fmt.Errorf("torture: %w", err)
		}
		for _, ip := range ips {
			if !ip.IP.IsLoopback() {
				return fmt.Errorf("%w: %s is %s", ErrRemote, address, ip.IP)
			}
		}
	}
	return nil
}

// trial is one input and what must come of it.
type trial struct {
	row  int
	sent string
	// alone trials come last, one by one: they use up what others need.
	alone bool
	// run sends it and says what came; the error is why that is wrong.
	run func(ctx context.Context, r *rig) (came string, err error)
}

// Result is what came of a trial.
type Result struct {
	Row        int
	Sent, Came string
	OK         bool
	Took       time.Duration
}

// Report is what came of all of them.
type Report struct {
	Results []Result
	Left    []string // what was left out, and why
	Canary  Canary
	Memory  []Memory // of the servers that tell
	Took    time.Duration
}

// Failed returns how many trials, and laws, went wrong.
func (r *Report) Failed() (n int) {
	for i := range r.Results {
		if !r.Results[i].OK {
			n++
		}
	}
	if r.Canary.Fault != "" {
		n++
	}
	for _, m := range r.Memory {
		if m.Fault != "" {
			n++
		}
	}
	return n
}

// rig is what trials share.
type rig struct {
	Target
	client *http.Client
}

const (
	// limit is how long a trial may take.
	limit = time.Minute
	// beside is how many are under way at a time.
	beside = 4
)

// Run sends everything, and reports; the error is why it could not begin. Rows are those
// to be tried; none: all. Progress, if set, is told each result.
func Run(ctx context.Context, t Target, rows []int, progress func(Result)) (*Report, error) {
	began := time.Now()
	r := &rig{Target: t, client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}}
	out := &Report{}
	list := r.choose(rows, out)
	if len(list) == 0 {
		return nil, errors.New("torture: nothing to try")
	}
	watched, err := r.watch(ctx)
	if err != nil {
		return nil, fmt.Errorf("torture: the healthy stream: %w", err)
	}
	scales := []*scale{r.weigh("the server", t.Admin), r.weigh("the one that pulls", t.PullAdmin)}
	out.Results = r.tryAll(ctx, list, func(res Result) {
		for _, s := range scales {
			s.look(ctx)
		}
		if progress != nil {
			progress(res)
		}
	})
	out.Canary = watched.end()
	for _, s := range scales {
		if s.seen {
			out.Memory = append(out.Memory, s.end(ctx))
		}
	}
	out.Took = time.Since(began)
	return out, ctx.Err()
}

// choose returns the trials that the target has addresses for.
func (r *rig) choose(rows []int, out *Report) (list []trial) {
	for _, g := range []struct {
		what, needs string
		trials      []trial
	}{
		{"RTMP", r.RTMP, rtmpTrials()},
		{"media over HTTP", r.HTTP, append(flvTrials(), tsTrials()...)},
		{"RTSP", r.RTSP, rtspTrials()},
		{"SRT", r.SRT, srtTrials()},
		{"HTTP", r.HTTP, httpTrials()},
		{"pull addresses (administration)", r.Admin, pullTrials()},
		{"hostile playlists (administration that may pull from here)", r.PullAdmin, playlistTrials()},
	} {
		if g.needs == "" {
			out.Left = append(out.Left, g.what+": no address was given")
			continue
		}
		for _, x := range g.trials {
			if len(rows) == 0 || contains(rows, x.row) {
				list = append(list, x)
			}
		}
	}
	if r.HTTP == "" {
		out.Left = append(out.Left, "the healthy stream: there is no HTTP to watch it by")
	}
	out.Left = append(out.Left,
		"53: there is no QUIC",
		"68: the server's clock cannot be set from outside; `live.TestWallDoesNotJump` does")
	return list
}

func contains(rows []int, row int) bool {
	for _, r := range rows {
		if r == row {
			return true
		}
	}
	return false
}

// tryAll runs the trials, those that are alone at the end.
func (r *rig) tryAll(ctx context.Context, list []trial, each func(Result)) []Result {
	out := make([]Result, len(list))
	var mu sync.Mutex
	try := func(i int) {
		res := r.try(ctx, &list[i])
		mu.Lock()
		defer mu.Unlock()
		out[i] = res
		each(res)
	}
	var group sync.WaitGroup
	places := make(chan struct{}, beside)
	for i := range list {
		if list[i].alone {
			continue
		}
		places <- struct{}{}
		group.Go(func() {
			defer func() { <-places }()
			try(i)
		})
	}
	group.Wait()
	for i := range list {
		if list[i].alone {
			try(i)
		}
	}
	return out
}

func (r *rig) try(ctx context.Context, x *trial) Result {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	began := time.Now()
	came, err := x.run(ctx, r)
	res := Result{Row: x.row, Sent: x.sent, Came: came, OK: err == nil, Took: time.Since(began)}
	if err != nil {
		res.Came = strings.Trim(came+"; "+err.Error(), "; ")
	}
	return res
}
