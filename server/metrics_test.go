package server

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/cleave-video/cleave/ingest/pull"
	"github.com/cleave-video/cleave/live"
)

// scrape returns what /metrics says: families by name, of which the linter has
// nothing to say.
func scrape(t *testing.T, s *running) map[string]*dto.MetricFamily {
	t.Helper()
	code, text := ask(t, s, "GET", "/metrics", "")
	if code != http.StatusOK {
		t.Fatal(code, text)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err, text)
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "cleave_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
	return families
}

// value returns the value of the series of a family that has these labels, values
// behind names; NaN if there is none.
func value(f *dto.MetricFamily, labels ...string) float64 {
	for _, m := range f.GetMetric() {
		n := 0
		for _, l := range m.GetLabel() {
			if i := slices.Index(labels, l.GetName()); i >= 0 && labels[i+1] == l.GetValue() {
				n++
			}
		}
		switch {
		case n != len(labels)/2 || n != len(m.GetLabel()):
		case m.Counter != nil:
			return m.Counter.GetValue()
		case m.Gauge != nil:
			return m.Gauge.GetValue()
		}
	}
	return math.NaN()
}

// scrapeUntil scrapes until done.
func scrapeUntil(t *testing.T, s *running, what string, done func(f map[string]*dto.MetricFamily) bool) map[string]*dto.MetricFamily {
	t.Helper()
	deadline := time.Now().Add(40 * time.Second)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		f := scrape(t, s)
		if done(f) {
			return f
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: never: %v", what, f)
		}
	}
	return nil
}

// counts compares series of the stream live/cam.
func counts(t *testing.T, f map[string]*dto.MetricFamily, want map[string]float64) {
	t.Helper()
	for name, n := range want {
		if got := value(f["cleave_stream_"+name], "stream", "live/cam"); got != n {
			t.Errorf("%s: %v, want %v", name, got, n)
		}
	}
}

// TestMetrics: what was published is what is counted, to the frame; the names are
// those of /v1/streams; and a stream that is over has no series.
func TestMetrics(t *testing.T) {
	ffmpeg := need(t, "ffmpeg")
	s := startWith(t, Config{
		Live:    live.Config{Target: time.Second, Window: time.Second, Grace: 6 * time.Second, Streams: 5, Memory: 64 << 20},
		Sources: []pull.Source{{Name: "live/private", URL: "http://user:secret@127.0.0.1:1/x.ts"}},
		Spool:   t.TempDir(),
	})
	args := strings.Fields("-v error -nostdin -re -f lavfi -i testsrc2=size=320x180:rate=25:duration=6 -f lavfi -i sine=sample_rate=44100:duration=6 " +
		"-c:v libx264 -preset ultrafast -bf 2 -g 25 -keyint_min 25 -sc_threshold 0 -pix_fmt yuv420p -c:a aac -f flv " + s.rtmp + "/live/cam")
	cmd := exec.CommandContext(t.Context(), ffmpeg, args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	until(t, s.http+"/live/cam/index.m3u8", "#EXTM3U")
	watched(t, s, began)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	f := scrapeUntil(t, s, "the publisher left", func(f map[string]*dto.MetricFamily) bool {
		return value(f["cleave_stream_live"], "stream", "live/cam") == 0
	})
	counts(t, f, map[string]float64{
		"frames_total": 150, "key_frames_total": 6, "chunks_total": 6, "stored_chunks_total": 6, "unstored_chunks_total": 0,
		"dropped_packets_total": 0, "cursor_stalls_total": 0, "cursor_jumps_total": 0, "feed_jumps_total": 0,
	})
	// 6 s of AAC are 259 packets; some may have come before the first picture.
	if n := value(f["cleave_stream_packets_total"], "stream", "live/cam"); n < 150+250 || n > 150+262 {
		t.Errorf("%v packets", n)
	}
	scrapeUntil(t, s, "the stream is gone", func(f map[string]*dto.MetricFamily) bool {
		return f["cleave_stream_live"] == nil && f["cleave_stream_packets_total"] == nil && value(f["cleave_streams"]) == 0
	})
	s.stop()
}

// watched looks while live/cam is published and one viewer has FLV of it.
func watched(t *testing.T, s *running, began time.Time) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", s.http+"/live/cam.flv", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.CopyN(io.Discard, res.Body, 1000); err != nil {
		t.Fatal(err)
	}
	f := scrape(t, s)
	counts(t, f, map[string]float64{"live": 1, "feeds": 1, "feed_viewers": 1, "cursors": 1})
	if at := value(f["cleave_stream_last_key_frame_timestamp_seconds"], "stream", "live/cam"); at < float64(began.Unix()) || at > float64(time.Now().Unix()+1) {
		t.Errorf("the last key frame came at %v", at)
	}
	if used := value(f["cleave_memory_in_use_bytes"]); !(used > 0) || value(f["cleave_memory_limit_bytes"]) != 64<<20 || value(f["cleave_streams_limit"]) != 5 {
		t.Errorf("%v bytes in use", used)
	}
	if f["go_goroutines"] == nil || f["process_cpu_seconds_total"] == nil {
		t.Error("nothing of the process")
	}
	asListed(t, s, f)
	onPage(t, f)
}

