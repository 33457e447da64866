// Package av has the nouns every other package speaks in: Packet, Track,
// Timebase and Demuxer.
//
// Ownership: a Packet's Data belongs to the Allocator it came from. It stays
// valid while the GOP or chunk that pins it is retained, and nobody writes to
// it after ReadPacket has returned it.
package av

import (
	"errors"
	"io"
)

// Kind says what a track carries.
type Kind uint8

// The kinds of track.
const (
	KindUnknown Kind = iota
	Video
	Audio
	Data // captions, timed metadata, SCTE-35, anything passed through
)

var kindNames = [...]string{"unknown", "video", "audio", "data"}

func (k Kind) String() string { return nameOf(kindNames[:], int(k)) }

// Codec names how a track's payload is coded.
type Codec uint8

// The codecs this program tells apart. Private is passed through unread.
const (
	CodecUnknown Codec = iota
	H264
	H265
	AV1
	VP9
	AAC
	Opus
	AC3
	EAC3
	MP3
	Private
)

var codecNames = [...]string{"unknown", "h264", "h265", "av1", "vp9", "aac", "opus", "ac3", "eac3", "mp3", "private"}

func (c Codec) String() string { return nameOf(codecNames[:], int(c)) }

func nameOf(names []string, i int) string {
	if i < len(names) {
		return names[i]
	}
	return "invalid"
}

// Flags say what is known of a packet beyond its times.
type Flags uint16

// Key, Open, Gradual, Leading and Disposable come from the bitstream, never
// from what a container claims.
const (
	// Key: decoding can start here (IDR, CRA, BLA, recovery point, AV1 and VP9
	// key frame; every packet of a track whose packets all stand alone).
	Key Flags = 1 << iota
	// Open goes with Key: pictures that follow in decode order and precede in
	// presentation order may refer to what came before (CRA, recovery point
	// without IDR). Whether any does shows only when they arrive.
	Open
	// Gradual goes with Key: the picture is whole only some frames later
	// (recovery_frame_cnt > 0, intra refresh).
	Gradual
	// Leading: cannot be decoded when decoding starts at the Key before it
	// (HEVC RASL; H.264 pictures presented before an Open key).
	Leading
	// Disposable: no other picture refers to it.
	Disposable
	// Discont: the timeline or the data broke before this packet.
	Discont
	// Derived: PTS or DTS was not in the container but computed.
	Derived
	// Corrupt: bytes of it are known to be missing or damaged.
	Corrupt
)

// Has reports whether all of f's bits in m are set.
func (f Flags) Has(m Flags) bool { return f&m == m }

// Packet is one coded access unit or audio frame of one track, in decode order.
type Packet struct {
	Track    int   // index into the Demuxer's Tracks
	DTS, PTS int64 // ticks of the track's Timebase; both always set, wraps undone
	Dur      int64 // ticks; 0 if unknown: then the next DTS minus this one
	Flags    Flags
	// Data is the payload as ISO BMFF stores it: NAL units behind lengths of the
	// size that Config states, AAC without ADTS, one AV1 temporal unit without
	// its temporal delimiter. Never wire framing.
	Data []byte
}

// Track describes one elementary stream. It is immutable: a change of codec or
// configuration is a new Track.
type Track struct {
	Kind     Kind
	Codec    Codec
	Timebase Timebase
	// Config is the codec's configuration record as ISO BMFF stores it, without
	// any box header:
	//
	//	h264  AVCDecoderConfigurationRecord (ISO 14496-15 5.3.3.1)
	//	h265  HEVCDecoderConfigurationRecord (ISO 14496-15 8.3.3.1)
	//	av1   AV1CodecConfigurationRecord (AV1-ISOBMFF 2.3)
	//	vp9   VPCodecConfigurationRecord (without version and flags)
	//	aac   AudioSpecificConfig (ISO 14496-3 1.6.2.1)
	//	opus  OpusSpecificBox payload ("dOps": Version 0, big-endian)
	//	ac3   AC3SpecificBox payload ("dac3", 3 bytes)
	//	eac3  EC3SpecificBox payload ("dec3")
	//	mp3   the first frame's 4-byte header
	//	private  what the container needs to carry it again (see Private)
	Config []byte
	// Private tells which container's words a Private track's Config is in.
	Private PrivateFormat
	// Language is the ISO 639-2 code, or empty.
	Language string
	// Rotation is by how many degrees clockwise the picture is to be turned when it
	// is shown: 0, 90, 180 or 270.
	Rotation uint16
	// ID is the container's own number for the track (track_ID, PID); 0 if none.
	ID uint32
	// Width and Height are of the pictures where Config does not say (vp9), as the
	// container has them; 0 if it has not.
	Width, Height int
}

// PrivateFormat names the meaning of a Private track's Config.
type PrivateFormat uint8

// The private formats.
const (
	PrivateNone PrivateFormat = iota
	PrivateTS                 // stream_type, then the ES descriptors of the PMT
	PrivateMP4                // handler_type (4 bytes), then the whole sample entry box
)

// Allocator hands out payload memory by track. mem.Arena is the one that
// matters; Heap serves tests and tools.
type Allocator interface {
	// Alloc returns n bytes with undefined contents, for the packets of one
	// track in the order in which ReadPacket returns them. It may block until
	// memory is free, or fail, as its budget was set up. Calls come from one
	// goroutine.
	Alloc(track, n int) ([]byte, error)
}

// Heap is an Allocator of ordinary garbage-collected memory.
type Heap struct{}

// Alloc implements Allocator; it never fails.
func (Heap) Alloc(_, n int) ([]byte, error) { return make([]byte, n), nil }

// Demuxer takes packets out of a container or a connection.
//
// The first ReadPacket returns ErrTracks, before any packet; then Tracks is
// valid. A later ErrTracks means that the set changed: packets that follow
// belong to the new Tracks. io.EOF ends the stream; any other error ends it
// too, and is an *Error when the input was at fault.
type Demuxer interface {
	// Tracks is valid from one ErrTracks to the next; do not modify.
	Tracks() []Track
	// ReadPacket returns the next packet, of any track, in decode order per
	// track. Its Data comes from a.
	ReadPacket(a Allocator) (Packet, error)
	// Close is idempotent and unblocks ReadPacket.
	Close() error
}

// Progress is an optional ability of a Demuxer whose input has a known size.
type Progress interface {
	// Progress returns the bytes of input consumed and the size of the input,
	// 0 if unknown. Safe for concurrent use.
	Progress() (done, total int64)
}

// Durationer is an optional ability of a Demuxer.
type Durationer interface {
	// Duration returns the longest track's duration as the container declares
	// it, in ticks of tb; ok is false if it does not.
	Duration() (ticks int64, tb Timebase, ok bool)
}

// Warner is an optional ability of a Demuxer that repairs or skips input.
type Warner interface {
	// Warnings returns what was repaired or skipped so far, each kind once with
	// its count, ready to print. Call it from the goroutine that reads.
	Warnings() []string
}

// VectorReaderAt reads one contiguous range into several buffers in one call.
type VectorReaderAt interface {
	io.ReaderAt
	// ReadVAt fills bufs, one behind the other, from off. It returns an error
	// if and only if it read fewer bytes than they hold.
	ReadVAt(bufs [][]byte, off int64) (int, error)
}

// ErrTracks is returned by ReadPacket when Tracks has become valid or changed.
var ErrTracks = errors.New("av: tracks changed")
