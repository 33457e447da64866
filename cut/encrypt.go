package cut

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/cleave-video/cleave/format/dash"
	"github.com/cleave-video/cleave/format/hls"
	"github.com/cleave-video/cleave/format/mp4"
	"github.com/cleave-video/cleave/seal"
)

// Encryption says how the output is encrypted. The zero value is: not at all.
type Encryption struct {
	Scheme   seal.Scheme
	Keys     seal.Source // nil: keys are made, and written into the folder keys of the output
	Rotation int         // chunks with the same key; 0: all
	// KeyURL is the URI of a key in playlists, with "{kid}" for its ID; one that is
	// relative is so to the output. Empty: keys are written into the folder keys.
	KeyURL string
	// KeyFormat is who decrypts samples of HLS. Empty is Identity.
	KeyFormat KeyFormat
	// LicenseURL is where ClearKey clients of the manifest ask for keys; players do
	// not resolve a relative one. Empty: the manifest does not say, and they must be
	// told.
	LicenseURL string
}

// KeyFormat is what the playlists say a key is for. A player that knows one of
// them for cbcs may trip over the other, so they are not offered together.
type KeyFormat string

// The formats.
const (
	Identity KeyFormat = "identity" // the player has the key itself: the format of RFC 8216bis
	ClearKey KeyFormat = "clearkey" // a browser's module asks a license server for it
)

// Names in the output.
const (
	keysDir     = "keys"
	licenseName = keysDir + "/clearkey.json"
)

// Validate reports which combinations, among themselves and with the container,
// are wrong, and why.
func (e *Encryption) Validate(container Container) error {
	scheme, err := seal.ParseScheme(string(e.Scheme))
	if err != nil {
		return fmt.Errorf("cut: %w", err)
	}
	switch {
	case e.KeyFormat != "" && e.KeyFormat != Identity && e.KeyFormat != ClearKey:
		return fmt.Errorf("cut: key format %q is neither identity nor clearkey", e.KeyFormat)
	case scheme == seal.None && (e.Keys != nil || e.Rotation != 0 || e.KeyURL != "" || e.LicenseURL != "" || e.KeyFormat == ClearKey):
		return errors.New("cut: keys are given, but nothing is to be encrypted: choose a scheme")
	case scheme == seal.None:
		return nil
	case scheme.Samples() && container == TS:
		return fmt.Errorf("cut: %s encrypts the samples of CMAF; MPEG-TS has another form of it, with stream types of its own, which is not written: choose the container cmaf, or aes-128", scheme)
	case e.Rotation < 0:
		return fmt.Errorf("cut: key rotation after %d chunks", e.Rotation)
	case scheme == seal.AES128 && e.KeyFormat == ClearKey:
		return errors.New("cut: with aes-128 the player has the key itself: ClearKey decrypts samples only")
	case scheme == seal.AES128 && e.LicenseURL != "":
		return errors.New("cut: a license URL stands in the manifest, and with aes-128 there is none: DASH knows no encryption of whole segments")
	}
	return e.validateURLs()
}

// validateURLs reports what is wrong with where players are to get keys.
func (e *Encryption) validateURLs() error {
	switch {
	case e.KeyURL != "" && e.Keys == nil:
		return errors.New("cut: with a key URL keys must be given: nobody would know those that are made here")
	case e.KeyURL != "" && e.Rotation > 0 && !strings.Contains(e.KeyURL, "{kid}"):
		return fmt.Errorf("cut: keys change, but all would have the URL %s: it must have {kid} in it", e.KeyURL)
	case strings.ContainsFunc(e.KeyURL+e.LicenseURL, func(r rune) bool { return r < ' ' || r == '"' || r == 0x7f }):
		return errors.New("cut: a URL of keys has a quote or a control character in it")
	case e.LicenseURL != "" && !absolute(e.LicenseURL):
		return fmt.Errorf("cut: the license URL %s is not absolute: players would take it as relative to what they please", e.LicenseURL)
	}
	return nil
}

