package dash

import (
	text "github.com/cleave-video/cleave/format/dash"
	"github.com/cleave-video/cleave/live"
)

// protection is what the manifest says of the encryption of a Period that begins with a
// segment. default_KID is the key of all of it: there is no pssh, which dash.js takes for
// the IDs of keys.
func (b *builder) protection(first *live.Segment) *text.Protection {
	x, s := b.e.Sealing, first.Sealed
	if x == nil || s == nil {
		return nil
	}
	return &text.Protection{Scheme: string(x.Scheme), DefaultKID: s.KeyID, LicenseURL: x.LicenseURL}
}
