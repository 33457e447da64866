// Package child runs cleave as a process of its own, for tests from outside.
package child

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// Server is a process that serves on free ports of the loopback.
type Server struct {
	HTTP, RTMP, RTSP, SRT, Admin string // HOST:PORT

	cmd   *exec.Cmd
	mu    sync.Mutex // guards log
	log   bytes.Buffer
	ended chan struct{}
	err   error // of the process; valid once it has ended
}

// maxLog bounds the bytes of what a server says that are kept.
const maxLog = 1 << 20

// Write implements io.Writer, of what the process says.
func (s *Server) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.log.Len() < maxLog {
		s.log.Write(b)
	}
	return len(b), nil
}

// PID is the number of the process.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Log returns what the process has said so far, its first mebibyte.
func (s *Server) Log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

// Start runs binary with a data folder and more arguments, and returns when it serves. The
// caller must Stop it.
func Start(ctx context.Context, binary, data string, args ...string) (*Server, error) {
	s := &Server{ended: make(chan struct{})}
	for _, p := range []struct {
		network string
		to      *string
	}{{"tcp", &s.HTTP}, {"tcp", &s.RTMP}, {"tcp", &s.RTSP}, {"udp", &s.SRT}, {"tcp", &s.Admin}} {
		address, err := free(p.network)
		if err != nil {
			return nil, err
		}
		*p.to = address
	}
	s.cmd = exec.Command(binary, append([]string{
		"serve", "--data", data, "--http", s.HTTP, "--rtmp", s.RTMP, "--rtsp", s.RTSP, "--rtsp-udp", "off", "--srt", s.SRT, "--admin", s.Admin,
	}, args...)...)
	s.cmd.Stderr = s
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		s.err = s.cmd.Wait()
		close(s.ended)
	}()
	if err := s.await(ctx); err != nil {
		log, _ := s.Stop()
		return nil, fmt.Errorf("%w\n%s", err, log)
	}
	return s, nil
}

// await waits until the server says that it is ready.
func (s *Server) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-s.ended:
			return fmt.Errorf("the server did not start: %w", s.err)
		case <-ctx.Done():
			return errors.New("the server did not start in time")
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Admin+"/readyz", nil)
		if err != nil {
			return err
		}
		if res, err := http.DefaultClient.Do(req); err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
		}
	}
}

// Stop ends the process as an operator would, by SIGTERM, after 30 s by SIGKILL, and
// returns what it said. The error is why that was no good end: a panic, or an exit status
// other than 0. Idempotent.
func (s *Server) Stop() (log string, err error) {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	late := time.NewTimer(30 * time.Second)
	defer late.Stop()
	select {
	case <-s.ended:
	case <-late.C:
		_ = s.cmd.Process.Kill()
		<-s.ended
		return s.Log(), errors.New("it did not end in 30 s")
	}
	log = s.Log()
	for lines := bufio.NewScanner(bytes.NewReader([]byte(log))); lines.Scan(); {
		if b := lines.Bytes(); bytes.HasPrefix(b, []byte("panic:")) || bytes.HasPrefix(b, []byte("fatal error:")) || bytes.Contains(b, []byte("http: panic serving")) {
			return log, errors.New(lines.Text())
		}
	}
	return log, s.err
}

// free returns an address of the loopback that nobody listens to now.
func free(network string) (string, error) {
	if network == "udp" {
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		defer c.Close()
		return c.LocalAddr().String(), nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
