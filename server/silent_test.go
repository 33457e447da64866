package server

import (
	"net"
	"testing"

	"github.com/cleave-video/cleave/live"
)

// TestEndWithSilentClient: connections on which nothing was asked for do not hold up the end.
func TestEndWithSilentClient(t *testing.T) {
	s := start(t, live.Config{})
	for _, a := range []net.Addr{s.addrs.HTTP, s.addrs.Admin} {
		c, err := net.Dial("tcp", a.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		// Another is answered: the first was accepted, too.
		if _, body := get(t, "http://"+a.String()+"/nothing"); body == "" {
			t.Error("no answer")
		}
	}
	s.stop() // which fails the test if the server ends with an error
}
