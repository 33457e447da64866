package torture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/format/flv"
	"github.com/cleave-video/cleave/test/child"
)

// body is an FLV file.
type body struct{ b []byte }

func (b *body) head(kinds byte) *body {
	b.b = flv.AppendHeader(b.b, kinds&1 != 0, kinds&2 != 0)
	return b
}

func (b *body) tag(kind byte, at uint32, data []byte) *body {
	b.b = flv.AppendTag(b.b, kind, at, nil, data)
	return b
}

// add appends the tags of d, which change may alter, or leave out by returning nil.
func (b *body) add(d av.Demuxer, change func(n int, kind byte, at *uint32, data []byte) []byte) *body {
	n := 0
	_ = child.EachTag(d, func(kind byte, at uint32, data []byte) error {
		if change != nil {
			data = change(n, kind, &at, data)
		}
		if n++; data != nil {
			b.tag(kind, at, data)
		}
		return nil
	})
	return b
}

func newHealthy(frames int) av.Demuxer { return avtest.NewSynthetic(healthy(frames)) }

// want is what a player must get of a body.
type want struct {
	frames  int // at least; 0: nothing need come
	most    int // of segments; 0: any
	breaks  int // -1: any
	inits   int // at least
	longest time.Duration
	none    bool // nothing may be shown
}

// check says what is not as wanted.
func (w *want) check(v *view) error {
	switch {
	case w.most > 0 && v.segments > w.most:
		return fmt.Errorf("%d segments, at most %d were to be", v.segments, w.most)
	case w.breaks >= 0 && v.breaks != w.breaks:
		return fmt.Errorf("%d discontinuities, %d were to be", v.breaks, w.breaks)
	case v.inits < w.inits:
		return fmt.Errorf("%d initialization sections", v.inits)
	case w.longest > 0 && v.longest > w.longest:
		return fmt.Errorf("a segment of %v", v.longest)
	}
	return nil
}

// puts is a trial of a body, of which a player must get what is wanted. made makes it when
// its time has come.
func puts(row int, sent, file string, w want, made func() []byte) trial {
	return trial{row: row, sent: sent, run: func(ctx context.Context, r *rig) (string, error) {
		name, _, _ := strings.Cut(file, ".")
		code, text, err := r.put(ctx, "torture/"+file, bytes.NewReader(made()))
		if err != nil {
			return "", err
		}
		answer := "closed"
		if code > 0 {
			answer = fmt.Sprint(code)
		}
		if code >= 400 {
			answer += " " + text[:min(len(text), 100)]
		}
		if code == http.StatusInternalServerError {
			return answer, errors.New("the server takes the fault for its own")
		}
		if w.none {
			v, err := r.look(ctx, "torture/"+name+"/video0")
			if err == nil && v.frames > 0 {
				return answer + ": " + v.String(), errors.New("nothing was to be shown")
			}
			return answer + ", nothing is shown", nil
		}
		if w.frames == 0 {
			return answer, nil
		}
		v, err := r.view(ctx, "torture/"+name, w.frames)
		if err == nil {
			err = w.check(v)
		}
		return answer + ": " + v.String(), err
	}}
}

// whole is healthy media of four seconds with changes.
func whole(change func(n int, kind byte, at *uint32, data []byte) []byte) func() []byte {
	return func() []byte { return new(body).head(3).add(newHealthy(100), change).b }
}

// every returns a change of each k-th video frame.
func every(k int, do func(data []byte) []byte) func(int, byte, *uint32, []byte) []byte {
	return func(n int, kind byte, _ *uint32, data []byte) []byte {
		if kind == videoMessage && n > 4 && n%k == 0 && data[0]>>4 != 1 {
			return do(data)
		}
		return data
	}
}

// spec is video of frames ms apart alone.
func spec(frames, apart int, gops ...int) avtest.Spec {
	return avtest.Spec{Video: avtest.Video{Frames: frames, GOPs: gops, Timebase: av.Timebase{Num: 1, Den: 1000}, FrameDur: int64(apart), Size: 400}}
}

func of(specs ...avtest.Spec) func() []byte {
	return func() []byte { return new(body).head(1).add(avtest.NewSynthetic(specs...), nil).b }
}

