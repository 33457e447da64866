package rtmp

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/format/flv/amf0"
)

// negotiate gives a session the bytes of a client and returns what it says.
func negotiate(b []byte) (*Publisher, *bytes.Buffer, error) {
	out := new(bytes.Buffer)
	s := newSession(bytes.NewReader(b), out, DefaultMaxUnit)
	defer s.in.close()
	r, err := s.negotiate()
	p := r.pub
	if e := s.out.flush(); err == nil {
		err = e
	}
	return p, out, err
}

// heard is a message that the server sent: its type and the first string of a
// command and its code.
func heard(t *testing.T, out *bytes.Buffer) []string {
	t.Helper()
	s := newSession(out, io.Discard, DefaultMaxUnit)
	defer s.in.close()
	var l []string
	for {
		m, err := s.in.next()
		if err == io.EOF {
			return l
		}
		if err != nil {
			t.Fatal(err)
		}
		if !isCommand(m.kind) {
			l = append(l, string('0'+m.kind))
			if err := s.handle(m); err != nil {
				t.Fatal(err)
			}
			continue
		}
		r := amf0.NewReader(m.body)
		name := r.String()
		r.Number()
		r.Skip()
		if r.Enter() {
			for {
				key, ok := r.Key()
				if !ok {
					break
				}
				if string(key) == "code" {
					name += " " + r.String()
				} else {
					r.Skip()
				}
			}
		}
		l = append(l, name)
	}
}

// TestNegotiate: what is said until publish.
func TestNegotiate(t *testing.T) {
	connected := []string{"5", "6", "1", "_result NetConnection.Connect.Success"}
	with := func(more ...string) []string { return append(slices.Clone(connected), more...) }
	deep := bytes.Repeat([]byte("\x03\x00\x01a"), 30000/4)
	tests := []struct {
		name string
		w    *wire
		say  []string
		err  error
	}{
		{"as clients do", newWire().publish("live", "key"), with("_result", "onFCPublish", "_result"), nil},
		{"AMF3", amf3(newWire().publish("live", "key")), with("_result", "onFCPublish", "_result"), nil},
		{"unknown commands", newWire().command(0, "connect", 1, app("live")).command(0, "_checkbw", 2, null()).command(1, "publish", 3, null(), text("k")), connected, nil},
		{"pings", pinged().publish("live", "key"), append([]string{"4"}, with("_result", "onFCPublish", "_result")...), nil},
		{"play", newWire().command(0, "connect", 1, app("live")).command(1, "play", 2, null(), text("k")), with("onStatus NetStream.Play.Failed"), av.ErrUnsupported},
		{"publish first", newWire().command(1, "publish", 3, null(), text("k")), nil, av.ErrInvalid},
		{"connect twice", newWire().command(0, "connect", 1, app("live")).command(0, "connect", 1, app("live")), connected, av.ErrInvalid},
		{"connect with nothing", newWire().command(0, "connect", 1, null()), []string{"_error NetConnection.Connect.Rejected"}, av.ErrInvalid},
		{"app is a number", newWire().command(0, "connect", 1, object("app", num(1))), nil, av.ErrInvalid},
		{"publish nothing", newWire().command(0, "connect", 1, app("live")).command(1, "publish", 3, null(), null()), with("onStatus " + BadName), av.ErrInvalid},
		{"publish a path", newWire().publish("live", "../../etc"), with("_result", "onFCPublish", "_result", "onStatus "+BadName), av.ErrInvalid},
		{"nine streams", repeated(newWire().command(0, "connect", 1, app("live")), 9, "createStream"), with(slices.Repeat([]string{"_result"}, 8)...), av.ErrTooLarge},
		{"commands without end", repeated(newWire().command(0, "connect", 1, app("live")), maxCommands, "FCPublish"), with(slices.Repeat([]string{"onFCPublish"}, maxCommands-1)...), av.ErrTooLarge},
		{"no command", raw(typeCommandAMF0, "\x05"), nil, av.ErrInvalid},
		{"an empty command", raw(typeCommandAMF0, ""), nil, av.ErrTruncated},
		{"an empty AMF3 command", raw(typeCommandAMF3, ""), nil, av.ErrTruncated},
		{"deep", newWire().command(0, "connect", 1, deep), nil, av.ErrTooLarge},
		{"an array that lies", newWire().command(0, "connect", 1, object("x", []byte("\x0a\xff\xff\xff\xff"))), nil, av.ErrTruncated},
		{"a string that lies", newWire().command(0, "connect", 1, object("x", []byte("\x0c\xff\xff\xff\xff"))), nil, av.ErrTruncated},
		{"chunk size 0", raw(typeSetChunkSize, "\x00\x00\x00\x00"), nil, av.ErrInvalid},
		{"chunk size 2^31", raw(typeSetChunkSize, "\x80\x00\x00\x00"), nil, av.ErrInvalid},
		{"chunk size of two bytes", raw(typeSetChunkSize, "\x00\x01"), nil, av.ErrTruncated},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			p, out, err := negotiate(c.w.buf)
			if (p != nil) != (c.err == nil) || !errors.Is(err, c.err) {
				t.Fatalf("%v, want %v", err, c.err)
			}
			if got := heard(t, out); !slices.Equal(got, c.say) {
				t.Errorf("the server said %q, want %q", got, c.say)
			}
		})
	}
}

