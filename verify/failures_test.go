package verify

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"regexp"
	"testing"

	"github.com/cleave-video/cleave/format/mp4"
)

// media changes the box at path in a file.
func media(file string, change func(body []byte), path ...string) func(testing.TB, files) files {
	return func(t testing.TB, f files) files {
		f[file] = edited(t, f[file], change, path...)
		return f
	}
}

// put writes a big-endian number of four bytes into a body.
func put(at int, v uint32) func([]byte) {
	return func(b []byte) { binary.BigEndian.PutUint32(b[at:], v) }
}

// later moves every tfdt of a segment.
func later(file string, ticks uint64) func(testing.TB, files) files {
	return func(t testing.TB, f files) files {
		b := append([]byte(nil), f[file]...)
		nodes, err := mp4.Tree(b, 0)
		if err != nil {
			t.Fatal(err)
		}
		for i := range nodes {
			if n := nodes[i].First("traf", "tfdt"); n != nil {
				binary.BigEndian.PutUint64(n.Body[4:], binary.BigEndian.Uint64(n.Body[4:])+ticks)
			}
		}
		f[file] = b
		return f
	}
}

func bytesOf(file string, change func(b []byte) []byte) func(testing.TB, files) files {
	return func(_ testing.TB, f files) files {
		f[file] = change(append([]byte(nil), f[file]...))
		return f
	}
}

func instead(make func(t testing.TB) files) func(testing.TB, files) files {
	return func(t testing.TB, _ files) files { return make(t) }
}

func without(name string) func(testing.TB, files) files {
	return func(_ testing.TB, f files) files {
		delete(f, name)
		return f
	}
}

func bandwidth(name, value string) func(testing.TB, files) files {
	return func(_ testing.TB, f files) files {
		f["index.m3u8"] = regexp.MustCompile(`([:,])`+name+`=\d+`).ReplaceAll(f["index.m3u8"], []byte("${1}"+name+"="+value))
		return f
	}
}

// packetsOf changes packets of a PID in a transport stream.
func packetsOf(file string, pid int, change func(n int, p []byte)) func(testing.TB, files) files {
	return bytesOf(file, func(b []byte) []byte {
		n := 0
		for at := 0; at+188 <= len(b); at += 188 {
			if int(b[at+1]&0x1f)<<8|int(b[at+2]) == pid {
				change(n, b[at:at+188])
				n++
			}
		}
		return b
	})
}

// The files of vod by name.
const (
	transport                 = "stream.ts"
	top, videoList, audioList = "index.m3u8", "v/index.m3u8", "a/index.m3u8"
)

func failures() []failure {
	out := hlsFailures()
	out = append(out, appleFailures()...)
	out = append(out, lowFailures()...)
	out = append(out, cmafFailures()...)
	out = append(out, dashFailures()...)
	return append(out, tsFailures()...)
}

