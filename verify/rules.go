package verify

import (
	"slices"
	"strconv"
)

// Severity says how much a rule asks.
type Severity string

// The severities. What a rule's source asks with MUST is Should here where
// players are known to live without it, or where the source was not at hand.
const (
	Must   Severity = "MUST"
	Should Severity = "SHOULD"
)

// Rule is one rule of the catalogue. The letters of an ID are: S syntax, H HLS,
// L low latency, A Apple's authoring specification, C CMAF, D DASH, T MPEG-TS.
type Rule struct {
	ID       string   `json:"id"`
	Severity Severity `json:"severity"`
	Title    string   `json:"title"`
	Source   string   `json:"source"`
	// Effect is what a player does when the rule is broken.
	Effect string `json:"effect"`
	// Live: the rule is checked over time, of a URL only.
	Live bool `json:"live,omitempty"`
}

// The effects that several rules share.
const (
	refused  = "Strict players refuse the playlist; others guess."
	stalls   = "Playback stalls, or the player falls behind the live edge."
	seams    = "A gap, a click or a jump is seen or heard where segments meet."
	chooses  = "The player chooses a rendition it cannot play or load in time, or leaves out one it could."
	loads    = "The player asks for something that is not there, and waits or stops."
	apple    = "Apple's validator rejects the stream; Apple's players may still play it."
	noSeek   = "Seeking and switching to the segment show nothing, or damage, until the next key frame."
	drifts   = "Positions shown, seeking and synchronisation are off."
	waste    = "It plays, with more requests or bytes than needed."
	ignored  = "Most players ignore it."
	undecode = "The decoder shows damage or stops."
)

// rules returns the catalogue, family by family, each in the order of its numbers.
func rules() []Rule {
	var out []Rule
	for _, family := range [...][]Rule{syntaxRules(), append(hlsRules(), hlsLiveRules()...), lowRules(), appleRules(), cmafRules(), dashRules(), tsRules()} {
		slices.SortStableFunc(family, func(a, b Rule) int { return a.number() - b.number() })
		out = append(out, family...)
	}
	return out
}

// number is that of the rule in its family.
func (r Rule) number() int {
	n, _ := strconv.Atoi(r.ID[1:]) // all have one: TestRuleTable
	return n
}

// Rules returns every rule, also those that are not checked.
func Rules() []Rule { return rules() }

func syntaxRules() []Rule {
	return []Rule{
		{ID: "S1", Severity: Must, Title: "The playlist keeps the grammar", Source: "RFC 8216bis 4.1-4.3", Effect: refused},
		{ID: "S2", Severity: Must, Title: "The manifest keeps the grammar", Source: "ISO/IEC 23009-1 5.2.2", Effect: "Players refuse the manifest."},
		{ID: "S3", Severity: Must, Title: "Boxes, packets and headers of a media file can be read", Source: "ISO/IEC 14496-12 4.2, 13818-1 2.4.3", Effect: undecode},
	}
}

