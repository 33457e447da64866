package dash

import (
	text "github.com/cleave-video/cleave/format/dash"
	"github.com/cleave-video/cleave/format/mp4"
	"github.com/cleave-video/cleave/live"
)

// protection is what the manifest says of the encryption of segments, those of a Period
// up to the number until: the key that their header names, theirs, and in the Period that
// goes on those that come. A player can so ask for a key before its first segment.
// shaka-player does not play a track without the key that its header names, even if no
// segment has that.
func (b *builder) protection(sealed []*live.Sealed, until int64) *text.Protection {
	x := b.e.Sealing
	if x == nil || len(sealed) == 0 || sealed[0] == nil {
		return nil
	}
	kids := [][16]byte{sealed[0].InitKeyID}
	for _, s := range sealed {
		if kids[len(kids)-1] != s.KeyID {
			kids = append(kids, s.KeyID)
		}
	}
	if until == 1<<63-1 {
		kids = append(kids, b.e.Ahead...)
	}
	return &text.Protection{Scheme: string(x.Scheme), DefaultKID: sealed[0].InitKeyID, LicenseURL: x.LicenseURL, PSSH: mp4.AppendPSSH(nil, kids)}
}