func flvTrials() []trial {
	config := func(s string) []byte { return append([]byte{0x17, 0, 0, 0, 0}, s...) }
	return append([]trial{
		puts(16, "avcC cut, of 31 SPS, an SPS of 0xFFFF bytes, four times", "avcc.flv", want{none: true}, func() []byte {
			b := new(body).head(1)
			for _, c := range []string{"\x01", "\x01\x64\x00\x28\xff\xff\xff\xff\xff", "\x01\x64\x00\x28\xff\xe1\xff\xff\x67", "\x01\x64\x00\x28\xff\xff\x00\x01g"} {
				b.tag(videoMessage, 0, config(c))
			}
			return b.b
		}),
		puts(17, "every tenth access unit with a NAL unit longer than its tag", "nal.flv", want{frames: 80}, whole(every(10, func(d []byte) []byte {
			d[5] = 0x7f
			return d
		}))),
		puts(17, "every tenth access unit with a NAL unit of no byte", "nal0.flv", want{frames: 80}, whole(every(10, func(d []byte) []byte {
			return append(d[:5:5], 0, 0, 0, 0)
		}))),
		puts(18, "PreviousTagSize and tag lengths that lie", "tags.flv", want{frames: 60, breaks: -1}, func() []byte {
			b := whole(nil)()
			for at, n := 13, 0; at+11 < len(b); n++ {
				size := int(b[at+1])<<16 | int(b[at+2])<<8 | int(b[at+3])
				next := at + 11 + size + 4
				switch {
				case n%40 == 20:
					b[at+3] ^= 0x15
				case n%40 == 30 && next <= len(b):
					b[next-1]++
				}
				at = next
			}
			return b
		}),
		puts(19, "AudioSpecificConfig that is none, then raw frames of 70 kB", "asc.flv", want{frames: 80}, func() []byte {
			b := new(body).head(3)
			n := 0
			return b.add(avtest.NewSynthetic(spec(100, 40, 25)), func(_ int, _ byte, at *uint32, d []byte) []byte {
				if n++; n < 5 {
					b.tag(audioMessage, *at, []byte{0xaf, 0, 0xff})
					b.tag(audioMessage, *at, append([]byte{0xaf, 1}, make([]byte, 70<<10)...))
				}
				return d
			}).b
		}),
		puts(20, "an access unit of 12 MB", "large.flv", want{}, func() []byte {
			return new(body).head(1).add(avtest.NewSynthetic(spec(50, 40, 25)), nil).tag(videoMessage, 3000, append([]byte{0x27, 1, 0, 0, 0, 0, 0xb7, 0x1b, 0, 0x41}, make([]byte, 12_000_000)...)).b
		}),
	}, append(shapes(), times()...)...)
}

// shapes are streams whose pictures are legal and awkward, or bombs.
func shapes() []trial {
	unit := func(nal []byte) []byte {
		return append([]byte{byte(len(nal) >> 24), byte(len(nal) >> 16), byte(len(nal) >> 8), byte(len(nal))}, nal...)
	}
	return []trial{
		puts(21, "no key frame ever", "nokey.flv", want{}, whole(func(n int, kind byte, _ *uint32, d []byte) []byte {
			if kind == videoMessage && d[0]>>4 == 1 && d[1] == 1 {
				return nil
			}
			return d
		})),
		puts(22, "a second of pictures before the first key frame", "early.flv", want{frames: 70}, whole(func(n int, kind byte, at *uint32, d []byte) []byte {
			if kind == videoMessage && d[0]>>4 == 1 && d[1] == 1 && *at < 500 {
				return nil
			}
			return d
		})),
		puts(23, "open GOPs with leading pictures", "open.flv", want{frames: 80}, of(avtest.Spec{Video: avtest.Video{Frames: 100, GOPs: []int{25}, Open: true, B: 2, Timebase: av.Timebase{Num: 1, Den: 1000}, FrameDur: 40}})),
		puts(24, "a key frame every frame, 10 s", "intra.flv", want{frames: 200, most: 8}, of(spec(250, 40, 1))),
		puts(25, "one key frame in 50 s", "endless.flv", want{frames: 150, longest: 11 * time.Second}, of(spec(200, 250, 1<<20))),
		puts(33, "1,000 frames a second", "fast.flv", want{frames: 2000}, of(spec(4000, 1, 500))),
		puts(33, "a frame in ten seconds", "rare.flv", want{frames: 3, breaks: -1}, of(spec(6, 10000, 1))),
		puts(34, "sound alone", "sound.flv", want{frames: 100}, of(avtest.Spec{Audio: avtest.Audio{Frames: 300}})),
		puts(34, "pictures alone", "silent.flv", want{frames: 80}, of(spec(100, 40, 25))),
		puts(36, "the resolution changes twice, at a key frame", "sizes.flv", want{frames: 120, breaks: 2, inits: 3}, of(wide(0, 320), wide(2, 640), wide(4, 320))),
		puts(37, "parameter sets that are bombs, as configuration", "bomb.flv", want{none: true}, func() []byte {
			b := new(body).head(1)
			for _, fill := range []string{"\x00", "\xff", "\x55", "\x80\x00\x01"} {
				sps := "\x67\x64\x00\x28" + strings.Repeat(fill, 60)
				b.tag(videoMessage, 0, append([]byte{0x17, 0, 0, 0, 0, 1, 0x64, 0, 0x28, 0xff, 0xe1, 0, byte(len(sps))}, sps+"\x01\x00\x04\x68\xee\x3c\x80"...))
			}
			return b.b
		}),
		puts(38, "the sound ends for good, then the pictures", "tracks.flv", want{frames: 40, breaks: -1}, of(healthy(50), wide(2, 320), avtest.Spec{Start: 4 * time.Second, Audio: avtest.Audio{Frames: 100}})),
		puts(39, "a NAL unit of 4 MiB of 00 00 03", "escapes.flv", want{frames: 80, breaks: -1}, whole(every(40, func(d []byte) []byte {
			return append(d, unit(append([]byte{6, 5}, bytes.Repeat([]byte{0, 0, 3}, 4<<20/3)...))...)
		}))),
		puts(40, "10,000 SEI in a picture", "sei.flv", want{frames: 80, breaks: -1}, whole(every(40, func(d []byte) []byte {
			return append(bytes.Clone(d[:5]), append(bytes.Repeat(unit([]byte{6, 5, 1, 0, 0x80}), 10000), d[5:]...)...)
		}))),
		puts(41, "AV1 whose OBU sizes lie", "obu.flv", want{none: true}, func() []byte {
			b := new(body).head(1).tag(videoMessage, 0, []byte("\x90av01\x81\x04\x0c\x00\x0a\x0b\x00\x00\x00\x24\xcf\x7f\x0d\xbf\xff\x38\x18"))
			for n := range uint32(50) {
				b.tag(videoMessage, n*40, []byte("\x91av01\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x32\x7f\x00"))
			}
			return b.b
		}),
	}
}

