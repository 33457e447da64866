package rtmp_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/proto/rtmp"
)

// A server that counts packets until it is interrupted.
func ExampleServer() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	l, err := net.Listen("tcp", ":1935")
	if err != nil {
		fmt.Println(err)
		return
	}
	s := &rtmp.Server{Config: rtmp.Config{
		Publish: func(_ context.Context, p *rtmp.Publisher) error {
			if p.Query().Get("token") != "secret" {
				return &rtmp.Refused{Code: rtmp.Denied, Description: "wrong token"}
			}
			for n := 0; ; n++ {
				if _, err := p.ReadPacket(av.Heap{}); err != nil && !errors.Is(err, av.ErrTracks) {
					fmt.Println(p.Name(), n, err)
					return err
				}
			}
		},
	}}
	if err := s.Serve(ctx, l); err != nil {
		fmt.Println(err)
	}
}
