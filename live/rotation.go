package live

import "time"

// keyNotice is how many chunks before its first use a key can be asked for.
const keyNotice = 2

// maxPlanned is how many changes of keys are planned at a time: one each chunk, if keys
// change that often.
const maxPlanned = keyNotice

// plan decides at which chunk the key changes: a pure function of the chunks that open.
type plan struct {
	chunks uint64
	every  time.Duration

	begun   bool
	last    time.Time // when the newest chunk opened
	newest  change    // the last one that is planned
	planned []change  // that have not come about, oldest first
}

// change is a change of keys: the chunk that has the new one, and when that opens, as
// far as it is known.
type change struct {
	chunk uint64
	at    time.Time
}

// due reports whether a chunk is to have a new key.
func (p *plan) due(chunk uint64) bool { return len(p.planned) > 0 && p.planned[0].chunk <= chunk }

// take notes that the oldest change has come about, with a chunk that opens at a time.
// One that was late, for its key was, puts off those behind it: keys are not changed more
// often to make up for it.
func (p *plan) take(chunk uint64, at time.Time) {
	late, off := chunk-p.planned[0].chunk, at.Sub(p.planned[0].at)
	if max(off, -off) < p.every {
		off = 0 // within the grid
	}
	p.planned = append(p.planned[:0], p.planned[1:]...)
	for i := range p.planned {
		p.planned[i].chunk += late
		p.planned[i].at = p.planned[i].at.Add(off)
	}
	p.newest.chunk += late
	p.newest.at = p.newest.at.Add(off)
}

// open notes that a chunk opens at a time, and reports whether it has planned a change:
// that is two chunks ahead, which will open as late as chunks last now.
func (p *plan) open(chunk uint64, at time.Time) bool {
	if !p.begun {
		p.begun, p.newest, p.last = true, change{chunk, at}, at
	}
	next := change{chunk + keyNotice, at.Add(keyNotice * max(0, at.Sub(p.last)))}
	p.last = at
	if len(p.planned) >= maxPlanned || next.chunk <= p.newest.chunk {
		return false
	}
	switch late := next.at.Sub(p.newest.at) - p.every; {
	case p.chunks > 0 && next.chunk < p.newest.chunk+p.chunks, p.chunks == 0 && late < 0:
		return false
	case p.chunks == 0 && late < p.every: // on the grid, so that the mean is kept
		next.at = next.at.Add(-late)
	}
	p.newest = next
	p.planned = append(p.planned, next)
	return true
}
