package rtmp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
)

// kept is a message whose body outlives the next.
type kept struct {
	kind              byte
	stream, timestamp uint32
	body              string
}

// messages reads r to its end.
func messages(r io.Reader, chunkSize int) ([]kept, error) {
	c := newChunkReader(r, DefaultMaxUnit)
	defer c.close()
	c.chunkSize = chunkSize
	var l []kept
	for {
		m, err := c.next()
		if err != nil {
			return l, err
		}
		l = append(l, kept{m.kind, m.stream, m.timestamp, string(m.body)})
	}
}

// TestChunks: every form of headers, as the standard draws them.
func TestChunks(t *testing.T) {
	const a = "\x03\x00\x00\x64\x00\x00\x02\x08\x01\x00\x00\x00ab" // csid 3, 100 ms, 2 bytes of audio, stream 1
	first := kept{8, 1, 100, "ab"}
	tests := []struct {
		name string
		in   string
		want []kept
	}{
		{"fmt 0", a, []kept{first}},
		{"fmt 1", a + "\x43\x00\x00\x14\x00\x00\x03\x09cde", []kept{first, {9, 1, 120, "cde"}}},
		{"fmt 2", a + "\x83\x00\x00\x14cd", []kept{first, {8, 1, 120, "cd"}}},
		{"fmt 3 behind 2", a + "\x83\x00\x00\x14cd\xc3ef", []kept{first, {8, 1, 120, "cd"}, {8, 1, 140, "ef"}}},
		{"fmt 3 behind 0", a + "\xc3cd", []kept{first, {8, 1, 200, "cd"}}},
		{"csid of two bytes", "\x00\x05" + a[1:] + "\xc0\x05cd", []kept{first, {8, 1, 200, "cd"}}},
		{"csid of three bytes", "\x01\x05\x02" + a[1:] + "\xc1\x05\x02cd", []kept{first, {8, 1, 200, "cd"}}},
		{"csid in both long forms", "\x00\x05" + a[1:] + "\xc1\x05\x00cd", []kept{first, {8, 1, 200, "cd"}}},
		{"little-endian stream", "\x03\x00\x00\x00\x00\x00\x00\x08\x01\x02\x03\x04", []kept{{8, 0x04030201, 0, ""}}},
		{"extended", "\x03\xff\xff\xff\x00\x00\x02\x08\x01\x00\x00\x00\x01\x00\x00\x00ab", []kept{{8, 1, 1 << 24, "ab"}}},
		{"extended of little", "\x03\xff\xff\xff\x00\x00\x02\x08\x01\x00\x00\x00\x00\x00\x00\x05ab", []kept{{8, 1, 5, "ab"}}},
		{"extended delta", a + "\x83\xff\xff\xff\x01\x00\x00\x00cd", []kept{first, {8, 1, 1<<24 + 100, "cd"}}},
		{
			"extended delta repeated", a + "\x83\xff\xff\xff\x01\x00\x00\x00cd\xc3\x01\x00\x00\x00ef",
			[]kept{first, {8, 1, 1<<24 + 100, "cd"}, {8, 1, 2<<24 + 100, "ef"}},
		},
		{"delta wraps", a + "\x83\xff\xff\xff\xff\xff\xff\xffcd", []kept{first, {8, 1, 99, "cd"}}},
		{"several chunks", "\x03\x00\x00\x64\x00\x00\x06\x08\x01\x00\x00\x00abcd\xc3ef", []kept{{8, 1, 100, "abcdef"}}},
		{
			"extended in every chunk", "\x03\xff\xff\xff\x00\x00\x06\x08\x01\x00\x00\x00\x01\x00\x00\x00abcd\xc3\x01\x00\x00\x00ef",
			[]kept{{8, 1, 1 << 24, "abcdef"}},
		},
		{
			"extended in the first chunk only", "\x03\xff\xff\xff\x00\x00\x06\x08\x01\x00\x00\x00\x01\x00\x00\x00abcd\xc3ef",
			[]kept{{8, 1, 1 << 24, "abcdef"}},
		},
		{
			"extended in the first chunk only, alike", "\x03\xff\xff\xff\x00\x00\x08\x08\x01\x00\x00\x00\x01\x00\x00\x00abcd\xc3\x01\x00\x00\x05",
			[]kept{{8, 1, 1 << 24, "abcd\x01\x00\x00\x05"}},
		},
		{
			"interleaved", "\x03\x00\x00\x64\x00\x00\x06\x09\x01\x00\x00\x00abcd\x04\x00\x00\x65\x00\x00\x05\x08\x01\x00\x00\x00vwxy\xc3ef\xc4z",
			[]kept{{9, 1, 100, "abcdef"}, {8, 1, 101, "vwxyz"}},
		},
		{"begun again", "\x03\x00\x00\x64\x00\x00\x06\x09\x01\x00\x00\x00abcd" + a, []kept{first}},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(c.in), iotest.OneByteReader(strings.NewReader(c.in))} {
				got, err := messages(r, 4)
				if err != io.EOF || len(got) != len(c.want) {
					t.Fatalf("%d messages, %v, want %d", len(got), err, len(c.want))
				}
				for i := range got {
					if got[i] != c.want[i] {
						t.Errorf("message %d: %+v, want %+v", i, got[i], c.want[i])
					}
				}
			}
		})
	}
}

