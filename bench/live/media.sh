#!/bin/sh
# Makes the two streams of the comparison in the folder $1: 30 s of H.264 at 30
# frames a second, a key frame every 2 s, and AAC; about 0.7 and 2.5 Mbit/s. What is
# there already is kept.
set -eu
dir=${1:?usage: media.sh DIR}
mkdir -p "$dir"
make() { # make NAME SIZE VIDEO AUDIO: NAME appears only when it is whole
	[ -f "$dir/$1" ] && return
	echo "making $dir/$1" >&2
	ffmpeg -v error -nostdin -y -f lavfi -i "testsrc2=size=$2:rate=30,noise=alls=8:allf=t" -f lavfi -i "sine=frequency=330:sample_rate=44100" -t 30 \
		-c:v libx264 -preset superfast -pix_fmt yuv420p -g 60 -bf 0 -sc_threshold 0 -b:v "$3" -maxrate "$3" -bufsize "$3" \
		-c:a aac -b:a "$4" "$dir/partial.$1"
	mv "$dir/partial.$1" "$dir/$1"
}
make small.flv 640x360 600k 64k
make large.flv 1280x720 2350k 96k
