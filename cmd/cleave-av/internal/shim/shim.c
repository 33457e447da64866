#include "shim.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <libavcodec/avcodec.h>
#include <libavcodec/version.h>
#include <libavformat/avformat.h>
#include <libavformat/version.h>
#include <libavutil/avutil.h>
#include <libavutil/dict.h>
#include <libavutil/opt.h>
#include <libavutil/time.h>

#include "_cgo_export.h"

#if LIBAVFORMAT_VERSION_INT < AV_VERSION_INT(59, 27, 100)
#error "FFmpeg 5.1 or newer is needed"
#endif

// One callback into Go costs about 100 ns: at this size it is 3 ns a packet.
enum { AVIO_SIZE = 64 << 10 };

// More streams than this are not a media file.
enum { MAX_STREAMS = 256, MAX_EXTRADATA = 1 << 20 };

struct cav {
	uintptr_t handle;
	atomic_int dead;
	AVFormatContext *fmt;
	AVIOContext *io;
	AVPacket *pkt;
	int held; // pkt was read and not yet given
};

_Static_assert(sizeof(struct cav_packet) == 64, "wire.DescSize");

const int cav_eof = AVERROR_EOF;
const int cav_exit = AVERROR_EXIT;
const int cav_external = AVERROR_EXTERNAL;
const int cav_enomem = AVERROR(ENOMEM);
const int cav_einval = AVERROR(EINVAL);

void cav_versions(unsigned built[3], unsigned running[3])
{
	built[0] = LIBAVFORMAT_VERSION_INT;
	built[1] = LIBAVCODEC_VERSION_INT;
	built[2] = LIBAVUTIL_VERSION_INT;
	running[0] = avformat_version();
	running[1] = avcodec_version();
	running[2] = avutil_version();
}

void cav_setup(size_t max_alloc)
{
	av_log_set_level(AV_LOG_QUIET);
	av_max_alloc(max_alloc);
}

void cav_error(int code, char *buf, size_t size)
{
	if (av_strerror(code, buf, size) < 0 && size > 0)
		buf[0] = 0;
}

static int on_interrupt(void *opaque)
{
	cav *c = opaque;
	return atomic_load_explicit(&c->dead, memory_order_relaxed);
}

static int on_read(void *opaque, uint8_t *buf, int size)
{
	cav *c = opaque;
	int n;

	if (atomic_load(&c->dead))
		return AVERROR_EOF;
	n = cleaveRead(c->handle, buf, size);
	return n > size ? AVERROR_EXTERNAL : n == 0 ? AVERROR_EOF : n;
}

static int64_t on_seek(void *opaque, int64_t offset, int whence)
{
	cav *c = opaque;

	if (atomic_load(&c->dead))
		return AVERROR_EOF;
	return cleaveSeek(c->handle, offset, whence & ~AVSEEK_FORCE);
}

// A demuxer of playlists would open other files: this one has a single input.
static int on_open(AVFormatContext *s, AVIOContext **pb, const char *url, int flags, AVDictionary **o)
{
	return AVERROR(EACCES);
}

static void free_io(cav *c)
{
	if (!c->io)
		return;
	av_freep(&c->io->buffer); // it may not be the one that was given
	avio_context_free(&c->io);
}

void cav_close(cav *c)
{
	if (!c)
		return;
	cav_interrupt(c);
	avformat_close_input(&c->fmt);
	free_io(c);
	av_packet_free(&c->pkt);
	free(c);
}

void cav_interrupt(cav *c)
{
	atomic_store(&c->dead, 1);
}

static int make_io(cav *c, int seekable)
{
	uint8_t *buf = av_malloc(AVIO_SIZE);

	if (!buf)
		return AVERROR(ENOMEM);
	c->io = avio_alloc_context(buf, AVIO_SIZE, 0, c, on_read, NULL, seekable ? on_seek : NULL);
	if (!c->io) {
		av_free(buf);
		return AVERROR(ENOMEM);
	}
	c->io->seekable = seekable ? AVIO_SEEKABLE_NORMAL : 0;
	return 0;
}

