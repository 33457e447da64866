package verify

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cleave-video/cleave/format/mp4"
)

const tsHead = "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:2\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-MEDIA-SEQUENCE:1\n"

// textBase is one transport stream by ranges, with dates and date ranges.
func textBase(t testing.TB) files {
	f := tsvod(t, tsShape{})
	out := files{}
	text := tsHead + "#EXT-X-DATERANGE:ID=\"ad\",START-DATE=\"2026-03-01T12:00:01.000Z\",SCTE35-OUT=0xFC00\n" +
		"#EXT-X-DATERANGE:ID=\"ad\",START-DATE=\"2026-03-01T12:00:01.000Z\",DURATION=2.0,END-DATE=\"2026-03-01T12:00:03.000Z\",SCTE35-IN=0xFC01\n"
	off := 0
	for i := range 3 {
		b := f[fmt.Sprintf("%d.ts", i+1)]
		out["all.ts"] = append(out["all.ts"], b...)
		text += fmt.Sprintf("#EXT-X-PROGRAM-DATE-TIME:2026-03-01T12:00:0%d.000Z\n#EXTINF:2.0,\n#EXT-X-BYTERANGE:%d@%d\nall.ts\n", 2*i, len(b), off)
		off += len(b)
	}
	out["index.m3u8"] = []byte(text + "#EXT-X-ENDLIST\n")
	return out
}

// streamBase is a transport stream that is no segment.
func streamBase(t testing.TB) files {
	f := tsvod(t, tsShape{})
	return files{transport: slices.Concat(f["1.ts"], f["2.ts"], f["3.ts"])}
}

// only is the one file that is checked, empty: the folder.
func (f files) only() string {
	if _, ok := f[transport]; ok {
		return transport
	}
	return ""
}

// keysBase has EXT-X-KEY and EXT-X-BITRATE.
func keysBase(t testing.TB) files {
	f := tsvod(t, tsShape{})
	text := tsHead + "#EXT-X-KEY:METHOD=NONE\n"
	for i := range 3 {
		name := fmt.Sprintf("%d.ts", i+1)
		text += fmt.Sprintf("#EXT-X-BITRATE:%d\n#EXTINF:2.0,\n%s\n", len(f[name])*4/1000, name)
	}
	f["index.m3u8"] = []byte(text + "#EXT-X-ENDLIST\n")
	return f
}

// packedBase has packed audio and subtitles.
func packedBase() files {
	one := func(name string) []byte {
		return []byte("#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXTINF:2.0,\n" + name + "\n#EXT-X-ENDLIST\n")
	}
	tag := append([]byte("ID3\x04\x00\x00\x00\x00\x00\x40PRIV\x00\x00\x00\x36\x00\x00com.apple.streaming.transportStreamTimestamp\x00"), make([]byte, 8)...)
	return files{
		"index.m3u8": []byte("#EXTM3U\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"s\",NAME=\"English\",LANGUAGE=\"en\",URI=\"s.m3u8\"\n" +
			"#EXT-X-STREAM-INF:BANDWIDTH=1000,AVERAGE-BANDWIDTH=1000,CODECS=\"mp4a.40.2\",SUBTITLES=\"s\"\na.m3u8\n"),
		"a.m3u8": one("1.aac"), "s.m3u8": one("1.vtt"), "1.aac": append(tag, 0xFF, 0xF1, 0x4C, 0x80),
		"1.vtt": []byte("WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:900000,LOCAL:00:00:00.000\n\n"),
	}
}

const dynamicMPD = `<?xml version="1.0" encoding="utf-8"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="dynamic" profiles="urn:mpeg:dash:profile:isoff-live:2011" availabilityStartTime="2026-03-01T00:00:00Z" publishTime="2026-03-01T00:00:01Z" minimumUpdatePeriod="PT2S" minBufferTime="PT1S">
 <ServiceDescription id="0"><Latency min="2000" target="3500" max="6000"/><PlaybackRate min="0.96" max="1.04"/></ServiceDescription>
 <Period id="0" start="PT0S">
  <AdaptationSet contentType="video" mimeType="video/mp4" segmentAlignment="true" startWithSAP="1">
   <ProducerReferenceTime id="0" wallClockTime="2026-03-01T00:00:00Z" presentationTime="0"/>
   <Resync type="1" dT="500000"/>
   <SegmentTemplate timescale="1000" duration="2000" startNumber="1" media="v/$Number$.m4s" initialization="v/init.mp4" availabilityTimeOffset="1.5" availabilityTimeComplete="false"/>
   <Representation id="v" bandwidth="1000000" codecs="avc1.64001f" width="640" height="360"/>
  </AdaptationSet>
  <AdaptationSet contentType="audio" mimeType="audio/mp4" segmentAlignment="true">
   <SegmentTemplate timescale="1000" duration="1000" startNumber="1" media="a/$Number$.m4s" initialization="a/init.mp4"/>
   <Representation id="a" bandwidth="64000" codecs="mp4a.40.2"/>
  </AdaptationSet>
 </Period>
 <UTCTiming schemeIdUri="urn:mpeg:dash:utc:http-iso:2014" value="http://time.example.com"/>
 <LeapSecondInformation availabilityStartLeapOffset="37"/>
</MPD>
`

