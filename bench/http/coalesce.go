package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/cleave-video/cleave/httpio"
)

// Of packets that a media server would send by TLS.
const (
	packet     = 1200
	burst      = 12
	packetRate = 60_000 // a second at most, of all connections
	wire       = packet + 22
	mostBursts = 30 // a second, of a connection
)

// way is how packets are written.
type way struct {
	name    string
	size    int // 0: each record by itself
	flushes bool
}

func ways() []way {
	return []way{
		{"off", 0, false},
		{"8 KiB", 8 << 10, false},
		{"16 KiB", 16 << 10, false},
		{"64 KiB", 64 << 10, false},
		{"64 KiB, flushed behind each burst", 64 << 10, true},
	}
}

// outcome is one measurement of a way.
type outcome struct {
	packets        int64
	writes, cpu    float64 // a packet; µs
	mean, p50, p99 float64 // ms from when the packet was due until it was read
}

// plan is what the clients are told: everything is due by it.
type plan struct {
	Address string
	Conns   int
	Start   time.Time
	Every   time.Duration // a connection's bursts
	Window  time.Duration
}

// due is when the burst j of connection i is.
func (p *plan) due(i, j int) time.Time {
	return p.Start.Add(p.Every*time.Duration(j) + p.Every*time.Duration(i)/time.Duration(p.Conns))
}

func (p *plan) bursts() int { return int(p.Window / p.Every) }

// arrived is what the clients tell.
type arrived struct {
	Packets        int64
	Mean, P50, P99 float64
}

// coalescing compares ways, each of them in each round.
func (b *bench) coalescing(ctx context.Context, w io.Writer) error {
	pair, err := tls.LoadX509KeyPair(b.cert, b.key)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "## TLS: records by one system call\n\n%d packets of %d bytes a burst, %d packets a second in all at most; CPU is that of the sender, "+
		"latency from the time a packet was due until its last byte was read, in another process.\n\n"+
		"| connections | batch | packets/s | writes a packet | fewer | CPU µs a packet | less | mean ms | p50 ms | p99 ms |\n|---|---|---|---|---|---|---|---|---|---|\n", burst, packet, packetRate)
	for _, n := range b.conns {
		got := map[string][]outcome{}
		for range b.rounds {
			for _, x := range ways() {
				o, err := b.bursts(ctx, &pair, n, x)
				if err != nil {
					return fmt.Errorf("%s: %w", x.name, err)
				}
				got[x.name] = append(got[x.name], o)
			}
		}
		of := func(x way, f func(o outcome) float64) float64 {
			var list []float64
			for _, o := range got[x.name] {
				list = append(list, f(o))
			}
			return median(list)
		}
		base := ways()[0]
		for _, x := range ways() {
			writes, cpu := func(o outcome) float64 { return o.writes }, func(o outcome) float64 { return o.cpu }
			fmt.Fprintf(w, "| %d | %s | %.0f | %.3f | %.1f × | %.2f | %.2f × | %.2f | %.2f | %.2f |\n", n, x.name,
				of(x, func(o outcome) float64 { return float64(o.packets) / b.window.Seconds() }), of(x, writes), of(base, writes)/of(x, writes), of(x, cpu), of(base, cpu)/of(x, cpu),
				of(x, func(o outcome) float64 { return o.mean }), of(x, func(o outcome) float64 { return o.p50 }), of(x, func(o outcome) float64 { return o.p99 }))
		}
	}
	fmt.Fprintln(w)
	return nil
}

// bursts measures one way.
func (b *bench) bursts(ctx context.Context, pair *tls.Certificate, conns int, x way) (out outcome, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return out, err
	}
	defer l.Close()
	every := max(time.Second/mostBursts, time.Duration(conns*burst)*time.Second/packetRate)
	p := plan{Address: l.Addr().String(), Conns: conns, Every: every, Window: b.window}
	c := exec.CommandContext(ctx, b.self, "drain")
	in, err1 := c.StdinPipe()
	answer, err2 := c.StdoutPipe()
	if err := errors.Join(err1, err2, c.Start()); err != nil {
		return out, err
	}
	defer func() { in.Close(); err = errors.Join(err, c.Wait()) }()
	enc, dec := json.NewEncoder(in), json.NewDecoder(bufio.NewReader(answer))
	if err := enc.Encode(p); err != nil {
		return out, err
	}
	all := httpio.Coalescing{Size: x.size}
	senders := make([]sender, conns)
	for i := range senders {
		conn, err := l.Accept()
		if err != nil {
			return out, err
		}
		defer conn.Close()
		if err := senders[i].open(conn, &all, pair, x); err != nil {
			return out, err
		}
	}
	p.Start = time.Now().Add(200 * time.Millisecond)
	if err := enc.Encode(p); err != nil {
		return out, err
	}
	before, cpu := all.Stats(), cpuTime()
	if err := send(&p, senders, x.flushes); err != nil {
		return out, err
	}
	spent := cpuTime() - cpu
	var a arrived
	if err := dec.Decode(&a); err != nil {
		return out, err
	}
	sent := int64(conns) * int64(p.bursts()) * burst
	writes := float64(all.Stats().Writes - before.Writes)
	if x.size == 0 {
		writes = float64(sent)
	}
	if a.Packets != sent {
		return out, fmt.Errorf("%d packets of %d arrived", a.Packets, sent)
	}
	return outcome{sent, writes / float64(sent), spent.Seconds() * 1e6 / float64(sent), a.Mean, a.P50, a.P99}, nil
}

// sender is one connection.
type sender struct {
	tls   *tls.Conn
	below *httpio.Coalesced
}

func (s *sender) open(conn net.Conn, all *httpio.Coalescing, pair *tls.Certificate, x way) error {
	if x.size > 0 {
		s.below = all.Conn(conn)
		conn = s.below
	}
	s.tls = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{*pair}, MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true})
	if err := s.tls.Handshake(); err != nil {
		return err
	}
	if s.below != nil {
		return s.below.Hold()
	}
	return nil
}

// send sends what is due, by one goroutine for each connection.
func send(p *plan, senders []sender, flushes bool) error {
	var group sync.WaitGroup
	failed := make(chan error, len(senders))
	for i := range senders {
		group.Go(func() {
			data := make([]byte, packet)
			s := &senders[i]
			for j := range p.bursts() {
				time.Sleep(time.Until(p.due(i, j)))
				for range burst {
					if _, err := s.tls.Write(data); err != nil {
						failed <- err
						return
					}
				}
				if !flushes {
					continue
				}
				if err := s.below.Flush(); err != nil {
					failed <- err
					return
				}
			}
			if s.below != nil {
				if err := s.below.Flush(); err != nil {
					failed <- err
				}
			}
		})
	}
	group.Wait()
	close(failed)
	return <-failed
}

// cpuTime is user and system time of this process.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
