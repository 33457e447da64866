package torture

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/format/flv/amf0"
	"github.com/cleave-video/cleave/internal/pace"
	"github.com/cleave-video/cleave/proto/rtmp"
	"github.com/cleave-video/cleave/test/child"
)

// Types of messages, RTMP 5.4 and 7.1.
const (
	setChunkSize  = 1
	userControl   = 4
	windowAck     = 5
	peerBandwidth = 6
	audioMessage  = 8
	videoMessage  = 9
	dataMessage   = 18
	command       = 20
)

// wire is what a client says behind the handshake.
type wire struct {
	b    []byte
	size int // of chunks
	// bare: chunks that go on with a message do not repeat its extended timestamp, as
	// some encoders do it.
	bare bool
}

func newWire() *wire { return &wire{size: 128} }

// message appends one; every message begins with a whole header.
func (w *wire) message(id, kind byte, stream, at uint32, body []byte) *wire {
	ts := min(at, 0xFFFFFF)
	w.b = append(w.b, id, byte(ts>>16), byte(ts>>8), byte(ts), byte(len(body)>>16), byte(len(body)>>8), byte(len(body)), kind)
	w.b = binary.LittleEndian.AppendUint32(w.b, stream)
	for first := true; first || len(body) > 0; first = false {
		if !first {
			w.b = append(w.b, 3<<6|id)
		}
		if ts == 0xFFFFFF && (first || !w.bare) {
			w.b = binary.BigEndian.AppendUint32(w.b, at)
		}
		n := min(w.size, len(body))
		w.b, body = append(w.b, body[:n]...), body[n:]
	}
	return w
}

func (w *wire) command(stream uint32, name string, id float64, rest ...[]byte) *wire {
	b := amf0.AppendNumber(amf0.AppendString(nil, name), id)
	return w.message(3, command, stream, 0, append(b, bytes.Join(rest, nil)...))
}

func (w *wire) control(kind byte, body string) *wire {
	return w.message(2, kind, 0, 0, []byte(body))
}

func null() []byte         { return amf0.AppendNull(nil) }
func text(s string) []byte { return amf0.AppendString(nil, s) }

func connect(more ...[]byte) []byte {
	b := amf0.AppendString(amf0.AppendKey(amf0.AppendObject(nil), "app"), "torture")
	return amf0.AppendEnd(append(b, bytes.Join(more, nil)...))
}

// publish adds the commands up to publish, of stream 1.
func (w *wire) publish(key string) *wire {
	w.command(0, "connect", 1, connect())
	w.command(0, "createStream", 2, null())
	return w.command(1, "publish", 3, null(), text(key), text("live"))
}

// media adds what d gives, later by a time in ms.
func (w *wire) media(d av.Demuxer, later uint32) *wire {
	_ = child.EachTag(d, func(kind byte, at uint32, body []byte) error {
		w.message(4+kind&1, kind, 1, at+later, body)
		return nil
	})
	return w
}

// dial connects, and shakes hands if hands is set.
func (r *rig) dial(ctx context.Context, hands bool) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", r.RTMP)
	if err != nil || !hands {
		return conn, err
	}
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	hello := make([]byte, 1+2*1536)
	hello[0] = 3
	if _, err = conn.Write(hello[:1+1536]); err == nil {
		_, err = io.ReadFull(conn, make([]byte, 1+2*1536))
	}
	if err == nil {
		_, err = conn.Write(hello[1 : 1+1536])
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// ends reports when the server closes a connection, at most after a time.
func ends(conn net.Conn, within time.Duration) (time.Duration, error) {
	began := time.Now()
	_ = conn.SetReadDeadline(began.Add(within))
	_, err := io.Copy(io.Discard, conn)
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		return within, fmt.Errorf("it was not closed in %v", within)
	}
	return time.Since(began), nil
}

// closes is a trial of bytes behind the handshake that must end the connection at once.
func closes(row int, sent string, b []byte) trial {
	return trial{row: row, sent: sent, run: func(ctx context.Context, r *rig) (string, error) {
		conn, err := r.dial(ctx, true)
		if err != nil {
			return "", err
		}
		defer conn.Close()
		_, _ = conn.Write(b) // it may be closed already
		took, err := ends(conn, 4*time.Second)
		return fmt.Sprintf("closed after %v", took.Round(time.Millisecond)), err
	}}
}

// survives is a trial of bytes that a publisher sends before its stream, which must come.
func survives(row int, sent, key string, w *wire, later uint32) trial {
	return trial{row: row, sent: sent, run: func(ctx context.Context, r *rig) (string, error) {
		conn, err := r.dial(ctx, true)
		if err != nil {
			return "", err
		}
		defer conn.Close()
		w.publish(key).media(avtest.NewSynthetic(healthy(100)), later)
		if _, err := conn.Write(w.b); err != nil {
			return "", err
		}
		go func() { _, _ = io.Copy(io.Discard, conn) }() // its answers
		v, err := r.view(ctx, "torture/"+key, 60)
		conn.Close()
		return v.String(), err
	}}
}

