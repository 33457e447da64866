package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cleave-video/cleave/format/hls"
	"github.com/cleave-video/cleave/live"
	"github.com/cleave-video/cleave/seal"
	"github.com/cleave-video/cleave/test/browser"
	"github.com/cleave-video/cleave/verify"
)

// kept are servers that keep everything.
func kept(t *testing.T, data string) Config {
	t.Helper()
	return Config{Data: data, Live: live.Config{Target: time.Second, Window: 4 * time.Second, Grace: 2 * time.Second}, Retention: []Retention{{}}}
}

// film publishes so many seconds, 25 frames and a GOP each, with sound, and returns when
// that is over.
func film(t *testing.T, address string, seconds int) {
	t.Helper()
	args := strings.Fields(fmt.Sprintf("-v error -nostdin -re -f lavfi -i testsrc2=size=320x180:rate=25:duration=%d -f lavfi -i sine=sample_rate=48000:duration=%d "+
		"-c:v libx264 -preset ultrafast -bf 2 -g 25 -keyint_min 25 -sc_threshold 0 -pix_fmt yuv420p -c:a aac -f flv %s", seconds, seconds, address))
	if out, err := exec.Command("ffmpeg", args...).CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
}

// shownAt returns the presentation times of a URL's frames, in ticks of a 1000th of a
// second, as ffprobe decodes them.
func shownAt(t *testing.T, url string) (ms []int64) {
	t.Helper()
	out, err := exec.Command("ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "frame=pts_time", "-of", "json", url).Output()
	if err != nil {
		t.Fatal(url, err)
	}
	var list struct {
		Frames []struct {
			PTS string `json:"pts_time"`
		}
	}
	if err := json.Unmarshal(out, &list); err != nil {
		t.Fatal(err)
	}
	for _, f := range list.Frames {
		v, err := strconv.ParseFloat(f.PTS, 64)
		if err != nil {
			t.Fatal(err)
		}
		ms = append(ms, int64(v*1000+0.5))
	}
	return ms
}

// hashes returns those of the frames of a URL.
func hashes(t *testing.T, url string) (out []string) {
	t.Helper()
	b, err := exec.Command("ffmpeg", "-v", "error", "-nostdin", "-i", url, "-map", "0:v:0", "-f", "framemd5", "-").Output()
	if err != nil {
		t.Fatal(url, err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Split(strings.TrimSpace(line), ","); f[0] == "0" {
			out = append(out, strings.TrimSpace(f[len(f)-1]))
		}
	}
	return out
}

// evenly checks that there are so many frames, each 40 ms behind the one before.
func evenly(t *testing.T, what string, ms []int64, n int) {
	t.Helper()
	if len(ms) != n {
		t.Errorf("%s: %d frames, want %d", what, len(ms), n)
	}
	for i := 1; i < len(ms); i++ {
		if ms[i]-ms[i-1] != 40 {
			t.Errorf("%s: frame %d comes %d ms behind the one before", what, i, ms[i]-ms[i-1])
		}
	}
}

// follows checks that verify finds no MUST in what is at a URL.
func follows(t *testing.T, url string) {
	t.Helper()
	r, err := verify.Run(t.Context(), verify.Config{Input: url})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Findings {
		if f.Severity == verify.Must {
			t.Errorf("%s: %s: %s: %s", url, f.Rule, f.File, f.Text)
		}
	}
}

func vod(t *testing.T, url string) *hls.Media {
	t.Helper()
	code, body := get(t, url)
	m, err := new(hls.Reader).Media([]byte(body))
	if code != http.StatusOK || err != nil || m.Type != hls.VOD || !m.EndList {
		t.Fatal(url, code, err, body)
	}
	return m
}

// TestReplayEncrypted: what was encrypted is, with its keys, when it is over and for the
// next server, and is played by who has them; it is not given out as a file.
func TestReplayEncrypted(t *testing.T) {
	t.Parallel()
	need(t, "ffmpeg")
	need(t, "ffprobe")
	for _, scheme := range []seal.Scheme{seal.AES128, seal.CBCS} {
		t.Run(string(scheme), func(t *testing.T) {
			t.Parallel()
			c := kept(t, t.TempDir())
			c.Encryption = []Encryption{{Scheme: scheme, Rotation: Rotation{Chunks: 3}, PublicKeys: true}}
			if scheme == seal.AES128 {
				c.Live.Part = -1
			}
			s := startWith(t, c)
			film(t, s.rtmp+"/live/cam", 12)
			until(t, s.http+"/live/cam/video0/index.m3u8", "#EXT-X-PLAYLIST-TYPE:VOD")
			s.stop()
			s = startWith(t, c)
			until(t, s.http+"/live/cam/video0/index.m3u8", "#EXT-X-PLAYLIST-TYPE:VOD")
			top := s.http + "/live/cam/index.m3u8"
			all := vod(t, s.http+"/live/cam/video0/index.m3u8")
			keys := map[string]bool{}
			for _, x := range all.Segments {
				for _, k := range x.Keys {
					keys[k.URI] = true
				}
			}
			if len(keys) < 3 {
				t.Errorf("%d keys of %d segments", len(keys), len(all.Segments))
			}
			for key := range keys {
				if code, body := get(t, s.http+"/live/cam/video0/"+key); code != http.StatusOK || len(body) != 16 {
					t.Errorf("%s: %d, %d bytes", key, code, len(body))
				}
			}
			follows(t, top)
			query := fmt.Sprintf("?from=%d&to=%d", all.Segments[3].ProgramDateTime.Unix(), all.Segments[8].ProgramDateTime.Unix())
			follows(t, top+query)
			if scheme == seal.AES128 { // which ffmpeg decrypts by itself
				evenly(t, "all", shownAt(t, top), 300)
				evenly(t, "a range", shownAt(t, top+query), 25*len(vod(t, s.http+"/live/cam/video0/index.m3u8"+query).Segments))
			}
			if code, body := get(t, s.http+"/live/cam.mp4"+query); code != http.StatusForbidden || !strings.Contains(body, "encrypted") {
				t.Errorf("as a file: %d %.200s", code, body)
			}
		})
	}
}

// TestReplay: what was published is there when it is over, also for the next server, all
// of it and any range, to the frame.
func TestReplay(t *testing.T) {
	t.Parallel()
	need(t, "ffmpeg")
	need(t, "ffprobe")
	data := t.TempDir()
	s := startWith(t, kept(t, data))
	film(t, s.rtmp+"/live/cam", 12)
	var all *hls.Media
	for range 2 {
		until(t, s.http+"/live/cam/video0/index.m3u8", "#EXT-X-ENDLIST", "#EXT-X-PLAYLIST-TYPE:VOD") // the last one remains
		top := s.http + "/live/cam/index.m3u8"
		all = vod(t, s.http+"/live/cam/video0/index.m3u8")
		evenly(t, "all", shownAt(t, top), 300)
		follows(t, top)
		from, to := all.Segments[3].ProgramDateTime, all.Segments[6].ProgramDateTime
		for _, query := range []string{
			fmt.Sprintf("from=%d.%03d&to=%d.%03d", from.Unix(), from.Nanosecond()/1e6, to.Unix(), to.Nanosecond()/1e6),
			"from=" + from.UTC().Format("2006-01-02T15:04:05.000Z") + "&to=" + to.UTC().Format("2006-01-02T15:04:05.000") + "%2B00:00",
		} {
			part := vod(t, s.http+"/live/cam/video0/index.m3u8?"+query)
			if len(part.Segments) != 3 || part.Segments[0].URI != all.Segments[3].URI || !part.Segments[0].ProgramDateTime.Equal(from) {
				t.Errorf("%s: %+v", query, part.Segments)
			}
			evenly(t, query, shownAt(t, top+"?"+query), 75)
			evenly(t, query+", as a file", shownAt(t, s.http+"/live/cam.mp4?"+query), 75)
			evenly(t, query+", exactly", shownAt(t, s.http+"/live/cam.mp4?exact=1&"+query), 75)
			follows(t, top+"?"+query)
			frames := vod(t, s.http+"/live/cam/video0/iframes.m3u8?"+query)
			if len(frames.Segments) != 3 || !frames.IFramesOnly {
				t.Errorf("%s: key frames %+v", query, frames.Segments)
			}
		}
		// Half a frame later than the tenth frame of segment 2 up to the same of segment 4.
		late := 10*40*time.Millisecond + 15*time.Millisecond
		query := "exact=1&from=" + strconv.FormatFloat(float64(all.Segments[2].ProgramDateTime.Add(late).UnixMilli())/1000, 'f', 3, 64) +
			"&to=" + strconv.FormatFloat(float64(all.Segments[4].ProgramDateTime.Add(late).UnixMilli())/1000, 'f', 3, 64)
		evenly(t, "from within a GOP", shownAt(t, s.http+"/live/cam.mp4?"+query), 50)
		if f := hashes(t, s.http+"/live/cam.mp4?"+query); !slices.Equal(f, hashes(t, top)[60:110]) {
			t.Error("the frames are others")
		}
		s.stop()
		s = startWith(t, kept(t, data))
	}
	defer publish(t, s.rtmp+"/live/cam")()
	until(t, s.http+"/live/cam/video0/index.m3u8", "#EXT-X-PROGRAM-DATE-TIME") // live again
	last := all.Segments[len(all.Segments)-1].ProgramDateTime
	if m := vod(t, s.http+"/live/cam/video0/index.m3u8?to="+strconv.FormatInt(last.Unix()+2, 10)); len(m.Segments) != len(all.Segments) {
		t.Errorf("while it is live again: %d segments of %d", len(m.Segments), len(all.Segments))
	}
	for query, want := range map[string]struct {
		code int
		text string
	}{
		"from=yesterday":                       {400, `from: "yesterday" is neither`},
		"from=1000&from=1":                     {400, "twice"},
		"from=2000&to=1000":                    {400, "is not before"},
		"from=1.0123456789":                    {400, "nine decimals"},
		"from=1000&to=2000":                    {404, "begins at 20"},
		"to=" + strconv.Itoa(1<<40):            {400, "to: "},
		"from=-3600&to=" + strconv.Itoa(1<<32): {200, "#EXT-X-ENDLIST"},
	} {
		if code, body := get(t, s.http+"/live/cam/video0/index.m3u8?"+query); code != want.code || !strings.Contains(body, want.text) {
			t.Errorf("%s: %d %.200s", query, code, body)
		}
	}
	if code, body := get(t, s.http+"/live/none/index.m3u8?from=-60"); code != http.StatusNotFound || body != "no such stream\n" {
		t.Error("a stream that never was:", code, body)
	}
	if list, err := filepath.Glob(filepath.Join(data, IndexDir, "*none*")); err != nil || len(list) > 0 {
		t.Error("the index has", list, err)
	}
}

// TestTimeShift: a live playlist goes back behind its window as far as is asked for, keeps
// all rules of low latency on the way, and says what is new only.
func TestTimeShift(t *testing.T) {
	t.Parallel()
	need(t, "ffmpeg")
	c := kept(t, "")
	c.Live.Grace = 10 * time.Second
	s := startWith(t, c)
	list := s.http + "/live/cam/video0/index.m3u8"
	stop := publish(t, s.rtmp+"/live/cam")
	until(t, list, "1-2.m4s")
	stop()
	stop = publish(t, s.rtmp+"/live/cam")
	defer func() { stop() }()
	until(t, list, "#EXT-X-DISCONTINUITY-SEQUENCE:1")
	now := func(query string) *hls.Media {
		code, body := get(t, list+query)
		m, err := new(hls.Reader).Media([]byte(body))
		if code != http.StatusOK || err != nil {
			t.Fatal(query, code, err, body)
		}
		return m
	}
	window, m := now(""), now("?start=-3600")
	if m.Sequence != 0 || m.DiscontinuitySequence != 0 || m.Type != hls.Live || m.EndList || !m.Control.CanBlockReload {
		t.Errorf("it begins with %d, discontinuity %d: %+v", m.Sequence, m.DiscontinuitySequence, m.Control)
	}
	broke := 0
	for i, x := range m.Segments {
		if x.Discontinuity {
			broke++
		}
		if _, n, _ := strings.Cut(strings.TrimSuffix(x.URI, ".m4s"), "-"); x.URI != "" && n != strconv.Itoa(i) {
			t.Errorf("segment %d is %s", i, x.URI)
		}
		if code, _ := get(t, s.http+"/live/cam/video0/"+x.URI); x.URI != "" && !x.Gap && code != http.StatusOK {
			t.Errorf("%s: %d", x.URI, code)
		}
		if same := i - int(window.Sequence); same >= 0 && same < len(window.Segments) && window.Segments[same].URI != "" && x.URI != "" && !x.ProgramDateTime.Equal(window.Segments[same].ProgramDateTime) {
			t.Errorf("%s: %v, in the window %v", x.URI, x.ProgramDateTime, window.Segments[same].ProgramDateTime)
		}
	}
	if broke != 1 {
		t.Errorf("%d discontinuities", broke)
	}
	full, delta := now("?start=-3600"), now("?start=-3600&_HLS_skip=YES")
	if n := int64(len(full.Segments)) - delta.Skipped; delta.Skipped == 0 || delta.Sequence != full.Sequence || n < 6 || n > 12 {
		t.Errorf("%d of %d segments were skipped", delta.Skipped, len(full.Segments))
	}
	absolute := now("?start=" + m.Segments[2].ProgramDateTime.UTC().Format("2006-01-02T15:04:05.000Z"))
	if absolute.Segments[0].URI != m.Segments[2].URI || absolute.Sequence != 2 {
		t.Errorf("from %v on: %+v", m.Segments[2].ProgramDateTime, absolute.Segments[0])
	}
	for _, query := range []string{"?start=long+ago", "?start=-100000", "?start="} {
		if code, body := get(t, list+query); code != http.StatusBadRequest || !strings.HasPrefix(body, "start: ") {
			t.Error(query, code, body)
		}
	}
	r, err := verify.Run(t.Context(), verify.Config{Input: s.http + "/live/cam/index.m3u8?start=-3600", For: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Findings {
		if f.Severity == verify.Must {
			t.Errorf("%s: %s: %s", f.Rule, f.File, f.Text)
		}
	}
	// What it has told of stays to be played; the list that remains says so.
	if code, body := get(t, s.http+"/live/cam/recordings.json"); code != http.StatusOK || !strings.Contains(body, `"live":true`) {
		t.Error(code, body)
	}
	code, body := get(t, "http://"+s.addrs.Admin.String()+"/v1/recordings")
	var all []struct {
		Stream string
		Chunks int
		Spans  []struct{ Bytes, Chunks, Discontinuities int }
	}
	if err := json.Unmarshal([]byte(body), &all); err != nil || code != http.StatusOK || len(all) != 1 || all[0].Stream != "live/cam" || all[0].Chunks < 10 || all[0].Spans[0].Bytes == 0 {
		t.Error(code, err, body)
	}
}

// TestReplayInBrowser: hls.js and shaka-player play what is over, to its end, and hls.js a
// range: shaka-player places the segments of one by their decode times.
func TestReplayInBrowser(t *testing.T) {
	t.Parallel()
	need(t, "ffmpeg")
	b := browser.New(t, t.TempDir())
	s := startWith(t, kept(t, t.TempDir()))
	film(t, s.rtmp+"/live/cam", 8)
	until(t, s.http+"/live/cam/video0/index.m3u8", "#EXT-X-PLAYLIST-TYPE:VOD")
	all := vod(t, s.http+"/live/cam/video0/index.m3u8")
	part := "?from=" + all.Segments[2].ProgramDateTime.UTC().Format("2006-01-02T15:04:05.000Z") + "&to=" + all.Segments[6].ProgramDateTime.UTC().Format("2006-01-02T15:04:05.000Z")
	for _, test := range []struct {
		player, query string
		want          float64
	}{
		{browser.HLS, "", 8},
		{browser.HLS, part, 4},
		{browser.Shaka, "", 8},
	} {
		t.Run(fmt.Sprint(test.player, test.want), func(t *testing.T) {
			b.Play(t, test.player, "", test.want, url.Values{"src": {s.http + "/live/cam/index.m3u8" + test.query}}, func(tab context.Context) {
				browser.Screenshot(tab, t, fmt.Sprint("replay-", test.player, test.want, ".png"))
			})
		})
	}
}
