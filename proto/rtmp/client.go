package rtmp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/format/flv"
	"github.com/cleave-video/cleave/format/flv/amf0"
)

const (
	defaultPort  = "1935"
	securePort   = "443"
	clientChunks = 64 << 10
	mediaID      = 6 // chunk stream of audio and video; statusID is taken by others
	dialTimeout  = 10 * time.Second
)

// Client publishes one stream. WriteTracks, WritePacket and Publish belong to one
// goroutine; Close may be called from any.
type Client struct {
	s      *session
	conn   *timedConn
	key    string
	stream uint32
	tracks []av.Track
	head   []byte
	ctx    context.Context // of the session: its end closes the connection
	stop   func() bool
	group  sync.WaitGroup
	once   sync.Once
	close  error

	mu  sync.Mutex // guards s.out
	err error      // why the server ended the stream; guarded by mu
}

// Dial connects to an address such as rtmp://host:1935/app/key?query, or rtmps,
// and begins to publish. When ctx is done the connection is closed, also later;
// the caller must Close the client. The error is a *Refused if the server turned
// the stream away.
func Dial(ctx context.Context, address string) (*Client, error) {
	t, err := parseTarget(address)
	if err != nil {
		return nil, err
	}
	conn, err := t.dial(ctx, new(net.Dialer).DialContext, nil)
	if err != nil {
		return nil, err
	}
	c := &Client{conn: &timedConn{Conn: conn}, key: t.key, ctx: ctx}
	c.stop = context.AfterFunc(ctx, func() { conn.Close() })
	c.s = newSession(c.conn, c.conn, DefaultMaxUnit)
	c.s.in.filled = nil // what a server says needs no acknowledgement
	if err := c.begin(t); err != nil {
		c.stop()
		conn.Close()
		c.s.in.close()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	c.group.Go(c.listen)
	return c, nil
}

// target is what an address names.
type target struct {
	host, app, key, url string
	secure              bool
}

func parseTarget(address string) (target, error) {
	u, err := url.Parse(address)
	if err != nil {
		return target{}, fmt.Errorf("rtmp: %w", err)
	}
	i := strings.LastIndexByte(u.Path, '/')
	if (u.Scheme != "rtmp" && u.Scheme != "rtmps") || u.Hostname() == "" || i < 0 || i == len(u.Path)-1 {
		return target{}, fmt.Errorf("rtmp: %q is not rtmp://host/app/key", u.Redacted())
	}
	t := target{app: strings.Trim(u.Path[:i], "/"), key: u.Path[i+1:], secure: u.Scheme == "rtmps"}
	port := u.Port()
	if port == "" {
		port = defaultPort
		if t.secure {
			port = securePort
		}
	}
	t.host = net.JoinHostPort(u.Hostname(), port)
	t.url = u.Scheme + "://" + u.Host + "/" + t.app
	if u.RawQuery != "" {
		t.key += "?" + u.RawQuery
	}
	return t, nil
}

// dial connects, by TLS for rtmps.
func (t *target) dial(ctx context.Context, dial func(ctx context.Context, network, address string) (net.Conn, error), c *tls.Config) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := dial(ctx, "tcp", t.host)
	if err != nil {
		return nil, fmt.Errorf("rtmp: %w", err)
	}
	if !t.secure {
		return conn, nil
	}
	if c == nil {
		c = &tls.Config{}
	}
	if c = c.Clone(); c.ServerName == "" {
		c.ServerName, _, _ = net.SplitHostPort(t.host)
	}
	secured := tls.Client(conn, c)
	if err := secured.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("rtmp: %w", err)
	}
	return secured, nil
}