func absolute(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.IsAbs() && u.Host != ""
}

// sealing is the encryption of a run; nil is none.
type sealing struct {
	cfg    Encryption
	stream *seal.Stream
	period *seal.Period // of the chunk being written
	keys   []seal.Key   // in the order of their use
	buf    []byte       // of segments
}

func newSealing(c Encryption) (*sealing, error) {
	if c.Scheme == "" || c.Scheme == seal.None {
		return nil, nil
	}
	if c.Keys == nil {
		c.Keys = seal.NewGenerated()
	}
	stream, err := seal.NewStream(seal.Config{Scheme: c.Scheme, Keys: c.Keys, Rotation: uint64(c.Rotation)})
	if err != nil {
		return nil, err
	}
	return &sealing{cfg: c, stream: stream}, nil
}

// scheme is None if s is nil.
func (s *sealing) scheme() seal.Scheme {
	if s == nil {
		return seal.None
	}
	return s.cfg.Scheme
}

// hosts reports whether keys are written into the output.
func (s *sealing) hosts() bool { return s.cfg.KeyURL == "" }

// beginSealed readies the key of the next chunk.
func (r *run) beginSealed() error {
	s := r.seal
	p, err := s.stream.Period(uint64(r.report.Chunks))
	if err != nil {
		return fmt.Errorf("cut: chunk %d: %w", r.report.Chunks+1, err)
	}
	if p == s.period {
		return nil
	}
	s.period = p
	s.keys = append(s.keys, p.Key)
	if !s.hosts() {
		return nil
	}
	if len(s.keys) == 1 {
		if err := r.out.mkdir(keysDir); err != nil {
			return err
		}
	}
	return r.out.writeSecret(keyFile(&p.Key), p.Key.Key[:])
}

func keyFile(k *seal.Key) string { return keysDir + "/" + k.Name() + ".key" }

// sealTrack readies a rendition's encryption, and returns its header.
func (r *run) sealTrack(rend *rendition, i int) ([]byte, error) {
	if rend.seal != nil {
		rend.opaque += rend.seal.Opaque()
	}
	var err error
	if rend.seal, err = r.seal.stream.Track(&r.tracks[i]); err != nil {
		return nil, fmt.Errorf("cut: track %d: %w", i, err)
	}
	rend.initKeys = append(rend.initKeys, rend.seal.InitKey().ID)
	return mp4.AppendSealedInit(nil, &r.tracks[i], uint32(i+1), rend.delay, rend.seal.Protection())
}

// create opens a file of the output for one segment, which is encrypted if whole
// segments are. Its close ends the file.
func (r *run) create(name string) (*segmentFile, error) {
	f, err := r.out.create(name)
	if err != nil {
		return nil, err
	}
	out := &segmentFile{file: f, Writer: f}
	if r.seal.scheme() == seal.AES128 {
		out.sealed = r.seal.period.Segment(f, r.seal.buf)
		out.Writer = out.sealed
	}
	return out, nil
}

// segmentFile is a segment being written.
type segmentFile struct {
	io.Writer
	file   plainFile
	sealed *seal.Segment // nil: in the clear, or by sample
}

// close ends the segment, and enters its size and IV in s if it was encrypted.
func (f *segmentFile) close(r *run, s *segment) error {
	var err error
	if f.sealed != nil {
		r.seal.buf, err = f.sealed.Close()
		s.size, s.iv = f.sealed.Size, f.sealed.IV
	}
	if cerr := f.file.Close(); err == nil {
		err = cerr
	}
	return err
}

// writeSegment writes the file of a CMAF segment.
func (r *run) writeSegment(name string, s *segment, bufs [][]byte) error {
	if r.seal.scheme() != seal.AES128 {
		return r.out.write(name, bufs)
	}
	f, err := r.create(name)
	if err != nil {
		return err
	}
	for _, b := range bufs {
		if _, err := f.Write(b); err != nil {
			break // close returns it, too
		}
	}
	if err := f.close(r, s); err != nil {
		return fmt.Errorf("cut: %s: %w", name, err)
	}
	return nil
}