func hlsRules() []Rule {
	return []Rule{
		{ID: "H1", Severity: Must, Title: "TARGETDURATION stands once, an integer of at least 1", Source: "RFC 8216bis 4.4.3.1", Effect: refused},
		{ID: "H2", Severity: Must, Title: "No EXTINF rounds to more than TARGETDURATION", Source: "RFC 8216bis 4.4.3.1, 6.2.1", Effect: stalls},
		{ID: "H4", Severity: Must, Title: "All renditions have the same TARGETDURATION", Source: "RFC 8216bis 6.2.4", Effect: stalls},
		{ID: "H5", Severity: Must, Title: "Every segment has EXTINF, a fraction only from version 3 on", Source: "RFC 8216bis 4.4.4.1", Effect: refused},
		{ID: "H6", Severity: Must, Title: "VERSION is as high as the tags need", Source: "RFC 8216bis 8", Effect: "A player that knows only that version reads the playlist wrongly."},
		{ID: "H7", Severity: Must, Title: "MEDIA-SEQUENCE and DISCONTINUITY-SEQUENCE come before the first segment", Source: "RFC 8216bis 4.4.3.2-3", Effect: refused},
		{ID: "H8", Severity: Must, Title: "No multivariant tags in a media playlist, and the reverse", Source: "RFC 8216bis 4.4.4, 4.4.6", Effect: refused},
		{ID: "H9", Severity: Must, Title: "A BYTERANGE without an offset follows one of the same resource", Source: "RFC 8216bis 4.4.4.2", Effect: refused},
		{ID: "H10", Severity: Must, Title: "A BYTERANGE of EXT-X-MAP has an offset; I-frame ranges leave the initialization section out", Source: "RFC 8216bis 4.4.4.5, 4.4.3.6", Effect: refused},
		{ID: "H11", Severity: Must, Title: "DISCONTINUITY where format, tracks or timestamps break", Source: "RFC 8216bis 4.4.4.3", Effect: seams},
		{ID: "H12", Severity: Must, Title: "PROGRAM-DATE-TIME is a date with a zone, consistent with the durations", Source: "RFC 8216bis 4.4.4.6, 6.2.1", Effect: drifts},
		{ID: "H13", Severity: Must, Title: "DATERANGE has ID and START-DATE, a PROGRAM-DATE-TIME beside it, and an end that fits", Source: "RFC 8216bis 4.4.5.1", Effect: "The event is not shown, or at the wrong time."},
		{ID: "H14", Severity: Must, Title: "SCTE35-OUT and -IN of a break share one ID", Source: "RFC 8216bis 4.4.5.1.1", Effect: "Advertisements begin or end at the wrong time."},
		{ID: "H15", Severity: Must, Title: "Missing media is marked GAP", Source: "RFC 8216bis 4.4.4.7, 6.2.1", Effect: loads},
		{ID: "H16", Severity: Must, Title: "EXT-X-KEY: NONE stands alone, the IV is there where it must be and only there", Source: "RFC 8216bis 4.4.4.4", Effect: "Nothing can be decrypted."},
		{ID: "H17", Severity: Must, Title: "EXT-X-BITRATE is within 10 % of the segments'", Source: "RFC 8216bis 4.4.4.8", Effect: chooses},
		{ID: "H18", Severity: Must, Title: "I-FRAME-STREAM-INF has no FRAME-RATE, AUDIO, SUBTITLES or CLOSED-CAPTIONS", Source: "RFC 8216bis 4.4.6.3", Effect: ignored},
		{ID: "H19", Severity: Should, Title: "CODECS lists every format of the variant", Source: "RFC 8216bis 4.4.6.2", Effect: chooses},
		{ID: "H20", Severity: Must, Title: "EXT-X-MEDIA: names unique, one DEFAULT, groups that exist and match", Source: "RFC 8216bis 4.4.6.1", Effect: chooses},
		{ID: "H21", Severity: Must, Title: "BANDWIDTH is at least the peak of what a variant plays", Source: "RFC 8216bis 4.4.6.2", Effect: chooses},
		{ID: "H28", Severity: Must, Title: "A listed segment is there, whole", Source: "RFC 8216bis 6.2.1", Effect: loads},
		{ID: "H32", Severity: Must, Title: "VOD: the first segments of all renditions begin at the same media time", Source: "RFC 8216bis 6.2.4", Effect: "Picture and sound are apart, or switching jumps."},
		{ID: "H33", Severity: Must, Title: "SERVER-CONTROL is the same in all media playlists", Source: "RFC 8216bis 6.2.4", Effect: stalls},
	}
}

