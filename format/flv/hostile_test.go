package flv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
)

// good is a file of one H.264 and one AAC track.
func good() []byte {
	b, err := mux(avtest.NewSynthetic(avtest.Spec{Video: avtest.Video{Frames: 30}, Audio: avtest.Audio{Frames: 40}}))
	if err != nil {
		panic(err)
	}
	return b
}

// tagAt returns where the n-th tag begins.
func tagAt(b []byte, n int) int {
	at := headerLen + prevLen
	for ; n > 0; n-- {
		at += tagHeaderLen + parseTagHeader(b[at:]).size + prevLen
	}
	return at
}

// edit changes a copy of the good file at its n-th tag.
func edit(n int, f func(tag []byte)) []byte {
	b := good()
	f(b[tagAt(b, n):])
	return b
}

func setSize(tag []byte, n int) { tag[1], tag[2], tag[3] = byte(n>>16), byte(n>>8), byte(n) }

// hostile returns inputs that were made to cost more than they are worth.
func hostile() map[string][]byte {
	avc := func(config ...byte) []byte { return append([]byte{1<<4 | codecAVC, avcHeader, 0, 0, 0}, config...) }
	flood := newFile(flagAudio)
	for n := range 20000 {
		flood.tag(TypeAudio, 0, []byte{0xaf, 0, 0x12, byte(0x08 | n&1<<4)}) // AAC 44.1 kHz, mono or stereo
	}
	tracks := []byte{maskExVideo | 1<<4 | exVideoMulti, multiManyTracks<<4 | exCodedFramesX, 'h', 'v', 'c', '1'}
	for n := range 200000 {
		tracks = append(tracks, byte(n), 0, 0, 1, 0)
	}
	many := newFile(flagAudio)
	for n := range 256 {
		many.tag(TypeAudio, 0, []byte{soundEx<<4 | exAudioMulti, exSequenceStart}, []byte(fourAAC), []byte{byte(n), 0x12, 0x10})
	}
	lies := good()
	lies = append(lies, TypeVideo, 0x7f, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0)
	unknown := newFile(flagVideo)
	for range 20000 {
		unknown.tag(TypeVideo, 0, []byte{maskExVideo | exCodedFrames, 'x', 'y', 'z', '!'})
	}
	return map[string][]byte{
		"configuration flood": flood.b,
		"200000 tracks":       newFile(flagVideo).tag(TypeVideo, 0, tracks).b,
		"256 tracks":          many.b,
		"length lies":         lies,
		"unknown FourCC":      unknown.b,
		"zeros":               append(newFile(5).b, make([]byte, 1<<20)...),
		"empty tags":          bytes.Join([][]byte{newFile(5).b, bytes.Repeat([]byte{9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11}, 50000)}, nil),
		"avcC 31 SPS":         newFile(flagVideo).tag(TypeVideo, 0, avc(1, 100, 0, 40, 0xff, 0xff, 0xff, 0xff)).b,
	}
}

// TestHostile: every one of them ends, by itself or with an *av.Error.
func TestHostile(t *testing.T) {
	for name, b := range hostile() {
		t.Run(name, func(t *testing.T) {
			var bad *av.Error
			if err := drain(NewDemuxer(bytes.NewReader(b))); err != io.EOF && !errors.As(err, &bad) {
				t.Error(err)
			}
		})
	}
}

