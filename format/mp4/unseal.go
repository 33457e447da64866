package mp4

import (
	"bytes"

	"github.com/cleave-video/cleave/av"
)

// maxUnsealDepth is how deep sample entries lie: moov, trak, mdia, minf, stbl, stsd.
const maxUnsealDepth = 6

// Unseal returns a copy of an initialization section in which encrypted sample entries
// are called again as they are in the clear, so that a Demuxer tells what tracks they
// are of. The samples stay encrypted. ISO 14496-12 8.12.2
func Unseal(header []byte) ([]byte, error) {
	out := bytes.Clone(header)
	if err := unseal(out, boxes{body: header}, 0); err != nil {
		return nil, err
	}
	return out, nil
}

func unseal(out []byte, w boxes, depth int) error {
	for b, ok := w.next(); ok; b, ok = w.next() {
		kind := b.kind.String()
		skip, _ := container(kind)
		switch kind {
		case "moov", "trak", "mdia", "minf", "stbl", "stsd":
			if depth == maxUnsealDepth {
				continue
			}
			if err := unseal(out, b.children(skip), depth+1); err != nil {
				return err
			}
		case "encv", "enca":
			sinf, _ := b.find(skip, "sinf")
			frma, ok := sinf.find(0, "frma")
			if !ok || len(frma.body) < 4 {
				return av.Errorf("mp4", b.off, kind+".frma", "%w: what it would be in the clear is not said", av.ErrInvalid)
			}
			copy(out[b.off+4:], frma.body[:4])
		}
	}
	return w.err
}