func hlsFailures() []failure {
	return []failure{
		{rule: "S1", base: "vod", file: videoList, old: "#EXT-X-PLAYLIST-TYPE:VOD", new: "#EXT-X-PLAYLIST-TYPE:LIVE"},
		{rule: "S1", base: "vod", file: top, old: `,AUDIO="a"`, new: `,AUDIO=a`},
		{rule: "S2", base: "vod", file: "manifest.mpd", old: "</MPD>", new: ""},
		{rule: "S2", base: "vod", file: "manifest.mpd", old: "minBufferTime", new: "leastBufferTime"},
		{rule: "S3", base: "vod", do: bytesOf("v/2.m4s", func(b []byte) []byte { return b[:len(b)-50] })},
		{rule: "S3", base: "vod", do: bytesOf("v/init.mp4", func(b []byte) []byte { return b[:40] })},
		{rule: "H1", base: "ts", file: top, old: "#EXT-X-TARGETDURATION:2\n", new: "#EXT-X-TARGETDURATION:2\n#EXT-X-TARGETDURATION:2\n"},
		{rule: "H2", base: "ts", file: top, old: "#EXTINF:2.000,", new: "#EXTINF:2.500,"},
		{rule: "H4", base: "vod", file: "w/index.m3u8", old: "TARGETDURATION:2", new: "TARGETDURATION:3"},
		{rule: "H5", base: "ts", file: top, old: "#EXTINF:2.000,\n2.ts", new: "2.ts"},
		{rule: "H5", base: "ts", file: top, old: "#EXT-X-VERSION:3\n", new: ""},
		{rule: "H6", base: "vod", file: videoList, old: "#EXT-X-VERSION:6", new: "#EXT-X-VERSION:5"},
		{rule: "H7", base: "ts", file: top, old: "#EXT-X-ENDLIST", new: "#EXT-X-MEDIA-SEQUENCE:1\n#EXT-X-ENDLIST"},
		{rule: "H8", base: "ts", file: top, old: "#EXT-X-ENDLIST", new: "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"b\"\n#EXT-X-ENDLIST"},
		{rule: "H8", base: "vod", file: top, old: "#EXTM3U\n", new: "#EXTM3U\n#EXT-X-PLAYLIST-TYPE:VOD\n"},
		{rule: "H9", base: "text", do: func(_ testing.TB, f files) files {
			f[top] = regexp.MustCompile(`@0\n`).ReplaceAll(f[top], []byte("\n"))
			return f
		}},
		{rule: "H10", base: "vod", file: videoList, old: `URI="init.mp4"`, new: `URI="init.mp4",BYTERANGE="100"`},
		{rule: "H10", base: "vod", file: "v/iframes.m3u8", old: `URI="init.mp4"`, new: `URI="1.m4s",BYTERANGE="100@0"`},
		{rule: "H11", base: "vod", do: later("v/2.m4s", 1000)},
		{rule: "H12", base: "text", file: top, old: "12:00:04.000Z", new: "11:00:04.000Z"},
		{rule: "H12", base: "vod", file: videoList, old: "#EXTINF:2.000,\n1.m4s", new: "#EXT-X-PROGRAM-DATE-TIME:2026-03-01T12:00:00.000Z\n#EXTINF:2.000,\n1.m4s"},
		{rule: "H12", base: "text", file: top, old: "12:00:04.000Z", new: "12:00:04"},
		{rule: "H13", base: "text", file: top, old: "END-DATE=\"2026-03-01T12:00:03.000Z\"", new: "END-DATE=\"2026-03-01T12:00:04.000Z\""},
		{rule: "H13", base: "text", file: top, old: "#EXT-X-DATERANGE:ID=\"ad\",START-DATE=\"2026-03-01T12:00:01.000Z\"", new: "#EXT-X-DATERANGE:ID=\"ad\""},
		{rule: "H14", base: "text", file: top, old: "ID=\"ad\",START-DATE=\"2026-03-01T12:00:01.000Z\",SCTE35-OUT", new: "ID=\"other\",START-DATE=\"2026-03-01T12:00:01.000Z\",SCTE35-OUT"},
		{rule: "H15", base: "ts", do: without("2.ts")},
		{rule: "H16", base: "keys", file: top, old: "METHOD=NONE", new: "METHOD=NONE,URI=\"k\""},
		{rule: "H16", base: "keys", file: top, old: "METHOD=NONE", new: "METHOD=SAMPLE-AES-CTR,URI=\"k\",IV=0x00000000000000000000000000000001"},
		{rule: "H16", base: "vod", file: videoList, old: "#EXTINF:2.000,\n1.m4s", new: "#EXT-X-KEY:METHOD=AES-128,URI=\"k\"\n#EXTINF:2.000,\n1.m4s"},
		{rule: "H17", base: "keys", file: top, old: "#EXT-X-BITRATE:", new: "#EXT-X-BITRATE:1"},
		{rule: "H18", base: "vod", file: top, old: `,URI="v/iframes.m3u8"`, new: `,CLOSED-CAPTIONS=NONE,URI="v/iframes.m3u8"`},
		{rule: "H19", base: "vod", file: top, old: ",mp4a.40.2", new: ""},
		{rule: "H20", base: "vod", file: top, old: `,AUDIO="a"`, new: `,AUDIO="b"`},
		{rule: "H20", base: "vod", file: top, old: "#EXT-X-STREAM-INF", new: "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"English\",LANGUAGE=\"en\",URI=\"a/index.m3u8\"\n#EXT-X-STREAM-INF"},
		{rule: "H21", base: "vod", do: bandwidth("BANDWIDTH", "1000")},
		{rule: "H28", base: "ts", do: bytesOf("3.ts", func([]byte) []byte { return nil })},
		{rule: "H28", base: "vod", file: top, old: "w/index.m3u8", new: "x/index.m3u8"},
		{rule: "H32", base: "vod", do: func(t testing.TB, f files) files {
			for i := range 3 {
				f = later(fmt.Sprintf("a/%d.m4s", i+1), 48000)(t, f)
			}
			return f
		}},
		{rule: "H33", base: "lowmulti", file: "w/index.m3u8", old: "HOLD-BACK=6.0", new: "HOLD-BACK=7.0"},
	}
}

