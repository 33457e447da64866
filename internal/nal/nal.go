// Package nal splits and joins NAL units: Annex B start codes, and the lengths of
// ISO 14496-15.
package nal

import (
	"bytes"
	"errors"
)

// Next returns the NAL unit au[start:end] at or after pos in an Annex B stream,
// and where to look for the one behind it. start is negative if there is none.
// Zero bytes before the next start code belong to no NAL unit.
// ITU-T H.264 B.1
func Next(au []byte, pos int) (start, end, next int) {
	start = StartCode(au, pos)
	if start < 0 {
		return -1, -1, len(au)
	}
	start += 3
	next = StartCode(au, start)
	end = next
	if next < 0 {
		end, next = len(au), len(au)
	}
	for end > start && au[end-1] == 0 {
		end--
	}
	return start, end, next
}

// StartCode returns the position of the first 00 00 01 at or after pos, or -1.
func StartCode(au []byte, pos int) int {
	for pos+3 <= len(au) {
		i := bytes.IndexByte(au[pos+2:], 1)
		if i < 0 {
			return -1
		}
		at := pos + i
		if au[at] == 0 && au[at+1] == 0 {
			return at
		}
		pos = at + 1
	}
	return -1
}

// ErrLength says that the lengths of NAL units do not add up to their packet.
var ErrLength = errors.New("nal: a length exceeds its packet")

// Lengths walks the NAL units of a length-prefixed access unit.
type Lengths struct {
	b    []byte
	size int
	err  error
}

// Split walks au, whose lengths have size bytes: 1, 2, 3 or 4.
func Split(au []byte, size int) Lengths { return Lengths{b: au, size: size} }

// Next returns the next NAL unit; ok is false at the end or at a fault. A NAL
// unit may be empty.
func (l *Lengths) Next() (unit []byte, ok bool) {
	if len(l.b) == 0 || l.err != nil {
		return nil, false
	}
	if len(l.b) < l.size || l.size < 1 {
		l.err = ErrLength
		return nil, false
	}
	n := uint64(0)
	for _, c := range l.b[:l.size] {
		n = n<<8 | uint64(c)
	}
	l.b = l.b[l.size:]
	if n > uint64(len(l.b)) {
		l.err = ErrLength
		return nil, false
	}
	unit, l.b = l.b[:n:n], l.b[n:]
	return unit, true
}

// Err returns ErrLength if the walk ended at a fault.
func (l *Lengths) Err() error { return l.err }

// Unescape appends unit to dst without its emulation prevention bytes.
// ITU-T H.264 7.4.1
func Unescape(dst, unit []byte) []byte {
	zeros := 0
	for _, c := range unit {
		if zeros >= 2 && c == 3 {
			zeros = 0
			continue
		}
		if c == 0 {
			zeros++
		} else {
			zeros = 0
		}
		dst = append(dst, c)
	}
	return dst
}

// Escaped returns how many bytes of unit hold the first n that Unescape makes of
// it: all of them if there are not so many.
func Escaped(unit []byte, n int) int {
	zeros := 0
	for i, c := range unit {
		if n == 0 {
			return i
		}
		if zeros >= 2 && c == 3 {
			zeros = 0
			continue
		}
		if c == 0 {
			zeros++
		} else {
			zeros = 0
		}
		n--
	}
	return len(unit)
}
