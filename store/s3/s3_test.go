package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/minio/minio-go/v7"
	"go.uber.org/goleak"

	"github.com/cleave-video/cleave/store"
	"github.com/cleave-video/cleave/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	access = "tester"
	secret = "testertester"
	bucket = "chunks"
)

// connect returns a store with a prefix of its own in the bucket at host.
func connect(t *testing.T, host, prefix string, change func(*Config)) *S3 {
	t.Helper()
	c := Config{Endpoint: host, Bucket: bucket, Prefix: prefix, AccessKey: access, SecretKey: secret, PathStyle: true, PartSize: 5 << 20, Timeout: 30 * time.Second}
	if change != nil {
		change(&c)
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	s.page = 100
	t.Cleanup(func() { s.Close() })
	return s
}

// fake is a service in this process.
func fake() http.Handler {
	return gofakes3.New(s3mem.New(), gofakes3.WithLogger(gofakes3.StdLog(log.New(io.Discard, "", 0)))).Server()
}

func makeBucket(t *testing.T, host string) {
	t.Helper()
	s := connect(t, host, "", nil)
	if err := s.client.MakeBucket(t.Context(), bucket, minio.MakeBucketOptions{Region: "us-east-1"}); err != nil {
		t.Fatal(err)
	}
}

func TestInProcess(t *testing.T) {
	srv := httptest.NewServer(fake())
	defer srv.Close()
	host := srv.Listener.Addr().String()
	makeBucket(t, host)
	suite(t, host)
}

// suite runs the conformance suite, each test of it in a folder of its own.
func suite(t *testing.T, host string) {
	n := 0
	storetest.Run(t, func(t *testing.T) store.Store {
		n++
		return connect(t, host, fmt.Sprintf("test/%d/", n), nil)
	})
	t.Run("NoPartsLeft", func(t *testing.T) {
		s := connect(t, host, "", nil)
		for u := range s.client.ListIncompleteUploads(t.Context(), bucket, "", true) {
			if u.Err != nil {
				t.Skipf("the service does not list uploads: %v", u.Err)
			}
			t.Errorf("left behind: %s", u.Key)
		}
	})
}

// TestVersityGW runs the suite on a real server over a folder.
func TestVersityGW(t *testing.T) {
	path := versity(t)
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := l.Addr().String()
	l.Close()
	var out bytes.Buffer
	cmd := exec.Command(path, "--port", host, "--access", access, "--secret", secret, "--region", "us-east-1", "posix", "--sidecar", filepath.Join(dir, "meta"), filepath.Join(dir, "data"))
	for _, d := range []string{"meta", "data"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("versitygw: %s", out.String())
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", host)
		if err == nil {
			c.Close()
			break
		}
		if ctx.Err() != nil {
			t.Fatal("versitygw does not answer")
		}
	}
	makeBucket(t, host)
	suite(t, host)
}

// versity finds the server, which scripts/setup installs.
func versity(t *testing.T) string {
	if p := os.Getenv("CLEAVE_VERSITYGW"); p != "" {
		return p
	}
	if p, err := exec.LookPath("versitygw"); err == nil {
		return p
	}
	if out, err := exec.Command("go", "env", "GOPATH").Output(); err == nil {
		if p := filepath.Join(strings.TrimSpace(string(out)), "bin", "versitygw"); exec.Command(p, "--version").Run() == nil {
			return p
		}
	}
	t.Skip("no versitygw: go install github.com/versity/versitygw/cmd/versitygw@v1.8.0")
	return ""
}

func TestConfig(t *testing.T) {
	for _, c := range []Config{
		{}, {Endpoint: "h"}, {Endpoint: "http://h", Bucket: "b"}, {Endpoint: "h", Bucket: "b", PartSize: 1 << 20}, {Endpoint: "h", Bucket: "b", Prefix: "/x"},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%+v: no error", c)
		}
	}
}

func TestNoBucket(t *testing.T) {
	srv := httptest.NewServer(fake())
	defer srv.Close()
	s := connect(t, srv.Listener.Addr().String(), "", nil)
	err := s.Put(t.Context(), "k", bytes.NewReader(nil), 0)
	if err == nil || errors.Is(err, store.ErrTransient) || errors.Is(err, store.ErrNotExist) {
		t.Errorf("Put: %v", err)
	}
	for _, err := range s.List(t.Context(), "") {
		if err == nil || errors.Is(err, store.ErrTransient) {
			t.Errorf("List: %v", err)
		}
	}
}
