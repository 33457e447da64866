package pull

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/live"
)

// stage is a remote server and a hub: it counts connections, and shows what is published
// half a second after it was opened.
type stage struct {
	t   *testing.T
	set *Set

	mu     sync.Mutex // guards what follows
	fail   error      // of connections to come
	hang   bool       // they are not answered
	drain  time.Duration
	opened int
	open   int // now
	shown  Shown
	in     *input // of the connection
}

func (s *stage) dial(ctx context.Context, _ *url.URL) (av.Demuxer, error) {
	s.mu.Lock()
	s.opened++
	fail, hang := s.fail, s.hang
	s.mu.Unlock()
	if hang {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	if fail != nil {
		return nil, fail
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open++
	s.in = newInput(nil)
	return s.in, nil
}

func (s *stage) publish(ctx context.Context, _ string, d av.Demuxer, shown func()) error {
	s.do(func() { s.shown.Live = true })
	defer s.do(func() { s.shown.Live, s.open = false, s.open-1 })
	select {
	case <-time.After(500 * time.Millisecond):
		s.do(func() { s.shown.There = true })
		shown()
	case <-ctx.Done():
	}
	stop := context.AfterFunc(ctx, func() { d.Close() })
	defer stop()
	_, err := d.ReadPacket(nil)
	if ctx.Err() != nil {
		time.Sleep(s.drain)
		return context.Cause(ctx)
	}
	return err
}

func (s *stage) do(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *stage) look(string) Shown {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shown
}

func (s *stage) forget(context.Context, string) {
	s.do(func() {
		if s.shown.Live {
			s.t.Error("forgotten while it is published")
		}
		s.shown = Shown{Pace: s.shown.Pace}
	})
}

// begin runs f beside a Set of the source "cam".
func (s *stage) begin(t *testing.T, f func(t *testing.T)) {
	synctest.Test(t, func(t *testing.T) {
		s.t = t
		s.set = New(Config{Open: map[string]Open{"x": s.dial}, Publish: s.publish, Look: s.look, Forget: s.forget})
		if err := s.set.Add(Source{Name: "cam", URL: "x://host", OnDemand: true}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.set.Run(ctx) }()
		synctest.Wait()
		f(t)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if s.open != 0 {
			t.Errorf("%d connections are open at the end", s.open)
		}
	})
}

// state compares what is known of the source.
func (s *stage) state(want State, opened, open int) {
	s.t.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.set.List()[0]; st.State != want || s.opened != opened || s.open != open {
		s.t.Errorf("%v: %d connections, %d open; want %v, %d, %d", st.State, s.opened, s.open, want, opened, open)
	}
}

// visit is a viewer who stays for a time.
func (s *stage) visit(stay time.Duration) error {
	defer s.set.Visit("cam")()
	err := s.set.Start(s.t.Context(), "cam")
	if err == nil {
		time.Sleep(stay)
	}
	return err
}

// The first viewer starts the source, a thousand at once start it once, all are let in
// when there is something to see, and it stops when nobody has watched for Idle.
func TestOnDemand(t *testing.T) {
	s := &stage{}
	s.begin(t, func(t *testing.T) {
		if !s.set.Has("cam") || s.set.Has("dog") || s.set.Start(t.Context(), "dog") != nil {
			t.Error("who is on demand is not known")
		}
		time.Sleep(time.Hour)
		s.state(Unwatched, 0, 0)
		if st := s.set.List()[0]; st.State.String() != "waiting for a viewer" || !st.OnDemand {
			t.Errorf("%+v", st)
		}
		for run := 1; run <= 3; run++ {
			var wg sync.WaitGroup
			from := time.Now()
			for range 1000 {
				wg.Go(func() {
					if err := s.visit(time.Minute); err != nil || !s.look("cam").There {
						t.Error("a viewer was not let in:", err)
					}
				})
			}
			time.Sleep(20 * time.Second)
			s.state(Running, run, 1)
			if err := s.visit(0); err != nil {
				t.Error("a second viewer:", err)
			}
			wg.Wait()
			if d := time.Since(from); d != time.Minute+500*time.Millisecond {
				t.Errorf("the viewers have waited for %v", d-time.Minute)
			}
			time.Sleep(DefaultIdle - time.Millisecond)
			s.state(Running, run, 1)
			time.Sleep(2 * time.Millisecond)
			s.state(Unwatched, run, 0)
			if s.look("cam").There {
				t.Error("it is still shown")
			}
		}
	})
}

// Viewers that come again and again keep the source, as players of playlists do whose
// target duration is long.
func TestOnDemandPace(t *testing.T) {
	s := &stage{shown: Shown{Pace: 20 * time.Second}}
	s.begin(t, func(t *testing.T) {
		for range 10 {
			if err := s.visit(0); err != nil {
				t.Error(err)
			}
			time.Sleep(19 * time.Second)
			s.state(Running, 1, 1)
		}
		time.Sleep(1100 * time.Millisecond)
		s.state(Unwatched, 1, 0)
	})
}

// Who waits when the source fails is told why at once, and so is who comes before it is
// opened again, which nobody does for its own sake.
func TestOnDemandFails(t *testing.T) {
	broken := errors.New("broken")
	s := &stage{fail: broken}
	s.begin(t, func(t *testing.T) {
		told := func() {
			t.Helper()
			from := time.Now()
			var no *live.SourceError
			if err := s.visit(0); !errors.As(err, &no) || time.Since(from) > 0 || no.Full || no.After <= 0 || no.After > DefaultMinDelay {
				t.Errorf("after %v: %v", time.Since(from), err)
			}
		}
		told()
		s.state(Waiting, 1, 0)
		time.Sleep(time.Hour)
		s.state(Unwatched, 1, 0)
		if st := s.set.List()[0]; !errors.Is(st.LastErr, broken) || st.Failed != 1 {
			t.Errorf("%+v", st)
		}
		s.do(func() { s.fail = fmt.Errorf("here: %w", live.ErrCrowded) })
		var no *live.SourceError
		if err := s.visit(0); !errors.As(err, &no) || !no.Full {
			t.Error(err)
		}
		s.state(Waiting, 2, 0)
		if err := s.visit(0); !errors.As(err, &no) {
			t.Error(err)
		}
		s.do(func() { s.fail = nil })
		time.Sleep(3 * time.Second) // who was turned away has it tried again
		s.state(Running, 3, 1)
		if err := s.visit(0); err != nil {
			t.Error(err)
		}
		time.Sleep(DefaultIdle + time.Millisecond)
		s.do(func() { s.fail = broken })
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(told)
		}
		wg.Wait()
		s.state(Waiting, 4, 0) // one attempt for all
	})
}

// A source that does not answer keeps nobody waiting for longer than Timeout, and is
// given up when nobody wants it any more.
func TestOnDemandHangs(t *testing.T) {
	s := &stage{hang: true}
	s.begin(t, func(t *testing.T) {
		from := time.Now()
		if err := s.visit(0); !errors.Is(err, live.ErrStarting) || time.Since(from) != DefaultTimeout {
			t.Errorf("after %v: %v", time.Since(from), err)
		}
		s.state(Connecting, 1, 0)
		time.Sleep(DefaultIdle + time.Millisecond)
		s.state(Unwatched, 1, 0)
		gone := errors.New("gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(gone) })
		if err := s.set.Start(ctx, "cam"); !errors.Is(err, gone) {
			t.Error("a viewer that went got", err)
		}
	})
}

// Who comes while the source stops waits until it has, and is shown what follows.
func TestOnDemandStopping(t *testing.T) {
	s := &stage{drain: 3 * time.Second}
	s.begin(t, func(t *testing.T) {
		if err := s.visit(0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(DefaultIdle + time.Second)
		s.state(Running, 1, 1) // what came is being stored
		from := time.Now()
		if err := s.visit(0); err != nil || time.Since(from) != 2500*time.Millisecond {
			t.Errorf("after %v: %v", time.Since(from), err)
		}
		s.state(Running, 2, 1)
	})
}

// A connection that is lost while somebody watches is made again, and what there is is
// shown meanwhile, at once.
func TestOnDemandLost(t *testing.T) {
	s := &stage{}
	s.begin(t, func(t *testing.T) {
		var wg sync.WaitGroup
		wg.Go(func() { _ = s.visit(time.Minute) })
		time.Sleep(time.Second)
		s.do(func() { s.fail = io.ErrUnexpectedEOF; s.in.Close() })
		time.Sleep(10 * time.Second)
		from := time.Now()
		if err := s.visit(0); err != nil || time.Since(from) > 0 {
			t.Errorf("after %v: %v", time.Since(from), err)
		}
		s.do(func() { s.fail = nil })
		time.Sleep(20 * time.Second)
		if st := s.set.List()[0]; st.State != Running || st.Tried < 3 {
			t.Errorf("%+v", st)
		}
		wg.Wait()
		// Without anybody it is not.
		s.do(func() { s.fail = io.ErrUnexpectedEOF; s.in.Close() })
		n := s.opened
		time.Sleep(time.Hour)
		s.state(Unwatched, n, 0)
	})
}

// What somebody else publishes under the name is shown, and the source left alone.
func TestOnDemandTaken(t *testing.T) {
	s := &stage{shown: Shown{There: true, Live: true}}
	s.begin(t, func(t *testing.T) {
		if err := s.visit(0); err != nil {
			t.Error(err)
		}
		s.state(Unwatched, 0, 0)
		s.do(func() { s.shown.Live = false })
		if err := s.visit(0); err != nil {
			t.Error(err)
		}
		s.state(Running, 1, 1) // instead of who has left
		// Nor does it come back while somebody who took its name is there.
		var wg sync.WaitGroup
		wg.Go(func() { _ = s.visit(time.Minute) })
		time.Sleep(time.Second)
		s.in.Close()
		synctest.Wait()
		s.do(func() { s.shown.Live = true })
		time.Sleep(50 * time.Second)
		s.state(Waiting, 1, 0)
		s.do(func() { s.shown.Live = false })
		wg.Wait()
	})
}

// Who waits for a source that is removed is told.
func TestOnDemandRemoved(t *testing.T) {
	s := &stage{hang: true}
	s.begin(t, func(t *testing.T) {
		told := make(chan error, 1)
		leave := s.set.Visit("cam")
		go func() { told <- s.set.Start(t.Context(), "cam") }()
		time.Sleep(time.Second)
		if !s.set.Remove("cam") {
			t.Error("it is not removed")
		}
		if err := <-told; !errors.Is(err, live.ErrNone) {
			t.Error(err)
		}
		leave()
		if s.set.Has("cam") {
			t.Error("it is still there")
		}
	})
}
