#include "encode.h"

#include "decoder.h"
#include "scale.h"

#include <limits.h>
#include <string.h>

#include <libavutil/intreadwrite.h>
#include <libavutil/mem.h>
#include <libavutil/opt.h>

// The encoder is libx264: software, and free of what a machine may lack.
static const char encoder_name[] = "libx264";

// The bytes that one chunk may become.
#define MAX_OUT (256u << 20)

struct cav_encoder {
	struct cav_encoding to;
	struct cav_shown *shown;
	size_t count, next; // next is the first that was not encoded
	AVCodecContext *in, *out;
	AVPacket *pkt;
	AVFrame *frame, *last; // last is smaller already
	uint8_t *data;
	size_t size;
	unsigned room;
	int64_t repeated;
};

int cav_encoder_there(void)
{
	return avcodec_find_encoder_by_name(encoder_name) != NULL;
}

void cav_encoder_close(struct cav_encoder *e)
{
	if (!e)
		return;
	avcodec_free_context(&e->in);
	avcodec_free_context(&e->out);
	av_packet_free(&e->pkt);
	av_frame_free(&e->frame);
	av_frame_free(&e->last);
	av_free(e->shown);
	av_free(e->data);
	av_free(e);
}

struct cav_encoder *cav_encoder_open(const struct cav_coded *in, const struct cav_encoding *to, const struct cav_shown *shown, size_t count, int *rc)
{
	struct cav_encoder *e = av_mallocz(sizeof *e);

	*rc = AVERROR(ENOMEM);
	if (!e)
		return NULL;
	e->to = *to;
	e->count = count;
	e->shown = av_memdup(shown, count * sizeof *shown);
	e->pkt = av_packet_alloc();
	e->frame = av_frame_alloc();
	e->last = av_frame_alloc();
	if (e->shown && e->pkt && e->frame && e->last)
		e->in = cav_decoder(in, to->max_pixels, to->depth, rc);
	if (!e->in) {
		cav_encoder_close(e);
		return NULL;
	}
	e->in->flags |= AV_CODEC_FLAG_OUTPUT_CORRUPT;
	return e;
}

// Opens the encoder for pictures like f: what its parameter sets say is the same for
// every chunk of a source. Every chunk begins anew, so that no bits are saved up: the
// quality is constant, up to the bitrate.
static int open_encoder(struct cav_encoder *e, const AVFrame *f)
{
	const AVCodec *codec = avcodec_find_encoder_by_name(encoder_name);
	AVCodecContext *ctx = codec ? avcodec_alloc_context3(codec) : NULL;
	AVDictionary *o = NULL;
	int rc;

	if (!ctx)
		return codec ? AVERROR(ENOMEM) : AVERROR_ENCODER_NOT_FOUND;
	e->out = ctx;
	ctx->thread_count = 1; // chunks are encoded side by side
	ctx->height = e->to.height;
	ctx->width = FFMAX(2, 2 * (int)(((int64_t)f->width * e->to.height / f->height + 1) / 2));
	ctx->pix_fmt = AV_PIX_FMT_YUV420P;
	ctx->color_range = f->color_range;
	if (f->format == AV_PIX_FMT_YUVJ420P || f->format == AV_PIX_FMT_YUVJ422P || f->format == AV_PIX_FMT_YUVJ444P)
		ctx->color_range = AVCOL_RANGE_JPEG;
	ctx->colorspace = f->colorspace;
	ctx->color_primaries = f->color_primaries;
	ctx->color_trc = f->color_trc;
	ctx->chroma_sample_location = f->chroma_location;
	ctx->sample_aspect_ratio = f->sample_aspect_ratio;
	ctx->framerate = (AVRational){e->to.rate_num, e->to.rate_den};
	ctx->time_base = av_inv_q(ctx->framerate);
	ctx->gop_size = 1 << 20; // key frames are where the source has them
	ctx->max_b_frames = 0;	 // decode times are the source's
	ctx->rc_max_rate = e->to.bitrate;
	ctx->rc_buffer_size = (int)FFMIN(e->to.bitrate / 2, INT_MAX);
	ctx->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
	av_dict_set(&o, "preset", "veryfast", 0);
	av_dict_set(&o, "profile", "high", 0);
	av_dict_set(&o, "crf", "23", 0);
	av_dict_set(&o, "forced-idr", "1", 0);
	av_dict_set(&o, "x264-params", "scenecut=0", 0);
	rc = avcodec_open2(ctx, codec, &o);
	av_dict_free(&o);
	return rc;
}

// Appends a packet to what comes out.
static int put(struct cav_encoder *e, const AVPacket *p)
{
	enum { HEAD = 12 };
	uint8_t *grown;

	if (p->pts < 0 || (uint64_t)p->pts >= e->count || e->size + HEAD + p->size > MAX_OUT)
		return AVERROR_EXTERNAL;
	grown = av_fast_realloc(e->data, &e->room, e->size + HEAD + p->size);
	if (!grown)
		return AVERROR(ENOMEM);
	e->data = grown;
	AV_WB32(e->data + e->size, (uint32_t)p->pts);
	AV_WB32(e->data + e->size + 4, p->flags & AV_PKT_FLAG_KEY ? 1 : 0);
	AV_WB32(e->data + e->size + 8, (uint32_t)p->size);
	memcpy(e->data + e->size + HEAD, p->data, p->size);
	e->size += HEAD + p->size;
	return 0;
}

