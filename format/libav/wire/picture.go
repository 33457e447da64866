package wire

import (
	"encoding/binary"
	"encoding/json"
	"io"
)

// Picture is what is said before a key frame that is to become a JPEG picture:
//
//	length(32) of JSON | JSON | record of the codec | payload
//
// on standard input, the length in network byte order. The answer is the picture, on
// standard output.
type Picture struct {
	Codec  string `json:"codec"` // libavcodec's name
	Config int    `json:"config"`
	Size   int    `json:"size"` // of the payload
}

// Bounds of a picture.
const (
	maxHead   = 4 << 10
	maxConfig = 1 << 20
	// MaxPicture is the bytes of a payload.
	MaxPicture = 64 << 20
)

// Append appends what stands before the record and the payload.
func (p *Picture) Append(b []byte) []byte {
	text, err := json.Marshal(p)
	if err != nil {
		panic(err) // of a type that is not there
	}
	return append(binary.BigEndian.AppendUint32(b, uint32(len(text))), text...)
}

// Read reads all of it. The error is ErrMessage if sizes are beyond the bounds.
func (p *Picture) Read(r io.Reader) (config, data []byte, err error) {
	var n [4]byte
	if _, err := io.ReadFull(r, n[:]); err != nil {
		return nil, nil, err
	}
	size := binary.BigEndian.Uint32(n[:])
	if size > maxHead {
		return nil, nil, ErrMessage
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(r, text); err != nil {
		return nil, nil, err
	}
	if err := json.Unmarshal(text, p); err != nil {
		return nil, nil, err
	}
	if p.Config < 0 || p.Config > maxConfig || p.Size < 0 || p.Size > MaxPicture {
		return nil, nil, ErrMessage
	}
	config, data = make([]byte, p.Config), make([]byte, p.Size)
	if _, err := io.ReadFull(r, config); err != nil {
		return nil, nil, err
	}
	_, err = io.ReadFull(r, data)
	return config, data, err
}