// handshakes are trials before and of the handshake.
func handshakes() []trial {
	raw := func(row int, sent string, b []byte, within time.Duration) trial {
		return trial{row: row, sent: sent, run: func(ctx context.Context, r *rig) (string, error) {
			conn, err := r.dial(ctx, false)
			if err != nil {
				return "", err
			}
			defer conn.Close()
			_, _ = conn.Write(b)
			took, err := ends(conn, within)
			return fmt.Sprintf("closed after %v", took.Round(100*time.Millisecond)), err
		}}
	}
	return []trial{
		raw(1, "a connection, and silence", nil, 7*time.Second),
		{row: 2, sent: "C0, then a byte every 500 ms", run: func(ctx context.Context, r *rig) (string, error) {
			conn, err := r.dial(ctx, false)
			if err != nil {
				return "", err
			}
			defer conn.Close()
			began := time.Now()
			for ctx.Err() == nil && time.Since(began) < 8*time.Second {
				if _, err := conn.Write([]byte{3}); err != nil {
					return fmt.Sprintf("closed after %v", time.Since(began).Round(100*time.Millisecond)), nil
				}
				_ = pace.Sleep(ctx, 500*time.Millisecond)
			}
			return "", errors.New("it was not closed in 8 s")
		}},
		raw(3, "a request of HTTP on RTMP's port", []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), 2*time.Second),
		raw(3, "a ClientHello of TLS", append([]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), make([]byte, 505)...), 2*time.Second),
		raw(3, "version 6", append([]byte{6}, make([]byte, 1536)...), 2*time.Second),
	}
}

func rtmpTrials() []trial {
	csids := newWire()
	for i := range 4000 {
		csids.b = append(csids.b, 1, byte(i), byte(i>>8), 0, 0, 0, 0, 0, 200, videoMessage, 1, 0, 0, 0)
		csids.b = append(csids.b, make([]byte, 128)...)
	}
	streams, flood := newWire().command(0, "connect", 1, connect()), newWire().command(0, "connect", 1, connect())
	for range 9 {
		streams.command(0, "createStream", 2, null())
	}
	for range 5000 {
		flood.command(0, "releaseStream", 2, null(), text("k"))
	}
	deep := func(n int) []byte { return bytes.Repeat([]byte("\x03\x00\x01a"), n) }
	lies := func(s string) []byte {
		return newWire().command(0, "connect", 1, connect(append(amf0.AppendKey(nil, "x"), s...))).b
	}
	list := append(handshakes(),
		closes(4, "SetChunkSize 0", newWire().control(setChunkSize, "\x00\x00\x00\x00").b),
		closes(4, "SetChunkSize of two bytes", newWire().control(setChunkSize, "\x00\x01").b),
		survives(4, "SetChunkSize 0xFFFFFF, and the stream in such", "c1", sized(0xFFFFFF), 0),
		survives(4, "SetChunkSize 0x7FFFFFFF, and the stream in such", "c2", sized(0x7FFFFFFF), 0),
		halves(),
		closes(6, "4,000 chunk streams, each with a part of a message", csids.b),
		closes(7, "an object of AMF, 4,000 deep", newWire().command(0, "connect", 1, deep(4000)).b),
		closes(7, "an object of AMF, 15,000 deep", newWire().command(0, "connect", 1, deep(15000)).b),
		closes(8, "a strict array of 2^32-1", lies("\x0a\xff\xff\xff\xff")),
		closes(8, "a long string of 2^32-1", lies("\x0c\xff\xff\xff\xff")),
		closes(9, "createStream nine times", streams.b),
		closes(9, "5,000 commands", flood.b),
		closes(10, "a chunk of type 1 on a chunk stream without one", []byte("\x43\x00\x00\x00\x00\x00\x00\x08")),
		closes(10, "a chunk of type 2", []byte("\x83\x00\x00\x00")),
		closes(10, "a chunk of type 3", []byte("\xc3abc")),
		survives(11, "timestamps over 0xFFFFFF, repeated in every chunk", "t1", newWire(), 0x1000000),
		survives(11, "timestamps over 0xFFFFFF, in the first chunk alone", "t2", &wire{size: 128, bare: true}, 0x1000000),
		survives(12, "window 0, bandwidth 0, user control of no meaning", "u", newWire().
			control(windowAck, "\x00\x00\x00\x00").control(peerBandwidth, "\x00\x00\x00\x00\x02").control(userControl, "\xff\xff").
			control(userControl, "\x00\x06\x00\x00\x00\x01").control(userControl, ""), 0),
		trial{row: 14, sent: "a second publisher of the healthy stream's name", run: second},
	)
	return append(list, rtmpMedia()...)
}

