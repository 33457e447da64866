package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a server that runs.
type process struct {
	name, http, https, admin string
	cmd                      *exec.Cmd
}

// run starts a program and waits until it listens.
func (b *bench) run(ctx context.Context, name, program string, args func(p *process) ([]string, error)) (*process, error) {
	p := &process{name: name}
	for _, a := range []*string{&p.http, &p.https, &p.admin} {
		var err error
		if *a, err = free(); err != nil {
			return nil, err
		}
	}
	list, err := args(p)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	p.cmd = exec.CommandContext(ctx, program, list...)
	p.cmd.Stdout, p.cmd.Stderr = &out, &out
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	for range 100 {
		if c, err := net.Dial("tcp", p.https); err == nil {
			c.Close()
			return p, nil
		}
		pause(ctx, 100*time.Millisecond)
	}
	p.stop()
	return nil, fmt.Errorf("%s does not listen: %s", name, &out)
}

// serve starts cleave, with what it has in data.
func (b *bench) serve(ctx context.Context, name, data string, flags ...string) (*process, error) {
	return b.run(ctx, name, b.cleave, func(p *process) ([]string, error) {
		return append([]string{
			"serve", "--http", p.http, "--https", p.https, "--admin", p.admin, "--rtmp", "off", "--rtmps", "off", "--rtsp", "off", "--rtsps", "off", "--srt", "off",
			"--tls-cert", b.cert, "--tls-key", b.key, "--data", data, "--grace", "1h",
		}, flags...), nil
	})
}

const nginxConfig = `daemon off; error_log %[1]s/error.log error; pid %[1]s/pid; worker_processes auto; worker_rlimit_nofile 8192;
events { worker_connections 4096; }
http {
	sendfile on; tcp_nopush on; access_log off; keepalive_requests 1000000; open_file_cache max=100; types { video/mp4 m4s; }
	client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi; uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
	ssl_certificate %[2]s; ssl_certificate_key %[3]s; ssl_protocols TLSv1.2 TLSv1.3;
	server { listen %[4]s backlog=4096; listen %[5]s ssl; root %[1]s/files; }
}
`

// nginx starts nginx, which serves the folder files in dir.
func (b *bench) nginx(ctx context.Context, dir string) (*process, error) {
	return b.run(ctx, "nginx", "nginx", func(p *process) ([]string, error) {
		text := fmt.Sprintf(nginxConfig, dir, b.cert, b.key, p.http, p.https)
		return []string{"-c", filepath.Join(dir, "config")}, os.WriteFile(filepath.Join(dir, "config"), []byte(text), 0o644)
	})
}

// stop ends the process by its own means, or after 10 s by force.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(10*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	_ = p.cmd.Wait()
}

// cpu is user and system time of the process and those it has started, in seconds.
func (p *process) cpu() (float64, error) {
	const perSecond = 100 // USER_HZ
	pid := strconv.Itoa(p.cmd.Process.Pid)
	children, err := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children")
	if err != nil {
		return 0, err
	}
	sum := 0.0
	for _, id := range append(strings.Fields(string(children)), pid) {
		b, err := os.ReadFile("/proc/" + id + "/stat")
		if err != nil {
			return 0, err
		}
		f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:])) // from the state, the third field, on
		for _, x := range f[11:13] {
			n, err := strconv.ParseFloat(x, 64)
			if err != nil {
				return 0, err
			}
			sum += n / perSecond
		}
	}
	return sum, nil
}

// publish sends a file to a stream, as fast as it is taken.
func (p *process) publish(ctx context.Context, name, stream string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+p.http+"/"+stream+".ts", f)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode >= 300 {
		err = fmt.Errorf("%s: %s", res.Status, bytes.TrimSpace(text))
	}
	return err
}

// paced publishes a file at its own speed, by ffmpeg.
func (b *bench) paced(ctx context.Context, p *process, stream string) error {
	c := exec.CommandContext(ctx, "ffmpeg", "-v", "error", "-nostdin", "-re", "-stream_loop", "-1", "-i", b.dir+"/"+stream+".ts", "-c", "copy", "-f", "mpegts", "-method", "PUT", "http://"+p.http+"/"+stream+".ts")
	c.Stderr = os.Stderr
	return c.Run()
}

// listed waits until a playlist has a few parts.
func (p *process) listed(ctx context.Context, path string) error {
	for range 100 {
		if text, err := p.get(ctx, path); err == nil && bytes.Count(text, []byte("#EXT-X-PART:")) > 10 {
			return nil
		}
		pause(ctx, 200*time.Millisecond)
	}
	return fmt.Errorf("%s does not list parts", path)
}

// post sends JSON to the administration.
func (p *process) post(ctx context.Context, path, body string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+p.admin+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, res.Status)
	}
	return nil
}

// get returns an answer's body.
func (p *process) get(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.http+path, nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", path, res.Status)
	}
	return io.ReadAll(res.Body)
}

// count returns the sum of a metric's series whose labels contain all of with.
func (p *process) count(ctx context.Context, name string, with ...string) (float64, error) {
	admin := &process{http: p.admin}
	text, err := admin.get(ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	sum := 0.0
lines:
	for line := range strings.Lines(string(text)) {
		series, value, _ := strings.Cut(line, " ")
		if i := strings.LastIndexByte(line, ' '); i >= 0 {
			series, value = line[:i], line[i+1:]
		}
		if series != name && !strings.HasPrefix(series, name+"{") {
			continue
		}
		for _, w := range with {
			if !strings.Contains(series, w) {
				continue lines
			}
		}
		var x float64
		if _, err := fmt.Sscan(value, &x); err != nil {
			return 0, err
		}
		sum += x
	}
	return sum, nil
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

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
