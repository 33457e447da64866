#!/bin/sh
# Fetches hls.js and mpegts.js into dist, from where the server embeds them. Without npm
# the server is built all the same: its page then plays only where the browser knows HLS
# by itself, and says so.
cd "$(dirname "$0")" || exit 1
[ -s dist/hls.min.js ] && [ -s dist/mpegts.js ] && exit 0
if ! command -v npm >/dev/null 2>&1; then
	echo "web/fetch.sh: npm is missing: the player page is built without hls.js and mpegts.js" >&2
	exit 0
fi
if npm install --ignore-scripts --no-audit --no-fund --no-package-lock --loglevel=error; then
	cp node_modules/mpegts.js/dist/mpegts.js node_modules/hls.js/dist/hls.min.js dist/
else
	echo "web/fetch.sh: npm install failed: the player page is built without hls.js and mpegts.js" >&2
fi
