package verify

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// run watches a stream.
func (s *stream) run(t *testing.T, d time.Duration) (r *Report) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s.start = time.Now()
		r = watchStream(t, s, s.http, "/index.m3u8", d)
	})
	return r
}

// Correct live streams break nothing, and every rule over time has something to
// look at in one of them.
func TestLivePass(t *testing.T) {
	kept := map[string]bool{}
	for name, s := range map[string]stream{
		"plain": {}, "low": {low: true}, "ends": {low: true, ends: 12 * time.Second}, "slides": {window: 6, breakAt: 2},
		"skips dates":  {low: true, text: skipsDates("gone")},
		"removes date": removesDate(),
		"slides low":   {low: true, window: 8, breakAt: 2},
		"key frames":   {low: true, iframes: true},
		"plain keys":   {iframes: true},
		"open ranges":  {low: true, ranged: openRange},
		"ranges":       {low: true, ranged: closedRange},
		"stays dated":  {text: always("#EXT-X-MAP", ad+"#EXT-X-MAP")},
		"dated": {answer: func(w http.ResponseWriter, _ *http.Request, _ time.Duration) bool {
			w.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
			w.Header().Set("Date", time.Now().UTC().Format(http.TimeFormat))
			return false
		}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newStream(t, s).run(t, 40*time.Second)
			for _, f := range r.Findings {
				if f.Rule != "A29" || s.iframes { // others have no I-frame playlist
					t.Errorf("%s %s: %s", f.Rule, f.Place, f.Text)
				}
			}
			for id := range r.Checked {
				kept[id] = true
			}
			if name != "ends" && (r.Segments < 30 || len(r.Timeline.Renditions) < 2 || len(r.Timeline.Renditions[0].Events) < 20) {
				t.Errorf("%d segments, %d events", r.Segments, len(r.Timeline.Renditions[0].Events))
			}
		})
	}
	kept["L23"] = true // a stream that stands still breaks H22: TestStandstill
	for _, rule := range Rules() {
		if rule.Live && !kept[rule.ID] {
			t.Errorf("%s passes in no live stream", rule.ID)
		}
	}
}

// after applies a change of text from ten seconds on.
func after(old, new string) func(string, time.Duration) string {
	return func(text string, at time.Duration) string {
		if at < 10*time.Second {
			return text
		}
		return strings.ReplaceAll(text, old, new)
	}
}

func always(old, new string) func(string, time.Duration) string {
	return func(text string, _ time.Duration) string { return strings.ReplaceAll(text, old, new) }
}

// ad is a date range that lies beside listed segments.
const ad = "#EXT-X-DATERANGE:ID=\"ad\",START-DATE=\"2000-01-01T00:00:10.000Z\",DURATION=30.0\n"

// skipsDates lists one date range, "ad", and says in delta updates which is removed.
func skipsDates(removed string) func(string, time.Duration) string {
	past := "#EXT-X-DATERANGE:ID=\"ad\",START-DATE=\"1999-12-31T00:00:00.000Z\",DURATION=1.0\n#EXT-X-MAP"
	return func(text string, _ time.Duration) string {
		text = regexp.MustCompile(`SKIPPED-SEGMENTS=\d+`).ReplaceAllString(text, "$0,RECENTLY-REMOVED-DATERANGES=\""+removed+"\"")
		return strings.NewReplacer("VERSION:9", "VERSION:10", "CAN-SKIP-UNTIL=12.0", "CAN-SKIP-UNTIL=12.0,CAN-SKIP-DATERANGES=YES", "#EXT-X-MAP", past).Replace(text)
	}
}

// removesDate removes the date range of skipsDates when it is first asked which ones
// are removed.
func removesDate() stream {
	var gone atomic.Bool
	before, after := skipsDates("gone"), skipsDates("ad")
	ad := regexp.MustCompile(`(?m)^#EXT-X-DATERANGE.*\n`)
	return stream{
		low: true,
		answer: func(_ http.ResponseWriter, r *http.Request, _ time.Duration) bool {
			if r.URL.Query().Get("_HLS_skip") == "v2" {
				gone.Store(true)
			}
			return false
		},
		text: func(text string, at time.Duration) string {
			if gone.Load() {
				return ad.ReplaceAllString(after(text, at), "")
			}
			return before(text, at)
		},
	}
}

