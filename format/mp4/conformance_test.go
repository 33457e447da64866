package mp4_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/format/mp4"
)

// TestConformance: the demuxer keeps av.Demuxer's promises, whole files and
// fragmented ones.
func TestConformance(t *testing.T) {
	dir := os.Getenv("CLEAVE_MEDIA")
	if dir == "" {
		t.Skip("CLEAVE_MEDIA is not set: conformance on real files is left out")
	}
	for _, name := range []string{
		"mp4/h264_bpyramid_gop30.mp4",
		"mp4/h264_nal_length_2.mp4",
		"mp4/hevc_cra_rasl_small.mp4",
		"mp4/multi_audio_ac3_aac.mp4",
		"mp4/h264_editlist_positive_shift.mp4",
		"mp4/h264_vfr_slowmo_bframes.mp4",
		"mp4/multi_video_audio_subtitle.mp4",
		"fmp4/single_moof_bframes.mp4",
		"fmp4/partially_fragmented.mp4",
		"fmp4/multiple_trun.mp4",
		"fmp4/low_delay_chunked_360.mp4",
	} {
		t.Run(name, func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			avtest.Run(t, func(testing.TB) av.Demuxer { return mp4.New(bytes.NewReader(b), int64(len(b))) }, avtest.Options{})
		})
	}
}
