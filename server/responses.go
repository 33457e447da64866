package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cleave-video/cleave/httpio"
)

// Kinds of answers whose end is not known when they begin, as Config.Responses names them.
const (
	routeFeed   = "feed"   // FLV, MPEG-TS and MP4 without end
	routeFrames = "frames" // frames as they come
	routeParts  = "parts"  // segments that grow
)

// defaultStrategies are the strategies of each kind where Config.Responses has none.
func defaultStrategies() map[string]httpio.Strategy {
	return map[string]httpio.Strategy{routeFeed: httpio.Direct, routeFrames: httpio.Direct, routeParts: httpio.Direct}
}

// responses are how answers over HTTP are written, at all addresses.
type responses struct {
	routes map[string]*httpio.Route
	tls    httpio.Coalescing
}

// newResponses returns what c asks for.
func newResponses(c *Config) (*responses, error) {
	all := defaultStrategies()
	for name, text := range c.Responses {
		if _, known := all[name]; !known {
			return nil, fmt.Errorf("server: responses: %.40q is none of %s", name, strings.Join(slices.Sorted(maps.Keys(all)), ", "))
		}
		s, err := httpio.ParseStrategy(text)
		if err != nil {
			return nil, fmt.Errorf("server: responses: %s: %w", name, err)
		}
		all[name] = s
	}
	if c.WriteDeadline < 0 {
		return nil, fmt.Errorf("server: write_deadline is %v", c.WriteDeadline)
	}
	x := &responses{routes: make(map[string]*httpio.Route)}
	for name, s := range all {
		x.routes[name] = httpio.NewRoute(name, s, c.WriteDeadline)
	}
	return x, nil
}

// responseInfo is one kind of answers.
type responseInfo struct {
	Kind     string `json:"kind"`
	Strategy string `json:"strategy"`
}

// list returns every kind, by name.
func (x *responses) list() []responseInfo {
	var out []responseInfo
	for _, name := range slices.Sorted(maps.Keys(x.routes)) {
		out = append(out, responseInfo{name, x.routes[name].Strategy().String()})
	}
	return out
}

// set changes the strategy of a kind, also of answers under way.
func (x *responses) set(w http.ResponseWriter, r *http.Request) {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		fault(w, http.StatusUnsupportedMediaType, errors.New("send application/json"))
		return
	}
	var to responseInfo
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest))
	d.DisallowUnknownFields()
	if err := d.Decode(&to); err != nil {
		fault(w, http.StatusBadRequest, err)
		return
	}
	route := x.routes[to.Kind]
	if route == nil {
		fault(w, http.StatusNotFound, fmt.Errorf("there are no answers of the kind %.40q", to.Kind))
		return
	}
	s, err := httpio.ParseStrategy(to.Strategy)
	if err != nil {
		fault(w, http.StatusBadRequest, err)
		return
	}
	route.SetStrategy(s)
	answerJSON(w, http.StatusOK, x.list())
}

// responseMetrics are those of answers, and of TLS below them.
type responseMetrics struct {
	states, ended, writes, strategy, changes *prometheus.Desc
	ofRoute                                  []metric[*httpio.RouteStats]
	ofTLS                                    []metric[*httpio.CoalescingStats]
}

func newResponseMetrics() *responseMetrics {
	const counter, gauge = prometheus.CounterValue, prometheus.GaugeValue
	return &responseMetrics{
		states:   describe("cleave_http_responses", "Answers without a known end that are in each state: open (nothing was given to be sent yet), writing (something was that has not left), flushed (all of it has left).", "kind", "state"),
		ended:    describe("cleave_http_responses_ended_total", "Answers without a known end that have ended: whole, or cut off.", "kind", "end"),
		writes:   describe("cleave_http_response_writes_total", "Writes of bodies to connections, by what caused them: at once, size, time, end.", "kind", "cause"),
		strategy: describe("cleave_http_response_strategy", "1 for the strategy that answers are written by, 0 for the others.", "kind", "strategy"),
		changes:  describe("cleave_http_response_batch_changes_total", "Changes of the batch of adaptive answers, by their reason; the first look at a client counts.", "kind", "reason"),
		ofRoute: []metric[*httpio.RouteStats]{
			{describe("cleave_http_response_sent_bytes_total", "Bytes of bodies that left, without framing.", "kind"), counter, func(s *httpio.RouteStats) int64 { return s.Bytes }},
			{describe("cleave_http_response_held_bytes", "Bytes of bodies that wait for more.", "kind"), gauge, func(s *httpio.RouteStats) int64 { return s.Held }},
		},
		ofTLS: []metric[*httpio.CoalescingStats]{
			{describe("cleave_tls_records_total", "Writes of TLS below HTTP: one for each record, but handshakes."), counter, func(s *httpio.CoalescingStats) int64 { return s.Records }},
			{describe("cleave_tls_socket_writes_total", "System calls that they were written by."), counter, func(s *httpio.CoalescingStats) int64 { return s.Writes }},
			{describe("cleave_tls_sent_bytes_total", "Bytes that these wrote."), counter, func(s *httpio.CoalescingStats) int64 { return s.Bytes }},
		},
	}
}

func (m *responseMetrics) describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.states, m.ended, m.writes, m.strategy, m.changes} {
		ch <- d
	}
	tell(ch, m.ofRoute)
	tell(ch, m.ofTLS)
}

func (m *responseMetrics) collect(ch chan<- prometheus.Metric, x *responses) {
	for name, route := range x.routes {
		m.route(ch, name, route.Stats())
	}
	st := x.tls.Stats()
	collect(ch, m.ofTLS, &st)
}

func (m *responseMetrics) route(ch chan<- prometheus.Metric, name string, st httpio.RouteStats) {
	one := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, label string) {
		ch <- prometheus.MustNewConstMetric(d, kind, v, name, label)
	}
	for _, s := range []httpio.State{httpio.Open, httpio.Writing, httpio.Flushed} {
		one(m.states, prometheus.GaugeValue, float64(st.In[s]), s.String())
	}
	one(m.ended, prometheus.CounterValue, float64(st.Whole), "whole")
	one(m.ended, prometheus.CounterValue, float64(st.Cut), "cut")
	for _, c := range httpio.Causes() {
		one(m.writes, prometheus.CounterValue, float64(st.Writes[c]), c.String())
	}
	for _, s := range httpio.Strategies() {
		one(m.strategy, prometheus.GaugeValue, truth(st.Strategy == s), s.String())
	}
	for _, r := range httpio.Reasons() {
		one(m.changes, prometheus.CounterValue, float64(st.Changes[r]), r.String())
	}
	collect(ch, m.ofRoute, &st, name)
}
