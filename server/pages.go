package server

import (
	"fmt"
	"net"
	"strings"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/live"
	"github.com/cleave-video/cleave/web"
)

// home is what the first page shows to a client that asked for host.
func (x *routes) home(host string) web.Home {
	h := web.Home{Publish: x.addrs.publish(host)}
	for _, name := range x.names() {
		if s := x.hub.Lookup(name); s != nil {
			h.Streams = append(h.Streams, show(s))
		} else if x.hub.Known(name) {
			h.Streams = append(h.Streams, web.Stream{Name: name, State: "starts when it is watched"})
		}
	}
	return h
}

// show says how a stream is and what it has.
func show(s *live.Stream) web.Stream {
	e := s.Edge()
	v := web.Stream{Name: s.Name(), State: "waits for its publisher"}
	switch {
	case e.Ended:
		v.State = "ended"
	case e.Live && len(e.Renditions) > 0:
		v.State, v.Live = "live", true
	case e.Live || len(e.Renditions) == 0:
		v.State = "begins"
	}
	for i := range e.Renditions {
		r := &e.Renditions[i]
		track := r.Track.Codec.String()
		if r.Track.Kind == av.Video && r.Info.Width > 0 {
			track += fmt.Sprintf(" %d × %d", r.Info.Width, r.Info.Height)
		}
		v.Tracks = append(v.Tracks, track)
	}
	return v
}

// publish lists where a client that asked for host may publish.
func (a *Addrs) publish(host string) []string {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	if name = strings.Trim(name, "[]"); name == "" {
		name = "THIS-HOST"
	}
	var out []string
	for _, p := range []struct {
		addr net.Addr
		form string
	}{
		{a.RTMP, "rtmp://%s/live/NAME"},
		{a.SRT, "srt://%s?streamid=publish:live/NAME"},
		{a.RTSP, "rtsp://%s/live/NAME"},
		{a.HTTP, "http://%s/live/NAME.ts"},
	} {
		if p.addr == nil {
			continue
		}
		if _, port, err := net.SplitHostPort(p.addr.String()); err == nil {
			out = append(out, fmt.Sprintf(p.form, net.JoinHostPort(name, port)))
		}
	}
	return out
}
