package server

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/cleave-video/cleave/ingest/pull"
	"github.com/cleave-video/cleave/live"
	"github.com/cleave-video/cleave/store/spool"
)

// metrics reads, when it is asked, what the hub and the sources count anyway: nothing
// is done for it while packets pass, and what is gone has no series any more. There
// are as many series as the limits of streams and sources allow.
type metrics struct {
	hub     *live.Hub
	spool   *spool.Store // nil: none
	sources *pull.Set
	answers *responses

	ofHub    []metric[*live.Hub]
	ofSpool  []metric[*spool.Stats]
	ofStream []metric[*live.Stats]
	ofSource []metric[*pull.Status]

	live, lastKey, state *prometheus.Desc
	ofAnswers            *responseMetrics
}

// metric is read of what it is about: the hub, the spool, each stream, each declared source.
type metric[T any] struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(of T) int64
}

func tell[T any](ch chan<- *prometheus.Desc, list []metric[T]) {
	for _, x := range list {
		ch <- x.desc
	}
}

func collect[T any](ch chan<- prometheus.Metric, list []metric[T], of T, labels ...string) {
	for _, x := range list {
		ch <- prometheus.MustNewConstMetric(x.desc, x.kind, float64(x.read(of)), labels...)
	}
}

var _ prometheus.Collector = (*metrics)(nil)

