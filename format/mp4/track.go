package mp4

import (
	"errors"
	"fmt"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec"
)

// track is one trak, and its place in the samples.
type track struct {
	id       uint32
	handler  fourcc
	tb       av.Timebase
	lang     string
	rotation uint16  // degrees clockwise
	entries  []entry // stsd, in order
	tables   tables
	trex     trex
	shift    int64 // added to media times: what the edit list says
	early    int64 // by how much decode times are earlier than media time: see decodeEarlier
	dur      int64 // mdhd duration, ticks
	reach    reach // of every time
	fragEnd  int64 // where the fragments so far end, media time

	index   int // into Demuxer.tracks
	desc    uint32
	inspect *codec.Inspector

	cur        cursor
	frags      []fragCursor // trafs of the current moof
	frag       int          // of them, the next to read
	fragmented bool         // a traf was read
	peeked     bool
	done       bool
	s          sample // the next one, if peeked
}

// decodeEarlier makes room for negative composition offsets: media time may say
// that a sample is shown before it is decoded (ISO 14496-12 8.6.1.3), which no
// other format can carry. Decode times move by a constant, shown times stay.
// Offsets of more than ten seconds are taken for damage.
func (t *track) decodeEarlier(least int32) {
	if e := -int64(least); e > t.early && e <= t.tb.Ticks(10*time.Second) {
		t.early = e
	}
}

// handlers that QuickTime and ISO use for what we carry. ISO 14496-12 8.4.3
func kindOf(handler fourcc) av.Kind {
	switch handler {
	case cc("vide"):
		return av.Video
	case cc("soun"):
		return av.Audio
	}
	return av.Data
}

// movie is what moov says.
type movie struct {
	tb         av.Timebase // of mvhd and edit lists
	dur        int64
	tracks     []*track
	fragmented bool // has mvex
	warnings   []string
}

// maxTracks bounds the trak boxes of a movie; more is an attack.
const maxTracks = 128

// readMovie reads moov. A track at fault is left out with a warning, as long as
// one remains. ISO 14496-12 8.2
func readMovie(moov box) (*movie, error) {
	m := &movie{}
	var traks, trexes []box
	w := moov.children(0)
	for {
		b, ok := w.next()
		if !ok {
			break
		}
		switch b.kind {
		case cc("mvhd"):
			if err := m.readHeader(b); err != nil {
				return nil, err
			}
		case cc("trak"):
			if traks = append(traks, b); len(traks) > maxTracks {
				return nil, av.Errorf("mp4", b.off, "moov.trak", "%w: more than %d tracks", av.ErrTooLarge, maxTracks)
			}
		case cc("mvex"):
			m.fragmented = true
			for x := b.children(0); ; {
				t, ok := x.next()
				if !ok {
					break
				}
				if t.kind == cc("trex") && len(trexes) < maxTracks {
					trexes = append(trexes, t)
				}
			}
		}
	}
	if w.err != nil {
		return nil, w.err
	}
	return m, m.readTracks(moov, traks, trexes)
}

func (m *movie) readTracks(moov box, traks, trexes []box) error {
	var first error
	for _, b := range traks {
		t, err := m.readTrack(b)
		if errors.Is(err, av.ErrEncrypted) { // what is left would be taken for the whole
			return err
		}
		if err != nil {
			if first == nil {
				first = err
			}
			m.warnings = append(m.warnings, fmt.Sprintf("track left out: %v", err))
			continue
		}
		m.tracks = append(m.tracks, t)
	}
	if len(m.tracks) == 0 {
		if first != nil {
			return first
		}
		return av.Errorf("mp4", moov.off, "moov", "%w: no track", av.ErrInvalid)
	}
	for _, b := range trexes {
		f := &fields{b: b}
		f.full()
		id := f.u32("track_ID")
		x := trex{f.u32("default_sample_description_index"), f.u32("default_sample_duration"), f.u32("default_sample_size"), f.u32("default_sample_flags")}
		if f.err != nil {
			return f.err
		}
		for _, t := range m.tracks {
			if t.id == id {
				t.trex = x
			}
		}
	}
	return nil
}