var sequence = regexp.MustCompile(`MEDIA-SEQUENCE:(\d+)`)

func liveFailures() map[string]stream {
	return map[string]stream{
		"H3":  {text: after("TARGETDURATION:2", "TARGETDURATION:3")},
		"H22": {clock: func(d time.Duration) time.Duration { return min(d, 10*time.Second) }},
		"H23": {text: func(text string, at time.Duration) string {
			if at < 10*time.Second {
				return text
			}
			return regexp.MustCompile(`\n(\d+)\.m4s`).ReplaceAllString(text, "\n$1.m4s?again")
		}},
		"H24": {window: 6, text: func(text string, at time.Duration) string {
			if at < 10*time.Second {
				return text
			}
			return sequence.ReplaceAllStringFunc(text, func(s string) string {
				n, _ := strconv.Atoi(sequence.FindStringSubmatch(s)[1])
				return fmt.Sprintf("MEDIA-SEQUENCE:%d", n-9)
			})
		}},
		"H25": {window: 6, breakAt: 3, stuck: true},
		"H26": {window: 2},
		"H27": {window: 6, gone: true},
		"H29": {answer: func(w http.ResponseWriter, r *http.Request, at time.Duration) bool {
			if at < 10*time.Second || at > 12*time.Second || !strings.HasSuffix(r.URL.Path, "v/index.m3u8") {
				return false
			}
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte("#EXTM3U\n#EXT-X-VER"))
			return true
		}},
		"H30": {window: 6, text: always("#EXT-X-MEDIA-SEQUENCE", "#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-MEDIA-SEQUENCE")},
		"H31": {plain: true},
		"A31": {plain: true},
		"A11": {text: func(text string, _ time.Duration) string {
			return regexp.MustCompile(`#EXT-X-PROGRAM-DATE-TIME.*\n`).ReplaceAllString(text, "")
		}},
		"A15": {window: 4, breakAt: 1},
		"A17": {text: always("#EXT-X-DISCONTINUITY-SEQUENCE:0\n", "")},
		"A18": {answer: func(w http.ResponseWriter, r *http.Request, _ time.Duration) bool {
			if strings.HasSuffix(r.URL.Path, ".m4s") && r.URL.RawQuery == "" {
				http.Redirect(w, r, r.URL.Path+"?x", http.StatusFound)
				return true
			}
			return false
		}},
		"A21": {answer: func(w http.ResponseWriter, _ *http.Request, _ time.Duration) bool {
			w.Header().Set("Last-Modified", time.Now().Add(-time.Minute).UTC().Format(http.TimeFormat))
			w.Header().Set("Date", time.Now().UTC().Format(http.TimeFormat))
			return false
		}},
		"A32": {answer: func(w http.ResponseWriter, r *http.Request, _ time.Duration) bool {
			if !strings.HasSuffix(r.URL.Path, "9.m4s") {
				return false
			}
			w.Header().Set("Content-Type", "text/plain")
			_, _ = w.Write([]byte("\x00\x00\x00\x08free"))
			return true
		}},
		"A33": {http: true},
		"L4":  {low: true, text: after("PART-HOLD-BACK=3.0", "PART-HOLD-BACK=3.5")},
		"L10": {low: true, clock: func(d time.Duration) time.Duration { return d.Truncate(4 * time.Second) }},
		"L11": {low: true, allParts: true},
		"L14": {low: true, text: always("TYPE=PART,URI=\"", "TYPE=PART,URI=\"x")},
		"L15": {low: true, answer: func(w http.ResponseWriter, r *http.Request, _ time.Duration) bool {
			if strings.Contains(r.URL.Path, "no-such") {
				_, _ = w.Write([]byte("?"))
				return true
			}
			return false
		}},
		"L17": {low: true, noBlock: true},
		"L18": {low: true, noBlock: true},
		"L19": {low: true, noBlock: true},
		"L20": {low: true, lenient: true},
		"L21": {low: true, lenient: true},
		"L22": {low: true, strict: true},
		"L23": {low: true, clock: standstill},
		"L28": {low: true, answer: func(w http.ResponseWriter, r *http.Request, _ time.Duration) bool {
			w.Header().Set("Cache-Control", "no-cache")
			return false
		}},
		"L30": {low: true, iframes: true, noBlock: true},
		"A28": {text: func(text string, _ time.Duration) string { return text }, answer: func(w http.ResponseWriter, r *http.Request, _ time.Duration) bool {
			if r.URL.Path != "/index.m3u8" {
				return false
			}
			w.Header().Set("Content-Type", "application/vnd.apple.mpegurl")
			_, _ = w.Write([]byte("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=10000,AVERAGE-BANDWIDTH=9000,CODECS=\"avc1.640028\",RESOLUTION=320x192,FRAME-RATE=25.000\nv/index.m3u8\n"))
			return true
		}},
		"A35": {low: true, answer: func(_ http.ResponseWriter, r *http.Request, _ time.Duration) bool {
			if strings.HasSuffix(r.URL.Path, ".m4s") {
				pause(r.Context(), partDur*11/10)
			}
			return false
		}},
		"L24": {low: true, ends: 12 * time.Second, answer: func(w http.ResponseWriter, r *http.Request, at time.Duration) bool {
			if at >= 12*time.Second && r.URL.Query().Has("_HLS_msn") && !r.URL.Query().Has("_HLS_part") {
				http.Error(w, "it has ended", http.StatusBadRequest)
				return true
			}
			return false
		}},
		"L25": {low: true, skip: 3},
		"L26": {low: true, text: skipsDates("ad")},
		"L31": {answer: func(w http.ResponseWriter, _ *http.Request, _ time.Duration) bool {
			w.Header().Set("Cache-Control", "max-age=60")
			return false
		}},
		// Rules that also hold over time.
		"A29": {iframes: true, text: func(text string, _ time.Duration) string {
			if strings.Contains(text, "I-FRAMES-ONLY") {
				return strings.ReplaceAll(text, "TARGETDURATION:2", "TARGETDURATION:3")
			}
			return text
		}},
		"H13": {text: func(text string, at time.Duration) string {
			return strings.ReplaceAll(text, "#EXT-X-MAP", fmt.Sprintf("%s#EXT-X-MAP", strings.Replace(ad, "DURATION=30", fmt.Sprintf("DURATION=%d", 30+at/(10*time.Second)), 1)))
		}},
		"H28": {answer: func(w http.ResponseWriter, r *http.Request, at time.Duration) bool {
			if at > 10*time.Second && strings.HasSuffix(r.URL.Path, "6.m4s") {
				w.WriteHeader(http.StatusNotFound)
				return true
			}
			return false
		}},
		"L27": {low: true, text: func(text string, _ time.Duration) string {
			return regexp.MustCompile(`LAST-MSN=\d+`).ReplaceAllString(text, "LAST-MSN=3")
		}},
	}
}

