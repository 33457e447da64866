package libav

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/format/libav/wire"
)

// rogue is a worker that a file has taken over: this test binary, started by a name
// that tells what it does.
func rogue(name string) int {
	kind, seed, _ := strings.Cut(name, "-")
	n, _ := strconv.ParseUint(seed, 10, 64)
	r := &rogueWorker{rnd: rand.New(rand.NewPCG(n, 1))}
	var err error
	if r.mem, err = syscall.Mmap(wire.MemoryFD, 0, wire.MemorySize, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED); err != nil {
		return 1
	}
	switch kind {
	case "mute":
		return 3
	case "old":
		r.send(wire.Message{Op: wire.OpHello, N: wire.Version + 1})
	case "shrink":
		return shrink()
	case "noise":
		r.noise()
	case "liar":
		r.liar()
	case "barren":
		r.barren()
	}
	return 0
}

type rogueWorker struct {
	mem []byte
	rnd *rand.Rand
}

func (r *rogueWorker) send(m wire.Message) bool {
	_, err := syscall.Write(wire.SocketFD, m.Append(nil))
	return err == nil
}

// shrink tries to take the memory away from under the parent.
func shrink() int {
	if syscall.Ftruncate(wire.MemoryFD, 0) == nil {
		return 9
	}
	os.Stderr.WriteString("the memory stays\n")
	return 4
}

// noise sends anything.
func (r *rogueWorker) noise() {
	ops := []wire.Op{wire.OpRead, wire.OpSeek, wire.OpTick, wire.OpOpened, wire.OpBatch, wire.OpEnd, wire.OpFail, 0, 7}
	r.send(wire.Message{Op: wire.OpHello, N: wire.Version})
	for range 1000 {
		for i := range 4096 {
			r.mem[wire.SlotSize*(i&1)+i] = byte(r.rnd.Uint32())
		}
		m := wire.Message{Op: ops[r.rnd.IntN(len(ops))], N: r.rnd.Uint32() >> r.rnd.IntN(32), A: int64(r.rnd.Uint64() >> r.rnd.IntN(64)), B: int64(r.rnd.Uint64())}
		if !r.send(m) {
			return
		}
	}
}

// liar describes streams well and packets badly.
func (r *rogueWorker) liar() {
	r.send(wire.Message{Op: wire.OpHello, N: wire.Version})
	names := []string{"h264", "hevc", "av1", "vp9", "aac", "opus", "ac3", "eac3", "mp3", "mpeg2video", "mpeg4", "none", "vp8"}
	o := wire.Opened{Format: "liar"}
	for _, name := range names {
		kind := "video"
		if strings.Contains("aac opus ac3 eac3 mp3", name) {
			kind = "audio"
		}
		extra := make([]byte, r.rnd.IntN(60))
		for i := range extra {
			extra[i] = byte(r.rnd.IntN(4))
		}
		o.Streams = append(o.Streams, wire.Stream{Kind: kind, Codec: name, Num: 1, Den: r.rnd.Int64N(1<<31-1) + 1, WrapBits: r.rnd.IntN(70), RateNum: r.rnd.Int64N(1 << 31), RateDen: 1, Extradata: extra})
	}
	b, _ := json.Marshal(o)
	r.send(wire.Message{Op: wire.OpOpened, N: uint32(copy(r.mem[wire.DescsSize:], b))})
	for slot := 0; ; slot ^= 1 {
		at := slot * wire.SlotSize
		for i := range wire.MaxPackets {
			r.packet(r.mem[at+i*wire.DescSize:], len(names))
		}
		for i := range 8192 {
			r.mem[at+wire.DescsSize+i] = byte(r.rnd.IntN(4)) // many start codes
		}
		if !r.send(wire.Message{Op: wire.OpBatch, N: uint32(r.rnd.IntN(wire.MaxPackets + 1)), A: int64(slot), B: 1}) {
			return
		}
	}
}

// packet writes a descriptor that is right nearly always.
func (r *rogueWorker) packet(b []byte, streams int) {
	for i := range wire.DescSize {
		b[i] = 0
	}
	b[0], b[4] = byte(r.rnd.IntN(streams+1)), byte(r.rnd.IntN(16))
	for _, at := range []int{8, 16, 24} {
		for i := range 1 + r.rnd.IntN(8) {
			b[at+i] = byte(r.rnd.Uint32())
		}
		if r.rnd.IntN(4) == 0 {
			copy(b[at:], []byte{0, 0, 0, 0, 0, 0, 0, 0x80}) // wire.NoTime
		}
	}
	b[41], b[44], b[45], b[48] = byte(r.rnd.IntN(16)), byte(r.rnd.Uint32()), byte(r.rnd.IntN(4)), byte(r.rnd.IntN(20))
	if r.rnd.IntN(3000) == 0 {
		b[43] = 0xff
	}
}

// barren reads and reads and finds no packet.
func (r *rogueWorker) barren() {
	r.send(wire.Message{Op: wire.OpHello, N: wire.Version})
	for n := int64(0); r.send(wire.Message{Op: wire.OpTick, A: n}); n += 64 << 20 {
	}
}

// rogues returns Workers whose program is this test binary by a name.
func rogues(t *testing.T, name string, timeout time.Duration) *Workers {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
	w, err := New(Config{Path: path, Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// TestRogue: whatever a worker does, it is an error of its input.
func TestRogue(t *testing.T) {
	in := bytes.Repeat([]byte("anything "), 10000)
	for name, want := range map[string]error{
		"mute": ErrCrashed, "old": ErrVersion, "shrink": ErrCrashed, "barren": av.ErrInvalid,
	} {
		d := rogues(t, name, 0).NewDemuxer(bytes.NewReader(in), int64(len(in)), Options{})
		_, err := avtest.Read(d)
		var bad *av.Error
		if !errors.Is(err, want) || !errors.As(err, &bad) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
		if name == "shrink" && !strings.Contains(err.Error(), "the memory stays") {
			t.Errorf("%s: %v", name, err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	const short = 200 * time.Millisecond // they do not listen: that it passes is one of their ends
	for seed := range 12 {
		for _, kind := range []string{"noise", "liar"} {
			w := rogues(t, kind+"-"+strconv.Itoa(seed), short)
			d := w.NewDemuxer(bytes.NewReader(in), int64(len(in)), Options{})
			bounded(t, d)
			if err := d.Close(); err != nil {
				t.Error(err)
			}
			if n := len(w.slots); n != 0 {
				t.Errorf("%s %d: %d workers are left", kind, seed, n)
			}
		}
	}
}

// bounded reads at most so many packets, and fails on errors that are of no input.
func bounded(t *testing.T, d *Demuxer) {
	t.Helper()
	begin := time.Now()
	for range 20000 {
		_, err := d.ReadPacket(av.Heap{})
		if err == nil || errors.Is(err, av.ErrTracks) {
			continue
		}
		var bad *av.Error
		if !errors.Is(err, io.EOF) && !errors.As(err, &bad) {
			t.Errorf("%v", err)
		}
		return
	}
	t.Logf("still going after %v", time.Since(begin))
}