func (m *movie) readHeader(b box) error {
	f := &fields{b: b}
	v, _ := f.full()
	f.u32or64(v, "creation_time")
	f.u32or64(v, "modification_time")
	m.tb = av.Timebase{Num: 1, Den: f.u32("timescale")}
	m.dur = int64(f.u32or64(v, "duration"))
	return f.err
}

// readTrack reads trak. ISO 14496-12 8.3
func (m *movie) readTrack(trak box) (*track, error) {
	t := &track{}
	tkhd, ok := trak.find(0, "tkhd")
	if !ok {
		return nil, av.Errorf("mp4", trak.off, "trak", "%w: no tkhd", av.ErrInvalid)
	}
	f := &fields{b: tkhd}
	v, _ := f.full()
	f.u32or64(v, "creation_time")
	f.u32or64(v, "modification_time")
	t.id = f.u32("track_ID")
	if f.err != nil {
		return nil, f.err
	}
	t.rotation = f.readRotation(v)
	mdia, ok := trak.find(0, "mdia")
	if !ok {
		return nil, av.Errorf("mp4", trak.off, "trak", "%w: no mdia", av.ErrInvalid)
	}
	if err := t.readMedia(mdia); err != nil {
		return nil, err
	}
	return t, t.readEdits(trak, m.tb, &m.warnings)
}

func (t *track) readMedia(mdia box) error {
	var minf box
	w := mdia.children(0)
	for {
		b, ok := w.next()
		if !ok {
			break
		}
		f := &fields{b: b}
		switch b.kind {
		case cc("mdhd"):
			v, _ := f.full()
			f.u32or64(v, "creation_time")
			f.u32or64(v, "modification_time")
			t.tb = av.Timebase{Num: 1, Den: f.u32("timescale")}
			t.dur = int64(f.u32or64(v, "duration"))
			t.lang = language(f.u16("language"))
		case cc("hdlr"):
			f.full()
			f.u32("pre_defined")
			copy(t.handler[:], f.take(4, "handler_type"))
		case cc("minf"):
			minf = b
		}
		if f.err != nil {
			return f.err
		}
	}
	if w.err != nil {
		return w.err
	}
	if !t.tb.Valid() {
		return av.Errorf("mp4", mdia.off, "mdhd.timescale", "%w: track %d has no timescale", av.ErrInvalid, t.id)
	}
	t.reach = reachOf(t.tb)
	if err := t.refuseExternal(minf); err != nil {
		return err
	}
	stbl, ok := minf.find(0, "stbl")
	if !ok {
		return av.Errorf("mp4", mdia.off, "minf", "%w: track %d has no stbl", av.ErrInvalid, t.id)
	}
	stsd, ok := stbl.find(0, "stsd")
	if !ok {
		return av.Errorf("mp4", stbl.off, "stbl", "%w: track %d has no stsd", av.ErrInvalid, t.id)
	}
	if err := t.readEntries(stsd); err != nil {
		return err
	}
	if err := t.tables.read(stbl); err != nil {
		return err
	}
	if pcm := t.entries[0].frame; pcm > 0 {
		t.tables.fixed = pcm // QuickTime writes 1 there for sound; the entry knows
		t.tables.group = 1024
	}
	return nil
}

// refuseExternal rejects media data in another file: an input names nothing that
// this program then opens. ISO 14496-12 8.7.2
func (t *track) refuseExternal(minf box) error {
	dinf, ok := minf.find(0, "dinf")
	if !ok {
		return nil
	}
	dref, ok := dinf.find(0, "dref")
	if !ok {
		return nil
	}
	for w := dref.children(8); ; {
		b, ok := w.next()
		if !ok {
			return nil // a fault here harms nobody: no sample depends on it
		}
		if (b.kind == cc("url ") || b.kind == cc("urn ")) && len(b.body) > 4 && b.body[3]&1 == 0 {
			return av.Errorf("mp4", b.off, "dref", "%w: track %d has its media in another file", av.ErrUnsupported, t.id)
		}
	}
}

