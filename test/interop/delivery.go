package interop

import (
	"context"
	"fmt"
	"image/jpeg"
	"net/http"
	"slices"
	"strings"
)

// Delivery is a way out with a program that plays it: a column of the tables.
type Delivery struct {
	Protocol, Player string
	// lacks says why the protocol or the player does not carry c; empty if it does.
	lacks func(c Codec) string
	// plays returns what went wrong.
	plays func(ctx context.Context, v *view) error
}

// view is one play of a stream.
type view struct {
	codec   Codec
	host    *host
	home    string // of programs that run as nobody
	browser *browser
}

// url is the stream's address below the server's HTTP.
func (v *view) url(suffix string) string { return v.host.http() + "/" + name + suffix }

// srt is its address by SRT.
func (v *view) srt() string {
	s := v.host.srt() + "?streamid=read:" + name
	if v.host.secret {
		s += "&passphrase=" + passphrase
	}
	return s
}

// chromium says what the players of the browser do not carry: what Media Source
// Extensions take in MP4. MP3 has other ways: mpegts.js gives it as it is, and the browser
// itself decodes more than that.
func chromium(b *browser, player string) func(c Codec) string {
	return func(c Codec) string {
		if b == nil || b.decodes[c.Type] || c.Audio == "mp3" && (player == "mpegts.js" || player == "Chromium") {
			return ""
		}
		if c.Audio == "mp3" {
			return "Chromium's Media Source Extensions take no MP3 in MP4"
		}
		what := c.Video
		if what == "h264" {
			what = c.Audio
		}
		return "Chromium of Debian does not decode " + spelt(what)
	}
}

// also joins rules: the first reason counts.
func also(rules ...func(Codec) string) func(Codec) string {
	return func(c Codec) string {
		for _, r := range rules {
			if why := r(c); why != "" {
				return why
			}
		}
		return ""
	}
}

// Deliveries returns every way out with each of its players. Without a browser its
// players are left out.
func Deliveries(b *browser) []Delivery {
	ts := inTS()
	mpegtsFLV := carries("mpegts.js, in FLV,", true, "h264", "hevc", "av1", "aac", "mp3", "opus", "ac3")
	flv := carries("FLV as ffmpeg 5.1 reads it", true, "h264", "aac", "mp3")
	at := func(suffix string) func(v *view) string { return func(v *view) string { return v.url(suffix) } }
	rtmp := func(v *view) string { return v.host.rtmp() }
	srt := func(v *view) string { return v.srt() }
	ws := func(suffix string) func(v *view) string {
		return func(v *view) string { return "ws" + strings.TrimPrefix(v.url(suffix), "http") }
	}
	hls, dash := at("/index.m3u8"), at("/manifest.mpd")
	all := []struct {
		protocol, player string
		lacks            func(Codec) string
		url              func(v *view) string
	}{
		{"HLS", "ffmpeg", everything, hls},
		{"HLS", "mpv", everything, hls},
		{"HLS", "VLC", everything, hls},
		{"HLS", "hls.js", chromium(b, "hls.js"), hls},
		{"HLS", "shaka-player", chromium(b, "shaka-player"), hls},
		{"LL-HLS", "hls.js", chromium(b, "hls.js"), hls},
		{"DASH", "ffmpeg", everything, dash},
		{"DASH", "mpv", everything, dash},
		{"DASH", "VLC", everything, dash},
		{"DASH", "dash.js", chromium(b, "dash.js"), dash},
		{"DASH", "shaka-player", chromium(b, "shaka-player"), dash},
		{"HTTP-FLV", "ffmpeg", flv, at(".flv")},
		{"HTTP-FLV", "VLC", flv, at(".flv")},
		{"HTTP-FLV", "mpegts.js", also(mpegtsFLV, chromium(b, "mpegts.js")), at(".flv")},
		{"WS-FLV", "mpegts.js", also(mpegtsFLV, chromium(b, "mpegts.js")), ws(".flv")},
		{"HTTP-TS", "ffmpeg", ts, at(".ts")},
		{"HTTP-TS", "mpv", ts, at(".ts")},
		{"HTTP-TS", "VLC", ts, at(".ts")},
		{"HTTP-TS", "mpegts.js", also(ts, chromium(b, "mpegts.js")), at(".ts")},
		{"HTTP-fMP4", "ffmpeg", everything, at(".mp4")},
		{"HTTP-fMP4", "Chromium", chromium(b, "Chromium"), at(".mp4")},
		{"RTMP", "ffmpeg", flv, rtmp},
		{"RTMP", "mpv", flv, rtmp},
		{"RTMP", "VLC", flv, rtmp},
		{"SRT", "ffmpeg", ts, srt},
		{"SRT", "mpv", ts, srt},
		{"SRT", "VLC", ts, srt},
		{"SRT", "srt-live-transmit", ts, srt},
	}
	var l []Delivery
	for _, d := range all {
		plays := map[string]func(ctx context.Context, v *view, url string) error{"ffmpeg": byFFmpeg, "mpv": byMPV, "VLC": byVLC, "srt-live-transmit": byTransmit}[d.player]
		if plays == nil {
			player := d.player
			if d.protocol == "LL-HLS" {
				player = lowLatency
			}
			plays = func(ctx context.Context, v *view, url string) error { return b.play(ctx, player, url, v.codec) }
		}
		if inBrowser(d.player) && b == nil {
			continue
		}
		l = append(l, Delivery{d.protocol, d.player, d.lacks, func(ctx context.Context, v *view) error { return plays(ctx, v, d.url(v)) }})
	}
	noPictures := func(c Codec) string {
		if c.Video == "" {
			return "there are no pictures"
		}
		return ""
	}
	return append(l, Delivery{"key frame", "JPEG", noPictures, showsJPEG})
}

func inBrowser(player string) bool {
	return slices.Contains([]string{"hls.js", "shaka-player", "dash.js", "mpegts.js", "Chromium"}, player)
}

// showsJPEG reads the newest key frame as a picture.
func showsJPEG(ctx context.Context, v *view) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, v.url("/keyframe?format=jpeg"), nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s", res.Status)
	}
	i, err := jpeg.Decode(res.Body)
	if err != nil {
		return err
	}
	if s := i.Bounds().Size(); s.X != 320 || s.Y != 180 {
		return fmt.Errorf("the picture is %v", s)
	}
	return nil
}