func appleFailures() []failure {
	return []failure{
		{rule: "A1", base: "vod", do: instead(func(t testing.TB) files { return vod(t, plan{gop: 75, per: 75, aper: 141}, plan{gop: 75, per: 75}) })},
		{rule: "A2", base: "vod", do: instead(func(t testing.TB) files { return vod(t, plan{offset: 10}, plan{}) })},
		{rule: "A3", base: "ts", file: top, old: "TARGETDURATION:2", new: "TARGETDURATION:10"},
		{rule: "A4", base: "ts", file: top, old: "#EXTINF:2.000,\n2.ts", new: "#EXTINF:2.600,\n2.ts"},
		{rule: "A5", base: "vod", do: later("v/2.m4s", 10)},
		{rule: "A6", base: "ts", do: bytesOf("1.ts", func(b []byte) []byte { return b[:len(b)-188] })},
		{rule: "A7", base: "vod", do: later("v/2.m4s", 2)},
		{rule: "A8", base: "vod", file: videoList, old: "#EXTINF:2.000,\n1.m4s", new: "#EXTINF:2.200,\n1.m4s"},
		{rule: "A9", base: "vod", file: audioList, old: "TARGETDURATION:2", new: "TARGETDURATION:3"},
		{rule: "A10", base: "vod", file: audioList, old: "#EXTINF:2.005334,\n2.m4s\n#EXTINF:2.005333,\n3.m4s\n", new: ""},
		{rule: "A12", base: "ts", file: top, old: "#EXT-X-PLAYLIST-TYPE:VOD\n", new: ""},
		{rule: "A13", base: "vod", file: audioList, old: "#EXTINF:2.005334,\n2.m4s\n#EXTINF:2.005333,\n3.m4s\n", new: ""},
		{rule: "A14", base: "vod", file: top, old: `,LANGUAGE="en"`, new: ""},
		{rule: "A16", base: "multi", file: audioList, old: "#EXT-X-DISCONTINUITY\n", new: ""},
		{rule: "A19", base: "vod", file: videoList, old: "#EXT-X-MAP:URI=\"init.mp4\"\n", new: ""},
		{rule: "A20", base: "vod", do: instead(func(t testing.TB) files { return vod(t, plan{aper: 70}, plan{}) })},
		{rule: "A22", base: "vod", file: top, old: ",RESOLUTION=320x192", new: ""},
		{rule: "A23", base: "packed", file: top, old: "#EXTM3U\n", new: "#EXTM3U\n"},
		{rule: "A24", base: "vod", do: func(_ testing.TB, f files) files {
			for name, b := range f {
				f[name] = bytes.ReplaceAll(b, []byte("#EXT-X-INDEPENDENT-SEGMENTS\n"), nil)
			}
			return f
		}},
		{rule: "A25", base: "vod", file: top, old: ",FRAME-RATE=25.000", new: ""},
		{rule: "A26", base: "sdr", do: instead(func(t testing.TB) files { return colrBase(t, 16) })},
		{rule: "A27", base: "vod", do: bandwidth("AVERAGE-BANDWIDTH", "9999999")},
		{rule: "A29", base: "vod", file: "v/iframes.m3u8", old: "#EXT-X-I-FRAMES-ONLY\n", new: ""},
		{rule: "A29", base: "vod", do: func(_ testing.TB, f files) files {
			f[top] = regexp.MustCompile(`#EXT-X-I-FRAME-STREAM-INF.*\n`).ReplaceAll(f[top], nil)
			return f
		}},
		{rule: "A30", base: "ts", do: instead(func(t testing.TB) files { return tsvod(t, tsShape{audios: 2}) })},
		{rule: "A34", base: "cbcs", do: instead(func(t testing.TB) files { return cbcsBase(t, 0x55) })},
		{rule: "A39", base: "vod", file: top, old: `URI="v/iframes.m3u8"`, new: `URI="http://127.0.0.1:8080/v/iframes.m3u8"`},
		{rule: "A39", base: "vod", file: videoList, old: "\n2.m4s", new: "\nhttps://LOCALHOST/2.m4s"},
		{rule: "A38", base: "packed", file: "1.vtt", old: "X-TIMESTAMP-MAP", new: "NOTE"},
	}
}

