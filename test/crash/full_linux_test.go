package crash

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cleave-video/cleave/format/hls"
)

// insideEnv names the server for the process that TestFullDisk runs in a mount namespace
// of its own.
const insideEnv = "CLEAVE_TEST_FULL_DISK"

// TestFullDisk fills the file system of a server while a stream runs: the live edge goes
// on; when there is room again chunks are stored again; and after a kill in each state
// the rules hold that hold after any.
func TestFullDisk(t *testing.T) {
	binary := build(t)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFullDiskInside$", "-test.v")
	cmd.Env = append(os.Environ(), insideEnv+"="+binary)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if os.IsPermission(err) || strings.Contains(string(out), notPermitted) {
		t.Skipf("a small file system cannot be mounted here: %v %s", err, out)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

const notPermitted = "not permitted to mount"

func TestFullDiskInside(t *testing.T) {
	binary := os.Getenv(insideEnv)
	if binary == "" {
		t.Skip("TestFullDisk runs this in a process of its own")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=6m"); err != nil {
		t.Fatalf("%s: %v", notPermitted, err)
	}
	defer func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	filler := filepath.Join(dir, "filler")
	f := &fullDisk{rig: newRig(Config{Binary: binary, Data: filepath.Join(dir, "data"), Seed: 1}), t: t}
	defer f.client.CloseIdleConnections()
	f.run("as it is", true)
	fill := func() {
		if err := os.WriteFile(filler, make([]byte, 8<<20), 0o600); err == nil {
			t.Fatal("the disk does not get full")
		}
	}
	p := f.start()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- publish(ctx, p.rtmp) }()
	f.goesOn(p, "before", 3)
	fill()
	f.goesOn(p, "full", 8)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	f.goesOn(p, "with room again", 8)
	f.kill(p, cancel, done)
	list, err := entries(t.Context(), f.Data, stream)
	if err != nil {
		t.Fatal(err)
	}
	gaps := 0
	for i := range list {
		if list[i].Gap {
			gaps++
		}
	}
	if n := f.model.counts.Committed; n < 8 || gaps < 4 {
		t.Errorf("%d chunks were committed, %d were not stored", n, gaps)
	}
	f.run("after a kill", true)
	fill()
	f.run("started on a full disk", false)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	f.run("at the end", true)
	for _, x := range f.model.findings {
		t.Error(x)
	}
}

// fullDisk is a rig whose disk gets full.
type fullDisk struct {
	*rig
	t *testing.T
}

func (f *fullDisk) start() *process {
	f.t.Helper()
	f.model.run++
	p, err := run(f.t.Context(), f.Binary, f.Data)
	if err != nil {
		f.t.Fatal(err)
	}
	<-p.ready
	if err := p.started(); err != nil {
		f.t.Fatalf("%v\n%s", err, p.kill())
	}
	return p
}

// kill kills a server to which somebody publishes.
func (f *fullDisk) kill(p *process, cancel context.CancelFunc, done <-chan error) {
	f.t.Helper()
	log := p.kill()
	cancel()
	<-done // the connection was closed
	if err := f.model.killed(f.t.Context(), f.Data, true); err != nil {
		f.t.Errorf("%v\n%s", err, log)
	}
	if f.t.Failed() {
		f.t.Log(log)
	}
}

// run has a server take a stream for some chunks and kills it. Only with room it can be
// asked for what it could not store before.
func (f *fullDisk) run(when string, room bool) {
	f.t.Helper()
	p := f.start()
	if room {
		if err := f.model.started(f.t.Context(), f.Data); err != nil {
			f.t.Error(err)
		}
	}
	ctx, cancel := context.WithCancel(f.t.Context())
	done := make(chan error, 1)
	go func() { done <- publish(ctx, p.rtmp) }()
	f.goesOn(p, when, 5)
	f.kill(p, cancel, done)
}

// goesOn waits until n more segments are listed, each of which is served.
func (f *fullDisk) goesOn(p *process, when string, n int) {
	f.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	seen := make(map[string]bool)
	for first := true; len(seen) < n; first = false {
		select {
		case <-tick.C:
		case <-deadline:
			f.t.Fatalf("%s: %d segments came", when, len(seen))
		}
		code, body, err := f.get(f.t.Context(), p.http+"video0/index.m3u8")
		if err != nil {
			f.t.Fatal(err)
		}
		if code != http.StatusOK {
			continue // it begins
		}
		m, err := new(hls.Reader).Media(body)
		if err != nil {
			f.t.Fatal(err)
		}
		f.model.observe("video0", m)
		for i := range m.Segments {
			s := &m.Segments[i]
			msn := m.Sequence + int64(i)
			known := f.model.renditions["video0"].known[msn]
			if s.URI == "" || s.Gap || known.bytes != "" {
				continue
			}
			f.segment(f.t.Context(), p, "video0", msn)
			if first && known.run < f.model.run {
				continue
			}
			seen[s.URI] = true
		}
	}
	f.t.Logf("%s: %d segments", when, len(seen))
}
