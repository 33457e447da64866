package hls_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/format/hls"
)

// TestStream: one segment at a time or all at once, it is the same playlist.
func TestStream(t *testing.T) {
	tb := av.Timebase{Num: 1, Den: 90000}
	list := []hls.Segment{
		{URI: "1.m4s", Span: hls.Span{Dur: 180000, Timebase: tb}, Map: hls.Map{URI: "init.mp4"}},
		{URI: "2.m4s", Span: hls.Span{Start: 180000, Dur: 170000, Timebase: tb}, Map: hls.Map{URI: "init.mp4"}},
		{
			URI: "3.m4s", Span: hls.Span{Start: 350000, Dur: 180000, Timebase: tb}, Map: hls.Map{URI: "init-2.mp4"}, Discontinuity: true,
			Range: hls.ByteRange{Length: 7, Offset: 3}, Keys: []hls.Key{{Method: hls.MethodAES128, URI: "k", IV: make([]byte, 16)}},
		},
		{URI: "4.m4s", Span: hls.Span{Start: 530000, Dur: 180000, Timebase: tb}},
	}
	for n := range len(list) + 1 {
		m := &hls.Media{Type: hls.VOD, EndList: true, Sequence: 1, TargetDuration: 2}
		var got bytes.Buffer
		if err := m.Stream(&got, slices.Values(list[:n])); err != nil {
			t.Fatal(err)
		}
		m.Segments = list[:n]
		if d := cmp.Diff(string(m.Append(nil)), got.String()); d != "" {
			t.Errorf("%d segments: %s", n, d)
		}
		got.Reset()
		need := m.Need()
		m.Segments = nil
		if err := m.StreamAs(&got, need, slices.Values(list[:n])); err != nil {
			t.Fatal(err)
		}
		m.Segments = list[:n]
		if d := cmp.Diff(string(m.Append(nil)), got.String()); d != "" {
			t.Errorf("%d segments, once: %s", n, d)
		}
	}
	m := &hls.Media{Type: hls.VOD, TargetDuration: 1}
	var got bytes.Buffer
	if err := m.Stream(&got, slices.Values(list)); !errors.Is(err, av.ErrInvalid) || got.Len() > 0 {
		t.Errorf("segments of 2 s and a target duration of 1 s: %v, %d bytes written", err, got.Len())
	}
	if err := m.StreamAs(&got, 6, slices.Values(list)); !errors.Is(err, av.ErrInvalid) || got.Len() > 0 {
		t.Errorf("the same, gone through once: %v, %d bytes written", err, got.Len())
	}
}
