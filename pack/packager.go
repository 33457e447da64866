package pack

import (
	"errors"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/chunk"
	"github.com/cleave-video/cleave/format/mp4"
	"github.com/cleave-video/cleave/mem"
	"github.com/cleave-video/cleave/seal"
)

// DefaultPart is the length of parts aimed at.
const DefaultPart = 200 * time.Millisecond

// Part is a CMAF chunk, moof and mdat, of one track, rendered while the chunk it
// belongs to is still open. The parts of a track and chunk, one behind the other,
// are its segment; the first begins with styp.
type Part struct {
	Chunk       chunk.ID
	Track       int
	Index       int   // counts the parts of the track in the chunk
	DTS, Dur    int64 // ticks of the track, without Offset: first decode time, sum of the samples
	Independent bool  // it has a frame from which decoding can begin
	// KeyID names the key that its samples are encrypted with; zero: none.
	KeyID [16]byte
	// Key is where in the block the moof and the first sample lie, if that is a key
	// frame of video; Size 0: it is not.
	Key   KeyRange
	Block *mem.Block // whoever gets the part has one reference to release
}

// PackagerConfig is what a Packager is made of.
type PackagerConfig struct {
	// Blocks is where parts are rendered to; it must be used for nothing else.
	Blocks *mem.Arena
	Target time.Duration // length of parts aimed at; 0 is DefaultPart
	Offset int64         // whole seconds added to every time
	// Seal encrypts the samples as parts are rendered; nil: they stay in the clear.
	// It must be of a scheme for samples, and belongs to the Packager's goroutine.
	Seal *seal.Stream
}

// Packager renders the parts of a stream, each once. Its methods belong to one
// goroutine.
type Packager struct {
	cfg    PackagerConfig
	tracks []trackParts
	parts  []Part
	head   []byte
	early  int
	opaque int           // of sets of tracks before
	most   time.Duration // longest part, once promised
	whole  time.Duration // longest segment, once promised
}

// trackParts is the part of a track that is being gathered.
type trackParts struct {
	init     []byte // nil: CMAF cannot carry the track
	plain    []byte // init without a key
	track    av.Track
	seal     *seal.Track
	tb       av.Timebase
	scale    uint32
	factor   int64
	video    bool
	most     int64 // longest part, ticks; 0 until a frame's duration is known
	frames   frames
	usual    int64 // distance of the newest two packets, unless some were missing
	begin    int64 // first decode time of the segment
	longest  int64 // segment, ticks; 0: any
	in       *chunk.Chunk
	index    int
	sequence uint32
	pending  []av.Packet
	sum      int64 // of the durations of pending, but for the last
}

// NewPackager returns a Packager without tracks.
func NewPackager(cfg PackagerConfig) *Packager {
	if cfg.Target <= 0 {
		cfg.Target = DefaultPart
	}
	return &Packager{cfg: cfg}
}

// SetTracks begins a set of tracks, after everything of the set before was closed.
// It returns an error that wraps av.ErrUnsupported if CMAF can carry none of them,
// and av.ErrInvalid if a track's Config is damaged; tracks that it cannot carry
// have no Init. With Seal a track that cannot be encrypted is such an error, too,
// or what Seal's source of keys returns; Inits then name the newest key that was
// asked for.
func (k *Packager) SetTracks(tracks []av.Track) error {
	k.opaque = k.Opaque()
	k.tracks = make([]trackParts, len(tracks))
	carried := 0
	for i := range tracks {
		t := &k.tracks[i]
		if tracks[i].Kind == av.Data {
			continue
		}
		init, err := mp4.AppendInit(nil, &tracks[i], uint32(i+1), 0)
		if errors.Is(err, av.ErrUnsupported) {
			continue
		}
		t.plain, t.track = init, tracks[i]
		if err == nil && k.cfg.Seal != nil {
			init, err = k.sealTrack(t, uint32(i+1))
		}
		if err != nil {
			return err
		}
		carried++
		t.init, t.tb, t.video, t.sequence = init, tracks[i].Timebase, tracks[i].Kind == av.Video, 1
		t.scale, t.factor = t.tb.Timescale()
		t.bound(k.most, k.whole)
	}
	if carried == 0 {
		return av.ErrUnsupported
	}
	return nil
}

