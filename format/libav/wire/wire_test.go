package wire

import (
	"encoding/binary"
	"testing"

	"github.com/cleave-video/cleave/av/avtest"
)

func TestMessage(t *testing.T) {
	for _, m := range []Message{{}, {OpRead, 65536, -1, 0}, {OpFail, 1<<32 - 1, 1<<63 - 1, -1 << 63}} {
		b := m.Append(nil)
		got, err := Parse(b)
		if err != nil || got != m || len(b) != MessageSize {
			t.Errorf("%+v, %v; want %+v", got, err, m)
		}
		avtest.Prefixes(t, b, func(p []byte) {
			if _, err := Parse(p); (err == nil) != (len(p) == MessageSize) {
				t.Errorf("%d bytes: %v", len(p), err)
			}
		})
		if _, err := Parse(append(b, 0)); err == nil {
			t.Error("a byte too many is no fault")
		}
	}
}

// desc writes a descriptor as the shim does.
func desc(stream int32, pts int64, off, size, extra uint32) []byte {
	b := make([]byte, DescSize)
	binary.LittleEndian.PutUint32(b, uint32(stream))
	binary.LittleEndian.PutUint32(b[4:], FlagKey)
	binary.LittleEndian.PutUint64(b[8:], uint64(pts))
	binary.LittleEndian.PutUint32(b[40:], off)
	binary.LittleEndian.PutUint32(b[44:], size)
	binary.LittleEndian.PutUint32(b[48:], extra)
	return b
}

func TestDesc(t *testing.T) {
	d, ok := ParseDesc(desc(3, NoTime, 10, 80, 10), 100)
	if !ok || d.Stream != 3 || d.PTS != NoTime || d.Off != 10 || d.Size != 80 || d.Extra != 10 || d.Flags != FlagKey {
		t.Errorf("%+v %v", d, ok)
	}
	for name, b := range map[string][]byte{
		"stream": desc(-1, 0, 0, 1, 0), "size": desc(0, 0, 20, 81, 0), "extra": desc(0, 0, 20, 80, 1),
		"offset": desc(0, 0, 101, 0, 0), "far": desc(0, 0, 1<<31, 1<<31, 1<<31), "wrap": desc(0, 0, 1<<32-1, 1<<32-1, 1<<32-1),
	} {
		if d, ok := ParseDesc(b, 100); ok {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

func FuzzDesc(f *testing.F) {
	f.Add(desc(0, 0, 0, 100, 0), 100)
	f.Fuzz(func(t *testing.T, b []byte, payload int) {
		if len(b) < DescSize || payload < 0 || payload > PayloadSize {
			return
		}
		d, ok := ParseDesc(b[:DescSize], payload)
		if ok {
			_ = make([]byte, payload)[d.Off : d.Off+d.Size+d.Extra]
		}
	})
}
