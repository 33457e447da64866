package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// server is one contestant.
type server struct {
	name, program string
	protocols     []string
	config        string // the text of its file, in which @RTMP@, @HTTP@ and @DIR@ are replaced
	args          []string
	version       []string // arguments that make it print that
}

const nginxConfig = `daemon off; master_process off; worker_rlimit_nofile 8192; error_log @DIR@/error.log error; pid @DIR@/pid;
include /etc/nginx/modules-enabled/*.conf;
events { worker_connections 4096; }
rtmp { server { listen @RTMP@; application live { live on; } } }
`

const mediamtxConfig = `logLevel: warn
rtsp: no
hls: no
webrtc: no
srt: no
moq: no
rtmp: yes
rtmpAddress: @RTMP@
paths:
  all_others:
`

const srsConfig = `listen @RTMPPORT@; max_connections 4000; daemon off; srs_log_tank file; srs_log_file @DIR@/srs.log; srs_log_level error; pid @DIR@/srs.pid;
http_server { enabled on; listen @HTTPPORT@; dir @DIR@; }
vhost __defaultVhost__ { http_remux { enabled on; mount [vhost]/[app]/[stream].flv; } }
`

// find collects the contestants that are there.
func (b *bench) find(cleave string) {
	serve := []string{"serve", "--http", "@HTTP@", "--rtmp", "@RTMP@", "--data", "@DIR@/data"}
	all := []*server{
		{name: "cleave", program: cleave, protocols: []string{"rtmp", "flv"}, args: serve, version: []string{"version"}},
		{name: "cleave (other)", program: b.also, protocols: []string{"rtmp", "flv"}, args: serve, version: []string{"version"}},
		{name: "nginx-rtmp", program: "nginx", protocols: []string{"rtmp"}, config: nginxConfig, args: []string{"-c", "@DIR@/config"}, version: []string{"-v"}},
		{name: "SRS", program: os.Getenv("CLEAVE_BENCH_SRS"), protocols: []string{"rtmp", "flv"}, config: srsConfig, args: []string{"-c", "@DIR@/config"}, version: []string{"-v"}},
		{name: "MediaMTX", program: os.Getenv("CLEAVE_BENCH_MEDIAMTX"), protocols: []string{"rtmp"}, config: mediamtxConfig, args: []string{"@DIR@/config"}, version: []string{"--version"}},
	}
	only := strings.Split(b.only, ",")
	for _, s := range all {
		path, err := exec.LookPath(s.program)
		switch {
		case b.only != "" && !slices.Contains(only, s.name):
		case err == nil:
			if s.program, err = filepath.Abs(path); err == nil {
				b.servers = append(b.servers, s)
			}
		case s.name != "cleave (other)":
			b.absent = append(b.absent, s.name)
		}
	}
}

// process is a server that runs.
type process struct {
	*server
	cmd        *exec.Cmd
	rtmp, http string
}

// start starts a server and waits until it listens.
func (b *bench) start(ctx context.Context, s *server) (*process, error) {
	dir := filepath.Join(b.dir, "run")
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	p := &process{server: s}
	var err error
	if p.rtmp, err = free(); err == nil {
		p.http, err = free()
	}
	if err != nil {
		return nil, err
	}
	port := func(a string) string { return a[strings.LastIndexByte(a, ':')+1:] }
	r := strings.NewReplacer("@RTMP@", p.rtmp, "@HTTP@", p.http, "@RTMPPORT@", port(p.rtmp), "@HTTPPORT@", port(p.http), "@DIR@", dir)
	if s.config != "" {
		if err := os.WriteFile(dir+"/config", []byte(r.Replace(s.config)), 0o644); err != nil {
			return nil, err
		}
	}
	args := make([]string, len(s.args))
	for i, a := range s.args {
		args[i] = r.Replace(a)
	}
	p.cmd = exec.CommandContext(ctx, s.program, args...)
	p.cmd.Dir = dir
	out, err := os.Create(dir + "/output")
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p.cmd.Stdout, p.cmd.Stderr = out, out
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	for range 100 {
		if c, err := net.Dial("tcp", p.rtmp); err == nil {
			c.Close()
			return p, nil
		}
		pause(ctx, 100*time.Millisecond)
	}
	p.stop()
	text, _ := os.ReadFile(dir + "/output")
	return nil, fmt.Errorf("it does not listen: %s", text)
}

// stop ends the process by its own means, or after 10 s by force.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(10*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	_ = p.cmd.Wait()
}

// free finds an address that is free now.
func free() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// cpu is the time all threads of the process have run, to the nanosecond.
func (p *process) cpu() (time.Duration, error) {
	const sched = 2 // CPUCLOCK_SCHED: linux/posix-timers_types.h
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^p.cmd.Process.Pid<<3|sched), &t); err != nil {
		return 0, fmt.Errorf("clock of process %d: %w", p.cmd.Process.Pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// rss is the memory that is resident, in bytes.
func (p *process) rss() (float64, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(p.cmd.Process.Pid) + "/status")
	if err != nil {
		return 0, err
	}
	_, rest, _ := bytes.Cut(b, []byte("VmRSS:"))
	var kb float64
	_, err = fmt.Sscan(string(rest), &kb)
	return kb * 1024, err
}

// viewers is the process with the viewers.
type viewers struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func (b *bench) view(ctx context.Context, protocol string, p *process) (*viewers, error) {
	v := &viewers{cmd: exec.CommandContext(ctx, b.self, "load", protocol, p.address(protocol))}
	v.cmd.Stderr = os.Stderr
	var err error
	if v.in, err = v.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := v.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	v.out = bufio.NewReader(out)
	return v, v.cmd.Start()
}

func (p *process) address(protocol string) string {
	if protocol == "flv" {
		return p.http
	}
	return p.rtmp
}

// ask sends a line and returns the answer.
func (v *viewers) ask(line string) (s snapshot, err error) {
	if _, err = io.WriteString(v.in, line+"\n"); err != nil {
		return s, err
	}
	b, err := v.out.ReadBytes('\n')
	if err != nil {
		return s, fmt.Errorf("viewers: %w", err)
	}
	return s, json.Unmarshal(b, &s)
}

// grow has n viewers in all.
func (v *viewers) grow(n int) error {
	_, err := v.ask(strconv.Itoa(n))
	return err
}

// mark returns what was delivered since the last call.
func (v *viewers) mark() (snapshot, error) { return v.ask("") }

func (v *viewers) stop() {
	v.in.Close()
	_ = v.cmd.Wait()
}

// join has viewers join one by one.
func (b *bench) join(ctx context.Context, protocol string, p *process) (ms []float64, err error) {
	c := exec.CommandContext(ctx, b.self, "join", protocol, p.address(protocol), strconv.Itoa(b.joins))
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("joins: %w", err)
	}
	return ms, json.Unmarshal(out, &ms)
}