// keyURL is the URI of a key, seen from depth folders below the output.
func (s *sealing) keyURL(k *seal.Key, depth int) string {
	url := keyFile(k)
	if !s.hosts() {
		url = strings.ReplaceAll(s.cfg.KeyURL, "{kid}", k.Name())
	}
	return below(url, depth)
}

// below makes a URL relative to the output one that is so to a folder in it.
func below(url string, depth int) string {
	scheme, _, absolute := strings.Cut(url, ":")
	if strings.HasPrefix(url, "/") || absolute && !strings.ContainsAny(scheme, "/?#") {
		return url
	}
	return strings.Repeat("../", depth) + url
}

func (s *sealing) hlsKey(k *seal.Key, depth int) hls.Key {
	out := hls.Key{Method: s.cfg.Scheme.Method(), URI: s.keyURL(k, depth)}
	if s.cfg.KeyFormat == ClearKey {
		out.Format, out.ID = hls.FormatClearKey, k.ID[:]
	}
	return out
}

// hlsKeys are the keys of a segment, if other than those of the one listed before
// it, which is nil for the first.
func (s *sealing) hlsKeys(x, before *segment) []hls.Key {
	if s == nil {
		return nil
	}
	whole := s.cfg.Scheme == seal.AES128
	if before != nil && !whole && before.key == x.key {
		return nil
	}
	key := s.hlsKey(&s.keys[x.key], 1)
	if whole {
		key.IV = x.iv[:]
	}
	return []hls.Key{key}
}

// maxSessionKeys bounds the keys that are announced; the others are found in time.
const maxSessionKeys = 16

func (s *sealing) sessionKeys() []hls.Key {
	if s == nil {
		return nil
	}
	var out []hls.Key
	for i := range s.keys[:min(len(s.keys), maxSessionKeys)] {
		out = append(out, s.hlsKey(&s.keys[i], 0))
	}
	return out
}

// dashProtection is what the manifest says of a stretch of segments.
func (s *sealing) dashProtection(x stretch) *dash.Protection {
	if s == nil {
		return nil
	}
	segs := x.rend.segs[x.from:x.to]
	p := &dash.Protection{
		Scheme: string(s.cfg.Scheme), DefaultKID: x.rend.initKeys[segs[0].init], LicenseURL: s.cfg.LicenseURL,
	}
	kids := [][16]byte{p.DefaultKID}
	for i := range segs {
		if id := s.keys[segs[i].key].ID; id != kids[len(kids)-1] {
			kids = append(kids, id)
		}
	}
	p.PSSH = mp4.AppendPSSH(nil, kids)
	return p
}

// writeLicense writes what a ClearKey server would answer. W3C EME 9.1.4
func (r *run) writeLicense() error {
	s := r.seal
	if !s.scheme().Samples() || !s.hosts() {
		return nil
	}
	b, err := seal.License(s.keys)
	if err != nil {
		return err
	}
	return r.out.writeSecret(licenseName, b)
}

// noteSealed enters in the report what was encrypted.
func (r *run) noteSealed() {
	s := r.seal
	if s == nil {
		return
	}
	rp := &r.report
	rp.Encryption = fmt.Sprintf("%s, %d keys", s.cfg.Scheme, len(s.keys))
	if len(s.keys) == 1 {
		rp.Encryption = fmt.Sprintf("%s, 1 key", s.cfg.Scheme)
	}
	if s.cfg.Scheme == seal.AES128 {
		rp.Warnings = append(rp.Warnings, "aes-128: no "+manifestName+", for DASH does not know it, and no "+iframesName+", for a range of a segment cannot be decrypted")
	}
	for _, rend := range r.rends {
		n := rend.opaque
		if rend.seal != nil {
			n += rend.seal.Opaque()
		}
		if n > 0 {
			rp.Warnings = append(rp.Warnings, fmt.Sprintf("%s: %d slices or frames whose header could not be read are encrypted with it", rend.name, n))
		}
	}
}
