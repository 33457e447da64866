package journal

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/index"
	"github.com/cleave-video/cleave/mem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const stream = "live/cam1"

// describe returns the description of a chunk with so many bytes of both sections.
func describe(id ID, video, audio int64) []byte {
	e := index.Entry{
		Epoch: id.Epoch, Seq: id.Seq, Timebase: av.Clock90k, Wall: time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC), Duration: 1 + video, Independent: true, Size: video + audio,
		Tracks: []index.Track{
			{Name: "video0", Init: "init-1.mp4", Timescale: 90000, Duration: 1 + video, Size: video, Gap: video == 0},
			{Name: "audio0", Init: "init-2.mp4", Timescale: 48000, Duration: 1 + audio, Offset: video, Size: audio, Gap: audio == 0},
		},
	}
	return index.AppendDescription(nil, stream, &e)
}

// fill tells w of a chunk of three parts a track, the nth bytes of which are n.
func fill(t *testing.T, w *Writer, pool *mem.Pool, id ID) {
	t.Helper()
	blocks := pool.NewFailingArena()
	defer blocks.Close()
	w.Open(id, []Init{{"init-1.mp4", []byte("one")}, {"init-2.mp4", []byte("two")}})
	var size [2]int64
	for n := range 3 {
		for section := range 2 {
			b, err := blocks.NewBlock(0, 100*(section+1))
			if err != nil {
				t.Fatal(err)
			}
			for i := range b.Bytes() {
				b.Bytes()[i] = byte(10*section + n)
			}
			size[section] += int64(len(b.Bytes()))
			w.Part(id, section, b, describe(id, size[0], size[1]))
			b.Release()
		}
	}
}

// body is what fill's chunk has with so many parts of both sections.
func body(parts int) (out []byte) {
	for section := range 2 {
		for n := range (parts + 1 - section) / 2 {
			out = append(out, bytes.Repeat([]byte{byte(10*section + n)}, 100*(section+1))...)
		}
	}
	return out
}

func newPool(t *testing.T) *mem.Pool {
	p := mem.NewPool(16 << 20)
	t.Cleanup(func() {
		if n := p.InUse(); n != 0 {
			t.Errorf("%d bytes did not come home", n)
		}
		p.Close()
	})
	return p
}

func find(t *testing.T, dir string) *Left {
	t.Helper()
	list, err := Find(dir)
	if err != nil || len(list) != 1 || list[0].Stream != stream {
		t.Fatalf("%+v, %v", list, err)
	}
	return list[0]
}

// TestLeft writes three chunks, of which one ended and one is committed; what is left is
// the ended one and the open one.
func TestLeft(t *testing.T) {
	dir, pool := filepath.Join(t.TempDir(), "parts"), newPool(t)
	w, err := NewWriter(Config{Dir: dir, Stream: stream, Epoch: 7})
	if err != nil {
		t.Fatal(err)
	}
	ids := []ID{{7, 40}, {7, 41}, {7, 42}}
	for _, id := range ids {
		fill(t, w, pool, id)
	}
	w.Remove(ids[0])
	w.End(ids[1], describe(ids[1], 300, 600))
	w.Close()
	w.Remove(ids[1]) // nothing comes after Close
	l := find(t, dir)
	if !slices.Equal(l.IDs, ids[1:]) || !l.Complete(7) || l.Complete(6) {
		t.Errorf("%+v, complete: %v", l, l.Complete(7))
	}
	for i, id := range l.IDs {
		c, err := l.Read(id)
		if err != nil {
			t.Fatal(err)
		}
		if got := slices.Concat(c.Body...); !bytes.Equal(got, body(6)) || c.Ended != (i == 0) || c.Stream != stream || c.Entry.Tracks[1].Offset != 300 || !c.Some {
			t.Errorf("%d bytes, %+v", len(got), c)
		}
		if d := cmp.Diff([]Init{{"init-1.mp4", []byte("one")}, {"init-2.mp4", []byte("two")}}, c.Inits); d != "" {
			t.Error(d)
		}
	}
	if err := l.Clear(); err != nil {
		t.Fatal(err)
	}
	if list, err := Find(dir); err != nil || len(list) != 0 {
		t.Errorf("after Clear: %+v, %v", list, err)
	}
}

// TestNothingLeft commits everything: no file is left.
func TestNothingLeft(t *testing.T) {
	dir, pool := filepath.Join(t.TempDir(), "parts"), newPool(t)
	w, err := NewWriter(Config{Dir: dir, Stream: stream, Epoch: 7})
	if err != nil {
		t.Fatal(err)
	}
	for i := range int64(20) {
		fill(t, w, pool, ID{7, i})
		w.Remove(ID{7, i})
	}
	w.Close()
	if list, err := Find(dir); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
}