func TestLiveRules(t *testing.T) {
	done := map[string]bool{}
	for rule, s := range liveFailures() {
		t.Run(rule, func(t *testing.T) {
			r := newStream(t, s).run(t, 40*time.Second)
			f := broken(r, rule)
			if f == nil {
				t.Fatalf("not found; found %s", listing(r))
			}
			if f.File == "" || f.Text == "" || f.At.IsZero() && rule != "A33" && rule != "A31" && rule != "H31" {
				t.Errorf("%+v", *f)
			}
			done[rule] = true
		})
	}
	for _, rule := range Rules() {
		if rule.Live && !done[rule.ID] {
			t.Errorf("%s is broken in no live stream", rule.ID)
		}
	}
}

// A report of a live check can be read by programs, and its page has a drawing.
func TestLiveReport(t *testing.T) {
	r := newStream(t, stream{low: true, allParts: true}).run(t, 20*time.Second)
	b, err := json.Marshal(r)
	if err != nil || !bytes.Contains(b, []byte(`"rule":"L11"`)) || !bytes.Contains(b, []byte(`"line":`)) {
		t.Errorf("%v %.300s", err, b)
	}
	var page bytes.Buffer
	if err := r.WriteHTML(&page); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<svg", `class="seg"`, `class="part"`, "L11", "v/index.m3u8", "20 s"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the page has no %q", want)
		}
	}
	if strings.Contains(page.String(), "http-equiv") || strings.Contains(page.String(), "<script") {
		t.Error("the page is not only a page")
	}
	var text bytes.Buffer
	if err := r.Print(&text); err != nil || !strings.Contains(text.String(), "What a player") && !strings.Contains(text.String(), "No MUST is broken") {
		t.Errorf("%v\n%s", err, &text)
	}
}

