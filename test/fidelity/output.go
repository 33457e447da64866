package fidelity

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// entry is one chunk in chunks.json, as any user reads it.
type entry struct {
	Timebase    string   `json:"timebase"`
	Start       int64    `json:"start"`
	Duration    int64    `json:"duration"`
	Offset      int64    `json:"offset"`
	Keyframes   []int64  `json:"keyframes"`
	Packets     int      `json:"packets"`
	Bytes       int64    `json:"bytes"`
	Independent bool     `json:"independent"`
	Reason      string   `json:"reason"`
	Files       []string `json:"files"`
}

// output is a folder that a cut wrote.
type output struct {
	dir        string
	chunks     []entry
	renditions []*rendition
}

// rendition is one media playlist. Its parts are what a player plays without a
// break: they end where the playlist says EXT-X-DISCONTINUITY or names another
// header.
type rendition struct {
	name        string
	independent bool // as its playlist promises
	parts       []*part
}

type part struct {
	init     string // of the folder; "" in TS
	segments []segment
	media    *media
}

// segment is a file of the output and where it lies in its joined part.
type segment struct {
	name       string // as chunks.json has it
	start, end int64
}

// read reads what was written to dir and joins the parts in scratch.
func read(ctx context.Context, dir, scratch string) (*output, error) {
	o := &output{dir: dir}
	b, err := os.ReadFile(filepath.Join(dir, "chunks.json"))
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &o.chunks); err != nil {
		return nil, err
	}
	lists, err := filepath.Glob(filepath.Join(dir, "*", "index.m3u8"))
	if err != nil {
		return nil, err
	}
	slices.Sort(lists)
	for _, list := range lists {
		r := &rendition{name: filepath.Base(filepath.Dir(list))}
		text, err := os.ReadFile(list)
		if err != nil {
			return nil, err
		}
		r.parse(string(text))
		for i, p := range r.parts {
			path := filepath.Join(scratch, fmt.Sprintf("%s-%d%s", r.name, i, ext(p)))
			if err := o.join(p, path); err != nil {
				return nil, err
			}
			if p.media, err = probe(ctx, path, true); err != nil {
				return nil, fmt.Errorf("%s, part %d: %w", r.name, i, err)
			}
		}
		o.renditions = append(o.renditions, r)
	}
	return o, nil
}

func ext(p *part) string {
	if p.init == "" {
		return ".ts"
	}
	return ".mp4"
}

// parse reads the playlist: only what a player needs to load the segments.
func (r *rendition) parse(text string) {
	header, fresh := "", true
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case line == "#EXT-X-INDEPENDENT-SEGMENTS":
			r.independent = true
		case line == "#EXT-X-DISCONTINUITY":
			fresh = true
		case strings.HasPrefix(line, "#EXT-X-MAP:"):
			_, uri, _ := strings.Cut(line, `URI="`)
			uri, _, _ = strings.Cut(uri, `"`)
			header, fresh = r.name+"/"+uri, true
		case line != "" && line[0] != '#':
			if fresh {
				r.parts = append(r.parts, &part{init: header})
			}
			fresh = false
			p := r.parts[len(r.parts)-1]
			p.segments = append(p.segments, segment{name: r.name + "/" + line})
		}
	}
}

// join writes a part as a player would load it.
func (o *output) join(p *part, path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var at int64
	add := func(name string) error {
		in, err := os.Open(filepath.Join(o.dir, name))
		if err != nil {
			return err
		}
		defer in.Close()
		n, err := io.Copy(f, in)
		at += n
		return err
	}
	if p.init != "" {
		if err := add(p.init); err != nil {
			return err
		}
	}
	for i := range p.segments {
		p.segments[i].start = at
		if err := add(p.segments[i].name); err != nil {
			return err
		}
		p.segments[i].end = at
	}
	return nil
}

// alone writes segments from..to of a part behind its header.
func (o *output) alone(p *part, from, to int, path string) (*media, error) {
	names := []string{}
	if p.init != "" {
		names = append(names, p.init)
	}
	for _, s := range p.segments[from:to] {
		names = append(names, s.name)
	}
	var all bytes.Buffer
	for _, name := range names {
		b, err := os.ReadFile(filepath.Join(o.dir, name))
		if err != nil {
			return nil, err
		}
		all.Write(b)
	}
	return &media{file: path, format: p.media.format}, os.WriteFile(path, all.Bytes(), 0o600)
}

// written is one track of the output, through all parts of its rendition.
type written struct {
	rendition *rendition
	index     int // of the stream in the rendition's files
	nth       int // of the video streams in them
	track
	parts [][]packet
}

// tracks lists what was written. The streams of a rendition are in the same order
// in all of its parts; one that a part has no packet of may be missing there.
func (o *output) tracks() (l []*written) {
	for _, r := range o.renditions {
		var mine []*written
		for n, p := range r.parts {
			seen := map[string]int{}
			video := 0
			for i := range p.media.tracks {
				t := &p.media.tracks[i]
				k := seen[t.String()]
				seen[t.String()]++
				w := nth(mine, t, k)
				if w == nil {
					w = &written{rendition: r, index: i, nth: video, track: *t, parts: make([][]packet, len(r.parts))}
					mine = append(mine, w)
				}
				if t.kind == "video" {
					video++
				}
				w.parts[n] = t.packets
			}
		}
		for _, w := range mine {
			w.packets = slices.Concat(w.parts...)
			if len(w.packets) > 0 {
				l = append(l, w)
			}
		}
	}
	return l
}

func nth(l []*written, t *track, k int) *written {
	for _, w := range l {
		if w.String() == t.String() {
			if k == 0 {
				return w
			}
			k--
		}
	}
	return nil
}
