package rtmp

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/format/flv"
	"github.com/cleave-video/cleave/format/flv/amf0"
)

// publisher reads what follows publish, of stream 1.
func publisher(r io.Reader) *Publisher {
	s := newSession(r, io.Discard, DefaultMaxUnit)
	s.state, s.published = statePublish, 1
	p := &Publisher{s: s}
	if c, ok := r.(io.Closer); ok {
		p.closer = c
	}
	return p
}

func spec(frames int) avtest.Spec {
	return avtest.Spec{Video: avtest.Video{Frames: frames, B: 1, GOPs: []int{12, 30}, Size: 700}, Audio: avtest.Audio{Frames: frames}}
}

// TestContract: what av.Demuxer promises.
func TestContract(t *testing.T) {
	later := spec(20)
	later.Start, later.Video.Width = 3*time.Second, 640
	for name, w := range map[string]*wire{
		"chunks of 128":  newWire().media(avtest.NewSynthetic(spec(60))),
		"chunks of 4096": newWire().size(4096).media(avtest.NewSynthetic(spec(60), later)),
		"long chunks":    newWire().size(1 << 20).media(avtest.NewSynthetic(spec(60))),
	} {
		t.Run(name, func(t *testing.T) {
			open := func(r io.Reader) av.Demuxer { return publisher(r) }
			avtest.Run(t, func(testing.TB) av.Demuxer { return open(bytes.NewReader(w.buf)) },
				avtest.Options{Bits: flv.WrapBits, Composed: true, Input: w.buf, Open: open})
		})
	}
}

// TestUnpublish: what comes behind the end of a stream is not read.
func TestUnpublish(t *testing.T) {
	for _, name := range []string{"FCUnpublish", "deleteStream", "closeStream"} {
		w := newWire().media(avtest.NewSynthetic(spec(10))).command(1, name, 6, null())
		p := publisher(io.MultiReader(bytes.NewReader(w.buf), &refuser{t}))
		if l := avtest.ReadAll(t, p); len(l) != 1 || len(l[0].Packets) != 20 || !p.s.ended {
			t.Errorf("%s: %d sets of tracks", name, len(l))
		}
	}
	w := newWire().command(0, "deleteStream", 6, null(), num(7)).media(avtest.NewSynthetic(spec(10))).unpublish()
	if l := avtest.ReadAll(t, publisher(bytes.NewReader(w.buf))); len(l[0].Packets) != 20 {
		t.Error("another stream's end ends this one")
	}
}

// TestPublisherPrefixes: a connection may be cut anywhere.
func TestPublisherPrefixes(t *testing.T) {
	w := newWire().size(1000).media(avtest.NewSynthetic(spec(4))).unpublish()
	avtest.Prefixes(t, w.buf, func(b []byte) {
		_, err := avtest.Read(publisher(bytes.NewReader(b)))
		if err != io.EOF && err != io.ErrUnexpectedEOF && !bad(err) {
			t.Fatal(err)
		}
	})
	avtest.AllocBound(t, len(w.buf), func() { avtest.Read(publisher(bytes.NewReader(w.buf))) })
}

// TestNegotiatePrefixes: so may the commands.
func TestNegotiatePrefixes(t *testing.T) {
	w := newWire().publish("live", "key")
	avtest.Prefixes(t, w.buf, func(b []byte) {
		s := newSession(bytes.NewReader(b), io.Discard, DefaultMaxUnit)
		r, err := s.negotiate()
		p := r.pub
		if p != nil != (len(b) == len(w.buf)) || p == nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			t.Fatalf("%d bytes of %d: %v", len(b), len(w.buf), err)
		}
	})
}

// fixed is an allocator that hands out the same memory again and again.
type fixed struct{ b []byte }

func (f *fixed) Alloc(_, n int) ([]byte, error) { return f.b[:n], nil }

// TestNoAllocation: a packet costs none, acknowledgements included.
func TestNoAllocation(t *testing.T) {
	for _, size := range []uint32{128, 4096, 65536} {
		w := newWire().size(size)
		w.media(avtest.NewSynthetic(spec(100)))
		p := publisher(&endless{b: w.buf})
		a := &fixed{make([]byte, 1<<20)}
		read := func() {
			for {
				_, err := p.ReadPacket(a)
				if err == nil {
					return
				}
				if !errors.Is(err, av.ErrTracks) {
					t.Fatal(err)
				}
			}
		}
		for range 300 {
			read()
		}
		if n := testing.AllocsPerRun(2000, read); n != 0 {
			t.Errorf("chunks of %d: %v allocations a packet", size, n)
		}
		p.s.in.close()
	}
}

