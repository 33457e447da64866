package cut

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/chunk"
	"github.com/cleave-video/cleave/codec"
	"github.com/cleave-video/cleave/format/mp4"
	"github.com/cleave-video/cleave/format/ts"
	"github.com/cleave-video/cleave/pack"
	"github.com/cleave-video/cleave/seal"
	"github.com/cleave-video/cleave/timeline"
)

// rendition is one playlist: a track as CMAF, or tracks multiplexed as TS.
type rendition struct {
	name    string  // folder and playlist: "video0"
	kind    av.Kind // of the track that it was made for
	order   int     // of that among the tracks of its kind
	tracks  []int   // of the set being written; the first one is the rendition's clock
	current []av.Track
	info    codec.Info // of the newest first track of its kind
	infos   []codec.Info
	names   string       // of all codecs that its tracks ever had
	main    string       // of those of its kind
	headed  []codec.Info // of the first track, for each of inits
	scale   uint32       // ticks a second of its segments' times
	factor  int64
	delay   int64 // of decode before presentation, taken off by the newest header

	dependent bool  // a segment does not decode alone
	td        int64 // EXT-X-TARGETDURATION
	peak      int64 // bit rate
	average   int64

	inits    []string // names of the headers so far
	sequence uint32   // of the next moof
	muxer    *ts.Muxer
	segs     []segment
	keys     []pack.KeyRange // of all segments

	seal     *seal.Track // by sample; nil: it is not
	initKeys [][16]byte  // IDs of the keys that inits name, with seal
	opaque   int         // slices of earlier tracks that could not be read

	rate  timeline.Rate // of the first track
	clock av.Timebase   // of rate
	seg   pack.Segment
	buf   []byte
}

// segment is one file of a rendition, for playlists and manifest.
type segment struct {
	start, end int64 // first and last presentation, output ticks; end of the last one only counts at a gap
	size       int64
	init       int32    // index into inits
	period     int32    // counts the new timelines and configurations
	key        int32    // index into sealing.keys
	keys       int32    // how many of rendition.keys are its and earlier segments'
	discont    bool     // the first of a period that is not the first
	iv         [16]byte // of a segment encrypted as a whole
}

// file is the name of segment i.
func (r *rendition) file(i int) string {
	kind := "m4s"
	if r.muxer != nil {
		kind = "ts"
	}
	return fmt.Sprintf("%s/%05d.%s", r.name, i+1, kind)
}

// keysOf are the key frames of segment i.
func (r *rendition) keysOf(i int) []pack.KeyRange {
	from := int32(0)
	if i > 0 {
		from = r.segs[i-1].keys
	}
	return r.keys[from:r.segs[i].keys]
}

func (r *rendition) video() bool { return r.kind == av.Video }

// pictures reports whether the rendition's first track in c is video: that of TS may have
// ended, and its sound gone on.
func (r *rendition) pictures(c *chunk.Chunk) bool { return c.Tracks[r.tracks[0]].Kind == av.Video }

// fits returns what is wrong with a track for the container.
func (r *run) fits(t *av.Track) error {
	if r.cfg.Container == TS {
		_, err := ts.NewMuxer([]av.Track{*t})
		return err
	}
	return mp4.Fits(t)
}

// fault says in which track of which input something is wrong.
func (r *run) fault(i int, t *av.Track, err error) error {
	return fmt.Errorf("cut: %s: track %d (%s %s): %w", r.cfg.Input, i, t.Kind, t.Codec, err)
}

// setTracks makes or renews the renditions for a new set of tracks. A track goes on in
// the rendition of its kind, and of its order among those of its kind.
func (r *run) setTracks(c *chunk.Chunk) error {
	tracks := c.Tracks
	r.tracks = tracks
	for _, rend := range r.rends {
		rend.tracks = nil
	}
	if r.cfg.Container == TS {
		return r.setTS(tracks)
	}
	var orders [av.Data + 1]int
	for i := range tracks {
		t := &tracks[i]
		header, err := mp4.AppendInit(nil, t, uint32(i+1), delay(c, i))
		if err != nil {
			if !errors.Is(err, av.ErrUnsupported) {
				return r.fault(i, t, err)
			}
			continue // begin has left it out
		}
		rend, err := r.rendition(t.Kind, orders[t.Kind])
		if err != nil {
			return err
		}
		orders[t.Kind]++
		rend.tracks = []int{i}
		if err := r.describe(rend, tracks); err != nil {
			return err
		}
		rend.delay = delay(c, i)
		if r.seal.scheme().Samples() {
			if header, err = r.sealTrack(rend, i); err != nil {
				return err
			}
		}
		if err := r.writeInit(rend, header); err != nil {
			return err
		}
	}
	return nil
}

