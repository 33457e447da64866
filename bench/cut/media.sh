#!/bin/sh
# Makes the inputs of the comparison in the folder $1: 600 s of 1080p30 H.264 with
# B-frames and a key frame a second, and AAC, about 463 MB; the same as TS and FLV;
# and, in the folder $2 if given, one ten times as long. What is there already is
# kept.
set -eu
dir=${1:?usage: media.sh DIR [DIR]}
mkdir -p "$dir"
make() { # make NAME ARGUMENTS...: NAME appears only when it is whole
	name=$1
	shift
	[ -f "$dir/$name" ] && return
	echo "making $dir/$name" >&2
	ffmpeg -v error -nostdin -y "$@" "$dir/partial.$name"
	mv "$dir/partial.$name" "$dir/$name"
}
make minute.mp4 -f lavfi -i "testsrc2=size=1920x1080:rate=30,noise=alls=12:allf=t" -f lavfi -i "sine=frequency=330:sample_rate=48000" -t 60 \
	-c:v libx264 -preset superfast -pix_fmt yuv420p -g 30 -bf 2 -sc_threshold 0 -b:v 6030k -maxrate 6600k -bufsize 6000k -c:a aac -b:a 128k
make input.mp4 -stream_loop 9 -i "$dir/minute.mp4" -c copy -movflags +faststart
make input.ts -i "$dir/input.mp4" -c copy
make input.flv -i "$dir/input.mp4" -c copy
if [ -n "${2:-}" ]; then
	minute=$dir/minute.mp4
	dir=$2
	mkdir -p "$dir"
	make long.mp4 -stream_loop 99 -i "$minute" -c copy -movflags +faststart
fi