// begin does the handshake and the commands. RTMP 7.2.1, 7.2.2.6
func (c *Client) begin(t target) error {
	if err := c.conn.until(time.Now().Add(dialTimeout)); err != nil {
		return err
	}
	if err := dialHandshake(c.conn); err != nil {
		return err
	}
	s := c.s
	if err := c.connect(t); err != nil {
		return err
	}
	for i, name := range []string{"releaseStream", "FCPublish"} {
		s.reply(name, float64(2+i), amf0.AppendString(amf0.AppendNull(nil), c.key))
	}
	if err := c.createStream(4); err != nil {
		return err
	}
	b := amf0.AppendNumber(amf0.AppendString(nil, "publish"), 5)
	b = amf0.AppendString(amf0.AppendString(amf0.AppendNull(b), c.key), "live")
	s.out.append(statusID, typeCommandAMF0, c.stream, 0, b, nil)
	if _, err := c.await("onStatus", 0); err != nil {
		return err
	}
	return c.conn.until(time.Now().Add(365 * 24 * time.Hour)) // the server may be silent
}

// connect sends the connect command. RTMP 7.2.1.1
func (c *Client) connect(t target) error {
	s := c.s
	s.control(typeSetChunkSize, clientChunks)
	s.out.chunkSize = clientChunks
	b := amf0.AppendObject(nil)
	for _, kv := range [][2]string{{"app", t.app}, {"type", "nonprivate"}, {"flashVer", "FMLE/3.0 (compatible; cleave)"}, {"tcUrl", t.url}} {
		b = amf0.AppendString(amf0.AppendKey(b, kv[0]), kv[1])
	}
	b = appendFourCCs(amf0.AppendKey(b, "fourCcList"))
	s.reply("connect", 1, amf0.AppendEnd(b))
	_, err := c.await("_result", 1)
	return err
}

// createStream returns the number of a new stream. RTMP 7.2.1.3
func (c *Client) createStream(id float64) error {
	c.s.reply("createStream", id, amf0.AppendNull(nil))
	r, err := c.await("_result", id)
	if err != nil {
		return err
	}
	r.Skip()
	c.stream = uint32(r.Number())
	if r.Err() != nil {
		return c.s.badCommand(&r)
	}
	return nil
}

// await sends what was added and reads until the answer to a command; r stands
// behind its number.
func (c *Client) await(name string, id float64) (amf0.Reader, error) {
	for {
		if err := c.s.out.flush(); err != nil {
			return amf0.Reader{}, err
		}
		m, err := c.s.in.next()
		if err != nil {
			return amf0.Reader{}, unexpected(err)
		}
		if !isCommand(m.kind) {
			if err := c.s.handle(m); err != nil {
				return amf0.Reader{}, err
			}
			continue
		}
		r := amf0.NewReader(amfBody(m))
		got, n := string(r.Bytes()), r.Number()
		if r.Err() != nil {
			return r, c.s.badCommand(&r)
		}
		switch {
		case got == "onStatus" || got == "_error" && n == id:
			if no := refusal(r); no != nil {
				return r, no
			}
			if got == name {
				return r, nil
			}
		case got == name && n == id:
			return r, nil
		}
	}
}

// refusal reads an information object, and returns what it says if that is an error.
func refusal(r amf0.Reader) *Refused {
	var no Refused
	level := ""
	r.Skip() // null, or the properties of the server
	if !r.Enter() {
		return nil
	}
	for {
		key, ok := r.Key()
		if !ok {
			break
		}
		switch {
		case r.Peek() != amf0.String:
			r.Skip()
		case string(key) == "level":
			level = r.String()
		case string(key) == "code":
			no.Code = r.String()
		case string(key) == "description":
			no.Description = r.String()
		default:
			r.Skip()
		}
	}
	if level != "error" {
		return nil
	}
	return &no
}

