//go:build libav

package shim

/*
#cgo LDFLAGS: -lm
#include <stdlib.h>
#include "picture.h"
*/
import "C"

import (
	"runtime"
	"unsafe"
)

// Picture decodes a key frame, data as ISO BMFF stores it and the codec's record beside
// it, and returns it as a JPEG picture of quality 1, the best, to 31. codec is
// libavcodec's name. A picture of more than maxPixels is refused. It returns an *Error.
func Picture(codec string, config, data []byte, maxPixels int64, quality int) ([]byte, error) {
	name := C.CString(codec)
	defer C.free(unsafe.Pointer(name))
	in := C.struct_cav_coded{codec: name, config_size: C.size_t(len(config)), size: C.size_t(len(data))}
	var pin runtime.Pinner
	defer pin.Unpin()
	for _, p := range []struct {
		b  []byte
		at **C.uint8_t
	}{{config, &in.config}, {data, &in.data}} {
		if len(p.b) > 0 {
			pin.Pin(&p.b[0])
			*p.at = (*C.uint8_t)(&p.b[0])
		}
	}
	var out *C.uint8_t
	var size C.size_t
	if rc := C.cav_picture(&in, C.int64_t(maxPixels), C.int(quality), &out, &size); rc < 0 {
		return nil, errorOf(rc)
	}
	defer C.cav_free(unsafe.Pointer(out))
	return C.GoBytes(unsafe.Pointer(out), C.int(size)), nil
}
