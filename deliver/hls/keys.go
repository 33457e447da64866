package hls

import (
	"github.com/cleave-video/cleave/deliver"
	text "github.com/cleave-video/cleave/format/hls"
	"github.com/cleave-video/cleave/live"
	"github.com/cleave-video/cleave/seal"
)

// segmentKeys is how a segment is decrypted; nil: as the one before it, or not at all.
func segmentKeys(e *live.Edge, s *live.Segment) []text.Key {
	x := e.Sealing
	if x == nil || s.Sealed == nil {
		return nil
	}
	k := deliver.PlaylistKey(x, s.Sealed.KeyID, "../")
	if x.Scheme == seal.AES128 {
		if s.Sealed.IV == [16]byte{} {
			return nil // there is nothing of it
		}
		k.IV = s.Sealed.IV[:]
	}
	return []text.Key{k}
}

// maxSessionKeys bounds the keys that the multivariant playlist announces.
const maxSessionKeys = 16

// sessionKeys are the newest keys, of segments that are listed and of those that come, in
// the order of their use.
func sessionKeys(e *live.Edge) (out []text.Key) {
	x := e.Sealing
	if x == nil || len(e.Renditions) == 0 {
		return nil
	}
	var ids [][16]byte
	add := func(id [16]byte) {
		if n := len(ids); n == 0 || ids[n-1] != id {
			ids = append(ids, id)
		}
	}
	r := &e.Renditions[0]
	for i := range r.Segments {
		if s := r.Segments[i].Sealed; s != nil {
			add(s.KeyID)
		}
	}
	if r.Open != nil && r.Open.Sealed != nil {
		add(r.Open.Sealed.KeyID)
	}
	for _, id := range e.Ahead {
		add(id)
	}
	for _, id := range ids[max(0, len(ids)-maxSessionKeys):] {
		out = append(out, deliver.PlaylistKey(x, id, ""))
	}
	return out
}
