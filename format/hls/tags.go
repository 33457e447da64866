package hls

import (
	"bytes"
	"encoding/hex"
	"strconv"
	"time"
)

// The values of Key.Method (4.4.4.4).
const (
	MethodNone         = "NONE"
	MethodAES128       = "AES-128"        // whole segments
	MethodSampleAES    = "SAMPLE-AES"     // samples; cbcs in fMP4
	MethodSampleAESCTR = "SAMPLE-AES-CTR" // samples; cenc in fMP4
)

// FormatClearKey is the Key.Format of keys that a browser's module asks a license server
// for (W3C EME 9.1).
const FormatClearKey = "org.w3.clearkey"

// Key is EXT-X-KEY or EXT-X-SESSION-KEY (4.4.4.4, 4.4.6.5).
type Key struct {
	Method   string
	URI      string // empty for NONE only
	IV       []byte // 16 bytes, or nil: the media sequence number
	Format   string // KEYFORMAT; empty is "identity"
	Versions string // KEYFORMATVERSIONS; empty is "1"
	// ID is KEYID, which is not in RFC 8216bis: hls.js, and others that leave keys to a
	// module of the browser, know by it which key is meant; nil: it is not said.
	ID   []byte
	Line int
}

// need is the protocol version that the key needs (section 8).
func (k *Key) need() int {
	switch {
	case k.Format != "" || k.Versions != "":
		return 5
	case k.Method == MethodSampleAES || k.Method == MethodSampleAESCTR:
		return 5
	case k.IV != nil:
		return 2
	}
	return 1
}

// DateRange is EXT-X-DATERANGE (4.4.5.1).
type DateRange struct {
	ID, Class string
	Cue       string
	Start     time.Time
	End       time.Time      // zero if it is not known
	Duration  *time.Duration // nil if it is not known
	Planned   *time.Duration
	EndOnNext bool
	// Command, Out and In are SCTE35-CMD, -OUT and -IN: a splice_info_section.
	Command, Out, In []byte
	// Client are the X- attributes, as they stood.
	Client Attributes
	Line   int
}

// Define is EXT-X-DEFINE (4.4.2.3). One of the three is set; Value goes with Name.
type Define struct {
	Name, Value string
	Import      string
	Query       string
	Line        int
}

// Start is EXT-X-START (4.4.2.2).
type Start struct {
	Offset  time.Duration // from the beginning, or if negative from the end
	Precise bool
}

// SessionData is EXT-X-SESSION-DATA (4.4.6.4).
type SessionData struct {
	ID, Value, URI, Language string
	Line                     int
}

// Steering is EXT-X-CONTENT-STEERING (4.4.6.6).
type Steering struct {
	URI, Pathway string
	Line         int
}

// same reports whether k and o are the same but for where they stand.
func (k Key) same(o Key) bool {
	return k.Method == o.Method && k.URI == o.URI && bytes.Equal(k.IV, o.IV) && k.Format == o.Format && k.Versions == o.Versions && bytes.Equal(k.ID, o.ID)
}

// append writes the attributes. METHOD=NONE has no other (4.4.4.4).
func (k *Key) append(dst []byte) []byte {
	dst = appendEnum(append(dst, "METHOD="...), k.Method)
	if k.Method == MethodNone {
		return append(dst, '\n')
	}
	dst = appendQuoted(dst, ",URI=", k.URI)
	if k.IV != nil {
		dst = hex.AppendEncode(append(dst, ",IV=0x"...), k.IV)
	}
	if k.Format != "" {
		dst = appendQuoted(dst, ",KEYFORMAT=", k.Format)
	}
	if k.Versions != "" {
		dst = appendQuoted(dst, ",KEYFORMATVERSIONS=", k.Versions)
	}
	if k.ID != nil {
		dst = hex.AppendEncode(append(dst, ",KEYID=0x"...), k.ID)
	}
	return append(dst, '\n')
}