// TestEveryPrefix cuts a file at every byte: what is there is the whole parts that were
// described, at most one part less than was written.
func TestEveryPrefix(t *testing.T) {
	dir, pool := filepath.Join(t.TempDir(), "parts"), newPool(t)
	w, err := NewWriter(Config{Dir: dir, Stream: stream, Epoch: 7})
	if err != nil {
		t.Fatal(err)
	}
	id := ID{7, 41}
	fill(t, w, pool, id)
	w.Close()
	whole, err := os.ReadFile(filepath.Join(dir, "live+cam1", fileName(id)))
	if err != nil {
		t.Fatal(err)
	}
	written := func(cut int) (n int) { // parts up to there
		for off := headerSize; off < cut; {
			k, _, size, err := parseRecord(whole[off:cut])
			if err != nil {
				break
			}
			if off += size; k == partRecord {
				n++
			}
		}
		return n
	}
	for cut := range len(whole) + 1 {
		for _, zeros := range []int{0, 50} {
			b := append(slices.Clone(whole[:cut]), make([]byte, zeros)...)
			c, err := Parse(b)
			var damage *index.CorruptError
			if cut < headerSize {
				if !errors.As(err, &damage) {
					t.Errorf("cut at %d: %v", cut, err)
				}
				continue
			}
			if err != nil {
				t.Fatalf("cut at %d: %v", cut, err)
			}
			n := written(cut)
			got := slices.Concat(c.Body...)
			if !bytes.Equal(got, body(n)) && (n == 0 || !bytes.Equal(got, body(n-1))) {
				t.Errorf("cut at %d: %d parts were written, %d bytes are there", cut, n, len(got))
			}
		}
	}
	for i := range whole { // a changed byte ends it
		b := slices.Clone(whole)
		b[i] ^= 1 << (i % 8)
		c, err := Parse(b)
		if err != nil {
			continue
		}
		if n := written(i); !bytes.Equal(slices.Concat(c.Body...), body(n)) && (n == 0 || !bytes.Equal(slices.Concat(c.Body...), body(n-1))) {
			t.Errorf("byte %d: %d bytes are read, %d parts were written before it", i, len(slices.Concat(c.Body...)), n)
		}
	}
}

// TestTooSlow gives more than waits: the chunk is left out, its file is gone, nothing
// more is said to be complete, and later chunks are kept again.
func TestTooSlow(t *testing.T) {
	dir, pool := filepath.Join(t.TempDir(), "parts"), newPool(t)
	w, err := NewWriter(Config{Dir: dir, Stream: stream, Epoch: 7, Bytes: 10})
	if err != nil {
		t.Fatal(err)
	}
	fill(t, w, pool, ID{7, 41})
	w.Close()
	if list, err := Find(dir); err != nil || len(list) != 0 && (len(list[0].IDs) > 0 || list[0].Complete(7)) {
		t.Errorf("%+v, %v", list, err)
	}
}

// TestNoRoom writes where nothing can be written: that is no hindrance.
func TestNoRoom(t *testing.T) {
	dir, pool := filepath.Join(t.TempDir(), "parts"), newPool(t)
	w, err := NewWriter(Config{Dir: dir, Stream: stream, Epoch: 7})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	fill(t, w, pool, ID{7, 41})
	w.Close()
	if _, err := NewWriter(Config{Dir: "/dev/null/x", Stream: stream}); err == nil {
		t.Error("a folder was made in a device")
	}
}

// FuzzParse parses anything: what it accepts has the bytes that its description says.
func FuzzParse(f *testing.F) {
	id := ID{7, 41}
	b := appendHeader(nil, id)
	f.Add(b)
	for n := range 2 {
		head := []byte{byte(n)}
		part := bytes.Repeat([]byte{byte(n)}, 9)
		b = append(append(appendRecordHead(b, partRecord, head, part), head...), part...)
	}
	f.Add(b)
	d := describe(id, 9, 9)
	b = append(appendRecordHead(b, endRecord, d, nil), d...)
	f.Add(b)
	f.Add(append(appendRecordHead(b, initRecord, []byte{1}, []byte("ab")), 1, 'a', 'b'))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Parse(b)
		var damage *index.CorruptError
		if err != nil {
			if !errors.As(err, &damage) {
				t.Fatal(err)
			}
			return
		}
		want := int64(0)
		for _, x := range c.Entry.Tracks {
			want += x.Size
		}
		if got := len(slices.Concat(c.Body...)); int64(got) != want {
			t.Fatalf("%d bytes, %d are described", got, want)
		}
	})
}
