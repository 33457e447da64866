package srt

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// made returns an MPEG-TS file of 10 s with two tracks, and its path.
func made(t *testing.T) (path string, b []byte) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "made.ts")
	args := strings.Fields("-v error -nostdin -f lavfi -i testsrc2=s=1280x720:r=25:d=10 -f lavfi -i sine=r=48000:d=10 " +
		"-c:v libx264 -preset ultrafast -g 25 -pix_fmt yuv420p -c:a aac -f mpegts " + path)
	if out, err := exec.Command(need(t, "ffmpeg"), args...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, b
}

// sums is what ffmpeg finds in an input: a sum for each packet.
func sums(t *testing.T, input string, more ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	args := append(more, "-v", "error", "-nostdin", "-i", input, "-map", "0:v", "-map", "0:a", "-c", "copy", "-copyts", "-f", "framemd5", "-")
	var complaints bytes.Buffer
	cmd := exec.CommandContext(ctx, need(t, "ffmpeg"), args...)
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	// ffmpeg calls the end of a connection an error.
	if rest := strings.TrimPrefix(complaints.String(), input+": Input/output error\n"); err != nil || rest != "" {
		t.Errorf("%s: %v %s", input, err, rest)
	}
	return string(out)
}

// TestReaders: libsrt has every packet that was sent, sent at once as a viewer's first GOP
// is, with and without a passphrase, and both forms of the stream id.
func TestReaders(t *testing.T) {
	file, b := made(t)
	want := sums(t, file)
	for name, test := range map[string]struct{ id, passphrase string }{
		"plain":         {"read:live/cam1", ""},
		"standard form": {"#!::r=live/cam1,m=request", ""},
		"encrypted":     {"read:live/cam1", "correct horse"},
	} {
		t.Run(name, func(t *testing.T) {
			names := make(chan string, 1)
			addr := serve(t, Config{
				Publish:    func(context.Context, *Publisher) error { return nil },
				Passphrase: test.passphrase,
				Read: func(ctx context.Context, r *Reader) error {
					names <- r.Name()
					return r.Start(ctx, func(ctx context.Context) error {
						// Pieces that end within a payload, and a pause in which what was sent
						// arrives: SRT says nothing of the end of what was delivered.
						for at := 0; at < len(b); at += 188 * 1000 {
							part := b[at:min(at+188*1000, len(b))]
							if err := r.Write(ctx, [][]byte{part[:188], part[188:]}); err != nil {
								return err
							}
						}
						timer := time.NewTimer(time.Second)
						defer timer.Stop()
						select {
						case <-timer.C:
						case <-ctx.Done():
						}
						return nil
					})
				},
			})
			args := []string{"-srt_streamid", test.id}
			if test.passphrase != "" {
				args = append(args, "-passphrase", test.passphrase)
			}
			if got := sums(t, "srt://"+addr, args...); got != want {
				t.Errorf("%d bytes of sums, want %d", len(got), len(want))
			}
			if got := <-names; got != "live/cam1" {
				t.Error(got)
			}
		})
	}
}

// TestReaderGoes: the context of who sends ends when the caller goes, and the server ends
// at once while readers are connected.
func TestReaderGoes(t *testing.T) {
	why := make(chan error, 2)
	started := make(chan struct{}, 2)
	addr := serve(t, Config{
		Publish: func(context.Context, *Publisher) error { return nil },
		Read: func(ctx context.Context, r *Reader) error {
			return r.Start(ctx, func(ctx context.Context) error {
				started <- struct{}{}
				<-ctx.Done()
				why <- context.Cause(ctx)
				return r.Write(ctx, [][]byte{make([]byte, 188)})
			})
		},
	})
	tool := need(t, "srt-live-transmit")
	for range 2 {
		cmd := exec.Command(tool, "-q", "srt://"+addr+"?streamid=read:live/cam1", "file://con")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		<-started
		if len(started) == 0 { // the first goes by itself, the second with the server
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
		if err := <-why; !errors.Is(err, io.EOF) {
			t.Error(err)
		}
	}
}

// TestReaderRefused: a caller is told why it may not read, and another is served.
func TestReaderRefused(t *testing.T) {
	addr := serve(t, Config{
		Publish:    func(context.Context, *Publisher) error { return nil },
		MaxReaders: 1,
		Read: func(_ context.Context, r *Reader) error {
			return &Refused{NotFound, "no such stream"}
		},
	})
	for range 2 {
		c := dial(t, addr)
		if got := c.conclude(5, 5, hello(), streamID("read:live/cam1")); Reason(got) != NotFound {
			t.Error(Reason(got))
		}
	}
}
