package torture

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/internal/pace"
)

// get asks for a path as it is written.
func (r *rig) get(ctx context.Context, path string, header ...string) (*http.Response, error) {
	return r.ask(ctx, http.MethodGet, r.HTTP, path, nil, header...)
}

func (r *rig) ask(ctx context.Context, method, address, path string, body io.Reader, header ...string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+address+path, body)
	if err != nil {
		return nil, err
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return r.client.Do(req)
}

// fetch returns the code and the body of an answer.
func (r *rig) fetch(ctx context.Context, path string, header ...string) (int, []byte, error) {
	res, err := r.get(ctx, path, header...)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 64<<20))
	return res.StatusCode, b, err
}

// put publishes a body. A server may close before it has read all of it, without that its
// answer is heard: the code is 0 then.
func (r *rig) put(ctx context.Context, path string, body io.Reader) (code int, text string, err error) {
	res, err := r.ask(ctx, http.MethodPut, r.HTTP, "/"+path, body)
	if err != nil {
		if ctx.Err() != nil {
			return 0, "", context.Cause(ctx)
		}
		return 0, "closed", nil
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 4<<10))
	return res.StatusCode, strings.TrimSpace(string(b)), err
}

// line sends a request line that no library would, and returns the status.
func (r *rig) line(ctx context.Context, text string) (int, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", r.HTTP)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, text+" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"); err != nil {
		return 0, err
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, nil // it was closed
	}
	res.Body.Close()
	return res.StatusCode, nil
}

// badNames are names of streams that none may have, as they stand in a URL.
var badNames = []string{
	"../x", "live/../../x", "%2e%2e/x", "live/%2e%2e/%2e%2e/x", "live/a%00b", "live/a%0ab", "live/a%0d%0ab", strings.Repeat("a", 4096),
	"live/%E2%80%AEgnp", "live//x", "a/b/c/d/e/f/g", "live/a%20b", "live/a%3Cb", "live/%2fetc",
}

func httpTrials() []trial {
	return []trial{
		{row: 59, sent: fmt.Sprintf("PUT of %d names with .., NUL, line breaks, 4 kB, bidi marks, spaces", len(badNames)), run: names},
		{row: 59, sent: "GET of the same names, as playlists, FLV and pages", run: readNames},
		{row: 64, sent: "a stream whose metadata has CR LF and headers in it", run: injected},
		{row: 65, sent: "a viewer that takes a byte a second, and one that takes nothing", run: slow},
		{row: 65, sent: "HEAD of FLV and frames without end", run: heads},
		{row: 65, sent: "1,000 ranges of a segment", run: ranges},
		{row: 65, sent: "_HLS_msn of 2^63, 2^63-1, -1, and far ahead", run: numbers},
		{row: 65, sent: "2,000 requests that wait, of one address, beside the healthy stream's viewer", alone: true, run: waits},
		{row: 72, sent: "GET of 5,000 random names", alone: true, run: randomNames},
		{row: 72, sent: "PUT of 300 random names that send nothing", alone: true, run: idleNames},
	}
}

func names(ctx context.Context, r *rig) (string, error) {
	codes := counts{}
	for _, name := range badNames {
		for _, method := range []string{"PUT", "POST"} {
			code, err := r.line(ctx, method+" /"+name+".flv")
			if err != nil {
				return codes.String(), err
			}
			codes[code]++
			if code < 400 || code >= 500 {
				return codes.String(), fmt.Errorf("%s %.20s: %d", method, name, code)
			}
		}
	}
	return codes.String(), nil
}

func readNames(ctx context.Context, r *rig) (string, error) {
	codes := counts{}
	for _, name := range badNames {
		for _, suffix := range []string{"/index.m3u8", ".flv", "/", "/manifest.mpd", "/keyframe"} {
			code, err := r.line(ctx, "GET /"+name+suffix)
			if err != nil {
				return codes.String(), err
			}
			codes[code]++
			if code < 400 || code >= 500 {
				return codes.String(), fmt.Errorf("%.20s%s: %d", name, suffix, code)
			}
		}
	}
	return codes.String(), nil
}

// counts counts answers by status.
type counts map[int]int

