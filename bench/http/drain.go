package main

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// drained is one connection that is read.
type drained struct {
	fd    int
	bytes int64
	taken int64 // packets that are whole
}

// drain is the second process: it connects, shakes hands, and then counts what comes,
// which it does not decrypt, by one thread.
func drain([]string) error {
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	var p plan
	if err := in.Decode(&p); err != nil {
		return err
	}
	epoll, err := unix.EpollCreate1(0)
	if err != nil {
		return err
	}
	conns := make([]*drained, p.Conns)
	for i := range conns {
		c, err := net.Dial("tcp", p.Address)
		if err != nil {
			return err
		}
		if err := tls.Client(c, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}).Handshake(); err != nil {
			return err
		}
		f, err := c.(*net.TCPConn).File() // a descriptor that the runtime does not poll
		if err != nil {
			return err
		}
		c.Close()
		conns[i] = &drained{fd: int(f.Fd())}
		defer f.Close()
		if err := unix.SetNonblock(conns[i].fd, true); err != nil {
			return err
		}
		e := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}
		if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, conns[i].fd, &e); err != nil {
			return err
		}
	}
	if err := in.Decode(&p); err != nil { // the time it begins
		return err
	}
	late, err := p.read(epoll, conns)
	if err != nil {
		return err
	}
	slices.Sort(late)
	sum := 0.0
	for _, l := range late {
		sum += l
	}
	return out.Encode(arrived{int64(len(late)), sum / float64(max(len(late), 1)), quantile(late, 0.5), quantile(late, 0.99)})
}

// read reads until everything has come, and returns how late each packet was, in ms.
func (p *plan) read(epoll int, conns []*drained) ([]float64, error) {
	want := int64(len(conns)) * int64(p.bursts()) * burst
	late := make([]float64, 0, want)
	events, buf := make([]unix.EpollEvent, 256), make([]byte, 1<<20)
	for deadline := p.Start.Add(2*p.Window + 30*time.Second); int64(len(late)) < want; {
		n, err := unix.EpollWait(epoll, events, 1000)
		if err != nil && err != unix.EINTR {
			return nil, err
		}
		now := time.Now()
		if now.After(deadline) {
			return nil, fmt.Errorf("%d packets of %d came in time", len(late), want)
		}
		for _, e := range events[:max(n, 0)] {
			c := conns[e.Fd]
			k, err := unix.Read(c.fd, buf)
			if err == unix.EAGAIN || err == unix.EINTR {
				continue
			}
			if k <= 0 {
				return nil, fmt.Errorf("a connection ended: %d, %w", k, err)
			}
			for c.bytes += int64(k); c.taken < c.bytes/wire; c.taken++ {
				late = append(late, float64(now.Sub(p.due(int(e.Fd), int(c.taken/burst))).Microseconds())/1000)
			}
		}
	}
	return late, nil
}
