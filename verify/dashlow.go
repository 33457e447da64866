package verify

import (
	"strconv"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/format/dash"
)

// checkLowDASH checks what low latency needs (IOP 9.X.4).
func (c *checker) checkLowDASH(x *manifest) {
	low, produced := false, false
	for i := range x.m.Stretches {
		p := &x.m.Stretches[i]
		for k := range p.Sets {
			for n := range p.Sets[k].Tracks {
				low = c.checkEarly(x, &p.Sets[k].Tracks[n]) || low
			}
			for _, e := range append(p.Sets[k].All("Resync"), resyncs(&p.Sets[k])...) {
				c.saw("D9")
				if v, _ := e.Get("type"); v != "" && (len(v) != 1 || v[0] < '0' || v[0] > '3') {
					c.find("D9", x.at(e.Line), "Resync@type is %.20q", v)
				}
			}
			produced = c.checkProducer(x, &p.Sets[k]) || produced
		}
	}
	services := x.m.All("ServiceDescription")
	for i := range x.m.Stretches {
		services = append(services, x.m.Stretches[i].All("ServiceDescription")...)
	}
	if low {
		c.saw("D3", "D5")
		if !produced {
			c.should("D5", x.at(x.m.Line), "availabilityTimeOffset, and no ProducerReferenceTime")
		}
		if len(services) == 0 {
			c.should("D3", x.at(x.m.Line), "availabilityTimeOffset, and no ServiceDescription")
		}
	}
	for _, s := range services {
		c.checkLatency(x, s, low)
	}
}

func resyncs(a *dash.Adaptation) (out []*dash.Node) {
	for i := range a.Tracks {
		out = append(out, a.Tracks[i].All("Resync")...)
	}
	return out
}

// checkEarly checks availabilityTimeOffset; it reports whether there is one.
func (c *checker) checkEarly(x *manifest, t *dash.Track) bool {
	a := &t.Addressing
	if !a.HasEarly || a.Early == dash.EarlyAll || !x.m.Dynamic {
		return false
	}
	c.saw("D1", "D2")
	if a.Complete && a.Early > 0 {
		c.should("D1", x.at(a.Line), "availabilityTimeOffset %s without availabilityTimeComplete=false", a.Early)
	}
	longest := a.Duration
	for _, r := range a.Runs {
		longest = max(longest, r.D)
	}
	if d := (av.Timebase{Num: 1, Den: uint32(a.Timescale)}).Duration(longest); d > 0 && a.Early >= d {
		c.find("D2", x.at(a.Line), "availabilityTimeOffset %s is not less than the segments' %s", a.Early, d)
	}
	return !a.Complete
}

func (c *checker) checkLatency(x *manifest, s *dash.Node, low bool) {
	for _, l := range s.All("Latency") {
		c.saw("D3")
		n := func(name string) int64 {
			v, _ := l.Get(name)
			i, err := strconv.ParseInt(v, 10, 64)
			if err != nil {
				return -1
			}
			return i
		}
		least, target, most := n("min"), n("target"), n("max")
		if target < 0 && low {
			c.find("D3", x.at(l.Line), "Latency without @target")
		}
		if target >= 0 && (least > target || most >= 0 && most < target) {
			c.find("D3", x.at(l.Line), "Latency: min %d, target %d, max %d are not in order", least, target, most)
		}
		if target > 0 {
			c.checkShort(x, target)
		}
	}
}

// checkShort checks that segments which come whole are short beside the latency.
func (c *checker) checkShort(x *manifest, target int64) {
	for i := range x.m.Stretches {
		for k := range x.m.Stretches[i].Sets {
			for n := range x.m.Stretches[i].Sets[k].Tracks {
				a := &x.m.Stretches[i].Sets[k].Tracks[n].Addressing
				if a.HasEarly && !a.Complete || a.Duration == 0 || !x.m.Dynamic {
					continue
				}
				c.saw("D10")
				if ms := a.Duration * 1000 / a.Timescale; ms*2 > target {
					c.find("D10", x.at(a.Line), "segments of %d ms that come whole, the target latency is %d ms", ms, target)
				}
			}
		}
	}
}

// checkProducer checks each ProducerReferenceTime; it reports whether there is one.
func (c *checker) checkProducer(x *manifest, a *dash.Adaptation) bool {
	ids := map[string]bool{}
	list := a.All("ProducerReferenceTime")
	for i := range a.Tracks {
		list = append(list, a.Tracks[i].All("ProducerReferenceTime")...)
	}
	for _, p := range list {
		c.saw("D5")
		id, _ := p.Get("id")
		if id == "" || ids[id] {
			c.find("D5", x.at(p.Line), "ProducerReferenceTime@id %q is missing or stands twice", id)
		}
		ids[id] = true
		for _, name := range [...]string{"wallClockTime", "presentationTime"} {
			if _, ok := p.Get(name); !ok {
				c.find("D5", x.at(p.Line), "ProducerReferenceTime without @%s", name)
			}
		}
	}
	return len(list) > 0
}
