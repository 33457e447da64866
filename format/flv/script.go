package flv

import (
	"math"

	"github.com/cleave-video/cleave/format/flv/amf0"
)

// maxDuration is what a duration must be below to be believed: 100 years.
const maxDuration = 100 * 365.25 * 86400

// Script takes the body of a script tag or of an RTMP data message: of onMetaData
// the duration and which kinds of track are to come. FLV E.5
func (t *Tags) Script(body []byte) {
	r := amf0.NewReader(body)
	name := r.Bytes()
	if string(name) == "@setDataFrame" {
		name = r.Bytes()
	}
	if string(name) != "onMetaData" {
		if r.Err() != nil {
			t.stats.add(warnScript, 1)
		}
		return
	}
	w := want{known: true, metadata: true}
	duration := 0.0
	if r.Enter() {
		for {
			key, ok := r.Key()
			if !ok {
				break
			}
			readMeta(&r, string(key), &w, &duration)
		}
	}
	if r.Err() != nil {
		t.stats.add(warnScript, 1)
	}
	if w.video || w.audio {
		t.want = w
	}
	if duration > 0 && duration < maxDuration {
		t.duration = duration
	}
}

// readMeta reads one property of onMetaData. FLV E.5
func readMeta(r *amf0.Reader, key string, w *want, duration *float64) {
	number := r.Peek() == amf0.Number
	switch {
	case key == "duration" && number:
		if d := r.Number(); !math.IsNaN(d) {
			*duration = d
		}
		return
	case key == "hasVideo" && r.Peek() == amf0.Boolean:
		w.video = r.Bool() || w.video
		return
	case key == "hasAudio" && r.Peek() == amf0.Boolean:
		w.audio = r.Bool() || w.audio
		return
	case key == "videocodecid" && number:
		w.video = r.Number() != 0 || w.video
		return
	case key == "audiocodecid" && number:
		w.audio = true // 0 is PCM
		r.Skip()
		return
	case key == "videocodecid":
		w.video = r.Peek() == amf0.String
	case key == "audiocodecid":
		w.audio = r.Peek() == amf0.String
	}
	r.Skip()
}