func (c counts) String() string {
	var out []string
	for code := range 600 {
		if n := c[code]; n > 0 && code == 0 {
			out = append(out, fmt.Sprintf("%d closed", n))
		} else if n > 0 {
			out = append(out, fmt.Sprintf("%d × %d", n, code))
		}
	}
	return strings.Join(out, ", ")
}

// slow watches a stream of 5 MB a second as FLV, taking a byte a second, or nothing, for
// longer than the server may wait for a client.
func slow(ctx context.Context, r *rig) (string, error) {
	if r.RTMP == "" {
		return "left out: there is no RTMP to publish by", nil
	}
	ctx, cancel := context.WithTimeout(ctx, 40*time.Second)
	defer cancel()
	fat := avtest.Spec{Video: avtest.Video{Frames: 1 << 20, Size: 200 << 10}}
	published := make(chan error, 1)
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	group.Go(func() { published <- r.send(ctx, "torture/fat", avtest.NewSynthetic(fat), 1) })
	_ = pace.Sleep(ctx, 2*time.Second)
	var faults [2]error
	var viewers sync.WaitGroup
	for i := range faults {
		viewers.Go(func() { faults[i] = r.dawdle(ctx, "/torture/fat.flv", i == 0) })
	}
	viewers.Wait()
	select {
	case err := <-published:
		faults[0] = errors.Join(faults[0], fmt.Errorf("the stream has ended: %w", err))
	default:
	}
	return "both were cut off, the stream went on", errors.Join(faults[:]...)
}

// dawdle takes a byte a second, or none, for 20 s; then what is still in the buffers must
// end.
func (r *rig) dawdle(ctx context.Context, path string, byByte bool) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", r.HTTP)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path); err != nil {
		return err
	}
	one := make([]byte, 1)
	for range 20 {
		_ = pace.Sleep(ctx, time.Second)
		if byByte {
			_, _ = conn.Read(one) // it may have been cut off
		}
	}
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	const most = 64 << 20
	n, err := io.Copy(io.Discard, io.LimitReader(conn, most))
	var late net.Error
	if n == most || errors.As(err, &late) && late.Timeout() {
		return fmt.Errorf("a viewer that does not read was not cut off in 20 s: %d bytes more came", n)
	}
	return nil
}

func heads(ctx context.Context, r *rig) (string, error) {
	codes := counts{}
	for _, path := range []string{".flv", ".ts", ".mp4", "/frames", "/frames?payload=1", "/video0/index.m3u8", "/manifest.mpd"} {
		within, cancel := context.WithTimeout(ctx, 5*time.Second)
		res, err := r.ask(within, http.MethodHead, r.HTTP, "/"+canaryName+path, nil)
		cancel()
		if err != nil {
			return codes.String(), fmt.Errorf("%s: %w", path, err)
		}
		res.Body.Close()
		if codes[res.StatusCode]++; res.StatusCode != http.StatusOK {
			return codes.String(), fmt.Errorf("%s: %d", path, res.StatusCode)
		}
	}
	return codes.String(), nil
}

func ranges(ctx context.Context, r *rig) (string, error) {
	list, err := r.playlist(ctx, canaryName+"/video0")
	if err != nil {
		return "", err
	}
	var spec strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&spec, "%d-%d,", i*2, i*2)
	}
	path := "/" + canaryName + "/video0/" + list.Segments[len(list.Segments)/2].URI
	code, b, err := r.fetch(ctx, path, "Range", "bytes="+strings.TrimSuffix(spec.String(), ","))
	if err != nil {
		return "", err
	}
	whole, b2, err := r.fetch(ctx, path)
	if err != nil || whole != http.StatusOK {
		return "", fmt.Errorf("without ranges: %d, %w", whole, err)
	}
	came := fmt.Sprintf("%d", code)
	if code != http.StatusRequestedRangeNotSatisfiable && (code != http.StatusOK || !bytes.Equal(b, b2)) {
		return came, fmt.Errorf("%d bytes of a segment of %d", len(b), len(b2))
	}
	return came, nil
}

func numbers(ctx context.Context, r *rig) (string, error) {
	codes := counts{}
	for _, q := range []string{"_HLS_msn=9223372036854775808", "_HLS_msn=9223372036854775807", "_HLS_msn=-1", "_HLS_msn=99999999", "_HLS_part=3", "_HLS_msn=x"} {
		began := time.Now()
		code, _, err := r.fetch(ctx, "/"+canaryName+"/video0/index.m3u8?"+q)
		if err != nil {
			return codes.String(), err
		}
		if codes[code]++; code != http.StatusBadRequest || time.Since(began) > 5*time.Second {
			return codes.String(), fmt.Errorf("%s: %d after %v", q, code, time.Since(began))
		}
	}
	return codes.String(), nil
}

