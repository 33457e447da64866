#!/bin/sh
# Installs what the judges need: the players and parsers of package-lock.json
# beside this file, and, as root on Debian, a browser, xmllint, FFmpeg and
# GStreamer. It is quick when everything is there and goes on past what it
# cannot install; the tests say which judge they leave out for want of it.
set -u
cd "$(dirname "$0")" || exit 1

missing=
need() { # need COMMAND PACKAGE...
	command -v "$1" >/dev/null 2>&1 && return
	shift
	missing="$missing $*"
}
need chromium chromium
need xmllint libxml2-utils
need ffmpeg ffmpeg
need ffprobe ffmpeg
need gst-launch-1.0 gstreamer1.0-tools gstreamer1.0-plugins-base \
	gstreamer1.0-plugins-good gstreamer1.0-plugins-bad

if [ -n "$missing" ]; then
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
		apt-get update -q
		# One by one: a package that is not to be had does not keep the others away.
		for p in $missing; do
			DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$p" ||
				echo "install.sh: not installed: $p" >&2
		done
	else
		echo "install.sh: missing, install as root:$missing" >&2
	fi
fi

stamp=node_modules/.cleave-installed
if cmp -s package-lock.json "$stamp"; then
	exit 0
fi
if ! command -v npm >/dev/null 2>&1; then
	echo "install.sh: missing: npm (the players and hls-parser are left out)" >&2
	exit 0
fi
# No package's install script runs: all four are plain JavaScript.
if npm ci --ignore-scripts --no-audit --no-fund --loglevel=error; then
	cp package-lock.json "$stamp"
else
	echo "install.sh: npm ci failed: the players and hls-parser are left out" >&2
fi
