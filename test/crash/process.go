package crash

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync"
)

// process is a server of its own.
type process struct {
	cmd        *exec.Cmd
	http, rtmp string
	ready      chan struct{} // closed when both are known, or the process has ended
	log        bytes.Buffer  // what it wrote; to be read after stop
	group      sync.WaitGroup
}

// run starts a server on free ports of the loopback, with short chunks.
func run(ctx context.Context, binary, data string, args ...string) (*process, error) {
	p := &process{ready: make(chan struct{})}
	p.cmd = exec.CommandContext(ctx, binary, append([]string{
		"serve", "--data", data, "--http", "127.0.0.1:0", "--rtmp", "127.0.0.1:0", "--rtsp", "off", "--srt", "off", "--admin", "off",
		"--target", "200ms", "--part", "100ms", "--max-chunk", "1s", "--window", "10s",
	}, args...)...)
	p.cmd.Stderr = &p.log
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	p.group.Go(func() {
		defer close(p.ready)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			for word := range strings.FieldsSeq(lines.Text()) {
				if at, ok := strings.CutSuffix(word, "/live/NAME"); ok && strings.HasPrefix(at, "rtmp://") {
					p.rtmp = at + "/" + stream
				}
				if at, ok := strings.CutSuffix(word, "/live/NAME/"); ok && strings.HasPrefix(at, "http://") {
					p.http = at + "/" + stream + "/"
					return
				}
			}
		}
	})
	return p, nil
}

// started reports whether the server listens.
func (p *process) started() error {
	if p.http == "" || p.rtmp == "" {
		return fmt.Errorf("the server did not start")
	}
	return nil
}

// kill ends the process by SIGKILL and returns its log.
func (p *process) kill() string {
	_ = p.cmd.Process.Kill()
	p.group.Wait()
	_ = p.cmd.Wait() // killed
	return p.log.String()
}