// listen reads what the server says meanwhile.
func (c *Client) listen() {
	for {
		m, err := c.s.in.next()
		if err == nil && isCommand(m.kind) {
			r := amf0.NewReader(amfBody(m))
			name := string(r.Bytes())
			r.Skip()
			if no := refusal(r); name == "onStatus" && no != nil {
				err = no
			}
		}
		c.mu.Lock()
		if err == nil {
			if err = c.s.handle(m); err == nil {
				err = c.s.out.flush()
			}
		}
		if err != nil {
			c.err = unexpected(err)
		}
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// WriteTracks announces tracks; call it again when they change. The error wraps
// av.ErrUnsupported for a track that RTMP does not carry.
func (c *Client) WriteTracks(tracks []av.Track) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	meta := amf0.AppendString(amf0.AppendString(nil, "@setDataFrame"), "onMetaData")
	meta = amf0.AppendObject(meta)
	for i := range tracks {
		switch flv.TagType(&tracks[i]) {
		case flv.TypeVideo:
			meta = amf0.AppendBool(amf0.AppendKey(meta, "hasVideo"), true)
		case flv.TypeAudio:
			meta = amf0.AppendBool(amf0.AppendKey(meta, "hasAudio"), true)
		}
	}
	c.s.out.append(mediaID, typeDataAMF0, c.stream, 0, amf0.AppendEnd(meta), nil)
	for i := range tracks {
		b, err := flv.AppendSequenceStart(nil, &tracks[i])
		if err != nil {
			return err
		}
		if len(b) > 0 {
			c.s.out.append(mediaID, flv.TagType(&tracks[i]), c.stream, 0, b, nil)
		}
	}
	c.tracks = tracks
	return c.flush()
}

// WritePacket sends a packet of the tracks announced. It blocks while the server
// does not read, up to 5 s.
func (c *Client) WritePacket(p av.Packet) error {
	if p.Track < 0 || p.Track >= len(c.tracks) {
		return fmt.Errorf("rtmp: packet of track %d, %d are announced", p.Track, len(c.tracks))
	}
	t := &c.tracks[p.Track]
	dts := t.Timebase.Rescale(p.DTS, av.Millisecond)
	pts := t.Timebase.Rescale(p.PTS, av.Millisecond)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.head = flv.AppendFrameHead(c.head[:0], t, p.Flags, pts-dts)
	if len(c.head)+len(p.Data) > MaxUnit {
		return fmt.Errorf("rtmp: packet: %w: %d bytes", av.ErrTooLarge, len(p.Data))
	}
	c.s.out.append(mediaID, flv.TagType(t), c.stream, uint32(dts), c.head, p.Data)
	return c.flush()
}

// flush sends what was added. mu is held.
func (c *Client) flush() error {
	err := c.s.out.flush()
	switch {
	case c.ctx.Err() != nil:
		return context.Cause(c.ctx)
	case c.err != nil:
		return c.err
	}
	return err
}

// Publish sends what d gives until io.EOF, as fast as the server takes it, and
// returns nil then. It closes neither d nor c.
func (c *Client) Publish(d av.Demuxer) error {
	for {
		p, err := d.ReadPacket(av.Heap{}) // some demuxers hold several packets at a time
		switch {
		case errors.Is(err, av.ErrTracks):
			err = c.WriteTracks(d.Tracks())
		case err == nil:
			err = c.WritePacket(p)
		case err == io.EOF:
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Close says that the stream has ended and closes the connection. It is
// idempotent and returns the first error.
func (c *Client) Close() error {
	c.once.Do(func() {
		c.mu.Lock()
		c.s.reply("FCUnpublish", 6, amf0.AppendString(amf0.AppendNull(nil), c.key))
		c.s.reply("deleteStream", 7, amf0.AppendNumber(amf0.AppendNull(nil), float64(c.stream)))
		err := c.s.out.flush()
		c.mu.Unlock()
		if w, ok := c.conn.Conn.(interface{ CloseWrite() error }); ok && err == nil {
			err = w.CloseWrite()
		}
		// The server closes once it has read everything.
		err = errors.Join(err, c.conn.SetReadDeadline(time.Now().Add(2*lingerTime)))
		c.group.Wait()
		c.stop()
		c.close = errors.Join(err, c.conn.Close())
		c.s.in.close()
		if c.ctx.Err() != nil {
			c.close = nil // it was closed by that
		}
	})
	return c.close
}
