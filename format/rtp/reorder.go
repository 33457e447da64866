package rtp

// maxReorder bounds the pictures that one may wait for in output (H.264 A.3, H.265
// A.4).
const maxReorder = 16

// reorder derives decode times from the presentation times in decode order: the
// n-th of the one is the n-th smallest of the other, put back by the depth of the
// reordering.
type reorder struct {
	depth   int
	step    int64 // ticks from picture to picture
	started bool
	last    int64
	queue   [maxReorder + 1]int64 // in order
	n       int
}

// next returns the decode time of the next picture. Where pictures turn out to be
// reordered deeper than is known it is one tick behind the last, and the depth
// grows.
func (r *reorder) next(pts int64) int64 {
	if !r.started {
		r.started = true
		for i := range r.depth {
			r.queue[i] = pts - int64(r.depth-i)*r.step
		}
		r.n = r.depth
		r.last = pts - int64(r.depth+1)*r.step - 1
	}
	if pts <= r.last && r.depth < maxReorder && r.last-pts < maxReorder*r.step {
		r.depth++
		r.put(pts)
		r.last++
		return r.last
	}
	r.put(pts)
	dts := r.queue[0]
	r.n = copy(r.queue[:], r.queue[1:r.n])
	if dts <= r.last && r.last-dts < maxReorder*r.step {
		dts = r.last + 1
	}
	r.last = dts
	return dts
}

func (r *reorder) put(pts int64) {
	at := r.n
	for at > 0 && r.queue[at-1] > pts {
		at--
	}
	copy(r.queue[at+1:r.n+1], r.queue[at:r.n])
	r.queue[at] = pts
	r.n++
}

// deepest returns how many pictures any of these, which stand in decode order,
// waits for in output.
func deepest(pts []int64) int {
	depth := 0
	for i, p := range pts {
		later := 0
		for _, q := range pts[i+1:] {
			if q < p {
				later++
			}
		}
		depth = max(depth, later)
	}
	return min(depth, maxReorder)
}
