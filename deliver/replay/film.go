package replay

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/format/mp4"
	"github.com/cleave-video/cleave/index"
	"github.com/cleave-video/cleave/live"
)

// film is a range as one MP4: a header, and the fragments as they are stored, each with the
// times that it has in this file.
type film struct {
	h      *Handler
	name   string
	tracks []*filmTrack
	pieces []piece
	header []byte
	size   int64
	span   period // of what it has, by the wall clock
	tag    string
	plain  bool // the bytes of fragments stay as they are: the header has all samples

	cut   *exactly // nil: at key frames
	chain chain
	run   run
	from  key  // where it begins in the first chunk
	done  bool // nothing comes behind
	until time.Time
}

// filmTrack is a track of a film.
type filmTrack struct {
	name  string
	scale uint32
	video bool
	inits []string
	heads []*head
	delay int64 // what is added to all times so that none is negative
	end   int64 // where its last piece ends, without delay

	shift int64 // of the run
	begun bool  // in the run
}

// run is a part of the film without a discontinuity.
type run struct {
	some  bool
	base  int64 // where it begins, in ticks of the lead
	at    int64 // that is there in the film
	end   int64 // where it ends
	delay int64 // of decoding, of the lead
}

// piece is a run of bytes of a film.
type piece struct {
	at, size int64 // in the film, behind the header
	track    int32
	// data is it, or it lies in an object and has fragments that get shift.
	data        []byte
	object      string
	off         int64
	shift       int64
	description uint32
}

// key is a place in a chunk where decoding can begin.
type key struct {
	some bool
	seq  int64 // of the chunk
	time int64 // ticks of the chunk
	off  int64 // in its object
}

// slack is by how much a time that was read off a playlist, which has milliseconds, is
// earlier than what it was meant for.
const slack = time.Millisecond - time.Nanosecond

// begin returns where the film of a range begins: at the last key frame that is not later
// than asked for.
func (h *Handler) begin(ctx context.Context, name string, p period) (from time.Time, k key, err error) {
	if kept := h.cfg.Hub.Horizon(name); p.From.Before(kept) {
		p.From = kept
	}
	at := p.From.Add(slack)
	var first index.Entry
	err = index.Pass(ctx, h.cfg.Index, name, at, p.To, func(e *index.Entry) bool {
		first = index.Entry{Wall: e.Wall, Timebase: e.Timebase, Duration: e.Duration, Seq: e.Seq, Start: e.Start}
		return false
	})
	if err != nil {
		return from, k, err
	}
	if first.Wall.IsZero() {
		return from, k, h.nothing(ctx, name, p)
	}
	if first.Wall.After(at) {
		return first.Wall, k, nil
	}
	e, found, err := h.cfg.Index.Seek(ctx, name, at)
	if err != nil || e.Wall.Before(h.cfg.Hub.Horizon(name)) {
		return first.Wall, k, nil // it begins where it can
	}
	return e.Wall, key{found.Size > 0, e.Seq, found.Time, found.Offset}, nil
}

// film plans the film of a range, cut at key frames.
func (h *Handler) film(ctx context.Context, name string, p period) (*film, error) {
	f, err := h.plan(ctx, name, p, nil)
	if err != nil {
		return nil, err
	}
	return f, f.finish()
}

// plan finds the pieces of a film.
func (h *Handler) plan(ctx context.Context, name string, p period, cut *exactly) (*film, error) {
	from, k, err := h.begin(ctx, name, p)
	if err != nil {
		return nil, err
	}
	f := &film{h: h, name: name, from: k, cut: cut, until: p.To}
	if now := h.cfg.Hub.Now(); f.until.IsZero() || f.until.After(now) {
		f.until = now
	}
	var failed error
	until := p.To
	if cut != nil {
		until = until.Add(leadOut)
	}
	err = index.Pass(ctx, h.cfg.Index, name, from, until, func(e *index.Entry) bool {
		if k.some && e.Seq < k.seq {
			return true // it ends behind the beginning of the next: dates may be corrected
		}
		if e.End().Sub(from) > maxPeriod {
			failed = bad(fmt.Sprintf("the range is longer than %v: ask for less at a time", maxPeriod))
			return false
		}
		failed = f.add(ctx, e, p.To)
		return failed == nil && !f.done
	})
	if err == nil {
		err = failed
	}
	if err == nil && len(f.pieces) == 0 {
		err = missing("nothing of that time was stored that can be decoded")
	}
	return f, err
}

