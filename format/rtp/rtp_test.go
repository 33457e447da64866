package rtp

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/pion/rtp"

	"github.com/cleave-video/cleave/av"
)

var asc = &mpeg4audio.AudioSpecificConfig{Type: 2, SampleRate: 48000, ChannelConfig: 2, ChannelCount: 2}

func allFormats() []format.Format {
	return []format.Format{
		&format.H264{PayloadTyp: 96, PacketizationMode: 1}, &format.H265{PayloadTyp: 97}, &format.AV1{PayloadTyp: 98}, &format.VP9{PayloadTyp: 99},
		&format.MPEG4Audio{PayloadTyp: 100, Config: asc, SizeLength: 13, IndexLength: 3, IndexDeltaLength: 3},
		&format.MPEG4AudioLATM{PayloadTyp: 101, CPresent: true}, &format.Opus{PayloadTyp: 102, ChannelCount: 2},
		&format.AC3{PayloadTyp: 103, SampleRate: 48000, ChannelCount: 2}, &format.MPEG1Audio{},
	}
}

// drain reads what there is.
func drain(t *testing.T, a *Assembler) (out []av.Packet, tracks int) {
	t.Helper()
	for {
		p, err := a.ReadPacket(av.Heap{})
		switch {
		case errors.Is(err, ErrMore):
			return out, tracks
		case errors.Is(err, av.ErrTracks):
			tracks++
		case err != nil:
			t.Fatal(err)
		default:
			out = append(out, p)
		}
	}
}

// aacPacket is an RTP packet of n frames of size bytes. RFC 3640 3.2
func aacPacket(seq uint16, ts uint32, n, size int) *rtp.Packet {
	b := binary.BigEndian.AppendUint16(nil, uint16(16*n))
	for range n {
		b = binary.BigEndian.AppendUint16(b, uint16(size<<3))
	}
	return &rtp.Packet{Header: rtp.Header{SequenceNumber: seq, Timestamp: ts, Marker: true}, Payload: append(b, make([]byte, n*size)...)}
}

func TestAAC(t *testing.T) {
	a, err := NewAssembler([]format.Format{allFormats()[4]})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1000, 0)
	a.Packet(0, aacPacket(65535, 0xFFFFFC00, 3, 20), now)
	a.Packet(0, aacPacket(0, 3072-0x400, 1, 20), now)
	a.Packet(0, aacPacket(0, 3072-0x400, 1, 20), now) // a copy
	a.Packet(0, aacPacket(3, 6*1024-0x400, 1, 20), now)
	got, tracks := drain(t, a)
	if tracks != 1 || len(got) != 5 || a.lost != 2 {
		t.Fatalf("%d sets, %d packets, %d lost", tracks, len(got), a.lost)
	}
	for i, want := range []int64{0, 1024, 2048, 3072, 6144} {
		if p := got[i]; p.PTS != want || p.DTS != want || p.Dur != 1024 || len(p.Data) != 20 || p.Flags.Has(av.Corrupt) != (i == 4) {
			t.Errorf("packet %d: %+v", i, p)
		}
	}
}

// A track that cannot be read is left out and named; none at all is an error.
func TestUnsupported(t *testing.T) {
	a, err := NewAssembler([]format.Format{&format.VP8{}, &format.Opus{ChannelCount: 2}})
	if err != nil {
		t.Fatal(err)
	}
	a.Packet(0, &rtp.Packet{Payload: []byte{1, 2, 3}}, time.Unix(1, 0))
	a.Packet(1, &rtp.Packet{Payload: []byte{0xfc, 1, 2}}, time.Unix(1, 0))
	a.Packet(7, &rtp.Packet{Payload: []byte{0xfc, 1, 2}}, time.Unix(1, 0))
	a.Packet(1, &rtp.Packet{Header: rtp.Header{SequenceNumber: 1, Timestamp: 960}, Payload: []byte{0xfc, 1, 2}}, time.Unix(2, 0))
	if got, tracks := drain(t, a); tracks != 1 || len(got) != 2 || got[0].Dur != 960 {
		t.Errorf("%d sets, %+v", tracks, got)
	}
	if w := a.Warnings(); len(w) != 1 {
		t.Errorf("warnings %q", w)
	}
	if _, err := NewAssembler([]format.Format{&format.VP8{}}); !errors.Is(err, av.ErrUnsupported) {
		t.Errorf("%v", err)
	}
}

