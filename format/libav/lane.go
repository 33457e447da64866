package libav

import (
	"bytes"
	"fmt"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec"
	"github.com/cleave-video/cleave/format/libav/wire"
)

// form is how a stream's payload is written.
type form uint8

const (
	formPlain  form = iota // as ISO BMFF stores it
	formAnnexB             // NAL units behind start codes
	formADTS               // AAC frames with headers
	formOBU                // AV1 units, a temporal delimiter may be among them
)

// lane is one stream on its way to a track.
type lane struct {
	stream  *wire.Stream
	track   av.Track
	form    form
	index   int // of the track
	dropped bool
	ready   bool // track.Config is known
	insp    *codec.Inspector
	info    codec.Info
	es      *codec.ByteStream // with formAnnexB: of what is given out
	codes   []int             // start codes, reused
	times   times
	seen    evidence
	guess   *guess // with an unknown codec: what the content may be
	ahead   *codec.ByteStream
	held    hold
	mpeg    mpegOrder // of Private video
}

// unit is the payload of one packet.
type unit struct {
	data    []byte
	place   codec.Place
	placed  bool
	changed bool     // the track is new
	flags   av.Flags // beyond what the Inspector says
}

// makeLanes decides what each stream becomes, as far as its header tells.
func (d *Demuxer) makeLanes() {
	for i := range d.opened.Streams {
		s := &d.opened.Streams[i]
		l := &lane{stream: s, index: -1}
		d.lanes = append(d.lanes, l)
		if why := l.begin(d.o.Carry); why != "" {
			l.drop(d, why)
			continue
		}
		l.times.begin(&l.track, s)
	}
	if n := d.opened.Widened; n > 0 {
		d.notes = append(d.notes, fmt.Sprintf("libav: %d bytes were looked at to know every stream (--probesize)", n))
	}
	d.bits = d.wrapBits()
}

// wrapBits is what all streams' times have, 0 if they do not wrap or differ.
func (d *Demuxer) wrapBits() int {
	bits := 0
	for _, l := range d.lanes {
		if l.dropped {
			continue
		}
		n := l.stream.WrapBits
		if n <= 0 || n >= 63 || bits != 0 && n != bits {
			return 0
		}
		bits = n
	}
	for _, l := range d.lanes {
		l.times.bits = bits
	}
	return bits
}

func (l *lane) drop(d *Demuxer, why string) {
	l.dropped = true
	for i, o := range d.lanes {
		if o == l {
			d.notes = append(d.notes, fmt.Sprintf("libav: stream %d (%s %s) left out: %s", i, l.stream.Kind, l.stream.Codec, why))
		}
	}
}

// maxSide is the most that a sample entry of ISO BMFF says of a picture's side.
const maxSide = 1<<16 - 1

// begin reads the stream's header. It returns why the stream cannot be used, or "".
func (l *lane) begin(carry av.PrivateFormat) string {
	s := l.stream
	if s.Num <= 0 || s.Den <= 0 || s.Num > 1<<31-1 || s.Den > 1<<31-1 {
		return "it has no timebase"
	}
	l.track.Timebase = av.Timebase{Num: uint32(s.Num), Den: uint32(s.Den)}
	l.track.Language, l.track.ID = language(s.Language), uint32(max(s.ID, 0))
	switch {
	case s.Picture || s.Kind == "attachment":
		return "a picture that is no video"
	case s.Codec == "none" && (s.Kind == "video" || s.Kind == "audio" || s.Kind == "data" || s.Kind == "unknown"):
		l.guess = newGuess()
		return ""
	case s.Kind == "video":
		l.track.Kind = av.Video
		if s.Width > 0 && s.Width <= maxSide && s.Height > 0 && s.Height <= maxSide {
			l.track.Width, l.track.Height = s.Width, s.Height
		}
	case s.Kind == "audio":
		l.track.Kind = av.Audio
	default:
		return "neither video nor audio"
	}
	c, known := codecs()[s.Codec]
	if !known {
		return l.carry(carry)
	}
	l.track.Codec = c
	l.extradata(s.Extradata)
	return ""
}

// language returns an ISO 639-2 code, or "".
func language(s string) string {
	if len(s) != 3 || s == "und" {
		return ""
	}
	for _, c := range []byte(s) {
		if c < 'a' || c > 'z' {
			return ""
		}
	}
	return s
}

// codecs are libavcodec's names of those that are known here.
func codecs() map[string]av.Codec {
	return map[string]av.Codec{
		"h264": av.H264, "hevc": av.H265, "av1": av.AV1, "vp9": av.VP9,
		"aac": av.AAC, "opus": av.Opus, "ac3": av.AC3, "eac3": av.EAC3,
		"mp1": av.MP3, "mp2": av.MP3, "mp3": av.MP3,
	}
}

// learn looks at a packet of the search for tracks.
func (l *lane) learn(r *raw) {
	if l.guess != nil {
		c, f, ok := l.guess.see(r.data)
		if !ok {
			return
		}
		l.track.Codec, l.form = c, f
		l.track.Kind = av.Audio
		if c == av.H264 || c == av.H265 {
			l.track.Kind = av.Video
		}
		l.times.begin(&l.track, l.stream)
		l.guess = nil
	}
	if !l.ready {
		l.fromPacket(r.data)
	}
	if l.ready {
		l.seen.see(l, r)
	}
}

// settled reports whether the search need see no more of it.
func (l *lane) settled() bool {
	if l.dropped {
		return true
	}
	return l.ready && (l.track.Kind != av.Video || l.seen.settled(l))
}

