package s3

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"net/http"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/cleave-video/cleave/store"
)

// object is an opened object. Who reads it in sequence has one request answered
// bit by bit; other reads are requests of their own.
type object struct {
	s    *S3
	key  string
	size int64
	etag string
	crc  string // "" if the object was put by somebody else

	ctx    context.Context // ends with Close, not with that of Open
	cancel context.CancelFunc

	mu     sync.Mutex // guards seq, held while it is read
	seq    *sequence
	closed bool
}

// sequence is the answer to a request for all bytes from some offset on.
type sequence struct {
	body   io.ReadCloser
	ctx    context.Context // of the request
	cancel context.CancelCauseFunc
	next   int64
	crc    uint32
	whole  bool // crc is of all bytes before next
}

func newObject(ctx context.Context, s *S3, key string, info minio.ObjectInfo) *object {
	o := &object{s: s, key: key, size: info.Size, etag: info.ETag, crc: info.UserMetadata[crcName]}
	o.ctx, o.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return o
}

// Size implements store.Object.
func (o *object) Size() int64 { return o.size }

// Close implements io.Closer. It ends reads under way.
func (o *object) Close() error {
	o.cancel()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.endSequence()
	return nil
}

// ReadAt implements io.ReaderAt.
func (o *object) ReadAt(b []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("s3: offset %d", off)
	}
	var end error
	if off >= o.size {
		return 0, io.EOF
	}
	if rest := o.size - off; int64(len(b)) > rest {
		b, end = b[:rest], io.EOF
	}
	if len(b) == 0 {
		return 0, nil
	}
	n, err := o.read(b, off)
	if err != nil {
		return n, o.explain(err)
	}
	return n, end
}

// read fills b, of which all lies in the object.
func (o *object) read(b []byte, off int64) (int, error) {
	whole := off == 0 && int64(len(b)) == o.size
	if !whole && o.mu.TryLock() {
		defer o.mu.Unlock()
		if o.closed {
			return 0, fs.ErrClosed
		}
		if off == 0 || o.seq != nil && o.seq.next == off {
			return o.readOn(b, off)
		}
	}
	if o.ctx.Err() != nil {
		return 0, fs.ErrClosed
	}
	ctx, cancel := o.s.request(o.ctx)
	defer cancel()
	body, err := o.get(ctx, off, off+int64(len(b))-1)
	if err != nil {
		return 0, err
	}
	defer body.Close()
	n, err := io.ReadFull(body, b)
	if err != nil {
		return n, fmt.Errorf("%d bytes of %d: %w", n, len(b), noEOF(err))
	}
	if whole {
		err = o.verify(crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	}
	return n, err
}

// readOn reads b in sequence. o.mu is held.
func (o *object) readOn(b []byte, off int64) (int, error) {
	if o.seq == nil || o.seq.next != off {
		o.endSequence()
		ctx, cancel := context.WithCancelCause(o.ctx)
		stop := time.AfterFunc(o.s.cfg.Timeout, func() { cancel(errNoAnswer) })
		body, err := o.get(ctx, off, o.size-1)
		if !stop.Stop() || err != nil {
			cancel(nil)
			if err == nil {
				body.Close()
				err = errNoAnswer
			}
			return 0, err
		}
		o.seq = &sequence{body: body, ctx: ctx, cancel: cancel, next: off, whole: off == 0}
	}
	q := o.seq
	stop := time.AfterFunc(o.s.cfg.Timeout, func() { q.cancel(errNoAnswer) })
	defer stop.Stop()
	n, err := io.ReadFull(q.body, b)
	q.crc = crc32.Update(q.crc, crc32.MakeTable(crc32.Castagnoli), b[:n])
	q.next += int64(n)
	switch {
	case err != nil:
		if cause := context.Cause(q.ctx); cause != nil {
			err = cause
		}
		err = fmt.Errorf("ended at %d of %d: %w", q.next, o.size, noEOF(err))
		o.endSequence()
	case q.next == o.size:
		if q.whole {
			err = o.verify(q.crc)
		}
		o.endSequence()
	}
	return n, err
}

// endSequence ends the request. o.mu is held.
func (o *object) endSequence() {
	if o.seq != nil {
		o.seq.body.Close()
		o.seq.cancel(nil)
		o.seq = nil
	}
}

// noEOF makes the end of an answer that is too short an error.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// verify compares the CRC of all bytes with the one they were stored with.
func (o *object) verify(crc uint32) error {
	if got := fmt.Sprintf("%08x", crc); o.crc != "" && got != o.crc {
		return fmt.Errorf("%w: CRC32C %s, stored with %s", store.ErrCorrupt, got, o.crc)
	}
	return nil
}

// get asks for the bytes from first to last, of the object as it was at Open.
func (o *object) get(ctx context.Context, first, last int64) (io.ReadCloser, error) {
	var opts minio.GetObjectOptions
	whole := first == 0 && last == o.size-1
	if !whole {
		opts.Set("Range", fmt.Sprintf("bytes=%d-%d", first, last))
	}
	if o.etag != "" {
		opts.Set("If-Match", `"`+o.etag+`"`)
	}
	body, info, header, err := o.s.client.GetObject(ctx, o.s.cfg.Bucket, o.s.cfg.Prefix+o.key, opts)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && o.ctx.Err() == nil {
			err = cause
		}
		return nil, err
	}
	bad := func(err error) (io.ReadCloser, error) {
		body.Close()
		return nil, err
	}
	if info.ETag != o.etag {
		return bad(fmt.Errorf("%w: replaced: ETag %s, was %s", store.ErrNotExist, info.ETag, o.etag))
	}
	want := fmt.Sprintf("bytes %d-%d/%d", first, last, o.size)
	if got := header.Get("Content-Range"); !whole && got != want {
		return bad(fmt.Errorf("%w: asked for %q, got %q", store.ErrCorrupt, want, got))
	}
	if n := last - first + 1; info.Size >= 0 && info.Size != n {
		return bad(fmt.Errorf("%w: answer of %d bytes instead of %d", io.ErrUnexpectedEOF, info.Size, n))
	}
	return body, nil
}

// explain gives an error of a read the kind that callers act on.
func (o *object) explain(err error) error {
	if o.ctx.Err() != nil {
		return fs.ErrClosed
	}
	var answer minio.ErrorResponse
	switch {
	case errors.As(err, &answer) && answer.StatusCode == http.StatusPreconditionFailed:
		return fmt.Errorf("%w: s3: %s was replaced: %w", store.ErrNotExist, o.key, err)
	case errors.Is(err, store.ErrNotExist):
		return fmt.Errorf("s3: %s: %w", o.key, err)
	case errors.Is(err, store.ErrCorrupt):
		// What came over the network may come right the next time.
		return fmt.Errorf("%w: s3: %s: %w", store.ErrTransient, o.key, err)
	}
	return fmt.Errorf("s3: %s: %w", o.key, classify(o.ctx, err))
}