static int make_context(cav *c, const struct cav_options *o)
{
	c->fmt = avformat_alloc_context();
	if (!c->fmt)
		return AVERROR(ENOMEM);
	c->fmt->pb = c->io;
	c->fmt->flags |= AVFMT_FLAG_CUSTOM_IO;
	// What the container does not say is derived by cleave, which marks it.
	c->fmt->flags |= AVFMT_FLAG_NOFILLIN;
	// It takes jumps back for wraps.
	c->fmt->correct_ts_overflow = 0;
	c->fmt->max_streams = MAX_STREAMS;
	// It looks for first times and frame rates among times that are filled in.
	c->fmt->max_ts_probe = 0;
	c->fmt->fps_probe_size = 0;
	c->fmt->interrupt_callback.callback = on_interrupt;
	c->fmt->interrupt_callback.opaque = c;
	c->fmt->io_open = on_open;
	return 0;
}

static int set_number(AVDictionary **dict, const char *name, int64_t v)
{
	return v > 0 ? av_dict_set_int(dict, name, v, 0) : 0;
}

static int open_input(cav *c, const struct cav_options *o)
{
	const AVInputFormat *format = NULL;
	AVDictionary *dict = NULL;
	int err;

	if (o->format) {
		format = av_find_input_format(o->format);
		if (!format)
			return AVERROR_DEMUXER_NOT_FOUND;
	}
	err = set_number(&dict, "probesize", o->probesize);
	if (err >= 0)
		err = set_number(&dict, "analyzeduration", o->analyzeduration);
	if (err >= 0)
		err = avformat_open_input(&c->fmt, "", format, &dict); // frees the context if it fails
	av_dict_free(&dict);
	if (err < 0)
		return err;
	err = avformat_find_stream_info(c->fmt, NULL);
	return err < 0 ? err : 0;
}

int cav_open(cav **out, const struct cav_options *o)
{
	cav *c = calloc(1, sizeof *c);
	int err;

	*out = c;
	if (!c)
		return AVERROR(ENOMEM);
	c->handle = o->handle;
	c->pkt = av_packet_alloc();
	err = c->pkt ? make_io(c, o->seekable) : AVERROR(ENOMEM);
	if (err >= 0)
		err = make_context(c, o);
	if (err >= 0)
		err = open_input(c, o);
	if (err >= 0)
		return 0;
	cav_close(c);
	*out = NULL;
	return err;
}

int cav_streams(const cav *c)
{
	return (int)c->fmt->nb_streams;
}

const char *cav_format(const cav *c)
{
	return c->fmt->iformat->name;
}

int64_t cav_duration(const cav *c)
{
	// Estimated by the bit rate it would be a guess.
	if (c->fmt->duration <= 0 || c->fmt->duration_estimation_method == AVFMT_DURATION_FROM_BITRATE)
		return -1;
	return c->fmt->duration;
}

int cav_complete(const cav *c)
{
	for (unsigned i = 0; i < c->fmt->nb_streams; i++) {
		const AVCodecParameters *p = c->fmt->streams[i]->codecpar;

		if (p->codec_type != AVMEDIA_TYPE_VIDEO && p->codec_type != AVMEDIA_TYPE_AUDIO)
			continue;
		if (p->codec_id == AV_CODEC_ID_NONE)
			return 0;
		if (p->codec_type == AVMEDIA_TYPE_VIDEO && (p->width <= 0 || p->height <= 0))
			return 0;
		if (p->codec_type == AVMEDIA_TYPE_AUDIO && p->sample_rate <= 0)
			return 0;
	}
	return 1;
}

static int channels(const AVCodecParameters *p)
{
	return p->ch_layout.nb_channels;
}

