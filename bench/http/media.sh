#!/bin/sh
# Makes two streams in the folder $1, 20 s of H.264 at 25 frames a second with a key
# frame every 2 s: chunks of about 625 kB, and parts of about 4 kB. What is there already
# is kept.
set -eu
dir=${1:?usage: media.sh DIR}
mkdir -p "$dir"
make() { # make NAME RATE: NAME appears only when it is whole
	[ -f "$dir/$1" ] && return
	echo "making $dir/$1" >&2
	ffmpeg -v error -nostdin -y -f lavfi -i "testsrc2=size=1280x720:rate=25,noise=alls=12:allf=t" -t 20 \
		-c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 50 -bf 0 -sc_threshold 0 -b:v "$2" -maxrate "$2" -bufsize "$2" -f mpegts "$dir/partial.$1"
	mv "$dir/partial.$1" "$dir/$1"
}
make large.ts 2500k
make small.ts 160k