// HOSTILE: a fragment without its start, aggregates whose lengths lie, nothing at
// all: dropped, and what follows is read.
func TestHostilePayloads(t *testing.T) {
	for i, f := range allFormats() {
		a, err := NewAssembler(allFormats())
		if err != nil {
			t.Fatal(err)
		}
		seq := uint16(0)
		for _, b := range [][]byte{
			nil,
			{0},
			{0x1C},
			{0x1C, 0x00},
			{0x1C, 0x80},
			{0x1C, 0x40},
			{0x18},
			{0x18, 0xFF},
			{0x18, 0xFF, 0xFF},
			{0x18, 0, 0, 1},
			{0x78, 0, 1},
			{0x62, 0},
			{0x62, 0, 0x80},
			{0x60, 0, 0xFF, 0xFF},
			{0x62, 1, 0x41, 0},
			{0xFF},
			{0x80},
			{0xC0},
			{0x10},
			{0x30, 0x80},
			{0x20, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF},
			{0, 16, 0xFF, 0xFF},
			{0xFF, 0xFF},
			{0, 1, 0},
			{0, 0, 0, 0},
			{3, 0xFF, 0x0B, 0x77},
			{0x9F, 0xFF},
			{0x56, 0xE0, 0xFF},
		} {
			for _, marker := range []bool{false, true} {
				a.Packet(i, &rtp.Packet{Header: rtp.Header{SequenceNumber: seq, Timestamp: uint32(seq) * 3000, Marker: marker}, Payload: b}, time.Unix(1000, 0))
				drain(t, a)
				seq++
			}
		}
		if a.bad == 0 {
			t.Errorf("%T: nothing was rejected", f)
		}
	}
}

// FuzzAssembler: no payload panics, and what comes out is in order.
func FuzzAssembler(f *testing.F) {
	f.Add(uint8(0), []byte{0x67, 0x42, 0, 0x1e, 0xff, 5, 0x65, 0x88, 0x84, 0xff, 5, 0x1c, 0x85, 1, 2})
	f.Add(uint8(1), []byte{0x40, 1, 0xc, 0xff, 3, 0x62, 1, 0x93, 1})
	f.Add(uint8(2), []byte{0x10, 0x0a, 0x0b, 0, 0, 0, 0xff, 4, 0x28, 1, 2})
	f.Add(uint8(3), []byte{0x88, 0x82, 0x49, 0x83, 0x42, 0xff, 9})
	f.Add(uint8(4), []byte{0, 16, 0, 0x20, 1, 2, 3, 4})
	f.Add(uint8(5), []byte{0x20, 0, 0x11, 0x90, 0xff, 2, 0x47, 0xfc})
	f.Add(uint8(6), []byte{0xfc, 1, 2, 0xff, 2, 3, 4})
	f.Add(uint8(7), []byte{0, 1, 0x0b, 0x77, 0, 0, 0x14, 0x40})
	f.Add(uint8(8), []byte{0, 0, 0, 0, 0xff, 0xfb, 0x90, 0})
	f.Fuzz(func(t *testing.T, which uint8, data []byte) {
		all := allFormats()
		a, err := NewAssembler(all)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Unix(1000, 0)
		seq := uint16(0)
		for len(data) > 0 { // 0xff N ends a packet, and says what the next one's head is
			n := 0
			for n < len(data) && data[n] != 0xff {
				n++
			}
			p := &rtp.Packet{Header: rtp.Header{SequenceNumber: seq, Timestamp: uint32(seq) * 3000}, Payload: data[:n]}
			data = data[n:]
			if len(data) > 1 {
				p.Marker = data[1]&1 != 0
				seq += uint16(data[1] >> 4 & 3)
				data = data[2:]
			} else {
				data = nil
			}
			seq++
			now = now.Add(50 * time.Millisecond)
			a.Packet(int(which)%len(all), p, now)
			for {
				p, err := a.ReadPacket(av.Heap{})
				if errors.Is(err, ErrMore) {
					break
				}
				if err != nil && !errors.Is(err, av.ErrTracks) {
					var bad *av.Error
					if !errors.As(err, &bad) {
						t.Fatal(err)
					}
					return
				}
				if err == nil && (p.Track >= len(a.Tracks()) || len(p.Data) == 0) {
					t.Fatalf("%+v", p)
				}
			}
		}
		a.Finish()
	})
}
