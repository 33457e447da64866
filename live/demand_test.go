package live

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	indexmem "github.com/cleave-video/cleave/index/mem"
)

// starter is a Demand of one name in memory: it publishes for its first viewer.
type starter struct {
	h    *Hub
	name string
	fail error
	wg   sync.WaitGroup

	mu               sync.Mutex // guards what follows
	viewers, started int
}

func (d *starter) Has(name string) bool { return name == d.name }

func (d *starter) Visit(name string) (leave func()) {
	if name != d.name {
		return func() {}
	}
	d.add(1)
	return func() { d.add(-1) }
}

func (d *starter) add(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.viewers += n
}

func (d *starter) Start(ctx context.Context, name string) error {
	if name != d.name || d.fail != nil {
		return d.fail
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.started++; d.started > 1 {
		return nil
	}
	shown := make(chan struct{})
	d.wg.Go(func() {
		_ = d.h.PublishWith(ctx, name, avtest.Pace(avtest.NewSynthetic(spec(10))), PublishOptions{Shown: func() { close(shown) }})
	})
	<-shown
	return nil
}

// Await starts what a viewer starts, counts the viewer until it leaves, and says why
// there is nothing.
func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, end := hub(t, Config{})
		defer end()
		if _, _, err := h.Await(t.Context(), "cam"); !errors.Is(err, ErrNone) || h.Known("cam") {
			t.Error("without a Demand:", err)
		}
		d := &starter{h: h, name: "cam"}
		h.SetDemand(d)
		if _, _, err := h.Await(t.Context(), "dog"); !errors.Is(err, ErrNone) || h.Known("dog") || !h.Known("cam") {
			t.Error("without a source:", err)
		}
		if s, _ := h.Visit("cam"); s != nil || d.viewers != 0 || d.started != 0 {
			t.Errorf("a visit: %v, %+v", s, d)
		}
		s, leave, err := h.Await(t.Context(), "cam")
		if err != nil || !s.Begun() || !s.Edge().Live {
			t.Fatal(err)
		}
		again, left := h.Visit("cam")
		v := again.Watch("numbers", func() Renderer { return &numbers{} })
		v.AtClose(left)
		leave()
		if again != s || d.viewers != 1 {
			t.Errorf("%d viewers", d.viewers)
		}
		v.Close()
		v.Close()
		if d.viewers != 0 {
			t.Errorf("%d viewers after Close", d.viewers)
		}
		d.fail = &SourceError{Reason: "no"}
		var why *SourceError
		if _, _, err := h.Await(t.Context(), "cam"); !errors.As(err, &why) || d.viewers != 0 {
			t.Errorf("%v, %d viewers", err, d.viewers)
		}
		d.wg.Wait()
	})
}

// A stream that is forgotten has gone at once, with its memory and its chunks; under the
// same name another one begins, whose numbers go on.
func TestForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, ix := &memStore{}, indexmem.New()
		h, end := hub(t, Config{Store: st, Index: ix})
		defer end()
		var wg sync.WaitGroup
		d := avtest.Pace(avtest.NewSynthetic(spec(100)))
		wg.Go(func() { _ = h.Publish(t.Context(), "cam", d) })
		time.Sleep(80*time.Second + time.Millisecond)
		h.Forget(t.Context(), "cam")
		first := h.Lookup("cam")
		if first == nil {
			t.Fatal("a stream was forgotten that is published")
		}
		wg.Go(func() {
			if err := read(t, t.Context(), first, func(*Cursor, []av.Packet, error) {}); !errors.Is(err, io.EOF) {
				t.Error("a reader of it got", err)
			}
		})
		d.Close()
		synctest.Wait()
		last := first.Edge().newest()
		h.Forget(t.Context(), "cam")
		h.Forget(t.Context(), "cam")
		if h.Lookup("cam") != nil || h.InUse() != 0 || len(st.all) > 2 || !first.Edge().Ended {
			t.Errorf("left: %v, %d bytes, %d objects", h.Names(), h.InUse(), len(st.all)) // initialization sections
		}
		wg.Wait()
		if err := h.Publish(t.Context(), "cam", avtest.Pace(avtest.NewSynthetic(spec(10)))); err != nil {
			t.Fatal(err)
		}
		r := h.Lookup("cam").Edge().Renditions[0]
		if s := r.Segments[0]; s.MSN <= last || s.Epoch != 2 || s.DTS != 0 || len(r.Past) > 0 {
			t.Errorf("after %d it begins with %d in epoch %d at %d", last, s.MSN, s.Epoch, s.DTS)
		}
	})
}
