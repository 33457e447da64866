// What pictures and renditions are decoded with.
#ifndef CLEAVE_DECODER_H
#define CLEAVE_DECODER_H

#include <libavcodec/avcodec.h>

#include "picture.h"

// Opens the decoder of in's codec with its record, with one thread. depth is how many
// pictures at least are waited for to put them into order. NULL: *rc is an AVERROR.
AVCodecContext *cav_decoder(const struct cav_coded *in, int64_t max_pixels, int depth, int *rc);

#endif