// setTS multiplexes the first video, the first audio and all data; each further
// audio and video track is a rendition of its own. So is the first audio that came
// before any video, for that is where it goes on; and one that came with video goes on in
// the video's rendition when that has ended.
func (r *run) setTS(tracks []av.Track) error {
	var of [av.Data + 1][]int
	for i := range tracks {
		t := &tracks[i]
		if err := r.fits(t); err != nil {
			if !errors.Is(err, av.ErrUnsupported) {
				return r.fault(i, t, err)
			}
			continue // begin has left it out
		}
		of[t.Kind] = append(of[t.Kind], i)
	}
	video, audio := of[av.Video], of[av.Audio]
	var main, sound []int
	main = append(main, video[:min(1, len(video))]...)
	switch {
	case len(audio) == 0:
	case r.find(av.Audio, 0) != nil, len(video) == 0 && r.find(av.Video, 0) == nil:
		sound = append(sound, audio[0])
	default:
		main = append(main, audio[0])
	}
	if len(main) > 0 {
		main = append(main, of[av.Data]...)
	} else {
		sound = append(sound, of[av.Data]...)
	}
	if err := errors.Join(r.renewTS(av.Video, 0, main, tracks), r.renewTS(av.Audio, 0, sound, tracks)); err != nil {
		return err
	}
	for _, kind := range [...]av.Kind{av.Video, av.Audio} {
		for k := 1; k < len(of[kind]); k++ {
			if err := r.renewTS(kind, k, of[kind][k:k+1], tracks); err != nil {
				return err
			}
		}
	}
	return nil
}

// renewTS makes or renews the rendition that has a set of tracks, if it is not empty.
func (r *run) renewTS(kind av.Kind, order int, set []int, tracks []av.Track) error {
	if len(set) == 0 {
		return nil
	}
	rend, err := r.rendition(kind, order)
	if err != nil {
		return err
	}
	rend.tracks = set
	if err := r.describe(rend, tracks); err != nil {
		return err
	}
	if rend.muxer, err = ts.NewMuxer(rend.current); err != nil {
		return fmt.Errorf("cut: %s: tracks %d: %w", r.cfg.Input, set, err)
	}
	rend.scale, rend.factor = 90000, 1
	return nil
}

func (r *run) leaveOut(i int, t *av.Track) {
	text := fmt.Sprintf("track %d (%s %s): %s cannot carry it", i, t.Kind, t.Codec, r.cfg.Container)
	if !slices.Contains(r.report.LeftOut, text) {
		r.report.LeftOut = append(r.report.LeftOut, text)
	}
}

// find returns the rendition that was made for a track of that kind and order, or nil.
func (r *run) find(kind av.Kind, order int) *rendition {
	for _, rend := range r.rends {
		if rend.kind == kind && rend.order == order {
			return rend
		}
	}
	return nil
}

// rendition is find that makes what is not there. Names are counted for ever.
func (r *run) rendition(kind av.Kind, order int) (*rendition, error) {
	if rend := r.find(kind, order); rend != nil {
		return rend, nil
	}
	n := 0
	for _, rend := range r.rends {
		if rend.kind == kind {
			n++
		}
	}
	rend := &rendition{name: fmt.Sprintf("%s%d", kind, n), kind: kind, order: order, sequence: 1}
	r.rends = append(r.rends, rend)
	return rend, r.out.mkdir(rend.name)
}

// describe takes over the rendition's tracks.
func (r *run) describe(rd *rendition, tracks []av.Track) error {
	rd.current, rd.infos = nil, nil
	for _, i := range rd.tracks {
		info, err := codec.Describe(&tracks[i])
		if err != nil {
			return r.fault(i, &tracks[i], err)
		}
		rd.current = append(rd.current, tracks[i])
		rd.infos = append(rd.infos, info)
		rd.names = join(rd.names, info.String)
	}
	if rd.current[0].Kind == rd.kind {
		rd.info, rd.clock = rd.infos[0], rd.current[0].Timebase
		rd.main = join(rd.main, rd.info.String)
	}
	rd.scale, rd.factor = rd.current[0].Timebase.Timescale()
	return nil
}

func (r *run) writeInit(rend *rendition, header []byte) error {
	name := fmt.Sprintf("%s/init.mp4", rend.name)
	if n := len(rend.inits); n > 0 {
		name = fmt.Sprintf("%s/init-%d.mp4", rend.name, n+1)
	}
	rend.inits, rend.headed = append(rend.inits, name), append(rend.headed, rend.info)
	return r.out.write(name, [][]byte{header})
}

