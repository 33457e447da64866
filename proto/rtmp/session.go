package rtmp

import (
	"encoding/binary"
	"errors"
	"io"
	"net/url"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/format/flv/amf0"
)

// What a session may ask for.
const (
	maxStreams    = 8  // createStream
	maxCommands   = 64 // before publish
	commandsASec  = 20 // while publishing
	windowSize    = 2500000
	outChunkSize  = 4096
	controlID     = 2 // chunk streams of what is sent
	commandID     = 3
	statusID      = 5
	peerDynamic   = 2
	eventBegin    = 0 // user control events. RTMP 7.1.7
	eventEOF      = 1
	eventPing     = 6
	eventPong     = 7
	minAckWindow  = 1 << 10
	capabilities  = 31
	serverProduct = "FMS/3,5,7,7009"
)

// role is what a client came for: one of both.
type role struct {
	pub  *Publisher
	play *Player
}

func (r role) is() bool { return r.pub != nil || r.play != nil }

func (r role) name() string {
	switch {
	case r.pub != nil:
		return r.pub.name
	case r.play != nil:
		return r.play.name
	}
	return ""
}

// state is how far a session has come.
type state uint8

const (
	stateConnect state = iota // nothing but connect is understood
	stateStream               // connected
	statePublish              // the last: media follow
	statePlay                 // the last, too
)

func (s state) String() string { return [...]string{"connect", "stream", "publish", "play"}[s] }

// errEnded says that the client has unpublished.
var errEnded = errors.New("rtmp: unpublished")

// session is the protocol of one connection, behind the handshake. It belongs to
// one goroutine.
type session struct {
	in  *chunkReader
	out chunkWriter

	plays     bool // playing is offered
	state     state
	app       string
	query     url.Values
	streams   uint32 // made by createStream
	published uint32 // the stream that is published
	ended     bool
	commands  int
	second    time.Time // in which commands are counted, while publishing

	ackWindow int64 // 0: none asked for
	acked     int64
}

func newSession(r io.Reader, w io.Writer, maxUnit int) *session {
	s := &session{in: newChunkReader(r, maxUnit), out: chunkWriter{w: w, chunkSize: defaultChunkSize}, ackWindow: windowSize}
	s.in.filled = s.acknowledge
	return s
}

// acknowledge tells how much was read once it is as much as was asked for. RTMP 5.4.3
func (s *session) acknowledge() error {
	if s.ackWindow == 0 || s.in.received-s.acked < s.ackWindow {
		return nil
	}
	s.acked = s.in.received
	s.control(typeAck, uint32(s.acked))
	return s.out.flush()
}

// control adds a protocol control message of one number.
func (s *session) control(kind byte, v uint32) {
	var b [5]byte
	binary.BigEndian.PutUint32(b[:], v)
	n := 4
	if kind == typePeerBandwidth {
		b[4], n = peerDynamic, 5
	}
	s.out.append(controlID, kind, 0, 0, b[:n], nil)
}

// event adds a user control message.
func (s *session) event(kind uint16, v uint32) {
	b := binary.BigEndian.AppendUint16(nil, kind)
	s.out.append(controlID, typeUserControl, 0, 0, binary.BigEndian.AppendUint32(b, v), nil)
}

// negotiate reads commands up to publish or play. The error of a client that wants
// something else was told to it, in what is to be flushed.
func (s *session) negotiate() (role, error) {
	for {
		m, err := s.in.next()
		if err != nil {
			return role{}, err
		}
		if isCommand(m.kind) {
			if s.commands++; s.commands > maxCommands {
				return role{}, s.in.fault("command", "%w: more than %d without publish", av.ErrTooLarge, maxCommands)
			}
			r, err := s.command(m)
			if r.is() || err != nil {
				return r, err
			}
		} else if err := s.handle(m); err != nil {
			return role{}, err
		}
		if err := s.out.flush(); err != nil {
			return role{}, err
		}
	}
}

func isCommand(kind byte) bool { return kind == typeCommandAMF0 || kind == typeCommandAMF3 }