func hlsLiveRules() []Rule {
	return []Rule{
		{ID: "H3", Severity: Must, Live: true, Title: "TARGETDURATION never changes", Source: "RFC 8216bis 6.2.1", Effect: stalls},
		{ID: "H22", Severity: Must, Live: true, Title: "A new segment within 1.5 target durations of the last", Source: "RFC 8216bis 6.2.1", Effect: stalls},
		{ID: "H23", Severity: Must, Live: true, Title: "A playlist only grows at its end, shrinks at its start, counts on, or ends", Source: "RFC 8216bis 6.2.1", Effect: "The player plays the wrong segments, plays some twice, or starts anew."},
		{ID: "H24", Severity: Must, Live: true, Title: "MEDIA-SEQUENCE rises by one for each removed segment and never falls", Source: "RFC 8216bis 6.2.2", Effect: "The player plays the wrong segments, plays some twice, or starts anew."},
		{ID: "H25", Severity: Must, Live: true, Title: "DISCONTINUITY-SEQUENCE rises by one for each removed DISCONTINUITY", Source: "RFC 8216bis 6.2.2", Effect: "Renditions are put together at the wrong place after a break."},
		{ID: "H26", Severity: Must, Live: true, Title: "No removal that leaves less than three target durations", Source: "RFC 8216bis 6.2.2", Effect: stalls},
		{ID: "H27", Severity: Must, Live: true, Title: "A segment can be loaded until its duration and that of the longest playlist with it have passed since it appeared", Source: "RFC 8216bis 6.2.2", Effect: loads},
		{ID: "H29", Severity: Must, Live: true, Title: "Playlists change in one piece", Source: "RFC 8216bis 6.2.1", Effect: refused},
		{ID: "H30", Severity: Must, Live: true, Title: "A playlist that slides has no type; VOD never changes; EVENT only grows", Source: "RFC 8216bis 4.4.3.5, 6.2.1", Effect: loads},
		{ID: "H31", Severity: Should, Live: true, Title: "Playlists are offered with gzip", Source: "RFC 8216bis 6.2.1", Effect: waste},
	}
}

