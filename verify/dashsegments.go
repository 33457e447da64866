package verify

import (
	"fmt"
	"strings"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/format/dash"
	"github.com/cleave-video/cleave/format/hls"
	"github.com/cleave-video/cleave/format/mp4"
)

// base is the name that a Representation's URLs are relative to.
func (c *checker) base(x *manifest, t *dash.Track) (string, error) {
	name := x.name
	for _, b := range append([]string{x.m.Base}, t.Base...) {
		if b == "" {
			continue
		}
		var err error
		if name, err = c.src.resolve(name, b); err != nil {
			return "", err
		}
		if strings.HasSuffix(b, "/") && !strings.HasSuffix(name, "/") {
			name += "/"
		}
	}
	return name, nil
}

// checkTrack loads the segments of a Representation. It returns what they held.
func (c *checker) checkTrack(x *manifest, period *dash.Stretch, set *dash.Adaptation, t *dash.Track) (*playlist, error) {
	base, err := c.base(x, t)
	if err != nil {
		c.note("%s:%d: %v; it is not loaded", x.name, t.Line, err)
		return nil, nil
	}
	if t.Addressing.How == dash.BySegmentIndex || t.Addressing.How == dash.NoAddress {
		return nil, c.checkOneFile(x, t, base)
	}
	refs, err := x.reader.Segments(t, period.Duration, 0)
	if err != nil {
		c.find("S2", x.at(t.Line), "%v", err)
		return nil, nil
	}
	h := c.dashHeader(x, t, base)
	// The segments as a playlist: continuity is checked the same way.
	p := &playlist{name: fmt.Sprintf("%s#%s", x.name, t.ID), role: set.ContentType, m: &hls.Media{}, isMP4: true}
	for i, r := range refs {
		if err := c.ctx.Err(); err != nil {
			return nil, err
		}
		p.m.Segments = append(p.m.Segments, hls.Segment{URI: r.URL, Line: r.Line})
		name, err := base, error(nil) // a SegmentURL without @media is a range of the BaseURL
		if r.URL != "" {
			name, err = c.src.resolve(base, r.URL)
		}
		if err != nil {
			c.find("S2", x.at(r.Line), "%v", err)
			return p, nil
		}
		a, err := c.src.fetch(c.ctx, name, r.Range.Offset, r.Range.Length)
		if err != nil {
			if c.missing(x, t, r, i, len(refs), err) {
				continue
			}
			return p, nil
		}
		c.count(0, 1, len(a.body))
		if h == nil || formOf(a.body) != "mp4" {
			c.note("%s: Representation %s is not fragmented MP4 with an initialization section; its segments are not looked into", x.name, t.ID)
			continue
		}
		looks := c.lookMP4(Place{File: name, group: p.name}, h, a.body, r.Range.Offset)
		c.addDASH(x, h, set, t, r, p, i, looks)
	}
	for _, s := range p.tracks {
		c.checkContinuity(p, s)
	}
	return p, nil
}

// missing reports a segment that is not there; false ends the Representation. The
// last one by number may be one more than there are: it begins within the rounding
// of the Period's duration.
func (c *checker) missing(x *manifest, t *dash.Track, r dash.SegmentRef, i, n int, err error) bool {
	c.saw("D13")
	if i == n-1 && t.Addressing.How == dash.ByNumber && r.Dur*10 < t.Addressing.Duration {
		return true
	}
	c.find("D13", x.at(r.Line), "segment %s of Representation %s cannot be loaded: %v", r.URL, t.ID, err)
	return gone(err)
}

func (c *checker) dashHeader(x *manifest, t *dash.Track, base string) *header {
	a := &t.Addressing
	if a.Init == "" && a.InitAt.Length == 0 {
		return nil
	}
	name, err := c.src.resolve(base, t.Expand(a.Init, 0, 0))
	if a.Init == "" {
		name, err = base, nil
	}
	if err != nil {
		c.find("S2", x.at(a.Line), "%v", err)
		return nil
	}
	key := fmt.Sprint(name, a.InitAt)
	h, ok := c.headers[key]
	if !ok {
		f, err := c.src.fetch(c.ctx, name, a.InitAt.Offset, a.InitAt.Length)
		if err != nil {
			c.find("D13", x.at(a.Line), "initialization section %s: %v", name, err)
			return nil
		}
		h = c.readHeader(Place{File: name, group: x.name + "#" + t.ID}, f.body, a.InitAt.Offset)
		c.headers[key] = h
	}
	if h != nil {
		c.checkTruth(x, t, h)
	}
	return h
}

