// Package crash kills servers. A rig publishes to a real one, watches its playlists,
// kills it at random points, starts it again on the same folder, and compares what it
// shows and keeps with what it showed and kept before.
package crash

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/format/hls"
	"github.com/cleave-video/cleave/internal/pace"
	"github.com/cleave-video/cleave/proto/rtmp"
	"github.com/cleave-video/cleave/server"
)

// stream is what is published.
const stream = "live/cam"

// Config says what to do.
type Config struct {
	Binary   string // of cleave
	Data     string // folder for its data, empty
	Args     []string
	Kills    int
	Seed     uint64
	Progress func(kills int) // if set
}

// Spool are the arguments with which a server puts chunks into a spool first. Its folder
// is in that of the data, where the rig finds what is in neither.
func Spool(data string) []string { return []string{"--spool", filepath.Join(data, server.SpoolDir)} }

// Counts say how much was looked at.
type Counts struct {
	Kills, Starting int // kills, and of these before the server listened
	Broken          int // rules, each as often as it was
	Committed       int // chunks
	Uncommitted     int // segments, of each rendition, that were listed from memory and lost
	Playlists       int
	Fetched         int // segments
	Read            int // objects
	Parts           int // of segments that were open at a kill
	PartsLost       int
}

// Report is what came of it.
type Report struct {
	Counts
	Broke    map[string]int // how often each rule was
	Findings []Finding      // the first of them
	Took     time.Duration
	Log      string // of the last server that had a finding
}

// camera is a source of GOPs of 200 ms and longer.
func camera() avtest.Spec {
	return avtest.Spec{
		Video: avtest.Video{Frames: 1 << 20, Timebase: av.Timebase{Num: 1, Den: 90000}, FrameDur: 1800, GOPs: []int{10, 12, 10, 18}, B: 1, Size: 3000},
		Audio: avtest.Audio{Frames: 1 << 20},
	}
}

// speed is how much faster than time the camera runs: a chunk ends every 70 ms or so.
const speed = 3

// publish sends what the camera sees until ctx or the server ends.
func publish(ctx context.Context, address string) error {
	c, err := rtmp.Dial(ctx, address)
	if err != nil {
		return err
	}
	defer c.Close()
	d := avtest.NewSynthetic(camera())
	defer d.Close()
	began := time.Now()
	for {
		p, err := d.ReadPacket(av.Heap{})
		switch {
		case errors.Is(err, av.ErrTracks):
			err = c.WriteTracks(d.Tracks())
		case err == nil:
			due := began.Add(d.Tracks()[p.Track].Timebase.Duration(p.DTS) / speed)
			if err = pace.Sleep(ctx, time.Until(due)); err == nil {
				err = c.WritePacket(p)
			}
		}
		if err != nil {
			return err
		}
	}
}

// Run kills servers. The error is why the rig could not go on; what servers did wrong
// is in the report.
func Run(ctx context.Context, c Config) (*Report, error) {
	r := newRig(c)
	defer r.client.CloseIdleConnections()
	began := time.Now()
	out := &Report{}
	for n := range c.Kills {
		before := r.model.counts.Broken
		log, err := r.turn(ctx, n == c.Kills-1 || n%25 == 24)
		if err != nil {
			return nil, fmt.Errorf("run %d: %w\n%s", n+1, err, log)
		}
		if r.model.counts.Broken > before {
			out.Log = log
		}
		if c.Progress != nil {
			c.Progress(n + 1)
		}
	}
	out.Counts, out.Broke, out.Findings, out.Took = r.model.counts, r.model.broke, r.model.findings, time.Since(began)
	return out, nil
}

type rig struct {
	Config
	model  *model
	random *rand.Rand
	client *http.Client
}

func newRig(c Config) *rig {
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}, Timeout: 20 * time.Second}
	return &rig{Config: c, model: newModel(), random: rand.New(rand.NewPCG(c.Seed, 1)), client: client}
}

// turn starts a server, kills it, and looks at what it has left: at all of it if all
// is set.
func (r *rig) turn(ctx context.Context, all bool) (log string, err error) {
	r.model.run++
	p, err := run(ctx, r.Binary, r.Data, r.Args...)
	if err != nil {
		return "", err
	}
	soon := time.Duration(r.random.IntN(60)) * time.Millisecond
	if r.random.IntN(8) == 0 { // it is killed while it starts
		r.model.counts.Starting++
		err = pace.Sleep(ctx, soon)
	} else {
		<-p.ready
		if err := p.started(); err != nil {
			return p.kill(), err
		}
		err = r.watch(ctx, p)
	}
	log = p.kill()
	r.model.counts.Kills++
	return log, errors.Join(err, r.model.killed(ctx, r.Data, all))
}