// waits asks for the segment after the next, 2,000 times: all are answered, or refused at
// once with a time to come again, and what needs no wait is answered meanwhile.
func waits(ctx context.Context, r *rig) (string, error) {
	list, err := r.playlist(ctx, canaryName+"/video0")
	if err != nil {
		return "", err
	}
	next := list.Sequence + int64(len(list.Segments)) + 1
	if n := len(list.Segments); n > 0 && list.Segments[n-1].URI == "" {
		next--
	}
	var codes [600]atomic.Int64
	var broken atomic.Int64
	var group sync.WaitGroup
	for range 2000 {
		group.Go(func() {
			res, err := r.get(ctx, fmt.Sprintf("/%s/video0/index.m3u8?_HLS_msn=%d", canaryName, next))
			if err != nil {
				broken.Add(1)
				return
			}
			defer res.Body.Close()
			_, _ = io.Copy(io.Discard, res.Body)
			codes[res.StatusCode%600].Add(1)
			if res.StatusCode != http.StatusOK && res.Header.Get("Retry-After") == "" {
				broken.Add(1)
			}
		})
	}
	code, _, err := r.fetch(ctx, "/"+canaryName+"/video0/index.m3u8")
	group.Wait()
	all := counts{}
	for i := range codes {
		all[i] = int(codes[i].Load())
	}
	if err != nil || code != http.StatusOK || broken.Load() > 0 || all[200]+all[429]+all[503] != 2000 {
		return all.String(), fmt.Errorf("%d were broken; who does not wait: %d, %w", broken.Load(), code, err)
	}
	return all.String(), nil
}

func randomNames(ctx context.Context, r *rig) (string, error) {
	before, told := r.series(ctx)
	codes := counts{}
	for i := range 5000 {
		path := fmt.Sprintf("/torture/r%d%s", i*7919, []string{"/index.m3u8", ".flv", "/manifest.mpd"}[i%3])
		code, _, err := r.fetch(ctx, path)
		if err != nil {
			return codes.String(), err
		}
		if codes[code]++; code != http.StatusNotFound {
			return codes.String(), fmt.Errorf("%s: %d", path, code)
		}
	}
	if after, _ := r.series(ctx); told && after > before+50 {
		return codes.String(), fmt.Errorf("%d series of metrics before, %d after", before, after)
	}
	return codes.String(), nil
}

// seriesOfStream is how many series a stream may have, while there is one: their number is
// bounded by that of streams.
const seriesOfStream = 20

// series returns how many series the metrics have.
func (r *rig) series(ctx context.Context) (int, bool) {
	if r.Admin == "" {
		return 0, false
	}
	res, err := r.ask(ctx, http.MethodGet, r.Admin, "/metrics", nil)
	if err != nil {
		return 0, false
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return bytes.Count(b, []byte("\ncleave_")), err == nil && res.StatusCode == http.StatusOK
}

// idleNames opens 300 bodies at once that send nothing: none becomes a stream, one
// address gets a share of the places at most, and all are ended in time.
func idleNames(ctx context.Context, r *rig) (string, error) {
	before, _ := r.series(ctx)
	var group sync.WaitGroup
	var mu sync.Mutex // guards codes
	codes := counts{}
	for i := range 300 {
		group.Go(func() {
			in, out := io.Pipe()
			defer out.Close()
			code, _, err := r.put(ctx, fmt.Sprintf("torture/i%d.ts", i), in)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				codes[code]++
			} else {
				codes[599]++
			}
		})
	}
	group.Wait()
	after, told := r.series(ctx)
	came := fmt.Sprintf("%s; %d series of metrics before, %d after", codes, before, after)
	if told && after > before+seriesOfStream*300 {
		return came, errors.New("names make more series than there are streams")
	}
	if codes[599] > 0 || codes[204] > 0 || codes[200] > 0 {
		return came, errors.New("some were taken, or not ended")
	}
	return came, nil
}