// liveMPD is a live DASH stream by number whose segments can be late.
type liveMPD struct {
	s       *stream
	late    time.Duration
	publish func(time.Duration) time.Duration
	moved   bool // availabilityStartTime changes
	// timeline: segments are listed and named by their time; the numbers begin anew
	// as the window slides.
	timeline bool
	wrong    bool // S@d is half a second more
}

// template is the SegmentTemplate at a time.
func (d *liveMPD) template(at time.Duration) string {
	if !d.timeline {
		return `<SegmentTemplate timescale="25" duration="50" startNumber="0" media="v/$Number$.m4s" initialization="v/init.mp4"/>`
	}
	whole := int64(at / segmentDur)
	dur, run := 50, `r="5"`
	if d.wrong {
		dur, run = 62, `r="4"`
	}
	return fmt.Sprintf(`<SegmentTemplate timescale="25" media="v/t$Time$.m4s" initialization="v/init.mp4"><SegmentTimeline><S t="%d" d="%d" %s/></SegmentTimeline></SegmentTemplate>`, (whole-6)*50, dur, run)
}

func (d *liveMPD) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	at := d.s.at()
	switch {
	case strings.HasSuffix(r.URL.Path, ".mpd"):
		start := d.s.date(0)
		if d.moved && at-lead > 10*time.Second {
			start = start.Add(time.Second)
		}
		publish := (at - lead).Truncate(4 * time.Second)
		if d.publish != nil {
			publish = d.publish(publish)
		}
		if d.timeline {
			publish = (at - lead).Truncate(segmentDur)
		}
		w.Header().Set("Content-Type", "application/dash+xml")
		fmt.Fprintf(w, `<MPD type="dynamic" profiles="p" availabilityStartTime="%s" publishTime="%s" minimumUpdatePeriod="PT4S" minBufferTime="PT2S" timeShiftBufferDepth="PT20S">
<Period id="0" start="PT0S"><AdaptationSet mimeType="video/mp4" segmentAlignment="true" startWithSAP="1">
%s
<Representation id="v" bandwidth="100000" codecs="avc1.640028" width="320" height="192"/></AdaptationSet></Period>
<UTCTiming schemeIdUri="urn:mpeg:dash:utc:direct:2014" value="%s"/><LeapSecondInformation availabilityStartLeapOffset="37"/></MPD>`,
			start.Format(time.RFC3339Nano), d.s.start.Add(publish).UTC().Format(time.RFC3339Nano), d.template(at), time.Now().UTC().Format(time.RFC3339))
	case strings.HasSuffix(r.URL.Path, "init.mp4"):
		w.Header().Set("Content-Type", "video/mp4")
		_, _ = w.Write(d.s.init)
	case strings.HasPrefix(r.URL.Path, "/v/t"):
		n, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/v/t"), ".m4s"))
		d.s.serveMedia(r.Context(), w, fmt.Sprintf("%d.m4s", n/50), at-d.late)
	default:
		d.s.serveMedia(r.Context(), w, strings.TrimPrefix(r.URL.Path, "/v/"), at-d.late)
	}
}

