package plain

import (
	"fmt"
	"io"
)

// Printer writes to W as long as that takes it, and keeps the first error.
type Printer struct {
	W   io.Writer
	Err error
}

// Printf writes formatted text.
func (p *Printer) Printf(format string, args ...any) {
	if p.Err == nil {
		_, p.Err = fmt.Fprintf(p.W, format, args...)
	}
}
