// Pictures made smaller.
#ifndef CLEAVE_SCALE_H
#define CLEAVE_SCALE_H

#include <libavutil/frame.h>

// Makes of src, whose samples have 8 to 16 bits in whatever planes, one of 8 bits and
// 4:2:0 in dst, which has its size and buffers. Every sample is the mean of what it
// covers. Matrix, range and primaries stay what they are. Returns 0 or an AVERROR:
// ENOSYS if src has no luma and chroma.
int cav_scale(const AVFrame *src, AVFrame *dst);

#endif
