package frames

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/deliver"
	"github.com/cleave-video/cleave/httpio"
	"github.com/cleave-video/cleave/live"
)

// heartbeat is how often an answer that goes on says so.
const heartbeat = 5 * time.Second

// form is how frames that come are written. Each returns what is to be written before
// more of b's memory is used; data, if not nil, is to follow it.
type form interface {
	kind() string
	config(b []byte, d *Decoder) []byte
	frame(b []byte, f *feed, p *av.Packet) (out, data []byte)
	skip(b []byte, s *skipped) []byte
	idle(b []byte) []byte
}

// skipped says that frames were left out; a key frame follows.
type skipped struct {
	Reason string `json:"reason"`           // behind: the client was too slow; resume: they are no longer kept
	Bytes  int64  `json:"bytes"`            // of payload, if that is known
	Frames int64  `json:"frames,omitempty"` // if that is known
}

// stream answers with every frame as it comes, until the client goes or the stream
// ends.
func (h *Handler) stream(w http.ResponseWriter, r *http.Request, s *live.Stream, o form) error {
	leave := deliver.Admit(w, r, s, "")
	if leave == nil {
		return nil
	}
	defer leave()
	from, given := parseMark(r.Header.Get("Last-Event-ID"))
	resumes := given && holds(s, from)
	head := w.Header()
	head.Set("Content-Type", o.kind())
	head.Set("Cache-Control", "no-store")
	head.Set("X-Accel-Buffering", "no")
	if r.Method == http.MethodHead {
		return nil
	}
	out, err := httpio.Start(w, r, httpio.Options{Route: h.cfg.Route, Keep: true, Frames: true})
	if err != nil {
		return nil // who is gone needs no answer
	}
	f := newFeed(s, live.CursorOptions{Oldest: resumes, Stalled: out.Abort})
	defer f.c.Close()
	v := &viewer{out: out, f: f, form: o}
	first := o.idle(nil)
	if resumes {
		v.from = &from
	} else if given {
		first = o.skip(nil, &skipped{Reason: "resume"})
	}
	for err = v.write(first); err == nil; {
		err = v.step(r.Context())
	}
	f.c.Release() // before the end of the answer waits for the client
	out.SetFrames(v.sent, v.skipped)
	_ = out.Close(errors.Is(err, io.EOF))
	return nil
}

// viewer is a client that is sent every frame.
type viewer struct {
	out    *httpio.Response
	f      *feed
	form   form
	buf    []byte
	pieces [][]byte
	from   *mark // to go on behind it; nil: anywhere

	sent, skipped int64 // frames
}

// holds reports whether the ring has the frame at m.
func holds(s *live.Stream, m mark) bool {
	f := newFeed(s, live.CursorOptions{Oldest: true})
	defer f.c.Close()
	now, stop := context.WithCancel(context.Background())
	stop() // what is there is returned nevertheless
	for {
		list, err := f.next(now)
		var lag *live.LagError
		if err != nil && !errors.Is(err, av.ErrTracks) && !errors.As(err, &lag) {
			return false
		}
		for i := range list {
			if m.compare(f, &list[i]) == 0 {
				return true
			}
		}
	}
}

// step waits for what comes next and writes it.
func (v *viewer) step(ctx context.Context) error {
	next, cancel := context.WithTimeout(ctx, heartbeat)
	defer cancel()
	list, err := v.f.next(next)
	var lag *live.LagError
	v.buf = v.buf[:0]
	switch {
	case errors.Is(err, av.ErrTracks):
		return v.write(v.form.config(v.buf, &v.f.decoder))
	case errors.As(err, &lag):
		v.skipped += lag.Frames
		return v.write(v.form.skip(v.buf, &skipped{"behind", lag.Bytes, lag.Frames}))
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
		return v.write(v.form.idle(v.buf))
	case err != nil:
		return err
	}
	return v.frames(list)
}

// frames writes those that the client has not seen, which came together, together.
func (v *viewer) frames(list []av.Packet) error {
	v.pieces = v.pieces[:0]
	for i := range list {
		p := &list[i]
		if v.from != nil {
			order := v.from.compare(v.f, p)
			if order < 0 {
				continue
			}
			if v.from = nil; order == 0 {
				continue
			}
			v.buf = v.form.skip(v.buf, &skipped{Reason: "resume"}) // it left just now
		}
		var data []byte
		v.buf, data = v.form.frame(v.buf, v.f, p)
		v.sent++
		if data != nil {
			v.pieces = append(v.pieces, v.buf, data)
			v.buf = v.buf[len(v.buf):]
		}
	}
	v.pieces = append(v.pieces, v.buf)
	err := v.out.Write(v.pieces)
	clear(v.pieces)
	v.f.c.Release() // everything was written, copied or described
	return err
}

// write writes what is to be sent.
func (v *viewer) write(b []byte) error { return v.out.Write([][]byte{b}) }

// events is server-sent events.
// https://html.spec.whatwg.org/multipage/server-sent-events.html
type events struct{}

func (*events) kind() string { return "text/event-stream" }