func lowFailures() []failure {
	const date = "#EXT-X-PROGRAM-DATE-TIME:2026-03-01T12:00:00.000Z\n"
	return []failure{
		{rule: "L1", base: "low", file: top, old: "#EXT-X-PART-INF:PART-TARGET=1.0\n", new: ""},
		{rule: "L2", base: "low", file: top, old: "DURATION=1.0,URI=\"2.1.m4s\"", new: "DURATION=1.001,URI=\"2.1.m4s\""},
		{rule: "L3", base: "low", file: top, old: "DURATION=1.0,URI=\"2.0.m4s\",INDEPENDENT=YES", new: "DURATION=0.84,URI=\"2.0.m4s\""},
		{rule: "L5", base: "low", file: top, old: "PART-HOLD-BACK=3.0", new: "PART-HOLD-BACK=1.999"},
		{rule: "A36", base: "low", file: top, old: "PART-HOLD-BACK=3.0", new: "PART-HOLD-BACK=2.5"},
		{rule: "L6", base: "low", file: top, old: ",HOLD-BACK=6.0", new: ",HOLD-BACK=5.9"},
		{rule: "L7", base: "low", file: top, old: "CAN-SKIP-UNTIL=12.0", new: "CAN-SKIP-UNTIL=11.9"},
		{rule: "A37", base: "long", file: top, old: "CAN-SKIP-UNTIL=12.0,", new: ""},
		{rule: "L8", base: "low", file: top, old: "URI=\"1.1.m4s\",INDEPENDENT=YES", new: "URI=\"1.1.m4s\""},
		{rule: "L9", base: "low", file: top, old: "#EXTINF:2.0,\n2.m4s", new: "#EXT-X-DISCONTINUITY\n#EXTINF:2.0,\n2.m4s"},
		{rule: "L12", base: "low", file: top, old: "#EXTINF:2.0,\n2.m4s", new: "#EXTINF:2.4,\n2.m4s"},
		{rule: "L12", base: "low", do: bytesOf("1.1.m4s", func(b []byte) []byte { return append(b, makeBox("free")...) })},
		{rule: "L13", base: "low", file: top, old: "#EXT-X-PRELOAD-HINT:", new: "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"x\"\n#EXT-X-PRELOAD-HINT:"},
		{rule: "L16", base: "low", file: top, old: "URI=\"3.0.m4s\"", new: "URI=\"3.0.m4s\",BYTERANGE=\"10\""},
		{rule: "L27", base: "lowmulti", file: videoList, old: "../w/index.m3u8", new: "../x/index.m3u8"},
		{rule: "L27", base: "lowmulti", file: videoList, old: "../w/index.m3u8", new: "http://example.com/w/index.m3u8"},
		{rule: "L29", base: "low", file: top, old: date, new: ""},
	}
}

