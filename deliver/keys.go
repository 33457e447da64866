package deliver

import (
	"github.com/cleave-video/cleave/format/hls"
	"github.com/cleave-video/cleave/live"
)

// PlaylistKey is what a playlist of HLS says of a key; up leads to the stream's folder.
func PlaylistKey(x *live.Sealing, id [16]byte, up string) hls.Key {
	k := hls.Key{Method: x.Scheme.Method(), URI: x.KeyURI(id, up)}
	if x.ClearKey {
		k.Format, k.ID = hls.FormatClearKey, id[:]
	}
	return k
}
