package stage

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// trier fails as often as it has errors.
type trier struct {
	errs  []error
	takes time.Duration
	tries int
}

func (s *trier) Run(ctx context.Context, _ *Object) error {
	select {
	case <-time.After(s.takes):
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrTransient, context.Cause(ctx))
	}
	s.tries++
	if s.tries <= len(s.errs) {
		return s.errs[s.tries-1]
	}
	return nil
}

// What is transient is tried again, with pauses that grow; what is permanent is not.
func TestRetry(t *testing.T) {
	later, never := fmt.Errorf("%w: busy", ErrTransient), errors.New("never")
	for name, test := range map[string]struct {
		s           trier
		tries       int
		err         error
		least, most time.Duration
	}{
		"well":      {trier{}, 1, nil, 0, 0},
		"once":      {trier{errs: []error{later}}, 2, nil, 100 * time.Millisecond, 200 * time.Millisecond},
		"twice":     {trier{errs: []error{later, later}}, 3, nil, 300 * time.Millisecond, 600 * time.Millisecond},
		"always":    {trier{errs: []error{later, later, later}}, 3, ErrTransient, 300 * time.Millisecond, 600 * time.Millisecond},
		"permanent": {trier{errs: []error{never}}, 1, never, 0, 0},
		"then":      {trier{errs: []error{later, never}}, 2, never, 100 * time.Millisecond, 200 * time.Millisecond},
		"too long":  {trier{errs: []error{later}, takes: 10 * time.Second}, 1, ErrTransient, 10 * time.Second, 10 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			err := Retry{}.Run(t.Context(), &test.s, &Object{})
			if took := time.Since(began); !errors.Is(err, test.err) || (err != nil) != (test.err != nil) || test.s.tries != test.tries || took < test.least || took > test.most {
				t.Errorf("%s: %v after %d tries and %v", name, err, test.s.tries, took)
			}
		})
	}
}

// Nothing is tried when the context has ended, and a pause ends with it.
func TestRetryEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := &trier{errs: []error{ErrTransient, ErrTransient}}
		time.AfterFunc(50*time.Millisecond, cancel)
		if err := (Retry{}).Run(ctx, s, &Object{}); !errors.Is(err, ErrTransient) || s.tries != 1 {
			t.Error(err, s.tries)
		}
		if err := (Retry{}).Run(ctx, s, &Object{}); !errors.Is(err, ErrTransient) || s.tries > 2 {
			t.Error(err, s.tries)
		}
	})
}

func TestDigest(t *testing.T) {
	o := &Object{Body: [][]byte{[]byte("ab"), nil, []byte("c")}}
	if err := (Digest{}).Run(t.Context(), o); err != nil || o.Digest != sha256.Sum256([]byte("abc")) {
		t.Errorf("%x, %v", o.Digest, err)
	}
}
