package libav

import (
	"errors"
	"net"
	"strings"
	"unicode"

	"golang.org/x/sys/unix"

	"github.com/cleave-video/cleave/av"
)

// averror is an AVERROR that FFmpeg makes of four letters.
func averror(a, b, c, d byte) int64 {
	return -int64(uint32(a) | uint32(b)<<8 | uint32(c)<<16 | uint32(d)<<24)
}

// kindOf tells what kind of fault an AVERROR is.
func kindOf(code int64) error {
	switch code {
	case averror('P', 'A', 'W', 'E'), averror(0xf8, 'D', 'E', 'M'), averror(0xf8, 'D', 'E', 'C'), averror(0xf8, 'S', 'T', 'R'):
		return av.ErrUnsupported
	case -int64(unix.ENOMEM), -int64(unix.EFBIG):
		return av.ErrTooLarge
	}
	return av.ErrInvalid
}

// isSocketError reports whether err is of the socket to the worker.
func isSocketError(err error) bool {
	var op *net.OpError
	return errors.As(err, &op)
}

// printable makes one short line of what a worker says, which may be anything.
func printable(b []byte) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(string(b), ""))
}
