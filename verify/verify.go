// Package verify checks packaged media and live streams against a catalogue of
// rules from RFC 8216bis, Apple's authoring specification, CMAF, DASH-IF's
// guidelines and ISO/IEC 13818-1. It reads what a player would read and says where
// a rule is broken; it changes nothing.
package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cleave-video/cleave/format/hls"
)

// Config is what to check, and how.
type Config struct {
	// Input is a folder, a playlist, a manifest, a transport stream, or a URL of one of
	// the latter.
	Input string
	// For is how long a live stream is watched; 0 is 60 s.
	For time.Duration
	// Client fetches URLs; nil is one with a time-out.
	Client *http.Client
	// Now is the clock; nil is time.Now. Waiting goes by time.NewTimer.
	Now func() time.Time
	// Progress, if set, is told what a live check knows so far, from one goroutine
	// and at most a few times a second.
	Progress func(Status)
}

// ErrNothing: the input is no playlist, manifest or transport stream, and no folder with
// a playlist or manifest.
var ErrNothing = errors.New("no playlist, manifest or transport stream")

// checker checks one input.
type checker struct {
	*recorder
	ctx         context.Context
	src         source
	headers     map[string]*header
	query       func(string) (string, bool)
	live        bool // segments come and go
	independent bool // as the multivariant playlist says
	segmentDone func(p *playlist, i int)

	counters   map[uint16]counter // of the transport stream countersOf
	countersOf *playlist
	owed, late [][]byte // emsg boxes to be repeated; of the segment at hand
}

// Run checks an input. The report is valid when the error is nil; findings are no
// error. The error wraps ErrNothing if there is nothing to check.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.For <= 0 {
		cfg.For = time.Minute
	}
	if strings.HasPrefix(cfg.Input, "http://") || strings.HasPrefix(cfg.Input, "https://") {
		return watch(ctx, cfg)
	}
	c := &checker{recorder: newRecorder(cfg.Input), ctx: ctx, headers: map[string]*header{}}
	dir, names, err := inputs(cfg.Input)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	src := &folder{root}
	c.src = src
	if len(names) == 1 {
		if ok, err := c.checkIfStream(src, names[0]); ok || err != nil {
			return c.done(), err
		}
	}
	if names, err = c.tops(names); err != nil {
		return nil, err
	}
	for _, name := range names {
		if err := c.checkFile(name); err != nil {
			return nil, err
		}
	}
	return c.done(), nil
}

// inputs returns the folder and the files in it to begin with.
func inputs(input string) (dir string, names []string, err error) {
	st, err := os.Stat(input)
	if err != nil {
		return "", nil, err
	}
	if !st.IsDir() {
		return filepath.Dir(input), []string{filepath.Base(input)}, nil
	}
	entries, err := os.ReadDir(input)
	if err != nil {
		return "", nil, err
	}
	for _, match := range [...]func(name string) bool{
		func(name string) bool { return name == "index.m3u8" },
		func(name string) bool { return name == "master.m3u8" },
		func(name string) bool { return strings.HasSuffix(name, ".m3u8") },
	} {
		for _, e := range entries {
			if match(e.Name()) {
				names = append(names, e.Name())
			}
		}
		if len(names) > 0 {
			break
		}
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".mpd") {
			names = append(names, e.Name())
		}
	}
	if len(names) == 0 {
		return "", nil, fmt.Errorf("verify: %s: %w", input, ErrNothing)
	}
	return input, names, nil
}

// tops leaves out media playlists if there is a multivariant one: that lists them.
func (c *checker) tops(names []string) ([]string, error) {
	var multi, manifests []string
	for _, name := range names {
		if strings.HasSuffix(name, ".mpd") {
			manifests = append(manifests, name)
			continue
		}
		if len(names) == 1 {
			break
		}
		a, err := c.src.fetch(c.ctx, name, 0, 0)
		if c.ctx.Err() != nil {
			return nil, c.ctx.Err()
		}
		if err != nil {
			continue // the check says why
		}
		lines, _ := reader(func(*hls.LineError) {}).Lines(a.body)
		if hls.IsMultivariant(lines) {
			multi = append(multi, name)
		}
	}
	if len(multi) == 0 {
		return names, nil
	}
	return append(multi, manifests...), nil
}

