package nowait

import (
	"bytes"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/cleave-video/cleave/internal/testnet"
)

// TestWrite: what a connection takes is sent in order, also with a deadline that has
// passed; what it does not take is told.
func TestWrite(t *testing.T) {
	server, client := testnet.Conns(t)
	w := New(server)
	_ = server.SetWriteDeadline(time.Now().Add(-time.Second))
	var all, sent []byte
	var bufs [][]byte
	for i := range 3 * maxPieces {
		bufs = append(bufs, bytes.Repeat([]byte{byte('a' + i)}, 1000+i))
	}
	for {
		n, err := w.Write(bufs)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, bytes.Join(bufs, nil)[:n]...)
		if n < size(bufs) {
			rest := bytes.Join(Rest(nil, bufs, n), nil)
			if !bytes.Equal(rest, bytes.Join(bufs, nil)[n:]) {
				t.Error("Rest is not what is left")
			}
			break
		}
	}
	if n, err := w.Write(bufs[:1]); n != 0 || err != nil {
		t.Error("a connection that takes nothing took", n, err)
	}
	done := make(chan error, 1)
	go func() {
		var err error
		sent, err = io.ReadAll(client)
		done <- err
	}()
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil || !bytes.Equal(sent, all) {
		t.Errorf("%d bytes arrived of %d, %v", len(sent), len(all), err)
	}
	if _, err := w.Write(bufs); !errors.Is(err, net.ErrClosed) {
		t.Error("a write after Close:", err)
	}
}

func TestBroken(t *testing.T) {
	server, client := testnet.Conns(t)
	w := New(server)
	_ = client.(*net.TCPConn).SetLinger(0)
	client.Close()
	for {
		_, err := w.Write([][]byte{{1}})
		if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestOthers(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if New(a) != nil {
		t.Error("a pipe is no TCP")
	}
	server, _ := testnet.Conns(t)
	server.Close()
	if w := New(server); w != nil {
		if _, err := w.Write([][]byte{{1}}); err == nil {
			t.Error("a closed connection takes something")
		}
	}
}

func TestAllocs(t *testing.T) {
	server, client := testnet.Conns(t)
	go io.Copy(io.Discard, client)
	w := New(server)
	one, several := [][]byte{{1}}, [][]byte{{1}, {2}, {3}, {4}, {5}, {6}, {7}, {8}, {9}}
	if n := testing.AllocsPerRun(100, func() { w.Write(one); w.Write(several) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
