package aac

import (
	"fmt"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/internal/bits"
)

// idPCE is the id_syn_ele of a program_config_element. ISO 14496-3 table 4.85
const idPCE = 5

// FrameConfig returns the AudioSpecificConfig of an ADTS frame. Where the header
// leaves the channels to a program config element, that is taken out of the
// frame's first raw data block, without its comment. ISO 14496-3 1.6.2.1, 4.4.1.1
func FrameConfig(frame []byte) ([]byte, error) {
	h, err := ParseADTS(frame)
	if err != nil {
		return nil, err
	}
	if h.ChannelConfig != 0 {
		return h.Config(), nil
	}
	r := bits.New(frame[min(h.HeaderLen, len(frame)):])
	if r.U(3) != idPCE {
		return nil, fmt.Errorf("aac: adts.channel_configuration: %w: 0 without a program config element", av.ErrUnsupported)
	}
	w := writer{b: make([]byte, 0, 32)}
	w.put(uint64(h.ObjectType), 5)
	w.put(uint64(h.SampleRateIndex), 4)
	w.put(0, 4+3) // channelConfiguration, GASpecificConfig
	if channels := program(&r, &w); channels == 0 || r.Err() != nil {
		return nil, fmt.Errorf("aac: program_config_element: %w: %d channels", av.ErrInvalid, channels)
	}
	w.put(0, -w.n&7)
	w.put(0, 8) // comment_field_bytes
	return w.b, nil
}

// program reads a program config element up to its byte alignment, writes it to w
// if that is not nil, and returns its channels, 0 if it is cut.
// ISO 14496-3 table 4.2
func program(r *bits.Reader, w *writer) (channels int) {
	take := func(n int) uint64 {
		v := r.U(n)
		w.put(v, n)
		return v
	}
	take(4 + 2 + 4) // element_instance_tag, object_type, sampling_frequency_index
	pairs := int(take(4)) + int(take(4)) + int(take(4))
	lfe, data, coupling := int(take(2)), int(take(3)), int(take(4))
	for _, n := range [...]int{4, 4, 3} { // mono_mixdown, stereo_mixdown, matrix_mixdown
		if take(1) == 1 {
			take(n)
		}
	}
	for range pairs {
		channels += 1 + int(take(1)) // is_cpe
		take(4)
	}
	for range lfe + data {
		take(4)
	}
	for range coupling {
		take(5)
	}
	if r.Err() != nil {
		return 0
	}
	return channels + lfe
}

// writer writes bit fields; nil writes nothing.
type writer struct {
	b []byte
	n int // bits
}

func (w *writer) put(v uint64, n int) {
	if w == nil {
		return
	}
	for n--; n >= 0; n-- {
		if w.n&7 == 0 {
			w.b = append(w.b, 0)
		}
		w.b[w.n>>3] |= byte(v>>n&1) << (7 - w.n&7)
		w.n++
	}
}