func object(key string, value []byte) []byte {
	return amf0.AppendEnd(append(amf0.AppendKey(amf0.AppendObject(nil), key), value...))
}

func raw(kind byte, body string) *wire {
	w := newWire()
	w.append(controlID, kind, 0, 0, []byte(body), nil)
	return w
}

func repeated(w *wire, n int, name string) *wire {
	for range n {
		w.command(0, name, 9, null(), text("k"))
	}
	return w
}

// amf3 makes every command one of AMF3, which says by a byte that AMF0 follows.
func amf3(w *wire) *wire {
	got, _ := messages(bytes.NewReader(w.buf), defaultChunkSize)
	out := newWire()
	for _, m := range got {
		out.append(commandID, typeCommandAMF3, m.stream, 0, append([]byte{0}, m.body...), nil)
	}
	return out
}

// pinged is a client that begins with control messages of all kinds; one is a
// ping.
func pinged() *wire {
	w := newWire()
	for _, m := range []struct {
		kind byte
		body string
	}{
		{typeWindowAckSize, "\x00\x00\x00\x00"},
		{typePeerBandwidth, "\x00\x00\x00\x00\x02"},
		{typeWindowAckSize, "\x00"},
		{typeAck, "\x00\x00\x00\x00"},
		{typeAck, ""},
		{typeUserControl, ""},
		{typeUserControl, "\x00"},
		{typeUserControl, "\x00\x06\x00\x00"},
		{typeUserControl, "\xff\xff\xff\xff\xff\xff"},
		{typeUserControl, "\x00\x06\x00\x00\x00\x07"},
		{typeAbort, "\x00\x00\xff\xff"},
		{typeSetChunkSize, "\x7f\xff\xff\xff"},
		{99, "whatever"},
	} {
		w.append(controlID, m.kind, 0, 0, []byte(m.body), nil)
	}
	w.chunkSize = maxChunkSize
	return w
}

// TestAcknowledge: what was read is acknowledged as often as the client asks for.
func TestAcknowledge(t *testing.T) {
	w := raw(typeWindowAckSize, "\x00\x00\x20\x00") // 8 KiB
	for range 100 {
		w.append(9, typeVideo, 1, 0, make([]byte, 1000), nil)
	}
	out := new(bytes.Buffer)
	s := newSession(&slow{b: w.buf}, out, DefaultMaxUnit)
	defer s.in.close()
	for {
		m, err := s.in.next()
		if err != nil {
			break
		}
		if err := s.handle(m); err != nil {
			t.Fatal(err)
		}
	}
	acks, err := messages(out, defaultChunkSize)
	if err != io.EOF || len(acks) < len(w.buf)/8192-1 || len(acks) > len(w.buf)/8192+1 {
		t.Errorf("%d acknowledgements of %d bytes, %v", len(acks), len(w.buf), err)
	}
}

// slow gives 1000 bytes at a time.
type slow struct{ b []byte }

func (s *slow) Read(p []byte) (int, error) {
	if len(s.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), 1000)], s.b)
	s.b = s.b[n:]
	return n, nil
}