// sized announces a chunk size, and keeps to it as far as messages are so long.
func sized(n uint32) *wire {
	w := newWire().control(setChunkSize, string(binary.BigEndian.AppendUint32(nil, n)))
	w.size = 64 << 10
	return w
}

// halves announces thirty messages of 8 MB, and sends 1 kB of each.
func halves() trial {
	var b []byte
	for i := range byte(30) {
		b = append(b, 10+i, 0, 0, 0, 0x7A, 0x12, 0, videoMessage, 1, 0, 0, 0)
		b = append(b, make([]byte, 128)...)
	}
	return trial{row: 5, sent: "50 connections, each with 30 messages declared 8 MB of which 128 bytes come", run: func(ctx context.Context, r *rig) (string, error) {
		before, told := r.resident(ctx)
		for range 50 {
			conn, err := r.dial(ctx, true)
			if err != nil {
				return "", err
			}
			defer conn.Close()
			_, _ = conn.Write(b)
		}
		_ = pace.Sleep(ctx, time.Second)
		after, _ := r.resident(ctx)
		if !told {
			return "memory is not told", nil
		}
		const most = 200 << 20 // of 12 GB that were declared
		came := fmt.Sprintf("the server has %d MiB more", max(after-before, 0)>>20)
		if after-before > most {
			return came, errors.New("it trusts what is declared")
		}
		return came, nil
	}}
}

// second tries to publish the healthy stream.
func second(ctx context.Context, r *rig) (string, error) {
	c, err := rtmp.Dial(ctx, "rtmp://"+r.RTMP+"/"+canaryName)
	if err == nil {
		c.Close()
		return "taken", errors.New("it took the name over")
	}
	var no *rtmp.Refused
	if !errors.As(err, &no) {
		return "", err
	}
	return no.Code, nil
}

// rtmpMedia are streams with messages in between that are damaged: what is good comes.
func rtmpMedia() []trial {
	video := func(s string) func(w *wire) { return func(w *wire) { w.message(5, videoMessage, 1, 0, []byte(s)) } }
	audio := func(s string) func(w *wire) { return func(w *wire) { w.message(4, audioMessage, 1, 0, []byte(s)) } }
	between := func(row int, sent, key string, junk ...func(w *wire)) trial {
		w := newWire().publish(key)
		n := 0
		_ = child.EachTag(avtest.NewSynthetic(healthy(100)), func(kind byte, at uint32, body []byte) error {
			w.message(4+kind&1, kind, 1, at, body)
			if n++; n%20 == 10 {
				junk[n/20%len(junk)](w)
			}
			return nil
		})
		return trial{row: row, sent: sent, run: func(ctx context.Context, r *rig) (string, error) {
			conn, err := r.dial(ctx, true)
			if err != nil {
				return "", err
			}
			defer conn.Close()
			if _, err := conn.Write(w.b); err != nil {
				return "", err
			}
			go func() { _, _ = io.Copy(io.Discard, conn) }()
			v, err := r.view(ctx, "torture/"+key, 60)
			return v.String(), err
		}}
	}
	return []trial{
		between(13, "enhanced RTMP between the frames: unknown FourCC, cut headers, multitrack that lies", "e",
			video("\x91xyz!\x00\x00\x00"), video("\x90hv"), video("\x96\x20hvc1\x05\xff\xff\xff"), video("\x96"), audio("\x95\x10mp4a\x09\x7f\xff\xff"), audio("\x91Opu")),
		between(8, "onMetaData between the frames, an ECMA array that claims 2^32-1 entries and ends after one", "a", func(w *wire) {
			b := amf0.AppendArray(amf0.AppendString(nil, "onMetaData"), 1<<32-1)
			w.message(4, dataMessage, 1, 0, amf0.AppendEnd(amf0.AppendNumber(amf0.AppendKey(b, "width"), 320)))
		}),
		between(15, "audio and video messages of 0 and 1 byte between the frames", "b", video(""), video("\x17"), audio(""), audio("\xaf")),
		between(64, "onMetaData with line breaks, quotes and headers between the frames", "m", func(w *wire) {
			b := amf0.AppendString(nil, "onMetaData")
			b = amf0.AppendString(amf0.AppendKey(amf0.AppendObject(b), "title"), "x\r\nX-Evil: 1\r\n\r\n#EXT-X-KEY:METHOD=NONE\n\"><script>")
			w.message(4, dataMessage, 1, 0, amf0.AppendEnd(b))
		}),
	}
}
