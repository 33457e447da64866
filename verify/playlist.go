package verify

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/cleave-video/cleave/format/hls"
)

// playlist is a media playlist that is checked.
type playlist struct {
	name  string
	role  string // "video", "audio", "subtitles", "iframes"; of a lone one "video"
	lines []hls.Line
	m     *hls.Media
	// What its segments turned out to be.
	tracks   []*trackState
	sizes    []int64 // of the segments; -1 not loaded
	forces   []inForce
	looked   bool // segments were looked into
	isMP4    bool
	isTS     bool
	duration time.Duration
}

func (p *playlist) at(line int) Place { return Place{File: p.name, Line: line, group: p.name} }

// find returns the first line with a tag, or 0.
func (p *playlist) line(tag string) int {
	for i := range p.lines {
		if p.lines[i].Tag == tag {
			return p.lines[i].Number
		}
	}
	return 0
}

func seconds(ns int64) float64 { return float64(ns) / 1e9 }

// rounded is a duration as TARGETDURATION is compared with it.
func rounded(ns int64) int64 { return (ns + 5e8) / 1e9 }

// limits of what is read: a VOD of a day has more than a live window.
func reader(fault func(*hls.LineError)) *hls.Reader {
	return &hls.Reader{MaxBytes: 64 << 20, MaxEntries: 500000, Fault: fault}
}

// readMedia reads a media playlist and checks what its text alone says.
func (c *checker) readMedia(name, role string, text []byte, vars map[string]string) *playlist {
	p := &playlist{name: name, role: role}
	c.count(1, 0, 0)
	r := reader(func(e *hls.LineError) {
		c.find(faultRule(e), Place{File: name, Line: e.Line, group: name}, "%s", faultText(e))
	})
	r.Import, r.Query = vars, c.query
	c.saw("S1", "H1")
	lines, err := r.Lines(text)
	if err == nil {
		p.lines = lines
		p.m, err = r.MediaLines(lines)
	}
	if err != nil {
		c.find("S1", p.at(0), "%v", err)
		return nil
	}
	c.checkHosts(name, lines)
	c.checkHead(p)
	c.checkSegments(p)
	c.checkDates(p)
	c.checkKeys(p)
	c.checkRanges(p)
	c.checkParts(p)
	c.checkControl(p)
	c.checkHints(p)
	for i := range p.m.Segments {
		p.duration += time.Duration(p.m.Segments[i].Span.Dur)
	}
	return p
}

// absolute finds the URLs in a line of a playlist.
var absolute = regexp.MustCompile(`https?://[^\s",]+`)

// checkHosts checks that what is not itself on this device names nothing that is.
func (c *checker) checkHosts(name string, lines []hls.Line) {
	c.saw("A39")
	if onDevice(name) {
		return
	}
	for i := range lines {
		for _, raw := range absolute.FindAllString(lines[i].Value, -1) {
			if onDevice(raw) {
				c.find("A39", Place{File: name, Line: lines[i].Number, group: name}, "%s is on the device that plays it", raw)
			}
		}
	}
}

