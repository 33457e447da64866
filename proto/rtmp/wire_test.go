package rtmp

import (
	"encoding/binary"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/format/flv"
	"github.com/cleave-video/cleave/format/flv/amf0"
)

// wire is what a client sends behind the handshake.
type wire struct{ chunkWriter }

func newWire() *wire { return &wire{chunkWriter{chunkSize: defaultChunkSize}} }

func (w *wire) command(stream uint32, name string, id float64, rest ...[]byte) *wire {
	b := amf0.AppendNumber(amf0.AppendString(nil, name), id)
	for _, r := range rest {
		b = append(b, r...)
	}
	w.append(commandID, typeCommandAMF0, stream, 0, b, nil)
	return w
}

func null() []byte         { return amf0.AppendNull(nil) }
func text(s string) []byte { return amf0.AppendString(nil, s) }
func num(v float64) []byte { return amf0.AppendNumber(nil, v) }
func app(name string) []byte {
	b := amf0.AppendString(amf0.AppendKey(amf0.AppendObject(nil), "app"), name)
	b = amf0.AppendString(amf0.AppendKey(b, "tcUrl"), "rtmp://example.org/"+name)
	return amf0.AppendEnd(b)
}

// publish adds the commands up to publish, of stream 1.
func (w *wire) publish(name, key string) *wire {
	w.command(0, "connect", 1, app(name))
	w.command(0, "releaseStream", 2, null(), text(key))
	w.command(0, "FCPublish", 3, null(), text(key))
	w.command(0, "createStream", 4, null())
	return w.command(1, "publish", 5, null(), text(key), text("live"))
}

// size adds a set chunk size message and obeys it.
func (w *wire) size(n uint32) *wire {
	w.append(controlID, typeSetChunkSize, 0, 0, binary.BigEndian.AppendUint32(nil, n), nil)
	w.chunkSize = int(min(n, 1<<24))
	return w
}

// media adds what d gives.
func (w *wire) media(d av.Demuxer) *wire {
	for {
		p, err := d.ReadPacket(av.Heap{})
		if err == av.ErrTracks {
			for _, t := range d.Tracks() {
				b, err := flv.AppendSequenceStart(nil, &t)
				if err != nil {
					panic(err)
				}
				if len(b) > 0 {
					w.append(mediaID, flv.TagType(&t), 1, 0, b, nil)
				}
			}
			continue
		}
		if err != nil {
			return w
		}
		t := d.Tracks()[p.Track]
		dts, pts := t.Timebase.Rescale(p.DTS, av.Millisecond), t.Timebase.Rescale(p.PTS, av.Millisecond)
		w.append(mediaID+byte(p.Track), flv.TagType(&t), 1, uint32(dts), flv.AppendFrameHead(nil, &t, p.Flags, pts-dts), p.Data)
	}
}

// unpublish adds the end of a stream.
func (w *wire) unpublish() *wire { return w.command(0, "deleteStream", 6, null(), num(1)) }
