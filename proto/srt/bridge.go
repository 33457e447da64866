package srt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/cleave-video/cleave/av"
)

// bridge stands between the library's caller and the network, by a socket of the
// loopback. The library's caller sends each handshake once, reads answers behind
// their end, waits for ever where there are two, and leaves a goroutine behind where
// one is a rejection. So the bridge repeats what is not answered, hands on one
// answer of each kind, and only what is whole.
type bridge struct {
	ctx   context.Context // ends it
	limit time.Duration   // for a connection
	outer *net.UDPConn    // to the server
	inner *net.UDPConn    // to the library
	group sync.WaitGroup

	mu       sync.Mutex // guards what follows
	peer     *net.UDPAddr
	socket   uint32 // the library's
	pending  []byte // the handshake that is not answered yet
	answered [2]bool
	err      error // why there is no connection
	closed   bool
}

const (
	handshakeEvery = 250 * time.Millisecond
	giveUpAfter    = 500 * time.Millisecond // by the library, behind the bridge
)

// Parts of packets. SRT 3, 3.2.1
//
//	control: 1(1) type(15) subtype(16) type-specific(32) timestamp(32) destination(32)
//	handshake behind it: version(32) encryption(16) extension(16) sequence(32) mtu(32)
//	window(32) kind(32) socket(32) cookie(32) address(128) {type(16) words(16) …}
const (
	packetHead    = 16
	handshakeSize = 48
	atExtension   = packetHead + 6
	atMTU         = packetHead + 12
	atKind        = packetHead + 20
	atSocket      = packetHead + 24
	magic         = 0x4A17
	kindInduction = 1
	kindConclude  = 0xFFFFFFFF
	firstReason   = 1000
	minMTU        = 76
	extResponse   = 2 // SRT_CMD_HSRSP
	flagsNeeded   = 0x01 | 0x02 | 0x08 | 0x10 | 0x20
	flagStream    = 0x40
	minVersion    = 0x010401
)

// newBridge opens both sockets.
func newBridge(ctx context.Context, to *net.UDPAddr, limit time.Duration) (*bridge, error) {
	outer, err := net.DialUDP("udp", nil, to)
	if err != nil {
		return nil, fmt.Errorf("srt: %w", err)
	}
	inner, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		outer.Close()
		return nil, fmt.Errorf("srt: %w", err)
	}
	b := &bridge{ctx: ctx, limit: limit, outer: outer, inner: inner}
	b.group.Go(b.up)
	b.group.Go(b.down)
	return b, nil
}

// up carries what the library sends.
func (b *bridge) up() {
	buf := make([]byte, 2048)
	for {
		n, from, err := b.inner.ReadFromUDP(buf)
		if err != nil {
			b.outer.Close()
			return
		}
		b.mu.Lock()
		if b.peer == nil {
			b.peer = from
		}
		own := from.Port == b.peer.Port
		if own && isHandshake(buf[:n]) {
			b.socket = binary.BigEndian.Uint32(buf[atSocket:])
			b.pending = append(b.pending[:0], buf[:n]...)
		}
		b.mu.Unlock()
		if own {
			_, _ = b.outer.Write(buf[:n]) // what is lost is asked for again
		}
	}
}

// down carries what the server sends.
func (b *bridge) down() {
	buf := make([]byte, 2048)
	for {
		n, err := b.outer.Read(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			b.fail(fmt.Errorf("srt: %w", err)) // nobody listens there
			continue
		}
		b.mu.Lock()
		peer := b.peer
		pass := peer != nil && (!isHandshake(buf[:n]) || b.answer(buf[:n]))
		b.mu.Unlock()
		if pass {
			_, _ = b.inner.WriteToUDP(buf[:n], peer)
		}
	}
}

func isHandshake(p []byte) bool {
	return len(p) >= packetHead+handshakeSize && p[0] == 0x80 && p[1] == 0
}

