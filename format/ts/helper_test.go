package ts

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/cleave-video/cleave/av"
)

// generation is what a demuxer gave between two ErrTracks.
type generation struct {
	tracks  []av.Track
	packets []av.Packet
}

// readAll reads b to its end. An error other than io.EOF is returned.
func readAll(d *Demuxer) ([]generation, error) {
	var l []generation
	for {
		p, err := d.ReadPacket(av.Heap{})
		switch {
		case errors.Is(err, av.ErrTracks):
			l = append(l, generation{tracks: d.Tracks()})
		case errors.Is(err, io.EOF):
			return l, nil
		case err != nil:
			return l, err
		default:
			g := &l[len(l)-1]
			g.packets = append(g.packets, p)
		}
	}
}

func demux(t *testing.T, b []byte) []generation {
	t.Helper()
	l, err := readAll(NewDemuxer(bytes.NewReader(b)))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// media returns a file of the media folder.
func media(t testing.TB, name string) []byte {
	t.Helper()
	dir := os.Getenv("CLEAVE_MEDIA")
	if dir == "" {
		t.Skip("CLEAVE_MEDIA is not set: real files are left out")
	}
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var mediaFiles = []string{
	"ts/h264_captions_29_97_gop8s.ts",
	"ts/h264_cut_packet_60s.ts",
	"ts/h264_scte35_80s.ts",
	"ts/hevc_aac_obs.ts",
	"ts/hevc_main10_12s.ts",
	"ts/id3_timed_metadata.ts",
	"ts/opus_vfr_single_key.ts",
	"ts/pat_pmt_in_middle.ts",
	"ts/resolution_change_pts_reset.ts",
	"ts/rollover_33bit.ts",
	"ts/starts_mid_gop.ts",
	"ts/timestamp_gap_59_94.ts",
	"ts/timestamp_jump_back.ts",
	"broken/zero_length_pes.ts",
}

// appendPES cuts a PES packet into transport packets.
func appendPES(dst []byte, t *muxTrack, head, es []byte, a adaptation) []byte {
	w := pesWriter{dst: dst, t: t, left: len(head) + len(es), start: flagStart, field: a}
	w.write(head)
	w.write(es)
	return w.dst
}
