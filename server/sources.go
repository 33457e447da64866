package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/ingest/file"
	"github.com/cleave-video/cleave/ingest/hls"
	ingest "github.com/cleave-video/cleave/ingest/http"
	"github.com/cleave-video/cleave/ingest/pull"
	"github.com/cleave-video/cleave/live"
	"github.com/cleave-video/cleave/proto/rtmp"
	"github.com/cleave-video/cleave/proto/rtsp"
	"github.com/cleave-video/cleave/proto/srt"
)

// newSources returns the set of declared sources.
func newSources(c *Config, hub *live.Hub, client *http.Client) (*pull.Set, error) {
	publish := func(ctx context.Context, name string, d av.Demuxer, shown func()) error {
		return hub.PublishWith(ctx, name, d, live.PublishOptions{Shown: shown})
	}
	// Players of playlists come again once a target duration at least.
	look := func(name string) pull.Shown {
		s := hub.Lookup(name)
		if s == nil {
			return pull.Shown{}
		}
		e := s.Edge()
		return pull.Shown{There: s.Begun() && !e.Ended, Live: e.Live, Pace: 2 * time.Duration(e.TargetDuration) * time.Second}
	}
	set := pull.New(pull.Config{
		Open: openers(c.policy(), client), Check: live.CheckName, Publish: publish, Look: look, Forget: hub.Forget,
		Timeout: c.OnDemandTimeout, Idle: c.OnDemandIdle, Log: c.Log,
	})
	for _, s := range c.Sources {
		if err := set.Add(s); err != nil {
			return nil, fmt.Errorf("server: source %s: %w", s.Name, err)
		}
	}
	return set, nil
}

// policy says which addresses sources may have.
func (c *Config) policy() pull.Policy { return pull.Policy{AllowPrivate: c.AllowPrivate} }

// openers are how to open the URLs of each scheme.
func openers(policy pull.Policy, client *http.Client) map[string]pull.Open {
	fromHTTP := func(ctx context.Context, u *url.URL) (av.Demuxer, error) {
		if strings.HasSuffix(u.Path, ".m3u8") {
			return notNil(hls.Pull(ctx, client, u))
		}
		return notNil(ingest.Pull(ctx, client, u, 0))
	}
	fromRTMP := func(ctx context.Context, u *url.URL) (av.Demuxer, error) {
		return notNil(rtmp.Pull(ctx, u.String(), rtmp.PullConfig{Dial: policy.DialContext}))
	}
	fromRTSP := func(ctx context.Context, u *url.URL) (av.Demuxer, error) {
		v := *u
		q := v.Query()
		c := rtsp.PullConfig{Dial: policy.DialContext, Resolve: policy.Resolve, Transport: q.Get("transport")}
		if q.Has("transport") { // ours, not the server's
			q.Del("transport")
			v.RawQuery = q.Encode()
		}
		return notNil(rtsp.Pull(ctx, &v, c))
	}
	fromSRT := func(ctx context.Context, u *url.URL) (av.Demuxer, error) {
		return notNil(srt.Pull(ctx, u, srt.PullConfig{Resolve: policy.Resolve}))
	}
	return map[string]pull.Open{
		"http": fromHTTP, "https": fromHTTP, "rtmp": fromRTMP, "rtmps": fromRTMP, "rtsp": fromRTSP, "rtsps": fromRTSP, "srt": fromSRT, "file": fromFiles,
	}
}

// notNil keeps a nil pointer from becoming a Demuxer that is not nil.
func notNil[D av.Demuxer](d D, err error) (av.Demuxer, error) {
	if err != nil {
		return nil, err
	}
	return d, nil
}

// fromFiles plays file:///A?next=/B&next=/C, and begins anew unless loop=no.
func fromFiles(ctx context.Context, u *url.URL) (av.Demuxer, error) {
	if u.Host != "" || u.Path == "" {
		return nil, fmt.Errorf("server: %s is not file:///PATH", u)
	}
	q := u.Query()
	return notNil(file.PlayLive(ctx, append([]string{u.Path}, q["next"]...), q.Get("loop") != "no"))
}

// errFileSource: what asks by HTTP shall not find out about the server's files.
var errFileSource = errors.New("server: files are declared in the configuration only")
