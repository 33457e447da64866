package server

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/cleave-video/cleave/store"
	"github.com/cleave-video/cleave/store/disk"
	"github.com/cleave-video/cleave/store/limit"
	"github.com/cleave-video/cleave/store/retry"
	"github.com/cleave-video/cleave/store/s3"
	"github.com/cleave-video/cleave/store/spool"
)

// SpoolDir is the folder of the spool in the data folder, where chunks are kept in S3.
const SpoolDir = "+spool"

// stores is where chunks are kept.
type stores struct {
	store.Store
	spool *spool.Store // nil: none
	run   func(ctx context.Context) error
	close func() error
}

// validateStore returns what is wrong with where chunks are to be kept.
func (c *Config) validateStore() error {
	if c.S3 != nil {
		if err := c.S3.Validate(); err != nil {
			return err
		}
	}
	data, err := filepath.Abs(c.Data)
	if err != nil {
		return err
	}
	dir, err := filepath.Abs(c.Spool)
	if err != nil {
		return err
	}
	if c.Spool != "" && data == dir {
		return errors.New("the spool and the data folder are the same")
	}
	return nil
}

// openStores opens where chunks are kept: the data folder, or a bucket, either behind a
// spool. What is brought away is so while run runs.
func (c *Config) openStores(ctx context.Context) (*stores, error) {
	if err := c.validateStore(); err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	s := &stores{run: func(context.Context) error { return nil }, close: func() error { return nil }}
	dir := c.Spool
	if c.S3 == nil {
		main, err := disk.Open(c.Data)
		if err != nil {
			return nil, fmt.Errorf("server: data folder: %w", err)
		}
		s.Store = main
	} else {
		bucket, err := s3.New(*c.S3)
		if err != nil {
			return nil, fmt.Errorf("server: %w", err)
		}
		// Attempts are few: the spool makes more.
		s.Store = limit.New(retry.New(bucket, retry.Config{Attempts: 2}), limit.Config{})
		s.close = bucket.Close
		if dir == "" {
			dir = filepath.Join(c.Data, SpoolDir)
		}
	}
	if dir == "" {
		return s, nil
	}
	near, err := disk.Open(dir, disk.WithMinFree(c.SpoolFree))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("server: spool: %w", err), s.close())
	}
	failed := func(key string, err error) { c.Log.Warn("chunk stays in the spool", "key", key, "error", err) }
	if s.spool, err = spool.New(ctx, near, s.Store, spool.Config{Failed: failed}); err != nil {
		return nil, errors.Join(fmt.Errorf("server: %w", err), s.close())
	}
	if n := s.spool.Stats().Objects; n > 0 {
		c.Log.Info("the spool was not empty", "dir", dir, "objects", n)
	}
	s.Store, s.run = s.spool, s.spool.Run
	return s, nil
}
