package rtp

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/pion/rtp"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec"
	"github.com/cleave-video/cleave/internal/nal"
)

// pictures returns the access units of two seconds of H.264 with B pictures, in
// decode order, and their PTS at 25 a second.
func pictures(t *testing.T) (units [][][]byte, pts []uint32) {
	t.Helper()
	tool, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is not installed: real pictures are left out")
	}
	cmd := exec.CommandContext(t.Context(), tool, strings.Fields("-v error -nostdin -f lavfi -i testsrc2=s=160x120:r=25:d=2 -c:v libx264 -preset ultrafast -bf 2 "+
		"-x264-params aud=1:b-adapt=0 -g 25 -pix_fmt yuv420p -f h264 -")...)
	b, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	es := codec.NewByteStream(av.H264)
	base, high := int64(0), int64(0)
	for pos := 0; ; {
		start, end, next := nal.Next(b, pos)
		if start < 0 {
			break
		}
		u := b[start:end]
		if u[0]&0x1F == 9 { // access unit delimiter
			units = append(units, nil)
			pos = next
			continue
		}
		if es.StartsAU(u); u[0]&0x1F <= 5 {
			p, ok := es.Place(u)
			if !ok {
				t.Fatal("a slice that cannot be read")
			}
			if p.Reset {
				base = high
			}
			at := base + p.Count/2
			high = max(high, at+1)
			pts = append(pts, uint32(at)*3600)
		}
		units[len(units)-1] = append(units[len(units)-1], u)
		pos = next
	}
	if len(units) != 50 || len(pts) != 50 {
		t.Fatalf("%d access units, %d slices", len(units), len(pts))
	}
	return units, pts
}

// packets packs access units for RTP.
func packets(t *testing.T, f *format.H264, units [][][]byte, pts []uint32) []*rtp.Packet {
	t.Helper()
	enc, err := f.CreateEncoder()
	if err != nil {
		t.Fatal(err)
	}
	enc.PayloadMaxSize = 300
	var out []*rtp.Packet
	for i, u := range units {
		l, err := enc.Encode(u)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range l {
			p.Timestamp = 0xFFFFFF00 + pts[i]
			out = append(out, p)
		}
	}
	return out
}

// Access units end at their markers, or where the timestamp changes, and lie in time
// as their pictures do.
func TestH264(t *testing.T) {
	units, pts := pictures(t)
	for name, markers := range map[string]bool{"markers": true, "no markers": false} {
		t.Run(name, func(t *testing.T) {
			f := &format.H264{PayloadTyp: 96, PacketizationMode: 1}
			a, err := NewAssembler([]format.Format{f})
			if err != nil {
				t.Fatal(err)
			}
			var got []av.Packet
			for _, p := range packets(t, f, units, pts) {
				p.Marker = p.Marker && markers
				a.Packet(0, p, time.Unix(1000, 0))
				more, _ := drain(t, a)
				got = append(got, more...)
			}
			want := 50
			if !markers {
				want = 49 // the last one waits for the next
			}
			if len(got) != want || a.bad != 0 || a.lost != 0 {
				t.Fatalf("%d packets, %v", len(got), a.Warnings())
			}
			last := int64(-1 << 62)
			for i, p := range got {
				if p.PTS != int64(pts[i]) || p.DTS > p.PTS || p.DTS <= last || p.Flags.Has(av.Corrupt) || p.Flags.Has(av.Key) != (i%25 == 0) {
					t.Errorf("picture %d: %d %d %b, want PTS %d", i, p.DTS, p.PTS, p.Flags, pts[i])
				}
				last = p.DTS
				if l := nal.Split(p.Data, 4); true {
					n := 0
					for u, ok := l.Next(); ok; u, ok = l.Next() {
						n += len(u)
					}
					if l.Err() != nil || n == 0 {
						t.Errorf("picture %d: %v", i, l.Err())
					}
				}
			}
		})
	}
}

// A lost packet costs its picture; the next is marked, and time goes on.
func TestH264Loss(t *testing.T) {
	units, pts := pictures(t)
	f := &format.H264{PayloadTyp: 96, PacketizationMode: 1}
	a, err := NewAssembler([]format.Format{f})
	if err != nil {
		t.Fatal(err)
	}
	var got []av.Packet
	dropped := 0
	for i, p := range packets(t, f, units, pts) {
		if i%40 == 39 {
			dropped++
			continue
		}
		a.Packet(0, p, time.Unix(1000, 0))
		more, _ := drain(t, a)
		got = append(got, more...)
	}
	corrupt := 0
	last := int64(-1 << 62)
	for _, p := range got {
		if p.Flags.Has(av.Corrupt) {
			corrupt++
		}
		if p.DTS <= last {
			t.Errorf("%d behind %d", p.DTS, last)
		}
		last = p.DTS
	}
	if dropped == 0 || a.lost < int64(dropped)-1 || corrupt == 0 || len(got) < 50-2*dropped || len(got) >= 50 {
		t.Errorf("%d dropped: %d pictures, %d marked, %v", dropped, len(got), corrupt, a.Warnings())
	}
}

// ScanUnits says and keeps what Scan does.
func TestScanUnits(t *testing.T) {
	units, _ := pictures(t)
	whole, apart := codec.NewByteStream(av.H264), codec.NewByteStream(av.H264)
	for i, u := range units {
		var b []byte
		for _, n := range u {
			b = append(append(b, 0, 0, 1), n...)
		}
		size, changed, err := whole.Scan(b, codec.StartCodes(nil, b))
		if err != nil {
			t.Fatal(err)
		}
		want := make([]byte, size)
		whole.Write(want, b)
		kept, changed2, err := apart.ScanUnits(u)
		if err != nil {
			t.Fatal(err)
		}
		var got []byte
		for _, n := range kept {
			got = append(append(got, byte(len(n)>>24), byte(len(n)>>16), byte(len(n)>>8), byte(len(n))), n...)
		}
		if changed != changed2 || !bytes.Equal(got, want) || !bytes.Equal(whole.Config(), apart.Config()) {
			t.Errorf("access unit %d: %d bytes, changed %v; want %d, %v", i, len(got), changed2, len(want), changed)
		}
	}
}
