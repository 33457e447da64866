// Command cleave cuts live and stored video streams along their GOPs and serves
// the pieces.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"reflect"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/cleave-video/cleave/internal/plain"
)

// The exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// errReported is returned by a command that has said itself what went wrong.
var errReported = errors.New("failed")

// commands is the command line.
type commands struct {
	Cut     cutCommand     `cmd:"" help:"Cut a media file, standard input or URL into GOP-exact chunks with HLS and DASH."`
	Probe   probeCommand   `cmd:"" help:"Show tracks, frame rates, GOPs and key frames of an input."`
	Verify  verifyCommand  `cmd:"" help:"Check packaged media or a live stream against the rules of HLS, DASH, CMAF and MPEG-TS."`
	Index   indexCommand   `cmd:"" help:"Look after the index of what is stored."`
	Serve   serveCommand   `cmd:"" help:"Take live streams in (RTMP, RTSP, SRT, HTTP, pulled) and serve them (HLS, DASH, FLV, TS, MP4, RTMP, RTSP, SRT)."`
	Version versionCommand `cmd:"" help:"Show the version."`
}

func main() { os.Exit(run(os.Args[1:])) }

// run does what args say and returns the exit code. The first interrupt or
// SIGTERM ends the work in order; a second one ends the process.
func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)

	var c commands
	parser, err := kong.New(&c,
		kong.Name("cleave"),
		kong.Description("Cuts live and stored video along its GOPs and serves the pieces."),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.KindMapper(reflect.String, textMapper(func(s string) string { return s })),
		kong.NamedMapper("path", textMapper(kong.ExpandPath)),
	)
	if err != nil {
		panic(err) // the declarations above are wrong
	}
	k, err := parser.Parse(args)
	if err != nil {
		var parse *kong.ParseError
		if errors.As(err, &parse) && len(args) == 0 {
			_ = parse.Context.PrintUsage(false)
			return exitUsage
		}
		fmt.Fprintf(os.Stderr, "cleave: %v\nTry 'cleave --help'.\n", err)
		return exitUsage
	}
	switch err := k.Run(); {
	case err == nil:
		return exitDone
	case errors.Is(err, errReported):
		return exitFailed
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "cleave: interrupted; nothing was left behind")
		return exitFailed
	default:
		var usage *usageError
		fmt.Fprintf(os.Stderr, "cleave: %s\n", lines(err))
		if errors.As(err, &usage) {
			return exitUsage
		}
		return exitFailed
	}
}

// lines is an error as the terminal may have it: names and texts of inputs are
// strangers' words.
func lines(err error) string {
	all := strings.Split(err.Error(), "\n")
	for i := range all {
		all[i] = plain.Text(all[i])
	}
	return strings.Join(all, "\n")
}

// textMapper takes values as they are, then through a function. Kong's own goes by way
// of JSON, and so gives a file whose name is not UTF-8 another one.
func textMapper(through func(string) string) kong.MapperFunc {
	return func(ctx *kong.DecodeContext, target reflect.Value) error {
		token, err := ctx.Scan.PopValue("string")
		if err != nil {
			return err
		}
		s, ok := token.Value.(string)
		if !ok {
			return fmt.Errorf("expected a string, not %v", token.Value)
		}
		if s != "" {
			s = through(s)
		}
		target.SetString(s)
		return nil
	}
}

// usageError is a fault of the command line that only the command could see.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }
