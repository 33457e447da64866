#include "scale.h"

#include <string.h>

#include <libavutil/intreadwrite.h>
#include <libavutil/mem.h>
#include <libavutil/pixdesc.h>

// Weights add up to 1 << WEIGHT_BITS. Rows that were made narrower have ROW_BITS.
enum { WEIGHT_BITS = 14, ROW_BITS = 14 };

// Which samples of a line become each of another: weights[i * most] on, count[i] of
// them, from first[i].
struct line {
	int n, most;
	int *first, *count;
	uint16_t *weights;
};

static void line_free(struct line *l)
{
	av_freep(&l->first);
	av_freep(&l->count);
	av_freep(&l->weights);
}

// Sample i of to covers [i*from, (i+1)*from) in units of which a sample of from has to.
static int line_init(struct line *l, int from, int to)
{
	l->n = to;
	l->most = from / to + 2;
	l->first = av_calloc(to, sizeof *l->first);
	l->count = av_calloc(to, sizeof *l->count);
	l->weights = av_calloc((size_t)to * l->most, sizeof *l->weights);
	if (!l->first || !l->count || !l->weights) {
		line_free(l);
		return AVERROR(ENOMEM);
	}
	for (int i = 0; i < to; i++) {
		int64_t begin = (int64_t)i * from, end = begin + from;
		int left = 1 << WEIGHT_BITS, k = 0;
		uint16_t *w = l->weights + (size_t)i * l->most;

		l->first[i] = (int)(begin / to);
		for (int64_t at = begin; at < end; k++) {
			int64_t next = FFMIN((at / to + 1) * to, end);

			w[k] = (uint16_t)FFMIN(((next - at) << WEIGHT_BITS) / from, left);
			left -= w[k];
			at = next;
		}
		w[k / 2] += left; // what rounding has left
		l->count[i] = k;
	}
	return 0;
}

// One component of a picture.
struct plane {
	const uint8_t *data;
	ptrdiff_t stride;
	int step, depth, shift, width, height;
};

static unsigned sample(const struct plane *p, const uint8_t *at)
{
	return p->depth > 8 ? (AV_RN16(at) >> p->shift) & ((1u << p->depth) - 1) : *at;
}

// Makes row y narrower.
static void across(const struct plane *p, int y, const struct line *l, uint16_t *out)
{
	const uint8_t *row = p->data + (ptrdiff_t)y * p->stride;

	for (int i = 0; i < l->n; i++) {
		const uint16_t *w = l->weights + (size_t)i * l->most;
		const uint8_t *at = row + (ptrdiff_t)l->first[i] * p->step;
		uint32_t sum = 0;

		if (p->depth == 8 && p->step == 1)
			for (int k = 0; k < l->count[i]; k++)
				sum += (uint32_t)w[k] * at[k];
		else
			for (int k = 0; k < l->count[i]; k++, at += p->step)
				sum += w[k] * sample(p, at);
		out[i] = (uint16_t)(sum >> (WEIGHT_BITS + p->depth - ROW_BITS));
	}
}

static int scale_plane(const struct plane *p, uint8_t *data, ptrdiff_t stride, int width, int height)
{
	enum { DOWN = WEIGHT_BITS + ROW_BITS - 8 };
	struct line h = {0}, v = {0};
	uint16_t *row = av_calloc(width, sizeof *row);
	uint32_t *sum = av_calloc(width, sizeof *sum);
	int rc = row && sum ? line_init(&h, p->width, width) : AVERROR(ENOMEM), have = -1;

	if (rc >= 0)
		rc = line_init(&v, p->height, height);
	for (int y = 0; rc >= 0 && y < height; y++) {
		const uint16_t *w = v.weights + (size_t)y * v.most;
		uint8_t *out = data + y * stride;

		for (int x = 0; x < width; x++)
			sum[x] = 1 << (DOWN - 1);
		for (int k = 0; k < v.count[y]; k++) {
			if (have != v.first[y] + k)
				across(p, have = v.first[y] + k, &h, row);
			for (int x = 0; x < width; x++)
				sum[x] += (uint32_t)w[k] * row[x];
		}
		for (int x = 0; x < width; x++)
			out[x] = (uint8_t)FFMIN(sum[x] >> DOWN, 255);
	}
	line_free(&h);
	line_free(&v);
	av_free(row);
	av_free(sum);
	return rc;
}

int cav_scale(const AVFrame *src, AVFrame *dst)
{
	const uint64_t strange = AV_PIX_FMT_FLAG_BE | AV_PIX_FMT_FLAG_PAL | AV_PIX_FMT_FLAG_BITSTREAM | AV_PIX_FMT_FLAG_HWACCEL |
				 AV_PIX_FMT_FLAG_FLOAT | AV_PIX_FMT_FLAG_BAYER | AV_PIX_FMT_FLAG_RGB;
	const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(src->format);
	int gray = d && d->nb_components < 3, rc = 0;

	if (!d || d->flags & strange)
		return AVERROR(ENOSYS);
	for (int i = 0; rc >= 0 && i < 3; i++) {
		const AVComponentDescriptor *c = &d->comp[gray ? 0 : i];
		int width = i ? AV_CEIL_RSHIFT(dst->width, 1) : dst->width, height = i ? AV_CEIL_RSHIFT(dst->height, 1) : dst->height;
		struct plane p = {
			.data = src->data[c->plane] + c->offset, .stride = src->linesize[c->plane], .step = c->step, .depth = c->depth, .shift = c->shift,
			.width = i ? AV_CEIL_RSHIFT(src->width, d->log2_chroma_w) : src->width,
			.height = i ? AV_CEIL_RSHIFT(src->height, d->log2_chroma_h) : src->height,
		};

		if (c->depth < 8 || c->depth > 16)
			return AVERROR(ENOSYS);
		if (i && gray)
			for (int y = 0; y < height; y++)
				memset(dst->data[i] + (ptrdiff_t)y * dst->linesize[i], 128, width);
		else
			rc = scale_plane(&p, dst->data[i], dst->linesize[i], width, height);
	}
	return rc;
}
