#include "picture.h"

#include "decoder.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#include <libavcodec/avcodec.h>
#include <libavutil/intreadwrite.h>
#include <libavutil/mem.h>
#include <libavutil/pixdesc.h>

void cav_free(void *p)
{
	av_free(p);
}

// Decodes in; the first picture that comes out of it.
static int decode(AVCodecContext *ctx, AVPacket *pkt, const struct cav_coded *in, AVFrame *frame)
{
	int rc;

	if (in->size > INT_MAX - AV_INPUT_BUFFER_PADDING_SIZE || (rc = av_new_packet(pkt, (int)in->size)) < 0)
		return AVERROR(ENOMEM);
	memcpy(pkt->data, in->data, in->size);
	pkt->flags |= AV_PKT_FLAG_KEY;
	if ((rc = avcodec_send_packet(ctx, pkt)) < 0 || (rc = avcodec_send_packet(ctx, NULL)) < 0)
		return rc;
	return avcodec_receive_frame(ctx, frame);
}

AVCodecContext *cav_decoder(const struct cav_coded *in, int64_t max_pixels, int depth, int *rc)
{
	const AVCodecDescriptor *d = avcodec_descriptor_get_by_name(in->codec);
	const AVCodec *codec = d ? avcodec_find_decoder(d->id) : NULL;
	AVCodecContext *ctx = codec ? avcodec_alloc_context3(codec) : NULL;

	*rc = codec ? AVERROR(ENOMEM) : AVERROR_DECODER_NOT_FOUND;
	if (!ctx)
		return NULL;
	ctx->thread_count = 1;
	ctx->max_pixels = max_pixels;
	ctx->has_b_frames = depth;
	if (in->config_size > 0 && in->config_size < INT_MAX / 2) {
		ctx->extradata = av_mallocz(in->config_size + AV_INPUT_BUFFER_PADDING_SIZE);
		if (ctx->extradata) {
			memcpy(ctx->extradata, in->config, in->config_size);
			ctx->extradata_size = (int)in->config_size;
		}
	}
	if ((*rc = avcodec_open2(ctx, codec, NULL)) < 0)
		avcodec_free_context(&ctx);
	return ctx;
}

// The pixels of a picture, as numbers: luma 0 to 1, chroma -0.5 to 0.5.
struct pixels {
	const AVFrame *f;
	const AVPixFmtDescriptor *d;
	double offset[3], scale[3];
};

static int open_pixels(struct pixels *p, const AVFrame *f)
{
	const uint64_t strange = AV_PIX_FMT_FLAG_BE | AV_PIX_FMT_FLAG_PAL | AV_PIX_FMT_FLAG_BITSTREAM | AV_PIX_FMT_FLAG_HWACCEL |
				 AV_PIX_FMT_FLAG_FLOAT | AV_PIX_FMT_FLAG_BAYER;
	int full = f->color_range == AVCOL_RANGE_JPEG || f->format == AV_PIX_FMT_YUVJ420P || f->format == AV_PIX_FMT_YUVJ422P ||
		   f->format == AV_PIX_FMT_YUVJ444P;

	p->f = f;
	p->d = av_pix_fmt_desc_get(f->format);
	if (!p->d || p->d->flags & strange || p->d->log2_chroma_w > 2 || p->d->log2_chroma_h > 2)
		return AVERROR(ENOSYS);
	for (int i = 0; i < 3; i++) {
		int depth = p->d->comp[i < p->d->nb_components ? i : 0].depth, chroma = i > 0 && !(p->d->flags & AV_PIX_FMT_FLAG_RGB);
		double step;

		if (depth < 8 || depth > 16)
			return AVERROR(ENOSYS);
		step = 1 << (depth - 8);
		if (p->d->flags & AV_PIX_FMT_FLAG_RGB || full) {
			p->scale[i] = 1. / ((1 << depth) - 1);
			p->offset[i] = chroma ? 128 * step : 0;
		} else {
			p->scale[i] = 1 / ((chroma ? 224 : 219) * step);
			p->offset[i] = (chroma ? 128 : 16) * step;
		}
	}
	return 0;
}

// A component of the pixel at x, y of its own plane.
static double component(const struct pixels *p, int i, int x, int y)
{
	const AVComponentDescriptor *c = &p->d->comp[i];
	const uint8_t *at = p->f->data[c->plane] + (ptrdiff_t)y * p->f->linesize[c->plane] + (ptrdiff_t)x * c->step + c->offset;
	unsigned v = c->depth > 8 ? AV_RN16(at) : *at;

	v = v >> c->shift & ((1u << c->depth) - 1);
	return (v - p->offset[i]) * p->scale[i];
}

// How the three numbers of a pixel become those of JFIF, which are of BT.601.
struct matrix {
	double m[3][3];
};

static void to_jfif(double r, double g, double b, double out[3])
{
	out[0] = .299 * r + .587 * g + .114 * b;
	out[1] = (b - out[0]) / 1.772;
	out[2] = (r - out[0]) / 1.402;
}

static struct matrix matrix_of(const struct pixels *p)
{
	double kr = .299, kb = .114;
	int space = p->f->colorspace;
	struct matrix m;

