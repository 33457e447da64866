// The shim between Go and libavformat: open, read packets in batches, close.
// FFmpeg 5.1 and newer.
#ifndef CLEAVE_SHIM_H
#define CLEAVE_SHIM_H

#include <stddef.h>
#include <stdint.h>

// A demuxer. Its functions are called by one thread at a time, but
// cav_interrupt, which any thread may call until cav_close.
typedef struct cav cav;

// How to open an input. handle goes back to the callbacks.
struct cav_options {
	uintptr_t handle;
	int seekable;            // the seek callback works
	const char *format;      // libavformat's name, or NULL
	int64_t probesize;       // bytes, 0 default
	int64_t analyzeduration; // microseconds, 0 default
};

// One packet of a batch: wire.Desc.
struct cav_packet {
	int32_t stream;
	uint32_t flags;
	int64_t pts, dts, duration, position;
	uint32_t offset, size;
	uint32_t extra;
	uint32_t reserved[3];
};

enum {
	CAV_KEY = 1,
	CAV_CORRUPT = 2,
	CAV_DISCARD = 4,
	CAV_CONFIG = 8,
};

// What a stream is. The pointers are valid until the next call.
struct cav_stream {
	int kind; // AVMediaType
	const char *codec;
	uint32_t tag;
	int64_t id, num, den;
	int wrap_bits;
	const uint8_t *extradata;
	int extradata_size;
	int width, height;
	int sample_rate, channels, bits, frame_bytes;
	int64_t rate_num, rate_den;
	const char *language;
	int picture;
};

// The versions that the shim was built for and those it runs with, of
// libavformat, libavcodec and libavutil.
void cav_versions(unsigned built[3], unsigned running[3]);

// Silences libavformat and bounds a single allocation. Call it once.
void cav_setup(size_t max_alloc);

// The functions below return 0 or an AVERROR.

int cav_open(cav **out, const struct cav_options *o);

int cav_streams(const cav *c);
int cav_stream(const cav *c, int i, struct cav_stream *s);
const char *cav_format(const cav *c);
int64_t cav_duration(const cav *c); // microseconds, -1 if the container does not say
int cav_complete(const cav *c);     // every audio and video stream is known

// Reads until max packets or soft bytes; cap is the room in payload, and no
// packet may be larger. *n packets were read, whatever is returned.
int cav_read(cav *c, struct cav_packet *desc, int max, uint8_t *payload, size_t cap, size_t soft, int *n);

// Makes the call in progress, and every one to come, end soon.
void cav_interrupt(cav *c);

void cav_close(cav *c);

// Writes the text of an AVERROR.
void cav_error(int code, char *buf, size_t size);

// The codes that Go must know.
extern const int cav_eof, cav_exit, cav_external, cav_enomem, cav_einval;

#endif
