// Package amf0 reads and writes Action Message Format 0 without building trees: a
// Reader walks values in place and allocates nothing but the strings it is asked
// for. Adobe AMF 0 specification, 2007.
package amf0

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/cleave-video/cleave/av"
)

// Marker is the byte that begins a value. AMF0 2.1
type Marker byte

// The markers of the values that are read. None stands for the end of the input
// or a fault.
const (
	Number      Marker = 0x00
	Boolean     Marker = 0x01
	String      Marker = 0x02
	Object      Marker = 0x03
	Null        Marker = 0x05
	Undefined   Marker = 0x06
	Reference   Marker = 0x07
	ECMAArray   Marker = 0x08
	ObjectEnd   Marker = 0x09
	StrictArray Marker = 0x0a
	Date        Marker = 0x0b
	LongString  Marker = 0x0c
	Unsupported Marker = 0x0d
	XML         Marker = 0x0f
	TypedObject Marker = 0x10
	None        Marker = 0xff
)

// MaxDepth is how deep objects and arrays may stand in each other.
const MaxDepth = 16

// Reader walks a sequence of values. The first fault sticks: then every method
// returns zero values and Err tells. Nothing is allocated by a length that the
// input claims.
type Reader struct {
	b   []byte
	pos int
	err error
}

// NewReader returns a Reader of b.
func NewReader(b []byte) Reader { return Reader{b: b} }

// Err returns the first fault, which wraps av.ErrTruncated, av.ErrInvalid,
// av.ErrTooLarge or av.ErrUnsupported; nil if there was none.
func (r *Reader) Err() error { return r.err }

// Pos is how many bytes were read.
func (r *Reader) Pos() int { return r.pos }

// Peek returns the marker of the next value, None at the end or after a fault.
func (r *Reader) Peek() Marker {
	if r.err != nil || r.pos >= len(r.b) {
		return None
	}
	return Marker(r.b[r.pos])
}

func (r *Reader) fail(field string, kind error) {
	if r.err == nil {
		r.err = av.Errorf("amf0", int64(r.pos), field, "%w", kind)
	}
}

// take returns the next n bytes, nil if they are not there.
func (r *Reader) take(field string, n uint64) []byte {
	if r.err != nil {
		return nil
	}
	if n > uint64(len(r.b)-r.pos) {
		r.err = av.Errorf("amf0", int64(r.pos), field, "%w: %d < %d", av.ErrTruncated, len(r.b)-r.pos, n)
		return nil
	}
	b := r.b[r.pos : r.pos+int(n)]
	r.pos += int(n)
	return b
}

func (r *Reader) marker(want Marker, field string) bool {
	if m := r.Peek(); m != want {
		if m == None {
			r.fail(field, av.ErrTruncated)
		} else if r.err == nil {
			r.err = av.Errorf("amf0", int64(r.pos), field, "%w: marker %#x", av.ErrInvalid, byte(m))
		}
		return false
	}
	r.pos++
	return true
}

// Number reads a number. AMF0 2.2
func (r *Reader) Number() float64 {
	if !r.marker(Number, "number") {
		return 0
	}
	b := r.take("number", 8)
	if b == nil {
		return 0
	}
	return math.Float64frombits(binary.BigEndian.Uint64(b))
}

// Bool reads a boolean. AMF0 2.3
func (r *Reader) Bool() bool {
	if !r.marker(Boolean, "boolean") {
		return false
	}
	b := r.take("boolean", 1)
	return b != nil && b[0] != 0
}

// Bytes reads a string or a long string in place. AMF0 2.4, 2.14
func (r *Reader) Bytes() []byte {
	if r.Peek() == LongString {
		r.pos++
		return r.sized(4)
	}
	if !r.marker(String, "string") {
		return nil
	}
	return r.sized(2)
}

// sized reads a string behind its length of n bytes.
func (r *Reader) sized(n int) []byte {
	b := r.take("string.length", uint64(n))
	if b == nil {
		return nil
	}
	l := uint64(0)
	for _, c := range b {
		l = l<<8 | uint64(c)
	}
	return r.take("string", l)
}

// String reads a string as Bytes does.
func (r *Reader) String() string { return string(r.Bytes()) }

