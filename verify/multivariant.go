package verify

import (
	"slices"
	"strings"
	"time"

	"github.com/cleave-video/cleave/format/hls"
)

// multi is a multivariant playlist and what it lists.
type multi struct {
	name  string
	lines []hls.Line
	m     *hls.Multivariant
	by    map[string]*playlist // media playlists, by name
}

func (c *checker) readMulti(name string, text []byte) *multi {
	c.count(1, 0, 0)
	r := reader(func(e *hls.LineError) { c.find(faultRule(e), Place{File: name, Line: e.Line}, "%s", faultText(e)) })
	r.Query = c.query
	c.saw("S1", "H6", "H8")
	lines, err := r.Lines(text)
	x := &multi{name: name, lines: lines, by: map[string]*playlist{}}
	if err == nil {
		x.m, err = r.MultivariantLines(lines)
	}
	if err != nil {
		c.find("S1", x.at(0), "%v", err)
		return nil
	}
	c.checkHosts(name, lines)
	need := 1
	for _, l := range lines {
		switch l.Tag {
		case "EXT-X-DEFINE":
			need = max(need, 8)
			if strings.Contains(l.Value, "QUERYPARAM") {
				need = max(need, 11)
			}
		case "EXT-X-MEDIA":
			if strings.Contains(l.Value, `INSTREAM-ID="SERVICE`) {
				need = max(need, 7)
			}
		case "EXTINF", "EXT-X-BYTERANGE", "EXT-X-DISCONTINUITY", "EXT-X-KEY", "EXT-X-MAP", "EXT-X-PROGRAM-DATE-TIME", "EXT-X-PART",
			"EXT-X-TARGETDURATION", "EXT-X-MEDIA-SEQUENCE", "EXT-X-ENDLIST", "EXT-X-PLAYLIST-TYPE", "EXT-X-I-FRAMES-ONLY":
			c.find("H8", x.at(l.Number), "%s belongs in a media playlist", l.Tag)
		}
	}
	if x.m.Version < need {
		c.find("H6", x.at(0), "the tags need version %d, the playlist says %d", need, x.m.Version)
	}
	c.checkGroups(x)
	c.checkVariants(x)
	return x
}

func (x *multi) at(line int) Place { return Place{File: x.name, Line: line} }

// groupKey is a group of renditions.
type groupKey struct{ kind, group string }

// checkGroups checks EXT-X-MEDIA.
func (c *checker) checkGroups(x *multi) {
	names := map[groupKey]map[string]int{}
	defaults := map[groupKey]int{}
	for i := range x.m.Media {
		r := &x.m.Media[i]
		c.saw("H20", "A14")
		k := groupKey{r.Type, r.GroupID}
		if names[k] == nil {
			names[k] = map[string]int{}
		}
		if line := names[k][r.Name]; line > 0 {
			c.find("H20", x.at(r.Line), "NAME %q stands in line %d, too", r.Name, line)
		}
		names[k][r.Name] = r.Line
		if r.Default {
			if line := defaults[k]; line > 0 {
				c.find("H20", x.at(r.Line), "a second DEFAULT=YES in group %q; the first is in line %d", r.GroupID, line)
			}
			defaults[k] = r.Line
			if !r.Autoselect && attribute(x.lines, r.Line, "AUTOSELECT") == "NO" {
				c.find("H20", x.at(r.Line), "DEFAULT=YES with AUTOSELECT=NO")
			}
		}
		c.checkRendition(x, r)
	}
	for a := range names {
		for b := range names {
			if a.kind == b.kind && a.group < b.group && !sameNames(names[a], names[b]) {
				c.should("H20", x.at(0), "groups %q and %q of %s have different members", a.group, b.group, a.kind)
			}
		}
	}
	c.checkGroupNames(x, names)
}

// checkGroupNames checks that the groups which variants name are there.
func (c *checker) checkGroupNames(x *multi, names map[groupKey]map[string]int) {
	for i := range x.m.Variants {
		v := &x.m.Variants[i]
		for _, g := range [...]groupKey{{"AUDIO", v.Audio}, {"VIDEO", v.More.Get("VIDEO")}, {"SUBTITLES", v.More.Get("SUBTITLES")}, {"CLOSED-CAPTIONS", v.More.Get("CLOSED-CAPTIONS")}} {
			if g.group == "" || g.group == "NONE" {
				continue
			}
			c.saw("H20")
			if names[g] == nil {
				c.find("H20", x.at(v.Line), "%s=%q, and no EXT-X-MEDIA has that GROUP-ID", g.kind, g.group)
			}
		}
	}
}

func (c *checker) checkRendition(x *multi, r *hls.Rendition) {
	if r.Language == "" && r.Type != "VIDEO" {
		c.find("A14", x.at(r.Line), "%s %q has no LANGUAGE", r.Type, r.Name)
	}
	if r.Type == "CLOSED-CAPTIONS" && (r.URI != "" || r.More.Get("INSTREAM-ID") == "") {
		c.find("H20", x.at(r.Line), "CLOSED-CAPTIONS need an INSTREAM-ID and no URI")
	}
	if r.Type == "SUBTITLES" && r.URI == "" {
		c.find("H20", x.at(r.Line), "SUBTITLES without a URI")
	}
}