// watch publishes to a server that has started, and looks at its playlists up to a
// random time, at which it is to be killed.
func (r *rig) watch(ctx context.Context, p *process) error {
	if err := r.model.started(ctx, r.Data); err != nil {
		return err
	}
	r.poll(ctx, p, true)
	ctx, cancel := context.WithTimeout(ctx, time.Duration(30+r.random.IntN(900))*time.Millisecond)
	defer cancel()
	var group sync.WaitGroup
	var failed error
	group.Go(func() {
		if err := publish(ctx, p.rtmp); ctx.Err() == nil {
			failed = err
		}
	})
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		r.poll(ctx, p, false)
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	group.Wait()
	return failed
}

// again is how many segments of earlier runs are read after each start.
const again = 12

// poll reads the playlists once, and segments that are new; after a start, the ones
// that were there before.
func (r *rig) poll(ctx context.Context, p *process, start bool) {
	for _, name := range []string{"video0", "audio0"} {
		code, body, err := r.get(ctx, p.http+name+"/index.m3u8")
		if err != nil {
			return // at the end
		}
		if code != http.StatusOK {
			if x := r.model.renditions[name]; x != nil && x.last >= 0 && len(r.model.committed) > 0 {
				r.model.found(ruleAvailable, "%s: %d", name, code)
			}
			continue
		}
		m, err := new(hls.Reader).Media(body)
		if err != nil {
			r.model.found(ruleSequence, "%s: %v", name, err)
			continue
		}
		fresh := r.model.observe(name, m)
		if start {
			r.salvaged(ctx, p, name, m)
			fresh = r.old(name, m)
		} else {
			r.parts(ctx, p, name, m)
		}
		for _, msn := range fresh {
			r.segment(ctx, p, name, msn)
		}
	}
}

// parts reads the parts of the open segment that are new.
func (r *rig) parts(ctx context.Context, p *process, name string, m *hls.Media) {
	last := len(m.Segments) - 1
	if last < 0 || m.Segments[last].URI != "" {
		return
	}
	o := &r.model.renditions[name].open
	list := m.Segments[last].Parts
	if msn := m.Sequence + int64(last); o.msn != msn || len(o.parts) > len(list) {
		*o = open{msn: msn}
	}
	for _, part := range list[len(o.parts):] {
		code, body, err := r.get(ctx, p.http+name+"/"+part.URI)
		if err != nil || code != http.StatusOK {
			return // at the end
		}
		o.parts = append(o.parts, body)
	}
}

// salvaged looks at what has become of the segment that was open.
func (r *rig) salvaged(ctx context.Context, p *process, name string, m *hls.Media) {
	o := &r.model.renditions[name].open
	i := o.msn - m.Sequence
	if len(o.parts) == 0 || i < 0 || i >= int64(len(m.Segments)) {
		return
	}
	s := &m.Segments[i]
	if s.Gap {
		r.model.salvaged(name, true, nil)
	} else if code, body, err := r.get(ctx, p.http+name+"/"+s.URI); err == nil && code == http.StatusOK {
		r.model.salvaged(name, false, body)
	}
}

// old returns segments that were committed before.
func (r *rig) old(name string, m *hls.Media) (list []int64) {
	for i := len(m.Segments) - 1; i >= 0 && len(list) < again; i-- {
		msn := m.Sequence + int64(i)
		if !m.Segments[i].Gap && r.model.committed[msn] != nil {
			list = append(list, msn)
		}
	}
	return list
}

// segment reads one.
func (r *rig) segment(ctx context.Context, p *process, name string, msn int64) {
	code, body, err := r.get(ctx, p.http+name+"/"+r.model.renditions[name].known[msn].uri)
	switch {
	case err != nil: // at the end
	case code != http.StatusOK:
		r.model.found(ruleServed, "%s: %d: %d %s", name, msn, code, body)
	default:
		r.model.fetched(name, msn, fmt.Sprintf("%x", sha256.Sum256(body)))
	}
}

func (r *rig) get(ctx context.Context, url string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	res, err := r.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res.StatusCode, body, err
}

// segmentOf returns the URI of a segment, also of one that is open and has only parts.
func segmentOf(s *hls.Segment) string {
	if s.URI != "" || len(s.Parts) == 0 {
		return s.URI
	}
	name, _, _ := strings.Cut(s.Parts[0].URI, ".")
	return name + ".m4s"
}

// epochOf returns the epoch that a segment's URI begins with.
func epochOf(s *hls.Segment) string {
	epoch, _, _ := strings.Cut(segmentOf(s), "-")
	return epoch
}
