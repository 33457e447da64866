package ts

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestPlain: packets that are taken in a run come out as those taken one by one,
// also where some are missing, doubled or damaged. transport_priority, which means
// nothing here, keeps a packet out of a run.
func TestPlain(t *testing.T) {
	damages := map[string]func(i int, p []byte) []byte{
		"whole":   func(_ int, p []byte) []byte { return p },
		"missing": func(i int, p []byte) []byte { return p[:len(p)*min(i%13, 1)] },
		"doubled": func(i int, p []byte) []byte {
			if i%11 == 0 {
				return append(bytes.Clone(p), p...)
			}
			return p
		},
		"error": func(i int, p []byte) []byte {
			if i%17 == 0 {
				p[1] |= flagError
			}
			return p
		},
		"sync": func(i int, p []byte) []byte {
			if i%19 == 0 {
				p[0] = 0
			}
			return p
		},
	}
	for _, s := range samples {
		b := sample(t, s.file)
		for name, damage := range damages {
			t.Run(s.file+"/"+name, func(t *testing.T) {
				var plain, slow []byte
				for i := 0; i < len(b)/packetSize; i++ {
					p := damage(i, bytes.Clone(b[i*packetSize:(i+1)*packetSize]))
					plain = append(plain, p...)
					for at := 0; at < len(p); at += packetSize {
						q := bytes.Clone(p[at : at+packetSize])
						q[1] |= 0x20
						slow = append(slow, q...)
					}
				}
				if diff := cmp.Diff(demux(t, slow), demux(t, plain), cmp.AllowUnexported(generation{})); diff != "" {
					t.Errorf("one by one against in runs:\n%s", diff[:min(len(diff), 2000)])
				}
			})
		}
	}
}
