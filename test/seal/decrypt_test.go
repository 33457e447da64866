package seal

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Eyevinn/mp4ff/avc"
	"github.com/Eyevinn/mp4ff/bits"
	"github.com/Eyevinn/mp4ff/hevc"
	"github.com/Eyevinn/mp4ff/mp4"
	"github.com/google/go-cmp/cmp"

	"github.com/cleave-video/cleave/cut"
	"github.com/cleave-video/cleave/seal"
)

// codings are slices of many kinds: their headers are what is hard to find the end of.
var codings = map[string]string{
	"h264":            h264Args,
	"h264 cavlc":      "-c:v libx264 -profile:v baseline -g 25",
	"h264 weighted":   "-c:v libx264 -preset medium -bf 3 -x264-params weightp=2:weightb=1:ref=5:b-pyramid=normal -g 50 -vf fade=in:0:60,fade=out:100:60 -pix_fmt yuv420p",
	"h264 slices":     "-c:v libx264 -preset ultrafast -slices 6 -g 25 -pix_fmt yuv420p",
	"h264 interlaced": "-c:v libx264 -preset fast -flags +ildct+ilme -x264-params tff=1 -bf 2 -g 25 -pix_fmt yuv420p",
	"h264 444":        "-c:v libx264 -preset fast -bf 2 -g 25 -x264-params weightp=2 -pix_fmt yuv444p",
	"h264 60 slices":  "-c:v libx264 -preset ultrafast -x264-params slice-max-size=200 -g 25 -pix_fmt yuv420p",
	"vp9":             vp9Args,
	"h265":            h265Args,
	"h265 weighted":   "-c:v libx265 -preset medium -x265-params log-level=none:keyint=50:bframes=4:weightp=1:weightb=1:ref=4:slices=2 -vf fade=in:0:60,fade=out:100:60 -pix_fmt yuv420p",
	"h265 open":       "-c:v libx265 -preset medium -x265-params log-level=none:keyint=25:open-gop=1:wpp=0:sao=0:temporal-layers=2 -pix_fmt yuv420p10",
	"h265 repeated":   "-c:v libx265 -preset fast -x265-params log-level=none:keyint=25:repeat-headers=1:cbqpoffs=2:crqpoffs=-2:deblock=1,-1 -pix_fmt yuv444p",
}

