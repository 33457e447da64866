package mp4

import (
	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec"
)

// Recorded is a track of a file that is put together from fragments that were made for
// initialization sections of their own.
type Recorded struct {
	ID uint32
	// Tracks are what the sections said, of one timescale: sample description i+1 is that
	// of Tracks[i].
	Tracks []av.Track
	// Delay is what the fragments have in their times beyond those they are to be
	// presented at, in ticks of the timescale.
	Delay int64
}

// AppendRecording appends ftyp and moov for fragments of such tracks. The error wraps
// av.ErrUnsupported if there is no sample entry for one of them.
func AppendRecording(dst []byte, tracks []Recorded) ([]byte, error) {
	w := writer{b: dst}
	w.begin("ftyp")
	w.string("iso6")
	w.u32(0)
	w.string("iso6mp41")
	w.end()
	w.beginMovie(1000, uint32(len(tracks)+1))
	var ids []uint32
	for i := range tracks {
		r := &tracks[i]
		entries, info, err := r.entries()
		if err != nil {
			return dst, err
		}
		w.describedTrack(&r.Tracks[0], info, entries, r.ID, r.Delay)
		ids = append(ids, r.ID)
	}
	w.extends(ids...)
	w.end()
	return w.b, nil
}

// entries renders the sample entries, and describes the first.
func (r *Recorded) entries() (entries [][]byte, first codec.Info, err error) {
	for i := range r.Tracks {
		info, err := codec.Describe(&r.Tracks[i])
		if err != nil {
			return nil, first, err
		}
		entry, err := sampleEntry(&r.Tracks[i], info)
		if err != nil {
			return nil, first, err
		}
		if entries = append(entries, entry); i == 0 {
			first = info
		}
	}
	return entries, first, nil
}

// Retimed is what a fragment gets in another file.
type Retimed struct {
	Sequence    uint32 // of mfhd
	TrackID     uint32
	Description uint32 // of the samples
	Shift       int64  // added to its decode time
}

// Retime changes a fragment of one track as Fragment writes it, in its place: moof is the
// whole box. Errors are an *av.Error.
func Retime(moof []byte, r Retimed) error {
	top := boxes{body: moof}
	b, ok := top.next()
	if !ok || b.kind != cc("moof") {
		return av.Errorf("mp4", 0, "moof", "%w: not there", av.ErrInvalid)
	}
	head, ok1 := b.find(0, "mfhd")
	traf, ok2 := b.find(0, "traf")
	if !ok1 || !ok2 || len(head.body) < 8 {
		return av.Errorf("mp4", b.off, "moof", "%w: no mfhd or no traf", av.ErrInvalid)
	}
	be.PutUint32(head.body[4:], r.Sequence)
	h, ok1 := traf.find(0, "tfhd")
	t, ok2 := traf.find(0, "tfdt")
	if !ok1 || !ok2 || len(h.body) < 12 || be.Uint32(h.body)&(tfhdBaseOffset|tfhdDesc) != tfhdDesc {
		return av.Errorf("mp4", traf.off, "tfhd", "%w: no sample_description_index to change", av.ErrInvalid)
	}
	be.PutUint32(h.body[4:], r.TrackID)
	be.PutUint32(h.body[8:], r.Description)
	if len(t.body) < 12 || t.body[0] != 1 {
		return av.Errorf("mp4", t.off, "tfdt", "%w: not of version 1", av.ErrInvalid)
	}
	at := int64(be.Uint64(t.body[4:])) + r.Shift
	if at < 0 {
		return av.Errorf("mp4", t.off, "tfdt.baseMediaDecodeTime", "%w: %d", av.ErrInvalid, at)
	}
	be.PutUint64(t.body[4:], uint64(at))
	return nil
}
