// Package arch tests the shape of the code: which package may import which.
package arch

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/cleave-video/cleave/"

// ranks of the packages: one imports only lower ones, or the root it lies below.
var ranks = []struct {
	prefix string
	rank   int
}{
	{"internal", 0},
	{"av", 0},
	{"mem", 0},
	{"codec", 1},
	{"timeline", 1},
	{"format", 2},
	{"chunk", 3},
	{"seal", 3},
	{"pack", 4},
	{"stage", 4},
	{"store", 4},
	{"index", 4},
	{"httpio", 4},
	{"live", 5},
	{"proto", 6},
	{"ingest", 6},
	{"deliver", 6},
	{"cut", 7},
	{"probe", 7},
	{"verify", 7},
	{"web", 7},
	{"server", 8},
	{"cmd", 9},
	{"bench", 9},
	{"examples", 9},
	{"test", 9},
}

// thirdParty is what each package may use beyond the standard library.
var thirdParty = map[string][]string{
	"codec/aac":        {"github.com/bluenviron/mediacommon/v2"},
	"codec/av1":        {"github.com/bluenviron/mediacommon/v2"},
	"codec/h264":       {"github.com/bluenviron/mediacommon/v2"},
	"codec/h265":       {"github.com/bluenviron/mediacommon/v2"},
	"codec/vp9":        {"github.com/bluenviron/mediacommon/v2"},
	"format/libav":     {"golang.org/x/sys"},
	"format/dash":      {"github.com/Eyevinn/dash-mpd"},
	"format/rtp":       {"github.com/bluenviron/gortsplib/v5", "github.com/bluenviron/mediacommon/v2", "github.com/pion/rtp"},
	"chunk/policytest": {"pgregory.net/rapid"},
	"mem":              {"golang.org/x/sys"},
	"index/disk":       {"golang.org/x/sys"},
	"index/indextest":  {"github.com/google/go-cmp"},
	"internal/nowait":  {"golang.org/x/sys"},
	"internal/tcpinfo": {"golang.org/x/sys"},
	"store/disk":       {"golang.org/x/sys"},
	"store/s3":         {"github.com/minio/minio-go/v7", "golang.org/x/sync"},
	"ingest/file":      {"golang.org/x/sys"},
	"proto/srt":        {"github.com/datarhei/gosrt"},
	"proto/rtsp":       {"github.com/bluenviron/gortsplib/v5", "github.com/pion/rtp", "github.com/pion/rtcp"},
	"cut":              {"golang.org/x/sys"},
	"deliver/feed":     {"github.com/coder/websocket"},
	"server":           {"golang.org/x/sync", "github.com/goccy/go-yaml", "github.com/prometheus/client_golang"},
	"test/browser":     {"github.com/chromedp/chromedp"},
	"test/soak":        {"github.com/coder/websocket"},
	"test/interop":     {"github.com/chromedp/chromedp"},
	"bench/http":       {"golang.org/x/sys"},
	"bench/live":       {"golang.org/x/sys"},
	"cmd/cleave":       {"github.com/alecthomas/kong", "github.com/schollz/progressbar/v3", "golang.org/x/term", "golang.org/x/sync"},
}

func rank(pkg string) int {
	for _, r := range ranks {
		if pkg == r.prefix || strings.HasPrefix(pkg, r.prefix+"/") {
			return r.rank
		}
	}
	return -1
}

// below reports whether one of both lies in the other's folder: a sub-package may
// import its root, and codec and format/flv their members (docs/adr/0001).
func below(a, b string) bool { return strings.HasPrefix(a, b+"/") || strings.HasPrefix(b, a+"/") }

func TestLayers(t *testing.T) {
	out, err := exec.Command("go", "list", "-tags=libav", "-json=ImportPath,Imports", "../../...").Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		seen++
		imports(t, strings.TrimPrefix(p.ImportPath, module), p.Imports)
	}
	if seen < 20 {
		t.Errorf("only %d packages were seen", seen)
	}
}

func imports(t *testing.T, pkg string, list []string) {
	t.Helper()
	mine := rank(pkg)
	if mine < 0 {
		t.Errorf("%s has no rank", pkg)
	}
	for _, imp := range list {
		if other, ours := strings.CutPrefix(imp, module); ours {
			if r := rank(other); r > mine || r == mine && mine != 0 && !below(pkg, other) && !sameRank(pkg, other) {
				t.Errorf("%s (rank %d) imports %s (rank %d)", pkg, mine, other, r)
			}
			continue
		}
		if first, _, _ := strings.Cut(imp, "/"); strings.Contains(first, ".") && !allowed(pkg, imp) {
			t.Errorf("%s imports %s, which is not on its list", pkg, imp)
		}
	}
}

// sameRank lists the imports between neighbours that are meant.
func sameRank(pkg, other string) bool {
	switch {
	case strings.HasPrefix(pkg, "codec/") && other == "codec/es", strings.HasPrefix(pkg, "deliver/") && other == "deliver/feed", strings.HasPrefix(pkg, "index") && other == "store", strings.HasPrefix(pkg, "test/"):
		return true
	}
	return false
}

func allowed(pkg, imp string) bool {
	for _, m := range thirdParty[pkg] {
		if imp == m || strings.HasPrefix(imp, m+"/") {
			return true
		}
	}
	return false
}
