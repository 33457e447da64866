package disk

import (
	"bytes"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cleave-video/cleave/index"
	"github.com/cleave-video/cleave/index/indextest"
)

var update = flag.Bool("update", false, "write golden files that are missing")

// goldenEntries are in testdata/golden/v1: a segment, a log, and a watermark.
func goldenEntries() []index.Entry { return indextest.Entries(42, index.PerBlock+7) }

func writeGolden(t *testing.T, root string) {
	d := open(t, root, small, WithoutSync())
	list := goldenEntries()
	if err := d.AddAll(t.Context(), name, list[:index.PerBlock]); err != nil {
		t.Fatal(err)
	}
	if err := d.AddAll(t.Context(), name, list[index.PerBlock:index.PerBlock+3]); err != nil {
		t.Fatal(err)
	}
	if err := d.Drop(t.Context(), name, list[10].Wall.Add(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if err := d.AddAll(t.Context(), name, list[index.PerBlock+3:]); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestGolden reads what earlier versions wrote; these files stay for ever.
func TestGolden(t *testing.T) {
	golden := filepath.Join("testdata", "golden", "v1")
	if _, err := os.Stat(golden); errors.Is(err, fs.ErrNotExist) && *update {
		writeGolden(t, golden)
	}
	root := filepath.Join(t.TempDir(), "index")
	copyTree(t, golden, root, func(_ string, b []byte) []byte { return b })
	d := open(t, root)
	got, err := all(t, d)
	if err != nil {
		t.Fatal(err)
	}
	list := goldenEntries()
	first := 10
	if d := cmp.Diff(list[first:], got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	more := indextest.Entries(42, len(list)+1)[len(list)]
	if err := d.Add(t.Context(), name, more); err != nil {
		t.Error(err)
	}

	fresh := filepath.Join(t.TempDir(), "index")
	writeGolden(t, fresh)
	files := 0
	copyTree(t, golden, t.TempDir(), func(path string, want []byte) []byte {
		rel, _ := filepath.Rel(golden, path)
		b, err := os.ReadFile(filepath.Join(fresh, rel))
		if err != nil || !bytes.Equal(b, want) {
			t.Errorf("%s is written otherwise: %v", rel, err)
		}
		files++
		return want
	})
	if files != 2 {
		t.Errorf("%d golden files", files)
	}
}

// FuzzLog opens anything as a log: no panic, and what is read is in order.
func FuzzLog(f *testing.F) {
	golden, err := filepath.Glob("testdata/golden/v1/*/log-*")
	if err != nil || len(golden) == 0 {
		f.Fatal("no golden log", err)
	}
	b, err := os.ReadFile(golden[0])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b[:logHeader], b[logHeader:])
	f.Add(appendLogHeader(nil, 0, 0, index.Before{}), []byte{})
	f.Add(appendLogHeader(nil, 0, 0, index.Before{}), appendBatch(nil, []byte{recordMark, recordDrop, 0}))
	f.Fuzz(func(t *testing.T, header, batches []byte) {
		if len(header) != logHeader {
			return
		}
		// Right checksums, so that what lies behind them is reached.
		header = sealHeader(bytes.Clone(header[:logHeader-4]))
		b := append(bytes.Clone(header), batches...)
		if len(batches) > 5 && batches[0] > 0 && int(batches[0]) <= len(batches)-5 {
			b = appendBatch(bytes.Clone(header), batches[5:5+int(batches[0])])
		}
		dir := t.TempDir()
		path := filepath.Join(dir, "log")
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		s := newStream(&Disk{root: dir, perSegment: perSegment}, dir)
		err := s.replayLog(path)
		var damage *index.CorruptError
		if err != nil && !errors.As(err, &damage) {
			t.Fatal(err)
		}
		seq := int64(-1)
		c := index.NewCursor(s.run.Table(), 0)
		for {
			e, _, err := c.Next()
			if err != nil {
				t.Fatal(err)
			}
			if e == nil {
				return
			}
			if e.Seq <= seq {
				t.Fatalf("seq %d after %d", e.Seq, seq)
			}
			seq = e.Seq
		}
	})
}

// FuzzSegment reads anything as a segment.
func FuzzSegment(f *testing.F) {
	golden, err := filepath.Glob("testdata/golden/v1/*/seg-*")
	if err != nil || len(golden) == 0 {
		f.Fatal("no golden segment", err)
	}
	b, err := os.ReadFile(golden[0])
	if err != nil {
		f.Fatal(err)
	}
	g, ok := parseSegmentName(filepath.Base(golden[0]))
	if !ok {
		f.Fatal(golden[0])
	}
	f.Add(b, 60, byte(1))
	f.Fuzz(func(t *testing.T, b []byte, at int, x byte) {
		b = bytes.Clone(b)
		if at >= 0 && at < len(b) {
			b[at] ^= x
		}
		if len(b) >= segHeader { // a right checksum, so that the fields are looked at
			copy(b, sealHeader(bytes.Clone(b[:segHeader-4])))
		}
		path := filepath.Join(t.TempDir(), "seg")
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		s := &segment{path: path, first: g.first, count: g.count, time: g.time}
		defer s.close(true)
		var buf []byte
		for i := range s.count / index.PerBlock {
			_, _ = s.blockTime(i)
			if b, err := s.block(i, &buf); err == nil {
				var dec index.Decoder
				var e index.Entry
				for len(b) > 0 && err == nil {
					b, err = dec.Next(b, &e)
				}
			}
		}
	})
}

func TestNames(t *testing.T) {
	for _, c := range []struct {
		first uint64
		count int
		time  int64
	}{{0, 256, 0}, {1 << 60, 8192, 1<<62 + 5}, {8192, 1 << 20, 1}} {
		s, ok := parseSegmentName(segmentName(c.first, c.count, c.time))
		if !ok || s.first != c.first || s.count != c.count || s.time != c.time {
			t.Errorf("%+v: %+v, %v", c, s, ok)
		}
		if first, ok := parseLogName(logName(c.first)); !ok || first != c.first {
			t.Errorf("%d: %d, %v", c.first, first, ok)
		}
	}
	for _, bad := range []string{"", "seg-", "seg-0-1-2", segmentName(0, 255, 0), segmentName(0, 0, 0), segmentName(0, 256, 0) + "x", "log-1"} {
		if _, ok := parseSegmentName(bad); ok {
			t.Errorf("segment %q", bad)
		}
		if _, ok := parseLogName(bad); ok {
			t.Errorf("log %q", bad)
		}
	}
}
