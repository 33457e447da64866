package torture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/format/ts"
)

const packetLen = 188

// stream returns d as a transport stream.
func stream(d av.Demuxer) []byte {
	var m *ts.Muxer
	var out []byte
	for {
		p, err := d.ReadPacket(av.Heap{})
		switch {
		case errors.Is(err, av.ErrTracks):
			if m, err = ts.NewMuxer(d.Tracks()); err != nil {
				panic(err) // of a stream of our own
			}
			out = m.AppendHeader(out)
			continue
		case errors.Is(err, io.EOF):
			return out
		case err != nil:
			panic(err)
		}
		tb, to := d.Tracks()[p.Track].Timebase, av.Timebase{Num: 1, Den: 90000}
		out = m.AppendPacket(out, p, tb.Rescale(p.DTS, to), tb.Rescale(p.PTS, to))
	}
}

// crc is CRC-32/MPEG-2. ISO 13818-1 annex A
func crc(b []byte) uint32 {
	c := ^uint32(0)
	for _, x := range b {
		c ^= uint32(x) << 24
		for range 8 {
			if c&(1<<31) != 0 {
				c = c<<1 ^ 0x04c11db7
			} else {
				c <<= 1
			}
		}
	}
	return c
}

// section is a packet of PID pid with a table.
func section(pid uint16, count byte, table ...byte) []byte {
	table[1], table[2] = 0xb0|byte((len(table)+1)>>8), byte(len(table)+1)
	b := append([]byte{0x47, 0x40 | byte(pid>>8), byte(pid), 0x10 | count&15, 0}, table...)
	b = binary.BigEndian.AppendUint32(b, crc(table))
	return append(b, bytes.Repeat([]byte{0xff}, packetLen-len(b))...)
}

// packets returns a healthy stream of four seconds of which change has seen each packet.
func packets(change func(n int, p []byte) []byte) func() []byte {
	return func() []byte {
		b := stream(newHealthy(100))
		var out []byte
		for n := 0; n*packetLen < len(b); n++ {
			out = append(out, change(n, b[n*packetLen:(n+1)*packetLen:(n+1)*packetLen])...)
		}
		return out
	}
}

// pid returns a packet's PID, and whether it carries media.
func pid(p []byte) (n uint16, media bool) {
	n = binary.BigEndian.Uint16(p[1:]) & 0x1fff
	return n, n >= 0x100 && n != 0x1fff && n != 0x1000
}

// pat is that of a program whose PMT is at a PID.
func pat(count byte, pmt uint16) []byte {
	return section(0, count, 0, 0, 0, 0, 1, 0xc1, 0, 0, 0, 1, 0xe0|byte(pmt>>8), byte(pmt))
}

