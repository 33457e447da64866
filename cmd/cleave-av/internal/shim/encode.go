//go:build libav

package shim

/*
#include <stdlib.h>
#include "encode.h"
*/
import "C"

import (
	"runtime"
	"unsafe"

	"github.com/cleave-video/cleave/format/libav/wire"
)

// CanEncode reports whether there is an encoder.
func CanEncode() bool { return C.cav_encoder_there() != 0 }

// Encode decodes a chunk of video and encodes it anew, smaller. A picture of the source
// of more than maxPixels is refused. It returns an *Error.
func Encode(c *wire.Chunk, maxPixels int64) (*wire.Encoded, error) {
	shown := c.Shown()
	list := make([]C.struct_cav_shown, len(shown))
	for i, u := range shown {
		list[i].pts = C.int64_t(u.PTS)
		if u.Key {
			list[i].key = 1
		}
	}
	e, err := openEncoder(c, list, maxPixels)
	if err != nil {
		return nil, err
	}
	defer C.cav_encoder_close(e)
	for i := range c.Units {
		u := &c.Units[i]
		if len(u.Data) == 0 {
			continue
		}
		key := C.int(0)
		if u.Key {
			key = 1
		}
		if rc := C.cav_encoder_send(e, (*C.uint8_t)(&u.Data[0]), C.size_t(len(u.Data)), C.int64_t(u.PTS), key); rc < 0 {
			return nil, errorOf(rc)
		}
	}
	if rc := C.cav_encoder_send(e, nil, 0, 0, 0); rc < 0 {
		return nil, errorOf(rc)
	}
	var out C.struct_cav_encoded
	C.cav_encoder_result(e, &out)
	return &wire.Encoded{
		Config: C.GoBytes(unsafe.Pointer(out.config), C.int(out.config_size)), Packets: C.GoBytes(unsafe.Pointer(out.data), C.int(out.size)),
		Repeated: int(out.repeated),
	}, nil
}

func openEncoder(c *wire.Chunk, list []C.struct_cav_shown, maxPixels int64) (*C.struct_cav_encoder, error) {
	name := C.CString(c.Codec)
	defer C.free(unsafe.Pointer(name))
	in := C.struct_cav_coded{codec: name, config_size: C.size_t(len(c.Config))}
	var pin runtime.Pinner
	defer pin.Unpin()
	if len(c.Config) > 0 {
		pin.Pin(&c.Config[0])
		in.config = (*C.uint8_t)(&c.Config[0])
	}
	to := C.struct_cav_encoding{
		height: C.int(c.Height), bitrate: C.int64_t(c.Bitrate), rate_num: C.int(c.Rate[0]), rate_den: C.int(c.Rate[1]), depth: C.int(c.Depth),
		max_pixels: C.int64_t(maxPixels),
	}
	var rc C.int
	e := C.cav_encoder_open(&in, &to, &list[0], C.size_t(len(list)), &rc)
	if e == nil {
		return nil, errorOf(rc)
	}
	return e, nil
}
