#!/bin/sh
# Makes the inputs of the comparison in the folder $1: 600 s of 360p25 H.264 with
# B-frames and AAC (packets of 1 kB), and 60 s of 1080p at 25 Mb/s (packets of
# 100 kB), in the containers that both kinds of demuxer read and in two that only
# libavformat does. What is there already is kept.
set -eu
dir=${1:?usage: media.sh DIR}
mkdir -p "$dir"
make() { # make NAME ARGUMENTS...: NAME appears only when it is whole
	name=$1
	shift
	[ -f "$dir/$name" ] && return
	echo "making $dir/$name" >&2
	ffmpeg -v error -nostdin -y "$@" "$dir/partial.$name"
	mv "$dir/partial.$name" "$dir/$name"
}
make minute.mp4 -f lavfi -i testsrc2=size=640x360:rate=25 -f lavfi -i sine=sample_rate=48000 -t 60 \
	-c:v libx264 -preset superfast -pix_fmt yuv420p -g 50 -bf 2 -b:v 250k -c:a aac -b:a 96k
make small.mp4 -stream_loop 9 -i "$dir/minute.mp4" -c copy -movflags +faststart
make seconds.mp4 -f lavfi -i "testsrc2=size=1920x1080:rate=25,noise=alls=20:allf=t" -t 6 \
	-c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 25 -b:v 25M -maxrate 25M -bufsize 25M
make large.mp4 -stream_loop 9 -i "$dir/seconds.mp4" -c copy -movflags +faststart
for kind in small large; do
	for container in mkv ts flv; do
		make $kind.$container -i "$dir/$kind.mp4" -c copy
	done
	make $kind.avi -i "$dir/$kind.mp4" -c copy -bsf:v h264_mp4toannexb
done
