package hls

import (
	"fmt"
	"strings"

	"github.com/cleave-video/cleave/av"
)

// Check returns an *av.Error if m would not be a playlist that every client
// accepts: a target duration below a segment's, an empty URI, a text that would
// end its line or its quotes. Append never lets such a text through; it writes
// '_' in place of the bytes at fault.
func (m *Media) Check() error {
	if m.TargetDuration < 1 {
		return fault("EXT-X-TARGETDURATION", "%w: %d", av.ErrInvalid, m.TargetDuration)
	}
	if err := checkMap(m.Map); err != nil {
		return err
	}
	if err := checkKeys("EXT-X-KEY", m.Keys); err != nil {
		return err
	}
	for i := range m.Segments {
		if err := m.checkSegment(i); err != nil {
			return err
		}
	}
	for _, h := range m.Hints {
		if err := checkText("EXT-X-PRELOAD-HINT", "URI", h.URI, true); err != nil {
			return err
		}
	}
	for _, r := range m.Reports {
		if err := checkText("EXT-X-RENDITION-REPORT", "URI", r.URI, true); err != nil {
			return err
		}
	}
	return nil
}

func (m *Media) checkSegment(i int) error {
	s := &m.Segments[i]
	open := s.URI == "" && i == len(m.Segments)-1 && !m.EndList
	if err := checkText("EXTINF", "URI", s.URI, !open); err != nil {
		return err
	}
	if strings.HasPrefix(s.URI, "#") {
		return fault("EXTINF", "segment %d: %w: URI %q would be a comment", i, av.ErrInvalid, s.URI)
	}
	// An open segment's duration is not written, so it is not a promise yet.
	if us := s.Span.micros(); !open && (us < 0 || rounded(us) > m.TargetDuration) {
		return fault("EXTINF", "segment %d: %w: %d us does not fit target duration %d s", i, av.ErrInvalid, us, m.TargetDuration)
	}
	if err := checkMap(s.Map); err != nil {
		return err
	}
	if err := checkKeys("EXT-X-KEY", s.Keys); err != nil {
		return err
	}
	for j := range s.Parts {
		p := &s.Parts[j]
		if err := checkText("EXT-X-PART", "URI", p.URI, true); err != nil {
			return err
		}
		if us := p.Span.micros(); us < 0 || us > m.PartTarget.Microseconds() {
			return fault("EXT-X-PART", "segment %d part %d: %w: %d us, PART-TARGET is %v", i, j, av.ErrInvalid, us, m.PartTarget)
		}
	}
	return nil
}

// rounded is a duration as EXT-X-TARGETDURATION compares it (4.4.3.1).
func rounded(us int64) int64 { return (us + 500000) / 1000000 }

func checkMap(p Map) error { return checkText("EXT-X-MAP", "URI", p.URI, false) }

// checkKeys checks what 4.4.4.4 demands of keys that apply together.
func checkKeys(tag string, keys []Key) error {
	for i := range keys {
		k := &keys[i]
		switch k.Method {
		case MethodNone:
			if tag != "EXT-X-KEY" || len(keys) > 1 || !k.same(Key{Method: MethodNone}) {
				return fault(tag, "METHOD: %w: NONE with more than itself", av.ErrInvalid)
			}
			continue
		case MethodAES128, MethodSampleAES:
		case MethodSampleAESCTR:
			if k.IV != nil {
				return fault(tag, "IV: %w: with METHOD=SAMPLE-AES-CTR", av.ErrInvalid)
			}
		default:
			return fault(tag, "METHOD: %w: %q", av.ErrInvalid, k.Method)
		}
		if err := checkText(tag, "URI", k.URI, true); err != nil {
			return err
		}
		if err := checkText(tag, "KEYFORMAT", k.Format, false); err != nil {
			return err
		}
		if err := checkText(tag, "KEYFORMATVERSIONS", k.Versions, false); err != nil {
			return err
		}
	}
	return nil
}

// Check returns an *av.Error if m would not be a playlist that every client
// accepts. What is said of Media.Check holds here too.
func (m *Multivariant) Check() error {
	if err := checkKeys("EXT-X-SESSION-KEY", m.SessionKeys); err != nil {
		return err
	}
	for i := range m.Media {
		if err := m.Media[i].check(); err != nil {
			return err
		}
	}
	for i := range m.Variants {
		if err := m.Variants[i].check("EXT-X-STREAM-INF"); err != nil {
			return err
		}
	}
	for i := range m.IFrames {
		if err := m.IFrames[i].check("EXT-X-I-FRAME-STREAM-INF"); err != nil {
			return err
		}
	}
	return nil
}

func (v *Variant) check(tag string) error {
	if v.Bandwidth < 1 {
		return fault(tag, "BANDWIDTH: %w: %d", av.ErrInvalid, v.Bandwidth)
	}
	if strings.HasPrefix(v.URI, "#") {
		return fault(tag, "URI: %w: %q would be a comment", av.ErrInvalid, v.URI)
	}
	if err := checkText(tag, "URI", v.URI, true); err != nil {
		return err
	}
	if err := checkText(tag, "CODECS", v.Codecs, false); err != nil {
		return err
	}
	if !isEnum(v.VideoRange) {
		return fault(tag, "VIDEO-RANGE: %w: %q", av.ErrInvalid, v.VideoRange)
	}
	return checkText(tag, "AUDIO", v.Audio, false)
}

func (r *Rendition) check() error {
	const tag = "EXT-X-MEDIA"
	if r.Type == "" || !isEnum(r.Type) {
		return fault(tag, "TYPE: %w: %q", av.ErrInvalid, r.Type)
	}
	for _, f := range [...]struct {
		name, value string
		need        bool
	}{
		{"GROUP-ID", r.GroupID, true},
		{"NAME", r.Name, true},
		{"LANGUAGE", r.Language, false},
		{"CHANNELS", r.Channels, false},
		{"URI", r.URI, false},
	} {
		if err := checkText(tag, f.name, f.value, f.need); err != nil {
			return err
		}
	}
	return nil
}

// isEnum reports whether s can stand as an enumerated-string (4.2), or is empty.
func isEnum(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7F || s[i] == '"' || s[i] == ',' {
			return false
		}
	}
	return true
}

func checkText(tag, name, s string, need bool) error {
	if need && s == "" {
		return fault(tag, "%s: %w: empty", name, av.ErrInvalid)
	}
	for i := range len(s) {
		if unsafe(s[i]) {
			return fault(tag, "%s: %w: byte 0x%02x in %q", name, av.ErrInvalid, s[i], s)
		}
	}
	return nil
}

// unsafe reports whether c ends a line or a quoted-string, or is a control
// character (4.1, 4.2).
func unsafe(c byte) bool { return c < ' ' || c == 0x7F || c == '"' }

func fault(tag, format string, args ...any) error {
	return &av.Error{Format: "hls", Offset: -1, Field: tag, Err: fmt.Errorf(format, args...)}
}
