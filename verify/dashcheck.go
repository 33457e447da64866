package verify

import (
	"fmt"
	"strings"

	"github.com/cleave-video/cleave/format/dash"
)

// manifest is an MPD that is checked.
type manifest struct {
	name   string
	m      *dash.MPD
	reader dash.Reader
}

func (x *manifest) at(line int) Place { return Place{File: x.name, Line: line, group: x.name} }

// readMPD reads a manifest and checks what its text alone says.
func (c *checker) readMPD(name string, text []byte) *manifest {
	c.count(1, 0, 0)
	c.saw("S2")
	x := &manifest{name: name, reader: dash.Reader{MaxBytes: 64 << 20, MaxEntries: 500000}}
	m, err := x.reader.MPD(text)
	if err != nil {
		at := x.at(0)
		if e, ok := err.(*dash.LineError); ok { //nolint:errorlint // it is made by the call above
			at = x.at(e.Line)
		}
		c.find("S2", at, "%v", err)
	}
	if m == nil {
		return nil
	}
	x.m = m
	c.checkMPD(x)
	return x
}

// checkMPD checks the manifest's own attributes.
func (c *checker) checkMPD(x *manifest) {
	m := x.m
	c.saw("D13")
	for _, name := range [...]string{"profiles", "minBufferTime"} {
		if _, ok := m.Get(name); !ok {
			c.find("S2", x.at(m.Line), "no MPD@%s", name)
		}
	}
	if len(m.Stretches) == 0 {
		c.find("S2", x.at(m.Line), "no Period")
	}
	if m.Dynamic {
		c.checkDynamic(x)
	} else if m.Duration == dash.Absent && len(m.Stretches) > 0 && m.Stretches[len(m.Stretches)-1].Duration == dash.Absent {
		c.find("D13", x.at(m.Line), "a static manifest with neither mediaPresentationDuration nor Period@duration")
	}
	ids := map[string]bool{}
	for i := range m.Stretches {
		p := &m.Stretches[i]
		for k := range p.Sets {
			for n := range p.Sets[k].Tracks {
				t := &p.Sets[k].Tracks[n]
				key := fmt.Sprint(i, t.ID)
				if t.ID == "" || ids[key] {
					c.find("S2", x.at(t.Line), "Representation@id %q is missing or stands twice in its Period", t.ID)
				}
				ids[key] = true
				if _, ok := t.Get("bandwidth"); !ok {
					c.find("S2", x.at(t.Line), "Representation %s has no @bandwidth", t.ID)
				} else if t.Bandwidth == 0 {
					c.should("S2", x.at(t.Line), "Representation %s has @bandwidth 0", t.ID)
				}
				c.checkTemplate(x, t)
			}
		}
	}
	c.checkLowDASH(x)
}

func (c *checker) checkDynamic(x *manifest) {
	m := x.m
	if m.AvailabilityStart.IsZero() {
		c.find("D13", x.at(m.Line), "a dynamic manifest without availabilityStartTime")
	}
	if m.Publish.IsZero() {
		c.find("D13", x.at(m.Line), "a dynamic manifest without publishTime")
	}
	c.saw("D4", "D14")
	if len(m.All("LeapSecondInformation")) == 0 {
		c.find("D14", x.at(m.Line), "no LeapSecondInformation")
	}
	utc := m.All("UTCTiming")
	if len(utc) == 0 {
		c.should("D4", x.at(m.Line), "no UTCTiming")
	}
	for _, u := range utc {
		scheme, _ := u.Get("schemeIdUri")
		known := false
		for _, s := range [...]string{"http-xsdate", "http-iso", "http-ntp", "http-head", "direct", "ntp", "sntp"} {
			known = known || strings.HasPrefix(scheme, "urn:mpeg:dash:utc:"+s)
		}
		if !known {
			c.find("D4", x.at(u.Line), "UTCTiming scheme %.60q is unknown", scheme)
		}
	}
}

// checkTemplate checks how segments are named.
func (c *checker) checkTemplate(x *manifest, t *dash.Track) {
	a := &t.Addressing
	switch a.How {
	case dash.NoAddress:
		if len(t.Base) == 0 {
			c.find("D6", x.at(t.Line), "Representation %s names no segments", t.ID)
		}
		return
	case dash.BySegmentList, dash.BySegmentIndex:
		return
	}
	c.saw("D6")
	number, at := strings.Contains(a.Media, "$Number"), strings.Contains(a.Media, "$Time")
	switch {
	case a.Media == "":
		c.find("D6", x.at(a.Line), "SegmentTemplate without @media")
	case number && at:
		c.find("D6", x.at(a.Line), "@media has both $Number$ and $Time$")
	case !number && !at:
		c.find("D6", x.at(a.Line), "@media has neither $Number$ nor $Time$: all segments have one name")
	case a.How == dash.ByNumber && a.Duration == 0:
		c.find("D6", x.at(a.Line), "SegmentTemplate with neither @duration nor SegmentTimeline")
	}
	c.checkRuns(x, a)
}

// checkRuns checks that the S of a timeline are in order and merged.
func (c *checker) checkRuns(x *manifest, a *dash.Addressing) {
	c.saw("D7")
	end := int64(-1)
	for i, r := range a.Runs {
		if r.D <= 0 {
			c.find("D7", x.at(r.Line), "S@d is %d", r.D)
			return
		}
		if r.T >= 0 && end >= 0 && r.T < end {
			c.find("D7", x.at(r.Line), "S@t is %d, the segments before it end at %d", r.T, end)
		}
		if b := i - 1; b >= 0 && a.Runs[b].D == r.D && a.Runs[b].R >= 0 && (r.T < 0 || r.T == end) && !x.m.Dynamic {
			c.should("D7", x.at(r.Line), "S@d is that of the S before it: they are one with @r")
		}
		if r.T >= 0 {
			end = r.T
		}
		if end >= 0 && r.R >= 0 {
			end += r.D * (r.R + 1)
		} else if r.R >= 0 {
			end = r.D * (r.R + 1)
		} else {
			end = -1
		}
	}
}

// checkDASH checks a static manifest and all it names; of a dynamic one the text.
func (c *checker) checkDASH(name string, text []byte) error {
	x := c.readMPD(name, text)
	if x == nil {
		return nil
	}
	if x.m.Dynamic {
		c.note("%s: of a dynamic manifest only the text is checked; give its URL to check it over time", name)
		return nil
	}
	for i := range x.m.Stretches {
		p := &x.m.Stretches[i]
		for k := range p.Sets {
			var first *playlist
			for n := range p.Sets[k].Tracks {
				t := &p.Sets[k].Tracks[n]
				list, err := c.checkTrack(x, p, &p.Sets[k], t)
				if err != nil {
					return err
				}
				if list != nil && first != nil {
					c.compareAligned(x, &p.Sets[k], first, list)
				}
				if first == nil {
					first = list
				}
			}
		}
	}
	return nil
}
