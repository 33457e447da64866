package srt

import (
	"sync"
	"time"
)

// A host whose requests are refused so often within so long is not listened to
// until that time is over: to try a passphrase costs thousands of hashes here.
const (
	refusalsAllowed = 10
	refusalsWithin  = 10 * time.Second
	hostsKept       = 1024
)

// refusals counts refused requests by host.
type refusals struct {
	mu    sync.Mutex // guards hosts
	hosts map[string]window
}

type window struct {
	since time.Time
	n     int
}

// blocked reports whether a host has been refused too often.
func (r *refusals) blocked(host string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.hosts[host]
	return w.n >= refusalsAllowed && now.Sub(w.since) < refusalsWithin
}

// add counts one refusal and reports whether it is the one that blocks the host.
func (r *refusals) add(host string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.hosts == nil {
		r.hosts = make(map[string]window)
	}
	w, known := r.hosts[host]
	if !known && len(r.hosts) >= hostsKept {
		r.forget(now)
	}
	if now.Sub(w.since) >= refusalsWithin {
		w = window{since: now}
	}
	w.n++
	r.hosts[host] = w
	return w.n == refusalsAllowed
}

// forget drops what is over; all, if nothing is.
func (r *refusals) forget(now time.Time) {
	for h, w := range r.hosts {
		if now.Sub(w.since) >= refusalsWithin {
			delete(r.hosts, h)
		}
	}
	if len(r.hosts) >= hostsKept {
		clear(r.hosts)
	}
}