func tsTrials() []trial {
	wrapped := healthy(150)
	wrapped.Start = av.Timebase{Num: 1, Den: 90000}.Duration(1<<33) - 3*time.Second
	return append([]trial{
		puts(27, "the 33-bit wrap of PTS, inside a chunk", "wrap33.ts", want{frames: 140}, func() []byte { return stream(avtest.NewSynthetic(wrapped)) }),
		puts(42, "6 MB of PAT without programs", "nopat.ts", want{none: true}, func() []byte {
			return bytes.Repeat(section(0, 0, 0, 0, 0, 0, 1, 0xc1, 0, 0), 6<<20/packetLen)
		}),
		puts(42, "PMT of 8,000 PIDs, each its own program's", "pids.ts", want{none: true}, func() []byte {
			var b []byte
			for n := range uint16(8000) {
				b = append(b, pat(byte(n), 0x20+n)...)
				b = append(b, section(0x20+n, 0, 2, 0, 0, 0, 1, 0xc1, 0, 0, 0xff, 0xff, 0xf0, 0, 0x1b, 0xe0|byte(n>>8), byte(n), 0xf0, 0)...)
			}
			return b
		}),
		puts(42, "a PMT that names its own PID as a stream", "loop.ts", want{none: true}, func() []byte {
			one := append(pat(0, 0x100), section(0x100, 0, 2, 0, 0, 0, 1, 0xc1, 0, 0, 0xe1, 0, 0xf0, 0, 0x1b, 0xe1, 0, 0xf0, 0)...)
			return bytes.Repeat(one, 6<<20/len(one))
		}),
		puts(43, "30 kB of garbage in front, and 100 bytes lost in the middle", "sync.ts", want{frames: 60, breaks: -1}, func() []byte {
			b := stream(newHealthy(100))
			half := len(b) / packetLen / 2 * packetLen
			return append(append(bytes.Repeat([]byte{0x12, 0x47, 0x34}, 10000), b[:half]...), b[half+100:]...)
		}),
		puts(43, "packets of 192 bytes", "m2ts.ts", want{frames: 90}, packets(func(_ int, p []byte) []byte { return append([]byte{0, 0, 0, 0}, p...) })),
		puts(43, "packets of 204 bytes", "dvb.ts", want{frames: 90}, packets(func(_ int, p []byte) []byte { return append(p, make([]byte, 16)...) })),
		puts(44, "a PES of length 0 that does not end in 20 MB", "pes.ts", want{}, func() []byte {
			b := stream(newHealthy(50))
			last := b[len(b)-packetLen:]
			for at := 0; at < len(b); at += packetLen { // the video's
				if _, ok := pid(b[at:]); ok && b[at+1]&0x40 != 0 {
					last = b[at : at+packetLen]
					break
				}
			}
			more := bytes.Clone(last)
			more[1] &^= 0x40
			more[3] = 0x10
			return append(b, bytes.Repeat(more, 20<<20/packetLen)...)
		}),
	}, damagedTS()...)
}

// damagedTS are transport streams of which some packets are wrong.
func damagedTS() []trial {
	some := func(k int, do func(p []byte) []byte) func() []byte {
		return packets(func(n int, p []byte) []byte {
			if _, media := pid(p); media && n > 40 && n%k == 0 {
				return do(p)
			}
			return p
		})
	}
	return []trial{
		puts(45, "every 60th packet missing", "lost.ts", want{frames: 40, breaks: -1}, some(60, func([]byte) []byte { return nil })),
		puts(45, "every 60th packet twice", "twice.ts", want{frames: 90}, some(60, func(p []byte) []byte { return append(bytes.Clone(p), p...) })),
		puts(45, "every 60th packet scrambled", "scrambled.ts", want{frames: 40, breaks: -1}, some(60, func(p []byte) []byte { p[3] |= 0x80; return p })),
		puts(45, "every 60th packet with an adaptation field of 255", "field.ts", want{frames: 40, breaks: -1}, some(60, func(p []byte) []byte { p[3] |= 0x20; p[4] = 255; return p })),
		puts(46, "PCR that jumps by hours in every second packet that has one", "pcr.ts", want{frames: 90}, packets(func(n int, p []byte) []byte {
			if p[3]&0x20 != 0 && p[4] > 6 && p[5]&0x10 != 0 && n%2 == 0 {
				p[6] ^= 0x40
			}
			return p
		})),
		puts(46, "no PCR at all", "nopcr.ts", want{frames: 90}, packets(func(_ int, p []byte) []byte {
			if p[3]&0x20 != 0 && p[4] > 6 && p[5]&0x10 != 0 {
				p[5] &^= 0x10
				copy(p[6:12], "\xff\xff\xff\xff\xff\xff")
			}
			return p
		})),
		puts(47, "PMT whose descriptors lie about their lengths", "descriptors.ts", want{none: true}, func() []byte {
			one := append(pat(0, 0x1000), section(0x1000, 0, 2, 0, 0, 0, 1, 0xc1, 0, 0, 0xe1, 0, 0xff, 0xff, 5, 255, 'O', 'p', 0x06, 0xe1, 0, 0xff, 0xff, 5, 4, 'O', 'p', 'u', 's', 0x7f, 255, 0x80)...)
			return bytes.Repeat(one, 6<<20/len(one))
		}),
	}
}
