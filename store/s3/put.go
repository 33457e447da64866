package s3

import (
	"context"
	"crypto/md5" //nolint:gosec // what Content-MD5 and ETag are
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"time"

	"github.com/minio/minio-go/v7"
	"golang.org/x/sync/errgroup"

	"github.com/cleave-video/cleave/store"
)

// crcName is the metadata in which an object carries its CRC32C, 8 hex digits.
const crcName = "Cleave-Crc32c"

// sums is what is known of a body before it is sent.
type sums struct {
	size  int64
	crc   string
	etag  string // that the service returns unless it encrypts
	parts []part
}

// part is what one request sends.
type part struct {
	off, size   int64
	md5, sha256 []byte
}

// digest reads the body once. What fails here is the body's fault.
func (s *S3) digest(ctx context.Context, body io.ReaderAt, size int64) (*sums, error) {
	d := &sums{size: size}
	crc := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	all := md5.New() //nolint:gosec // see above
	for off := int64(0); off == 0 || off < size; off += s.cfg.PartSize {
		p := part{off: off, size: min(s.cfg.PartSize, size-off)}
		m, sha := md5.New(), sha256.New() //nolint:gosec // see above
		to := []hash.Hash{crc, m}
		if !s.cfg.Secure {
			to = append(to, sha) // signed, where TLS does not protect the body
		}
		if err := digestPart(ctx, body, p, to); err != nil {
			return nil, err
		}
		p.md5 = m.Sum(nil)
		if !s.cfg.Secure {
			p.sha256 = sha.Sum(nil)
		}
		all.Write(p.md5)
		d.parts = append(d.parts, p)
	}
	d.crc = fmt.Sprintf("%08x", crc.Sum32())
	d.etag = hex.EncodeToString(d.parts[0].md5)
	if len(d.parts) > 1 {
		d.etag = fmt.Sprintf("%x-%d", all.Sum(nil), len(d.parts))
	}
	return d, nil
}

func digestPart(ctx context.Context, body io.ReaderAt, p part, to []hash.Hash) error {
	buf := make([]byte, 256<<10)
	for off := p.off; off < p.off+p.size; {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		b := buf[:min(int64(len(buf)), p.off+p.size-off)]
		n, err := body.ReadAt(b, off)
		if n < len(b) {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("s3: body ends at %d: %w", off+int64(n), err)
		}
		for _, h := range to {
			h.Write(b)
		}
		off += int64(n)
	}
	return context.Cause(ctx)
}

// Put implements store.Store.
func (s *S3) Put(ctx context.Context, key string, body io.ReaderAt, size int64) error {
	return s.put(ctx, key, body, size, false)
}

// PutNew implements store.ConditionalPutter. The service must know If-None-Match.
func (s *S3) PutNew(ctx context.Context, key string, body io.ReaderAt, size int64) error {
	return s.put(ctx, key, body, size, true)
}

func (s *S3) put(ctx context.Context, key string, body io.ReaderAt, size int64, fresh bool) error {
	if err := check(ctx, key); err != nil {
		return err
	}
	d, err := s.digest(ctx, body, size)
	if err != nil {
		return err
	}
	src := &source{ReaderAt: body, err: make(chan error, 1)}
	opts := minio.PutObjectOptions{
		UserMetadata:         map[string]string{crcName: d.crc},
		DisableContentSha256: true, // the sum is given, or TLS protects the body
	}
	send := s.putOne
	if len(d.parts) > 1 {
		send = s.putParts
	}
	etag, err := send(ctx, key, src, d, opts, fresh)
	if bad := src.failed(); bad != nil && err != nil {
		return bad
	}
	err = classify(ctx, err)
	switch {
	case err == nil && etag == d.etag:
		return nil
	case err == nil, errors.Is(err, store.ErrTransient), fresh && errors.Is(err, store.ErrExist):
		return s.settle(ctx, key, d, err)
	}
	return err
}

