package tcpinfo

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/cleave-video/cleave/internal/testnet"
)

// TestRead: a client that reads has a round trip and no backlog; one that does not has a
// backlog.
func TestRead(t *testing.T) {
	server, client := testnet.Conns(t)
	_ = client.(*net.TCPConn).SetReadBuffer(8 << 10)
	c := New(tls.Server(server, nil)) // what lies below it
	if c == nil {
		t.Fatal("a TCP connection is not known")
	}
	if _, err := server.Write(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(client, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	info, err := c.Read()
	if err != nil || info.RTT <= 0 || info.RTT > time.Second || info.Backlog != 0 {
		t.Errorf("a client that reads: %+v, %v", info, err)
	}
	_ = server.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	for err = nil; err == nil; {
		_, err = server.Write(make([]byte, 64<<10))
	}
	if info, err = c.Read(); err != nil || info.Backlog == 0 {
		t.Errorf("a client that does not read: %+v, %v", info, err)
	}
	server.Close()
	if _, err := c.Read(); err == nil {
		t.Error("a closed connection is asked")
	}
}

func TestOthers(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if New(a) != nil {
		t.Error("a pipe is no TCP")
	}
}

// TestUserTimeout: a peer that takes nothing is given up, below TLS, too, though it is there.
func TestUserTimeout(t *testing.T) {
	server, _ := testnet.Conns(t)
	if err := SetUserTimeout(tls.Server(server, &tls.Config{}), 100*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	_ = server.SetWriteDeadline(time.Now().Add(time.Minute))
	var err error
	for err == nil {
		_, err = server.Write(make([]byte, 1<<20))
	}
	if !errors.Is(err, syscall.ETIMEDOUT) {
		t.Error(err)
	}
	if err := SetUserTimeout(struct{ net.Conn }{server}, time.Second); err != nil {
		t.Error("not TCP:", err)
	}
}