	// Where nobody says, pictures of more than standard definition are of BT.709.
	if (space == AVCOL_SPC_UNSPECIFIED && (p->f->width >= 1280 || p->f->height > 576))
		space = AVCOL_SPC_BT709;
	if (space == AVCOL_SPC_BT709)
		kr = .2126, kb = .0722;
	else if (space == AVCOL_SPC_BT2020_NCL || space == AVCOL_SPC_BT2020_CL)
		kr = .2627, kb = .0593;
	else if (space == AVCOL_SPC_SMPTE240M)
		kr = .212, kb = .087;
	for (int i = 0; i < 3; i++) {
		double y = i == 0, cb = i == 1, cr = i == 2, out[3];

		if (p->d->flags & AV_PIX_FMT_FLAG_RGB)
			to_jfif(i == 0, i == 1, i == 2, out); // components are R, G, B whatever their planes
		else {
			double r = y + 2 * (1 - kr) * cr, b = y + 2 * (1 - kb) * cb;

			to_jfif(r, (y - kr * r - kb * b) / (1 - kr - kb), b, out);
		}
		for (int k = 0; k < 3; k++)
			m.m[k][i] = out[k];
	}
	return m;
}

static uint8_t clamp(double v)
{
	return v <= 0 ? 0 : v >= 255 ? 255 : (uint8_t)lrint(v);
}

// Fills a plane of out, whose samples stand for cw by ch pixels (log2).
static void fill(const struct pixels *p, const struct matrix *m, AVFrame *out, int plane, int cw, int ch)
{
	int gray = p->d->nb_components < 3, rgb = p->d->flags & AV_PIX_FMT_FLAG_RGB;
	int sw = rgb ? 0 : p->d->log2_chroma_w, sh = rgb ? 0 : p->d->log2_chroma_h;
	const double *k = m->m[plane];
	int w = AV_CEIL_RSHIFT(out->width, cw), h = AV_CEIL_RSHIFT(out->height, ch);

	for (int y = 0; y < h; y++) {
		uint8_t *row = out->data[plane] + (ptrdiff_t)y * out->linesize[plane];
		int sy = FFMIN(y << ch, out->height - 1);

		for (int x = 0; x < w; x++) {
			int sx = FFMIN(x << cw, out->width - 1);
			double v = k[0] ? k[0] * component(p, 0, sx, sy) : 0;

			if (!gray)
				v += k[1] * component(p, 1, sx >> sw, sy >> sh) + k[2] * component(p, 2, sx >> sw, sy >> sh);
			row[x] = clamp(v * 255 + (plane ? 128 : 0));
		}
	}
}

// Makes of a picture one that JPEG can have: 8 bits, full range.
static int convert(const AVFrame *f, AVFrame *out)
{
	struct pixels p;
	struct matrix m;
	int rc = open_pixels(&p, f), cw = 1, ch = 1;

	if (rc < 0)
		return rc;
	m = matrix_of(&p);
	if (p.d->flags & AV_PIX_FMT_FLAG_RGB || (p.d->nb_components >= 3 && !p.d->log2_chroma_w && !p.d->log2_chroma_h))
		cw = ch = 0;
	else if (p.d->nb_components >= 3 && !p.d->log2_chroma_h)
		ch = 0;
	out->format = !cw ? AV_PIX_FMT_YUVJ444P : !ch ? AV_PIX_FMT_YUVJ422P : AV_PIX_FMT_YUVJ420P;
	out->width = f->width;
	out->height = f->height;
	out->color_range = AVCOL_RANGE_JPEG;
	out->sample_aspect_ratio = f->sample_aspect_ratio;
	if ((rc = av_frame_get_buffer(out, 0)) < 0)
		return rc;
	fill(&p, &m, out, 0, 0, 0);
	fill(&p, &m, out, 1, cw, ch);
	fill(&p, &m, out, 2, cw, ch);
	return 0;
}

static int encode(AVFrame *f, int quality, AVPacket *pkt)
{
	const AVCodec *codec = avcodec_find_encoder(AV_CODEC_ID_MJPEG);
	AVCodecContext *ctx = codec ? avcodec_alloc_context3(codec) : NULL;
	int rc = codec ? AVERROR(ENOMEM) : AVERROR_ENCODER_NOT_FOUND;

	if (!ctx)
		return rc;
	ctx->thread_count = 1;
	ctx->width = f->width;
	ctx->height = f->height;
	ctx->pix_fmt = f->format;
	ctx->color_range = AVCOL_RANGE_JPEG;
	ctx->time_base = (AVRational){1, 25};
	ctx->sample_aspect_ratio = f->sample_aspect_ratio;
	ctx->flags |= AV_CODEC_FLAG_QSCALE;
	ctx->global_quality = f->quality = quality * FF_QP2LAMBDA;
	if ((rc = avcodec_open2(ctx, codec, NULL)) >= 0 && (rc = avcodec_send_frame(ctx, f)) >= 0 &&
	    (rc = avcodec_send_frame(ctx, NULL)) >= 0)
		rc = avcodec_receive_packet(ctx, pkt);
	avcodec_free_context(&ctx);
	return rc;
}

int cav_picture(const struct cav_coded *in, int64_t max_pixels, int quality, uint8_t **out, size_t *size)
{
	int rc;
	AVCodecContext *ctx = cav_decoder(in, max_pixels, 0, &rc);
	AVPacket *pkt = av_packet_alloc();
	AVFrame *frame = av_frame_alloc(), *full = av_frame_alloc();

	if (ctx && (!pkt || !frame || !full))
		rc = AVERROR(ENOMEM);
	else if (ctx && (rc = decode(ctx, pkt, in, frame)) >= 0 && (rc = convert(frame, full)) >= 0) {
		av_frame_unref(frame); // it may be as large as all the rest
		av_packet_unref(pkt);
		rc = encode(full, quality, pkt);
	}
	if (rc >= 0) {
		*size = (size_t)pkt->size;
		*out = av_memdup(pkt->data, *size);
		rc = *out ? 0 : AVERROR(ENOMEM);
	}
	av_frame_free(&full);
	av_frame_free(&frame);
	av_packet_free(&pkt);
	avcodec_free_context(&ctx);
	return rc;
}