func (c *checker) checkFile(name string) error {
	a, err := c.src.fetch(c.ctx, name, 0, 0)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	if strings.HasSuffix(name, ".mpd") || isMPD(a.body) {
		c.kind("dash")
		return c.checkDASH(name, a.body)
	}
	if !isPlaylist(name, a.body) {
		return &otherError{name, a.body[:min(len(a.body), 12)]}
	}
	c.kind("hls")
	return c.checkHLS(name, a.body)
}

// otherError says that a file to begin with is something else.
type otherError struct {
	name string
	head []byte
}

func (e *otherError) Error() string {
	return fmt.Sprintf("verify: %s: no playlist, manifest or transport stream: it begins with %q", e.name, e.head)
}

// Is reports whether target is ErrNothing.
func (e *otherError) Is(target error) bool { return target == ErrNothing }

// isPlaylist reports whether a file can be meant as a playlist: it begins as one, or
// it is called one and begins as a damaged one may, or is at least a text.
func isPlaylist(name string, b []byte) bool {
	if bytes.HasPrefix(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")), []byte("#EXTM3U")) {
		return true
	}
	if !strings.HasSuffix(name, ".m3u8") && !strings.HasSuffix(name, ".m3u") {
		return false
	}
	head := b[:min(len(b), 4096)]
	control := func(r rune) bool { return r < ' ' && r != '\t' && r != '\r' && r != '\n' || r == utf8.RuneError }
	return bytes.HasPrefix(head, []byte("#")) || !bytes.ContainsFunc(head[:max(len(head)-utf8.UTFMax, 0)], control)
}

func (c *checker) kind(k string) {
	switch {
	case c.report.Kind == "":
		c.report.Kind = k
	case !strings.Contains(c.report.Kind, k):
		c.report.Kind += "+" + k
	}
}

func isMPD(b []byte) bool { return strings.Contains(string(b[:min(len(b), 4096)]), "<MPD") }

// checkHLS checks a playlist and all it lists.
func (c *checker) checkHLS(name string, text []byte) error {
	lines, _ := reader(func(*hls.LineError) {}).Lines(text)
	if !hls.IsMultivariant(lines) {
		p := c.readMedia(name, "video", text, nil)
		if p == nil || p.m == nil {
			return nil
		}
		if p.m.IFramesOnly {
			p.role = "iframes"
		}
		return c.checkMedia(p)
	}
	x := c.readMulti(name, text)
	if x == nil {
		return nil
	}
	list, err := c.readListed(x)
	if err != nil {
		return err
	}
	for _, p := range list {
		c.independent = x.m.IndependentSegments
		if err := c.checkMedia(p); err != nil {
			return err
		}
	}
	c.checkTogether(x, list)
	c.checkFormats(x, func(uri string) *playlist {
		name, err := c.src.resolve(x.name, uri)
		if err != nil {
			return nil
		}
		return x.by[name]
	})
	return nil
}

// readListed reads the media playlists that a multivariant one lists, each once.
func (c *checker) readListed(x *multi) ([]*playlist, error) {
	var list []*playlist
	for _, ref := range x.refs() {
		name, err := c.src.resolve(x.name, ref.uri)
		if err != nil {
			c.note("%s:%d: %v; it is not loaded", x.name, ref.line, err)
			continue
		}
		if _, ok := x.by[name]; ok {
			continue
		}
		x.by[name] = nil
		a, err := c.src.fetch(c.ctx, name, 0, 0)
		if c.ctx.Err() != nil {
			return nil, c.ctx.Err()
		}
		if err != nil {
			c.find("H28", x.at(ref.line), "%s cannot be loaded: %v", ref.uri, err)
			continue
		}
		lines, _ := reader(func(*hls.LineError) {}).Lines(a.body)
		if hls.IsMultivariant(lines) {
			c.find("H8", x.at(ref.line), "%s is itself a multivariant playlist", ref.uri)
			continue
		}
		p := c.readMedia(name, ref.role, a.body, x.m.Variables())
		if p == nil || p.m == nil {
			continue
		}
		x.by[name] = p
		list = append(list, p)
	}
	return list, nil
}

// queryOf answers EXT-X-DEFINE:QUERYPARAM from the URL of the playlist.
func queryOf(raw string) func(string) (string, bool) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil
	}
	q := u.Query()
	return func(name string) (string, bool) { return q.Get(name), q.Has(name) }
}

// gone reports whether an error says that a file is not there.
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, errStatus) }