// handle obeys control messages; others are nobody's. RTMP 5.4, 6.2
func (s *session) handle(m message) error {
	b := m.body
	if m.kind < typeSetChunkSize || m.kind > typePeerBandwidth {
		return nil
	}
	if len(b) < 4 {
		if m.kind == typeSetChunkSize {
			return s.in.fault("chunk size", "%w: %d bytes", av.ErrTruncated, len(b))
		}
		return nil
	}
	v := binary.BigEndian.Uint32(b)
	switch m.kind {
	case typeSetChunkSize:
		v &= 1<<31 - 1
		if v == 0 {
			return s.in.fault("chunk size", "%w: 0", av.ErrInvalid)
		}
		s.in.chunkSize = int(min(v, maxChunkSize))
	case typeAbort:
		s.in.abort(v)
	case typeWindowAckSize:
		if v >= minAckWindow { // less would be an answer to every read
			s.ackWindow = int64(v)
		}
	case typeUserControl:
		if binary.BigEndian.Uint16(b) == eventPing && len(b) >= 6 {
			s.event(eventPong, binary.BigEndian.Uint32(b[2:]))
		}
	}
	return nil
}

// command obeys a command before publishing and playing.
func (s *session) command(m message) (role, error) {
	r := amf0.NewReader(amfBody(m))
	name, id := string(r.Bytes()), r.Number()
	if r.Err() != nil {
		return role{}, s.badCommand(&r)
	}
	if s.state == stateConnect && name != "connect" {
		return role{}, s.in.fault("command", "%w: %.40q before connect", av.ErrInvalid, name)
	}
	switch name {
	case "connect":
		return role{}, s.connect(&r, id)
	case "createStream":
		if s.streams == maxStreams {
			return role{}, s.in.fault("createStream", "%w: more than %d", av.ErrTooLarge, maxStreams)
		}
		s.streams++
		s.reply("_result", id, amf0.AppendNumber(amf0.AppendNull(nil), float64(s.streams)))
	case "releaseStream":
		s.reply("_result", id, append(amf0.AppendNull(nil), byte(amf0.Undefined)))
	case "FCPublish":
		s.reply("onFCPublish", 0, amf0.AppendNull(nil))
	case "publish":
		return s.publish(&r, m.stream)
	case "play", "play2":
		return s.play(&r, m.stream)
	}
	return role{}, nil
}

// amfBody returns a command or data message's values. RTMP 7.1.1: the AMF3 kinds
// begin with a byte that says that AMF0 follows.
func amfBody(m message) []byte {
	if (m.kind == typeCommandAMF3 || m.kind == typeDataAMF3) && len(m.body) > 0 {
		return m.body[1:]
	}
	return m.body
}

func (s *session) badCommand(r *amf0.Reader) error {
	return &av.Error{Format: "rtmp", Offset: s.in.offset(), Field: "command", Err: r.Err()}
}

// connect reads the connect command. RTMP 7.2.1.1
func (s *session) connect(r *amf0.Reader, id float64) error {
	if s.state != stateConnect {
		return s.in.fault("connect", "%w: twice", av.ErrInvalid)
	}
	if !r.Enter() {
		s.reply("_error", id, information(amf0.AppendNull(nil), "error", "NetConnection.Connect.Rejected", "no command object"))
		return s.in.fault("connect", "%w: no command object", av.ErrInvalid)
	}
	for {
		key, ok := r.Key()
		if !ok {
			break
		}
		if string(key) == "app" && r.Peek() != amf0.Null && r.Peek() != amf0.Undefined {
			s.app, s.query = splitQuery(r.String())
		} else {
			r.Skip()
		}
	}
	if r.Err() != nil {
		return s.badCommand(r)
	}
	s.state = stateStream
	s.control(typeWindowAckSize, windowSize)
	s.control(typePeerBandwidth, windowSize)
	s.control(typeSetChunkSize, outChunkSize)
	s.out.chunkSize = outChunkSize
	b := amf0.AppendObject(nil)
	b = amf0.AppendString(amf0.AppendKey(b, "fmsVer"), serverProduct)
	b = amf0.AppendNumber(amf0.AppendKey(b, "capabilities"), capabilities)
	b = appendFourCCs(amf0.AppendKey(b, "fourCcList"))
	b = amf0.AppendEnd(b)
	s.reply("_result", id, information(b, "status", "NetConnection.Connect.Success", "connected"))
	return nil
}