// language unpacks mdhd's ISO 639-2/T code. ISO 14496-12 8.4.2.3
func language(v uint16) string {
	if v < 0x400 || v == 0x7fff { // a Macintosh code, or none
		return ""
	}
	b := []byte{byte(v>>10&31) + 0x60, byte(v>>5&31) + 0x60, byte(v&31) + 0x60}
	if s := string(b); s != "und" {
		return s
	}
	return ""
}

// readEdits turns the edit list into one shift: empty edits delay the track, the
// first real edit says which media time is its start. ISO 14496-12 8.6.6
func (t *track) readEdits(trak box, movieTB av.Timebase, warnings *[]string) error {
	edts, ok := trak.find(0, "edts")
	if !ok {
		return nil
	}
	elst, ok := edts.find(0, "elst")
	if !ok {
		return nil
	}
	f := &fields{b: elst}
	v, _ := f.full()
	count, width := f.u32("entry_count"), 12
	if v == 1 {
		width = 20
	}
	f.table(count, width, "entry_count")
	f.pos -= int(min(int64(count)*int64(width), int64(f.pos)))
	real := false
	for i := range count {
		dur := int64(f.u32or64(v, "segment_duration"))
		var media int64
		if v == 1 {
			media = int64(f.u64("media_time"))
		} else {
			media = int64(int32(f.u32("media_time")))
		}
		f.u32("media_rate")
		switch {
		case f.err != nil:
			return f.err
		case media < -1 || dur < 0 || !t.reach.has(-media):
			return av.Errorf("mp4", elst.off, "elst.media_time", "%w: %d in edit %d", av.ErrInvalid, media, i)
		case media == -1 && !real && movieTB.Valid():
			empty := movieTB.Rescale(dur, t.tb)
			if !t.reach.has(empty) || !t.reach.has(t.shift+empty) {
				return av.Errorf("mp4", elst.off, "elst.segment_duration", "%w: %d in edit %d, which is empty", av.ErrInvalid, dur, i)
			}
			t.shift += empty
		case !real && media >= 0:
			t.shift -= media
			real = true
		case real && media >= 0:
			*warnings = append(*warnings, fmt.Sprintf("track %d: %d edits; the first is applied, all samples are kept", t.id, count))
			return nil
		}
	}
	return nil
}

// peek makes t.s the next sample; false at the end of what is known so far.
func (t *track) peek() (bool, error) {
	for !t.peeked && !t.done {
		if t.cur == nil {
			if t.frag == len(t.frags) {
				return false, nil
			}
			t.cur = &t.frags[t.frag]
			t.frag++
		}
		ok, err := t.cur.next(&t.s)
		if err != nil {
			t.cur, t.frag = nil, len(t.frags)
			return false, err
		}
		if !ok {
			t.cur = nil
			continue
		}
		if !t.reach.has(t.s.dts) || !t.reach.has(t.s.dts+t.shift) {
			t.cur, t.frag = nil, len(t.frags)
			return false, t.outOfReach()
		}
		t.peeked = true
		t.fragEnd = t.s.dts + int64(t.s.dur)
	}
	return t.peeked, nil
}

// changes reports whether t.s has another description than the samples before it, and one
// that there is.
func (t *track) changes() bool {
	return t.s.desc != t.desc && t.s.desc != 0 && int64(t.s.desc) <= int64(len(t.entries))
}

// outOfReach says which durations have led to the time of t.s.
func (t *track) outOfReach() error {
	field := "stts.sample_delta"
	if t.fragmented {
		field = "trun.sample_duration"
	}
	return av.Errorf("mp4", t.s.off, field, "%w: track %d has a sample at %d, of %d ticks a second", av.ErrInvalid, t.id, t.s.dts, t.tb.Den)
}

// configIsInSample reports whether the track's configuration is the header of its
// first frame.
func (t *track) configIsInSample() bool {
	for i := range t.entries {
		if t.entries[i].codec == av.MP3 {
			return true
		}
	}
	return false
}

// errEncrypted tells what to do about a track whose samples are encrypted.
var errEncrypted = errors.New("decrypt it first; its frames cannot be read")