// TestChunkErrors: what ends a connection.
func TestChunkErrors(t *testing.T) {
	many := newWire()
	for i := range maxChunkStreams + 1 {
		many.buf = append(many.buf, 1, byte(i), 0)
		many.buf = append(many.buf, "\x00\x00\x00\x00\x00\x00\x08\x00\x00\x00\x00"...)
	}
	full := newWire()
	full.chunkSize = 1 << 20
	for i := range byte(9) { // nine messages of 8 MiB of which 1 MiB is there
		full.buf = append(full.buf, 10+i, 0, 0, 0, 0x80, 0, 0, typeVideo, 1, 0, 0, 0)
		full.buf = append(full.buf, make([]byte, 1<<20)...)
	}
	tests := []struct {
		name, in string
		kind     error
		field    string
	}{
		{"fmt 1 first", "\x43\x00\x00\x00\x00\x00\x00\x08", av.ErrInvalid, "fmt"},
		{"fmt 2 first", "\x83\x00\x00\x00", av.ErrInvalid, "fmt"},
		{"fmt 3 first", "\xc3abc", av.ErrInvalid, "fmt"},
		{"65 chunk streams", string(many.buf), av.ErrTooLarge, "csid"},
		{"video too long", "\x03\x00\x00\x00\x80\x00\x01\x09\x01\x00\x00\x00", av.ErrTooLarge, "message length"},
		{"audio too long", "\x03\x00\x00\x00\x04\x00\x01\x08\x01\x00\x00\x00", av.ErrTooLarge, "message length"},
		{"command too long", "\x03\x00\x00\x00\x01\x00\x01\x14\x01\x00\x00\x00", av.ErrTooLarge, "message length"},
		{"control too long", "\x02\x00\x00\x00\x00\x00\x41\x01\x00\x00\x00\x00", av.ErrTooLarge, "message length"},
		{"unknown type too long", "\x02\x00\x00\x00\x01\x00\x01\x63\x00\x00\x00\x00", av.ErrTooLarge, "message length"},
		{"too much in parts", string(full.buf), av.ErrTooLarge, "message"},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			_, err := messages(strings.NewReader(c.in), 1<<20)
			var e *av.Error
			if !errors.As(err, &e) || !errors.Is(err, c.kind) || e.Field != c.field || e.Format != "rtmp" {
				t.Errorf("%v, want %v of %s", err, c.kind, c.field)
			}
		})
	}
}

// TestChunkSizes: messages of all lengths around the bounds of chunks, of the
// buffer and of what is read in place, written and read.
func TestChunkSizes(t *testing.T) {
	lengths := []int{0, 1, 127, 128, 129, 255, 256, 257, 4096, 60000, talkSize/2 - 1, talkSize / 2, talkSize/2 + 1, readSize/2 - 1, readSize / 2, readSize/2 + 1, readSize, minBlock, minBlock + 1, 2 << 20, DefaultMaxUnit}
	for _, size := range []int{1, 100, 128, 4096, 65536, 1 << 20, maxChunkSize} {
		w := chunkWriter{chunkSize: size}
		var want []kept
		for i, n := range lengths {
			if size == 1 && n > 1<<16 {
				continue
			}
			b := bytes.Repeat([]byte{byte(i), byte(i + 1), 7}, n/3+1)[:n]
			ts := uint32(i) * 3 << 22 // both forms
			w.append(byte(3+i%3), typeVideo, 1, ts, b[:n/2], b[n/2:])
			want = append(want, kept{typeVideo, 1, ts, string(b)})
		}
		got, err := messages(bytes.NewReader(w.buf), size)
		if err != io.EOF || len(got) != len(want) {
			t.Fatalf("chunks of %d: %d messages, %v", size, len(got), err)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("chunks of %d: message %d of %d bytes differs", size, i, len(want[i].body))
			}
		}
	}
}

