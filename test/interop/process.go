package interop

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// said keeps the first bytes of what a program says.
type said struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

const maxSaid = 64 << 10

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if room := maxSaid - s.b.Len(); room > 0 {
		s.b.Write(p[:min(len(p), room)])
	}
	return len(p), nil
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// process is a program in a process group of its own, which ends with its context.
type process struct {
	cmd    *exec.Cmd
	stderr said
}

// program prepares a program. It is killed with all its children when ctx is done.
func program(ctx context.Context, name string, args ...string) *process {
	p := &process{cmd: exec.CommandContext(ctx, name, args...)}
	p.cmd.Stderr = &p.stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.Cancel = func() error { return syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) }
	p.cmd.WaitDelay = 2 * time.Second
	return p
}

// asNobody makes a program that refuses to run as root run as nobody.
func (p *process) asNobody(home string) {
	if os.Geteuid() == 0 {
		p.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: 65534, Gid: 65534}
	}
	p.cmd.Env = append(os.Environ(), "HOME="+home)
}

// run waits for a program whose end is expected.
func (p *process) run() (stdout string, err error) {
	var out said
	p.cmd.Stdout = &out
	err = p.cmd.Run()
	return out.String(), err
}

// lines starts a program and gives what it says line by line, until it has ended. ended
// has the error of that.
func (p *process) lines() (lines <-chan string, ended <-chan error, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	p.cmd.Stdout, p.cmd.Stderr = w, w
	err = p.cmd.Start()
	w.Close()
	if err != nil {
		r.Close()
		return nil, nil, err
	}
	said, end := make(chan string, 1<<12), make(chan error, 1)
	go func() {
		defer r.Close()
		for s := bufio.NewScanner(r); s.Scan(); {
			select {
			case said <- s.Text():
			default: // nobody reads any more
			}
		}
		close(said)
		end <- p.cmd.Wait()
	}()
	return said, end, nil
}

// start lets programs run, each reading what the one before it writes, until ctx is done.
// The function returned ends them earlier and waits for them; it says what they said.
func start(ctx context.Context, pipe ...func(ctx context.Context) *process) (stop func() string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	var all []*process
	stop = func() string {
		cancel()
		var text []string
		for _, p := range all {
			_ = p.cmd.Wait() // it was killed
			if s := strings.TrimSpace(p.stderr.String()); s != "" {
				text = append(text, filepath.Base(p.cmd.Path)+": "+s)
			}
		}
		return strings.Join(text, "\n")
	}
	var last *os.File
	for i, make := range pipe {
		p := make(ctx)
		p.cmd.Stdin = nil
		if last != nil {
			p.cmd.Stdin = last
		}
		var r, w *os.File
		if i < len(pipe)-1 {
			if r, w, err = os.Pipe(); err == nil {
				p.cmd.Stdout = w
			}
		}
		if err == nil {
			err = p.cmd.Start()
		}
		for _, f := range []*os.File{last, w} {
			if f != nil {
				f.Close()
			}
		}
		if last = r; err != nil {
			if r != nil {
				r.Close()
			}
			stop()
			return nil, err
		}
		all = append(all, p)
	}
	return stop, nil
}

// oneLine shortens what a program says for a cell of the table.
func oneLine(s string) string {
	var l []string
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); line != "" && len(l) < 3 {
			l = append(l, line)
		}
	}
	s = strings.Join(l, "; ")
	return s[:min(len(s), 240)]
}

// failure joins an error and what a program said.
func failure(err error, text string) error {
	text = oneLine(text)
	switch {
	case err == nil && text == "":
		return nil
	case err == nil:
		return errors.New(text)
	case text == "":
		return err
	}
	return fmt.Errorf("%w: %s", err, text)
}

var _ io.Writer = (*said)(nil)