// fourCCs are the codecs that are understood. E-RTMP "Enhancing NetConnection connect Command"
var fourCCs = [...]string{"avc1", "hvc1", "av01", "vp09", "mp4a", "Opus", "ac-3", "ec-3", ".mp3"}

func appendFourCCs(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(append(b, byte(amf0.StrictArray)), uint32(len(fourCCs)))
	for _, f := range fourCCs {
		b = amf0.AppendString(b, f)
	}
	return b
}

// publish reads the publish command. RTMP 7.2.2.6
func (s *session) publish(r *amf0.Reader, stream uint32) (role, error) {
	name, query, err := s.key(r, stream, "publish", BadName)
	if err != nil {
		return role{}, err
	}
	s.published = stream
	s.state = statePublish
	s.in.resize(readSize)
	s.commands = 0
	return role{pub: &Publisher{s: s, name: name, query: query}}, nil
}

// play reads the play command. Start, duration and reset are for what is recorded.
// RTMP 7.2.2.1
func (s *session) play(r *amf0.Reader, stream uint32) (role, error) {
	if !s.plays {
		s.status(stream, "error", PlayFailed, "playing is not offered")
		return role{}, s.in.fault("command", "%w: play", av.ErrUnsupported)
	}
	name, query, err := s.key(r, stream, "play", NotFound)
	if err != nil {
		return role{}, err
	}
	s.state = statePlay
	s.commands = 0
	return role{play: &Player{s: s, name: name, query: query, stream: stream}}, nil
}

// key reads the stream's name, with which a client is refused if it is not valid.
func (s *session) key(r *amf0.Reader, stream uint32, command, code string) (string, url.Values, error) {
	r.Skip()
	key := ""
	if r.Peek() == amf0.String || r.Peek() == amf0.LongString {
		key = r.String()
	}
	if r.Err() != nil {
		return "", nil, s.badCommand(r)
	}
	key, query := splitQuery(key)
	for k, v := range s.query {
		query[k] = append(query[k], v...)
	}
	name, ok := cleanName(s.app, key)
	if !ok {
		s.status(stream, "error", code, "not a valid name")
		return "", nil, s.in.fault(command, "%w: name %.80q", av.ErrInvalid, s.app+"/"+key)
	}
	return name, query, nil
}

// pace counts the commands of a client that publishes or plays.
func (s *session) pace(now time.Time) error {
	if now.Sub(s.second) > time.Second {
		s.second, s.commands = now, 0
	}
	if s.commands++; s.commands > commandsASec {
		return s.in.fault("command", "%w: more than %d a second", av.ErrTooLarge, commandsASec)
	}
	return nil
}

// reply adds a command message with what follows the transaction's number.
func (s *session) reply(name string, id float64, rest []byte) {
	b := amf0.AppendNumber(amf0.AppendString(nil, name), id)
	s.out.append(commandID, typeCommandAMF0, 0, 0, b, rest)
}

// status adds an onStatus command. RTMP 7.2.2
func (s *session) status(stream uint32, level, code, description string) {
	b := amf0.AppendNumber(amf0.AppendString(nil, "onStatus"), 0)
	s.out.append(statusID, typeCommandAMF0, stream, 0, information(amf0.AppendNull(b), level, code, description), nil)
}

// information appends an information object.
func information(b []byte, level, code, description string) []byte {
	b = amf0.AppendObject(b)
	b = amf0.AppendString(amf0.AppendKey(b, "level"), level)
	b = amf0.AppendString(amf0.AppendKey(b, "code"), code)
	b = amf0.AppendString(amf0.AppendKey(b, "description"), description)
	b = amf0.AppendNumber(amf0.AppendKey(b, "objectEncoding"), 0)
	return amf0.AppendEnd(b)
}
