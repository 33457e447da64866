package flv

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec/vp9"
	"github.com/cleave-video/cleave/internal/nal"
)

// Bounds of the search for tracks, and of what a stream may hold.
const (
	probeUnits  = 256
	probeMillis = 1000
	probeBytes  = 4 << 20  // of frames kept meanwhile
	maxSearch   = 64 << 20 // bytes of bodies without any track
	maxTracks   = 16
	// Changing a track costs memory: more changes than this need as many KiB.
	freeChanges = 256

	// A stream whose sequence headers or AAC frames are bad time and again is
	// given up.
	maxBadVideo = 3
	maxBadAudio = 10
	maxAAC      = 64 << 10 // bytes of one raw frame
)

// WrapBits is the width of the timestamps.
const WrapBits = 32

// ErrMore is returned by Tags.ReadPacket when it needs another body.
var ErrMore = errors.New("flv: another tag is needed")

// Tags makes packets of the bodies of video, audio and script tags, which are
// RTMP's messages too. Give it a body by Video, Audio or Script, then call
// ReadPacket until it returns ErrMore: so long the body must stay as it is. The
// zero value is ready. Not safe for concurrent use.
//
// Every track's timebase is the millisecond. DTS is the timestamp as it came, 32
// bits, wraps not undone; PTS is DTS plus the composition time, of 32 bits too.
// Key, Open, Gradual, Leading and Disposable come from the bitstream. A sequence
// header or parameter sets in a key frame that differ from those before make a
// new track.
type Tags struct {
	// Offset is where in the input the body starts, for errors; RTMP leaves it 0.
	Offset int64

	slots  []slot
	tracks []av.Track
	units  []unit // what the bodies so far hold; those before head are given
	head   int
	stats  stats

	begun   bool // the first ErrTracks was given
	ended   bool
	changed bool  // an ErrTracks is owed before the next packet
	kept    int   // bytes of units while not begun
	read    int64 // bytes of bodies
	changes int64 // of tracks
	want    want
	badV    int
	badA    int
	unknown string // the first codec that is not supported

	duration float64 // seconds, 0 unknown
}

// want says which kinds of track are expected. Metadata overrules a file's header.
type want struct {
	known, metadata, video, audio bool
}

// unit is a packet, or a change of track that stands between packets.
type unit struct {
	slot     int
	flags    av.Flags
	dts, pts int64
	data     []byte
	track    *av.Track
}

// Expect says which kinds of track a file's header promises; metadata overrules
// it. Without either both kinds are waited for, up to a second of media.
func (t *Tags) Expect(video, audio bool) {
	if !t.want.metadata {
		t.want = want{known: video || audio, video: video, audio: audio}
	}
}

// Tracks returns the tracks as of the last ErrTracks; do not modify.
func (t *Tags) Tracks() []av.Track { return t.tracks }

// Warnings returns what was skipped so far, each kind once with its count.
func (t *Tags) Warnings() []string { return t.stats.lines() }

// Duration returns the duration that the metadata declares, in milliseconds.
func (t *Tags) Duration() (int64, av.Timebase, bool) {
	return int64(t.duration*1000 + 0.5), av.Millisecond, t.duration > 0
}

// Lost says that bodies are missing here: the next packet of every track is
// marked Discont.
func (t *Tags) Lost() {
	for i := range t.slots {
		t.slots[i].broke = true
	}
}

// Finish says that no body follows. ReadPacket then gives what is left, and
// io.EOF is the caller's to return when it gets ErrMore. The error tells that
// there was no track, and wraps av.ErrUnsupported if only the codecs were unknown.
func (t *Tags) Finish() error {
	t.ended = true
	if len(t.slots) > 0 {
		return nil
	}
	return t.noTracks()
}

func (t *Tags) noTracks() error {
	if t.unknown != "" {
		return av.Errorf("flv", t.Offset, "codec", "%w: %s", av.ErrUnsupported, t.unknown)
	}
	return av.Errorf("flv", t.Offset, "tag", "%w: no sequence header and frames of a known codec", av.ErrInvalid)
}

// ReadPacket returns the next packet of the bodies given so far, its payload
// copied into memory of a; av.ErrTracks as av.Demuxer has it; ErrMore when
// another body is needed; or a's error, after which it may be called again.
func (t *Tags) ReadPacket(a av.Allocator) (av.Packet, error) {
	if !t.begun {
		if !t.found() {
			return av.Packet{}, ErrMore
		}
		t.begin()
		return av.Packet{}, av.ErrTracks
	}
	for t.head < len(t.units) {
		u := &t.units[t.head]
		s := &t.slots[u.slot]
		if u.track != nil {
			t.change(s, *u.track)
			t.head++
			continue
		}
		if t.changed {
			t.changed = false
			return av.Packet{}, av.ErrTracks
		}
		data, err := a.Alloc(s.index, len(u.data))
		if err != nil {
			return av.Packet{}, err
		}
		copy(data, u.data)
		t.head++
		return av.Packet{Track: s.index, DTS: u.dts, PTS: u.pts, Flags: u.flags, Data: data}, nil
	}
	clear(t.units)
	t.units, t.head = t.units[:0], 0
	return av.Packet{}, ErrMore
}