func lowRules() []Rule {
	return []Rule{
		{ID: "L1", Severity: Must, Title: "PART-INF with PART-TARGET if there are parts", Source: "RFC 8216bis 4.4.3.7", Effect: refused},
		{ID: "L2", Severity: Must, Title: "No part is longer than PART-TARGET", Source: "RFC 8216bis 4.4.4.9", Effect: stalls},
		{ID: "L3", Severity: Must, Title: "A part is at least 85 % of PART-TARGET, unless independent, a gap, before a gap or the last of its segment", Source: "RFC 8216bis 4.4.4.9", Effect: waste},
		{ID: "L4", Severity: Must, Live: true, Title: "PART-TARGET and hold-backs never change", Source: "RFC 8216bis 6.2.1", Effect: stalls},
		{ID: "L5", Severity: Must, Title: "PART-HOLD-BACK is there and at least twice PART-TARGET", Source: "RFC 8216bis 4.4.3.8", Effect: "The player stays too near the edge and stalls."},
		{ID: "L6", Severity: Must, Title: "HOLD-BACK is at least three target durations", Source: "RFC 8216bis 4.4.3.8", Effect: "The player stays too near the edge and stalls."},
		{ID: "L7", Severity: Must, Title: "CAN-SKIP-UNTIL is at least six target durations", Source: "RFC 8216bis 4.4.3.8", Effect: "Delta updates leave out segments that the player still needs."},
		{ID: "L8", Severity: Must, Title: "INDEPENDENT=YES on parts with an independent frame, and only on those", Source: "RFC 8216bis 4.4.4.9", Effect: noSeek},
		{ID: "L9", Severity: Must, Title: "Tags of a segment come before its first PART", Source: "RFC 8216bis 4.4.4.9", Effect: undecode},
		{ID: "L10", Severity: Must, Live: true, Title: "A new part within a PART-TARGET of the last", Source: "RFC 8216bis 6.2.1", Effect: stalls},
		{ID: "L11", Severity: Must, Live: true, Title: "Parts leave the playlist when they are more than three target durations from its end (SHOULD), and can be loaded as long again", Source: "RFC 8216bis 6.2.2", Effect: waste},
		{ID: "L12", Severity: Must, Title: "Parts of a segment sum to its EXTINF", Source: "RFC 8216bis 4.4.4.9", Effect: seams},
		{ID: "L13", Severity: Must, Title: "One PRELOAD-HINT of a TYPE (SHOULD), none with ENDLIST", Source: "RFC 8216bis 4.4.5.3", Effect: loads},
		{ID: "L14", Severity: Must, Live: true, Title: "The part that follows a PRELOAD-HINT is the hinted one (SHOULD); asked for early, it is sent once it is whole", Source: "RFC 8216bis 4.4.5.3, 6.2.6", Effect: loads},
		{ID: "L15", Severity: Should, Live: true, Title: "What is neither listed nor hinted is 404", Source: "RFC 8216bis 6.2.6", Effect: loads},
		{ID: "L16", Severity: Must, Title: "A part's range without an offset follows a part of the same resource", Source: "RFC 8216bis 4.4.4.9", Effect: refused},
		{ID: "L17", Severity: Must, Live: true, Title: "_HLS_msn waits for that segment", Source: "RFC 8216bis 6.2.5.2", Effect: "The player asks in a circle."},
		{ID: "L18", Severity: Must, Live: true, Title: "_HLS_msn with _HLS_part waits for that part", Source: "RFC 8216bis 6.2.5.2", Effect: "The player asks in a circle."},
		{ID: "L19", Severity: Must, Live: true, Title: "A _HLS_part beyond a segment's last is the first of the next", Source: "RFC 8216bis 6.2.5.2", Effect: stalls},
		{ID: "L20", Severity: Must, Live: true, Title: "_HLS_part alone is 400", Source: "RFC 8216bis 6.2.5.2", Effect: ignored},
		{ID: "L21", Severity: Should, Live: true, Title: "_HLS_msn or _HLS_part too far ahead is 400 at once", Source: "RFC 8216bis 6.2.5.2", Effect: "A player with a wrong number hangs instead of starting anew."},
		{ID: "L22", Severity: Must, Live: true, Title: "_HLS_msn of an old segment is answered at once with the playlist", Source: "RFC 8216bis 6.2.5.2", Effect: "A player that was paused cannot go on."},
		{ID: "L23", Severity: Should, Live: true, Title: "A request blocked for three target durations is 503 (shows if the stream stands still)", Source: "RFC 8216bis 6.2.5.2", Effect: "The player waits for an answer that never comes, instead of trying another server."},
		{ID: "L24", Severity: Must, Live: true, Title: "Directives are ignored with ENDLIST", Source: "RFC 8216bis 6.2.5", Effect: loads},
		{ID: "L25", Severity: Must, Live: true, Title: "_HLS_skip leaves out only segments before CAN-SKIP-UNTIL, and the rest is the same", Source: "RFC 8216bis 6.2.5.1", Effect: "The player puts the playlist together wrongly."},
		{ID: "L26", Severity: Must, Live: true, Title: "With CAN-SKIP-DATERANGES, _HLS_skip=v2 is answered, and calls removed only date ranges that are gone", Source: "RFC 8216bis 6.2.5.1", Effect: ignored},
		{ID: "L27", Severity: Must, Title: "RENDITION-REPORT has a relative URI of another rendition, and numbers as fresh as the playlist", Source: "RFC 8216bis 4.4.5.4", Effect: "Switching renditions costs one more request."},
		{ID: "L28", Severity: Should, Live: true, Title: "Blocking answers can be cached", Source: "RFC 8216bis B (from memory)", Effect: waste},
		{ID: "L29", Severity: Should, Title: "Low-latency playlists have PROGRAM-DATE-TIME", Source: "RFC 8216bis B", Effect: "Latency cannot be measured by the player."},
		{ID: "L30", Severity: Should, Live: true, Title: "I-frame playlists block, too", Source: "RFC 8216bis 6.2.5.2", Effect: waste},
		{ID: "L31", Severity: Should, Live: true, Title: "Cache-Control of a live playlist does not hide updates", Source: "RFC 8216bis C (from memory)", Effect: stalls},
	}
}