// lead returns which of a chunk's tracks decides where it begins.
func lead(e *index.Entry) int {
	i := slices.IndexFunc(e.Tracks, func(t index.Track) bool { return isVideo(t.Name) })
	return max(i, 0)
}

func isVideo(name string) bool { return strings.HasPrefix(name, av.Video.String()) }

// add puts a chunk into the film, up to the first key frame that is not before to.
func (f *film) add(ctx context.Context, e *index.Entry, to time.Time) error {
	if e.Object == "" || len(e.Tracks) == 0 {
		return nil
	}
	if list := live.Received(e.Tracks); len(list) < len(e.Tracks) {
		was := *e
		e, was.Tracks = &was, list
	}
	if slices.ContainsFunc(e.Tracks, func(x index.Track) bool { return x.KeyID != [16]byte{} }) {
		return &refusal{403, "the stream is encrypted at that time: it is played by HLS, not downloaded"}
	}
	from := key{time: e.Start}
	if len(f.pieces) == 0 {
		var ok bool
		if from, ok = f.first(e); !ok {
			return nil
		}
	}
	until := f.last(e, from, to)
	broke := f.chain.next(e) || !f.run.some
	end := e.Start + e.Duration
	if until.some {
		end = until.time
	}
	if f.span.From.IsZero() {
		f.span.From = e.Wall.Add(e.Timebase.Duration(from.time - e.Start))
	}
	f.span.To = e.Wall.Add(e.Timebase.Duration(end - e.Start))
	if broke {
		if err := f.begin(ctx, e, from); err != nil {
			return err
		}
	}
	f.run.end = max(f.run.end, end)
	if f.cut != nil {
		f.cut.place(f, e)
	}
	f.done = until.some
	n := lead(e)
	for i := range e.Tracks {
		if err := f.share(ctx, e, i, i == n, from, until); err != nil {
			return err
		}
	}
	return nil
}

// last returns the key frame of a chunk that the film ends before, if it is in there. One
// that is cut to the frame has the next GOP, too: what is shown earlier may follow its key.
func (f *film) last(e *index.Entry, from key, to time.Time) key {
	if to.IsZero() {
		return key{}
	}
	for _, k := range e.Keys {
		if at := e.Wall.Add(e.Timebase.Duration(k.Time - e.Start)); at.Add(slack).Before(to) || k.Time <= from.time && len(f.pieces) == 0 {
			continue
		}
		if f.cut != nil && !f.cut.behind {
			f.cut.behind = true
			continue
		}
		return key{true, e.Seq, k.Time, k.Offset}
	}
	return key{}
}

// first returns where the film begins in its first chunk; false: it cannot begin there.
func (f *film) first(e *index.Entry) (key, bool) {
	switch {
	case f.from.some && f.from.seq == e.Seq:
		return f.from, f.from.some
	case e.Independent:
		return key{time: e.Start}, true
	case len(e.Keys) > 0:
		return key{true, e.Seq, e.Keys[0].Time, e.Keys[0].Offset}, true
	}
	return key{}, false
}

// begin begins a run with a chunk.
func (f *film) begin(ctx context.Context, e *index.Entry, from key) error {
	at := int64(0)
	if f.run.some {
		at = f.run.at + f.run.end - f.run.base
	}
	last := f.run.delay
	f.run = run{some: true, base: from.time, at: at, end: from.time, delay: last}
	for _, t := range f.tracks {
		t.begun = false
	}
	t := &e.Tracks[lead(e)]
	if t.Gap || !isVideo(t.Name) {
		return nil
	}
	off := t.Offset
	if from.some {
		off = from.off
	}
	dts, err := f.decodeTime(ctx, e.Object, off, t.Offset+t.Size-off)
	if err != nil {
		return err
	}
	// Pictures that are decoded earlier than those of the run before would be decoded in
	// the middle of it.
	f.run.delay = max(0, from.time-dts)
	if at > 0 {
		f.run.at += max(0, f.run.delay-last)
	}
	return nil
}

// decodeTime returns the decode time of the first fragment in an object's bytes.
func (f *film) decodeTime(ctx context.Context, object string, off, size int64) (int64, error) {
	o, err := f.h.cfg.Store.Open(ctx, object)
	if err != nil {
		return 0, err
	}
	defer o.Close()
	list, err := firstSamples(o, off, size)
	if err != nil {
		return 0, &index.CorruptError{Path: object, Offset: off, Why: err.Error()}
	}
	return list[0].DTS, nil
}