// settle ends the search.
func (l *lane) settle(d *Demuxer) {
	switch {
	case l.dropped:
	case l.guess != nil:
		l.drop(d, "its codec is unknown, and its content is none that is known here")
	case !l.ready:
		l.drop(d, "nothing told its configuration")
	default:
		if l.stream.Codec == "none" {
			d.notes = append(d.notes, fmt.Sprintf("libav: stream %d of %s: the container names no codec known to libavformat; its content is %s",
				l.number(d), d.opened.Format, l.track.Codec))
		}
		l.seen.finish(l)
		l.ahead = nil
	}
}

func (l *lane) number(d *Demuxer) int {
	for i, o := range d.lanes {
		if o == l {
			return i
		}
	}
	return -1
}

// adopt makes config the track's. It reports whether it can be read.
func (l *lane) adopt(config []byte) bool {
	t := l.track
	t.Config = bytes.Clone(config)
	info, err := codec.Describe(&t)
	if err != nil {
		return false
	}
	insp, err := codec.NewInspector(&t)
	if err != nil {
		return false
	}
	l.track, l.info, l.insp, l.ready = t, info, insp, true
	return true
}

// reconfigure takes over extradata that came with a packet; true means that the
// track is new.
func (l *lane) reconfigure(d *Demuxer, r *raw) bool {
	if len(r.extra) == 0 {
		return false
	}
	old := l.track.Config
	if !l.extradata(bytes.Clone(r.extra)) {
		d.stats.add(warnBadConfig, 1)
		return false
	}
	return !bytes.Equal(old, l.track.Config)
}

// payload copies a packet into a's memory as ISO BMFF stores it; no data means that
// it is dropped.
func (l *lane) payload(d *Demuxer, r *raw, a av.Allocator) (u unit, err error) {
	if l.form == formAnnexB {
		return l.byteStream(d, r, a)
	}
	if len(r.data) == 0 {
		return u, nil
	}
	if u.data, err = a.Alloc(l.index, len(r.data)); err != nil {
		return unit{}, err
	}
	copy(u.data, r.data)
	if u.data = l.strip(u.data); len(u.data) == 0 {
		d.stats.add(warnBadUnit, 1)
		return unit{}, nil
	}
	if l.mpeg.known() {
		u.place, u.flags, u.placed = l.mpeg.place(u.data)
	}
	if l.insp != nil && l.track.Kind == av.Video && l.insp.Flags(u.data)&av.Key != 0 {
		if c, changed := l.insp.NewConfig(u.data); changed && l.adopt(c) {
			u.changed = true
		}
	}
	return u, nil
}

// byteStream is payload for Annex B.
func (l *lane) byteStream(d *Demuxer, r *raw, a av.Allocator) (u unit, err error) {
	d.scratch = append(d.scratch[:0], r.data...)
	if l.es == nil {
		l.es = l.newStream()
	}
	l.codes = codec.StartCodes(l.codes[:0], d.scratch)
	size, _, err := l.es.Scan(d.scratch, l.codes)
	switch {
	case err != nil || size == 0:
		d.stats.add(warnBadUnit, 1)
		return u, nil
	case l.es.Config() == nil:
		d.stats.add(warnNoConfig, 1)
		return u, nil
	}
	if u.data, err = a.Alloc(l.index, size); err != nil {
		return unit{}, err
	}
	l.es.Write(u.data, d.scratch)
	if l.times.lacks {
		u.place.Count, u.place.Reset, u.placed = l.es.Order(d.scratch)
	}
	if c := l.es.Config(); !bytes.Equal(c, l.track.Config) {
		u.changed = l.adopt(c)
	}
	return u, nil
}

// newStream returns a ByteStream that knows the sets of the header.
func (l *lane) newStream() *codec.ByteStream {
	es := codec.NewByteStream(l.track.Codec)
	if x := l.stream.Extradata; len(x) > 4 && isAnnexB(x) {
		// An access unit of parameter sets alone has nothing else to tell.
		_, _, _ = es.Scan(x, codec.StartCodes(nil, x))
	}
	return es
}

// deliver gives the packet its times.
func (l *lane) deliver(d *Demuxer, r *raw, u unit) {
	p := av.Packet{Track: l.index, Data: u.data, Dur: max(r.Dur, 0)}
	if l.track.Kind == av.Video && p.Dur < l.times.least {
		p.Dur = 0 // Matroska's DefaultDuration may be that of a field
	}
	if l.insp != nil {
		p.Flags = l.insp.Flags(u.data)
	}
	if l.track.Codec == av.Private && (l.track.Kind == av.Audio || r.Flags&wire.FlagKey != 0) {
		p.Flags |= av.Key // the bitstream of video is not read here: its container may know
	}
	if p.Flags&av.Key != 0 {
		p.Flags |= u.flags
	}
	if r.Flags&wire.FlagCorrupt != 0 {
		p.Flags |= av.Corrupt
		d.stats.add(warnDamaged, 1)
	}
	if r.Flags&wire.FlagDiscard != 0 {
		d.stats.add(warnDiscard, 1)
	}
	if l.track.Kind == av.Audio {
		if !l.times.audio(&p, r, l.samples(u.data), l.rate()) {
			d.stats.add(warnNoTime, 1)
			return
		}
		d.ready = append(d.ready, item{p: p})
		return
	}
	switch l.times.video(&p, r, u) {
	case stampDrop:
		d.stats.add(warnNoTime, 1)
	case stampHold:
		l.held.add(d, &l.times, p, u)
	default:
		l.held.flush(d, &l.times)
		d.ready = append(d.ready, item{p: p})
	}
}

func (l *lane) flush(d *Demuxer) { l.held.flush(d, &l.times) }