// TestDamage: a damaged tag costs itself, no more, and is told.
func TestDamage(t *testing.T) {
	whole := len(demux(t, good())[0].packets)
	tests := []struct {
		name    string
		b       []byte
		lost    int
		warning string
	}{
		{"previous tag size", edit(9, func(tag []byte) {
			binary.BigEndian.PutUint32(tag[tagHeaderLen+parseTagHeader(tag).size:], 0)
		}), 0, "flv: 1 wrong previous tag sizes"},
		{"size too small", edit(9, func(tag []byte) { setSize(tag, parseTagHeader(tag).size-7) }), 1, "flv: 1 times the next tag had to be searched for"},
		{"size too large", edit(9, func(tag []byte) { setSize(tag, parseTagHeader(tag).size+30) }), 1, "flv: 1 times the next tag had to be searched for"},
		{"size beyond the end", edit(9, func(tag []byte) { setSize(tag, 7<<20) }), 1, "flv: 1 times the next tag had to be searched for"},
		{"size beyond the bound", edit(9, func(tag []byte) { setSize(tag, 1<<24-1) }), 1, "flv: 1 times the next tag had to be searched for"},
		{"type", edit(9, func(tag []byte) { tag[0] = 30 }), 1, "flv: 1 tags of unknown type dropped"},
		{"reserved bits", edit(9, func(tag []byte) { tag[0] |= 0x80 }), 1, "flv: 1 times the next tag had to be searched for"},
		{"encrypted", edit(9, func(tag []byte) { tag[0] |= maskFilter }), 1, "flv: 1 encrypted tags dropped"},
		{"NAL length", edit(2, func(tag []byte) { tag[tagHeaderLen+avcHeaderSize] = 0xff }), 1, "flv: 1 damaged frames dropped"},
		{"empty NAL unit", edit(2, func(tag []byte) { clear(tag[tagHeaderLen+avcHeaderSize:][:4]) }), 1, "flv: 1 damaged frames dropped"},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			d := NewDemuxer(bytes.NewReader(c.b))
			l, err := readAll(d)
			if err != nil || len(l) != 1 {
				t.Fatalf("%d sets of tracks, %v", len(l), err)
			}
			if n := whole - len(l[0].packets); n != c.lost {
				t.Errorf("%d packets lost, want %d", n, c.lost)
			}
			if w := d.Warnings(); len(w) == 0 || w[0] != c.warning {
				t.Errorf("warnings %q, want %q", w, c.warning)
			}
		})
	}
}

// TestEmptyUnit: a NAL unit without a byte is found wherever it stands.
func TestEmptyUnit(t *testing.T) {
	for in, want := range map[string]bool{
		"": false, "\x00\x01x": false, "\x00\x00": true, "\x00\x01x\x00\x00": true, "\x00\x00\x00\x01x": true, "\x00\x01x\x00": false,
	} {
		if got := emptyUnit([]byte(in), 2); got != want {
			t.Errorf("%q: %v", in, got)
		}
	}
}

// TestDiscontinuity: the packets behind a place that was skipped are marked.
func TestDiscontinuity(t *testing.T) {
	b := edit(9, func(tag []byte) { tag[0] |= 0x80 })
	var marked [2]int
	for _, p := range demux(t, b)[0].packets {
		if p.Flags.Has(av.Discont) {
			marked[p.Track]++
		}
	}
	if marked != [2]int{1, 1} {
		t.Errorf("%v packets are marked, want one of each track", marked)
	}
}

// TestResyncBound: a tag is searched for in 64 KiB, not more.
func TestResyncBound(t *testing.T) {
	junk := func(n int) []byte {
		b := good()
		at := tagAt(b, 9)
		return bytes.Join([][]byte{b[:at], bytes.Repeat([]byte{0xff}, n), b[at:]}, nil)
	}
	if l := demux(t, junk(60<<10)); len(l) != 1 || len(l[0].packets) != 70 {
		t.Error("packets lost behind 60 KiB of junk")
	}
	_, err := readAll(NewDemuxer(bytes.NewReader(junk(200 << 10))))
	var bad *av.Error
	if !errors.As(err, &bad) || !errors.Is(err, av.ErrInvalid) || bad.Field != "tag" || bad.Offset < 9 {
		t.Errorf("%v", err)
	}
}

// TestBadConfig: three sequence headers in a row that cannot be read end a stream,
// ten of audio.
func TestBadConfig(t *testing.T) {
	bad := []byte{1<<4 | codecAVC, avcHeader, 0, 0, 0, 1, 100, 0, 40, 0xff, 0xe1, 0xff, 0xff, 0x67}
	f := &file{bytes.Clone(good())}
	f.tag(TypeVideo, 2000, bad).tag(TypeVideo, 2000, bad)
	if l := demux(t, f.b); len(l[0].packets) != 70 {
		t.Errorf("%d packets", len(l[0].packets))
	}
	f.tag(TypeVideo, 2000, bad)
	if _, err := readAll(NewDemuxer(bytes.NewReader(f.b))); !errors.Is(err, av.ErrInvalid) {
		t.Errorf("third bad header: %v", err)
	}
	f = &file{bytes.Clone(good())}
	for range maxBadAudio - 1 {
		f.tag(TypeAudio, 2000, []byte{0xaf, aacHeader, 0})
	}
	demux(t, f.b)
	f.tag(TypeAudio, 2000, []byte{0xaf, aacRaw}, make([]byte, maxAAC+1))
	if _, err := readAll(NewDemuxer(bytes.NewReader(f.b))); !errors.Is(err, av.ErrInvalid) {
		t.Errorf("tenth bad audio: %v", err)
	}
}

