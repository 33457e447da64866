package server

import (
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/cleave-video/cleave/deliver/replay"
	"github.com/cleave-video/cleave/ingest/pull"
	"github.com/cleave-video/cleave/live"
	"github.com/cleave-video/cleave/store/spool"
)

// admin answers
//
//	GET    /healthz           200 while the process serves
//	GET    /readyz            200 while publishers are taken, else 503
//	GET    /metrics           what Prometheus scrapes
//	GET    /v1/streams        the streams and the declared sources
//	POST   /v1/streams        declares a source: {"name": …, "url": …, "on_demand": true}
//	DELETE /v1/streams/NAME   ends a declared source
//	GET    /v1/recordings     what is kept of all streams
//	GET    /v1/responses      the strategies of answers
//	POST   /v1/responses      changes one: {"kind": "feed", "strategy": "buffered"}
type admin struct {
	hub     *live.Hub
	spool   *spool.Store // nil: none
	sources *pull.Set
	replay  *replay.Handler
	ready   func() bool

	responses *responses
}

// streamInfo is a stream, or a source that is none yet.
type streamInfo struct {
	Name   string      `json:"name"`
	Live   bool        `json:"live"` // somebody publishes
	Source *sourceInfo `json:"source,omitempty"`
}

// sourceInfo is a declared source.
type sourceInfo struct {
	URL      string    `json:"url"`
	OnDemand bool      `json:"on_demand,omitempty"`
	State    string    `json:"state"`
	Since    time.Time `json:"since"`
	Failed   int       `json:"failed"` // attempts in a row
	Error    string    `json:"last_error,omitempty"`
	Bytes    int64     `json:"bytes"`
}

// handler routes. A page of another site that a browser shows cannot ask.
func (a *admin) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !a.ready() {
			plain(w, http.StatusServiceUnavailable, "ending")
			return
		}
		plain(w, http.StatusOK, "ready")
	})
	mux.Handle("GET /metrics", newMetrics(a.hub, a.spool, a.sources, a.responses).handler())
	mux.HandleFunc("GET /v1/streams", func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, http.StatusOK, a.list()) })
	mux.HandleFunc("POST /v1/streams", a.add)
	mux.HandleFunc("GET /v1/recordings", a.recordings)
	mux.HandleFunc("DELETE /v1/streams/{name...}", a.remove)
	mux.HandleFunc("GET /v1/responses", func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, http.StatusOK, a.responses.list()) })
	mux.HandleFunc("POST /v1/responses", a.responses.set)
	return http.NewCrossOriginProtection().Handler(mux)
}

func plain(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(text + "\n")) // a client that is gone needs no answer
}

func answerJSON(w http.ResponseWriter, code int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		plain(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(append(b, '\n'))
}

func fault(w http.ResponseWriter, code int, err error) {
	answerJSON(w, code, map[string]string{"error": err.Error()})
}

// list returns every stream and source, by name.
func (a *admin) list() []streamInfo {
	all := make(map[string]*streamInfo)
	for _, name := range a.hub.Names() {
		if s := a.hub.Lookup(name); s != nil {
			all[name] = &streamInfo{Name: name, Live: s.Edge().Live}
		}
	}
	for _, st := range a.sources.List() {
		if all[st.Name] == nil {
			all[st.Name] = &streamInfo{Name: st.Name}
		}
		info := &sourceInfo{URL: st.URL, OnDemand: st.OnDemand, State: st.State.String(), Since: st.Since, Failed: st.Failed, Bytes: st.Bytes}
		if st.LastErr != nil {
			info.Error = st.LastErr.Error()
		}
		all[st.Name].Source = info
	}
	out := make([]streamInfo, 0, len(all))
	for _, s := range all {
		out = append(out, *s)
	}
	slices.SortFunc(out, func(x, y streamInfo) int { return strings.Compare(x.Name, y.Name) })
	return out
}

// recordings lists what is kept.
func (a *admin) recordings(w http.ResponseWriter, r *http.Request) {
	list, err := a.replay.All(r.Context())
	if err != nil {
		fault(w, http.StatusInternalServerError, err)
		return
	}
	answerJSON(w, http.StatusOK, list)
}

// maxRequest bounds the bytes of a request.
const maxRequest = 64 << 10

// add declares a source.
func (a *admin) add(w http.ResponseWriter, r *http.Request) {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		fault(w, http.StatusUnsupportedMediaType, errors.New("send application/json"))
		return
	}
	var src struct {
		Name, URL string
		OnDemand  bool `json:"on_demand"`
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest))
	d.DisallowUnknownFields()
	if err := d.Decode(&src); err != nil {
		fault(w, http.StatusBadRequest, err)
		return
	}
	if scheme, _, _ := strings.Cut(src.URL, ":"); strings.EqualFold(scheme, "file") {
		fault(w, http.StatusForbidden, errFileSource)
		return
	}
	switch err := a.sources.Add(pull.Source{Name: src.Name, URL: src.URL, OnDemand: src.OnDemand}); {
	case errors.Is(err, pull.ErrExists):
		fault(w, http.StatusConflict, err)
	case errors.Is(err, pull.ErrMany):
		fault(w, http.StatusServiceUnavailable, err)
	case err != nil:
		fault(w, http.StatusBadRequest, err)
	default:
		w.Header().Set("Location", "/v1/streams/"+src.Name)
		answerJSON(w, http.StatusCreated, map[string]string{"name": src.Name})
	}
}

// remove ends a declared source.
func (a *admin) remove(w http.ResponseWriter, r *http.Request) {
	if !a.sources.Remove(r.PathValue("name")) {
		fault(w, http.StatusNotFound, errors.New("no source is declared under this name"))
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