func cmafRules() []Rule {
	return []Rule{
		{ID: "C1", Severity: Must, Title: "A chunk is moof and mdat, of one track", Source: "CMAF 7.3.2", Effect: undecode},
		{ID: "C2", Severity: Must, Title: "tfdt is the sum of the durations before it in the segment", Source: "CMAF 7.3.2.2", Effect: seams},
		{ID: "C3", Severity: Must, Title: "trun addresses samples inside the fragment's mdat", Source: "CMAF 7.3.2.3", Effect: undecode},
		{ID: "C4", Severity: Must, Title: "The first sample of a CMAF fragment is a sync sample that decodes alone", Source: "CMAF 7.3.2.4", Effect: noSeek},
		{ID: "C5", Severity: Must, Title: "tfhd or trun state durations, sizes and flags", Source: "CMAF 7.7.3", Effect: "It plays where trex has defaults."},
		{ID: "C6", Severity: Must, Title: "Durations in mvhd, tkhd, mdhd and mehd are 0", Source: "CMAF 7.5", Effect: "A player shows a wrong duration."},
		{ID: "C7", Severity: Must, Title: "Video has negative composition offsets or an edit list of one entry, not both", Source: "CMAF 9.2.1", Effect: "Picture and sound are apart by a few frames."},
		{ID: "C8", Severity: Must, Title: "Brands: cmfc or cmf2 and the media profile that the content is", Source: "CMAF A.3, B.5", Effect: ignored},
		{ID: "C9", Severity: Must, Title: "Headers of a switching set have the same sample entry and timescale", Source: "CMAF 7.3.4", Effect: "Switching needs a new decoder, or fails."},
		{ID: "C10", Severity: Must, Title: "Fragments of a switching set begin within one sample of each other", Source: "CTA-5005 4.4.2", Effect: seams},
		{ID: "C11", Severity: Must, Title: "One key in a segment", Source: "CTA-5005 4.3, 4.6", Effect: "Nothing can be decrypted."},
		{ID: "C12", Severity: Must, Title: "emsg of a later chunk is repeated in the next segment", Source: "CTA-5005 4.5", Effect: "An event is missed after a seek."},
		{ID: "C13", Severity: Must, Title: "A track in one file has one sidx that is true", Source: "CTA-5005 4.1.2", Effect: "Seeking lands at the wrong place."},
	}
}

func dashRules() []Rule {
	return []Rule{
		{ID: "D1", Severity: Must, Title: "Low latency: availabilityTimeOffset goes with availabilityTimeComplete=false", Source: "DASH-IF IOP 9.X.4.5", Effect: stalls},
		{ID: "D2", Severity: Must, Title: "availabilityTimeOffset is less than a segment", Source: "DASH-IF IOP 9.X.4.5", Effect: loads},
		{ID: "D3", Severity: Must, Title: "Low latency: ServiceDescription with a Latency whose min, target and max are in order", Source: "DASH-IF IOP 9.X.4.2", Effect: "The player does not know how far behind to stay."},
		{ID: "D4", Severity: Must, Title: "Dynamic: UTCTiming with a known scheme", Source: "DASH-IF IOP 9.X.4.2", Effect: "A player whose clock is wrong asks too early or too late."},
		{ID: "D5", Severity: Must, Title: "Low latency: ProducerReferenceTime is complete", Source: "DASH-IF IOP 9.X.4.3", Effect: "Latency cannot be measured by the player."},
		{ID: "D6", Severity: Must, Title: "SegmentTemplate names segments by $Number$ with @duration, or by a SegmentTimeline", Source: "DASH-IF IOP 9.X.4.3", Effect: "Players refuse the manifest."},
		{ID: "D7", Severity: Must, Title: "S@t and S@d are the segment's earliest presentation time and duration", Source: "DASH-IF IOP 8.X.3", Effect: seams},
		{ID: "D8", Severity: Must, Title: "With @duration, segments begin within half a segment of the grid", Source: "ISO/IEC 23009-1 7.2.1", Effect: "Seeking loads the wrong segment."},
		{ID: "D9", Severity: Should, Title: "Resync has a valid type", Source: "DASH-IF IOP 9.X.4.5", Effect: ignored},
		{ID: "D10", Severity: Should, Title: "Low latency without chunks: a segment is at most half the target latency", Source: "DASH-IF IOP 9.X.4.4", Effect: stalls},
		{ID: "D11", Severity: Must, Title: "startWithSAP and segmentAlignment are true", Source: "ISO/IEC 23009-1 5.3.3", Effect: noSeek},
		{ID: "D12", Severity: Must, Title: "@codecs, @width and @height are those of the initialization section", Source: "DASH-IF IOP 8.X.4", Effect: chooses},
		{ID: "D13", Severity: Must, Title: "The manifest's type, times and durations fit each other; segments are there when announced", Source: "ISO/IEC 23009-1 5.3.1", Effect: loads},
		{ID: "D14", Severity: Should, Title: "Dynamic: LeapSecondInformation", Source: "DASH-IF IOP", Effect: ignored},
	}
}

