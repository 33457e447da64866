package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// snapshot is what viewers say of the time since the last one.
type snapshot struct {
	Viewers, Alive int
	Started        int // that have had a key frame, ever
	Bytes          int64
	Least          int64   // pictures of the viewer that got fewest
	P50, P99       float64 // ms from publisher to viewer, of all pictures
	Error          string  // of one that is not alive
}

// viewer is one connection of the load.
type viewer struct {
	conn    *net.TCPConn
	fd      int
	scan    scanner
	bytes   int64
	frames  int64
	started bool
	err     error
}

// crowd is the viewers of one process. One goroutine reads all connections into one
// buffer.
type crowd struct {
	protocol, address string
	epoll             int
	now               int64 // ns
	latency           []int32

	mu      sync.Mutex // guards what follows, and the viewers
	viewers []*viewer
	byFD    map[int32]*viewer
}

// load is the second process: each line of its input is a number of viewers to grow
// to, or empty for a snapshot, and each is answered by a snapshot.
func load(protocol, address string) error {
	epoll, err := unix.EpollCreate1(0)
	if err != nil {
		return err
	}
	c := &crowd{protocol: protocol, address: address, epoll: epoll, byFD: map[int32]*viewer{}}
	go c.read()
	out := json.NewEncoder(os.Stdout)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		if in.Text() != "" {
			n, err := strconv.Atoi(in.Text())
			if err != nil {
				return err
			}
			if err := c.grow(n); err != nil {
				return err
			}
		}
		if err := out.Encode(c.snapshot()); err != nil {
			return err
		}
	}
	return nil
}

// grow connects viewers, some at a time, until there are n, and waits until each has
// had a key frame.
func (c *crowd) grow(n int) error {
	const atATime = 8
	for c.count() < n {
		var group sync.WaitGroup
		var failed error
		var once sync.Once
		for range min(atATime, n-c.count()) {
			group.Go(func() {
				if err := c.add(); err != nil {
					once.Do(func() { failed = err })
				}
			})
		}
		group.Wait()
		if failed != nil {
			return failed
		}
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		waiting, err := c.waiting()
		if waiting == 0 || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d of %d viewers get no key frame", waiting, n)
		}
	}
}

func (c *crowd) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.viewers)
}

func (c *crowd) waiting() (n int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, v := range c.viewers {
		if !v.started {
			n++
		}
		if v.err != nil {
			err = v.err
		}
	}
	return n, err
}

func (c *crowd) add() error {
	v := new(viewer)
	conn, scan, err := connect(c.protocol, c.address, func(m *message) { c.whole(v, m) })
	if err != nil {
		return err
	}
	v.conn, v.scan = conn.(*net.TCPConn), scan
	raw, err := v.conn.SyscallConn()
	if err != nil {
		return err
	}
	if err := raw.Control(func(fd uintptr) { v.fd = int(fd) }); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.viewers = append(c.viewers, v)
	c.byFD[int32(v.fd)] = v
	return unix.EpollCtl(c.epoll, unix.EPOLL_CTL_ADD, v.fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(v.fd)})
}

// whole counts a message.
func (c *crowd) whole(v *viewer, m *message) {
	is, key, sent := m.picture()
	if !is {
		return
	}
	v.frames++
	v.started = v.started || key
	if sent > 0 && c.now > 0 {
		c.latency = append(c.latency, int32((c.now-sent)/1000))
	}
}

// read reads whatever comes.
func (c *crowd) read() {
	events := make([]unix.EpollEvent, 256)
	b := make([]byte, 256<<10)
	for {
		n, err := unix.EpollWait(c.epoll, events, -1)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			panic(err)
		}
		c.mu.Lock()
		for _, e := range events[:n] {
			v := c.byFD[e.Fd]
			k, err := unix.Read(v.fd, b)
			if err == unix.EAGAIN || err == unix.EINTR {
				continue
			}
			if err == nil && k == 0 {
				err = io.EOF
			}
			if err == nil {
				c.now = time.Now().UnixNano()
				v.bytes += int64(k)
				err = v.scan.feed(b[:k])
			}
			if err != nil {
				v.err = err
				_ = unix.EpollCtl(c.epoll, unix.EPOLL_CTL_DEL, v.fd, nil)
			}
		}
		c.mu.Unlock()
	}
}

func (c *crowd) snapshot() snapshot {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := snapshot{Viewers: len(c.viewers), Least: 1 << 62}
	for _, v := range c.viewers {
		if v.err == nil {
			s.Alive++
		} else {
			s.Error = v.err.Error()
		}
		if v.started {
			s.Started++
		}
		s.Bytes += v.bytes
		s.Least = min(s.Least, v.frames)
		v.bytes, v.frames = 0, 0
	}
	slices.Sort(c.latency)
	if n := len(c.latency); n > 0 {
		s.P50, s.P99 = float64(c.latency[n/2])/1000, float64(c.latency[n*99/100])/1000
	}
	c.latency = c.latency[:0]
	return s
}

// join is the second process, too: viewers come one by one, at any time, and go once
// they have the last byte of a key frame. It prints how long that took, in ms.
func join(protocol, address, count string) error {
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	out := make([]float64, 0, n)
	b := make([]byte, 256<<10)
	for range n {
		time.Sleep(time.Duration(rand.Int64N(int64(300 * time.Millisecond))))
		got := false
		start := time.Now()
		c, s, err := connect(protocol, address, func(m *message) {
			_, key, _ := m.picture()
			got = got || key
		})
		if err != nil {
			return err
		}
		_ = c.SetReadDeadline(start.Add(20 * time.Second))
		for !got {
			k, err := c.Read(b)
			if err == nil {
				err = s.feed(b[:k])
			}
			if err != nil {
				return err
			}
		}
		out = append(out, float64(time.Since(start).Microseconds())/1000)
		c.Close()
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}
