package flv

import (
	"bytes"
	"slices"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec"
)

// slot is one track of the stream.
type slot struct {
	kind    av.Kind
	id      uint8 // trackId of multitrack bodies, else 0
	index   int   // into Tags.tracks
	track   av.Track
	first   av.Track // as it was when the slot was made
	inspect *codec.Inspector
	nalLen  int    // bytes of NAL unit lengths, 0 without NAL units
	header  []byte // the last sequence header, which may come again
	sig     uint32 // what may not change in the heads of MP3 and AC-3 frames
	broke   bool   // the next packet is Discont
}

// change puts a new track into a copy of the tracks, since a caller may hold the
// old ones.
func (t *Tags) change(s *slot, track av.Track) {
	if !t.changed {
		t.tracks = slices.Clone(t.tracks)
		t.changed = true
	}
	if s.index < 0 {
		s.index = len(t.tracks)
		t.tracks = append(t.tracks, track)
		return
	}
	t.tracks[s.index] = track
}

// find returns the slot of a kind and trackId, -1 if it has no track yet.
func (t *Tags) find(kind av.Kind, id uint8) int {
	for i := range t.slots {
		if s := &t.slots[i]; s.kind == kind && s.id == id {
			return i
		}
	}
	return -1
}

// sequence takes a sequence header: one that is as the last is no news, though
// parameter sets in the frames may have changed the track since.
func (t *Tags) sequence(kind av.Kind, id uint8, c av.Codec, header []byte) bool {
	i := t.find(kind, id)
	if i >= 0 && t.slots[i].track.Codec == c && bytes.Equal(t.slots[i].header, header) {
		return true
	}
	i, ok := t.configure(kind, id, c, header)
	if ok {
		t.slots[i].header = t.slots[i].track.Config
	}
	return ok
}

// mayChange counts a change of a track, and reports whether there is memory for it.
func (t *Tags) mayChange() bool {
	if t.changes++; t.changes > freeChanges && t.changes > t.read>>10 {
		t.stats.add(warnManyChanges, 1)
		return false
	}
	return true
}

// configure makes or changes the track of a slot. config is copied. ok is false
// if it cannot be read or there are too many tracks.
func (t *Tags) configure(kind av.Kind, id uint8, c av.Codec, config []byte) (i int, ok bool) {
	i = t.find(kind, id)
	if i >= 0 && t.slots[i].track.Codec == c && bytes.Equal(t.slots[i].track.Config, config) {
		return i, true
	}
	if !t.mayChange() {
		return i, false
	}
	track := av.Track{Kind: kind, Codec: c, Timebase: av.Millisecond, Config: bytes.Clone(config), ID: uint32(id)}
	info, err := codec.Describe(&track)
	if err != nil {
		t.stats.add(warnBadConfig, 1)
		return i, false
	}
	inspect, err := codec.NewInspector(&track)
	if err != nil {
		t.stats.add(warnBadConfig, 1)
		return i, false
	}
	if i < 0 {
		if len(t.slots) == maxTracks {
			t.stats.add(warnManyTracks, 1)
			return i, false
		}
		i = len(t.slots)
		t.slots = append(t.slots, slot{kind: kind, id: id, index: -1, first: track})
		if t.begun {
			t.mark(i, &track)
		}
	} else {
		t.mark(i, &track)
	}
	t.slots[i].track, t.slots[i].inspect, t.slots[i].nalLen = track, inspect, info.NALLength
	return i, true
}

// mark notes that slot i has another track from here on.
func (t *Tags) mark(i int, track *av.Track) {
	if !t.begun && len(t.units) == 0 {
		t.slots[i].first = *track
		return
	}
	u := unit{slot: i, track: track}
	if n := len(t.units); n > 0 {
		u.dts = t.units[n-1].dts
	}
	t.units = append(t.units, u)
}
