// Package s3 is a store.Store in a bucket of a service that speaks S3.
package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/cleave-video/cleave/store"
)

// Config names a bucket and how to reach it. Zero values mean the defaults.
type Config struct {
	Endpoint  string // "host" or "host:port"
	Bucket    string // which must exist
	Prefix    string // of every key, "cleave/" for instance
	Region    string // "us-east-1"
	AccessKey string
	SecretKey string
	Token     string // of temporary credentials
	Secure    bool   // TLS
	PathStyle bool   // http://endpoint/bucket instead of what the endpoint looks like

	// PartSize is what is sent in one request; a larger object is sent in parts of
	// it. At least 5 MiB, which S3 demands; 16 MiB.
	PartSize int64
	// Parts is how many parts of one object are sent at a time; 4.
	Parts int
	// Timeout bounds each request; 1 minute.
	Timeout time.Duration
	// Transport carries the requests, if it is set.
	Transport http.RoundTripper
}

// Validate returns what is wrong with c.
func (c *Config) Validate() error {
	switch {
	case c.Endpoint == "" || strings.Contains(c.Endpoint, "/"):
		return fmt.Errorf("s3: endpoint %q is not host or host:port", c.Endpoint)
	case c.Bucket == "":
		return errors.New("s3: no bucket")
	case c.PartSize != 0 && c.PartSize < 5<<20:
		return fmt.Errorf("s3: parts of %d bytes: at least 5 MiB", c.PartSize)
	case strings.HasPrefix(c.Prefix, "/"):
		return fmt.Errorf("s3: prefix %q begins with /", c.Prefix)
	}
	return nil
}

// S3 keeps each object as one of the bucket, sent with its MD5, which the service
// checks, and stored with its CRC32C, which is checked when it is read from the
// beginning to the end. It does not retry (package retry does), but finds out
// whether a Put without an answer was stored.
type S3 struct {
	cfg    Config
	client minio.Core
	page   int // objects in an answer to List; 0 is the service's choice
	idle   func()
}

var (
	_ store.Store             = (*S3)(nil)
	_ store.ConditionalPutter = (*S3)(nil)
)

// New returns a store; it sends nothing yet.
func New(c Config) (*S3, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Region == "" {
		c.Region = "us-east-1"
	}
	if c.PartSize == 0 {
		c.PartSize = 16 << 20
	}
	if c.Parts <= 0 {
		c.Parts = 4
	}
	if c.Timeout <= 0 {
		c.Timeout = time.Minute
	}
	s := &S3{cfg: c, idle: func() {}}
	if c.Transport == nil {
		t := transport(c.Timeout)
		s.cfg.Transport, s.idle = t, t.CloseIdleConnections
	}
	look := minio.BucketLookupAuto
	if c.PathStyle {
		look = minio.BucketLookupPath
	}
	client, err := minio.NewCore(c.Endpoint, &minio.Options{
		Creds:        credentials.NewStaticV4(c.AccessKey, c.SecretKey, c.Token),
		Secure:       c.Secure,
		Region:       c.Region,
		Transport:    s.cfg.Transport,
		BucketLookup: look,
		MaxRetries:   1,
	})
	if err != nil {
		return nil, fmt.Errorf("s3: %w", err)
	}
	s.client = *client
	return s, nil
}

func transport(timeout time.Duration) *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: timeout,
		IdleConnTimeout:       time.Minute,
		MaxIdleConnsPerHost:   64,
		DisableCompression:    true, // so that lengths are those of the objects
		ForceAttemptHTTP2:     true,
	}
}

// Close closes idle connections.
func (s *S3) Close() error {
	s.idle()
	return nil
}

// errNoAnswer is why a request ended that took too long.
var errNoAnswer = errors.New("no answer in time")

// request returns the context of one request.
func (s *S3) request(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, s.cfg.Timeout, errNoAnswer)
}

// check returns the error of a call that need not be made.
func check(ctx context.Context, key string) error {
	if err := store.CheckKey(key); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// Delete implements store.Store.
func (s *S3) Delete(ctx context.Context, key string) error {
	if err := check(ctx, key); err != nil {
		return err
	}
	rctx, cancel := s.request(ctx)
	defer cancel()
	err := s.client.RemoveObject(rctx, s.cfg.Bucket, s.cfg.Prefix+key, minio.RemoveObjectOptions{})
	if err = classify(ctx, err); errors.Is(err, store.ErrNotExist) {
		return nil
	}
	return err
}

// List implements store.Store.
func (s *S3) List(ctx context.Context, prefix string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		rctx, cancel := context.WithCancel(ctx)
		defer cancel()
		opts := minio.ListObjectsOptions{Prefix: s.cfg.Prefix + prefix, Recursive: true, MaxKeys: s.page, FetchOwner: new(bool)}
		for o := range s.client.ListObjectsIter(rctx, s.cfg.Bucket, opts) {
			if o.Err != nil {
				yield(store.Info{}, classify(ctx, o.Err))
				return
			}
			key, ok := strings.CutPrefix(o.Key, s.cfg.Prefix)
			if !ok || store.CheckKey(key) != nil {
				continue // not ours
			}
			if !yield(store.Info{Key: key, Size: o.Size, Modified: o.LastModified}, nil) {
				return
			}
		}
		if err := context.Cause(ctx); err != nil {
			yield(store.Info{}, err)
		}
	}
}

// Open implements store.Store.
func (s *S3) Open(ctx context.Context, key string) (store.Object, error) {
	if err := check(ctx, key); err != nil {
		return nil, err
	}
	info, err := s.stat(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("%w (%s)", err, key)
	}
	return newObject(ctx, s, key, info), nil
}

func (s *S3) stat(ctx context.Context, key string) (minio.ObjectInfo, error) {
	rctx, cancel := s.request(ctx)
	defer cancel()
	info, err := s.client.StatObject(rctx, s.cfg.Bucket, s.cfg.Prefix+key, minio.StatObjectOptions{})
	if err == nil && info.Size < 0 {
		err = io.ErrUnexpectedEOF // an answer without a length
	}
	return info, classify(ctx, err)
}