// TestNegotiateAllocation: hostile commands cost no more than they bring.
func TestNegotiateAllocation(t *testing.T) {
	for name, b := range map[string][]byte{
		"deep":   newWire().command(0, "connect", 1, bytes.Repeat([]byte("\x03\x00\x01a"), 15000)).buf,
		"wide":   newWire().command(0, "connect", 1, append(amf0.AppendObject(nil), bytes.Repeat([]byte("\x00\x01a\x05"), 15000)...)).buf,
		"lies":   newWire().command(0, "connect", 1, object("x", []byte("\x0a\xff\xff\xff\xff"))).buf,
		"length": []byte("\x03\x00\x00\x00\x00\xff\xff\x14\x00\x00\x00\x00abc"),
	} {
		t.Run(name, func(t *testing.T) {
			avtest.AllocBound(t, len(b), func() { negotiate(b) })
		})
	}
}

func TestNames(t *testing.T) {
	tests := []struct{ app, key, want string }{
		{"live", "cam", "live/cam"},
		{"", "cam", "cam"},
		{"/live/", "/cam/", "live/cam"},
		{"live/_definst_", "cam", "live/cam"},
		{"_definst_", "cam", "cam"},
		{"live/a/b", "c/d", "live/a/b/c/d"},
		{"live", "kamera süd", "live/kamera süd"},
		{"live", "", ""},
		{"live", "/", ""},
		{"live", "..", ""},
		{"..", "cam", ""},
		{"live", "a/../b", ""},
		{"live", "a//b", ""},
		{"live", ".", ""},
		{"live", "a\x00b", ""},
		{"live", "a\nb", ""},
		{"live", `a\b`, ""},
		{"live", "\xff", ""},
		{"live", strings.Repeat("x", maxName), ""},
	}
	for _, c := range tests {
		if got, ok := cleanName(c.app, c.key); got != c.want || ok != (c.want != "") {
			t.Errorf("%q %q: %q %v, want %q", c.app, c.key, got, ok, c.want)
		}
	}
	w := newWire().publish("live?secret=1&x=y", "key?secret=2")
	p, _, err := negotiate(w.buf)
	if err != nil {
		t.Fatal(err)
	}
	if q := p.Query(); p.Name() != "live/key" || !slices.Equal(q["secret"], []string{"2", "1"}) || q.Get("x") != "y" {
		t.Errorf("%q %v", p.Name(), q)
	}
}

func TestTargets(t *testing.T) {
	tests := []struct {
		in   string
		want target
	}{
		{"rtmp://h/live/key", target{host: "h:1935", app: "live", key: "key", url: "rtmp://h/live"}},
		{"rtmp://h:99/live/a/key?x=y", target{host: "h:99", app: "live/a", key: "key?x=y", url: "rtmp://h:99/live/a"}},
		{"rtmps://[::1]/live/key", target{host: "[::1]:443", app: "live", key: "key", url: "rtmps://[::1]/live", secure: true}},
		{"rtmp://h/key", target{host: "h:1935", key: "key", url: "rtmp://h/"}},
		{"http://h/live/key", target{}},
		{"rtmp:///live/key", target{}},
		{"rtmp://h/live/", target{}},
		{"rtmp://h", target{}},
		{"::", target{}},
	}
	for _, c := range tests {
		got, err := parseTarget(c.in)
		if got != c.want || (err == nil) != (c.want.host != "") {
			t.Errorf("%q: %+v, %v", c.in, got, err)
		}
	}
}

func TestValidate(t *testing.T) {
	p := Config{Publish: collect(nil)}
	if err := p.Validate(); err != nil {
		t.Error(err)
	}
	for i, f := range []func(c *Config){
		func(c *Config) { c.Publish = nil },
		func(c *Config) { c.IdleTimeout = -1 },
		func(c *Config) { c.MaxUnit = MaxUnit + 1 },
		func(c *Config) { c.MaxConns = -1 },
	} {
		c := p
		f(&c)
		if c.Validate() == nil {
			t.Errorf("%d is valid", i)
		}
	}
	if s := stateConnect.String() + stateStream.String() + statePublish.String(); s != "connectstreampublish" {
		t.Error(s)
	}
}