// TestAbort: a message that is given up is not seen, and others are.
func TestAbort(t *testing.T) {
	s := newSession(strings.NewReader("\x05\x00\x00\x64\x00\x00\x82\x09\x01\x00\x00\x00"+strings.Repeat("x", 128)+
		"\x02\x00\x00\x00\x00\x00\x04\x02\x00\x00\x00\x00\x00\x00\x00\x05"+
		"\x05\x00\x00\x65\x00\x00\x01\x09\x01\x00\x00\x00y"), io.Discard, DefaultMaxUnit)
	defer s.in.close()
	var got []message
	for {
		m, err := s.in.next()
		if err != nil {
			if err != io.EOF || s.in.partial != 0 {
				t.Errorf("%v, %d bytes left", err, s.in.partial)
			}
			break
		}
		got = append(got, m)
		if err := s.handle(m); err != nil {
			t.Fatal(err)
		}
	}
	if len(got) != 2 || got[1].timestamp != 101 {
		t.Errorf("%d messages", len(got))
	}
}

// TestLyingLengths: thirty messages of which little was sent cost little.
func TestLyingLengths(t *testing.T) {
	w := newWire()
	for i := range byte(30) {
		w.buf = append(w.buf, 10+i, 0, 0, 0, 0x80, 0, 0, typeVideo, 1, 0, 0, 0)
		w.buf = append(w.buf, make([]byte, 128)...)
	}
	avtest.AllocBound(t, len(w.buf), func() { messages(bytes.NewReader(w.buf), 128) })
}

// TestChunkPrefixes: a connection that is cut ends with io.EOF between messages,
// else with io.ErrUnexpectedEOF.
func TestChunkPrefixes(t *testing.T) {
	w := newWire()
	ends := map[int]bool{0: true}
	for i := range 6 {
		w.append(byte(3+i%2), typeVideo, 1, uint32(i)*extendedMark/2, bytes.Repeat([]byte{byte(i)}, i*70), nil)
		ends[len(w.buf)] = true
	}
	avtest.Prefixes(t, w.buf, func(b []byte) {
		_, err := messages(bytes.NewReader(b), defaultChunkSize)
		want := io.ErrUnexpectedEOF
		if ends[len(b)] {
			want = io.EOF
		}
		if err != want {
			t.Fatalf("%d bytes: %v, want %v", len(b), err, want)
		}
	})
}

// TestChunkNoAllocation: a message costs none, in place or in several chunks.
func TestChunkNoAllocation(t *testing.T) {
	for _, n := range []int{100, 5000, 300000} {
		w := newWire()
		w.append(4, typeVideo, 1, 1, make([]byte, n), nil)
		w.append(5, typeAudio, 1, 1, make([]byte, 200), nil)
		c := newChunkReader(&endless{b: w.buf}, DefaultMaxUnit)
		read := func() {
			if _, err := c.next(); err != nil {
				t.Fatal(err)
			}
		}
		for range 20 {
			read()
		}
		if n := testing.AllocsPerRun(200, read); n != 0 {
			t.Errorf("%v allocations a message", n)
		}
		c.close()
	}
}

// endless repeats its bytes for ever from a place on.
type endless struct {
	b        []byte
	at, from int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.b[e.at:])
	if e.at += n; e.at == len(e.b) {
		e.at = e.from
	}
	return n, nil
}

// FuzzChunks: no input panics or takes more than it brings, and set chunk size is
// obeyed as a session does.
func FuzzChunks(f *testing.F) {
	f.Add(newWire().publish("live", "key").buf)
	f.Add([]byte("\x03\x00\x00\x64\x00\x00\x06\x09\x01\x00\x00\x00abcd\x04\x00\x00\x65\x00\x00\x05\x08\x01\x00\x00\x00vwxy\xc3ef\xc4z"))
	f.Add([]byte("\x03\xff\xff\xff\x00\x00\x06\x08\x01\x00\x00\x00\x01\x00\x00\x00abcd\xc3\x01\x00\x00\x00ef"))
	f.Add(binary.BigEndian.AppendUint32([]byte("\x02\x00\x00\x00\x00\x00\x04\x01\x00\x00\x00\x00"), 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := newSession(bytes.NewReader(b), io.Discard, 1<<20)
		defer s.in.close()
		total := 0
		for {
			m, err := s.in.next()
			if err == nil {
				total += len(m.body)
				err = s.handle(m)
			}
			if err != nil {
				if err != io.EOF && err != io.ErrUnexpectedEOF && !bad(err) {
					t.Fatal(err)
				}
				break
			}
		}
		if total > len(b) {
			t.Fatalf("%d bytes of messages in %d", total, len(b))
		}
	})
}