// settle finds out what is stored where the answer does not say it: it was lost, or
// has an ETag that is no MD5, or says that there is an object, which may be the one
// of an earlier try.
func (s *S3) settle(ctx context.Context, key string, d *sums, err error) error {
	info, serr := s.stat(ctx, key)
	switch {
	case serr == nil && d.are(&info):
		return nil
	case err != nil:
		return err
	case serr != nil:
		return serr
	}
	return fmt.Errorf("%w: %w: s3: %s has %d bytes, ETag %s, CRC32C %s; sent were %d bytes, ETag %s, CRC32C %s",
		store.ErrTransient, store.ErrCorrupt, key, info.Size, info.ETag, info.UserMetadata[crcName], d.size, d.etag, d.crc)
}

// are reports whether an object is that of d, as far as the service tells.
func (d *sums) are(info *minio.ObjectInfo) bool {
	if info.Size != d.size {
		return false
	}
	if crc, ok := info.UserMetadata[crcName]; ok {
		return crc == d.crc
	}
	return info.ETag == d.etag
}

// source keeps the error of a body, which the HTTP client hides.
type source struct {
	io.ReaderAt
	err chan error // holds the first one
}

func (s *source) failed() error {
	select {
	case err := <-s.err:
		return err
	default:
		return nil
	}
}

// ReadAt implements io.ReaderAt.
func (s *source) ReadAt(b []byte, off int64) (int, error) {
	n, err := s.ReaderAt.ReadAt(b, off)
	if err != nil && !errors.Is(err, io.EOF) {
		select {
		case s.err <- fmt.Errorf("s3: body at %d: %w", off+int64(n), err):
		default:
		}
	}
	return n, err
}

// putOne sends an object in one request.
func (s *S3) putOne(ctx context.Context, key string, body io.ReaderAt, d *sums, opts minio.PutObjectOptions, fresh bool) (string, error) {
	ctx, cancel := s.request(ctx)
	defer cancel()
	if fresh {
		opts.SetMatchETagExcept("*")
	}
	info, err := s.client.PutObject(ctx, s.cfg.Bucket, s.cfg.Prefix+key, io.NewSectionReader(body, 0, d.size), d.size,
		base64.StdEncoding.EncodeToString(d.parts[0].md5), hex.EncodeToString(d.parts[0].sha256), opts)
	return info.ETag, err
}

// putParts sends an object in several requests; it appears with the last one. What
// was sent of one that fails is removed.
func (s *S3) putParts(ctx context.Context, key string, body io.ReaderAt, d *sums, opts minio.PutObjectOptions, fresh bool) (etag string, err error) {
	name := s.cfg.Prefix + key
	rctx, cancel := s.request(ctx)
	id, err := s.client.NewMultipartUpload(rctx, s.cfg.Bucket, name, opts)
	cancel()
	if err != nil {
		return "", err
	}
	defer func() {
		if err == nil {
			return
		}
		// Also when ctx has ended: parts that nobody removes are paid for.
		actx, cancel := context.WithTimeout(context.WithoutCancel(ctx), min(s.cfg.Timeout, 10*time.Second))
		defer cancel()
		_ = s.client.AbortMultipartUpload(actx, s.cfg.Bucket, name, id)
	}()
	done := make([]minio.CompletePart, len(d.parts))
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(s.cfg.Parts)
	for i := range d.parts {
		group.Go(func() error {
			p, err := s.putPart(gctx, name, id, i+1, body, &d.parts[i])
			done[i] = minio.CompletePart{PartNumber: i + 1, ETag: p.ETag}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return "", err
	}
	rctx, cancel = s.request(ctx)
	defer cancel()
	end := minio.PutObjectOptions{}
	if fresh {
		end.SetMatchETagExcept("*")
	}
	info, err := s.client.CompleteMultipartUpload(rctx, s.cfg.Bucket, name, id, done, end)
	return info.ETag, err
}

func (s *S3) putPart(ctx context.Context, name, id string, number int, body io.ReaderAt, p *part) (minio.ObjectPart, error) {
	ctx, cancel := s.request(ctx)
	defer cancel()
	return s.client.PutObjectPart(ctx, s.cfg.Bucket, name, id, number, io.NewSectionReader(body, p.off, p.size), p.size, minio.PutObjectPartOptions{
		Md5Base64:            base64.StdEncoding.EncodeToString(p.md5),
		Sha256Hex:            hex.EncodeToString(p.sha256),
		DisableContentSha256: true,
	})
}
