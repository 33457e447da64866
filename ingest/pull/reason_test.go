package pull

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/live"
)

// answered is what an address was answered with.
type answered struct{}

func (answered) Error() string  { return "http://user:secret@host/: 401 go away" }
func (answered) Answer() string { return "401 Unauthorized" }

// dialed returns the error of a connection that is made to an address.
func dialed(ctx context.Context, address string) error {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err == nil {
		c.Close()
	}
	return err
}

func TestReason(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().String()
	l.Close()
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	defer secure.Close()
	_, uncertain := tls.Dial("tcp", strings.TrimPrefix(secure.URL, "https://"), nil)
	late, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	for _, test := range []struct {
		err  error
		want string
		full bool
	}{
		{fmt.Errorf("x: %w", answered{}), "it answered 401 Unauthorized", false},
		{dialed(t.Context(), closed), "its host refuses the connection", false},
		{dialed(late, closed), "its host does not answer", false},
		{&url.Error{Op: "Get", URL: "http://h/", Err: &net.DNSError{Name: "h", IsNotFound: true}}, "the name of its host is not known", false},
		{uncertain, "its certificate is not valid", false},
		{Policy{}.Check(netip.MustParseAddr("10.0.0.1")), "its address is not allowed", false},
		{fmt.Errorf("x: %w", os.ErrDeadlineExceeded), "its host does not answer", false},
		{io.ErrUnexpectedEOF, "its host closed the connection", false},
		{fmt.Errorf("x: %w", live.ErrCrowded), "there are too many streams", true},
		{fmt.Errorf("x: %w", live.ErrMemory), "there is too little memory for another stream", true},
		{av.Errorf("ts", 1, "sync_byte", "%w", av.ErrInvalid), "what it sends cannot be read", false},
		{errors.New("rtsp://user:secret@host/ did something"), "it cannot be opened", false},
	} {
		if got := failure(test.err, -time.Second); got.Reason != test.want || got.Full != test.full || got.After != 0 {
			t.Errorf("%v: %+v, want %q", test.err, got, test.want)
		}
	}
}

// What an error says of an address has neither its password nor its query.
func TestHide(t *testing.T) {
	u, err := url.Parse("srt://user:s3cret%2Fx@host:1/a?streamid=read:secret-name&passphrase=correct%20horse&latency=200&transport=tcp")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		u.String(), "dial tcp: " + u.Redacted(), "s3cret/x", "s3cret%2Fx", "no stream read:secret-name", `passphrase "correct horse"`,
	} {
		got := hide(fmt.Errorf("%s: %w", text, io.EOF), u)
		for _, secret := range []string{"s3cret", "secret-name", "horse"} {
			if strings.Contains(got.Error(), secret) {
				t.Errorf("%q shows %q", got, secret)
			}
		}
		if !errors.Is(got, io.EOF) {
			t.Errorf("%q is no %v", got, io.EOF)
		}
	}
	for _, err := range []error{nil, io.EOF, errors.New("dial tcp 1.2.3.4:200: refused")} {
		if got := hide(err, u); got != err {
			t.Errorf("%v became %v", err, got)
		}
	}
}