// wide is two seconds of a size, from a second on.
func wide(at, width int) avtest.Spec {
	s := spec(50, 40, 25)
	s.Start, s.Video.Width = time.Duration(at)*time.Second, width
	return s
}

// times are streams whose times are wrong, or rare.
func times() []trial {
	jump := func(at, by time.Duration) func() []byte {
		s := healthy(150)
		s.Jumps = []avtest.Jump{{At: at, By: by}}
		return func() []byte { return new(body).head(3).add(avtest.NewSynthetic(s), nil).b }
	}
	composition := func(ms int) func(int, byte, *uint32, []byte) []byte {
		return func(n int, kind byte, _ *uint32, d []byte) []byte {
			if kind == videoMessage && d[1] == 1 {
				d[2], d[3], d[4] = byte(ms>>16), byte(ms>>8), byte(ms)
			}
			return d
		}
	}
	one := func(hours int) func() []byte {
		return whole(func(n int, kind byte, at *uint32, d []byte) []byte {
			if n == 101 {
				*at += uint32(hours * 3600_000)
			}
			return d
		})
	}
	wrapped := healthy(150)
	wrapped.Start = 1<<32*time.Millisecond - 3*time.Second // tags have 32 bits of it
	return []trial{
		puts(26, "one frame stamped 3 hours later", "later.flv", want{frames: 95, longest: 5 * time.Second}, one(3)),
		puts(26, "one frame stamped 400 hours later", "latest.flv", want{frames: 95, longest: 5 * time.Second}, one(400)),
		puts(26, "times jump by 3,970 s for good", "jump.flv", want{frames: 140, breaks: 1, longest: 5 * time.Second}, jump(3*time.Second, 3970*time.Second)),
		puts(26, "times jump back to the beginning", "back.flv", want{frames: 140, breaks: 1, longest: 5 * time.Second}, jump(3*time.Second, -3*time.Second)),
		puts(29, "the 32-bit wrap of milliseconds", "wrap.flv", want{frames: 140}, func() []byte {
			return new(body).head(3).add(avtest.NewSynthetic(wrapped), nil).b
		}),
		puts(30, "DTS later than PTS by 500 ms in every tenth picture", "dts.flv", want{frames: 80, breaks: -1}, whole(func(n int, kind byte, at *uint32, d []byte) []byte {
			if n%10 == 0 {
				return composition(-500)(n, kind, at, d)
			}
			return d
		})),
		puts(31, "composition offsets of -2 s", "negative.flv", want{frames: 80, breaks: -1}, whole(composition(-2000))),
		puts(32, "1,000 frames with one time", "still.flv", want{frames: 900, breaks: -1}, func() []byte {
			return new(body).head(1).add(avtest.NewSynthetic(spec(1000, 40, 25)), func(_ int, _ byte, at *uint32, d []byte) []byte {
				*at = 0
				return d
			}).add(avtest.NewSynthetic(wide(2, 320)), nil).b
		}),
		puts(34, "sound that is 30 s late", "late.flv", want{frames: 80, breaks: -1}, whole(func(_ int, kind byte, at *uint32, d []byte) []byte {
			if kind == audioMessage && d[1] == 1 {
				*at += 30000
			}
			return d
		})),
		drift(1.05), drift(0.95),
	}
}

// drift is a camera whose clock is off: it is published by RTMP for 8 s.
func drift(speed float64) trial {
	return trial{row: 35, sent: fmt.Sprintf("an encoder whose clock runs at %.2f, for 8 s", speed), run: func(ctx context.Context, r *rig) (string, error) {
		if r.RTMP == "" {
			return "left out: there is no RTMP to publish by", nil
		}
		name := fmt.Sprintf("torture/drift%.0f", speed*100)
		if err := r.send(ctx, name, newHealthy(int(8*25*speed)), speed); err != nil {
			return "", err
		}
		v, err := r.view(ctx, name, 150)
		if err == nil {
			err = (&want{}).check(v)
		}
		return v.String(), err
	}}
}
