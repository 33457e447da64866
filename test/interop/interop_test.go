package interop

import (
	"bytes"
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Three rows that no other test runs, into every container, judged by ffmpeg.
func TestRows(t *testing.T) {
	for row, needs := range map[string][]string{
		"SRT, GStreamer mpegtsmux and srtsink: H.265 + AAC":   {"mpegtsmux", "srtsink", "h265parse", "qtdemux"},
		"RTSP by TCP, GStreamer rtspclientsink: H.264 + AAC":  {"rtspclientsink", "rtpmp4apay", "h264parse", "qtdemux"},
		"HTTP PUT of fragmented MP4, ffmpeg: H.264 with B-fr": nil,
	} {
		t.Run(row[:strings.IndexByte(row, ':')], func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath("ffmpeg"); err != nil {
				t.Skip("ffmpeg is not installed: no row is run")
			}
			for _, e := range needs {
				if exec.CommandContext(t.Context(), "gst-inspect-1.0", e).Run() != nil {
					t.Skipf("GStreamer has no %s: the row is left out", e)
				}
			}
			var log bytes.Buffer
			r, err := Run(t.Context(), Config{Match: row, Players: " ffmpeg", NoPages: true, Log: &log})
			if err != nil {
				t.Fatal(err)
			}
			for _, row := range r.Rows {
				if row.Fault != "" || row.Cells == nil {
					t.Errorf("%s: %s: %q", row.Ingest, row.Codec, row.Fault)
				}
				for i, c := range row.Cells {
					if c.Fault != "" || !c.Run && c.Lacks == "" {
						t.Errorf("%s by %s: %q", row.Ingest, r.Deliveries[i].Protocol, c.Fault)
					}
				}
			}
			if len(r.Rows) != 1 || t.Failed() {
				t.Errorf("%d rows\n%s", len(r.Rows), &log)
			}
		})
	}
}

// What a run adds to the file of an earlier one: other rows stay, its own are new, and
// columns that it left out are empty.
func TestAdd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.json")
	ok, bad := Cell{Run: true}, Cell{Run: true, Fault: "x"}
	both := []Delivery{{Protocol: "HLS", Player: "ffmpeg"}, {Protocol: "DASH", Player: "ffmpeg"}}
	codec := Codecs()[0].Name
	row := func(n int, cells ...Cell) Row { return Row{Ingest: Ingests()[n].Name, Codec: codec, Cells: cells} }
	first := &Result{Deliveries: both, Rows: []Row{row(0, ok, bad), row(1, ok, ok), {Ingest: Ingests()[2].Name, Codec: codec}}}
	if err := first.Add(path); err != nil {
		t.Fatal(err)
	}
	second := &Result{Deliveries: both[1:], Rows: []Row{row(1, bad), row(2, ok)}}
	if err := second.Add(path); err != nil {
		t.Fatal(err)
	}
	want := []Row{row(0, ok, bad), row(1, Cell{}, bad), row(2, Cell{}, ok)}
	if len(second.Rows) != len(want) || len(second.Deliveries) != 2 {
		t.Fatalf("%+v", second)
	}
	for i, w := range want {
		got := second.Rows[i]
		if got.Ingest != w.Ingest || len(got.Cells) != 2 || got.Cells[0] != w.Cells[0] || got.Cells[1] != w.Cells[1] {
			t.Errorf("row %d: %+v", i, got)
		}
	}
	var page bytes.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // no program is asked for its version
	if err := second.Page(ctx, &page); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"| way in | HLS ffmpeg | DASH ffmpeg |", "| " + want[1].Ingest + " |  | fault 2 |", "3 rows: 2 cells went well"} {
		if !strings.Contains(page.String(), line) {
			t.Errorf("%q is missing in\n%s", line, &page)
		}
	}
}

// Every row has a name of its own, and every codec that no row carries would be a mistake.
func TestTables(t *testing.T) {
	names := map[string]bool{}
	carried := map[string]int{}
	for _, in := range Ingests() {
		if names[in.Name] {
			t.Errorf("two rows are called %q", in.Name)
		}
		names[in.Name] = true
		for _, c := range Codecs() {
			if in.lacks(c) == "" {
				carried[c.Name]++
			}
		}
	}
	for _, c := range Codecs() {
		if carried[c.Name] < 3 {
			t.Errorf("%s is carried by %d rows", c.Name, carried[c.Name])
		}
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{
		"[00007fd27c0b23a0] main decoder error: x": ": main decoder error: x",
		"[h264 @ 0x7f5f280c0d00] y":                "h264: y",
		"tcp://127.0.0.1:4711/a|b <c>":             "tcp://HOST/a/b (c)",
	} {
		if got := quote(in); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
