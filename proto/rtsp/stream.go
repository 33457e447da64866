package rtsp

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/bluenviron/gortsplib/v5/pkg/description"
	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"github.com/cleave-video/cleave/av"
	frtp "github.com/cleave-video/cleave/format/rtp"
)

// MaxMedias bounds the media of a session.
const MaxMedias = 16

// stream is the receiving side of a session: an av.Demuxer of what the network's
// goroutines put into its queue.
type stream struct {
	asm   *frtp.Assembler
	queue *queue
	batch []item // taken, those before head are used up
	head  int
	err   error
	begun bool // tracks were found
	done  atomic.Int64
}

// newStream returns a stream of a session's media: of each the first format that is
// known here, or else the first.
func newStream(d *description.Session, limit int) (*stream, []format.Format, error) {
	if len(d.Medias) > MaxMedias {
		return nil, nil, av.Errorf("rtsp", -1, "SDP", "%w: %d media, at most %d", av.ErrTooLarge, len(d.Medias), MaxMedias)
	}
	var list []format.Format
	for _, m := range d.Medias {
		if len(m.Formats) == 0 {
			return nil, nil, av.Errorf("rtsp", -1, "SDP", "%w: a medium without format", av.ErrInvalid)
		}
		best := m.Formats[0]
		for _, f := range m.Formats {
			if frtp.Known(f) {
				best = f
				break
			}
		}
		list = append(list, best)
	}
	asm, err := frtp.NewAssembler(list)
	if err != nil {
		return nil, nil, err
	}
	return &stream{asm: asm, queue: newQueue(limit)}, list, nil
}

// packet puts an RTP packet into the queue. Only a goroutine of this session alone
// may wait.
func (s *stream) packet(track int, p *rtp.Packet, wait bool) {
	s.done.Add(int64(len(p.Payload)))
	s.queue.put(item{track: track, packet: p, at: time.Now()}, wait)
}

// control puts a sender report into the queue; other reports are not of use.
func (s *stream) control(track int, p rtcp.Packet, wait bool) {
	if r, ok := p.(*rtcp.SenderReport); ok {
		s.queue.put(item{track: track, ntp: r.NTPTime, ts: r.RTPTime, at: time.Now()}, wait)
	}
}

// Tracks implements av.Demuxer.
func (s *stream) Tracks() []av.Track { return s.asm.Tracks() }

// Progress implements av.Progress; the total is unknown.
func (s *stream) Progress() (done, total int64) { return s.done.Load(), 0 }

// Warnings implements av.Warner.
func (s *stream) Warnings() []string {
	out := s.asm.Warnings()
	if n := s.queue.drops(); n > 0 {
		out = append(out, fmt.Sprintf("rtsp: %d packets dropped that came faster than they were taken", n))
	}
	return out
}

func (s *stream) read(a av.Allocator) (av.Packet, error) {
	for {
		p, err := s.asm.ReadPacket(a)
		if err != frtp.ErrMore {
			s.begun = s.begun || err == av.ErrTracks
			return p, err
		}
		if s.err != nil {
			return av.Packet{}, s.err
		}
		if s.head == len(s.batch) {
			if s.batch, err = s.queue.take(s.batch); err != nil {
				s.fail(err)
				continue
			}
			s.head = 0
		}
		i := &s.batch[s.head]
		s.head++
		if i.packet == nil {
			s.asm.Report(i.track, i.ntp, i.ts)
		} else {
			s.asm.Packet(i.track, i.packet, i.at)
		}
	}
}

// fail ends the stream behind what has come.
func (s *stream) fail(err error) {
	s.batch, s.head = nil, 0
	if err == io.EOF && !s.begun && !s.asm.Finish() {
		err = av.Errorf("rtsp", -1, "RTP", "%w: no track could be read", av.ErrInvalid)
	}
	s.err = err
}
