package libav

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os/exec"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec/h264"
	"github.com/cleave-video/cleave/format/libav/wire"
	"github.com/cleave-video/cleave/internal/nal"
)

// ErrRefused: libavcodec has looked at what it was given, and will not have it.
var ErrRefused = errors.New("libavcodec refused it")

// EncodeJob is a piece of a video track that is to be encoded anew, smaller.
type EncodeJob struct {
	Track *av.Track
	// Packets are in decode order and have their Dur. The first Before of them are only
	// what others refer to.
	Packets []av.Packet
	Before  int
	Height  int // of the pictures, even; the width follows
	Bitrate int64
	Rate    av.Rational // pictures a second, the same for all pieces of a track
}

// Encodes reports whether tracks of a codec can be encoded anew.
func Encodes(c av.Codec) bool { return pictureCodec(c) != "" }

// CheckEncoder returns an error unless the worker at path is there and has an encoder.
func CheckEncoder(ctx context.Context, path string) error {
	says := &tail{}
	cmd := exec.CommandContext(ctx, path, "encoder")
	cmd.Env, cmd.Stderr = environment(), says
	if err := cmd.Run(); err != nil {
		return fault("encoder", "%w: %v: %s", ErrNoWorker, err, says.line())
	}
	return nil
}

// encodeNice is by how much a worker stands back behind the server.
const encodeNice = 5

// Encode has a worker, the program at path, encode a piece of video as H.264 with lengths
// of four bytes. There is a packet for each that is shown, in that order, which is that of
// decoding: the n-th has the n-th PTS and the n-th DTS of the source. Key frames are where
// the source has them, and the first. The worker is ended when ctx is done; the packets are
// not read any more when Encode returns. The error is the cause of ctx, or wraps
// ErrNoWorker, ErrRefused, ErrCrashed, av.ErrTooLarge, or av.ErrUnsupported.
func Encode(ctx context.Context, path string, job *EncodeJob) (config []byte, packets []av.Packet, repeated int, err error) {
	head, in, err := job.input()
	if err != nil {
		return nil, nil, 0, err
	}
	bufs := net.Buffers{head}
	for _, b := range in {
		bufs = append(bufs, b)
	}
	out := &capped{left: job.limit()}
	if err := runEncoder(ctx, path, bufs, out); err != nil {
		return nil, nil, 0, err
	}
	var e wire.Encoded
	if err := e.Parse(out.b.Bytes()); err != nil {
		return nil, nil, 0, fault("encoded", "%w: %w", ErrCrashed, err)
	}
	return job.output(&e)
}

// runEncoder runs a worker; bufs are not read any more when it returns.
func runEncoder(ctx context.Context, path string, bufs net.Buffers, out *capped) error {
	says := &tail{}
	cmd := exec.CommandContext(ctx, path, "encode")
	cmd.Stdout, cmd.Stderr, cmd.Env, cmd.WaitDelay = out, says, environment(), time.Second
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	switch err := cmd.Start(); {
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		in.Close()
		return fault("encoder", "%w: %w", ErrNoWorker, err)
	case err != nil:
		in.Close()
		return fault("encoder", "%w: %w", ErrCrashed, err)
	}
	standBack(cmd.Process.Pid)
	var feed sync.WaitGroup
	feed.Go(func() {
		_, _ = bufs.WriteTo(in) // who does not read all of it says why
		in.Close()
	})
	err = cmd.Wait()
	feed.Wait() // Wait has closed the pipe
	switch {
	case out.left < 0:
		return fault("encoder", "%w: more than was asked for", av.ErrTooLarge)
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil && cmd.ProcessState.ExitCode() == 1:
		return fault("encoder", "%w: %s", ErrRefused, says.line())
	case err != nil:
		return fault("encoder", "%w: %v: %s", ErrCrashed, err, says.line())
	}
	return nil
}

// standBack makes a process nicer than it was started. It may be gone already.
func standBack(pid int) {
	if kernel, err := unix.Getpriority(unix.PRIO_PROCESS, pid); err == nil {
		_ = unix.Setpriority(unix.PRIO_PROCESS, pid, min(20-kernel+encodeNice, 19)) // getpriority(2): the system call returns 20 less nice
	}
}