func tsRules() []Rule {
	return []Rule{
		{ID: "T1", Severity: Must, Title: "A segment has PAT and PMT before media", Source: "RFC 8216bis 3.2", Effect: noSeek},
		{ID: "T2", Severity: Must, Title: "Packets of 188 bytes that begin with 0x47", Source: "ISO/IEC 13818-1 2.4.3.2", Effect: undecode},
		{ID: "T3", Severity: Must, Title: "Continuity counters go on inside a segment", Source: "ISO/IEC 13818-1 2.4.3.3", Effect: undecode},
		{ID: "T4", Severity: Should, Title: "A stream that is no segment has PAT and PMT every 500 ms", Source: "TR 101 290 1.3, 1.5", Effect: "Only broadcast receivers mind."},
		{ID: "T5", Severity: Should, Title: "PCR at least every 100 ms, not behind DTS", Source: "ISO/IEC 13818-1 2.7.2", Effect: "Broadcast receivers lose the clock; HLS players do not use PCR."},
		{ID: "T6", Severity: Should, Title: "A PTS at least every 700 ms", Source: "ISO/IEC 13818-1 2.7.4", Effect: drifts},
		{ID: "T7", Severity: Must, Title: "The first picture of a segment has its parameter sets before it", Source: "RFC 8216bis 3.2", Effect: noSeek},
		{ID: "T8", Severity: Must, Title: "DTS rises and is not after PTS", Source: "ISO/IEC 13818-1 2.7.5", Effect: undecode},
		{ID: "T9", Severity: Should, Title: "PMT: stream_type as HLS knows it", Source: "RFC 8216bis 3.2", Effect: "The stream is not played."},
		{ID: "T10", Severity: Must, Title: "No CRC error in PAT and PMT, no PES header that cannot be read", Source: "ISO/IEC 13818-1 2.4.4", Effect: undecode},
		{ID: "T11", Severity: Should, Title: "discontinuity_indicator only where EXT-X-DISCONTINUITY is", Source: "RFC 8216bis 4.4.4.3", Effect: seams},
		{ID: "T12", Severity: Must, Title: "AAC is ADTS, not LATM", Source: "Apple HLS authoring 2", Effect: "There is no sound."},
		{ID: "T13", Severity: Should, Title: "SAMPLE-AES uses stream types 0xDB, 0xCF, 0xC1", Source: "MPEG-2 Stream Encryption Format (from memory)", Effect: "Nothing can be decrypted."},
		{ID: "T14", Severity: Should, Title: "Packed audio begins with an ID3 timestamp", Source: "RFC 8216bis 3.4 (from memory)", Effect: "Sound and picture are apart."},
	}
}
