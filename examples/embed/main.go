// Command embed cuts a file in a program of one's own: a demuxer's packets go
// through a Chunker, and workers get whole chunks.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"sync"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/chunk"
	"github.com/cleave-video/cleave/ingest/file"
	"github.com/cleave-video/cleave/mem"
)

func main() {
	in, err := file.Open(context.Background(), os.Args[1], file.Options{})
	check(err)
	defer in.Close()
	pool := mem.NewPool(0)
	arena := pool.NewArena(context.Background())
	defer arena.Close()
	chunker, err := chunk.New(chunk.Config{Stream: "example", Policy: chunk.Keyframe{Target: 2 * time.Second}, Arena: arena})
	check(err)
	chunks := make(chan *chunk.Chunk)
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() { work(chunks) })
	}
	for err == nil {
		var p av.Packet
		var events []chunk.Event
		if p, err = in.ReadPacket(arena); err == nil {
			events, err = chunker.Write(p)
		} else if errors.Is(err, av.ErrTracks) {
			events, err = chunker.SetTracks(in.Tracks())
		} else {
			events = chunker.Close(chunk.End)
		}
		send(chunks, events)
	}
	close(chunks)
	workers.Wait()
}

func send(chunks chan<- *chunk.Chunk, events []chunk.Event) {
	for _, e := range events {
		if e.Op == chunk.Close {
			chunks <- e.Chunk
		}
	}
}

// work has the chunk until it releases it.
func work(chunks <-chan *chunk.Chunk) {
	for c := range chunks {
		fmt.Println(c.ID.Start, c.Span.Timebase, c.Span.Frames, "frames", c.Bytes(), "bytes, ended by", c.Why)
		c.Release()
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
