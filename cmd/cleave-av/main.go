//go:build libav

// Command cleave-av is cleave's worker for FFmpeg's libraries: it reads media of any
// container, decodes a key frame, or encodes a chunk anew, for the cleave that started it. It may not open files, reach the
// network, or start programs.
package main

import (
	"fmt"
	"os"

	"github.com/cleave-video/cleave/cmd/cleave-av/internal/shim"
)

// The exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// maxAlloc bounds one allocation of libavformat: an index of 10 million packets.
const maxAlloc = 512 << 20

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	if len(args) != 1 {
		return usage()
	}
	if err := shim.CheckVersions(); err != nil {
		fmt.Fprintf(os.Stderr, "cleave-av: %v\n", err)
		return exitFailed
	}
	shim.Setup(maxAlloc)
	switch args[0] {
	case "worker":
		if err := work(); err != nil {
			fmt.Fprintf(os.Stderr, "cleave-av: %v\n", err)
			return exitFailed
		}
		return exitDone
	case "picture":
		if err := picture(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintf(os.Stderr, "cleave-av: %v\n", err)
			return exitFailed
		}
		return exitDone
	case "encode":
		if err := encode(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintf(os.Stderr, "cleave-av: %v\n", err)
			return exitFailed
		}
		return exitDone
	case "encoder":
		if !shim.CanEncode() {
			fmt.Fprintf(os.Stderr, "cleave-av: %v\n", errNoEncoder)
			return exitFailed
		}
		return exitDone
	case "check":
		return check(os.Stdout)
	case "version":
		fmt.Println("libavformat", shim.Version())
		return exitDone
	}
	return usage()
}

func usage() int {
	fmt.Fprint(os.Stderr, `cleave-av is started by cleave, when a file needs it.

  cleave-av check     show what this process is kept from on this machine
  cleave-av version   show the version of libavformat
`)
	return exitUsage
}
