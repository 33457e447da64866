package ts

import (
	"testing"

	"github.com/cleave-video/cleave/av"

	"github.com/cleave-video/cleave/av/avtest"
)

func inspectSample(t testing.TB) []byte {
	g := avtest.ReadAll(t, avtest.NewSynthetic(avtest.Spec{Video: avtest.Video{Frames: 30}, Audio: avtest.Audio{Frames: 30}}))[0]
	m, err := NewMuxer(g.Tracks)
	if err != nil {
		t.Fatal(err)
	}
	b := m.AppendHeader(nil)
	for _, p := range g.Packets {
		tb := g.Tracks[p.Track].Timebase
		b = m.AppendPacket(b, p, tb.Rescale(p.DTS, av.Clock90k)+PCRLead, tb.Rescale(p.PTS, av.Clock90k)+PCRLead)
	}
	return b
}

func TestInspector(t *testing.T) {
	var in Inspector
	pes, pcr, random := 0, 0, 0
	b := inspectSample(t)
	for ; len(b) > 0; b = b[PacketSize:] {
		p := in.Packet(b)
		if p.Damaged || p.BadTable != nil || p.Scrambled {
			t.Fatalf("%+v", p)
		}
		if p.PES != nil {
			pes++
			if !p.PES.HasPTS {
				t.Errorf("%+v", p.PES)
			}
		}
		if p.PCR >= 0 {
			pcr++
		}
		if p.Random {
			random++
		}
	}
	if !in.HasPAT || !in.HasPMT || len(in.Streams) != 2 || in.Streams[0].Type != 0x1B || in.PCRPID != in.Streams[0].PID || pes < 32 || pcr < 30 || random != 2 {
		t.Errorf("%+v, %d PES, %d PCR, %d random", in, pes, pcr, random)
	}
}

func FuzzInspector(f *testing.F) {
	f.Add(inspectSample(f))
	f.Fuzz(func(_ *testing.T, b []byte) {
		var in Inspector
		for ; len(b) >= PacketSize; b = b[PacketSize:] {
			b[0] = SyncByte
			in.Packet(b)
		}
	})
}
