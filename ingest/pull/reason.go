package pull

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/live"
)

// failure is what viewers are told of a source that has failed.
func failure(err error, after time.Duration) *live.SourceError {
	full := errors.Is(err, live.ErrCrowded) || errors.Is(err, live.ErrMemory)
	return &live.SourceError{Reason: reason(err), Full: full, After: max(0, after)}
}

// answerer is the error of a source's server that has answered with one. The text is
// ours, not the server's.
type answerer interface {
	error
	Answer() string
}

// reason is why a source has failed, in words that show neither its address nor anything
// that it could have chosen.
func reason(err error) string {
	var answer answerer
	if errors.As(err, &answer) {
		return "it answered " + answer.Answer()
	}
	var slow net.Error
	if errors.As(err, &slow) && slow.Timeout() {
		return "its host does not answer"
	}
	var name *net.DNSError
	if errors.As(err, &name) {
		return "the name of its host is not known"
	}
	var cert *tls.CertificateVerificationError
	if errors.As(err, &cert) {
		return "its certificate is not valid"
	}
	for _, r := range []struct {
		err  error
		text string
	}{
		{ErrAddress, "its address is not allowed"},
		{os.ErrDeadlineExceeded, "its host does not answer"},
		{syscall.ECONNREFUSED, "its host refuses the connection"},
		{syscall.EHOSTUNREACH, "its host cannot be reached"},
		{syscall.ENETUNREACH, "its host cannot be reached"},
		{syscall.ECONNRESET, "its host closed the connection"},
		{io.ErrUnexpectedEOF, "its host closed the connection"},
		{io.EOF, "its host closed the connection"},
		{os.ErrNotExist, "it is not there"},
		{live.ErrCrowded, "there are too many streams"},
		{live.ErrMemory, "there is too little memory for another stream"},
		{live.ErrTaken, "somebody else publishes under its name"},
		{av.ErrUnsupported, "what it sends is not supported"},
		{av.ErrTooLarge, "what it sends cannot be read"},
		{av.ErrInvalid, "what it sends cannot be read"},
	} {
		if errors.Is(err, r.err) {
			return r.text
		}
	}
	return "it cannot be opened"
}

// hidden is an error whose text does not show the secrets of an address.
type hidden struct {
	text string
	err  error
}

func (h *hidden) Error() string { return h.text }
func (h *hidden) Unwrap() error { return h.err }

// hide takes the password and the query of u out of what err says.
func hide(err error, u *url.URL) error {
	if err == nil {
		return nil
	}
	secrets := []string{u.RawQuery}
	if password, ok := u.User.Password(); ok {
		secrets = append(secrets, u.User.String(), url.QueryEscape(password), password)
	}
	for key, values := range u.Query() {
		switch key {
		case "transport", "latency", "mode", "loop", "next": // ours, and no secrets
		default:
			secrets = append(secrets, values...)
		}
	}
	text := err.Error()
	for _, s := range secrets {
		if len(s) > 2 { // shorter ones are in other words, too, and hide nothing
			text = strings.ReplaceAll(text, s, "xxxxx")
		}
	}
	if text == err.Error() {
		return err
	}
	return &hidden{text, err}
}
