package live

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/mem"
)

// A door lets in no more than it has places for, of one address no more than its share,
// and counts who was refused.
func TestDoor(t *testing.T) {
	d := newDoor(ErrWaiting, 4, 2)
	var leave []func()
	for i, x := range []struct {
		from      string
		in, share bool
	}{
		{"192.0.2.1:1000", true, false},
		{"[2001:db8::1]:1000", true, false},
		{"192.0.2.1:1001", true, false},
		{"192.0.2.1:1002", false, true},
		{"[2001:db8::2]:1000", true, false}, // the same network's
		{"[2001:db8::3]:1000", false, false},
		{"192.0.2.2:1000", false, false},
	} {
		out, err := d.enter(x.from)
		if (err == nil) != x.in || !x.in && (!errors.Is(err, ErrWaiting) || errors.Is(err, ErrAddress) != x.share) {
			t.Errorf("%d, %s: %v", i, x.from, err)
		}
		if err == nil {
			leave = append(leave, out)
		}
	}
	if c := d.crowd(); c != (Crowd{4, 4, 3}) {
		t.Errorf("%+v", c)
	}
	for _, out := range leave {
		out()
	}
	if c := d.crowd(); c != (Crowd{0, 4, 3}) || len(d.of) != 0 {
		t.Errorf("%+v, %v are left", c, d.of)
	}
	if _, err := d.enter("192.0.2.1:1"); err != nil {
		t.Error(err)
	}
}

// Who would be the first in a container is refused where memory has no room for the
// newest GOP in it, once what is stored has gone; who joins others is not.
func TestAdmitMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, end := hub(t, Config{Memory: 16 << 20, StreamMemory: 8 << 20, ViewersPerAddress: 2})
		defer end()
		camera := avtest.Pace(avtest.NewSynthetic(spec(60)))
		done := make(chan error, 1)
		go func() { done <- h.Publish(t.Context(), "cam", camera) }()
		time.Sleep(20 * time.Second)
		synctest.Wait()
		s := h.Lookup("cam")
		var blocks []*mem.Block
		defer func() {
			for _, b := range blocks {
				b.Release()
			}
		}()
		full := func() {
			for {
				a := h.pool.NewFailingArena() // of each the first slab is a small one
				b, err := a.NewBlock(0, 64<<10)
				a.Close()
				if err != nil {
					return
				}
				blocks = append(blocks, b)
			}
		}
		full()
		out, err := s.Admit("192.0.2.1:1", "numbers")
		if err != nil {
			t.Error("what is stored could have gone:", err)
		} else {
			out()
		}
		full()
		out, err = s.Admit("192.0.2.1:1", "")
		if err != nil {
			t.Fatal("a cursor:", err)
		}
		defer out()
		if _, err := s.Admit("192.0.2.1:2", "numbers"); !errors.Is(err, ErrMemory) || !strings.Contains(err.Error(), "bytes are in use") {
			t.Error("the first of a container:", err)
		}
		if c := h.Viewers(); c.In != 1 || c.Refused != 1 {
			t.Errorf("%+v", c)
		}
		v := s.Watch("numbers", func() Renderer { return &numbers{} })
		join, err := s.Admit("192.0.2.1:3", "numbers")
		if err != nil {
			t.Fatal("one who joins:", err)
		}
		if _, err := s.Admit("192.0.2.1:4", "numbers"); !errors.Is(err, ErrAddress) {
			t.Error("one too many of an address:", err)
		}
		join()
		v.Close()
		camera.Close()
		<-done
	})
}
