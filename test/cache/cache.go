// Package cache puts nginx's proxy_cache before a server, and many players of LL-HLS before
// that, and counts what comes to the server.
package cache

import (
	"context"
	_ "embed" // of the configuration
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/internal/pace"
	"github.com/cleave-video/cleave/test/child"
)

// Conf is the configuration of nginx, with @LISTEN@, @ORIGIN@ and @DIR@ to be replaced.
//
//go:embed nginx.conf
var Conf string

// Config says what to do.
type Config struct {
	Binary  string // of cleave
	Nginx   string // its program
	Dir     string // for everything, empty
	Players int
	Join    time.Duration // over which they come
	For     time.Duration // that they play once all have come
	Part    time.Duration
}

// Report is what came of it. Cacheable requests are those for parts, initialization
// sections, and playlists that are waited for.
type Report struct {
	Config
	Asked, AskedCacheable int // by players
	Came, CameCacheable   int // to the server
	Names, Again          int // cacheable names that came to it, and of these more than once
	Most                  int // requests for one of them
	AgainNames            []string
	Stale                 int // playlists without the part that was waited for
	Redirects, Failed     int
	FailedWhy             string
	Parts, Playlists      int // names of each
	Late                  [2]time.Duration
	CPU                   [3]time.Duration // of the server, of nginx, in Took
	Took                  time.Duration
	Version               string
}

// origin counts what comes to the server, and passes it on.
type origin struct {
	proxy *httputil.ReverseProxy

	mu   sync.Mutex // guards came
	came map[string]int
}

// ServeHTTP implements http.Handler.
func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	o.came[r.URL.RequestURI()]++
	o.mu.Unlock()
	o.proxy.ServeHTTP(w, r)
}

// cacheable reports whether the answer to a request may be kept.
func cacheable(uri string) bool {
	return strings.HasSuffix(uri, ".m4s") || strings.Contains(uri, "/init-") || strings.Contains(uri, "_HLS_msn=")
}

const stream = "live/cam"

// Run does it.
func Run(ctx context.Context, c Config) (*Report, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := child.Start(ctx, c.Binary, filepath.Join(c.Dir, "data"), "--part", c.Part.String())
	if err != nil {
		return nil, err
	}
	defer s.Stop() //nolint:errcheck // what players got says how it was
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	var published error
	group.Go(func() { published = child.Publish(ctx, "rtmp://"+s.RTMP+"/"+stream, camera(), 1) })
	o := &origin{proxy: httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: s.HTTP}), came: make(map[string]int)}
	o.proxy.Transport = &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
	o.proxy.FlushInterval = -1
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	front := &http.Server{Handler: o, ReadHeaderTimeout: 10 * time.Second}
	group.Go(func() { _ = front.Serve(l) }) // ends with Close
	defer front.Close()
	n, err := startNginx(ctx, c, l.Addr().String())
	if err != nil {
		return nil, err
	}
	defer n.stop()
	out := &Report{Config: c, Version: n.version}
	began := time.Now()
	before := cpuOf(s.PID(), n.pids()...)
	crowd := play(ctx, c, n.address)
	after := cpuOf(s.PID(), n.pids()...)
	out.Took = time.Since(began)
	out.CPU = [3]time.Duration{after[0] - before[0], after[1] - before[1]}
	if published != nil && ctx.Err() == nil {
		return nil, fmt.Errorf("cache: the publisher: %w", published)
	}
	crowd.fill(out)
	o.fill(out)
	if out.Asked == 0 {
		return nil, errors.New("cache: nobody played")
	}
	return out, ctx.Err()
}

// fill says what came to the server.
func (o *origin) fill(out *Report) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for uri, n := range o.came {
		out.Came += n
		if !cacheable(uri) {
			continue
		}
		out.CameCacheable += n
		out.Names++
		if strings.Contains(uri, "_HLS_msn=") {
			out.Playlists++
		} else {
			out.Parts++
		}
		out.Most = max(out.Most, n)
		if n > 1 {
			out.Again++
			out.AgainNames = append(out.AgainNames, fmt.Sprintf("%d × %s", n, uri))
		}
	}
	slices.Sort(out.AgainNames)
}

// camera is video and sound without end, with a key frame a second.
func camera() av.Demuxer {
	return avtest.NewSynthetic(avtest.Spec{
		Video: avtest.Video{Frames: 1 << 20, GOPs: []int{25}, Timebase: av.Timebase{Num: 1, Den: 1000}, FrameDur: 40, Size: 4000},
		Audio: avtest.Audio{Frames: 1 << 20},
	})
}

// nginx is a process.
type nginx struct {
	cmd              *exec.Cmd
	address, version string
	dir              string
}

func startNginx(ctx context.Context, c Config, origin string) (*nginx, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	n := &nginx{address: l.Addr().String(), dir: filepath.Join(c.Dir, "nginx")}
	l.Close()
	if err := os.MkdirAll(n.dir, 0o777); err != nil {
		return nil, err
	}
	if err := os.Chmod(n.dir, 0o777); err != nil { // started by root its workers are somebody else
		return nil, err
	}
	version, err := exec.CommandContext(ctx, c.Nginx, "-v").CombinedOutput()
	if err != nil {
		return nil, err
	}
	n.version = strings.TrimPrefix(strings.TrimSpace(string(version)), "nginx version: ")
	conf := filepath.Join(n.dir, "nginx.conf")
	text := strings.NewReplacer("@LISTEN@", n.address, "@ORIGIN@", origin, "@DIR@", n.dir).Replace(Conf)
	if err := os.WriteFile(conf, []byte("daemon off;\n"+text), 0o644); err != nil {
		return nil, err
	}
	n.cmd = exec.Command(c.Nginx, "-c", conf, "-e", filepath.Join(n.dir, "error.log"))
	if err := n.cmd.Start(); err != nil {
		return nil, err
	}
	for range 100 {
		conn, err := net.Dial("tcp", n.address)
		if err == nil {
			conn.Close()
			return n, nil
		}
		if err := pace.Sleep(ctx, 50*time.Millisecond); err != nil {
			break
		}
	}
	n.stop()
	said, _ := os.ReadFile(filepath.Join(n.dir, "error.log"))
	return nil, fmt.Errorf("cache: nginx does not listen: %s", said)
}

func (n *nginx) stop() {
	_ = n.cmd.Process.Signal(syscall.SIGTERM)
	_ = n.cmd.Wait() // by the signal
}

// pids are nginx's processes: the master's and its workers'.
func (n *nginx) pids() []int {
	list := []int{n.cmd.Process.Pid}
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", list[0], list[0])) // without it the master's alone
	for _, word := range strings.Fields(string(b)) {
		var pid int
		if _, err := fmt.Sscan(word, &pid); err == nil {
			list = append(list, pid)
		}
	}
	return list
}

// cpuOf returns the CPU time so far of one process, and of others together.
func cpuOf(pid int, others ...int) (out [2]time.Duration) {
	for i, p := range append([]int{pid}, others...) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p))
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		f := strings.Fields(rest)
		if len(f) < 13 {
			continue
		}
		var user, system int64
		_, err1 := fmt.Sscan(f[11], &user)
		_, err2 := fmt.Sscan(f[12], &system)
		if err1 == nil && err2 == nil {
			out[min(i, 1)] += time.Duration(user+system) * 10 * time.Millisecond // of USER_HZ, 100 on Linux
		}
	}
	return out
}