// TestShortBodies: bodies of any length that stop within their head are dropped.
func TestShortBodies(t *testing.T) {
	heads := [][]byte{
		{0x17, 1, 0, 0, 0},
		{0xaf, 1, 0x21},
		{0x2f, 0xff, 0xfb},
		append([]byte{0x90 | exCodedFrames}, "hvc1\x00\x00\x00"...),
		append([]byte{0x90 | exVideoMulti, multiManyTracks<<4 | exCodedFrames}, "hvc1\x00\x00\x00\x05abcde"...),
		append([]byte{0x90 | exVideoMulti, multiManyCodecs<<4 | exCodedFrames}, "hvc1\x00\x00\x00\x05abcde"...),
		append([]byte{0x90 | exModEx, 2, 0, 0, 1, 0<<4 | exCodedFrames}, "av01"...),
		append([]byte{soundEx<<4 | exModEx, 0xff, 0, 1, 0, 0, exCodedFrames}, "Opus"...),
	}
	for _, h := range heads {
		for n := range len(h) {
			for _, kind := range []byte{TypeAudio, TypeVideo, TypeScript} {
				f := &file{bytes.Clone(good())}
				f.tag(kind, 2000, h[:n])
				demux(t, f.b)
			}
		}
	}
}

// TestErrors: what is no file, or holds nothing, says so with its place.
func TestErrors(t *testing.T) {
	tests := []struct {
		name  string
		b     []byte
		kind  error
		field string
	}{
		{"nothing", nil, av.ErrTruncated, "FLVHeader"},
		{"short", []byte("FLV\x01"), av.ErrTruncated, "FLVHeader"},
		{"signature", []byte("RIFF\x01\x05\x00\x00\x09"), av.ErrInvalid, "Signature"},
		{"offset", []byte("FLV\x01\x05\x00\x00\x00\x01"), av.ErrInvalid, "DataOffset"},
		{"far offset", []byte("FLV\x01\x05\xff\x00\x00\x01"), av.ErrInvalid, "DataOffset"},
		{"no first size", []byte("FLV\x01\x05\x00\x00\x00\x09"), av.ErrTruncated, "PreviousTagSize0"},
		{"no tags", newFile(5).b, av.ErrInvalid, "tag"},
		{"VP6", newFile(1).tag(TypeVideo, 0, []byte{0x14, 0, 0}).b, av.ErrUnsupported, "codec"},
		{"Speex", newFile(4).tag(TypeAudio, 0, []byte{0xb6, 0, 0}).b, av.ErrUnsupported, "codec"},
		{"FourCC", newFile(1).tag(TypeVideo, 0, []byte("\x91vvc1xxx")).b, av.ErrUnsupported, "codec"},
		{"encrypted", newFile(1).tag(TypeVideo|maskFilter, 0, []byte("\x17\x00\x00\x00\x00")).b, av.ErrUnsupported, "codec"},
		{"no header", newFile(1).tag(TypeVideo, 0, []byte("\x17\x01\x00\x00\x00\x00\x00\x00\x01\x65")).b, av.ErrInvalid, "tag"},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			_, err := readAll(NewDemuxer(bytes.NewReader(c.b)))
			var bad *av.Error
			if !errors.As(err, &bad) || !errors.Is(err, c.kind) || bad.Field != c.field || bad.Format != "flv" {
				t.Errorf("%v, want %v of %s", err, c.kind, c.field)
			}
		})
	}
}

// TestBrokenFiles: no broken file of another kind is taken for FLV or crashes.
func TestBrokenFiles(t *testing.T) {
	for _, name := range []string{
		"adts_truncated.aac", "bad_lace_size.mkv", "chunk_out_of_range.mp4", "clusterfuzz_56_bytes.mp4",
		"invalid_nalu.mp4", "mdat_too_long.mp4", "missing_stsd.mp4", "no_timescale.mp4", "zero_length_pes.ts",
	} {
		b := media(t, "broken/"+name)
		if n := Sniff(b[:min(len(b), 4096)]); n != 0 {
			t.Errorf("%s: Sniff says %d", name, n)
		}
		if _, err := readAll(NewDemuxer(bytes.NewReader(b))); !errors.Is(err, av.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
		behind := append(newFile(5).b, b...)
		avtest.AllocBound(t, len(behind), func() { drain(NewDemuxer(bytes.NewReader(behind))) })
	}
}