// checkTruth compares a Representation with its initialization section.
func (c *checker) checkTruth(x *manifest, t *dash.Track, h *header) {
	c.saw("D12")
	if len(h.tracks) != 1 {
		return
	}
	k := h.tracks[0]
	if a := &t.Addressing; a.Timescale != k.scale && a.How == dash.ByTimeline {
		c.should("D12", x.at(a.Line), "@timescale %d, that of mdhd is %d", a.Timescale, k.scale)
	}
	got := k.info.String
	if got == "" {
		got = k.entry
	}
	switch {
	case t.Codecs == "":
		c.find("D12", x.at(t.Line), "no @codecs")
	case family(t.Codecs) != family(got):
		c.find("D12", x.at(t.Line), "@codecs is %q, the track is %s", t.Codecs, got)
	case strings.HasPrefix(got, "avc1.") && !strings.EqualFold(strings.TrimPrefix(strings.TrimPrefix(t.Codecs, "avc1"), "avc3"), got[4:]):
		c.find("D12", x.at(t.Line), "@codecs is %q, the parameter sets say %s", t.Codecs, got)
	}
	if t.Width > 0 && k.width > 0 && (int64(k.width) != t.Width || int64(k.height) != t.Height) {
		c.find("D12", x.at(t.Line), "@width x @height is %dx%d, the sample entry %dx%d", t.Width, t.Height, k.width, k.height)
	}
}

// addDASH compares a segment with what the manifest says of it.
func (c *checker) addDASH(x *manifest, h *header, set *dash.Adaptation, t *dash.Track, r dash.SegmentRef, p *playlist, i int, looks []*look) {
	c.addTracks(p, i, looks)
	for _, s := range p.tracks {
		if len(s.spans) == 0 || last(s).index != i {
			continue
		}
		sp := last(s)
		if s.kind == av.Video && set.SAP > 0 && sp.sap != sapUnknown {
			c.saw("D11")
			if sp.sap == sapNone || sp.sap == sapOpen && set.SAP < 2 {
				c.find("D11", sp.place, "startWithSAP=%d, the segment starts with: %s", set.SAP, sp.sap)
			}
		}
		c.checkGrid(x, h, t, r, s, sp)
		return
	}
}

// addTracks is addLooks without what concerns playlists only.
func (c *checker) addTracks(p *playlist, i int, looks []*look) {
	for _, l := range looks {
		t := p.track(l)
		if t == nil {
			t = &trackState{kind: l.kind, id: l.id, scale: l.scale, codec: l.codec, encrypted: l.encrypted, edit: l.edit}
			p.tracks = append(p.tracks, t)
		}
		t.frame = max(t.frame, l.frame)
		t.spans = append(t.spans, mediaSpan{
			index: i, dts: l.dts, endDTS: l.endDTS, pts: l.pts, endPTS: l.endPTS, sap: l.sap, keys: l.keys, samples: l.samples, place: l.place,
		})
	}
}

// checkGrid compares the media's times with those of the manifest.
func (c *checker) checkGrid(x *manifest, h *header, t *dash.Track, r dash.SegmentRef, s *trackState, sp *mediaSpan) {
	a := &t.Addressing
	said := float64(r.Time) / float64(a.Timescale)
	got := s.seconds(sp.pts - h.edit(s.id))
	plain := s.seconds(sp.pts)
	frame := s.seconds(s.frame)
	switch a.How {
	case dash.ByTimeline:
		c.saw("D7")
		off, raw := got-said, plain-said
		tick := 1.5/float64(a.Timescale) + 1.5/float64(s.scale)
		near := min(abs(off), abs(raw), abs(s.seconds(sp.dts)-said))
		switch {
		case near > 1.5*frame+tick:
			c.find("D7", x.at(r.Line), "segment %s begins at %.4f s, S@t says %.4f s", r.URL, got, said)
		case min(abs(off), abs(raw)) > tick:
			c.should("D7", x.at(r.Line), "segment %s is presented from %.4f s, S@t says %.4f s", r.URL, got, said)
		}
		// Where pictures are missing it is shown for longer than its samples last.
		length := float64(r.Dur) / float64(a.Timescale)
		lasts, shown := s.seconds(sp.endDTS-sp.dts), s.seconds(sp.endPTS-sp.pts)
		if min(abs(lasts-length), abs(shown-length)) > 1.5*frame+tick {
			c.find("D7", x.at(r.Line), "segment %s lasts %.4f s, S@d says %.4f s", r.URL, lasts, length)
		}
	case dash.ByNumber:
		c.saw("D8")
		if half := float64(a.Duration) / float64(a.Timescale) / 2; min(abs(got-said), abs(plain-said)) > half+frame {
			c.find("D8", sp.place, "segment %d begins at %.3f s, the grid of @duration says %.3f s: more than half a segment", r.Number, got, said)
		}
	}
}