int cav_stream(const cav *c, int i, struct cav_stream *s)
{
	const AVStream *st;
	const AVCodecParameters *p;
	const AVDictionaryEntry *e;

	if (i < 0 || i >= cav_streams(c))
		return AVERROR(EINVAL);
	st = c->fmt->streams[i];
	p = st->codecpar;
	memset(s, 0, sizeof *s);
	s->kind = st->disposition & AV_DISPOSITION_ATTACHED_PIC ? AVMEDIA_TYPE_ATTACHMENT : p->codec_type;
	s->picture = !!(st->disposition & (AV_DISPOSITION_ATTACHED_PIC | AV_DISPOSITION_STILL_IMAGE));
	s->codec = avcodec_get_name(p->codec_id);
	if (p->codec_id == AV_CODEC_ID_NONE)
		s->codec = "none";
	s->tag = p->codec_tag;
	s->id = st->id;
	s->num = st->time_base.num;
	s->den = st->time_base.den;
	s->wrap_bits = st->pts_wrap_bits;
	if (p->extradata && p->extradata_size > 0 && p->extradata_size <= MAX_EXTRADATA) {
		s->extradata = p->extradata;
		s->extradata_size = p->extradata_size;
	}
	s->width = p->width;
	s->height = p->height;
	s->sample_rate = p->sample_rate;
	s->channels = channels(p);
	s->bits = av_get_exact_bits_per_sample(p->codec_id);
	s->frame_bytes = p->block_align;
	s->rate_num = st->avg_frame_rate.num ? st->avg_frame_rate.num : st->r_frame_rate.num;
	s->rate_den = st->avg_frame_rate.num ? st->avg_frame_rate.den : st->r_frame_rate.den;
	e = av_dict_get(st->metadata, "language", NULL, 0);
	if (e)
		s->language = e->value;
	return 0;
}

static size_t put_extradata(const AVPacket *pkt, uint8_t *dst, size_t room)
{
	size_t n = 0;
	const uint8_t *x = av_packet_get_side_data(pkt, AV_PKT_DATA_NEW_EXTRADATA, &n);

	if (!x || n == 0 || n > MAX_EXTRADATA || n > room)
		return 0;
	memcpy(dst, x, n);
	return n;
}

// Puts the packet at hand at used; returns its bytes.
static size_t put_packet(cav *c, struct cav_packet *d, uint8_t *payload, size_t cap, size_t used)
{
	const AVPacket *p = c->pkt;
	size_t size = (size_t)p->size;

	memset(d, 0, sizeof *d);
	d->stream = p->stream_index;
	d->flags = (p->flags & AV_PKT_FLAG_KEY ? CAV_KEY : 0) |
		   (p->flags & AV_PKT_FLAG_CORRUPT ? CAV_CORRUPT : 0) |
		   (p->flags & AV_PKT_FLAG_DISCARD ? CAV_DISCARD : 0);
	d->pts = p->pts;
	d->dts = p->dts;
	d->duration = p->duration;
	d->position = p->pos;
	d->offset = (uint32_t)used;
	d->size = (uint32_t)size;
	if (size > 0)
		memcpy(payload + used, p->data, size);
	d->extra = (uint32_t)put_extradata(p, payload + used + size, cap - used - size);
	if (d->extra)
		d->flags |= CAV_CONFIG;
	return size + d->extra;
}

// A batch of more than BATCH_FEW packets ends when it has taken BATCH_TIME
// microseconds: a slow input is not held up by batches that are large for a fast one.
enum { BATCH_FEW = 64, BATCH_TIME = 10000 };

int cav_read(cav *c, struct cav_packet *desc, int max, uint8_t *payload, size_t cap, size_t soft, int *n)
{
	size_t used = 0;
	int64_t begun = av_gettime_relative();

	*n = 0;
	while (*n < max && used < soft) {
		if (atomic_load(&c->dead))
			return AVERROR_EXIT;
		if (*n >= BATCH_FEW && *n % 16 == 0 && av_gettime_relative() - begun > BATCH_TIME)
			return 0;
		if (!c->held) {
			int err = av_read_frame(c->fmt, c->pkt);

			if (err < 0)
				return err;
			c->held = 1;
		}
		if ((size_t)c->pkt->size > cap - used) {
			if (used > 0)
				return 0; // it begins the next batch
			return AVERROR(EFBIG);
		}
		used += put_packet(c, &desc[*n], payload, cap, used);
		av_packet_unref(c->pkt);
		c->held = 0;
		++*n;
	}
	return 0;
}