func sameNames(a, b map[string]int) bool {
	for n := range a {
		if b[n] == 0 {
			return false
		}
	}
	return len(a) == len(b)
}

func attribute(lines []hls.Line, number int, name string) string {
	for _, l := range lines {
		if l.Number == number {
			a, _ := hls.ParseAttributes(l.Value)
			return a.Get(name)
		}
	}
	return ""
}

// checkVariants checks EXT-X-STREAM-INF and EXT-X-I-FRAME-STREAM-INF.
func (c *checker) checkVariants(x *multi) {
	video := 0
	for i := range x.m.Variants {
		v := &x.m.Variants[i]
		c.saw("A22", "A25")
		isVideo := v.Width > 0 || hasVideo(v.Codecs)
		if isVideo {
			video++
		}
		switch {
		case v.Codecs == "":
			c.find("A22", x.at(v.Line), "no CODECS")
		case isVideo && v.Width == 0:
			c.find("A22", x.at(v.Line), "no RESOLUTION")
		}
		if v.AverageBandwidth == 0 {
			c.find("A25", x.at(v.Line), "no AVERAGE-BANDWIDTH")
		}
		if isVideo && v.FrameRate.Den == 0 {
			c.find("A25", x.at(v.Line), "no FRAME-RATE")
		}
	}
	for i := range x.m.IFrames {
		v := &x.m.IFrames[i]
		c.saw("H18", "A22")
		for _, name := range [...]string{"FRAME-RATE", "AUDIO", "SUBTITLES", "CLOSED-CAPTIONS"} {
			if v.More.Get(name) != "" {
				c.find("H18", x.at(v.Line), "%s=%s", name, v.More.Get(name))
			}
		}
		if v.Codecs == "" {
			c.find("A22", x.at(v.Line), "no CODECS")
		} else if v.Width == 0 {
			c.find("A22", x.at(v.Line), "no RESOLUTION")
		}
	}
	if len(x.m.Variants) > 0 {
		c.saw("A23")
	}
	if len(x.m.Variants) == 1 {
		c.find("A23", x.at(x.m.Variants[0].Line), "one variant only")
	}
	if video > 0 {
		c.saw("A29")
		if len(x.m.IFrames) == 0 {
			c.find("A29", x.at(0), "no EXT-X-I-FRAME-STREAM-INF")
		}
	}
}

func hasVideo(codecs string) bool {
	for _, s := range strings.Split(codecs, ",") {
		switch family(strings.TrimSpace(s)) {
		case "avc1", "hvc1", "av01", "vp09", "dvh1", "dvhe":
			return true
		}
	}
	return false
}

// role of a media playlist from what lists it.
func (x *multi) refs() (out []struct {
	uri, role string
	line      int
},
) {
	add := func(uri, role string, line int) {
		if uri != "" {
			out = append(out, struct {
				uri, role string
				line      int
			}{uri, role, line})
		}
	}
	for i := range x.m.Variants {
		v := &x.m.Variants[i]
		role := "video"
		if v.Codecs != "" && !hasVideo(v.Codecs) {
			role = "audio"
		}
		add(v.URI, role, v.Line)
	}
	for i := range x.m.Media {
		add(x.m.Media[i].URI, strings.ToLower(x.m.Media[i].Type), x.m.Media[i].Line)
	}
	for i := range x.m.IFrames {
		add(x.m.IFrames[i].URI, "iframes", x.m.IFrames[i].Line)
	}
	return out
}

// checkFormats compares CODECS, VIDEO-RANGE and bit rates with the media.
func (c *checker) checkFormats(x *multi, resolve func(string) *playlist) {
	for i := range x.m.Variants {
		v := &x.m.Variants[i]
		p := resolve(v.URI)
		if p == nil {
			continue
		}
		parts := []*playlist{p}
		peak, mean := p.rates()
		var audioPeak, audioMean float64
		for k := range x.m.Media {
			r := &x.m.Media[k]
			if r.Type != "AUDIO" || r.GroupID != v.Audio || r.URI == "" {
				continue
			}
			if a := resolve(r.URI); a != nil && a != p {
				parts = append(parts, a)
				pk, mn := a.rates()
				audioPeak, audioMean = max(audioPeak, pk), max(audioMean, mn)
			}
		}
		c.checkCodecs(x, v, parts)
		if p.m.EndList {
			c.checkBandwidth(x, v, peak+audioPeak, mean+audioMean)
		} else {
			c.checkLiveBandwidth(x, v, peak+audioPeak, mean+audioMean, p)
		}
	}
}

