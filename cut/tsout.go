package cut

import (
	"io"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/chunk"
	"github.com/cleave-video/cleave/pack"
)

// tsFlush is how much of a TS segment is rendered before it is written out.
const tsFlush = 256 << 10

// writeTS multiplexes the rendition's tracks of c in the order of decode times.
func (r *run) writeTS(rend *rendition, c *chunk.Chunk) (segment, error) {
	var s segment
	before := len(rend.keys)
	f, err := r.create(rend.file(len(rend.segs)))
	if err != nil {
		return s, err
	}
	if r.discont {
		rend.muxer.Discontinuity()
	}
	rend.buf = rend.muxer.AppendHeader(rend.buf[:0])
	next := make([]int, len(rend.tracks)) // per track, the packet to write
	for {
		k := rend.earliest(c, next)
		if k < 0 {
			break
		}
		p := c.Runs[rend.tracks[k]][next[k]]
		next[k]++
		key := k == 0 && p.Flags&av.Key != 0 && rend.pictures(c)
		at := s.size + int64(len(rend.buf))
		switch {
		case key && len(rend.keys) == before && next[0] == 1 && s.size == 0:
			at = 0
		case key: // a range that is read alone begins with the tables, too
			rend.buf = rend.muxer.AppendHeader(rend.buf)
		}
		rend.buf = r.appendTS(rend, k, p)
		if key {
			rend.keys = append(rend.keys, pack.KeyRange{PTS: r.ts(rend, 0, p.PTS), Offset: at, Size: s.size + int64(len(rend.buf)) - at})
		}
		if len(rend.buf) >= tsFlush {
			if err := flush(f, &s, &rend.buf); err != nil {
				_ = f.close(r, &s)
				return s, err
			}
		}
	}
	if err := flush(f, &s, &rend.buf); err != nil {
		_ = f.close(r, &s)
		return s, err
	}
	r.spanTS(rend, c, &s)
	err = f.close(r, &s)
	return s, err
}

func flush(f io.Writer, s *segment, buf *[]byte) error {
	n, err := f.Write(*buf)
	s.size += int64(n)
	*buf = (*buf)[:0]
	return err
}

// earliest returns which of the rendition's tracks has the next packet, or -1.
func (rd *rendition) earliest(c *chunk.Chunk, next []int) int {
	best := -1
	for k, i := range rd.tracks {
		if i >= len(c.Runs) || next[k] >= len(c.Runs[i]) {
			continue
		}
		if best < 0 {
			best = k
			continue
		}
		b := rd.tracks[best]
		if c.Tracks[i].Timebase.Compare(c.Runs[i][next[k]].DTS, c.Tracks[b].Timebase, c.Runs[b][next[best]].DTS) < 0 {
			best = k
		}
	}
	return best
}

// ts converts a time of the rendition's track k to 90 kHz of the output.
func (r *run) ts(rend *rendition, k int, t int64) int64 {
	return rend.current[k].Timebase.Rescale(t, av.Clock90k) + r.offset*90000
}

func (r *run) appendTS(rend *rendition, k int, p av.Packet) []byte {
	dts, pts := r.ts(rend, k, p.DTS), r.ts(rend, k, p.PTS)
	p.Track = k
	return rend.muxer.AppendPacket(rend.buf, p, dts, pts)
}

// spanTS sets when the segment is presented, by its first track that has packets.
func (r *run) spanTS(rend *rendition, c *chunk.Chunk, s *segment) {
	for k, i := range rend.tracks {
		if i < len(c.Runs) && len(c.Runs[i]) > 0 {
			start, end := pack.Presented(c.Runs[i])
			s.start, s.end = r.ts(rend, k, start), r.ts(rend, k, end)
			return
		}
	}
}
