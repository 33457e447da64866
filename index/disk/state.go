package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cleave-video/cleave/index"
	"github.com/cleave-video/cleave/store"
)

// The state of a stream is a file of its folder, replaced as a whole:
//
//	| "CLVSTA" 0 version, 8 | state | CRC of all before it, 4 |
const (
	stateName  = "state"
	stateMagic = "CLVSTA\x00\x01"
	maxState   = 64 << 10
)

var _ index.Catalogue = (*Disk)(nil)

// SetState implements index.Catalogue.
func (d *Disk) SetState(ctx context.Context, name string, state index.State) error {
	if err := state.Validate(); err != nil {
		return err
	}
	s, err := d.stream(ctx, name)
	if err != nil {
		return err
	}
	s.states.Lock()
	defer s.states.Unlock()
	if err := s.makeDir(); err != nil {
		return store.Classify(fmt.Errorf("index: %w", err))
	}
	b := sealHeader(index.AppendState([]byte(stateMagic), &state))
	if err := d.writeFile(filepath.Join(s.dir, stateName), b); err != nil {
		return store.Classify(fmt.Errorf("index: %w", err))
	}
	return nil
}

// State implements index.Catalogue.
func (d *Disk) State(ctx context.Context, name string) (index.State, error) {
	if ok, err := d.has(name); err == nil && !ok {
		return index.State{}, fmt.Errorf("%w: state of %s", index.ErrNotFound, name)
	}
	s, err := d.stream(ctx, name)
	if err != nil {
		return index.State{}, err
	}
	s.states.Lock()
	defer s.states.Unlock()
	path := filepath.Join(s.dir, stateName)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return index.State{}, fmt.Errorf("%w: state of %s", index.ErrNotFound, name)
	}
	if err != nil {
		return index.State{}, store.Classify(fmt.Errorf("index: %w", err))
	}
	n := len(b) - 4
	if n < len(stateMagic) || n > maxState || string(b[:len(stateMagic)]) != stateMagic || !headerOK(b) {
		return index.State{}, &index.CorruptError{Path: path, Why: "state"}
	}
	state, err := index.ParseState(b[len(stateMagic):n])
	if err != nil {
		return index.State{}, &index.CorruptError{Path: path, Offset: int64(len(stateMagic)), Why: err.Error()}
	}
	return state, nil
}
