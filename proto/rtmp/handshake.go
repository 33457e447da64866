package rtmp

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/cleave-video/cleave/av"
)

// The handshake. RTMP 5.2
//
//	C0, S0: version(8) = 3
//	C1, S1: time(32) zero(32) random(1528 bytes)
//	C2, S2: time(32) time2(32) the other's random
//
// Clients that put their version where the zero is sign C1 and S1 with a digest
// that lies among the random bytes, and S2 with one at its end; some refuse a
// server that does not. That form is not in the standard.
const (
	version      = 3
	packetLen    = 1536
	digestLen    = sha256.Size
	digestSpread = 728 // a digest begins this far or less behind its offset
)

// secret is what both keys end with.
const secret = "\xf0\xee\xc2\x4a\x80\x68\xbe\xe8\x2e\x00\xd0\xd1\x02\x9e\x7e\x57" +
	"\x6e\xec\x5d\x2d\x29\x80\x6f\xab\x93\xb8\xe6\x36\xcf\xeb\x31\xae"

const (
	serverName = "Genuine Adobe Flash Media Server 001"
	clientName = "Genuine Adobe Flash Player 001"
)

// serverVersion is what a signed S1 claims.
var serverVersion = [4]byte{4, 5, 0, 1}

// offsets are the two places where C1 says where its digest lies.
var offsets = [2]int{8, 772}

// acceptHandshake does the server's part. It allocates nothing before C0 is right.
func acceptHandshake(rw io.ReadWriter) error {
	var c0 [1]byte
	if _, err := io.ReadFull(rw, c0[:]); err != nil {
		return err
	}
	if c0[0] != version {
		return av.Errorf("rtmp", 0, "C0.version", "%w: %d", av.ErrUnsupported, c0[0])
	}
	c1 := make([]byte, packetLen)
	if _, err := io.ReadFull(rw, c1); err != nil {
		return err
	}
	reply := make([]byte, 1+2*packetLen)
	reply[0] = version
	s1, s2 := reply[1:1+packetLen], reply[1+packetLen:]
	if _, err := rand.Read(s1[8:]); err != nil {
		return fmt.Errorf("rtmp: handshake: %w", err)
	}
	if base, digest, ok := findDigest(c1, clientName); ok {
		copy(s1[4:], serverVersion[:])
		putDigest(s1, base, serverName)
		if _, err := rand.Read(s2); err != nil {
			return fmt.Errorf("rtmp: handshake: %w", err)
		}
		key := sign([]byte(serverName+secret), digest)
		copy(s2[packetLen-digestLen:], sign(key, s2[:packetLen-digestLen]))
	} else {
		copy(s2, c1)
	}
	if _, err := rw.Write(reply); err != nil {
		return err
	}
	_, err := io.ReadFull(rw, c1) // C2: clients differ in what they echo
	return err
}

// dialHandshake does the client's part, unsigned.
func dialHandshake(rw io.ReadWriter) error {
	c := make([]byte, 1+packetLen)
	c[0] = version
	if _, err := rand.Read(c[9:]); err != nil {
		return fmt.Errorf("rtmp: handshake: %w", err)
	}
	if _, err := rw.Write(c); err != nil {
		return err
	}
	s := make([]byte, 1+2*packetLen)
	if _, err := io.ReadFull(rw, s); err != nil {
		return err
	}
	if s[0] != version {
		return av.Errorf("rtmp", 0, "S0.version", "%w: %d", av.ErrUnsupported, s[0])
	}
	if !bytes.Equal(s[1+packetLen+8:], c[9:]) {
		return av.Errorf("rtmp", 1+packetLen, "S2.random_echo", "%w", av.ErrInvalid)
	}
	_, err := rw.Write(s[1 : 1+packetLen])
	return err
}

// place returns where the digest of p begins that base tells of.
func place(p []byte, base int) int {
	return (int(p[base])+int(p[base+1])+int(p[base+2])+int(p[base+3]))%digestSpread + base + 4
}

// findDigest looks for a valid digest in C1.
func findDigest(p []byte, name string) (base int, digest []byte, ok bool) {
	if binary.BigEndian.Uint32(p[4:]) == 0 {
		return 0, nil, false
	}
	for _, base := range offsets {
		at := place(p, base)
		digest := p[at : at+digestLen]
		if hmac.Equal(digest, sign([]byte(name), p[:at], p[at+digestLen:])) {
			return base, bytes.Clone(digest), true
		}
	}
	return 0, nil, false
}

// putDigest signs p.
func putDigest(p []byte, base int, name string) {
	at := place(p, base)
	copy(p[at:], sign([]byte(name), p[:at], p[at+digestLen:]))
}

func sign(key []byte, parts ...[]byte) []byte {
	h := hmac.New(sha256.New, key)
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}
