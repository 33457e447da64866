// Package tcpinfo reads what the kernel knows of a TCP connection's way to its peer, and
// tells it how long to wait for that.
package tcpinfo

import (
	"errors"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Info is the state of a connection that is written to (TCP_INFO, tcp(7)).
type Info struct {
	RTT     time.Duration // smoothed round trip
	Backlog int64         // bytes written that were not sent yet
	Rate    int64         // bytes a second that the peer has taken lately; 0: not known
}

// Conn asks about one connection. It belongs to one goroutine at a time.
type Conn struct {
	raw  syscall.RawConn
	call func(fd uintptr) // made once, so that asking allocates no closure
	info *unix.TCPInfo
	err  error
}

// New returns a Conn for the TCP connection below c, through those that say what they
// lie upon (NetConn, as tls.Conn does); nil if there is none.
func New(c net.Conn) *Conn {
	tcp, ok := Below(c).(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	t := &Conn{raw: raw}
	t.call = t.ask
	return t
}

// Below returns the lowest connection below c.
func Below(c net.Conn) net.Conn {
	for {
		x, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return c
		}
		c = x.NetConn()
	}
}

func (t *Conn) ask(fd uintptr) {
	t.info, t.err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
}

// Read asks the kernel.
func (t *Conn) Read() (Info, error) {
	if err := t.raw.Control(t.call); err != nil {
		return Info{}, err
	}
	if t.err != nil {
		return Info{}, t.err
	}
	return Info{
		RTT: time.Duration(t.info.Rtt) * time.Microsecond, Backlog: int64(t.info.Notsent_bytes),
		Rate: int64(min(t.info.Delivery_rate, 1<<62)),
	}, nil
}

// SetUserTimeout has the kernel end the TCP connection below c when what was written is not
// taken for so long (TCP_USER_TIMEOUT, tcp(7)): neither acknowledged, nor the window opened.
func SetUserTimeout(c net.Conn, d time.Duration) error {
	tcp, ok := Below(c).(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return err
	}
	cerr := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds()))
	})
	return errors.Join(err, cerr)
}