func TestLiveDASH(t *testing.T) {
	for _, c := range []struct {
		name string
		d    liveMPD
		rule string // empty: nothing is broken
	}{
		{name: "right"},
		{name: "timeline", d: liveMPD{timeline: true}},
		{name: "timeline is wrong", d: liveMPD{timeline: true, wrong: true}, rule: "D7"},
		{name: "late", d: liveMPD{late: 1500 * time.Millisecond}, rule: "D13"},
		{name: "missing", d: liveMPD{late: 20 * time.Second}, rule: "D13"},
		{name: "start moves", d: liveMPD{moved: true}, rule: "D13"},
		{name: "publish goes back", d: liveMPD{publish: func(d time.Duration) time.Duration { return -d }}, rule: "D13"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStream(t, stream{})
				s.start = time.Now()
				c.d.s = s
				r := watchStream(t, &c.d, false, "/live.mpd", 30*time.Second)
				if f := broken(r, c.rule); c.rule != "" && f == nil {
					t.Errorf("not found; found %s", listing(r))
				}
				if c.rule == "" && (len(r.Findings) > 0 || r.Segments < 14) {
					t.Errorf("%d segments; %s", r.Segments, listing(r))
				}
			})
		})
	}
}

// standstill is the clock of a source that stops after ten seconds.
func standstill(d time.Duration) time.Duration { return min(d, 10*time.Second) }

// A server that says after three target durations that its stream stands still keeps
// L23; that nothing comes is another finding.
func TestStandstill(t *testing.T) {
	r := newStream(t, stream{low: true, clock: standstill, busy: true}).run(t, 40*time.Second)
	if r.Checked["L23"] == 0 || broken(r, "L23") != nil || broken(r, "H28") != nil {
		t.Errorf("checked %d times; found %s", r.Checked["L23"], listing(r))
	}
	if broken(r, "H22") == nil {
		t.Error("that nothing comes is not found")
	}
}

// A date range must stay while it lies beside listed segments.
func TestDateRangeRemoved(t *testing.T) {
	for name, test := range map[string]struct {
		start string
		found bool
	}{"in the window": {"2000-01-01T00:00:10.000Z", true}, "before it": {"1999-12-31T00:00:00.000Z", false}} {
		t.Run(name, func(t *testing.T) {
			r := newStream(t, stream{text: func(text string, at time.Duration) string {
				if at > 10*time.Second {
					return text
				}
				return strings.ReplaceAll(text, "#EXT-X-MAP", strings.Replace(ad, "2000-01-01T00:00:10.000Z", test.start, 1)+"#EXT-X-MAP")
			}}).run(t, 20*time.Second)
			if f := broken(r, "H13"); (f != nil) != test.found {
				t.Errorf("found %s", listing(r))
			}
		})
	}
}

// An I-frame playlist that does not say that it blocks, where the others do.
func TestIFramesDoNotBlock(t *testing.T) {
	r := newStream(t, stream{low: true, iframes: true, text: func(text string, _ time.Duration) string {
		if !strings.Contains(text, "I-FRAMES-ONLY") {
			return text
		}
		return strings.ReplaceAll(text, "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES\n", "")
	}}).run(t, 20*time.Second)
	if f := broken(r, "L30"); f == nil || !strings.Contains(f.Text, "CAN-BLOCK-RELOAD") {
		t.Errorf("found %s", listing(r))
	}
}

// A delta update that leaves out the segment which CAN-SKIP-UNTIL falls into may be
// meant so; one that leaves out more may not.
func TestSkipSeverity(t *testing.T) {
	for skip, want := range map[int]Severity{1: Should, 2: Must} {
		r := newStream(t, stream{low: true, skip: skip}).run(t, 20*time.Second)
		if f := broken(r, "L25"); f == nil || f.Severity != want {
			t.Errorf("%d segments more: found %s", skip, listing(r))
		}
	}
}