func event(b []byte, name string, v any) []byte {
	b = append(append(b, "event: "...), name...)
	b = append(append(b, "\ndata: "...), line(v)...)
	return append(b, "\n\n"...)
}

func (*events) config(b []byte, d *Decoder) []byte { return event(b, "config", d) }
func (*events) skip(b []byte, s *skipped) []byte   { return event(b, "skip", s) }
func (*events) idle(b []byte) []byte               { return append(b, ":\n\n"...) }

func (*events) frame(b []byte, f *feed, p *av.Packet) (out, data []byte) {
	x := f.frame(p)
	b = append(append(b, "id: "...), x.ID...)
	return event(append(b, '\n'), "frame", &x), nil
}

// multiplex is frames with their payload, each message
//
//	length(32) of what follows | flags(8) | timestamp(64) | duration(32) | payload
//
// in network byte order, times in microseconds.
type multiplex struct{}

// Flags of a message. One without any is a delta frame.
const (
	flagKey     = 0x01
	flagLeading = 0x02
	flagSkip    = 0x20 // the payload is JSON: frames were left out
	flagConfig  = 0x40 // the payload is JSON: how the decoder is to be configured
	flagIdle    = 0x80 // no payload: nothing has come for a while
)

// messageHead is the bytes of a message that length counts, without the payload.
const messageHead = 13

// messagesType is the media type of messages.
const messagesType = "application/vnd.cleave.frames"

func (*multiplex) kind() string { return messagesType }

func message(b []byte, flags byte, timestamp, duration int64, size int) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(messageHead+size))
	b = append(b, flags)
	b = binary.BigEndian.AppendUint64(b, uint64(timestamp))
	return binary.BigEndian.AppendUint32(b, uint32(duration))
}

func (*multiplex) config(b []byte, d *Decoder) []byte {
	text := line(d)
	return append(message(b, flagConfig, 0, 0, len(text)), text...)
}

func (*multiplex) skip(b []byte, s *skipped) []byte {
	text := line(s)
	return append(message(b, flagSkip, 0, 0, len(text)), text...)
}

func (*multiplex) idle(b []byte) []byte { return message(b, flagIdle, 0, 0, 0) }

func (m *multiplex) frame(b []byte, f *feed, p *av.Packet) (out, data []byte) {
	return m.packet(b, f.tb, p)
}

// packet writes one frame whose times are in ticks of tb.
func (*multiplex) packet(b []byte, tb av.Timebase, p *av.Packet) (out, data []byte) {
	var flags byte
	if p.Flags.Has(av.Key) {
		flags |= flagKey
	}
	if p.Flags.Has(av.Leading) {
		flags |= flagLeading
	}
	us := min(tb.Rescale(p.Dur, microsecond), 1<<32-1)
	return message(b, flags, tb.Rescale(p.PTS, microsecond), us, len(p.Data)), p.Data
}

// Message is one of the binary stream.
type Message struct {
	Flags     byte
	Timestamp int64 // microseconds
	Duration  int64 // microseconds; 0: not known
	Payload   []byte
}

// Key reports whether it is a key frame.
func (m *Message) Key() bool { return m.Flags&flagKey != 0 }

// Frame reports whether it is a frame at all.
func (m *Message) Frame() bool { return m.Flags&(flagSkip|flagConfig|flagIdle) == 0 }

// Config reports whether the payload is a Decoder as JSON.
func (m *Message) Config() bool { return m.Flags&flagConfig != 0 }

// maxMessage bounds what ReadMessage takes for a message.
const maxMessage = 16 << 20

// ReadMessage reads one message of the binary stream. The error is io.EOF between
// messages, io.ErrUnexpectedEOF inside one, and wraps av.ErrInvalid or av.ErrTooLarge.
func ReadMessage(r io.Reader) (m Message, err error) {
	var head [4 + messageHead]byte
	if _, err := io.ReadFull(r, head[:4]); err != nil {
		return m, err
	}
	n := binary.BigEndian.Uint32(head[:])
	switch {
	case n < messageHead:
		return m, av.Errorf("frames", -1, "length", "%w: %d < %d", av.ErrInvalid, n, messageHead)
	case n > maxMessage:
		return m, av.Errorf("frames", -1, "length", "%w: %d > %d", av.ErrTooLarge, n, maxMessage)
	}
	if _, err := io.ReadFull(r, head[4:]); err != nil {
		return m, whole(err)
	}
	m = Message{
		Flags: head[4], Timestamp: int64(binary.BigEndian.Uint64(head[5:])), Duration: int64(binary.BigEndian.Uint32(head[13:])),
		Payload: make([]byte, 0, min(n-messageHead, 64<<10)),
	}
	for left := int(n - messageHead); left > 0; {
		step := min(left, max(64<<10, len(m.Payload))) // a length that lies costs nothing
		at := len(m.Payload)
		m.Payload = append(m.Payload, make([]byte, step)...)
		if _, err := io.ReadFull(r, m.Payload[at:]); err != nil {
			return m, whole(err)
		}
		left -= step
	}
	return m, nil
}

func whole(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