// TestAggregate: messages within a message, whose times begin at its own.
func TestAggregate(t *testing.T) {
	w := newWire().size(1 << 20)
	d := avtest.NewSynthetic(spec(8))
	file, kinds := tags(t, d)
	w.append(mediaID, typeAggregate, 1, 5000, file, nil)
	w.append(mediaID, typeAggregate, 1, 6000, []byte{9, 0, 0, 9, 0}, nil) // too short for a head
	l, err := avtest.Read(publisher(bytes.NewReader(w.buf)))
	if err != io.EOF || len(l) != 1 || len(l[0].Packets) != kinds {
		t.Fatalf("%v, %d sets", err, len(l))
	}
	want := avtest.ReadAll(t, avtest.NewSynthetic(spec(8)))[0].Packets
	for i, p := range l[0].Packets {
		if !bytes.Equal(p.Data, want[i].Data) {
			t.Fatalf("packet %d differs", i)
		}
		if i == 0 && p.DTS != 5000 {
			t.Errorf("DTS %d, want 5000", p.DTS)
		}
	}
	w.append(mediaID, typeAggregate, 1, 6000, []byte{9, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1}, nil)
	if _, err := avtest.Read(publisher(bytes.NewReader(w.buf))); !errors.Is(err, av.ErrTruncated) {
		t.Errorf("a length that lies: %v", err)
	}
}

// tags returns what d gives as FLV tags, without a file header, and how many
// packets there are.
func tags(t *testing.T, d av.Demuxer) (b []byte, n int) {
	t.Helper()
	for {
		p, err := d.ReadPacket(av.Heap{})
		switch {
		case err == av.ErrTracks:
			for _, tr := range d.Tracks() {
				s, err := flv.AppendSequenceStart(nil, &tr)
				if err != nil {
					t.Fatal(err)
				}
				b = flv.AppendTag(b, flv.TagType(&tr), 0, s, nil)
			}
			continue
		case err != nil:
			return b, n
		}
		tr := d.Tracks()[p.Track]
		dts, pts := tr.Timebase.Rescale(p.DTS, av.Millisecond), tr.Timebase.Rescale(p.PTS, av.Millisecond)
		b = flv.AppendTag(b, flv.TagType(&tr), uint32(dts), flv.AppendFrameHead(nil, &tr, p.Flags, pts-dts), p.Data)
		n++
	}
}

// TestOtherStreams: media of a stream that is not published are not taken, those
// without a stream are.
func TestOtherStreams(t *testing.T) {
	w := newWire().media(avtest.NewSynthetic(spec(10)))
	before := len(avtest.ReadAll(t, publisher(bytes.NewReader(w.buf)))[0].Packets)
	w.append(mediaID, typeVideo, 7, 900, []byte{0x17, 1, 0, 0, 0, 0, 0, 0, 1, 0x65}, nil)
	w.append(mediaID, typeVideo, 0, 900, []byte{0x17, 1, 0, 0, 0, 0, 0, 0, 1, 0x65}, nil)
	if n := len(avtest.ReadAll(t, publisher(bytes.NewReader(w.buf)))[0].Packets); n != before+1 {
		t.Errorf("%d packets, want %d", n, before+1)
	}
}

// TestMetadata: data messages of both kinds tell which tracks are to come.
func TestMetadata(t *testing.T) {
	for _, c := range []struct {
		kind byte
		head string
	}{{typeDataAMF0, ""}, {typeDataAMF3, "\x00"}} {
		w := newWire()
		meta := amf0.AppendString(amf0.AppendString([]byte(c.head), "@setDataFrame"), "onMetaData")
		meta = amf0.AppendEnd(amf0.AppendNumber(amf0.AppendKey(amf0.AppendObject(meta), "videocodecid"), 7))
		w.append(mediaID, c.kind, 1, 0, meta, nil)
		d := avtest.NewSynthetic(avtest.Spec{Video: avtest.Video{Frames: 1}})
		w.media(d)
		p := publisher(io.MultiReader(bytes.NewReader(w.buf), &refuser{t}))
		if _, err := p.ReadPacket(av.Heap{}); !errors.Is(err, av.ErrTracks) {
			t.Error(err)
		}
	}
}

