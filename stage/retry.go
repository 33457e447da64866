package stage

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/cleave-video/cleave/internal/pace"
)

// Retry says how often a stage is tried. The zero value is the default of each field.
type Retry struct {
	Tries  int           // 0: 3
	First  time.Duration // before the second try, doubled with each, half of it by chance; 0: 200 ms
	Within time.Duration // no try begins later; 0: 10 s
}

// Run runs a stage, again while its error wraps ErrTransient. It returns the last error.
func (r Retry) Run(ctx context.Context, s Stage, o *Object) error {
	if r.Tries <= 0 {
		r.Tries = 3
	}
	if r.First <= 0 {
		r.First = 200 * time.Millisecond
	}
	if r.Within <= 0 {
		r.Within = 10 * time.Second
	}
	began := time.Now()
	for wait := r.First; ; wait *= 2 {
		err := s.Run(ctx, o)
		r.Tries--
		if err == nil || !errors.Is(err, ErrTransient) || r.Tries == 0 || ctx.Err() != nil {
			return err
		}
		pause := wait/2 + rand.N(wait/2+1)
		if time.Since(began)+pause > r.Within {
			return err
		}
		if pace.Sleep(ctx, pause) != nil {
			return err
		}
	}
}
