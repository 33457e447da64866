package avtest

import (
	"time"

	"github.com/cleave-video/cleave/av"
)

// minPicture is room for the heads of a picture, in bytes.
const minPicture = 40

// lane makes the packets of one track.
type lane struct {
	spec   *Spec
	track  int
	tb     av.Timebase
	start  int64 // ticks
	frames int
	next   int // packet
	video  *Video
	audio  *Audio
	jumped int // of spec.Jumps
	bits   writer

	gop   int // of video.GOPs, of the current GOP
	first int // packet of the current GOP, in both orders
	keys  int // GOPs so far
}

func newVideo(spec *Spec, v Video, track int) *lane {
	return &lane{spec: spec, track: track, tb: v.Timebase, start: v.Timebase.Ticks(spec.Start), frames: v.Frames, video: &v}
}

func newAudio(spec *Spec, a Audio, track int) *lane {
	return &lane{spec: spec, track: track, tb: a.Timebase, start: a.Timebase.Ticks(spec.Start), frames: a.Frames, audio: &a}
}

func (v Video) defaults() Video {
	if !v.Timebase.Valid() {
		v.Timebase = av.Timebase{Num: 1, Den: 25}
	}
	if v.FrameDur == 0 {
		v.FrameDur = 1
	}
	if len(v.GOPs) == 0 {
		v.GOPs = []int{25}
	}
	if v.Width == 0 {
		v.Width, v.Height = 320, 192
	}
	if v.Size == 0 {
		v.Size = 200
	}
	if v.KeySize == 0 {
		v.KeySize = 3 * v.Size
	}
	v.Size, v.KeySize = max(v.Size, minPicture), max(v.KeySize, minPicture)
	return v
}

func (a Audio) defaults() Audio {
	if a.SampleRate == 0 {
		a.SampleRate = 48000
	}
	if a.Channels == 0 {
		a.Channels = 2
	}
	if !a.Timebase.Valid() {
		a.Timebase = av.Timebase{Num: 1, Den: uint32(a.SampleRate)}
	}
	if a.Size == 0 {
		a.Size = 100
	}
	return a
}

func (l *lane) left() bool { return l.next < l.frames }

// time returns the ticks of packet n without jumps, from the start.
func (l *lane) time(n int) int64 {
	if l.video != nil {
		return int64(n) * l.video.FrameDur
	}
	return av.Timebase{Num: 1, Den: uint32(l.audio.SampleRate)}.Rescale(int64(n)*aacSamples, l.tb)
}

// dts is that of the next packet without jumps.
func (l *lane) dts() int64 { return l.time(l.next) }

func (l *lane) size() int {
	switch {
	case l.audio != nil:
		return l.audio.Size
	case l.next == l.gopEnd():
		return l.video.KeySize
	}
	return l.video.Size
}

// gopEnd is where the current GOP ends; packet 0 ends an empty one.
func (l *lane) gopEnd() int {
	if l.keys == 0 {
		return 0
	}
	return min(l.first+max(l.video.GOPs[l.gop], 1), l.frames)
}

// take makes the next packet in data.
func (l *lane) take(data []byte) av.Packet {
	p := av.Packet{Track: l.track, DTS: l.time(l.next), Data: data}
	p.Dur = l.time(l.next+1) - p.DTS
	p.PTS = p.DTS
	if l.audio != nil {
		p.Flags = av.Key
		fill(data, l.next)
	} else {
		l.picture(&p)
	}
	by := l.start
	for i, j := range l.spec.Jumps {
		if p.DTS < l.tb.Ticks(j.At) {
			break
		}
		by += l.tb.Ticks(j.By)
		if i == l.jumped {
			l.jumped++
			if j.Marked {
				p.Flags |= av.Discont
			}
		}
	}
	p.DTS, p.PTS = l.wrap(p.DTS+by), l.wrap(p.PTS+by)
	l.next++
	return p
}

func (l *lane) wrap(t int64) int64 {
	if n := l.spec.WrapBits; n > 0 {
		return t & (1<<n - 1)
	}
	return t
}

// picture makes the next picture: its place in output order, and its slice.
func (l *lane) picture(p *av.Packet) {
	v := l.video
	if l.next == l.gopEnd() {
		if l.keys > 0 {
			l.gop = (l.gop + 1) % len(v.GOPs)
		}
		l.first = l.next
		l.keys++
	}
	n := l.gopEnd() - l.first
	lead := 0 // leading B pictures
	if v.Open && l.keys > 1 {
		lead = min(v.B, n-1)
	}
	k := l.next - l.first
	shown, kind, ref := place(k, n, v.B, lead)
	s := slice{kind: kind, ref: ref, idr: k == 0 && (l.keys == 1 || !v.Open), open: k == 0 && l.keys > 1 && v.Open}
	if v.Open {
		s.poc = 2 * (l.first + shown)
		s.frameNum = l.next
	} else {
		s.poc = 2 * shown
		s.frameNum = k
	}
	s.idrID = l.keys
	switch {
	case s.open:
		p.Flags |= av.Key | av.Open
	case s.idr:
		p.Flags |= av.Key
	case !ref:
		p.Flags |= av.Disposable
	}
	delay := 0
	if v.B > 0 {
		delay = 1
	}
	p.PTS = l.time(l.first + shown + delay)
	s.write(p.Data, l.next, &l.bits)
}

// place returns where picture k in decoding order of a GOP of n stands in output
// order, its slice type, and whether others refer to it.
func place(k, n, b, lead int) (shown int, kind byte, ref bool) {
	switch {
	case k == 0:
		return lead, 'I', true
	case k <= lead:
		return k - 1, 'B', false
	}
	k -= lead + 1
	base := lead + 1
	group := k / (b + 1)
	from := base + group*(b+1)
	anchor := min(from+b, n-1)
	if at := k % (b + 1); at > 0 {
		return from + at - 1, 'B', false
	}
	return anchor, 'P', true
}

// fill writes bytes that hold no start code and tell packets apart.
func fill(b []byte, n int) {
	for i := range b {
		b[i] = byte(n+i)&0x7f | 0x80
	}
}

// Duration of a video track: what its frames last.
func (v Video) Duration() time.Duration {
	v = v.defaults()
	return v.Timebase.Duration(int64(v.Frames) * v.FrameDur)
}