func newMetrics(hub *live.Hub, sp *spool.Store, sources *pull.Set, answers *responses) *metrics {
	return &metrics{
		hub: hub, spool: sp, sources: sources, answers: answers, ofAnswers: newResponseMetrics(), ofHub: hubMetrics(), ofSpool: spoolMetrics(), ofStream: streamMetrics(), ofSource: sourceMetrics(),
		live:    describe("cleave_stream_live", "1 while somebody publishes, else 0.", "stream"),
		lastKey: describe("cleave_stream_last_key_frame_timestamp_seconds", "When the newest GOP that memory holds began to arrive, in Unix time; no series while it holds none.", "stream"),
		state:   describe("cleave_source_state", "1 for the state that a declared source is in, 0 for the others.", "stream", "state"),
	}
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

func hubMetrics() []metric[*live.Hub] {
	const counter, gauge = prometheus.CounterValue, prometheus.GaugeValue
	return []metric[*live.Hub]{
		{describe("cleave_streams", "Streams that there are, those that wait for their publisher included."), gauge, func(h *live.Hub) int64 { return int64(len(h.Names())) }},
		{describe("cleave_streams_limit", "Publishers that there may be at a time."), gauge, func(h *live.Hub) int64 { n, _ := h.Limits(); return int64(n) }},
		{describe("cleave_memory_in_use_bytes", "Payload that memory holds, of all streams."), gauge, (*live.Hub).InUse},
		{describe("cleave_memory_limit_bytes", "Payload that memory may hold, of all streams."), gauge, func(h *live.Hub) int64 { _, n := h.Limits(); return n }},
		{describe("cleave_viewers", "Viewers of packets, of all streams and protocols."), gauge, func(h *live.Hub) int64 { return int64(h.Viewers().In) }},
		{describe("cleave_viewers_limit", "Viewers of packets that there may be at a time."), gauge, func(h *live.Hub) int64 { return int64(h.Viewers().Most) }},
		{describe("cleave_refused_viewers_total", "Viewers of packets that were refused: too many, of all or of one address, or too little memory."), counter, func(h *live.Hub) int64 { return h.Viewers().Refused }},
		{describe("cleave_waiting_requests", "Requests over HTTP that wait for what is not there yet."), gauge, func(h *live.Hub) int64 { return int64(h.Waiting().In) }},
		{describe("cleave_waiting_requests_limit", "Requests that may wait at a time."), gauge, func(h *live.Hub) int64 { return int64(h.Waiting().Most) }},
		{describe("cleave_refused_waiting_requests_total", "Requests that were refused because too many wait, of all or of one address."), counter, func(h *live.Hub) int64 { return h.Waiting().Refused }},
	}
}

func spoolMetrics() []metric[*spool.Stats] {
	const counter, gauge = prometheus.CounterValue, prometheus.GaugeValue
	return []metric[*spool.Stats]{
		{describe("cleave_spool_objects", "Objects in the spool; no series without one."), gauge, func(s *spool.Stats) int64 { return int64(s.Objects) }},
		{describe("cleave_spool_bytes", "Bytes of the objects in the spool."), gauge, func(s *spool.Stats) int64 { return s.Bytes }},
		{describe("cleave_spool_moved_objects_total", "Objects that were brought from the spool to where they are kept."), counter, func(s *spool.Stats) int64 { return s.Moved }},
		{describe("cleave_spool_failures_total", "Attempts to bring an object there that failed."), counter, func(s *spool.Stats) int64 { return s.Failed }},
	}
}

func streamMetrics() []metric[*live.Stats] {
	var out []metric[*live.Stats]
	add := func(kind prometheus.ValueType, name, help string, read func(s *live.Stats) int64) {
		out = append(out, metric[*live.Stats]{describe("cleave_stream_"+name, help, "stream"), kind, read})
	}
	const counter, gauge = prometheus.CounterValue, prometheus.GaugeValue
	add(counter, "packets_total", "Packets of all tracks that viewers could read.", func(s *live.Stats) int64 { return s.Packets })
	add(counter, "payload_bytes_total", "Payload of the packets that viewers could read.", func(s *live.Stats) int64 { return s.Bytes })
	add(counter, "dropped_packets_total", "Packets that memory was full for.", func(s *live.Stats) int64 { return s.Dropped })
	add(counter, "early_packets_total", "Packets of other tracks before the first key frame, which segments leave out.", func(s *live.Stats) int64 { return s.Early })
	add(counter, "frames_total", "Pictures in the chunks that were cut.", func(s *live.Stats) int64 { return s.Frames })
	add(counter, "key_frames_total", "Key frames of video in the chunks that were cut.", func(s *live.Stats) int64 { return s.Keys })
	add(counter, "chunks_total", "Chunks that were cut.", func(s *live.Stats) int64 { return s.Chunks })
	add(counter, "stored_chunks_total", "Chunks that the store took.", func(s *live.Stats) int64 { return s.Stored })
	add(counter, "unstored_chunks_total", "Chunks that the store did not take.", func(s *live.Stats) int64 { return s.Unstored })
	add(counter, "derived_segments_total", "Segments of renditions that were made here.", func(s *live.Stats) int64 { return s.Derived })
	add(counter, "underived_segments_total", "Segments of renditions that could not be made, and are gaps.", func(s *live.Stats) int64 { return s.Underived })
	add(gauge, "cursors", "Readers of packets: one of each feed, and viewers of frames.", func(s *live.Stats) int64 { return int64(s.Viewers) })
	add(counter, "cursor_jumps_total", "Jumps to the newest key frame of readers of packets that were too far behind.", func(s *live.Stats) int64 { return s.Jumps })
	add(counter, "cursor_stalls_total", "Readers of packets that were closed because they held a batch for too long.", func(s *live.Stats) int64 { return s.Stalls })
	add(gauge, "feeds", "Containers in which somebody watches: FLV, MPEG-TS, RTMP.", func(s *live.Stats) int64 { return int64(s.Feeds) })
	add(gauge, "feed_viewers", "Viewers of all feeds.", func(s *live.Stats) int64 { return int64(s.FeedViewers) })
	add(counter, "feed_jumps_total", "Jumps to the newest key frame of viewers of feeds that were too far behind.", func(s *live.Stats) int64 { return s.FeedJumps })
	return out
}

func sourceMetrics() []metric[*pull.Status] {
	const counter, gauge = prometheus.CounterValue, prometheus.GaugeValue
	return []metric[*pull.Status]{
		{describe("cleave_source_attempts_total", "Attempts to open a declared source: all but the first are reconnects, or starts on demand.", "stream"), counter, func(s *pull.Status) int64 { return s.Tried }},
		{describe("cleave_source_failed_attempts", "Attempts in a row that have failed.", "stream"), gauge, func(s *pull.Status) int64 { return int64(s.Failed) }},
		{describe("cleave_source_received_bytes_total", "Bytes received of a declared source; begins at 0 with each attempt.", "stream"), counter, func(s *pull.Status) int64 { return s.Bytes }},
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	tell(ch, m.ofHub)
	tell(ch, m.ofSpool)
	tell(ch, m.ofStream)
	tell(ch, m.ofSource)
	ch <- m.live
	ch <- m.lastKey
	ch <- m.state
	m.ofAnswers.describe(ch)
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	collect(ch, m.ofHub, m.hub)
	if m.spool != nil {
		st := m.spool.Stats()
		collect(ch, m.ofSpool, &st)
	}
	m.ofAnswers.collect(ch, m.answers)
	for _, name := range m.hub.Names() {
		if s := m.hub.Lookup(name); s != nil {
			m.collectStream(ch, s)
		}
	}
	for _, s := range m.sources.List() {
		collect(ch, m.ofSource, &s, s.Name)
		for state := pull.Idle; state <= pull.Stopped; state++ {
			ch <- prometheus.MustNewConstMetric(m.state, prometheus.GaugeValue, truth(s.State == state), s.Name, state.String())
		}
	}
}

func (m *metrics) collectStream(ch chan<- prometheus.Metric, s *live.Stream) {
	st := s.Stats()
	collect(ch, m.ofStream, &st, s.Name())
	ch <- prometheus.MustNewConstMetric(m.live, prometheus.GaugeValue, truth(s.Edge().Live), s.Name())
	if !st.LastKey.IsZero() {
		at := float64(st.LastKey.UnixMilli()) / float64(time.Second/time.Millisecond)
		ch <- prometheus.MustNewConstMetric(m.lastKey, prometheus.GaugeValue, at, s.Name())
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// maxScrapes bounds how many answers are made at a time.
const maxScrapes = 4

// handler answers in the text format of Prometheus, with the process's own metrics
// too. The registry is the server's own.
func (m *metrics) handler() http.Handler {
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(m, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes})
}
