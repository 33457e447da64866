package verify

// What Apple asks of the hosting or of the encoder, not of the files, is at most
// a SHOULD here: no packager can keep it alone.
const hosting = "a MUST of Apple's that hosting or encoding keeps, not packaging"

func appleRules() []Rule {
	return []Rule{
		{ID: "A1", Severity: Should, Title: "Key frames every 2 s", Source: "Apple HLS authoring 1.13", Effect: "Seeking and switching are coarse."},
		{ID: "A2", Severity: Must, Title: "Every video segment starts with an IDR", Source: "Apple HLS authoring 7.4", Effect: noSeek},
		{ID: "A3", Severity: Should, Title: "Target duration of 6 s (shorter ones are no finding)", Source: "Apple HLS authoring 7.5", Effect: "The player starts later and switches more coarsely."},
		{ID: "A4", Severity: Must, Title: "No segment exceeds TARGETDURATION by more than 0.5 s", Source: "Apple HLS authoring 7.7", Effect: stalls},
		{ID: "A5", Severity: Must, Title: "Media is continuous across segments", Source: "Apple HLS authoring 7.1", Effect: seams},
		{ID: "A6", Severity: Must, Title: "TS continuity counters and timestamps go on across segments", Source: "Apple HLS authoring 7.2", Effect: seams},
		{ID: "A7", Severity: Must, Title: "tfdt of a segment is that of the one before plus its duration", Source: "Apple HLS authoring 7.3", Effect: seams},
		{ID: "A8", Severity: Must, Title: "EXTINF sums stay within a video frame of the media", Source: "Apple HLS authoring 8.1", Effect: drifts},
		{ID: "A9", Severity: Must, Title: "Audio and video have the same TARGETDURATION", Source: "Apple HLS authoring 8.2", Effect: stalls},
		{ID: "A10", Severity: Must, Title: "All renditions last equally long", Source: "Apple HLS authoring 8.3", Effect: "The end is silent, or a still picture."},
		{ID: "A11", Severity: Should, Live: true, Title: "PROGRAM-DATE-TIME in every live playlist", Source: "Apple HLS authoring 8.4 (MUST)", Effect: drifts},
		{ID: "A12", Severity: Must, Title: "PLAYLIST-TYPE:VOD in a playlist that has ended and never slid", Source: "Apple HLS authoring 8.6", Effect: apple},
		{ID: "A13", Severity: Must, Title: "VOD playlists cover the same time range", Source: "Apple HLS authoring 8.7", Effect: "The end is silent, or a still picture."},
		{ID: "A14", Severity: Must, Title: "LANGUAGE on every EXT-X-MEDIA but VIDEO", Source: "Apple HLS authoring 8.10", Effect: "The menu of languages has a line without a name."},
		{ID: "A15", Severity: Should, Live: true, Title: "At least six segments in a live playlist", Source: "Apple HLS authoring 8.11 (MUST)", Effect: stalls},
		{ID: "A16", Severity: Must, Title: "DISCONTINUITY at the same time in all renditions", Source: "Apple HLS authoring 8.13-15", Effect: "Picture and sound are apart after the break."},
		{ID: "A17", Severity: Should, Live: true, Title: "DISCONTINUITY-SEQUENCE is there if a live stream may break", Source: "Apple HLS authoring 8.17 (MUST)", Effect: "Renditions are put together at the wrong place after a break."},
		{ID: "A18", Severity: Should, Live: true, Title: "No redirects for media", Source: "Apple HLS authoring 8.18 (MUST); " + hosting, Effect: waste},
		{ID: "A19", Severity: Must, Title: "EXT-X-MAP with fragmented MP4", Source: "Apple HLS authoring 8.20", Effect: undecode},
		{ID: "A20", Severity: Should, Title: "Equal segment boundaries in all renditions", Source: "Apple HLS authoring 8.22", Effect: "Switching loads more than needed."},
		{ID: "A21", Severity: Should, Live: true, Title: "Last-Modified is within three target durations of Date", Source: "Apple HLS authoring 8.24", Effect: stalls},
		{ID: "A22", Severity: Must, Title: "CODECS and, for video, RESOLUTION on every variant", Source: "Apple HLS authoring 9.1-9.4", Effect: chooses},
		{ID: "A23", Severity: Should, Title: "Several bit rates", Source: "Apple HLS authoring 9.9; " + hosting, Effect: "A slow connection stalls."},
		{ID: "A24", Severity: Should, Title: "INDEPENDENT-SEGMENTS", Source: "Apple HLS authoring 9.11 (MUST)", Effect: "The player loads one segment more at a switch."},
		{ID: "A25", Severity: Should, Title: "AVERAGE-BANDWIDTH and, for video, FRAME-RATE on every variant", Source: "Apple HLS authoring 9.13-9.15 (MUST)", Effect: chooses},
		{ID: "A26", Severity: Must, Title: "VIDEO-RANGE unless all is SDR", Source: "Apple HLS authoring 9.16", Effect: chooses},
		{ID: "A27", Severity: Should, Title: "VOD: BANDWIDTH and AVERAGE-BANDWIDTH are within 10 % of what was measured", Source: "Apple HLS authoring 1.26 (MUST)", Effect: chooses},
		{ID: "A28", Severity: Should, Live: true, Title: "Live: below 110 % of AVERAGE-BANDWIDTH (over a minute or more), 125 % of BANDWIDTH", Source: "Apple HLS authoring 1.28 (MUST)", Effect: chooses},
		{ID: "A29", Severity: Should, Title: "An I-frame playlist, with I-FRAMES-ONLY and the moof inside each range", Source: "Apple HLS authoring 6.1, 6.8, 6.10 (MUST)", Effect: "Fast forward shows no pictures."},
		{ID: "A30", Severity: Must, Title: "One audio stream in a segment", Source: "Apple HLS authoring 2.17", Effect: "Only one of them is heard."},
		{ID: "A31", Severity: Should, Live: true, Title: "Playlists are sent with gzip", Source: "Apple HLS authoring 10.1; " + hosting, Effect: waste},
		{ID: "A32", Severity: Should, Live: true, Title: "Content-Type as registered", Source: "Apple HLS authoring 10.4", Effect: "Some players and caches refuse it."},
		{ID: "A33", Severity: Should, Live: true, Title: "TLS 1.2 or newer", Source: "Apple HLS authoring 12.1; " + hosting, Effect: "Apps and pages that ask for TLS refuse it."},
		{ID: "A34", Severity: Must, Title: "cbcs has the pattern 1:9 for video", Source: "Apple HLS authoring 13.7", Effect: "Nothing can be decrypted."},
		{ID: "A35", Severity: Should, Live: true, Title: "PART-TARGET is not below the 95th percentile of this checker's round trips", Source: "Apple HLS authoring 14.2", Effect: stalls},
		{ID: "A36", Severity: Must, Title: "PART-HOLD-BACK is at least three times PART-TARGET", Source: "Apple HLS authoring 14.3", Effect: "The player stays too near the edge and stalls."},
		{ID: "A37", Severity: Should, Title: "Delta updates if the window is longer than two minutes", Source: "Apple HLS authoring 14.4", Effect: waste},
		{ID: "A38", Severity: Must, Title: "WebVTT segments begin with X-TIMESTAMP-MAP", Source: "Apple HLS authoring 5.3", Effect: "Subtitles come at the wrong time."},
		{ID: "A39", Severity: Should, Title: "Playlists from elsewhere name no media on a server inside the app", Source: "Apple HLS authoring 10.3", Effect: "Nothing plays where the app does not run: on other devices, by AirPlay."},
	}
}