func (c *checker) checkCodecs(x *multi, v *hls.Variant, parts []*playlist) {
	listed := map[string]bool{}
	var full []string
	for _, s := range strings.Split(v.Codecs, ",") {
		s = strings.TrimSpace(s)
		listed[family(s)] = true
		full = append(full, strings.ToLower(s))
	}
	for _, p := range parts {
		for _, t := range p.tracks {
			if v.Codecs == "" || !strings.Contains("avc1 hvc1 av01 vp09 mp4a ac-3 ec-3 Opus fLaC", family(t.codec)) {
				continue
			}
			c.saw("H19")
			switch {
			case !listed[family(t.codec)]:
				c.find("H19", x.at(v.Line), "CODECS=%q, and %s has %s", v.Codecs, p.name, t.codec)
			case strings.HasPrefix(t.codec, "avc1.") && !slices.Contains(full, strings.ToLower(t.codec)) && !slices.Contains(full, "avc3"+strings.ToLower(t.codec[4:])):
				c.find("H19", x.at(v.Line), "CODECS=%q, and the parameter sets of %s say %s", v.Codecs, p.name, t.codec)
			}
			if t.width > 0 && v.Width > 0 && t.height > 0 && (t.width != v.Width || t.height != v.Height) && t.width*v.Height != t.height*v.Width {
				c.should("A22", x.at(v.Line), "RESOLUTION=%dx%d, the pictures of %s are %dx%d", v.Width, v.Height, p.name, t.width, t.height)
			}
			if r := rangeOf(t); r != "" {
				c.saw("A26")
				if v.VideoRange != r && (r != "SDR" || v.VideoRange != "") {
					c.find("A26", x.at(v.Line), "VIDEO-RANGE=%q, the pictures of %s are %s", v.VideoRange, p.name, r)
				}
			}
		}
	}
}

// checkBandwidth compares with what was measured: H21 the least, A27 within 10 %.
func (c *checker) checkBandwidth(x *multi, v *hls.Variant, peak, mean float64) {
	if peak == 0 {
		return
	}
	c.saw("H21", "A27")
	said := float64(v.Bandwidth)
	switch {
	case peak > 1.1*said:
		c.find("H21", x.at(v.Line), "BANDWIDTH=%d, the segments' peak is %.0f", v.Bandwidth, peak)
	case peak > said+1:
		c.should("H21", x.at(v.Line), "BANDWIDTH=%d, the segments' peak is %.0f", v.Bandwidth, peak)
	case said > 1.1*peak:
		c.find("A27", x.at(v.Line), "BANDWIDTH=%d is %.0f %% above the segments' peak %.0f", v.Bandwidth, 100*(said/peak-1), peak)
	}
	if avg := float64(v.AverageBandwidth); avg > 0 && (mean > 1.1*avg || mean < 0.9*avg) {
		c.find("A27", x.at(v.Line), "AVERAGE-BANDWIDTH=%d, the segments' mean is %.0f", v.AverageBandwidth, mean)
	}
}

// leastMean is how much media a mean bit rate of a live stream is taken of.
const leastMean = time.Minute

// maxRun is how many segments a run may have whose bit rate counts: a target duration
// has not nearly as many, unless they last next to nothing.
const maxRun = 256

// checkLiveBandwidth compares with what was measured of a live stream, p of it the
// variant's own: Apple allows it a little more.
func (c *checker) checkLiveBandwidth(x *multi, v *hls.Variant, peak, mean float64, p *playlist) {
	if peak == 0 {
		return
	}
	c.saw("A28")
	if said := float64(v.Bandwidth); peak > 1.25*said {
		c.find("A28", x.at(v.Line), "BANDWIDTH=%d, the segments' peak is %.0f", v.Bandwidth, peak)
	}
	var loaded time.Duration
	for i, n := range p.sizes {
		if n >= 0 {
			loaded += time.Duration(p.m.Segments[i].Span.Dur)
		}
	}
	if avg := float64(v.AverageBandwidth); avg > 0 && loaded >= leastMean && mean > 1.1*avg {
		c.find("A28", x.at(v.Line), "AVERAGE-BANDWIDTH=%d, the mean of %s is %.0f", v.AverageBandwidth, loaded.Round(time.Second), mean)
	}
}

// rates returns the peak segment bit rate, that of any run of segments which lasts
// from half to one and a half target durations (RFC 8216bis 4.1), and the mean.
func (p *playlist) rates() (peak, mean float64) {
	var bytes, ns int64
	td := p.m.TargetDuration * 1e9
	for i := range p.m.Segments {
		if p.sizes == nil || p.sizes[i] < 0 {
			continue
		}
		bytes, ns = bytes+p.sizes[i], ns+p.m.Segments[i].Span.Dur
		var b, d int64
		for k := i; k < min(i+maxRun, len(p.m.Segments)) && p.sizes[k] >= 0; k++ {
			b, d = b+p.sizes[k], d+p.m.Segments[k].Span.Dur
			if d > td*3/2 {
				break
			}
			if d >= td/2 && d > 0 {
				peak = max(peak, float64(b)*8/seconds(d))
			}
		}
	}
	if ns > 0 {
		mean = float64(bytes) * 8 / seconds(ns)
	}
	return max(peak, 0), mean
}
