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
	name    string // folder and playlist: "video0"
	tracks  []int  // of the input; the first one is the rendition's clock
	current []av.Track
	info    codec.Info // of the first track
	infos   []codec.Info
	headed  []codec.Info // of the first track, for each of inits
	scale   uint32       // ticks a second of its segments' times
	factor  int64
	delay   int64 // of decode before presentation, taken off by the newest header

	dependent bool  // a segment does not decode alone
	td        int64 // EXT-X-TARGETDURATION

	inits    []string // names of the headers so far
	sequence uint32   // of the next moof
	muxer    *ts.Muxer
	segs     []segment
	keys     []pack.KeyRange // of all segments

	seal     *seal.Track // by sample; nil: it is not
	initKeys [][16]byte  // IDs of the keys that inits name, with seal
	opaque   int         // slices of earlier tracks that could not be read

	rate timeline.Rate // of the first track
	seg  pack.Segment
	buf  []byte
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

func (r *rendition) video() bool { return r.current[0].Kind == av.Video }

// carried returns the tracks as the chunker is to see them: one that the container cannot
// carry is data to it, so that its key frames do not decide where the others are cut.
func (r *run) carried(tracks []av.Track) []av.Track {
	out := slices.Clone(tracks)
	r.left = make([]bool, len(out))
	for i := range out {
		if out[i].Kind == av.Data {
			continue
		}
		var err error
		if r.cfg.Container == TS {
			_, err = ts.NewMuxer(out[i : i+1])
		} else {
			_, err = mp4.AppendInit(nil, &out[i], 1, 0)
		}
		if errors.Is(err, av.ErrUnsupported) {
			r.leaveOut(i, &out[i])
			out[i].Kind, out[i].Codec, r.left[i] = av.Data, av.Private, true
		}
	}
	return out
}

// setTracks makes or renews the renditions for a new set of tracks.
func (r *run) setTracks(c *chunk.Chunk) error {
	tracks := c.Tracks
	first := r.tracks == nil
	r.tracks = tracks
	if r.cfg.Container == TS {
		return r.setTS(tracks, first)
	}
	carried := 0
	for i := range tracks {
		t := &tracks[i]
		rend := r.find(i)
		header, err := mp4.AppendInit(nil, t, uint32(i+1), delay(c, i))
		if err != nil {
			if t.Kind != av.Data && !errors.Is(err, av.ErrUnsupported) {
				return err
			}
			if !r.left[i] {
				r.leaveOut(i, t)
			}
			continue
		}
		carried++
		if rend == nil {
			if rend, err = r.addRendition([]int{i}); err != nil {
				return err
			}
		}
		if err := rend.describe(tracks); err != nil {
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
	return r.noneCarried(carried, tracks)
}

func (r *run) noneCarried(carried int, tracks []av.Track) error {
	if carried > 0 {
		return nil
	}
	return fmt.Errorf("cut: %w: %s can carry none of the %d tracks of %s: %v",
		av.ErrUnsupported, r.cfg.Container, len(tracks), r.cfg.Input, r.report.LeftOut)
}

// setTS multiplexes the lead video, the first audio and all data; each further
// audio and video track is a rendition of its own.
func (r *run) setTS(tracks []av.Track, first bool) error {
	var main []int
	var own [][]int
	var has [3]bool
	for i := range tracks {
		t := &tracks[i]
		if _, err := ts.NewMuxer(tracks[i : i+1]); err != nil {
			if !errors.Is(err, av.ErrUnsupported) {
				return err
			}
			if !r.left[i] {
				r.leaveOut(i, t)
			}
			continue
		}
		switch {
		case t.Kind == av.Data, t.Kind == av.Video && !has[1], t.Kind == av.Audio && !has[2]:
			main = append(main, i)
		default:
			own = append(own, []int{i})
		}
		has[1] = has[1] || t.Kind == av.Video
		has[2] = has[2] || t.Kind == av.Audio
	}
	if !has[1] && !has[2] {
		return r.noneCarried(0, tracks)
	}
	lead := 0
	for k, i := range main {
		if l := tracks[main[lead]].Kind; tracks[i].Kind == av.Video && l != av.Video || l == av.Data {
			lead = k
		}
	}
	main[0], main[lead] = main[lead], main[0]
	for _, set := range append([][]int{main}, own...) {
		if err := r.renewTS(set, tracks); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) renewTS(set []int, tracks []av.Track) error {
	rend := r.find(set[0])
	var err error
	if rend == nil {
		if rend, err = r.addRendition(set); err != nil {
			return err
		}
	}
	rend.tracks = set
	if err := rend.describe(tracks); err != nil {
		return err
	}
	rend.muxer, err = ts.NewMuxer(rend.current)
	rend.scale, rend.factor = 90000, 1
	return err
}

func (r *run) leaveOut(i int, t *av.Track) {
	text := fmt.Sprintf("track %d (%s %s): %s cannot carry it", i, t.Kind, t.Codec, r.cfg.Container)
	if !slices.Contains(r.report.LeftOut, text) {
		r.report.LeftOut = append(r.report.LeftOut, text)
	}
}

func (r *run) find(track int) *rendition {
	for _, rend := range r.rends {
		if rend.tracks[0] == track {
			return rend
		}
	}
	return nil
}

func (r *run) addRendition(tracks []int) (*rendition, error) {
	kind := r.tracks[tracks[0]].Kind
	n := 0
	for _, rend := range r.rends {
		if rend.current[0].Kind == kind {
			n++
		}
	}
	rend := &rendition{name: fmt.Sprintf("%s%d", kind, n), tracks: tracks, sequence: 1}
	r.rends = append(r.rends, rend)
	return rend, r.out.mkdir(rend.name)
}

// describe takes over the rendition's tracks.
func (rd *rendition) describe(tracks []av.Track) error {
	rd.current, rd.infos = nil, nil
	for _, i := range rd.tracks {
		info, err := codec.Describe(&tracks[i])
		if err != nil {
			return err
		}
		rd.current = append(rd.current, tracks[i])
		rd.infos = append(rd.infos, info)
	}
	rd.info = rd.infos[0]
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
	if i == c.Lead || !rd.video() {
		return i == c.Lead && !c.Independent
	}
	return c.Runs[i][0].Flags&(av.Key|av.Open|av.Gradual) != av.Key
}

// watch follows the frame rate.
func (rd *rendition) watch(c *chunk.Chunk) {
	if !rd.video() {
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
