package replay

import (
	"context"
	"errors"
	"time"

	"github.com/cleave-video/cleave/index"
)

// last returns when a stream that is over was published the last time: from its last
// chunk back to where nothing had come for longer than a stream is waited for, at most as
// far as a playlist goes.
func (h *Handler) last(ctx context.Context, name string) (p period, err error) {
	end, err := h.lastOf(ctx, name)
	if errors.Is(err, index.ErrNotFound) {
		return p, errNone
	}
	if err != nil {
		return p, err
	}
	before := time.Time{}
	err = index.Pass(ctx, h.cfg.Index, name, end.Add(-maxPeriod+time.Hour), time.Time{}, func(e *index.Entry) bool {
		if p.From.IsZero() || e.Wall.Sub(before) > h.cfg.Hub.Rest() {
			p.From = e.Wall
		}
		if end := e.End(); end.After(before) {
			before = end
		}
		return true
	})
	if err == nil && p.From.IsZero() {
		err = errNone
	}
	p.To = end.Add(time.Nanosecond)
	return p, err
}