func abs(x float64) float64 {
	if x < 0 {
		return -x
	}
	return x
}

// compareAligned checks segmentAlignment.
func (c *checker) compareAligned(x *manifest, set *dash.Adaptation, a, b *playlist) {
	if !set.Aligned || len(a.tracks) == 0 || len(b.tracks) == 0 {
		return
	}
	c.saw("D11")
	s, t := a.tracks[0], b.tracks[0]
	frame := max(s.seconds(s.frame), t.seconds(t.frame))
	for i := range min(len(s.spans), len(t.spans)) {
		if off := t.begins(i) - s.begins(i); abs(off) > frame {
			c.find("D11", t.spans[i].place, "segmentAlignment is true, and segment %d begins %.3f s from that of %s", i, off, a.name)
			return
		}
	}
}

// checkOneFile checks a track that is one file with an index.
func (c *checker) checkOneFile(x *manifest, t *dash.Track, base string) error {
	f, err := c.src.fetch(c.ctx, base, 0, 0)
	if err != nil {
		c.find("D13", x.at(t.Line), "%s cannot be loaded: %v", base, err)
		return c.ctx.Err()
	}
	c.count(0, 1, len(f.body))
	at := Place{File: base, group: x.name + "#" + t.ID}
	if formOf(f.body) != "mp4" {
		c.note("%s: %s is not MP4 and is not looked into", x.name, base)
		return nil
	}
	h := c.readHeader(at, f.body, 0)
	if h == nil {
		return nil
	}
	c.headers[base] = h
	c.checkTruth(x, t, h)
	nodes, err := mp4.Tree(f.body, 0)
	if err != nil {
		return nil // readHeader has said so
	}
	c.lookMP4(at, h, f.body, 0)
	c.checkSidx(x, t, at, nodes)
	return nil
}

// checkSidx checks the one index of a file: what it refers to is there.
func (c *checker) checkSidx(x *manifest, t *dash.Track, at Place, nodes []mp4.Node) {
	c.saw("C13")
	var found []*mp4.Node
	for i := range nodes {
		if nodes[i].Type == "sidx" {
			found = append(found, &nodes[i])
		}
	}
	if len(found) != 1 {
		c.find("C13", at, "%d sidx boxes", len(found))
		if len(found) == 0 {
			return
		}
	}
	n := found[0]
	if r := t.Addressing.Index; r.Length > 0 && (r.Offset != n.Offset || r.Length != n.Size()) {
		c.find("C13", x.at(t.Addressing.Line), "indexRange is bytes %d-%d, the sidx is at %d-%d", r.Offset, r.Offset+r.Length-1, n.Offset, n.Offset+n.Size()-1)
	}
	idx := readSidx(n)
	pos := n.Offset + n.Size() + idx.first
	for i, ref := range idx.refs {
		if ref.index {
			c.find("C13", boxPlace(at, n), "reference %d is to another index", i)
			return
		}
		box := boxAt(nodes, pos)
		if box == nil || box.Type != "moof" && box.Type != "styp" && box.Type != "emsg" && box.Type != "prft" {
			c.find("C13", boxPlace(at, n), "reference %d is to byte %d, where no fragment begins", i, pos)
			return
		}
		pos += ref.size
	}
}

func boxAt(nodes []mp4.Node, off int64) *mp4.Node {
	for i := range nodes {
		if nodes[i].Offset == off {
			return &nodes[i]
		}
	}
	return nil
}
