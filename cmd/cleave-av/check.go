//go:build libav

package main

/*
#include <stdlib.h>
#include "sandbox.h"
*/
import "C"

import (
	"fmt"
	"io"
	"syscall"
	"unsafe"
)

// forbidden is what the worker is kept from.
func forbidden() []string {
	return []string{"read a file", "write a file", "TCP", "UDP", "fork", "exec", "ptrace", "kill", "2 GB of memory"}
}

// check tries everything that is forbidden and prints what became of it. It fails
// if anything worked.
func check(w io.Writer) int {
	state := C.sandbox_state()
	for _, l := range []struct {
		bit  C.int
		name string
	}{{C.SANDBOX_LIMITS, "resource limits"}, {C.SANDBOX_LANDLOCK, "landlock"}, {C.SANDBOX_SECCOMP, "seccomp"}} {
		verdict := "in force"
		if state&l.bit == 0 {
			verdict = "not on this kernel"
		}
		fmt.Fprintf(w, "%-16s %s\n", l.name, verdict)
	}
	code := exitDone
	for _, what := range forbidden() {
		verdict := "WORKED"
		if errno := attempt(what); errno != 0 {
			verdict = "denied: " + errno.Error()
		} else {
			code = exitFailed
		}
		fmt.Fprintf(w, "%-16s %s\n", what, verdict)
	}
	return code
}

func attempt(what string) syscall.Errno {
	s := C.CString(what)
	defer C.free(unsafe.Pointer(s))
	return syscall.Errno(C.sandbox_attempt(s))
}
