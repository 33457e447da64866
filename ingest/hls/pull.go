// Package hls pulls streams of other servers by HLS: live and stored, MPEG-TS and
// fragmented MP4. Of a multivariant playlist the variant of the highest bit rate is
// taken, with the renditions of its audio. What is encrypted is refused.
//
// RFC 8216bis
package hls

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/format/hls"
)

// ErrTrackCount is a rendition whose number of tracks changes beside others: pull
// again.
var ErrTrackCount = errors.New("hls: the number of tracks changes")

// maxAudio bounds the audio renditions that are pulled.
const maxAudio = 8

// Pulled is a stream that is pulled. It belongs to one goroutine, except Close and
// Progress. Where the playlist breaks its tracks begin anew.
type Pulled struct {
	lanes  []*lane
	tracks []av.Track
	begun  bool
	owed   bool // an ErrTracks, before the next packet
	ctx    context.Context
	cancel context.CancelCauseFunc

	mu sync.Mutex // held while ReadPacket reads
}

// lane is one rendition and its next packet.
type lane struct {
	*rendition
	first  int // of its tracks in Pulled.tracks
	tracks []av.Track
	packet av.Packet
	held   bool
	over   bool
	fresh  bool // its tracks began anew, before packet
}

var (
	_ av.Demuxer  = (*Pulled)(nil)
	_ av.Progress = (*Pulled)(nil)
)

// Pull fetches the playlists of u by c, which decides what may be connected to. ctx
// ends the stream too; its cause is ReadPacket's error then. The caller must Close
// it. The error is an *av.Error, or a *hls.LineError of package format/hls, where
// the playlist is at fault.
func Pull(ctx context.Context, c *http.Client, u *url.URL) (*Pulled, error) {
	p := &Pulled{}
	p.ctx, p.cancel = context.WithCancelCause(ctx)
	err := p.begin(c, u)
	for err == nil && p.lanes[0].demuxer == nil { // its format says how times wrap
		err = p.lanes[0].section()
	}
	if err != nil {
		if p.ctx.Err() != nil {
			err = context.Cause(p.ctx)
		}
		p.cancel(nil)
		return nil, err
	}
	return p, nil
}

// begin loads every playlist once.
func (p *Pulled) begin(c *http.Client, u *url.URL) error {
	b, from, err := playlist(p.ctx, c, u)
	if err != nil {
		return err
	}
	if !isMultivariant(b) {
		r := &rendition{ctx: p.ctx, client: c, url: u, next: -1}
		p.lanes = []*lane{{rendition: r}}
		return r.take(b, from, time.Now())
	}
	m, err := (&hls.Reader{}).Multivariant(b)
	if err != nil {
		return err
	}
	uris, err := choose(m)
	if err != nil {
		return err
	}
	for _, uri := range uris {
		u, err := resolve(from, uri)
		if err != nil {
			return err
		}
		r := &rendition{ctx: p.ctx, client: c, url: u, next: -1}
		b, from, err := playlist(p.ctx, c, u)
		if err != nil {
			return err
		}
		if isMultivariant(b) {
			return av.Errorf("hls", -1, "EXT-X-STREAM-INF", "%w: a multivariant playlist lists another", av.ErrInvalid)
		}
		if err := r.take(b, from, time.Now()); err != nil {
			return fmt.Errorf("%s: %w", uri, err)
		}
		p.lanes = append(p.lanes, &lane{rendition: r})
	}
	return nil
}

func isMultivariant(b []byte) bool {
	return strings.Contains(string(b[:min(len(b), hls.DefaultMaxBytes)]), "\n#EXT-X-STREAM-INF:")
}

