package crash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/cleave-video/cleave/index"
	indexdisk "github.com/cleave-video/cleave/index/disk"
	"github.com/cleave-video/cleave/index/indextest"
	"github.com/cleave-video/cleave/server"
	storedisk "github.com/cleave-video/cleave/store/disk"
)

// Recovery is how long a server takes to start.
type Recovery struct {
	Entries     int
	Empty, Full time.Duration // without chunks, and with that many: medians of starts
	CPU         time.Duration // of the latter, of all cores: what it takes where nothing else runs
}

// starts is how many starts the medians are of, one of each kind in turn.
const starts = 7

// Recover measures how long a server takes to start on a folder with n chunks, all of
// which it compares with its index.
func Recover(ctx context.Context, binary, dir string, n int) (*Recovery, error) {
	full, empty := filepath.Join(dir, "full"), filepath.Join(dir, "empty")
	if err := fill(ctx, full, n); err != nil {
		return nil, err
	}
	var took [3][]time.Duration
	for range starts {
		for i, data := range []string{empty, full} {
			began := time.Now()
			p, err := run(ctx, binary, data)
			if err != nil {
				return nil, err
			}
			<-p.ready
			took[i] = append(took[i], time.Since(began))
			err = p.started()
			if log := p.kill(); err != nil {
				return nil, fmt.Errorf("%w\n%s", err, log)
			}
			if i == 1 {
				took[2] = append(took[2], p.cmd.ProcessState.UserTime()+p.cmd.ProcessState.SystemTime())
			}
		}
	}
	for _, l := range took {
		slices.Sort(l)
	}
	return &Recovery{n, took[0][starts/2], took[1][starts/2], took[2][starts/2]}, nil
}

// fill makes n small chunks of one stream, with an index.
func fill(ctx context.Context, data string, n int) (err error) {
	st, err := storedisk.Open(data, storedisk.WithoutSync())
	if err != nil {
		return err
	}
	ix, err := indexdisk.Open(filepath.Join(data, server.IndexDir), indexdisk.WithoutSync())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ix.Close()) }()
	g := indextest.NewGenerator(1)
	var list []index.Entry
	for i := range n {
		e := g.Next()
		for k := range e.Tracks {
			e.Tracks[k].Offset, e.Tracks[k].Size = 0, 0
		}
		e.Size = 0
		b := index.AppendDescription(nil, "live/cam1", &e)
		e.Size, e.Digest = int64(len(b)), [32]byte{}
		if err := st.Put(ctx, e.Object, bytes.NewReader(b), e.Size); err != nil {
			return err
		}
		if list = append(list, e); len(list) < 4096 && i < n-1 {
			continue
		}
		if err := ix.AddAll(ctx, "live/cam1", list); err != nil {
			return err
		}
		list = list[:0]
	}
	return nil
}