// onDevice reports whether a URL has the address of the device that asks for it.
func onDevice(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil {
		return false
	}
	host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	a, err := netip.ParseAddr(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && a.Unmap().IsLoopback()
}

// faultRule names the rule that a fault of the text breaks.
func faultRule(e *hls.LineError) string {
	switch {
	case errors.Is(e, hls.ErrNoDuration):
		return "H5"
	case errors.Is(e, hls.ErrNoOffset) && e.Tag == "EXT-X-MAP":
		return "H10"
	case errors.Is(e, hls.ErrNoOffset) && e.Tag == "EXT-X-PART":
		return "L16"
	case errors.Is(e, hls.ErrNoOffset):
		return "H9"
	}
	switch e.Tag {
	case "EXT-X-TARGETDURATION":
		return "H1"
	case "EXT-X-PROGRAM-DATE-TIME":
		return "H12"
	case "EXT-X-DATERANGE":
		return "H13"
	case "EXT-X-KEY":
		return "H16"
	case "EXT-X-PART-INF":
		return "L1"
	case "EXT-X-RENDITION-REPORT":
		return "L27"
	case "EXT-X-BITRATE":
		return "H17"
	}
	return "S1"
}

func faultText(e *hls.LineError) string {
	if e.Tag == "" {
		return e.Err.Error()
	}
	return e.Tag + ": " + e.Err.Error()
}

// usualTarget is the target duration that Apple asks for, in seconds. Shorter ones are
// what less delay needs, and no finding.
const usualTarget = 6

// checkHead checks the tags of the whole playlist and their order.
func (c *checker) checkHead(p *playlist) {
	c.saw("H7", "H8")
	seen := map[string]int{}
	segment, discont := 0, 0
	for _, l := range p.lines {
		seen[l.Tag]++
		switch l.Tag {
		case "EXT-X-MEDIA-SEQUENCE", "EXT-X-DISCONTINUITY-SEQUENCE":
			if segment > 0 {
				c.find("H7", p.at(l.Number), "%s behind the first segment of line %d", l.Tag, segment)
			} else if discont > 0 && l.Tag == "EXT-X-DISCONTINUITY-SEQUENCE" {
				c.find("H7", p.at(l.Number), "%s behind the EXT-X-DISCONTINUITY of line %d", l.Tag, discont)
			}
		case "EXT-X-DISCONTINUITY":
			if discont == 0 {
				discont = l.Number
			}
		case "", "EXT-X-PART":
			if segment == 0 {
				segment = l.Number
			}
		case "EXT-X-STREAM-INF", "EXT-X-I-FRAME-STREAM-INF", "EXT-X-MEDIA", "EXT-X-SESSION-DATA", "EXT-X-SESSION-KEY", "EXT-X-CONTENT-STEERING":
			c.find("H8", p.at(l.Number), "%s belongs in a multivariant playlist", l.Tag)
		}
	}
	if n := seen["EXT-X-TARGETDURATION"]; n > 1 {
		c.find("H1", p.at(p.line("EXT-X-TARGETDURATION")), "EXT-X-TARGETDURATION stands %d times", n)
	}
	for _, tag := range [...]string{"EXT-X-VERSION", "EXT-X-MEDIA-SEQUENCE", "EXT-X-DISCONTINUITY-SEQUENCE", "EXT-X-PLAYLIST-TYPE", "EXT-X-SERVER-CONTROL", "EXT-X-PART-INF", "EXT-X-ENDLIST", "EXTM3U"} {
		if seen[tag] > 1 {
			c.find("S1", p.at(p.line(tag)), "%s stands %d times", tag, seen[tag])
		}
	}
	c.checkVersion(p)
	c.saw("A3")
	if p.m.TargetDuration > usualTarget {
		c.find("A3", p.at(p.line("EXT-X-TARGETDURATION")), "TARGETDURATION is %d", p.m.TargetDuration)
	}
	if p.m.EndList {
		c.saw("A12")
		if p.m.Type == hls.Live && p.m.Sequence <= 1 && !c.live {
			c.find("A12", p.at(p.line("EXT-X-ENDLIST")), "the playlist has ended and nothing was removed from it, but there is no EXT-X-PLAYLIST-TYPE")
		}
	}
}

// checkVersion compares EXT-X-VERSION with what the tags need (section 8).
func (c *checker) checkVersion(p *playlist) {
	c.saw("H6")
	need, line, why := 1, 0, ""
	raise := func(v int, l hls.Line, what string) {
		if v > need {
			need, line, why = v, l.Number, what
		}
	}
	for _, l := range p.lines {
		switch l.Tag {
		case "EXTINF":
			if length, _, _ := strings.Cut(l.Value, ","); strings.Contains(length, ".") {
				raise(3, l, "EXTINF with a fraction")
			}
		case "EXT-X-BYTERANGE", "EXT-X-I-FRAMES-ONLY":
			raise(4, l, l.Tag)
		case "EXT-X-MAP":
			if p.m.IFramesOnly {
				raise(5, l, l.Tag)
			} else {
				raise(6, l, l.Tag)
			}
		case "EXT-X-KEY":
			a, _ := hls.ParseAttributes(l.Value)
			if _, ok := a.Lookup("IV"); ok {
				raise(2, l, "IV of EXT-X-KEY")
			}
			if a.Get("KEYFORMAT") != "" || a.Get("KEYFORMATVERSIONS") != "" || strings.HasPrefix(a.Get("METHOD"), "SAMPLE-AES") {
				raise(5, l, "KEYFORMAT or SAMPLE-AES of EXT-X-KEY")
			}
		case "EXT-X-DEFINE":
			raise(8, l, l.Tag)
		case "EXT-X-SKIP":
			raise(9, l, l.Tag)
			if strings.Contains(l.Value, "RECENTLY-REMOVED-DATERANGES") {
				raise(10, l, "RECENTLY-REMOVED-DATERANGES of EXT-X-SKIP")
			}
		}
	}
	if p.m.Version < need {
		c.find("H6", p.at(line), "%s needs version %d, the playlist says %d", why, need, p.m.Version)
	}
}

// checkSegments checks each segment's tags.
func (c *checker) checkSegments(p *playlist) {
	td := p.m.TargetDuration
	for i := range p.m.Segments {
		s := &p.m.Segments[i]
		if s.URI == "" {
			continue
		}
		c.saw("H2", "H5", "A4")
		if got := rounded(s.Span.Dur); td > 0 && got > td {
			c.find("H2", p.at(s.Line), "EXTINF %.6g s rounds to %d, TARGETDURATION is %d", seconds(s.Span.Dur), got, td)
		}
		if td > 0 && s.Span.Dur > td*1e9+5e8 {
			c.find("A4", p.at(s.Line), "EXTINF %.6g s is %.3f s more than TARGETDURATION %d", seconds(s.Span.Dur), seconds(s.Span.Dur-td*1e9), td)
		}
	}
	if p.m.Version >= 3 {
		return
	}
	for _, l := range p.lines {
		if length, _, _ := strings.Cut(l.Value, ","); l.Tag == "EXTINF" && strings.Contains(length, ".") {
			c.find("H5", p.at(l.Number), "EXTINF:%s is a fraction in version %d", length, p.m.Version)
		}
	}
}

// checkKeys checks EXT-X-KEY.
func (c *checker) checkKeys(p *playlist) {
	for i := range p.m.Segments {
		s := &p.m.Segments[i]
		for k := range s.Keys {
			key := &s.Keys[k]
			c.saw("H16")
			where := p.at(key.Line)
			switch {
			case key.Method == "NONE" && (key.URI != "" || key.IV != nil || key.Format != "" || key.Versions != ""):
				c.find("H16", where, "METHOD=NONE with other attributes")
			case key.Method == "SAMPLE-AES-CTR" && key.IV != nil:
				c.find("H16", where, "METHOD=SAMPLE-AES-CTR with an IV")
			case key.IV != nil && len(key.IV) != 16:
				c.find("H16", where, "IV of %d bytes, not 16", len(key.IV))
			case key.Method != "NONE" && key.Method != "AES-128" && key.Method != "SAMPLE-AES" && key.Method != "SAMPLE-AES-CTR":
				c.find("H16", where, "METHOD=%.40s is unknown", key.Method)
			}
			if m := p.mapOf(i); key.Method == "AES-128" && key.IV == nil && m.URI != "" {
				c.find("H16", where, "AES-128 without IV, and EXT-X-MAP follows: the initialization section has no sequence number to take the IV from")
			}
		}
	}
}

// inForce is which segments' tags apply to a segment; -1: none.
type inForce struct{ mapAt, keysAt int }

// force returns what applies to segment i. Segments are only ever added, so that each
// is looked at once.
func (p *playlist) force(i int) inForce {
	for k := len(p.forces); k <= i; k++ {
		f := inForce{-1, -1}
		if k > 0 {
			f = p.forces[k-1]
		}
		if p.m.Segments[k].Map.URI != "" {
			f.mapAt = k
		}
		if len(p.m.Segments[k].Keys) > 0 {
			f.keysAt = k
		}
		p.forces = append(p.forces, f)
	}
	return p.forces[i]
}

// mapOf is the initialization section that applies to segment i.
func (p *playlist) mapOf(i int) hls.Map {
	if k := p.force(i).mapAt; k >= 0 {
		return p.m.Segments[k].Map
	}
	return p.m.Map
}

// keyOf is the method that applies to segment i.
func (p *playlist) keyOf(i int) string {
	if k := p.force(i).keysAt; k >= 0 {
		return p.m.Segments[k].Keys[0].Method
	}
	return "NONE"
}

// checkRanges checks that I-frame ranges leave the initialization section out.
func (c *checker) checkRanges(p *playlist) {
	for i := range p.m.Segments {
		s := &p.m.Segments[i]
		if s.Range.Length > 0 {
			c.saw("H9")
		}
		m := p.mapOf(i)
		if m.URI != "" && m.Range.Length > 0 {
			c.saw("H10")
		}
		if !p.m.IFramesOnly {
			continue
		}
		c.saw("H10", "A29")
		if s.URI == m.URI && m.Range.Length > 0 && s.Range.Offset < m.Range.Offset+m.Range.Length && m.Range.Offset < s.Range.Offset+s.Range.Length {
			c.find("H10", p.at(s.Line), "bytes %s of the I-frame overlap the initialization section, %s", span(s.Range), span(m.Range))
		}
	}
}

func span(r hls.ByteRange) string { return fmt.Sprintf("%d-%d", r.Offset, r.Offset+r.Length-1) }
