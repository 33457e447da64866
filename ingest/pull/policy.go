package pull

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

// Policy says which addresses may be pulled from. The zero value allows what is
// reachable from everywhere: no loopback, no private networks. It is asked when a
// connection is made, about the address that a name has turned out to be then.
type Policy struct {
	// AllowPrivate allows loopback addresses and private networks too.
	AllowPrivate bool
}

// ErrAddress is an address that the policy does not allow.
var ErrAddress = errors.New("pull: address not allowed")

// Networks that are no part of the public Internet (RFC 6890 and what followed),
// beyond those that net/netip names.
var (
	shared    = netip.MustParsePrefix("100.64.0.0/10")
	thisNet   = netip.MustParsePrefix("0.0.0.0/8")
	protocol  = netip.MustParsePrefix("192.0.0.0/24")
	benchmark = netip.MustParsePrefix("198.18.0.0/15")
	reserved  = netip.MustParsePrefix("240.0.0.0/4")
	nat64     = netip.MustParsePrefix("64:ff9b::/96")
	nat64own  = netip.MustParsePrefix("64:ff9b:1::/48")
	sixToFour = netip.MustParsePrefix("2002::/16")
	teredo    = netip.MustParsePrefix("2001::/32")
	siteLocal = netip.MustParsePrefix("fec0::/10")
)

// Check returns ErrAddress unless p allows ip. Link-local addresses, where clouds
// keep their secrets, multicast and what is no host's are never allowed.
func (p Policy) Check(ip netip.Addr) error {
	ip = ip.Unmap().WithZone("")
	switch {
	case !ip.IsValid(), ip.IsUnspecified(), ip.IsMulticast(), ip.IsLinkLocalUnicast(), thisNet.Contains(ip), reserved.Contains(ip):
		return fmt.Errorf("%w: %s", ErrAddress, ip)
	case ip.IsLoopback(), ip.IsPrivate(), shared.Contains(ip), protocol.Contains(ip), benchmark.Contains(ip), siteLocal.Contains(ip):
		if !p.AllowPrivate {
			return fmt.Errorf("%w: %s is not public", ErrAddress, ip)
		}
	case nat64own.Contains(ip), teredo.Contains(ip):
		return fmt.Errorf("%w: %s leads elsewhere", ErrAddress, ip)
	case nat64.Contains(ip):
		b := ip.As16()
		return p.Check(netip.AddrFrom4([4]byte(b[12:16])))
	case sixToFour.Contains(ip):
		b := ip.As16()
		return p.Check(netip.AddrFrom4([4]byte(b[2:6])))
	}
	return nil
}

// dialTimeout is for one connection, names included.
const dialTimeout = 10 * time.Second

// DialContext connects if p allows the address.
func (p Policy) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout, Control: func(_, address string, _ syscall.RawConn) error {
		a, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("%w: %s", ErrAddress, address)
		}
		return p.Check(a.Addr())
	}}
	return d.DialContext(ctx, network, address)
}

// Resolve returns an address of host that p allows.
func (p Policy) Resolve(ctx context.Context, host string) (netip.Addr, error) {
	list, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.Addr{}, err
	}
	err = fmt.Errorf("%w: %s has none", ErrAddress, host)
	for _, a := range list {
		if err = p.Check(a); err == nil {
			return a.Unmap(), nil
		}
	}
	return netip.Addr{}, err
}

// maxRedirects is how often an HTTP server may send on.
const maxRedirects = 3

// Client returns an HTTP client that connects as p allows, follows three redirects
// to http and https, and knows no proxy. It has no timeout for bodies.
func (p Policy) Client() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext: p.DialContext, ResponseHeaderTimeout: dialTimeout, TLSHandshakeTimeout: dialTimeout,
			IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 64 << 10, DisableCompression: true, ForceAttemptHTTP2: true,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects {
				return fmt.Errorf("pull: more than %d redirects", maxRedirects)
			}
			if r.URL.Scheme != "http" && r.URL.Scheme != "https" {
				return fmt.Errorf("%w: redirect to the scheme %q", ErrAddress, r.URL.Scheme)
			}
			return nil
		},
	}
}
