package dash

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"

	"github.com/cleave-video/cleave/av"
)

// The bounds of a Reader that states none.
const (
	DefaultMaxBytes   = 1 << 20
	DefaultMaxEntries = 10000
	DefaultMaxDepth   = 32
)

// Reader reads manifests, which may come from anywhere. The zero Reader is ready.
type Reader struct {
	MaxBytes   int // of a manifest; 0 is DefaultMaxBytes
	MaxEntries int // elements, and segments of a Representation; 0 is DefaultMaxEntries
	MaxDepth   int // of elements; 0 is DefaultMaxDepth
}

// LineError is a fault of a manifest's text. Err wraps one of the kinds in av.
type LineError struct {
	Line  int    // counts from 1
	Field string // "SegmentTemplate@timescale", or empty
	Err   error
}

func (e *LineError) Error() string {
	s := fmt.Sprintf("dash: line %d: ", e.Line)
	if e.Field != "" {
		s += e.Field + ": "
	}
	return s + e.Err.Error()
}

// Unwrap returns the kind of fault.
func (e *LineError) Unwrap() error { return e.Err }

// Node is an element of a manifest, without its name space.
type Node struct {
	Name     string
	Line     int // of its start tag's end
	Attr     []xml.Attr
	Children []*Node
	Text     string // what stands in it before its first child
}

// Get returns an attribute, and whether it is there.
func (n *Node) Get(name string) (string, bool) {
	if n != nil {
		for i := range n.Attr {
			if n.Attr[i].Name.Local == name {
				return n.Attr[i].Value, true
			}
		}
	}
	return "", false
}

// First returns the first child of that name, or nil.
func (n *Node) First(name string) *Node {
	if n != nil {
		for _, c := range n.Children {
			if c.Name == name {
				return c
			}
		}
	}
	return nil
}

// All returns the children of that name.
func (n *Node) All(name string) []*Node {
	var out []*Node
	if n != nil {
		for _, c := range n.Children {
			if c.Name == name {
				out = append(out, c)
			}
		}
	}
	return out
}

// Tree reads the elements of a manifest. The error is a *LineError.
func (r *Reader) Tree(b []byte) (*Node, error) {
	if limit := orDefault(r.MaxBytes, DefaultMaxBytes); len(b) > limit {
		return nil, &LineError{1, "", fmt.Errorf("%w: %d bytes, at most %d are read", av.ErrTooLarge, len(b), limit)}
	}
	d := xml.NewDecoder(bytes.NewReader(b))
	// The text is UTF-8 whatever it declares: other bytes are refused below.
	d.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil }
	var open []*Node
	var root *Node
	for count := 0; ; {
		tok, err := d.Token()
		line, _ := d.InputPos()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, syntax(err, line, len(open) > 0)
		}
		switch t := tok.(type) {
		case xml.StartElement:
			n := &Node{Name: t.Name.Local, Line: line, Attr: t.Attr}
			if count++; count > orDefault(r.MaxEntries, DefaultMaxEntries) {
				return nil, &LineError{line, n.Name, fmt.Errorf("%w: more than %d elements", av.ErrTooLarge, count-1)}
			}
			if len(open) >= orDefault(r.MaxDepth, DefaultMaxDepth) {
				return nil, &LineError{line, n.Name, fmt.Errorf("%w: elements %d deep", av.ErrTooLarge, len(open)+1)}
			}
			if len(open) > 0 {
				p := open[len(open)-1]
				p.Children = append(p.Children, n)
			} else if root = n; n.Name != "MPD" {
				return nil, &LineError{line, n.Name, fmt.Errorf("%w: not an MPD", av.ErrInvalid)}
			}
			open = append(open, n)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			if len(open) > 0 && len(open[len(open)-1].Children) == 0 {
				n := open[len(open)-1]
				n.Text += string(bytes.TrimSpace(t))
			}
		}
	}
	if root == nil {
		return nil, &LineError{1, "MPD", fmt.Errorf("%w: missing", av.ErrTruncated)}
	}
	return root, nil
}

// syntax makes a LineError of what encoding/xml says.
func syntax(err error, line int, open bool) error {
	kind := av.ErrInvalid
	var s *xml.SyntaxError
	if errors.As(err, &s) {
		line = s.Line
		if s.Msg == "unexpected EOF" && open {
			kind = av.ErrTruncated
		}
		return &LineError{line, "", fmt.Errorf("%w: %s", kind, s.Msg)}
	}
	return &LineError{line, "", fmt.Errorf("%w: %v", kind, err)}
}

func orDefault(v, def int) int {
	if v <= 0 {
		return def
	}
	return v
}
