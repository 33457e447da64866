package feed

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/live"
)

const (
	// maxSaid is how long a message of a client may be, which nobody reads.
	maxSaid = 4 << 10
	// goodbye is how long the closing handshake may take (RFC 6455 7.1.1).
	goodbye = 5 * time.Second
)

// errClient is why an answer ends that its client ended or made impossible.
var errClient = errors.New("feed: the client ended it")

// asksForSocket reports whether r asks for a WebSocket; whether it does so properly
// is for the handshake to say.
func asksForSocket(r *http.Request) bool {
	for _, line := range r.Header.Values("Upgrade") {
		for token := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(token), "websocket") {
				return true
			}
		}
	}
	return false
}

// socket is a WebSocket as a live.Sink: each Write is one binary message, with a
// frame for each piece, so that no message is put together in memory.
type socket struct {
	ws       *websocket.Conn
	conn     net.Conn // below ws, for deadlines: ws has none while it waits for the end of a frame
	deadline time.Duration
	rest     [][]byte // what TryWrite has left
}

var _ live.Sink = (*socket)(nil)

// hijacked keeps the connection that a handshake takes over.
type hijacked struct {
	http.ResponseWriter
	conn net.Conn
}

// Hijack implements http.Hijacker.
func (h *hijacked) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	h.conn = conn
	return conn, rw, err
}

// openSocket answers the handshake. If it cannot be, the client was told why. Pages of
// any origin may open one, as they may read the answer without a WebSocket.
func openSocket(w http.ResponseWriter, r *http.Request, deadline time.Duration) (*socket, error) {
	h := &hijacked{ResponseWriter: w}
	ws, err := websocket.Accept(h, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return nil, err
	}
	ws.SetReadLimit(maxSaid)
	return &socket{ws: ws, conn: h.conn, deadline: deadline}, nil
}

// Write implements live.Sink.
func (s *socket) Write(bufs [][]byte) error {
	defer func() {
		clear(s.rest)
		s.rest = s.rest[:0]
	}()
	s.rest = append(s.rest, bufs...)
	if len(s.rest) == 0 {
		return nil
	}
	if err := s.conn.SetWriteDeadline(time.Now().Add(s.deadline)); err != nil {
		return err
	}
	if err := s.message(s.rest); err != nil {
		return err
	}
	return s.conn.SetWriteDeadline(time.Time{}) // a pong may come much later
}

func (s *socket) message(bufs [][]byte) error {
	ctx := context.Background() // it could only cut a frame short
	if len(bufs) == 1 {
		return s.ws.Write(ctx, websocket.MessageBinary, bufs[0])
	}
	w, err := s.ws.Writer(ctx, websocket.MessageBinary)
	if err != nil {
		return err
	}
	for _, b := range bufs {
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	return w.Close()
}

// TryWrite implements live.Sink. It leaves everything: a frame cannot be begun without
// waiting for what the reader answers meanwhile.
func (s *socket) TryWrite(bufs [][]byte) (whole bool, err error) {
	s.rest = append(s.rest, bufs...)
	return false, nil
}

// discard reads what the client says, so that pings and the closing handshake are
// answered, until the connection ends.
func (s *socket) discard() error {
	for {
		_, r, err := s.ws.Reader(context.Background())
		if err == nil {
			_, err = io.Copy(io.Discard, r)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errClient, err)
		}
	}
}

// end closes the connection for the reason err: with the handshake, unless a frame may
// be under way.
func (s *socket) end(err error) {
	code, reason := websocket.StatusNormalClosure, "the stream has ended"
	switch {
	case errors.Is(err, io.EOF):
	case errors.Is(err, errClient), errors.Is(err, net.ErrClosed): // what was wrong has been answered
		code, reason = websocket.StatusProtocolError, ""
	case errors.Is(err, av.ErrUnsupported):
		code, reason = websocket.StatusInternalError, "the stream cannot be carried any more"
	case errors.Is(err, context.Canceled):
		code, reason = websocket.StatusGoingAway, "the server ends"
	default:
		if tcp, ok := s.conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // the kernel need not keep what the client does not take
		}
		_ = s.ws.CloseNow()
		return
	}
	_ = s.conn.SetDeadline(time.Now().Add(min(s.deadline, goodbye)))
	_ = s.ws.Close(code, reason) // the client may be gone
}

// talk sends bufs and whatever comes, until ctx, the stream or the client ends it.
func (s *socket) talk(ctx context.Context, bufs [][]byte, v *live.Viewer) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var reader sync.WaitGroup
	reader.Go(func() { cancel(s.discard()) })
	err := s.Write(bufs)
	if err == nil {
		err = v.Send(ctx, s)
	}
	v.Close() // before the connection lingers
	s.end(err)
	reader.Wait()
}
