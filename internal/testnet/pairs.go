// Package testnet has what tests need of a network: ports, connections, certificates.
package testnet

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync/atomic"
)

// Pairs gives pairs of UDP ports of the loopback, of which the first is even, as RTP and
// RTCP have them. They are below those that the system hands out, and those that ffmpeg
// takes as a client (from 5000 on), so that nobody takes them meanwhile, and each pair is
// given once. Its methods are safe for concurrent use.
type Pairs struct{ n atomic.Int32 }

const firstPort, numPorts = 2000, 3000

// NewPairs counts from a random place, so that tests in several processes do not meet.
func NewPairs() *Pairs {
	p := new(Pairs)
	p.n.Store(rand.Int32N(numPorts))
	return p
}

// Next returns the address of a pair's first port. Both are free.
func (p *Pairs) Next() (string, error) {
	for range 100 {
		n := firstPort + 2*(p.n.Add(1)%(numPorts/2))
		a, err := net.ListenPacket("udp", fmt.Sprintf("127.0.0.1:%d", n))
		if err != nil {
			continue
		}
		b, err := net.ListenPacket("udp", fmt.Sprintf("127.0.0.1:%d", n+1))
		a.Close()
		if err == nil {
			return a.LocalAddr().String(), b.Close()
		}
	}
	return "", errors.New("testnet: no pair of ports is free")
}