// share puts a track's share of a chunk into the film.
func (f *film) share(ctx context.Context, e *index.Entry, i int, leads bool, from, until key) error {
	x := &e.Tracks[i]
	if x.Gap {
		return nil
	}
	t, n, err := f.track(ctx, e, x)
	if err != nil {
		return err
	}
	start := x.Start
	if leads {
		start = from.time
	}
	tb := av.Timebase{Num: 1, Den: t.scale}
	if !t.begun {
		t.begun = true
		t.shift = e.Timebase.Rescale(f.run.at-f.run.base, tb)
		t.shift += max(0, t.end-start-t.shift)
		least := start
		if leads {
			least -= f.run.delay
		}
		t.delay = max(t.delay, -(least + t.shift))
	}
	t.end = max(t.end, x.Start+x.Duration+t.shift)
	p := piece{track: int32(n), object: e.Object, off: x.Offset, size: x.Size, shift: t.shift}
	p.description = uint32(slices.Index(t.inits, x.Init) + 1)
	switch {
	case leads:
		if until.some {
			p.size = until.off - p.off
			t.end = until.time + t.shift
		}
		if from.some {
			p.off, p.size = from.off, p.size-(from.off-p.off)
		}
	case !t.video && (from.some || until.some):
		if p, err = f.trim(ctx, e, x, p, from, until); err != nil {
			return err
		}
	}
	if p.size <= 0 {
		return nil
	}
	p.at = f.size
	f.size += p.size
	f.pieces = append(room(f.pieces, e, f.span.From, f.until), p)
	return nil
}

// maxInits is how many initialization sections a track of a film may have.
const maxInits = 64

// track returns the film's track for a share, with its initialization section.
func (f *film) track(ctx context.Context, e *index.Entry, x *index.Track) (*filmTrack, int, error) {
	n := slices.IndexFunc(f.tracks, func(t *filmTrack) bool { return t.name == x.Name })
	if n >= 0 && f.tracks[n].inits[len(f.tracks[n].inits)-1] == x.Init {
		return f.tracks[n], n, nil
	}
	h, err := f.h.head(ctx, f.name, x.Init)
	if err != nil {
		return nil, 0, err
	}
	if n < 0 {
		n = len(f.tracks)
		f.tracks = append(f.tracks, &filmTrack{name: x.Name, scale: x.Timescale, video: h.track.Kind == av.Video, inits: []string{x.Init}, heads: []*head{h}})
		return f.tracks[n], n, nil
	}
	t := f.tracks[n]
	if t.scale != x.Timescale || t.heads[0].track.Codec != h.track.Codec || len(t.inits) == maxInits {
		return nil, 0, &refusal{409, fmt.Sprintf("%s changes at %s in a way that one file cannot have: ask for the range up to there, or from there on", x.Name, shown(e.Wall))}
	}
	if !slices.Contains(t.inits, x.Init) {
		t.inits, t.heads = append(t.inits, x.Init), append(t.heads, h)
	}
	return t, n, nil
}

// finish makes the header.
func (f *film) finish() error {
	var tracks []mp4.Recorded
	for i, t := range f.tracks {
		r := mp4.Recorded{ID: uint32(i + 1), Delay: t.delay}
		for _, h := range t.heads {
			r.Tracks = append(r.Tracks, h.track)
		}
		tracks = append(tracks, r)
	}
	var err error
	if f.header, err = mp4.AppendRecording(nil, tracks); err != nil {
		return &refusal{415, err.Error()}
	}
	return f.seal()
}

// seal makes the tag, from what tells one film of a stream from every other: chunks do not
// change, and what is between two of them neither, but for what could not be stored.
func (f *film) seal() error {
	n := len(f.pieces)
	sum := sha256.New()
	sum.Write(f.header)
	b := binary.AppendVarint(binary.AppendVarint(nil, int64(n)), f.size)
	for _, p := range []*piece{&f.pieces[0], &f.pieces[n-1]} {
		b = binary.AppendVarint(binary.AppendVarint(binary.AppendVarint(b, p.off), p.size), p.shift)
		b = append(append(b, p.object...), p.data...)
	}
	sum.Write(b)
	f.tag = `"` + base64.RawURLEncoding.EncodeToString(sum.Sum(nil)[:18]) + `"`
	f.size += int64(len(f.header))
	return nil
}