// found reports whether the search for tracks is over: those expected are there
// and a packet too, so that every sequence header in front of it was seen; of VP9 a
// key frame, which has the size.
func (t *Tags) found() bool {
	if len(t.slots) == 0 {
		return false
	}
	if t.ended || len(t.units) >= probeUnits || t.kept >= probeBytes {
		return true
	}
	if len(t.units) == 0 {
		return false
	}
	if span := t.units[len(t.units)-1].dts - t.units[0].dts; span >= probeMillis || span < -probeMillis {
		return true
	}
	video, audio := false, false
	for i := range t.slots {
		video = video || t.slots[i].kind == av.Video && (t.slots[i].track.Codec != av.VP9 || t.slots[i].track.Width > 0)
		audio = audio || t.slots[i].kind == av.Audio
	}
	w := t.want
	if !w.known {
		w.video, w.audio = true, true
	}
	return video == w.video && audio == w.audio || video && audio
}

// begin makes the first tracks: video before audio, each by its trackId.
func (t *Tags) begin() {
	t.begun = true
	order := make([]*slot, len(t.slots))
	for i := range t.slots {
		order[i] = &t.slots[i]
	}
	slices.SortStableFunc(order, func(a, b *slot) int {
		if a.kind != b.kind {
			return int(a.kind) - int(b.kind)
		}
		return int(a.id) - int(b.id)
	})
	for i, s := range order {
		s.index = i
		t.tracks = append(t.tracks, s.first)
	}
}

// body notes that n bytes came; the error tells that there are no tracks in what
// was searched.
func (t *Tags) body(n int) error {
	t.read += int64(n)
	if len(t.slots) == 0 && t.read > maxSearch {
		return t.noTracks()
	}
	return nil
}

// frame adds a packet, unless it is damaged.
func (t *Tags) frame(i int, timestamp uint32, composition int64, data []byte) {
	s := &t.slots[i]
	flags := s.inspect.Flags(data)
	if len(data) == 0 || flags.Has(av.Corrupt) || s.nalLen > 0 && emptyUnit(data, s.nalLen) {
		t.stats.add(warnBadFrame, 1)
		s.broke = true
		return
	}
	if s.broke {
		flags |= av.Discont
		s.broke = false
	}
	if s.kind == av.Video && flags.Has(av.Key) {
		if config, ok := s.inspect.NewConfig(data); ok {
			t.configure(s.kind, s.id, s.track.Codec, config)
		}
		if s.track.Codec == av.VP9 {
			t.resize(i, data)
		}
	}
	if !t.begun {
		t.kept += len(data)
		data = bytes.Clone(data)
	}
	pts := int64(timestamp + uint32(composition)) // modulo 2^32 as the timestamp is
	t.units = append(t.units, unit{slot: i, flags: flags, dts: int64(timestamp), pts: pts, data: data})
}

// resize gives the track the size of the pictures from a key frame on, which no
// configuration record of VP9 says.
func (t *Tags) resize(i int, key []byte) {
	s := &t.slots[i]
	w, h, err := vp9.Size(key)
	if err != nil || w == s.track.Width && h == s.track.Height {
		return
	}
	if !t.mayChange() {
		return
	}
	track := s.track
	track.Width, track.Height = w, h
	if of := func(u unit) bool { return u.slot == i }; t.begun || slices.ContainsFunc(t.units, of) {
		t.mark(i, &track)
	} else {
		s.first = track
	}
	s.track = track
}

// emptyUnit reports whether an access unit has a NAL unit without a byte, which
// has no header and may not be (ITU-T H.264 7.3.1).
func emptyUnit(data []byte, size int) bool {
	l := nal.Split(data, size)
	for {
		u, ok := l.Next()
		if !ok {
			return false
		}
		if len(u) == 0 {
			return true
		}
	}
}

// short counts a body that ends within its header.
func (t *Tags) short() error {
	t.stats.add(warnShort, 1)
	return nil
}

// unsupported counts a body whose codec or packet type is not read.
func (t *Tags) unsupported(name string) error {
	t.stats.add(warnUnsupported, 1)
	if t.unknown == "" {
		t.unknown = name
	}
	return nil
}

// unsupportedCode is unsupported for a FourCC.
func (t *Tags) unsupportedCode(four []byte) error {
	if t.unknown == "" {
		t.unknown = fmt.Sprintf("FourCC %q", four)
	}
	return t.unsupported(t.unknown)
}

// badVideo and badAudio count a fault of a kind that ends a stream if it comes
// again and again.
func (t *Tags) badVideo(field string) error {
	if t.badV++; t.badV >= maxBadVideo {
		return av.Errorf("flv", t.Offset, field, "%w: %d times", av.ErrInvalid, t.badV)
	}
	return nil
}

func (t *Tags) badAudio(field string) error {
	if t.badA++; t.badA >= maxBadAudio {
		return av.Errorf("flv", t.Offset, field, "%w: %d times", av.ErrInvalid, t.badA)
	}
	return nil
}