// answer decides whether a handshake is handed on. mu is held.
func (b *bridge) answer(p []byte) bool {
	kind := binary.BigEndian.Uint32(p[atKind:])
	i := 0
	switch {
	case b.err != nil:
		return false
	case kind == kindInduction:
		if binary.BigEndian.Uint32(p[packetHead:]) != 5 || binary.BigEndian.Uint16(p[atExtension:]) != magic {
			b.refuse(av.Errorf("srt", -1, "handshake", "%w: not of version 5", av.ErrUnsupported))
			return false
		}
	case kind == kindConclude:
		i = 1
		if err := checkConclusion(p); err != nil {
			b.refuse(err)
			return false
		}
	case kind >= firstReason && kind < firstReason+1000:
		b.refuse(&Refused{Reason(kind), "by the server"})
		return false
	default:
		return false
	}
	if b.answered[i] || i == 1 && !b.answered[0] {
		return false
	}
	b.answered[i] = true
	b.pending = b.pending[:0]
	return true
}

// checkConclusion makes sure that the library can read a conclusion and agrees with
// it.
func checkConclusion(p []byte) error {
	bad := func(field string) error { return av.Errorf("srt", -1, field, "%w", av.ErrInvalid) }
	if binary.BigEndian.Uint32(p[packetHead:]) != 5 {
		return bad("version")
	}
	if binary.BigEndian.Uint32(p[atMTU:]) < minMTU {
		return bad("mtu")
	}
	agreed := false
	for ext := p[packetHead+handshakeSize:]; len(ext) > 0; {
		if len(ext) < 4 {
			return bad("extension")
		}
		kind, n := binary.BigEndian.Uint16(ext), 4*int(binary.BigEndian.Uint16(ext[2:]))
		if ext = ext[4:]; n > len(ext) {
			return bad("extension")
		}
		if kind == extResponse {
			if n != 12 || binary.BigEndian.Uint32(ext) < minVersion {
				return bad("SRT version")
			}
			flags := binary.BigEndian.Uint32(ext[4:])
			if flags&flagsNeeded != flagsNeeded || flags&flagStream != 0 {
				return bad("flags")
			}
			agreed = true
		}
		ext = ext[n:]
	}
	if !agreed {
		return bad("extension")
	}
	return nil
}

func (b *bridge) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refuse(err)
}

// refuse says why there is no connection, and lets the library find out: it is made
// to send once more, to a socket that is deaf, so that its goroutine that reads has
// ended when it gives up. mu is held.
func (b *bridge) refuse(err error) {
	if b.err != nil || b.answered[1] {
		return
	}
	b.err = err
	if b.peer != nil && b.deafen() {
		p := make([]byte, packetHead+handshakeSize)
		p[0] = 0x80
		binary.BigEndian.PutUint32(p[12:], b.socket)
		binary.BigEndian.PutUint32(p[packetHead:], 5)
		binary.BigEndian.PutUint16(p[atExtension:], magic)
		binary.BigEndian.PutUint32(p[atMTU:], 1500)
		binary.BigEndian.PutUint32(p[atKind:], kindInduction)
		_, _ = b.inner.WriteToUDP(p, b.peer)
	}
	b.inner.Close()
}

// deafen makes the inner socket one that takes from nobody, but can still send: what
// the library sends is then answered with ICMP's "port unreachable".
func (b *bridge) deafen() bool {
	raw, err := b.inner.SyscallConn()
	if err != nil {
		return false
	}
	own := b.inner.LocalAddr().(*net.UDPAddr)
	to := &syscall.SockaddrInet4{Port: own.Port, Addr: [4]byte(own.IP.To4())}
	var cerr error
	err = raw.Control(func(fd uintptr) { cerr = syscall.Connect(int(fd), to) })
	return err == nil && cerr == nil
}

// connect repeats handshakes until there is a connection, or none.
func (b *bridge) connect() {
	tick := time.NewTicker(handshakeEvery)
	defer tick.Stop()
	late := time.NewTimer(b.limit)
	defer late.Stop()
	for {
		select {
		case <-b.ctx.Done():
			b.fail(context.Cause(b.ctx))
			return
		case <-late.C:
			b.fail(ErrTimeout)
			return
		case <-tick.C:
		}
		b.mu.Lock()
		again := append([]byte(nil), b.pending...)
		over := b.answered[1] || b.err != nil || b.closed
		b.mu.Unlock()
		if over {
			return
		}
		if len(again) > 0 {
			_, _ = b.outer.Write(again)
		}
	}
}

// why returns why there is no connection.
func (b *bridge) why() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// Close ends the bridge and waits for it.
func (b *bridge) Close() error {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.inner.Close()
	b.outer.Close()
	b.group.Wait()
	return nil
}