// Encodes f, or what is left if it is NULL.
static int encode(struct cav_encoder *e, AVFrame *f)
{
	int rc = avcodec_send_frame(e->out, f);

	while (rc >= 0 && (rc = avcodec_receive_packet(e->out, e->pkt)) >= 0) {
		rc = put(e, e->pkt);
		av_packet_unref(e->pkt);
	}
	return rc == AVERROR(EAGAIN) || rc == AVERROR_EOF ? 0 : rc;
}

// Encodes the last picture up to number upto, each but the last of them again.
static int show(struct cav_encoder *e, size_t upto)
{
	int rc = 0;

	for (; rc >= 0 && e->next < upto; e->next++) {
		e->last->pts = (int64_t)e->next;
		e->last->pict_type = !e->next || e->shown[e->next].key ? AV_PICTURE_TYPE_I : AV_PICTURE_TYPE_NONE;
		rc = encode(e, e->last);
	}
	return rc;
}

// Finds the next picture that is shown at a time; count if there is none.
static size_t find(const struct cav_encoder *e, int64_t pts)
{
	size_t i = e->next;

	while (i < e->count && e->shown[i].pts < pts)
		i++;
	return i < e->count && e->shown[i].pts == pts ? i : e->count;
}

// Takes a decoded picture.
static int take(struct cav_encoder *e, const AVFrame *f)
{
	size_t at = find(e, f->pts);
	AVFrame *small;
	int rc;

	if (at == e->count)
		return 0;
	if (!e->out && (rc = open_encoder(e, f)) < 0)
		return rc;
	e->repeated += (int64_t)(at - e->next);
	if (e->next > 0 && (rc = show(e, at)) < 0)
		return rc;
	small = av_frame_alloc();
	if (!small)
		return AVERROR(ENOMEM);
	small->format = AV_PIX_FMT_YUV420P;
	small->width = e->out->width;
	small->height = e->out->height;
	if ((rc = av_frame_get_buffer(small, 0)) < 0 || (rc = cav_scale(f, small)) < 0) {
		av_frame_free(&small);
		return rc;
	}
	small->color_range = e->out->color_range;
	small->sample_aspect_ratio = e->out->sample_aspect_ratio;
	av_frame_free(&e->last);
	e->last = small;
	return show(e, at + 1);
}

// Takes what the decoder has. A picture that is damaged is lost, not the chunk.
static int drain(struct cav_encoder *e)
{
	enum { MAX_DAMAGED = 64 };
	int rc, damaged = 0;

	for (;;) {
		rc = avcodec_receive_frame(e->in, e->frame);
		if (rc == AVERROR_INVALIDDATA && damaged++ < MAX_DAMAGED)
			continue;
		if (rc < 0)
			return rc == AVERROR(EAGAIN) || rc == AVERROR_EOF ? 0 : rc;
		rc = take(e, e->frame);
		av_frame_unref(e->frame);
		if (rc < 0)
			return rc;
	}
}

// Ends: what was not decoded at the end is the last picture.
static int finish(struct cav_encoder *e)
{
	int rc = avcodec_send_packet(e->in, NULL);

	if (rc >= 0)
		rc = drain(e);
	if (rc < 0)
		return rc;
	if (!e->out)
		return AVERROR_INVALIDDATA; // not one picture
	e->repeated += (int64_t)(e->count - e->next);
	if ((rc = show(e, e->count)) < 0)
		return rc;
	return encode(e, NULL);
}

int cav_encoder_send(struct cav_encoder *e, const uint8_t *data, size_t size, int64_t pts, int key)
{
	int rc;

	if (!data)
		return finish(e);
	if (size > INT_MAX - AV_INPUT_BUFFER_PADDING_SIZE)
		return AVERROR(ENOMEM);
	if ((rc = av_new_packet(e->pkt, (int)size)) < 0)
		return rc;
	memcpy(e->pkt->data, data, size);
	e->pkt->pts = pts;
	e->pkt->flags = key ? AV_PKT_FLAG_KEY : 0;
	rc = avcodec_send_packet(e->in, e->pkt);
	av_packet_unref(e->pkt);
	if (rc < 0 && rc != AVERROR_INVALIDDATA) // that packet is lost, and the picture before it is shown
		return rc;
	return drain(e);
}

void cav_encoder_result(const struct cav_encoder *e, struct cav_encoded *out)
{
	out->config = e->out ? e->out->extradata : NULL;
	out->config_size = e->out ? (size_t)e->out->extradata_size : 0;
	out->data = e->data;
	out->size = e->size;
	out->repeated = e->repeated;
}
