package libav

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cleave-video/cleave/format/libav/wire"
)

// process is one worker. All but kill belongs to one goroutine.
type process struct {
	cmd     *exec.Cmd
	conn    *net.UnixConn
	mem     []byte // shared with the worker: copy, then look
	stderr  tail
	timeout time.Duration
	buf     [wire.MessageSize + 1]byte
}

// start starts a worker; input may be nil.
func start(path string, input *os.File, timeout time.Duration) (*process, error) {
	mem, memory, err := share()
	if err != nil {
		return nil, err
	}
	defer memory.Close()
	ours, theirs, err := socket()
	if err != nil {
		unmap(mem)
		return nil, err
	}
	defer theirs.Close()
	p := &process{conn: ours, mem: mem, timeout: timeout}
	p.cmd = exec.Command(path, "worker")
	p.cmd.Env = environment()
	p.cmd.Stderr = &p.stderr
	p.cmd.ExtraFiles = []*os.File{theirs, memory}
	if input != nil {
		p.cmd.ExtraFiles = append(p.cmd.ExtraFiles, input)
	}
	if err := p.cmd.Start(); err != nil {
		ours.Close()
		unmap(mem)
		return nil, fault("worker", "%w: %w", ErrNoWorker, err)
	}
	return p, nil
}

// environment is what a worker is told of this process's: where libraries are.
func environment() []string {
	env := []string{"GOMAXPROCS=2"}
	if v, ok := os.LookupEnv("LD_LIBRARY_PATH"); ok {
		env = append(env, "LD_LIBRARY_PATH="+v)
	}
	return env
}

// share makes the memory file. Its size is sealed: were the worker to make it
// shorter, to read it here would be a fault.
func share() (mem []byte, f *os.File, err error) {
	fd, err := unix.MemfdCreate(workerName, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, nil, os.NewSyscallError("memfd_create", err)
	}
	f = os.NewFile(uintptr(fd), workerName)
	if err := f.Truncate(wire.MemorySize); err != nil {
		f.Close()
		return nil, nil, err
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL); err != nil {
		f.Close()
		return nil, nil, os.NewSyscallError("fcntl(F_ADD_SEALS)", err)
	}
	mem, err = unix.Mmap(int(f.Fd()), 0, wire.MemorySize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		f.Close()
		return nil, nil, os.NewSyscallError("mmap", err)
	}
	return mem, f, nil
}

func unmap(mem []byte) {
	if err := unix.Munmap(mem); err != nil {
		panic(err) // it is not what mmap gave
	}
}

// socket makes the pair that carries messages.
func socket() (ours *net.UnixConn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	theirs = os.NewFile(uintptr(fds[1]), "socket")
	f := os.NewFile(uintptr(fds[0]), "socket")
	c, err := net.FileConn(f)
	f.Close()
	if err == nil {
		if conn, ok := c.(*net.UnixConn); ok {
			return conn, theirs, nil
		}
		err = fmt.Errorf("libav: a socket of type %T", c)
	}
	theirs.Close()
	return nil, nil, err
}

// send sends m. The error wraps ErrHung if the worker does not take it.
func (p *process) send(m wire.Message) error {
	if err := p.conn.SetWriteDeadline(time.Now().Add(p.timeout)); err != nil {
		return err
	}
	_, err := p.conn.Write(m.Append(p.buf[:0]))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("%w: it took nothing for %v", ErrHung, p.timeout)
	}
	return err
}

// receive waits for the worker's next message. The error wraps ErrHung if none
// comes in time.
func (p *process) receive() (wire.Message, error) {
	if err := p.conn.SetReadDeadline(time.Now().Add(p.timeout)); err != nil {
		return wire.Message{}, err
	}
	n, err := p.conn.Read(p.buf[:])
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return wire.Message{}, fmt.Errorf("%w: nothing for %v", ErrHung, p.timeout)
	case err != nil:
		return wire.Message{}, err
	}
	return wire.Parse(p.buf[:n])
}

// slot returns descriptors and payload of a slot.
func (p *process) slot(i int) (descs, payload []byte) {
	s := p.mem[i*wire.SlotSize : (i+1)*wire.SlotSize]
	return s[:wire.DescsSize], s[wire.DescsSize:]
}

func (p *process) window() []byte { return p.mem[wire.WindowOff:wire.MemorySize] }

// text returns what the worker wrote at the start of a slot's payload, at most max
// bytes of it.
func (p *process) text(slot, n, most int) []byte {
	_, payload := p.slot(slot)
	return append([]byte(nil), payload[:min(n, most, len(payload))]...)
}

// put writes JSON for the worker.
func (p *process) put(v any) (int, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return 0, err
	}
	_, payload := p.slot(0)
	return copy(payload, b), nil
}

// kill ends the worker at once. Safe for concurrent use.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may be gone already
	_ = p.conn.Close()       // of a socket pair, nothing is lost
}

// stop ends the worker, waits for it and gives everything back. It returns how the
// worker ended and what it said last, which is of use if it ended by itself.
func (p *process) stop() string {
	p.kill()
	_ = p.cmd.Wait() // its state is asked for below
	unmap(p.mem)
	p.mem = nil
	return strings.TrimSpace(p.cmd.ProcessState.String() + ": " + p.stderr.line())
}

// tail keeps the beginning of what a worker says on standard error.
type tail struct {
	mu sync.Mutex // guards b
	b  []byte
}

const maxTail = 4 << 10

var _ io.Writer = (*tail)(nil)

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, b[:min(len(b), maxTail-len(t.b))]...)
	return len(b), nil
}

// line returns the first line.
func (t *tail) line() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	first, _, _ := strings.Cut(string(t.b), "\n")
	return first
}