// sealTrack readies the encryption of a track, and returns its header.
func (k *Packager) sealTrack(t *trackParts, id uint32) (init []byte, err error) {
	if t.seal, err = k.cfg.Seal.Track(&t.track); err != nil {
		return nil, err
	}
	return mp4.AppendSealedInit(nil, &t.track, id, 0, t.seal.Protection())
}

// Use makes Inits name the key of a period. Parts of chunks of another period, which may
// follow, name theirs. Seal must be there.
func (k *Packager) Use(p *seal.Period) error {
	for i := range k.tracks {
		t := &k.tracks[i]
		if t.init == nil || t.seal.InitKey().ID == p.Key.ID {
			continue
		}
		t.seal.Use(p)
		init, err := mp4.AppendSealedInit(nil, &t.track, uint32(i+1), 0, t.seal.Protection())
		if err != nil {
			return err
		}
		t.init = init
	}
	return nil
}

// Init returns the initialization section of a track, nil if CMAF cannot carry
// it. The caller must not change it.
func (k *Packager) Init(track int) []byte { return k.tracks[track].init }

// Plain is Init without what it says of encryption: headers that differ in keys alone
// have the same.
func (k *Packager) Plain(track int) []byte { return k.tracks[track].plain }

// Early returns how many packets were left out because their decode time, with
// Offset, is negative: ISO BMFF has none such.
func (k *Packager) Early() int { return k.early }

// Opaque returns of how many slices and frames the header could not be read, and is
// encrypted, too.
func (k *Packager) Opaque() int {
	n := k.opaque
	for i := range k.tracks {
		if t := k.tracks[i].seal; t != nil {
			n += t.Opaque()
		}
	}
	return n
}

// Write takes a packet that a Chunker has added to a chunk, and returns the parts
// that this completes: a part ends before the packet that would make it too long,
// and before a key frame if it is long enough. The slice is valid until the next
// call; its parts are the caller's also if an error comes with them, which is
// Blocks' or that of Seal's source of keys. The packet's Data must stay valid until the chunk was closed here, too.
func (k *Packager) Write(p av.Packet, to *chunk.Chunk) ([]Part, error) {
	k.parts = k.parts[:0]
	t := &k.tracks[p.Track]
	if t.init == nil {
		return nil, nil
	}
	if p.DTS*t.factor+k.cfg.Offset*int64(t.scale) < 0 {
		k.early++
		return nil, nil
	}
	t.frames.add(&p)
	if err := k.settle(t, &p, to); err != nil {
		return k.parts, err
	}
	if t.in != to {
		t.in, t.index, t.begin = to, 0, p.DTS
	}
	if n := len(t.pending); n > 0 {
		t.sum += t.pending[n-1].Dur
	}
	t.pending = append(t.pending, p)
	return k.parts, nil
}

// settle gives the last packet the duration that p shows, and ends the parts that
// end before p.
func (k *Packager) settle(t *trackParts, p *av.Packet, to *chunk.Chunk) error {
	n := len(t.pending)
	if n == 0 {
		return nil
	}
	last := &t.pending[n-1]
	if d := p.DTS - last.DTS; d > 0 && p.Flags&av.Discont == 0 && !t.missing(d) {
		last.Dur, t.usual = d, d
	}
	if t.in != to {
		k.limit(t, last)
		return k.end(t, p.Track, n)
	}
	if t.most == 0 {
		t.most = longest(t.tb, k.cfg.Target, last.Dur)
	}
	if n > 1 && t.sum+last.Dur > t.most { // the last one lasts longer than was thought
		if err := k.end(t, p.Track, n-1); err != nil {
			return err
		}
		n = 1
	}
	sum := t.sum + t.pending[n-1].Dur
	key := p.Flags&av.Key != 0 && t.video && sum*100 >= t.most*leastPercent
	if sum+max(p.Dur, 1) > t.most || key {
		return k.end(t, p.Track, n)
	}
	return nil
}

// missing reports whether audio packets are missing where the distance of two is d:
// a frame of audio lasts no longer for what is lost behind it. A picture does.
// Uneven stamps are none: less than leastMissing stays the packet's.
func (t *trackParts) missing(d int64) bool {
	return !t.video && t.usual > 0 && d > 3*t.usual && t.tb.Duration(d) > leastMissing
}