// numberBase has two Representations by number and duration.
func numberBase(t testing.TB) files {
	f := vod(t, plan{}, plan{})
	delete(f, "index.m3u8")
	rep := func(id string) string {
		return `<Representation id="` + id + `" bandwidth="100000" codecs="avc1.640028" width="320" height="192"/>`
	}
	f["manifest.mpd"] = []byte(`<MPD type="static" profiles="p" minBufferTime="PT1S" mediaPresentationDuration="PT6S"><Period>
<AdaptationSet mimeType="video/mp4" segmentAlignment="true" startWithSAP="1">
<SegmentTemplate timescale="25" duration="50" media="$RepresentationID$/$Number$.m4s" initialization="$RepresentationID$/init.mp4"/>
` + rep("v") + "\n" + rep("w") + `
</AdaptationSet></Period></MPD>`)
	return f
}

// singleBase is a track in one file with an index.
func singleBase(t testing.TB) files {
	f := vod(t, plan{}, plan{})
	sidx := make([]byte, 24)
	binary.BigEndian.PutUint32(sidx[4:], 1)
	binary.BigEndian.PutUint32(sidx[8:], 25)
	sidx[23] = 3
	var media []byte
	for i := range 3 {
		b := f[fmt.Sprintf("v/%d.m4s", i+1)]
		media = append(media, b...)
		sidx = binary.BigEndian.AppendUint32(sidx, uint32(len(b)))
		sidx = append(sidx, 0, 0, 0, 50, 0x90, 0, 0, 0)
	}
	box := makeBox("sidx", sidx...)
	init := f["v/init.mp4"]
	return files{
		"v.mp4": bytes.Join([][]byte{init, box, media}, nil),
		"manifest.mpd": fmt.Appendf(nil, `<MPD type="static" profiles="p" minBufferTime="PT1S" mediaPresentationDuration="PT6S"><Period>
<AdaptationSet mimeType="video/mp4"><Representation id="v" bandwidth="100000" codecs="avc1.640028" width="320" height="192"><BaseURL>v.mp4</BaseURL>
<SegmentBase indexRange="%d-%d"><Initialization range="0-%d"/></SegmentBase></Representation></AdaptationSet></Period></MPD>`, len(init), len(init)+len(box)-1, len(init)-1),
	}
}

// eventsBase has an emsg before a later chunk, and again in the next segment.
func eventsBase(t testing.TB) files {
	f := vod(t, plan{}, plan{})
	event := makeBox("emsg", append(make([]byte, 4), "urn:x\x00\x00................"...)...)
	nodes, err := mp4.Tree(f["v/1.m4s"], 0)
	if err != nil {
		t.Fatal(err)
	}
	second := nodes[3].Offset
	a, b := f["v/1.m4s"], f["v/2.m4s"]
	f["v/1.m4s"] = bytes.Join([][]byte{a[:second], event, a[second:]}, nil)
	styp := box(t, b, "styp").Size()
	f["v/2.m4s"] = bytes.Join([][]byte{b[:styp], event, b[styp:]}, nil)
	for name := range f {
		if !strings.HasPrefix(name, "v/") || name == "v/iframes.m3u8" {
			delete(f, name)
		}
	}
	f["index.m3u8"] = bytes.ReplaceAll(bytes.ReplaceAll(f["v/index.m3u8"], []byte(".m4s"), []byte(".m4s")), []byte("\n1.m4s"), []byte("\nv/1.m4s"))
	for _, n := range []string{"2.m4s", "3.m4s"} {
		f["index.m3u8"] = bytes.ReplaceAll(f["index.m3u8"], []byte("\n"+n), []byte("\nv/"+n))
	}
	f["index.m3u8"] = bytes.ReplaceAll(f["index.m3u8"], []byte(`"init.mp4"`), []byte(`"v/init.mp4"`))
	return f
}