// TestDecrypt: mp4ff decrypts every sample to what it was, and finds the ends of
// slice headers where they were found here.
func TestDecrypt(t *testing.T) {
	inputs := map[string]string{}
	for name, args := range codings {
		inputs[name] = made(t, args)
	}
	if media := os.Getenv("CLEAVE_MEDIA"); media != "" {
		for _, name := range []string{
			"mp4/h264_bframes_short_irregular_gop.mp4", "mp4/h264_bpyramid_gop30.mp4", "mp4/h264_all_intra_no_stss.mp4",
			"mp4/hevc_cra_rasl_small.mp4", "mp4/hevc_open_gop_cra_editlist.mp4", "ts/hevc_main10_12s.ts", "ts/hevc_aac_obs.ts", "mp4/multi_audio_ac3_aac.mp4",
			"mp4/h264_vfr_slowmo_bframes.mp4", "ts/h264_captions_29_97_gop8s.ts", "mp4/h264_open_gop_recovery_point.mp4", "fmp4/multiple_trun.mp4",
		} {
			inputs[name] = filepath.Join(media, name)
		}
	} else {
		t.Log("CLEAVE_MEDIA is not set: only media made here are encrypted")
	}
	for name, input := range inputs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			cutTo(t, input, filepath.Join(dir, "clear"), cut.Encryption{}, cut.CMAF)
			for _, s := range []seal.Scheme{seal.CBCS, seal.CENC} {
				keys := testKeys(40)
				for _, rotation := range []int{0, 1} {
					sealed := filepath.Join(dir, string(s))
					r := cutTo(t, input, sealed, cut.Encryption{Scheme: s, Keys: keys, Rotation: rotation}, cut.CMAF)
					for _, w := range r.Warnings {
						if strings.Contains(w, "slices") {
							t.Error(w)
						}
					}
					compareAll(t, filepath.Join(dir, "clear"), sealed, keys, rotation)
					if err := os.RemoveAll(sealed); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	}
}

func compareAll(t *testing.T, clear, sealed string, keys seal.List, rotation int) {
	t.Helper()
	inits, err := filepath.Glob(filepath.Join(clear, "*", "init.mp4"))
	if err != nil || len(inits) == 0 {
		t.Fatal(inits, err)
	}
	for _, init := range inits {
		folder := filepath.Base(filepath.Dir(init))
		segments, err := filepath.Glob(filepath.Join(clear, folder, "*.m4s"))
		if err != nil {
			t.Fatal(err)
		}
		for i, name := range segments {
			number := 0
			if rotation > 0 {
				number = i / rotation
			}
			r := &reader{t: t, folder: filepath.Join(sealed, folder), keys: keys}
			r.compare(filepath.Join(clear, folder), filepath.Base(name), &keys[number])
		}
	}
}

// reader decrypts by mp4ff.
type reader struct {
	t      *testing.T
	folder string
	keys   seal.List
}

func decode(t *testing.T, names ...string) *mp4.File {
	t.Helper()
	var all []byte
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	f, err := mp4.DecodeFileSR(bits.NewFixedSliceReader(all))
	if err != nil {
		t.Fatal(names, err)
	}
	return f
}

func (r *reader) compare(clear, name string, key *seal.Key) {
	t := r.t
	t.Helper()
	want := decode(t, filepath.Join(clear, "init.mp4"), filepath.Join(clear, name))
	got := decode(t, filepath.Join(r.folder, "init.mp4"), filepath.Join(r.folder, name))
	info, err := mp4.DecryptInit(got.Init)
	if err != nil {
		t.Fatal(err)
	}
	headers := newHeaders(t, want.Init)
	for s, segment := range got.Segments {
		for f, fragment := range segment.Fragments {
			r.use(&info, fragment, key)
			plain, err := want.Segments[s].Fragments[f].GetFullSamples(nil)
			if err != nil {
				t.Fatal(err)
			}
			if traf := fragment.Moof.Traf; traf.Senc != nil {
				if _, parsed := traf.ContainsSencBox(); !parsed {
					if err := traf.ParseReadSenc(info.TrackInfos[0].Sinf.Schi.Tenc.DefaultPerSampleIVSize, fragment.Moof.StartPos); err != nil {
						t.Fatal(err)
					}
				}
				headers.check(t, plain, traf.Senc, info.TrackInfos[0].Sinf.Schm.SchemeType)
			}
			changed := unlike(t, plain, fragment)
			if err := mp4.DecryptFragment(fragment, info, key.Key[:]); err != nil {
				t.Fatal(err)
			}
			if n := unlike(t, plain, fragment); n > 0 {
				t.Errorf("%s: %d of %d samples are not what they were", name, n, len(plain))
			}
			large := 0
			for i := range plain {
				if len(plain[i].Data) > 200 { // a picture of skipped blocks has less than a block behind its header
					large++
				}
			}
			if changed < large {
				t.Errorf("%s: only %d of %d samples were encrypted", name, changed, len(plain))
			}
		}
	}
}

// use makes info, which mp4ff takes from the header alone, follow the fragment's
// own group, and checks that this names the key that is due.
func (r *reader) use(info *mp4.DecryptInfo, f *mp4.Fragment, key *seal.Key) {
	t := r.t
	t.Helper()
	tenc := info.TrackInfos[0].Sinf.Schi.Tenc
	kid, iv := []byte(tenc.DefaultKID), tenc.DefaultConstantIV
	for _, c := range f.Moof.Traf.Children {
		sgpd, ok := c.(*mp4.SgpdBox)
		if !ok {
			continue
		}
		if len(sgpd.SampleGroupEntries) != 1 || sgpd.GroupingType != "seig" {
			t.Fatalf("%+v", sgpd)
		}
		e := sgpd.SampleGroupEntries[0].(*mp4.SeigSampleGroupEntry)
		if e.PerSampleIVSize != tenc.DefaultPerSampleIVSize || e.CryptByteBlock != tenc.DefaultCryptByteBlock || e.SkipByteBlock != tenc.DefaultSkipByteBlock {
			t.Fatalf("%+v", e)
		}
		kid, iv = e.KID, e.ConstantIV
	}
	if !bytes.Equal(kid, key.ID[:]) || tenc.DefaultPerSampleIVSize == 0 && !bytes.Equal(iv, key.IV[:]) {
		t.Errorf("key %x, IV %x; want %x, %x", kid, iv, key.ID, key.IV)
	}
	own := *tenc
	own.DefaultConstantIV = iv
	sinf, schi := *info.TrackInfos[0].Sinf, *info.TrackInfos[0].Sinf.Schi
	schi.Tenc, sinf.Schi = &own, &schi
	info.TrackInfos[0].Sinf = &sinf
}

// unlike counts the samples that differ.
func unlike(t *testing.T, want []mp4.FullSample, f *mp4.Fragment) (n int) {
	t.Helper()
	got, err := f.GetFullSamples(nil)
	if err != nil || len(got) != len(want) {
		t.Fatal(len(got), len(want), err)
	}
	for i := range want {
		if got[i].Flags != want[i].Flags || got[i].DecodeTime != want[i].DecodeTime || got[i].Size != want[i].Size {
			t.Fatalf("sample %d: %+v, want %+v", i, got[i].Sample, want[i].Sample)
		}
		if !bytes.Equal(got[i].Data, want[i].Data) {
			n++
		}
	}
	return n
}

// headers finds slice headers by mp4ff.
type headers struct {
	ranges func(sample []byte) ([]mp4.SubSamplePattern, error) // nil: mp4ff cannot
}

func newHeaders(t *testing.T, init *mp4.InitSegment) *headers {
	t.Helper()
	h := &headers{}
	stsd := init.Moov.Trak.Mdia.Minf.Stbl.Stsd
	switch {
	case stsd.AvcX != nil:
		sps, pps := map[uint32]*avc.SPS{}, map[uint32]*avc.PPS{}
		for _, u := range stsd.AvcX.AvcC.SPSnalus {
			s, err := avc.ParseSPSNALUnit(u, false)
			if err != nil {
				t.Fatal(err)
			}
			sps[s.ParameterID] = s
		}
		for _, u := range stsd.AvcX.AvcC.PPSnalus {
			p, err := avc.ParsePPSNALUnit(u, sps)
			if err != nil {
				t.Fatal(err)
			}
			pps[p.PicParameterSetID] = p
		}
		h.ranges = func(b []byte) ([]mp4.SubSamplePattern, error) { return mp4.GetAVCProtectRanges(sps, pps, b, "cbcs") }
	case stsd.HvcX != nil:
		sps, pps := map[uint32]*hevc.SPS{}, map[uint32]*hevc.PPS{}
		for _, u := range stsd.HvcX.HvcC.GetNalusForType(hevc.NALU_SPS) {
			s, err := hevc.ParseSPSNALUnit(u)
			if err != nil {
				t.Fatal(err)
			}
			sps[uint32(s.SpsID)] = s
		}
		for _, u := range stsd.HvcX.HvcC.GetNalusForType(hevc.NALU_PPS) {
			p, err := hevc.ParsePPSNALUnit(u, sps)
			if err != nil {
				t.Fatal(err)
			}
			pps[p.PicParameterSetID] = p
		}
		h.ranges = func(b []byte) ([]mp4.SubSamplePattern, error) { return mp4.GetHEVCProtectRanges(sps, pps, b, "cbcs") }
	}
	return h
}

// check compares the maps of samples with mp4ff's for cbcs, which are exact; those
// of cenc begin up to 15 bytes later.
func (h *headers) check(t *testing.T, samples []mp4.FullSample, senc *mp4.SencBox, scheme string) {
	t.Helper()
	if h.ranges == nil {
		return
	}
	for i := range samples {
		if samples[i].Data[4]&0x1f == 14 {
			continue // a phone that puts all of a picture into a prefix NAL unit
		}
		want, err := h.ranges(samples[i].Data)
		if err != nil {
			t.Fatal(err)
		}
		w, g := starts(want, scheme), starts(senc.SubSamples[i], "")
		if d := cmp.Diff(w, g); d != "" {
			t.Fatalf("sample %d of %d bytes: begin and end of what is protected (-mp4ff +cleave)\n%s", i, len(samples[i].Data), d)
		}
	}
}

// starts lists where protected ranges begin and end; cenc makes blocks of them.
func starts(subs []mp4.SubSamplePattern, scheme string) (out [][2]int) {
	at := 0
	for _, s := range subs {
		at += int(s.BytesOfClearData)
		n := int(s.BytesOfProtectedData)
		over := 0
		if scheme == "cenc" {
			over = n % 16
		}
		if n >= 16 {
			out = append(out, [2]int{at + over, at + n})
		}
		at += n
	}
	return out
}
