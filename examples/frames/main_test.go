package main

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cleave-video/cleave/server"
)

// The program watches a stream that a server has, and what it saves are pictures.
func TestRuns(t *testing.T) {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is not installed: the example is compiled but not run")
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "frames")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	ctx, cancel := context.WithCancel(t.Context())
	addrs, ended := make(chan server.Addrs, 1), make(chan error, 1)
	go func() {
		ended <- server.Run(ctx, server.Config{
			HTTP: "127.0.0.1:0", RTMP: "127.0.0.1:0", RTSP: server.Off, SRT: server.Off, Admin: server.Off, Data: filepath.Join(dir, "data"),
			Ready: func(a server.Addrs) { addrs <- a },
		})
	}()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	var a server.Addrs
	select {
	case a = <-addrs:
	case err := <-ended:
		ended <- nil
		t.Fatal(err)
	}
	publisher := exec.CommandContext(ctx, "ffmpeg", strings.Fields("-v error -nostdin -re -f lavfi -i testsrc2=size=64x64:rate=25 "+
		"-c:v libx264 -preset ultrafast -g 25 -f flv rtmp://"+a.RTMP.String()+"/live/cam")...)
	if err := publisher.Start(); err != nil {
		t.Fatal(err)
	}
	defer publisher.Wait() // behind cancel, whose signal ends it
	defer cancel()
	url := "http://" + a.HTTP.String() + "/live/cam"
	var out []byte
	var err error
	deadline, tick := time.After(40*time.Second), time.NewTicker(200*time.Millisecond)
	defer tick.Stop()
	for waiting := true; waiting; { // until the publisher is there
		select {
		case <-tick.C:
		case <-deadline:
			waiting = false
		}
		if out, err = exec.Command(program, url, "60", dir).CombinedOutput(); err == nil || !strings.Contains(string(out), "404") {
			break
		}
	}
	if err != nil || strings.Count(string(out), "avc1.") < 60 || strings.Count(string(out), "key ") < 3 {
		t.Fatalf("%v\n%s", err, out)
	}
	saved, _ := filepath.Glob(filepath.Join(dir, "*.264"))
	if len(saved) == 0 {
		t.Fatal("no key frame was saved")
	}
	for _, name := range saved {
		if out, err := exec.Command("ffmpeg", "-v", "error", "-nostdin", "-i", name, "-f", "null", "-").CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}