func cmafFailures() []failure {
	return []failure{
		{rule: "C1", base: "vod", do: func(t testing.TB, f files) files {
			b := append([]byte(nil), f["v/1.m4s"]...)
			copy(b[box(t, b, "mdat").Offset+4:], "free")
			f["v/1.m4s"] = b
			return f
		}},
		{rule: "C2", base: "vod", do: func(t testing.TB, f files) files {
			b := append([]byte(nil), f["v/1.m4s"]...)
			nodes, _ := mp4.Tree(b, 0)
			binary.BigEndian.PutUint64(nodes[3].First("traf", "tfdt").Body[4:], 26)
			f["v/1.m4s"] = b
			return f
		}},
		{rule: "C3", base: "vod", do: media("v/1.m4s", put(8, 100000), "moof", "traf", "trun")},
		{rule: "C4", base: "vod", do: media("v/1.m4s", put(12, 0x01010000), "moof", "traf", "trun")},
		{rule: "C5", base: "vod", do: media("v/1.m4s", func(b []byte) { b[1] &^= 2 }, "moof", "traf", "tfhd")},
		{rule: "C6", base: "vod", do: media("v/init.mp4", put(16, 1000), "moov", "mvhd")},
		{rule: "C7", base: "vod", do: func(t testing.TB, f files) files {
			entry := append(make([]byte, 11), 0, 0, 1, 0, 0)
			entry = entry[:12]
			body := append([]byte{0, 0, 0, 0, 0, 0, 0, 2}, append(entry, entry...)...)
			f["v/init.mp4"] = grown(t, f["v/init.mp4"], makeBox("edts", makeBox("elst", body...)...), "moov", "trak")
			return f
		}},
		{rule: "C8", base: "vod", file: "v/init.mp4", old: "cfhd", new: "caac"},
		{rule: "C9", base: "vod", do: media("w/init.mp4", put(12, 50), "moov", "trak", "mdia", "mdhd")},
		{rule: "C10", base: "vod", do: instead(func(t testing.TB) files { return vod(t, plan{}, plan{per: 25}) })},
		{rule: "C11", base: "keygroups", do: instead(func(t testing.TB) files { return keyGroups(t, 2, 1) })},
		{rule: "C11", base: "keygroups", do: instead(func(t testing.TB) files { return keyGroups(t, 1, 3) })},
		{rule: "C12", base: "events", do: func(t testing.TB, f files) files {
			b := append([]byte(nil), f["v/2.m4s"]...)
			copy(b[box(t, b, "emsg").Offset+4:], "free")
			f["v/2.m4s"] = b
			return f
		}},
		{rule: "C13", base: "single", do: media("v.mp4", func(b []byte) { b[26]++ }, "sidx")},
		{rule: "C13", base: "single", file: "v.mp4", old: "sidx", new: "free"},
	}
}

func dashFailures() []failure {
	const m = "manifest.mpd"
	return []failure{
		{rule: "D1", base: "dynamic", file: m, old: ` availabilityTimeComplete="false"`, new: ""},
		{rule: "D2", base: "dynamic", file: m, old: `availabilityTimeOffset="1.5"`, new: `availabilityTimeOffset="2.0"`},
		{rule: "D3", base: "dynamic", file: m, old: `max="6000"`, new: `max="3000"`},
		{rule: "D4", base: "dynamic", file: m, old: "urn:mpeg:dash:utc:http-iso:2014", new: "urn:mine"},
		{rule: "D5", base: "dynamic", file: m, old: ` wallClockTime="2026-03-01T00:00:00Z"`, new: ""},
		{rule: "D6", base: "number", file: m, old: "$Number$", new: "1"},
		{rule: "D7", base: "vod", file: m, old: `<S t="0" d="50" r="2">`, new: `<S t="10" d="50" r="2">`},
		{rule: "D8", base: "number", file: m, old: `duration="50"`, new: `duration="20"`},
		{rule: "D9", base: "dynamic", file: m, old: `Resync type="1"`, new: `Resync type="9"`},
		{rule: "D10", base: "dynamic", file: m, old: `min="2000" target="3500"`, new: `min="1000" target="1500"`},
		{rule: "D11", base: "vod", do: instead(func(t testing.TB) files { return vod(t, plan{offset: 10}, plan{}) })},
		{rule: "D11", base: "number", do: func(t testing.TB, f files) files {
			return later("w/2.m4s", 10)(t, f)
		}},
		{rule: "D12", base: "number", file: m, old: "avc1.640028", new: "hvc1.1.6.L93.B0"},
		{rule: "D12", base: "number", file: m, old: `width="320"`, new: `width="640"`},
		{rule: "D5", base: "dynamic", file: m, old: `<ProducerReferenceTime id="0" wallClockTime="2026-03-01T00:00:00Z" presentationTime="0"/>`, new: ""},
		{rule: "D14", base: "dynamic", file: m, old: `<LeapSecondInformation availabilityStartLeapOffset="37"/>`, new: ""},
		{rule: "D13", base: "number", do: without("w/2.m4s")},
		{rule: "D13", base: "dynamic", file: m, old: ` publishTime="2026-03-01T00:00:01Z"`, new: ""},
	}
}

