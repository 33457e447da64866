// Reads every packet of a file by libavformat and nothing else: what cleave-av is
// compared with.
#include <stdio.h>

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>

int main(int argc, char **argv)
{
	AVFormatContext *fmt = NULL;
	AVPacket *pkt = av_packet_alloc();
	long packets = 0, bytes = 0;

	if (argc != 2 || !pkt)
		return 2;
	av_log_set_level(AV_LOG_QUIET);
	if (avformat_open_input(&fmt, argv[1], NULL, NULL) < 0 || avformat_find_stream_info(fmt, NULL) < 0)
		return 1;
	while (av_read_frame(fmt, pkt) >= 0) {
		packets++;
		bytes += pkt->size;
		av_packet_unref(pkt);
	}
	avformat_close_input(&fmt);
	av_packet_free(&pkt);
	printf("%ld %ld\n", packets, bytes);
	return 0;
}