// choose returns the playlists of the best variant: its own, and those of its audio.
func choose(m *hls.Multivariant) ([]string, error) {
	best := -1
	for i := range m.Variants {
		if best < 0 || m.Variants[i].Bandwidth > m.Variants[best].Bandwidth {
			best = i
		}
	}
	if best < 0 || m.Variants[best].URI == "" {
		return nil, av.Errorf("hls", -1, "EXT-X-STREAM-INF", "%w: no variant", av.ErrInvalid)
	}
	v := &m.Variants[best]
	out := []string{v.URI}
	for i := range m.Media {
		x := &m.Media[i]
		if v.Audio != "" && x.Type == "AUDIO" && x.GroupID == v.Audio && x.URI != "" && x.URI != v.URI && len(out) <= maxAudio {
			out = append(out, x.URI)
		}
	}
	return out, nil
}

// WrapBits is the width of the timestamps; 0 where they do not wrap.
func (p *Pulled) WrapBits() int {
	if len(p.lanes) > 0 && p.lanes[0].format == "mp4" {
		return 0
	}
	return 33
}

// Tracks implements av.Demuxer.
func (p *Pulled) Tracks() []av.Track { return p.tracks }

// Progress implements av.Progress; the total is unknown.
func (p *Pulled) Progress() (done, total int64) {
	for _, l := range p.lanes {
		done += l.bytes.Load()
	}
	return done, 0
}

// offset is an Allocator for tracks that begin at another number.
type offset struct {
	a     av.Allocator
	first int
}

func (o offset) Alloc(track, n int) ([]byte, error) { return o.a.Alloc(o.first+track, n) }

// ReadPacket implements av.Demuxer. Errors: io.EOF behind the end of the playlists,
// fs.ErrClosed after Close, the cause of Pull's context, ErrStalled, an *av.Error
// where playlists or segments cannot be read, and those of the network.
func (p *Pulled) ReadPacket(a av.Allocator) (av.Packet, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if err := p.fill(a); err != nil {
			return av.Packet{}, p.ending(err)
		}
		if p.owed {
			p.owed = false
			p.join()
			return av.Packet{}, av.ErrTracks
		}
		l := p.earliest()
		if l == nil {
			return av.Packet{}, io.EOF
		}
		if l.fresh { // it begins anew with this packet
			l.fresh, p.owed = false, true
			continue
		}
		l.held = false
		l.packet.Track += l.first
		return l.packet, nil
	}
}

// fill gets every lane its next packet. At the start all tracks are waited for.
func (p *Pulled) fill(a av.Allocator) error {
	for _, l := range p.lanes {
		for !l.held && !l.over {
			pkt, err := l.read(offset{a, l.first})
			switch {
			case errors.Is(err, av.ErrTracks):
				n := len(l.demuxer.Tracks())
				if l.tracks != nil && n != len(l.tracks) && len(p.lanes) > 1 {
					// Packets of other lanes lie in memory by their tracks' numbers.
					return fmt.Errorf("%w: from %d to %d in one of several renditions", ErrTrackCount, len(l.tracks), n)
				}
				l.tracks, l.fresh = l.demuxer.Tracks(), p.begun
				if !p.begun {
					p.join()
				}
			case errors.Is(err, io.EOF):
				l.over = true
			case err != nil:
				return err
			default:
				l.packet, l.held = pkt, true
			}
		}
	}
	if !p.begun {
		p.begun, p.owed = true, true
	}
	return nil
}

// join makes one list of the tracks of all lanes.
func (p *Pulled) join() {
	var all []av.Track
	for _, l := range p.lanes {
		l.first = len(all)
		all = append(all, l.tracks...)
	}
	p.tracks = all
}

// earliest returns the lane whose packet is decoded first, nil if none is left.
func (p *Pulled) earliest() *lane {
	var best *lane
	for _, l := range p.lanes {
		if !l.held {
			continue
		}
		if best == nil || l.at() < best.at() {
			best = l
		}
	}
	return best
}

func (l *lane) at() time.Duration { return l.tracks[l.packet.Track].Timebase.Duration(l.packet.DTS) }

func (p *Pulled) ending(err error) error {
	if p.ctx.Err() != nil {
		return context.Cause(p.ctx)
	}
	return err
}

// Close implements av.Demuxer: it ends requests, and waits for ReadPacket.
func (p *Pulled) Close() error {
	p.cancel(fs.ErrClosed)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.lanes {
		l.close()
	}
	return nil
}