// input is what the worker is told, and the payload.
func (j *EncodeJob) input() (head []byte, payload [][]byte, err error) {
	name := pictureCodec(j.Track.Codec)
	if name == "" {
		return nil, nil, fault("codec", "%w: %s is not decoded", av.ErrUnsupported, j.Track.Codec)
	}
	c := wire.Chunk{ChunkHead: wire.ChunkHead{
		Codec: name, Height: j.Height, Bitrate: j.Bitrate, Rate: [2]int32{int32(j.Rate.Num), int32(j.Rate.Den)}, Depth: j.depth(),
	}}
	if j.Track.Codec != av.VP9 { // whose record is nothing to libavcodec
		c.Config = j.Track.Config
	}
	for i := range j.Packets {
		p := &j.Packets[i]
		c.Units = append(c.Units, wire.Unit{Key: p.Flags&(av.Key|av.Gradual) == av.Key, Shown: i >= j.Before, Size: len(p.Data), PTS: p.PTS})
		payload = append(payload, p.Data)
	}
	if head, err = c.Append(nil); err != nil {
		return nil, nil, fault("chunk", "%w: %d packets, height %d, bitrate %d, rate %v", av.ErrTooLarge, len(j.Packets), j.Height, j.Bitrate, j.Rate)
	}
	return head, payload, nil
}

// depth is how many packets at most come before one and are shown behind it.
func (j *EncodeJob) depth() int {
	most := 0
	for i := range j.Packets {
		later := 0
		for k := max(0, i-maxReorder); k < i; k++ {
			if j.Packets[k].PTS > j.Packets[i].PTS {
				later++
			}
		}
		most = max(most, later)
	}
	return min(most, maxReorder)
}

// limit is more bytes than the piece can become at the rate asked for.
func (j *EncodeJob) limit() int {
	const spare = 1 << 20
	pictures := int64(len(j.Packets) - j.Before)
	return int(min(spare+4*(j.Bitrate/8+1)*pictures*int64(j.Rate.Den)/max(1, int64(j.Rate.Num)), 64<<20))
}

// output makes packets of what the worker wrote, which may be anything.
func (j *EncodeJob) output(e *wire.Encoded) (config []byte, packets []av.Packet, repeated int, err error) {
	bad := func(what string) error { return fault("encoded", "%w: %s", ErrCrashed, what) }
	if config, err = record(e.Config); err != nil {
		return nil, nil, 0, bad(err.Error())
	}
	shown := slices.Clone(j.Packets[j.Before:])
	dts, pts := make([]int64, len(shown)), make([]int64, len(shown))
	for i := range shown {
		dts[i], pts[i] = shown[i].DTS, shown[i].PTS
	}
	slices.Sort(pts)
	for i := range shown {
		p, err := e.Next()
		if err != nil || p.Rank != i || i == 0 && !p.Key {
			return nil, nil, 0, bad(fmt.Sprintf("picture %d of %d: %v", i, len(shown), err))
		}
		data, err := lengths(p.Data)
		if err != nil {
			return nil, nil, 0, bad(err.Error())
		}
		x := av.Packet{DTS: dts[i], PTS: pts[i], Dur: shown[i].Dur, Data: data}
		if p.Key {
			x.Flags = av.Key
		}
		packets = append(packets, x)
	}
	if _, err := e.Next(); !errors.Is(err, io.EOF) {
		return nil, nil, 0, bad("more pictures than were asked for")
	}
	return config, packets, e.Repeated, nil
}

// record makes the record of parameter sets in Annex B.
func record(b []byte) ([]byte, error) {
	var sps, pps [][]byte
	for pos := 0; ; {
		start, end, next := nal.Next(b, pos)
		if start < 0 {
			break
		}
		if unit := b[start:end]; len(unit) > 0 && len(unit) <= h264.MaxSet {
			switch h264.Type(unit) {
			case h264.TypeSPS:
				sps = append(sps, unit)
			case h264.TypePPS:
				pps = append(pps, unit)
			}
		}
		pos = next
	}
	c, err := h264.NewConfig(sps, pps)
	if err != nil {
		return nil, err
	}
	return c.Append(nil), nil
}

// lengths makes of an access unit in Annex B one with lengths of four bytes. What the
// encoder says of itself, in SEI, is left out.
func lengths(b []byte) ([]byte, error) {
	out := make([]byte, 0, len(b)+8)
	for pos := 0; ; {
		start, end, next := nal.Next(b, pos)
		if start < 0 {
			break
		}
		if unit := b[start:end]; len(unit) > 0 && h264.Type(unit) != h264.TypeSEI {
			n := len(unit)
			out = append(append(out, byte(n>>24), byte(n>>16), byte(n>>8), byte(n)), unit...)
		}
		pos = next
	}
	if len(out) == 0 {
		return nil, errors.New("a picture without a NAL unit")
	}
	return out, nil
}