const leastMissing = 150 * time.Millisecond

// limit shortens the last packet of a segment that would be longer than was promised.
func (k *Packager) limit(t *trackParts, last *av.Packet) {
	if t.longest > 0 {
		last.Dur = max(1, min(last.Dur, t.begin+t.longest-last.DTS))
	}
}

// leastPercent of the target is what a part must last that is not the last of its
// segment. RFC 8216bis 4.4.4.9
const leastPercent = 85

// longest returns the most that parts last, in ticks: as many whole frames as come
// nearest to the target, each of which may last a tick more than the one seen
// where ticks are so coarse that frames differ.
func longest(tb av.Timebase, target time.Duration, frame int64) int64 {
	frame = max(frame, 1)
	n := max(1, (tb.Ticks(target)+frame/2)/frame)
	return n*frame + min(n, n*frame/16)
}

func length(packets []av.Packet) (sum int64) {
	for i := range packets {
		sum += packets[i].Dur
	}
	return sum
}

// Close ends the parts of a chunk that the Chunker has closed, as Write does.
func (k *Packager) Close(c *chunk.Chunk) ([]Part, error) {
	k.parts = k.parts[:0]
	for i := range k.tracks {
		t := &k.tracks[i]
		n := len(t.pending)
		if t.in != c || n == 0 {
			continue
		}
		if run := c.Runs[i]; len(run) > 0 {
			if d := run[len(run)-1].Dur; !t.missing(d) {
				t.pending[n-1].Dur = d
			}
		}
		k.limit(t, &t.pending[n-1])
		if err := k.end(t, i, n); err != nil {
			return k.parts, err
		}
	}
	return k.parts, nil
}

// end renders the first n pending packets of a track.
func (k *Packager) end(t *trackParts, track, n int) error {
	packets := t.pending[:n]
	k.head = k.head[:0]
	if t.index == 0 {
		k.head = mp4.AppendSegmentType(k.head)
	}
	f := mp4.Fragment{
		Sequence: t.sequence, TrackID: uint32(track + 1), Factor: t.factor, Offset: k.cfg.Offset * int64(t.scale), Packets: packets,
	}
	var keyID [16]byte
	if t.seal != nil {
		period, err := k.cfg.Seal.Period(t.in.Seq)
		if err != nil {
			return err
		}
		keyID = period.Key.ID
		f.Sealed = t.seal.Fragment(packets, period, t.index == 0)
	}
	k.head = f.Append(k.head)
	size := len(k.head)
	key := t.keyRange(len(k.head))
	for i := range packets {
		size += len(packets[i].Data)
	}
	block, err := k.cfg.Blocks.NewBlock(track, size)
	if err != nil {
		return err
	}
	b := block.Bytes()
	b = b[copy(b, k.head):]
	independent := !t.video
	for i := range packets {
		if t.seal != nil {
			t.seal.Seal(b, i, packets[i].Data)
			b = b[len(packets[i].Data):]
		} else {
			b = b[copy(b, packets[i].Data):]
		}
		independent = independent || packets[i].Flags&(av.Key|av.Gradual) == av.Key
	}
	k.parts = append(k.parts, Part{
		Chunk: t.in.ID, Track: track, Index: t.index, DTS: packets[0].DTS, Dur: length(packets), Independent: independent, KeyID: keyID, Key: key, Block: block,
	})
	t.index++
	t.sequence++
	left := copy(t.pending, t.pending[n:])
	clear(t.pending[left:])
	t.pending = t.pending[:left]
	t.sum = length(t.pending[:max(0, left-1)])
	return nil
}

// keyRange is where the first sample of the pending part will lie, behind a header
// of head bytes.
func (t *trackParts) keyRange(head int) KeyRange {
	first := &t.pending[0]
	if !t.video || first.Flags&av.Key == 0 {
		return KeyRange{}
	}
	off := 0
	if t.index == 0 {
		off = len(mp4.AppendSegmentType(nil))
	}
	return KeyRange{PTS: first.PTS, Offset: int64(off), Size: int64(head - off + len(first.Data))}
}