func (d *DateRange) append(dst []byte) []byte {
	dst = appendQuoted(append(dst, "#EXT-X-DATERANGE:"...), "ID=", d.ID)
	if d.Class != "" {
		dst = appendQuoted(dst, ",CLASS=", d.Class)
	}
	dst = appendDate(dst, ",START-DATE=", d.Start)
	if d.Cue != "" {
		dst = appendQuoted(dst, ",CUE=", d.Cue)
	}
	if !d.End.IsZero() {
		dst = appendDate(dst, ",END-DATE=", d.End)
	}
	if d.Duration != nil {
		dst = appendMicros(append(dst, ",DURATION="...), d.Duration.Microseconds())
	}
	if d.Planned != nil {
		dst = appendMicros(append(dst, ",PLANNED-DURATION="...), d.Planned.Microseconds())
	}
	dst = d.Client.append(dst)
	for _, f := range [...]struct {
		name string
		b    []byte
	}{{",SCTE35-CMD=0x", d.Command}, {",SCTE35-OUT=0x", d.Out}, {",SCTE35-IN=0x", d.In}} {
		if f.b != nil {
			dst = hex.AppendEncode(append(dst, f.name...), f.b)
		}
	}
	if d.EndOnNext {
		dst = append(dst, ",END-ON-NEXT=YES"...)
	}
	return append(dst, '\n')
}

func appendDate(dst []byte, name string, t time.Time) []byte {
	dst = append(append(dst, name...), '"')
	return append(t.UTC().AppendFormat(dst, "2006-01-02T15:04:05.000Z07:00"), '"')
}

// append writes the attributes, each behind a comma.
func (a Attributes) append(dst []byte) []byte {
	for i := range a {
		dst = appendEnum(append(dst, ','), a[i].Name)
		if a[i].Quoted {
			dst = appendQuoted(dst, "=", a[i].Value)
		} else {
			dst = appendEnum(append(dst, '='), a[i].Value)
		}
	}
	return dst
}

// appendShared writes the tags that stand in either kind of playlist.
func appendShared(dst []byte, defines []Define, start *Start) []byte {
	for i := range defines {
		d := &defines[i]
		switch {
		case d.Name != "":
			dst = appendQuoted(dst, "#EXT-X-DEFINE:NAME=", d.Name)
			dst = appendQuoted(dst, ",VALUE=", d.Value)
		case d.Import != "":
			dst = appendQuoted(dst, "#EXT-X-DEFINE:IMPORT=", d.Import)
		default:
			dst = appendQuoted(dst, "#EXT-X-DEFINE:QUERYPARAM=", d.Query)
		}
		dst = append(dst, '\n')
	}
	if start == nil {
		return dst
	}
	dst = append(dst, "#EXT-X-START:TIME-OFFSET="...)
	us := start.Offset.Microseconds()
	if us < 0 {
		dst, us = append(dst, '-'), -us
	}
	dst = appendMicros(dst, us)
	if start.Precise {
		dst = append(dst, ",PRECISE=YES"...)
	}
	return append(dst, '\n')
}

// appendSkip writes EXT-X-SKIP (4.4.5.2).
func (m *Media) appendSkip(dst []byte) []byte {
	dst = strconv.AppendInt(append(dst, "#EXT-X-SKIP:SKIPPED-SEGMENTS="...), m.Skipped, 10)
	if len(m.Removed) > 0 {
		dst = append(dst, `,RECENTLY-REMOVED-DATERANGES="`...)
		for i, id := range m.Removed {
			if i > 0 {
				dst = append(dst, '\t')
			}
			dst = appendText(dst, id)
		}
		dst = append(dst, '"')
	}
	return append(dst, '\n')
}

// appendSession writes the tags that concern the presentation as a whole.
func (m *Multivariant) appendSession(dst []byte) []byte {
	for i := range m.SessionData {
		d := &m.SessionData[i]
		dst = appendQuoted(dst, "#EXT-X-SESSION-DATA:DATA-ID=", d.ID)
		for _, f := range [...][2]string{{",VALUE=", d.Value}, {",URI=", d.URI}, {",LANGUAGE=", d.Language}} {
			if f[1] != "" {
				dst = appendQuoted(dst, f[0], f[1])
			}
		}
		dst = append(dst, '\n')
	}
	for i := range m.SessionKeys {
		dst = m.SessionKeys[i].append(append(dst, "#EXT-X-SESSION-KEY:"...))
	}
	if s := m.Steering; s != nil {
		dst = appendQuoted(dst, "#EXT-X-CONTENT-STEERING:SERVER-URI=", s.URI)
		if s.Pathway != "" {
			dst = appendQuoted(dst, ",PATHWAY-ID=", s.Pathway)
		}
		dst = append(dst, '\n')
	}
	return dst
}
