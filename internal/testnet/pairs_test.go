package testnet

import (
	"net/netip"
	"testing"
)

func TestPairs(t *testing.T) {
	p, seen := NewPairs(), make(map[uint16]bool)
	for range 20 {
		s, err := p.Next()
		if err != nil {
			t.Fatal(err)
		}
		a, err := netip.ParseAddrPort(s)
		if err != nil || a.Port()%2 != 0 || a.Port() < firstPort || a.Port() >= firstPort+numPorts || seen[a.Port()] {
			t.Errorf("%s, %v", s, err)
		}
		seen[a.Port()] = true
	}
}