// cbcsBase says that its samples are encrypted, with a pattern.
func cbcsBase(t testing.TB, pattern byte) files {
	f := vod(t, plan{}, plan{})
	tenc := makeBox("tenc", append([]byte{1, 0, 0, 0, 0, pattern, 1, 0}, make([]byte, 33)...)...)
	sinf := makeBox("sinf", bytes.Join([][]byte{
		makeBox("frma", []byte("avc1")...), makeBox("schm", append([]byte{0, 0, 0, 0}, "cbcs\x00\x01\x00\x00"...)...), makeBox("schi", tenc...),
	}, nil)...)
	for _, dir := range []string{"v", "w"} {
		b := grown(t, f[dir+"/init.mp4"], sinf, "moov", "trak", "mdia", "minf", "stbl", "stsd", "avc1")
		copy(b[box(t, b, "moov", "trak", "mdia", "minf", "stbl", "stsd", "avc1").Offset+4:], "encv")
		f[dir+"/init.mp4"] = b
	}
	delete(f, "manifest.mpd")
	return f
}

// colrBase says which transfer characteristics its pictures have.
func colrBase(t testing.TB, transfer byte) files {
	f := vod(t, plan{}, plan{})
	colr := makeBox("colr", append([]byte("nclx"), 0, 1, 0, transfer, 0, 1, 0)...)
	for _, dir := range []string{"v", "w"} {
		f[dir+"/init.mp4"] = grown(t, f[dir+"/init.mp4"], colr, "moov", "trak", "mdia", "minf", "stbl", "stsd", "avc1")
	}
	return f
}

// multiBase has a discontinuity in all renditions.
func multiBase(t testing.TB) files {
	f := vod(t, plan{}, plan{})
	for _, dir := range []string{"v", "w", "a"} {
		name := dir + "/index.m3u8"
		lines := strings.SplitAfter(string(f[name]), "\n")
		var out strings.Builder
		for i, l := range lines {
			if i+1 < len(lines) && lines[i+1] == "2.m4s\n" {
				out.WriteString("#EXT-X-DISCONTINUITY\n")
			}
			out.WriteString(l)
		}
		f[name] = []byte(out.String())
	}
	return f
}

// lowMulti are two low-latency renditions that report on each other.
func lowMulti(t testing.TB) files {
	f, out := low(t), files{}
	for _, dir := range []string{"v", "w"} {
		for name, b := range f {
			out[dir+"/"+name] = b
		}
	}
	out["v/index.m3u8"] = append(out["v/index.m3u8"][:len(out["v/index.m3u8"]):len(out["v/index.m3u8"])], "#EXT-X-RENDITION-REPORT:URI=\"../w/index.m3u8\",LAST-MSN=3,LAST-PART=1\n"...)
	out["w/index.m3u8"] = append(out["w/index.m3u8"][:len(out["w/index.m3u8"]):len(out["w/index.m3u8"])], "#EXT-X-RENDITION-REPORT:URI=\"../v/index.m3u8\",LAST-MSN=3,LAST-PART=1\n"...)
	v := "#EXT-X-STREAM-INF:BANDWIDTH=100000,AVERAGE-BANDWIDTH=90000,CODECS=\"avc1.640028\",RESOLUTION=320x192,FRAME-RATE=25.000\n"
	out["index.m3u8"] = []byte("#EXTM3U\n#EXT-X-INDEPENDENT-SEGMENTS\n" + v + "v/index.m3u8\n" + v + "w/index.m3u8\n")
	return out
}

// longBase has a window of more than two minutes.
func longBase(t testing.TB) files {
	f := low(t)
	gaps := strings.Repeat("#EXT-X-GAP\n#EXTINF:2.0,\ngone.m4s\n", 70)
	f["index.m3u8"] = bytes.Replace(f["index.m3u8"], []byte("#EXT-X-PROGRAM"), []byte(gaps+"#EXT-X-PROGRAM"), 1)
	for _, x := range []string{"@0", ""} { // parts as ranges, the second behind the first
		name := []byte(`URI="2.1.m4s"`)
		if x != "" {
			name = []byte(`URI="2.0.m4s"`)
		}
		part := f[string(name[5:len(name)-1])]
		f["index.m3u8"] = bytes.Replace(f["index.m3u8"], name, fmt.Appendf(nil, `URI="2.m4s",BYTERANGE="%d%s"`, len(part), x), 1)
	}
	return f
}

