// Package peer says whom a client's address counts as, where places are shared out
// among clients.
package peer

import "net/netip"

// Key returns what a client of an address, HOST:PORT or HOST, is counted by: the
// IPv4 address, or the first 64 bits of the IPv6 address, since whoever has one of
// these has all of the network's. What is no address is its own key.
func Key(address string) string {
	a, err := netip.ParseAddr(address)
	if p, err2 := netip.ParseAddrPort(address); err2 == nil {
		a, err = p.Addr(), nil
	}
	if err != nil {
		return address
	}
	a = a.Unmap().WithZone("")
	if a.Is4() {
		return a.String()
	}
	p, _ := a.Prefix(64) // of an IPv6 address there is one
	return p.String()
}
