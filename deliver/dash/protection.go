package dash

import (
	text "github.com/cleave-video/cleave/format/dash"
	"github.com/cleave-video/cleave/format/mp4"
	"github.com/cleave-video/cleave/live"
)

// protection is what the manifest says of the encryption of a Period, up to the number
// until, that begins with a segment: the key, and in the Period that goes on also those
// that come, so that a player can ask for a key before its first segment.
func (b *builder) protection(first *live.Segment, until int64) *text.Protection {
	x, s := b.e.Sealing, first.Sealed
	if x == nil || s == nil {
		return nil
	}
	kids := [][16]byte{s.KeyID}
	if until == 1<<63-1 {
		kids = append(kids, b.e.Ahead...)
	}
	return &text.Protection{Scheme: string(x.Scheme), DefaultKID: s.KeyID, LicenseURL: x.LicenseURL, PSSH: mp4.AppendPSSH(nil, kids)}
}
