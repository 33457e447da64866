package frames

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec"
	"github.com/cleave-video/cleave/live"
)

// Frame is what is known of one frame: what WebCodecs' EncodedVideoChunk takes, and
// exact times beside. It is on one line as JSON.
type Frame struct {
	ID        string `json:"id"`                 // of the event: DTS/ticks a second
	Type      string `json:"type"`               // key or delta
	Timestamp int64  `json:"timestamp"`          // PTS in microseconds
	Duration  *int64 `json:"duration,omitempty"` // in microseconds; left out if the source does not say
	Codec     string `json:"codec"`
	PTS       int64  `json:"pts"` // ticks of Timebase, as in HLS
	DTS       int64  `json:"dts"`
	Dur       int64  `json:"dur,omitempty"`
	Timebase  string `json:"timebase"`
	Size      int    `json:"size"`              // bytes of the payload
	Leading   bool   `json:"leading,omitempty"` // cannot be decoded if decoding began at the key frame before it
}

// Decoder is what WebCodecs' VideoDecoder is configured with.
type Decoder struct {
	Codec       string `json:"codec"`
	Description string `json:"description"` // base64: avcC, hvcC, av1C or vpcC without its header
	Width       int    `json:"codedWidth"`
	Height      int    `json:"codedHeight"`
	Rotation    uint16 `json:"rotation,omitempty"` // degrees clockwise that pictures are to be turned by
	Timebase    string `json:"timebase"`
}

var microsecond = av.Timebase{Num: 1, Den: 1_000_000}

// feed reads the frames of a stream's first video track.
type feed struct {
	c     *live.Cursor
	batch []av.Packet

	track   int // -1: there is no video
	key     int64
	open    bool // what is presented before the newest key frame, at key, refers back
	decoder Decoder
	tb      av.Timebase
	factor  int64
	offset  int64
}

func newFeed(s *live.Stream, o live.CursorOptions) *feed {
	return &feed{c: s.NewCursor(o), batch: make([]av.Packet, 64), track: -1}
}

// next is Cursor.Next, of the video track alone, times in ticks of tb. With
// av.ErrTracks the feed has looked at the new ones. The packets may be none.
func (f *feed) next(ctx context.Context) ([]av.Packet, error) {
	n, err := f.c.Next(ctx, f.batch)
	if errors.Is(err, av.ErrTracks) {
		if e := f.tracks(); e != nil {
			return nil, e
		}
	}
	out := f.batch[:0]
	for _, p := range f.batch[:n] {
		if p.Track == f.track {
			p.DTS, p.PTS, p.Dur = p.DTS*f.factor+f.offset, p.PTS*f.factor+f.offset, p.Dur*f.factor
			switch {
			case p.Flags.Has(av.Key):
				f.key, f.open = p.PTS, p.Flags.Has(av.Open)
			case f.open && p.PTS < f.key:
				p.Flags |= av.Leading // H.264 does not say so of the picture itself
			}
			out = append(out, p)
		}
	}
	return out, err
}

func (f *feed) tracks() error {
	list := f.c.Tracks()
	f.track = slices.IndexFunc(list, func(t av.Track) bool { return t.Kind == av.Video })
	if f.track < 0 {
		return missing("the stream has no video")
	}
	t := &list[f.track]
	info, err := codec.Describe(t)
	if err != nil {
		return err
	}
	scale, factor := t.Timebase.Timescale()
	f.tb, f.factor = av.Timebase{Num: 1, Den: scale}, factor
	f.offset = int64(f.c.Offset().Seconds()) * int64(scale)
	f.decoder = *decoderOf(t, info, f.tb)
	return nil
}

func decoderOf(t *av.Track, info codec.Info, tb av.Timebase) *Decoder {
	return &Decoder{
		Codec: info.String, Description: base64.StdEncoding.EncodeToString(t.Config),
		Width: info.Width, Height: info.Height, Rotation: t.Rotation, Timebase: tb.String(),
	}
}

// frame describes a packet that next returned.
func (f *feed) frame(p *av.Packet) Frame {
	out := Frame{
		ID: mark{p.DTS, f.tb}.String(), Type: "delta", Timestamp: f.tb.Rescale(p.PTS, microsecond), Codec: f.decoder.Codec,
		PTS: p.PTS, DTS: p.DTS, Dur: p.Dur, Timebase: f.tb.String(), Size: len(p.Data), Leading: p.Flags.Has(av.Leading),
	}
	if p.Flags.Has(av.Key) {
		out.Type = "key"
	}
	if p.Dur > 0 {
		us := f.tb.Rescale(p.Dur, microsecond)
		out.Duration = &us
	}
	return out
}

func (f *feed) meta(p *av.Packet) Meta {
	return Meta{PTS: p.PTS, DTS: p.DTS, Dur: p.Dur, Timebase: f.tb, Key: p.Flags.Has(av.Key), Codec: f.decoder.Codec}
}

// line is v as JSON, which has no line break in it.
func line(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // of a type that is not there
	}
	return b
}

// mark is a place in a stream: a decode time, which only rises, or the PTS of a key
// frame.
type mark struct {
	ticks int64
	tb    av.Timebase
}

func (m mark) String() string { return fmt.Sprintf("%d/%d", m.ticks, m.tb.Den) }

// parseMark reads what String wrote.
func parseMark(text string) (m mark, ok bool) {
	ticks, scale, _ := strings.Cut(text, "/")
	d, err1 := strconv.ParseInt(ticks, 10, 64)
	s, err2 := strconv.ParseUint(scale, 10, 32)
	return mark{d, av.Timebase{Num: 1, Den: uint32(s)}}, err1 == nil && err2 == nil && s > 0
}

// compare orders a packet's decode time and the mark.
func (m mark) compare(f *feed, p *av.Packet) int { return f.tb.Compare(p.DTS, m.tb, m.ticks) }