// Enter reads the head of an object, a typed object or an ECMA array; its
// properties follow, to be read by Key. It returns false, without a fault, if the
// next value is something else, which stays unread. AMF0 2.5, 2.10, 2.18
func (r *Reader) Enter() bool {
	switch r.Peek() {
	case Object:
		r.pos++
	case ECMAArray:
		r.pos++
		r.take("ecma-array.count", 4) // a hint; the end marker counts
	case TypedObject:
		r.pos++
		r.sized(2)
	default:
		return false
	}
	return r.err == nil
}

// Key reads the name of the next property, whose value follows; ok is false
// behind the last one. An array that ends with the input is taken as ended.
func (r *Reader) Key() (name []byte, ok bool) {
	if r.err != nil || r.pos == len(r.b) {
		return nil, false
	}
	name = r.sized(2)
	if r.err != nil {
		return nil, false
	}
	if len(name) == 0 && r.Peek() == ObjectEnd {
		r.pos++
		return nil, false
	}
	return name, true
}

// Skip passes over one value and all in it.
func (r *Reader) Skip() { r.skip(0) }

func (r *Reader) skip(depth int) {
	if depth > MaxDepth {
		r.fail("depth", av.ErrTooLarge)
		return
	}
	switch m := r.Peek(); m {
	case None:
		r.fail("marker", av.ErrTruncated)
	case Number:
		r.take("number", 9)
	case Boolean:
		r.take("boolean", 2)
	case String, LongString:
		r.Bytes()
	case Null, Undefined, Unsupported:
		r.pos++
	case Reference:
		r.take("reference", 3)
	case Date:
		r.take("date", 11)
	case XML:
		r.pos++
		r.sized(4)
	case Object, ECMAArray, TypedObject:
		r.Enter()
		for {
			if _, ok := r.Key(); !ok {
				return
			}
			r.skip(depth + 1)
		}
	case StrictArray:
		r.strict(depth)
	default:
		r.err = av.Errorf("amf0", int64(r.pos), "marker", "%w: %#x", av.ErrUnsupported, byte(m))
	}
}

// strict passes over an array; every element has a byte at least. AMF0 2.12
func (r *Reader) strict(depth int) {
	r.pos++
	b := r.take("strict-array.count", 4)
	if b == nil {
		return
	}
	n := binary.BigEndian.Uint32(b)
	if uint64(n) > uint64(len(r.b)-r.pos) {
		r.err = av.Errorf("amf0", int64(r.pos-4), "strict-array.count", "%w: %d of %d bytes", av.ErrTruncated, n, len(r.b)-r.pos)
		return
	}
	for ; n > 0 && r.err == nil; n-- {
		r.skip(depth + 1)
	}
}

// AppendNumber appends a number.
func AppendNumber(dst []byte, v float64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, byte(Number)), math.Float64bits(v))
}

// AppendBool appends a boolean.
func AppendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, byte(Boolean), 1)
	}
	return append(dst, byte(Boolean), 0)
}

// AppendString appends a string, a long one if it has more than 65535 bytes.
func AppendString(dst []byte, s string) []byte {
	if len(s) > math.MaxUint16 {
		dst = binary.BigEndian.AppendUint32(append(dst, byte(LongString)), uint32(len(s)))
		return append(dst, s...)
	}
	return AppendKey(append(dst, byte(String)), s)
}

// AppendNull appends null.
func AppendNull(dst []byte) []byte { return append(dst, byte(Null)) }

// AppendObject appends the head of an object; pairs of AppendKey and a value
// follow, then AppendEnd.
func AppendObject(dst []byte) []byte { return append(dst, byte(Object)) }

// AppendArray appends the head of an ECMA array of n properties, which follow as
// an object's do.
func AppendArray(dst []byte, n uint32) []byte {
	return binary.BigEndian.AppendUint32(append(dst, byte(ECMAArray)), n)
}

// AppendKey appends a property's name, which has at most 65535 bytes; what is
// longer panics.
func AppendKey(dst []byte, name string) []byte {
	if len(name) > math.MaxUint16 {
		panic(fmt.Sprintf("amf0: a name of %d bytes", len(name)))
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(name)))
	return append(dst, name...)
}

// AppendEnd ends an object or an ECMA array.
func AppendEnd(dst []byte) []byte { return append(dst, 0, 0, byte(ObjectEnd)) }