// A fault of the head of a playlist is one, in however many versions it stands.
func TestSameFault(t *testing.T) {
	r := newStream(t, stream{low: true, text: always("PART-HOLD-BACK=3.0", "PART-HOLD-BACK=2.5")}).run(t, 20*time.Second)
	n := 0
	for _, f := range r.Findings {
		if f.Rule == "A36" {
			n += 1 + f.More
		}
	}
	if n != 2 { // in both renditions
		t.Errorf("%d times: %s", n, listing(r))
	}
}

// A part that is dropped from the playlist must stay for three target durations; what
// was there before the watch is not asked for.
func TestPartsGone(t *testing.T) {
	for name, gone := range map[string]bool{"stay": false, "gone": true} {
		t.Run(name, func(t *testing.T) {
			r := newStream(t, stream{low: true, answer: func(w http.ResponseWriter, r *http.Request, at time.Duration) bool {
				var n int64
				var part int
				_, file, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
				if k, _ := fmt.Sscanf(file, "%d.%d.m4s", &n, &part); !gone || k < 2 || n > int64((at+lead)/segmentDur)-4 {
					return false
				}
				w.WriteHeader(http.StatusNotFound)
				return true
			}}).run(t, 20*time.Second)
			if f := broken(r, "L11"); (f != nil) != gone || gone && f.Severity != Must || r.Checked["L11"] == 0 {
				t.Errorf("found %s", listing(r))
			}
		})
	}
}

// A part that is too far ahead is refused, though its segment is the next.
func TestPartAhead(t *testing.T) {
	r := newStream(t, stream{low: true, farParts: true}).run(t, 20*time.Second)
	if f := broken(r, "L21"); f == nil || !strings.Contains(f.Text, "parts ahead") {
		t.Errorf("found %s", listing(r))
	}
}

// A key must stay listed as long as a segment that it decrypts.
func TestKeyRemoved(t *testing.T) {
	key := "#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"k\",KEYFORMAT=\"com.example\"\n"
	for name, found := range map[string]bool{"stays": false, "goes": true} {
		t.Run(name, func(t *testing.T) {
			r := newStream(t, stream{text: func(text string, at time.Duration) string {
				if found && at > 10*time.Second {
					return text
				}
				return strings.ReplaceAll(text, "#EXT-X-MAP", key+"#EXT-X-MAP")
			}}).run(t, 20*time.Second)
			if f := broken(r, "H16"); (f != nil) != found {
				t.Errorf("found %s", listing(r))
			}
		})
	}
}

// A segment need stay only until its own duration and that of the playlist have passed
// since it appeared: behind its removal for as long as it lasts.
func TestRemovedStays(t *testing.T) {
	for name, x := range map[string]struct {
		low   bool
		stays int64    // segments behind the playlist that can be loaded
		want  Severity // empty: nothing is found
	}{"none": {false, 0, Should}, "as many as must": {false, 2, ""}, "none, blocking": {true, 0, Must}, "as many as must, blocking": {true, 2, ""}} {
		t.Run(name, func(t *testing.T) {
			const window = 6
			r := newStream(t, stream{low: x.low, window: window, answer: func(w http.ResponseWriter, r *http.Request, at time.Duration) bool {
				var n int64
				_, file, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
				if k, _ := fmt.Sscanf(file, "%d.m4s", &n); k < 1 || strings.Count(file, ".") > 1 || n >= int64((at+lead)/segmentDur)-window-x.stays {
					return false
				}
				w.WriteHeader(http.StatusNotFound)
				return true
			}}).run(t, 40*time.Second)
			if f := broken(r, "H27"); (f != nil) != (x.want != "") || f != nil && f.Severity != x.want || r.Checked["H27"] == 0 {
				t.Errorf("found %s", listing(r))
			}
		})
	}
}