// sampleAES is a transport stream under SAMPLE-AES, its types told truly or not.
func sampleAES(t testing.TB, truly bool) files {
	f := tsvod(t, tsShape{})
	if truly {
		f = retype(retype(f, 0x1B, 0xDB), 0x0F, 0xCF)
	}
	f["index.m3u8"] = bytes.Replace(f["index.m3u8"], []byte("#EXT-X-VERSION:3\n"), []byte("#EXT-X-VERSION:5\n"), 1)
	f["index.m3u8"] = bytes.Replace(f["index.m3u8"], []byte("#EXTINF"), []byte("#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"skd://k\",KEYFORMAT=\"com.apple.streamingkeydelivery\"\n#EXTINF"), 1)
	return f
}

// listBase is a track in one file whose segments a SegmentList names by ranges.
func listBase(t testing.TB) files {
	f := singleBase(t)
	nodes, err := mp4.Tree(f["v.mp4"], 0)
	if err != nil {
		t.Fatal(err)
	}
	var list strings.Builder
	init := mp4.First(nodes, "sidx").Offset
	for i := range nodes {
		if nodes[i].Type == "styp" {
			end := int64(len(f["v.mp4"]))
			for k := i + 1; k < len(nodes); k++ {
				if nodes[k].Type == "styp" {
					end = nodes[k].Offset
					break
				}
			}
			fmt.Fprintf(&list, "<SegmentURL mediaRange=\"%d-%d\"/>\n", nodes[i].Offset, end-1)
		}
	}
	f["manifest.mpd"] = fmt.Appendf(nil, `<MPD type="static" profiles="p" minBufferTime="PT1S" mediaPresentationDuration="PT6S"><Period>
<AdaptationSet mimeType="video/mp4"><Representation id="v" bandwidth="100000" codecs="avc1.640028" width="320" height="192"><BaseURL>v.mp4</BaseURL>
<SegmentList timescale="25" duration="50"><Initialization range="0-%d"/>
%s</SegmentList></Representation></AdaptationSet></Period></MPD>`, init-1, &list)
	return f
}

// keyGroups is cbcsBase whose fragments describe two groups of keys each. In the first
// fragment of a segment both have key 1, and the first one counts; in the second
// fragment the first has another key, and another one may count.
func keyGroups(t testing.TB, other byte, group uint32) files {
	f := cbcsBase(t, 0x19)
	for i := range 3 {
		name := fmt.Sprintf("v/%d.m4s", i+1)
		nodes, err := mp4.Tree(f[name], 0)
		if err != nil {
			t.Fatal(err)
		}
		second := nodes[3].Offset
		a, b := f[name][:second], f[name][second:]
		f[name] = append(keyed(t, a, 1, 1), keyed(t, b, other, group)...)
	}
	// The I-frame playlist has the old places.
	delete(f, "v/iframes.m3u8")
	lines := strings.SplitAfter(string(f["index.m3u8"]), "\n")
	f["index.m3u8"] = []byte(strings.Join(slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, "#EXT-X-I-FRAME") }), ""))
	return f
}

// keyed adds two groups of keys to a fragment, and says in which its samples are.
func keyed(t testing.TB, b []byte, kid byte, group uint32) []byte {
	entry := func(kid byte) []byte {
		return append(append([]byte{0, 0x19, 1, 0}, bytes.Repeat([]byte{kid}, 16)...), 0)
	}
	sgpd := append([]byte{1, 0, 0, 0, 's', 'e', 'i', 'g', 0, 0, 0, 21, 0, 0, 0, 2}, append(entry(kid), entry(1)...)...)
	sbgp := binary.BigEndian.AppendUint32([]byte{0, 0, 0, 0, 's', 'e', 'i', 'g', 0, 0, 0, 1, 0, 0, 0, 25}, 0x10000+group)
	extra := append(makeBox("sgpd", sgpd...), makeBox("sbgp", sbgp...)...)
	b = grown(t, b, extra, "moof", "traf")
	// The samples lie behind the longer moof.
	return edited(t, b, func(body []byte) {
		binary.BigEndian.PutUint32(body[8:], binary.BigEndian.Uint32(body[8:])+uint32(len(extra)))
	}, "moof", "traf", "trun")
}
