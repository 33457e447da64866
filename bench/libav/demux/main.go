// Command demux reads every packet of a file as cleave does, and prints how many there
// were and what its worker took, if there was one.
//
//	demux native|libav FILE
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/ingest/file"
)

// again hands out the same memory again and again: nobody keeps a packet here.
type again struct{ b []byte }

func (a *again) Alloc(_, n int) ([]byte, error) {
	if n > len(a.b) {
		a.b = make([]byte, 2*n)
	}
	return a.b[:n:n], nil
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "demux:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: demux native|libav FILE")
	}
	in, err := file.Open(context.Background(), args[1], file.Options{Demuxer: file.Demuxer(args[0]), RawTimes: true})
	if err != nil {
		return err
	}
	packets, bytes := 0, 0
	for a := new(again); ; {
		p, err := in.ReadPacket(a)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil && !errors.Is(err, av.ErrTracks) {
			return err
		}
		if err == nil {
			packets, bytes = packets+1, bytes+len(p.Data)
		}
	}
	if err := in.Close(); err != nil {
		return err
	}
	var worker syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_CHILDREN, &worker); err != nil {
		return err
	}
	fmt.Println(packets, bytes, time.Duration(worker.Utime.Nano()+worker.Stime.Nano()).Microseconds())
	return nil
}
