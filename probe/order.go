package probe

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/cleave-video/cleave/internal/plain"
)

// orders draws the first frames twice, in the order of decoding and in that of
// presentation, with a line from the one to the other.
func (d *drawing) orders() {
	order := d.p.order
	if d.p.audio || len(order) < 2 {
		d.y += 24
		return
	}
	shown := make([]int, len(order)) // places in order, by presentation
	for i := range shown {
		shown[i] = i
	}
	slices.SortStableFunc(shown, func(a, b int) int { return cmp.Compare(order[a].pts, order[b].pts) })
	moved := !slices.IsSorted(shown)
	d.y += 24
	d.text(margin, d.y+14, "h", "Order")
	d.text(margin, d.y+30, "s", fmt.Sprintf("first %d frames", len(order)))
	if !moved {
		d.text(left, d.y+14, "l", "Frames are shown in the order in which they are decoded.")
		d.y += 50
		return
	}
	const slot, cell, drop = px(plot) / maxOrder, 20, 54
	at := func(i int) px { return left + slot*px(i) + slot/2 }
	top, bottom := d.y+2, d.y+2+cell+drop
	d.text(left-10, top+14, "e", "decoded")
	d.text(left-10, bottom+14, "e", "shown")
	for to, from := range shown {
		y0, y1 := top+cell, bottom
		d.path(fmt.Sprintf("M%s %sC%s %s %s %s %s %s", at(from), y0, at(from), y0+drop/2, at(to), y1-drop/2, at(to), y1), fmt.Sprintf("link c%d", order[from].kind))
	}
	draw := func(i int, y px, f *frame) {
		d.rect(box{at(i) - slot/2 + 1.5, y, slot - 3, cell}, fmt.Sprintf("f k%d", f.kind),
			fmt.Sprintf("%s, %s, shown at %.3f s, decoded at %.3f s", f.kind, plain.Bytes(int64(f.size)), f.pts.Seconds(), f.dts.Seconds()))
		class := "cell"
		if f.kind == kindDisposable || f.kind == kindEarly || f.kind == kindI {
			class = fmt.Sprintf("cell%d", f.kind)
		}
		d.text(at(i), y+14, class, f.kind.letter())
	}
	for i := range order {
		draw(i, top, &order[i])
		draw(i, bottom, &order[shown[i]])
	}
	for i, from := range shown {
		if i%6 == 0 {
			d.text(at(i), bottom+cell+13, "m", fmt.Sprintf("%.3f s", order[from].pts.Seconds()))
		}
	}
	d.text(left, bottom+cell+32, "s", "K key frame, I P B by type, b disposable: nothing refers to it")
	d.y = bottom + cell + 52
}
