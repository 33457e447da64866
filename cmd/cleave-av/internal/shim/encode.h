// A chunk of video encoded anew, smaller.
#ifndef CLEAVE_ENCODE_H
#define CLEAVE_ENCODE_H

#include "picture.h"

// What is to come out.
struct cav_encoding {
	int height;	     // even; the width follows the picture's
	int64_t bitrate;     // bits a second, at most
	int rate_num, rate_den; // pictures a second
	int depth;	     // of the source's reordering
	int64_t max_pixels;  // of the source
};

// A picture that is to come out: when it is shown, and whether decoding can begin there.
struct cav_shown {
	int64_t pts;
	int key;
};

struct cav_encoder;

// Opens one for a chunk whose pictures are shown, count of them in order of pts, is copied.
// in has the codec and its record. NULL: *rc is an AVERROR.
struct cav_encoder *cav_encoder_open(const struct cav_coded *in, const struct cav_encoding *to, const struct cav_shown *shown, size_t count, int *rc);

// Takes a packet; data NULL: there are no more. What is decoded and not to be shown is
// dropped, and what is to be shown and was not decoded is the picture before it again.
// Returns 0 or an AVERROR.
int cav_encoder_send(struct cav_encoder *e, const uint8_t *data, size_t size, int64_t pts, int key);

// What came out. config is parameter sets and data the packets, both in Annex B:
//
//	rank(32) of the picture | key(32) | size(32) | packet
//
// in network byte order. Valid until the encoder is closed.
struct cav_encoded {
	const uint8_t *config, *data;
	size_t config_size, size;
	int64_t repeated; // pictures that were not decoded
};

void cav_encoder_result(const struct cav_encoder *e, struct cav_encoded *out);

void cav_encoder_close(struct cav_encoder *e);

// Returns whether there is an encoder.
int cav_encoder_there(void);

#endif