// refuser fails the test when it is read: nothing more was needed.
type refuser struct{ t *testing.T }

func (r *refuser) Read([]byte) (int, error) {
	r.t.Error("more was read than needed")
	return 0, io.EOF
}

// TestBadMedia: bodies that cannot be read are dropped, and three bad sequence
// headers end the stream.
func TestBadMedia(t *testing.T) {
	w := newWire().media(avtest.NewSynthetic(spec(10)))
	for _, b := range []string{"", "\x17", "\x17\x01", "\x9f", "\x96\x11hvc1\x00\xff\xff\xff", "\x90zzzz"} {
		w.append(mediaID, typeVideo, 1, 900, []byte(b), nil)
		w.append(mediaID, typeAudio, 1, 900, []byte(b), nil)
	}
	w.append(mediaID, typeDataAMF0, 1, 900, bytes.Repeat([]byte{10, 0, 0, 0, 1}, 50000), nil)
	w.append(mediaID, 99, 1, 900, []byte("what"), nil)
	p := publisher(bytes.NewReader(w.buf))
	if l := avtest.ReadAll(t, p); len(l) != 1 || len(l[0].Packets) != 20 || len(p.Warnings()) == 0 {
		t.Errorf("%d sets of tracks", len(l))
	}
	for range 3 {
		w.append(mediaID, typeVideo, 1, 900, []byte("\x17\x00\x00\x00\x00\x01\x64\x00\x28\xff\xff\xff\xff"), nil)
	}
	if _, err := avtest.Read(publisher(bytes.NewReader(w.buf))); !errors.Is(err, av.ErrInvalid) {
		t.Errorf("three bad sequence headers: %v", err)
	}
	w = newWire()
	w.append(mediaID, typeVideo, 1, 900, []byte("\x90vvc1"), nil)
	if _, err := avtest.Read(publisher(bytes.NewReader(w.buf))); !errors.Is(err, av.ErrUnsupported) {
		t.Errorf("nothing but an unknown codec: %v", err)
	}
}

// TestCommandFlood: commands while publishing are bounded.
func TestCommandFlood(t *testing.T) {
	w := newWire().media(avtest.NewSynthetic(spec(10)))
	for range commandsASec + 1 {
		w.command(1, "whatever", 0, null())
	}
	if _, err := avtest.Read(publisher(bytes.NewReader(w.buf))); !errors.Is(err, av.ErrTooLarge) {
		t.Errorf("%v", err)
	}
	w = newWire()
	for range maxStreams + 1 {
		w.command(0, "createStream", 0, null())
	}
	if _, err := avtest.Read(publisher(bytes.NewReader(w.buf))); !errors.Is(err, av.ErrTooLarge) {
		t.Errorf("%v", err)
	}
}

// FuzzPublisher: whatever is sent behind the handshake.
func FuzzPublisher(f *testing.F) {
	w := newWire().publish("live", "key")
	f.Add(w.buf)
	f.Add(w.size(4096).media(avtest.NewSynthetic(avtest.Spec{Video: avtest.Video{Frames: 2}, Audio: avtest.Audio{Frames: 2}})).unpublish().buf)
	f.Fuzz(func(t *testing.T, b []byte) {
		s := newSession(bytes.NewReader(b), io.Discard, 1<<20)
		defer s.in.close()
		r, err := s.negotiate()
		p := r.pub
		if err == nil {
			_, err = avtest.Read(p)
		}
		if err != io.EOF && err != io.ErrUnexpectedEOF && !bad(err) {
			t.Fatal(err)
		}
	})
}

// sample returns an FLV file of the reader's tests.
func sample(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "format", "flv", "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func BenchmarkPublisher(b *testing.B) {
	for name, size := range map[string]uint32{"128": 128, "4096": 4096, "65536": 65536} {
		b.Run(name, func(b *testing.B) {
			w := newWire().size(size).media(avtest.NewSynthetic(avtest.Spec{
				Video: avtest.Video{Frames: 200, Size: 10000}, Audio: avtest.Audio{Frames: 300},
			}))
			p := publisher(&endless{b: w.buf})
			a := &fixed{make([]byte, 1<<20)}
			b.ReportAllocs()
			for n := 0; n < b.N; {
				if _, err := p.ReadPacket(a); err == nil {
					n++
				} else if !errors.Is(err, av.ErrTracks) {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N), "ns/packet")
		})
	}
}