// delay is how long before its presentation a track of c must be decoded, in
// output ticks.
func delay(c *chunk.Chunk, track int) int64 {
	packets := c.Runs[track]
	if len(packets) == 0 || c.Tracks[track].Kind != av.Video {
		return 0
	}
	_, factor := c.Tracks[track].Timebase.Timescale()
	start, _ := pack.Presented(packets)
	return max(start-packets[0].DTS, 0) * factor
}

// place chooses the one offset of the output: the fewest whole seconds that keep
// every decode time, and in TS every PCR, from being negative.
func (r *run) place(c *chunk.Chunk) {
	r.placed = true
	for i, packets := range c.Runs {
		if len(packets) == 0 {
			continue
		}
		tb, dts := c.Tracks[i].Timebase, packets[0].DTS
		if r.cfg.Container == CMAF {
			_, factor := tb.Timescale()
			dts += delay(c, i) / factor
		}
		first := tb.RescaleFloor(dts, av.Clock90k)
		if r.cfg.Container == TS {
			first -= ts.PCRLead
		}
		if first < 0 {
			r.offset = max(r.offset, (-first+89999)/90000)
		}
	}
}

// write writes one chunk in every rendition.
func (r *run) write(c *chunk.Chunk) error {
	if !r.placed {
		r.place(c)
	}
	if r.seal != nil {
		if err := r.beginSealed(); err != nil {
			return err
		}
	}
	changed := len(r.tracks) == 0 || &c.Tracks[0] != &r.tracks[0]
	if changed {
		if err := r.setTracks(c); err != nil {
			return err
		}
	}
	r.discont = (c.Discont || changed) && r.report.Chunks > 0
	if r.discont {
		r.period++
	}
	var files []string
	for _, rend := range r.rends {
		if !rend.has(c) {
			rend.rate.Break()
			continue
		}
		var s segment
		var err error
		if rend.muxer != nil {
			s, err = r.writeTS(rend, c)
		} else {
			s, err = r.writeCMAF(rend, c)
		}
		if err != nil {
			return err
		}
		s.period, s.keys = int32(r.period), int32(len(rend.keys))
		if r.seal != nil {
			s.key = int32(len(r.seal.keys) - 1)
		}
		s.discont = len(rend.segs) > 0 && rend.segs[len(rend.segs)-1].period != s.period
		rend.watch(c)
		files = append(files, rend.file(len(rend.segs)))
		rend.dependent = rend.dependent || rend.dependsIn(c)
		rend.segs = append(rend.segs, s)
		r.report.Bytes += s.size
	}
	if err := r.note(c, files); err != nil {
		return err
	}
	if r.cfg.Progress != nil {
		r.cfg.Progress(r.in.Progress())
	}
	return nil
}

// has reports whether any of the rendition's tracks has packets in c.
func (rd *rendition) has(c *chunk.Chunk) bool {
	for _, i := range rd.tracks {
		if i < len(c.Runs) && len(c.Runs[i]) > 0 {
			return true
		}
	}
	return false
}

// dependsIn reports whether the rendition's segment of c does not decode alone. Cuts
// are at key frames of the lead; a second video track has its own.
func (rd *rendition) dependsIn(c *chunk.Chunk) bool {
	i := rd.tracks[0]
	if i == c.Lead || !rd.pictures(c) {
		return i == c.Lead && !c.Independent
	}
	return c.Runs[i][0].Flags&(av.Key|av.Open|av.Gradual) != av.Key
}

// watch follows the frame rate.
func (rd *rendition) watch(c *chunk.Chunk) {
	if !rd.pictures(c) {
		rd.rate.Break()
		return
	}
	run := c.Runs[rd.tracks[0]]
	for i := range run {
		rd.rate.Add(run[i].DTS)
	}
}

func (r *run) writeCMAF(rend *rendition, c *chunk.Chunk) (segment, error) {
	packets := c.Runs[rend.tracks[0]]
	s := segment{init: int32(len(rend.inits) - 1)}
	style := pack.Style{
		TrackID: uint32(rend.tracks[0] + 1), Timebase: rend.current[0].Timebase, Offset: r.offset, Delay: rend.delay, Video: rend.video(),
	}
	if rend.seal != nil {
		style.Seal, style.Period = rend.seal, r.seal.period
	}
	rend.sequence = rend.seg.Render(packets, style, rend.sequence)
	s.size = rend.seg.Size
	s.start, s.end = pack.Presented(packets)
	off := r.offset * int64(rend.scale)
	s.start, s.end = s.start*rend.factor+off, s.end*rend.factor+off
	if rend.video() {
		for _, k := range rend.seg.Keys {
			k.PTS = k.PTS*rend.factor + off
			rend.keys = append(rend.keys, k)
		}
	}
	err := r.writeSegment(rend.file(len(rend.segs)), &s, rend.seg.Bufs)
	return s, err
}
