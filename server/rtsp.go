package server

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/deliver"
	"github.com/cleave-video/cleave/live"
	"github.com/cleave-video/cleave/proto/rtsp"
)

const (
	// describeWait is how long a player waits for the first key frame of a stream.
	describeWait = 10 * time.Second
	// playBatch is how many packets a player is written at a time.
	playBatch = 16
)

// describeRTSP returns the tracks of a stream, once it can be watched.
func (p *ports) describeRTSP(ctx context.Context, name string) ([]av.Track, error) {
	s, leave, err := p.hub.Await(ctx, name)
	if err != nil {
		code, text, _ := deliver.Explain(err)
		return nil, &rtsp.Refused{Status: code, Description: text}
	}
	defer leave()
	if s.Guarded() != nil {
		return nil, &rtsp.Refused{Status: http.StatusForbidden, Description: inTheClear}
	}
	if v := p.hub.Viewers(); v.In >= v.Most { // later it could only end the session
		return nil, &rtsp.Refused{Status: http.StatusServiceUnavailable, Description: live.ErrViewers.Error()}
	}
	ctx, cancel := context.WithTimeout(ctx, describeWait)
	defer cancel()
	c := s.NewCursor(live.CursorOptions{})
	defer c.Close()
	var one [1]av.Packet
	for c.Tracks() == nil {
		if _, err := c.Next(ctx, one[:]); err != nil && !errors.Is(err, av.ErrTracks) {
			return nil, &rtsp.Refused{Status: http.StatusServiceUnavailable, Description: "the stream has nothing to play now"}
		}
	}
	return c.Tracks(), nil
}

// playRTSP sends a player what the hub has, from the newest key frame on. When the tracks
// become others than it was told, its session ends.
func (p *ports) playRTSP(ctx context.Context, player *rtsp.Player) error {
	s, leave, err := p.hub.Await(ctx, player.Name())
	if err != nil {
		return err // it ended after it was described
	}
	defer leave()
	out, err := s.Admit(player.RemoteAddr().String(), "")
	if err != nil {
		return err
	}
	defer out()
	ctx, stalled := context.WithCancelCause(ctx)
	defer stalled(nil)
	c := s.NewCursor(live.CursorOptions{Stalled: func() { stalled(live.ErrStalled) }})
	defer c.Close()
	batch := make([]av.Packet, playBatch)
	for {
		n, err := c.Next(ctx, batch)
		var lag *live.LagError
		switch {
		case errors.Is(err, av.ErrTracks):
			if !player.Plays(c.Tracks()) {
				return errTracks
			}
		case err != nil && !errors.As(err, &lag): // who is late goes on at a key frame
			return err
		}
		for i := range batch[:n] {
			if err := player.Write(ctx, &batch[i], c.Offset()); err != nil {
				return err
			}
		}
	}
}

var errTracks = errors.New("server: the tracks changed, which a session of RTSP cannot tell its player")