// asListed compares with /v1/streams.
func asListed(t *testing.T, s *running, f map[string]*dto.MetricFamily) {
	t.Helper()
	_, body := ask(t, s, "GET", "/v1/streams", "")
	var list []streamInfo
	if err := json.Unmarshal([]byte(body), &list); err != nil || len(list) != 2 {
		t.Fatal(err, body)
	}
	streams, sources := 0, 0
	for _, x := range list {
		if n := value(f["cleave_stream_live"], "stream", x.Name); !math.IsNaN(n) {
			streams++
			if (n == 1) != x.Live {
				t.Errorf("%s: live is %v, listed as %v", x.Name, n, x.Live)
			}
		}
		if x.Source == nil {
			continue
		}
		sources++
		// Another attempt may have begun since the scrape.
		failed, tried := value(f["cleave_source_failed_attempts"], "stream", x.Name), value(f["cleave_source_attempts_total"], "stream", x.Name)
		if failed > float64(x.Source.Failed) || tried < 1 || tried < failed || tried > failed+1 {
			t.Errorf("%s: %v attempts, %v failed; listed: %+v", x.Name, tried, failed, x.Source)
		}
		if n := value(f["cleave_source_received_bytes_total"], "stream", x.Name); n != float64(x.Source.Bytes) {
			t.Errorf("%s: %v bytes, listed: %+v", x.Name, n, x.Source)
		}
		states := 0.0
		for state := pull.Idle; state <= pull.Stopped; state++ {
			states += value(f["cleave_source_state"], "stream", x.Name, "state", state.String())
		}
		if states != 1 {
			t.Errorf("%s is in %v states", x.Name, states)
		}
	}
	if streams != 1 || sources != 1 || value(f["cleave_streams"]) != 1 {
		t.Errorf("%d streams, %d sources: %s", streams, sources, body)
	}
	for name, family := range f {
		if text := fmt.Sprint(family); strings.HasPrefix(name, "cleave_") && strings.Contains(text, "secret") {
			t.Errorf("%s shows the password of a source", name)
		}
	}
}

// row is a row of docs/metrics.md.
type row struct{ kind, labels, unit, meaning string }

func pageRows(t *testing.T) map[string]row {
	t.Helper()
	page, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]row{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(cleave_[a-z_]+)` \\| ([a-z]+) \\| ([^|]*) \\| ([^|]*) \\| ([^|]*) \\|$").FindAllStringSubmatch(string(page), -1) {
		rows[m[1]] = row{m[2], m[3], m[4], m[5]}
	}
	return rows
}

// onPage: docs/metrics.md has every family that was scraped, with its type and
// meaning, and no other.
func onPage(t *testing.T, f map[string]*dto.MetricFamily) {
	t.Helper()
	rows := pageRows(t)
	for name, family := range f {
		if !strings.HasPrefix(name, "cleave_") {
			continue
		}
		r, ok := rows[name]
		if kind := strings.ToLower(family.GetType().String()); !ok || r.kind != kind || r.meaning != family.GetHelp() {
			t.Errorf("%s, a %s: %q; the page says %+v", name, kind, family.GetHelp(), r)
		}
	}
	for name := range rows {
		if f[name] == nil {
			t.Errorf("%s was not scraped", name)
		}
	}
}

// TestMetricsPage: docs/metrics.md has every metric that is registered, its labels,
// its unit and its meaning, and no other.
func TestMetricsPage(t *testing.T) {
	descs := make(chan *prometheus.Desc, 100)
	newMetrics(nil, nil, nil, nil).Describe(descs)
	close(descs)
	rows := pageRows(t)
	parts := regexp.MustCompile(`fqName: "([^"]+)", help: ("[^"]*"),.*variableLabels: \{([^}]*)\}`)
	for d := range descs {
		m := parts.FindStringSubmatch(d.String())
		if m == nil {
			t.Fatal(d)
		}
		help, err := strconv.Unquote(m[2])
		if err != nil {
			t.Fatal(err)
		}
		r, ok := rows[m[1]]
		delete(rows, m[1])
		if !ok || r.meaning != help || r.labels != strings.ReplaceAll(m[3], ",", ", ") {
			t.Errorf("%s: labels %s, %q; the page says %+v", m[1], m[3], help, r)
		}
		for suffix, unit := range map[string]string{"_bytes": "bytes", "_seconds": "seconds"} {
			if strings.HasSuffix(strings.TrimSuffix(m[1], "_total"), suffix) != (r.unit == unit) {
				t.Errorf("%s in %s", m[1], r.unit)
			}
		}
	}
	for name := range rows {
		t.Errorf("%s is not registered", name)
	}
}
