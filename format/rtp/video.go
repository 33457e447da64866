package rtp

import (
	"errors"
	"fmt"

	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtpav1"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtph264"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtph265"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtpvp9"
	"github.com/pion/rtp"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec"
	"github.com/cleave-video/cleave/codec/av1"
	"github.com/cleave-video/cleave/codec/vp9"
)

// nalPayload is what H.264 and H.265 have in common.
type nalPayload struct {
	es      *codec.ByteStream
	waiting bool   // the decoder holds an incomplete access unit
	ts      uint32 // of it
}

// prime takes the parameter sets of the SDP.
func (n *nalPayload) prime(sets ...[]byte) error {
	list := make([][]byte, 0, len(sets))
	for _, s := range sets {
		if len(s) > 0 {
			list = append(list, s)
		}
	}
	_, _, err := n.es.ScanUnits(list)
	return err
}

func (n *nalPayload) config() []byte { return n.es.Config() }

// units makes one of the NAL units of an access unit.
func (n *nalPayload) units(nalus [][]byte, ts uint32) ([]unit, error) {
	kept, changed, err := n.es.ScanUnits(nalus)
	if err != nil || len(kept) == 0 || n.es.Config() == nil {
		return nil, err
	}
	u := unit{parts: kept, nal: true, ts: ts}
	if changed {
		u.config = n.es.Config()
	}
	return []unit{u}, nil
}

// RFC 6184
type h264Payload struct {
	nalPayload
	format  *format.H264
	decoder *rtph264.Decoder
}

func (h *h264Payload) reset() (err error) {
	h.waiting = false
	h.decoder, err = h.format.CreateDecoder()
	return err
}

// decode takes an access unit to end at the marker, or where the timestamp changes
// for those who set none.
func (h *h264Payload) decode(p *rtp.Packet) ([]unit, error) {
	ts := p.Timestamp
	if h.waiting {
		ts = h.ts
	}
	nalus, err := h.decoder.Decode(p)
	if errors.Is(err, rtph264.ErrMorePacketsNeeded) {
		h.waiting, h.ts = true, ts
		return nil, errMore
	}
	if err != nil {
		return nil, err
	}
	h.waiting = ts != p.Timestamp // p itself is held then
	h.ts = p.Timestamp
	return h.units(nalus, ts)
}

// RFC 7798
type h265Payload struct {
	nalPayload
	format  *format.H265
	decoder *rtph265.Decoder
}

func (h *h265Payload) reset() (err error) {
	h.waiting = false
	h.decoder, err = h.format.CreateDecoder()
	return err
}

func (h *h265Payload) decode(p *rtp.Packet) ([]unit, error) {
	if h.waiting && p.Timestamp != h.ts { // its marker is missing
		if err := h.reset(); err != nil {
			return nil, err
		}
	}
	nalus, err := h.decoder.Decode(p)
	if errors.Is(err, rtph265.ErrMorePacketsNeeded) {
		h.waiting, h.ts = true, p.Timestamp
		return nil, errMore
	}
	h.waiting = false
	if err != nil {
		return nil, err
	}
	return h.units(nalus, p.Timestamp)
}

// av1Payload: AV1's RTP payload format, 1.0.
type av1Payload struct {
	format  *format.AV1
	decoder *rtpav1.Decoder
	record  []byte // av1C
	head    string // the sequence header that it is of
}

func (a *av1Payload) config() []byte { return a.record }

func (a *av1Payload) reset() (err error) {
	a.decoder, err = a.format.CreateDecoder()
	return err
}

func (a *av1Payload) decode(p *rtp.Packet) ([]unit, error) {
	obus, err := a.decoder.Decode(p)
	if errors.Is(err, rtpav1.ErrMorePacketsNeeded) {
		return nil, errMore
	}
	if err != nil {
		return nil, err
	}
	u := unit{ts: p.Timestamp}
	for _, o := range obus {
		sized, kind, ok := withSize(o)
		if !ok {
			return nil, fmt.Errorf("rtp: OBU: %w", av.ErrInvalid)
		}
		if kind == av1.TypeTemporalDelimiter {
			continue
		}
		if kind == av1.TypeSequenceHeader && string(sized) != a.head {
			record, err := av1.Config(sized)
			if err != nil {
				return nil, err
			}
			a.record, a.head, u.config = record, string(sized), record
		}
		u.parts = append(u.parts, sized)
	}
	if len(u.parts) == 0 || a.record == nil {
		return nil, nil
	}
	return []unit{u}, nil
}

// withSize gives an OBU the size that RTP leaves out: ISO BMFF needs it. AV1 5.3.1
//
//	forbidden(1) type(4) extension(1) has_size(1) reserved(1)
func withSize(o []byte) (sized []byte, kind int, ok bool) {
	const extension, hasSize = 0x04, 0x02
	if len(o) == 0 {
		return nil, 0, false
	}
	kind = int(o[0] >> 3 & 0x0F)
	if o[0]&hasSize != 0 {
		return o, kind, true
	}
	head := 1
	if o[0]&extension != 0 {
		head = 2
	}
	if len(o) < head {
		return nil, 0, false
	}
	sized = make([]byte, 0, len(o)+4)
	sized = append(sized, o[:head]...)
	sized[0] |= hasSize
	n := len(o) - head
	for ; n >= 0x80; n >>= 7 {
		sized = append(sized, byte(n)|0x80)
	}
	sized = append(sized, byte(n))
	return append(sized, o[head:]...), kind, true
}

// RFC 9628
type vp9Payload struct {
	format  *format.VP9
	decoder *rtpvp9.Decoder
	record  []byte
	w, h    int
}

func (v *vp9Payload) config() []byte { return v.record }

func (v *vp9Payload) reset() (err error) {
	v.decoder, err = v.format.CreateDecoder()
	return err
}

func (v *vp9Payload) decode(p *rtp.Packet) ([]unit, error) {
	frame, err := v.decoder.Decode(p)
	if errors.Is(err, rtpvp9.ErrMorePacketsNeeded) {
		return nil, errMore
	}
	if err != nil || len(frame) == 0 {
		return nil, err
	}
	u := unit{parts: [][]byte{frame}, ts: p.Timestamp}
	if f, ok := vp9.Look(frame); ok && f.Key {
		w, h, err := vp9.Size(frame)
		if err == nil && (v.record == nil || w != v.w || h != v.h) {
			record, err := vp9.Config(frame)
			if err != nil {
				return nil, err
			}
			v.record, v.w, v.h, u.config = record, w, h, record
		}
	}
	if v.record == nil {
		return nil, nil
	}
	return []unit{u}, nil
}