func tsFailures() []failure {
	return []failure{
		{rule: "T1", base: "ts", do: bytesOf("2.ts", func(b []byte) []byte { return b[2*188:] })},
		{rule: "T2", base: "ts", do: bytesOf("2.ts", func(b []byte) []byte { return b[:len(b)-10] })},
		{rule: "T3", base: "ts", do: packetsOf("1.ts", 0x100, func(n int, p []byte) {
			if n == 20 {
				p[3] ^= 5
			}
		})},
		{rule: "T1", base: "stream", do: packetsOf(transport, 0, func(_ int, p []byte) { p[2] = 1 })},
		{rule: "T2", base: "stream", do: bytesOf(transport, func(b []byte) []byte { return append(b[:188*9:188*9], b[188*9+7:]...) })},
		{rule: "T2", base: "stream", do: bytesOf(transport, func(b []byte) []byte { return b[:len(b)-7] })},
		{rule: "T4", base: "stream", do: packetsOf(transport, 0, func(n int, p []byte) {
			if n%3 > 0 { // they come every 400 ms
				p[1], p[2] = 0x1f, 0xff // a null packet
			}
		})},
		{rule: "T5", base: "ts", do: packetsOf("1.ts", 0x100, func(n int, p []byte) {
			if n > 60 && p[3]&0x20 != 0 && p[4] > 0 && p[5]&0x10 != 0 {
				p[8] ^= 0x40
			}
		})},
		{rule: "T6", base: "ts", do: instead(func(t testing.TB) files { return tsvod(t, tsShape{slow: true}) })},
		{rule: "T7", base: "ts", do: func(_ testing.TB, f files) files {
			for _, n := range []string{"1.ts", "2.ts", "3.ts"} {
				f[n] = bytes.ReplaceAll(f[n], []byte{0, 0, 1, 0x67}, []byte{0, 0, 1, 0x6C})
			}
			return f
		}},
		{rule: "T8", base: "ts", do: instead(func(t testing.TB) files { return tsvod(t, tsShape{swap: true}) })},
		{rule: "T9", base: "ts", do: instead(func(t testing.TB) files { return tsvod(t, tsShape{data: true}) })},
		{rule: "T10", base: "ts", do: packetsOf("1.ts", 0x1000, func(_ int, p []byte) { p[17] ^= 1 })},
		{rule: "T11", base: "ts", do: instead(func(t testing.TB) files { return tsvod(t, tsShape{discont: true}) })},
		{rule: "T12", base: "ts", do: func(_ testing.TB, f files) files { return retype(f, 0x0F, 0x11) }},
		{rule: "T13", base: "encryptedts", do: instead(func(t testing.TB) files { return sampleAES(t, false) })},
		{rule: "T14", base: "packed", file: "1.aac", old: "transportStreamTimestamp", new: "transportStreamTimestimp"},
	}
}
