package mp4

import "github.com/cleave-video/cleave/av"

// Node is one box as it lies in a file, for those who look at structure. Body is
// what follows the header, children included.
type Node struct {
	Type     string
	Path     string // "moof/traf[1]/trun": counted from 0, [0] left out
	Offset   int64  // of the first byte of its header in the input
	Header   int    // bytes of it
	Body     []byte
	Children []Node
}

// Size is that of the whole box.
func (n *Node) Size() int64 { return int64(n.Header + len(n.Body)) }

// First returns the first box below n at a path such as "mdia/mdhd", or nil.
func (n *Node) First(kinds ...string) *Node {
	for _, kind := range kinds {
		if n == nil {
			return nil
		}
		n = First(n.Children, kind)
	}
	return n
}

// First returns the first of those boxes of that type, or nil.
func First(list []Node, kind string) *Node {
	for i := range list {
		if list[i].Type == kind {
			return &list[i]
		}
	}
	return nil
}

// The bounds of Tree.
const (
	maxNodes = 1 << 16
	maxDepth = 12
)

// Tree reads the boxes in b, which begins at off in the input. Behind a fault it
// reads no further, and returns what came before with the *av.Error.
func Tree(b []byte, off int64) ([]Node, error) {
	left := maxNodes
	return tree(boxes{body: b, off: off}, "", maxDepth, &left)
}

func tree(w boxes, path string, depth int, left *int) (out []Node, err error) {
	seen := map[string]int{}
	for {
		b, ok := w.next()
		if !ok {
			if w.err == nil && depth == maxDepth && len(w.body) > 0 {
				w.err = av.Errorf("mp4", w.off, "box.size", "%w: %d bytes of a header of 8", av.ErrTruncated, len(w.body))
			}
			return out, w.err
		}
		if *left--; *left < 0 {
			return out, av.Errorf("mp4", b.off, b.kind.String(), "%w: more than %d boxes", av.ErrTooLarge, maxNodes)
		}
		n := Node{Type: b.kind.String(), Offset: b.off, Header: b.head, Body: b.body}
		n.Path = path + n.Type + index(seen[n.Type])
		seen[n.Type]++
		if skip, ok := container(n.Type); ok && depth > 0 && skip <= len(b.body) {
			n.Children, err = tree(b.children(skip), n.Path+"/", depth-1, left)
		}
		out = append(out, n)
		if err != nil {
			return out, err
		}
	}
}

func index(n int) string {
	if n == 0 {
		return ""
	}
	digits := ""
	for v := n; v > 0; v /= 10 {
		digits = string(rune('0'+v%10)) + digits
	}
	return "[" + digits + "]"
}

// container tells which boxes hold others, and how many bytes come before them.
func container(kind string) (skip int, ok bool) {
	switch kind {
	case "moov", "trak", "mdia", "minf", "dinf", "stbl", "edts", "mvex", "moof", "traf", "sinf", "schi":
		return 0, true
	case "stsd":
		return 8, true
	case "avc1", "avc3", "hvc1", "hev1", "av01", "vp09", "dvh1", "dvhe", "encv":
		return 78, true
	case "mp4a", "ac-3", "ec-3", "Opus", "fLaC", "enca":
		return 28, true
	}
	return 0, false
}
