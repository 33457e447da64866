package httpio

import (
	"fmt"
	"time"

	"github.com/cleave-video/cleave/internal/tcpinfo"
)

// Strategy is when what is given to a Response leaves.
type Strategy uint8

const (
	// Direct: each write at once.
	Direct Strategy = iota
	// Buffered: by maxBatch bytes, but nothing waits longer than maxHold.
	Buffered
	// Adaptive: begins as Direct, and batches as far as the client does not notice; see
	// plan.next.
	Adaptive
	strategies // how many there are
)

func (s Strategy) String() string {
	switch s {
	case Direct:
		return "direct"
	case Buffered:
		return "buffered"
	case Adaptive:
		return "adaptive"
	}
	return fmt.Sprintf("Strategy(%d)", uint8(s))
}

// Strategies returns all there are.
func Strategies() []Strategy { return []Strategy{Direct, Buffered, Adaptive} }

// ParseStrategy reads what String wrote.
func ParseStrategy(text string) (Strategy, error) {
	for s := range strategies {
		if s.String() == text {
			return s, nil
		}
	}
	return 0, fmt.Errorf("httpio: %.40q is none of direct, buffered and adaptive", text)
}

const (
	// maxBatch is the most bytes that wait for more: above it one system call costs little
	// beside its bytes.
	maxBatch = 64 << 10
	// maxHold is how long a byte waits at most.
	maxHold = 500 * time.Millisecond
	// lookEvery is how often an adaptive response asks the kernel about its client.
	lookEvery = 250 * time.Millisecond
)

// Reason is why an adaptive response batches as it does.
type Reason uint8

const (
	Unknown   Reason = iota // direct: the kernel does not tell of the connection
	Latency                 // direct, or less than before: more would be noticed, or gain nothing
	RoundTrip               // more than before: it waits for a part of the round trip
	Backlog                 // more than before: it would wait in the socket anyway
	reasons                 // how many there are
)

func (r Reason) String() string {
	switch r {
	case Unknown:
		return "unknown"
	case Latency:
		return "latency"
	case RoundTrip:
		return "round trip"
	case Backlog:
		return "backlog"
	}
	return fmt.Sprintf("Reason(%d)", uint8(r))
}

// Reasons returns all there are.
func Reasons() []Reason { return []Reason{Unknown, Latency, RoundTrip, Backlog} }

// plan is how much waits for more, and how long; zero: each write leaves at once.
type plan struct {
	size int
	wait time.Duration
}

// facts are what a plan is made of.
type facts struct {
	way   *tcpinfo.Info // nil: not known
	rate  int64         // bytes a second that are given
	piece int           // bytes of one write
}

// next returns the plan that follows. What waits no longer than half a round trip is not
// noticed by a client that is that far away, and what waits no longer than the socket
// takes to send what it has is sent no later. As much as is given in that time makes a
// batch, up to maxBatch; less than two writes gain nothing. It grows to twice its size at
// most, so that one look that was wrong does little harm, and shrinks at once.
func (p plan) next(f facts) (plan, Reason) {
	if f.way == nil {
		return plan{}, Unknown
	}
	wait, why := f.way.RTT/2, RoundTrip
	if f.way.Backlog > 0 && f.way.Rate > 0 {
		if drain := time.Duration(float64(f.way.Backlog) / float64(f.way.Rate) * float64(time.Second)); drain > wait || drain < 0 {
			wait, why = drain, Backlog
		}
	}
	if wait = min(wait, maxHold); wait < 0 {
		wait = maxHold
	}
	size := int(min(float64(f.rate)*wait.Seconds(), maxBatch))
	size = min(size, 2*max(p.size, f.piece))
	if size < 2*f.piece || wait < time.Millisecond { // timers are not finer
		return plan{}, Latency
	}
	if size < p.size {
		why = Latency
	}
	return plan{size, wait}, why
}
