// A key frame as a JPEG picture.
#ifndef CLEAVE_PICTURE_H
#define CLEAVE_PICTURE_H

#include <stddef.h>
#include <stdint.h>

// What is to be decoded: a packet as ISO BMFF stores it, and the codec's record.
struct cav_coded {
	const char *codec; // libavcodec's name
	const uint8_t *config, *data;
	size_t config_size, size;
};

// Decodes one picture of at most max_pixels and encodes it as JPEG with quality, 1 the
// best to 31. *out is to be freed by cav_free. Returns 0 or an AVERROR.
int cav_picture(const struct cav_coded *in, int64_t max_pixels, int quality, uint8_t **out, size_t *size);

void cav_free(void *p);

#endif
