package s3

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"

	"github.com/minio/minio-go/v7"

	"github.com/cleave-video/cleave/store"
)

// classify gives an error of a request the kind that callers act on. ctx is the
// caller's, not the request's: if that has ended, so has the call.
func classify(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if kind := kindOf(err); kind != nil {
		return fmt.Errorf("%w: s3: %w", kind, err)
	}
	return fmt.Errorf("s3: %w", err)
}

func kindOf(err error) error {
	var answer minio.ErrorResponse
	if errors.As(err, &answer) {
		return kindOfAnswer(&answer)
	}
	var network net.Error
	var call *url.Error
	var text *xml.SyntaxError
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, errNoAnswer),
		errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF),
		errors.As(err, &network), errors.As(err, &call), errors.As(err, &text):
		return store.ErrTransient
	}
	return nil
}

func kindOfAnswer(a *minio.ErrorResponse) error {
	switch a.Code {
	case "NoSuchKey", "NotFound":
		return store.ErrNotExist
	case "NoSuchBucket", "InvalidBucketName":
		return nil // a fault of the configuration, though the status is 404
	case "PreconditionFailed":
		return store.ErrExist
	case "ConditionalRequestConflict", "OperationAborted", "RequestTimeout", "BadDigest", "SlowDown":
		return store.ErrTransient
	case "QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "InsufficientStorage":
		return store.ErrFull
	}
	switch a.StatusCode {
	case http.StatusNotFound:
		return store.ErrNotExist
	case http.StatusPreconditionFailed:
		return store.ErrExist
	case http.StatusInsufficientStorage:
		return store.ErrFull
	case http.StatusConflict, http.StatusRequestTimeout, http.StatusTooManyRequests:
		return store.ErrTransient
	}
	if a.StatusCode >= 500 && a.StatusCode != http.StatusNotImplemented {
		return store.ErrTransient
	}
	return nil
}
