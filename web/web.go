// Package web has the pages that the server shows.
package web

import (
	"embed"
	"html/template"
	"io/fs"
	"net/http"

	"github.com/cleave-video/cleave/httpio"
)

//go:embed player.html home.html frames.html
var pages embed.FS

//go:embed icon.svg
var icon []byte

// framesScript is the script of the page of frames.
//
//go:embed frames.js
var framesScript []byte

// dist holds hls.js and mpegts.js, if they were there when this was built: see fetch.sh.
//
//go:embed all:dist
var dist embed.FS

// Pages renders the pages. It is immutable.
type Pages struct {
	templates *template.Template
	hls       []byte // hls.js, or nil
	flv       []byte // mpegts.js, or nil
}

// New returns the pages; it panics only if they are not valid templates.
func New() *Pages {
	return &Pages{templates: template.Must(template.ParseFS(pages, "*.html")), hls: built("hls.min.js"), flv: built("mpegts.js")}
}

// built returns a script that was there when this was built, or nil.
func built(name string) []byte {
	b, err := fs.ReadFile(dist, "dist/"+name)
	if err != nil {
		return nil
	}
	return b
}

// Player answers with the page that plays the stream called name, or waits for it: known
// says whether it is there.
func (p *Pages) Player(w http.ResponseWriter, name string, known bool) {
	p.render(w, "player.html", map[string]any{"Name": name, "Known": known, "HLS": p.hls != nil, "FLV": p.flv != nil})
}

// Home is what the list of streams shows.
type Home struct {
	Streams []Stream
	Publish []string // URLs to publish to
}

// Stream is one of the list.
type Stream struct {
	Name, State string
	Live        bool
	Tracks      []string
}

// Frames answers with the page that shows single frames of what is called name: of a
// stream, or of a file, which is not live.
func (p *Pages) Frames(w http.ResponseWriter, name string, live bool) {
	p.render(w, "frames.html", map[string]any{"Name": name, "Live": live})
}

// FramesScript answers with the script of that page.
func (p *Pages) FramesScript(w http.ResponseWriter, _ *http.Request) {
	script(w, framesScript, "no-cache")
}

// Home answers with the list of streams.
func (p *Pages) Home(w http.ResponseWriter, h Home) { p.render(w, "home.html", h) }

// Icon answers with the picture that browsers show beside a page's title.
func (p *Pages) Icon(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "image/svg+xml")
	w.Header().Set("Cache-Control", "public, max-age=86400")
	_, _ = w.Write(icon)
}

// maxPage is more than a page has.
const maxPage = 1 << 20

func (p *Pages) render(w http.ResponseWriter, page string, data any) {
	httpio.Limit(w, maxPage)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	_ = p.templates.ExecuteTemplate(w, page, data) // a client that is gone needs no answer
}

// HLSScript answers with hls.js.
func (p *Pages) HLSScript(w http.ResponseWriter, _ *http.Request) {
	script(w, p.hls, "public, max-age=3600")
}

// FLVScript answers with mpegts.js.
func (p *Pages) FLVScript(w http.ResponseWriter, _ *http.Request) {
	script(w, p.flv, "public, max-age=3600")
}

// script answers with a script; 404 if this was built without it.
func script(w http.ResponseWriter, b []byte, cache string) {
	if b == nil {
		http.Error(w, "built without it: npm was missing", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
	w.Header().Set("Cache-Control", cache)
	httpio.Limit(w, int64(len(b)))
	_, _ = w.Write(b)
}
