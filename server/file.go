package server

import (
	"fmt"
	"os"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/cleave-video/cleave/ingest/pull"
	"github.com/cleave-video/cleave/internal/size"
)

// File is a configuration file. What it leaves out is as in Config.
type File struct {
	HTTP          string        `yaml:"http"`
	HTTPS         string        `yaml:"https"`
	RTMP          string        `yaml:"rtmp"`
	RTMPS         string        `yaml:"rtmps"`
	SRT           string        `yaml:"srt"`
	SRTPassphrase string        `yaml:"srt_passphrase"`
	SRTLatency    time.Duration `yaml:"srt_latency"`
	RTSP          string        `yaml:"rtsp"`
	RTSPS         string        `yaml:"rtsps"`
	RTSPUDP       string        `yaml:"rtsp_udp"`
	Admin         string        `yaml:"admin"`
	TLSCert       string        `yaml:"tls_cert"`
	TLSKey        string        `yaml:"tls_key"`
	Data          string        `yaml:"data"`
	Target        time.Duration `yaml:"target"`
	MaxChunk      time.Duration `yaml:"max_chunk"`
	Window        time.Duration `yaml:"window"`
	Grace         time.Duration `yaml:"grace"`
	Part          time.Duration `yaml:"part"`
	LowLatency    *bool         `yaml:"low_latency"`
	Takeover      bool          `yaml:"takeover"`
	Streams       int           `yaml:"streams"`
	PerAddress    int           `yaml:"streams_per_address"`
	Memory        size.Bytes    `yaml:"memory"`
	StreamMemory  size.Bytes    `yaml:"stream_memory"`
	Viewer        size.Bytes    `yaml:"viewer"`
	AllowPrivate  bool          `yaml:"allow_private"`
	Sources       []FileSource  `yaml:"sources"`
}

// FileSource is a declared source.
type FileSource struct {
	Name string `yaml:"name"`
	URL  string `yaml:"url"`
}

// ReadFile reads a configuration file. A key that is not known is an error, which
// names line and column.
func ReadFile(name string) (File, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return File{}, err
	}
	var f File
	if err := yaml.UnmarshalWithOptions(b, &f, yaml.Strict()); err != nil {
		return File{}, fmt.Errorf("%s: %s", name, yaml.FormatError(err, false, true))
	}
	return f, nil
}

// Apply fills in what c leaves open.
func (f *File) Apply(c *Config) {
	for _, s := range []struct {
		to   *string
		from string
	}{
		{&c.HTTP, f.HTTP},
		{&c.HTTPS, f.HTTPS},
		{&c.RTMP, f.RTMP},
		{&c.RTMPS, f.RTMPS},
		{&c.SRT, f.SRT},
		{&c.SRTPassphrase, f.SRTPassphrase},
		{&c.RTSP, f.RTSP},
		{&c.RTSPS, f.RTSPS},
		{&c.RTP, f.RTSPUDP},
		{&c.Admin, f.Admin},
		{&c.TLSCert, f.TLSCert},
		{&c.TLSKey, f.TLSKey},
		{&c.Data, f.Data},
	} {
		if *s.to == "" {
			*s.to = s.from
		}
	}
	for _, d := range []struct {
		to   *time.Duration
		from time.Duration
	}{
		{&c.SRTLatency, f.SRTLatency},
		{&c.Live.Target, f.Target},
		{&c.Live.MaxChunk, f.MaxChunk},
		{&c.Live.Window, f.Window},
		{&c.Live.Grace, f.Grace},
		{&c.Live.Part, f.Part},
	} {
		if *d.to == 0 {
			*d.to = d.from
		}
	}
	for _, n := range []struct {
		to   *int64
		from size.Bytes
	}{{&c.Live.Memory, f.Memory}, {&c.Live.StreamMemory, f.StreamMemory}, {&c.Live.Viewer, f.Viewer}} {
		if *n.to == 0 {
			*n.to = int64(n.from)
		}
	}
	for _, n := range []struct{ to, from *int }{{&c.Live.Streams, &f.Streams}, {&c.Live.PerAddress, &f.PerAddress}} {
		if *n.to == 0 {
			*n.to = *n.from
		}
	}
	if f.LowLatency != nil && !*f.LowLatency {
		c.Live.Part = -1
	}
	c.Live.Takeover = c.Live.Takeover || f.Takeover
	c.AllowPrivate = c.AllowPrivate || f.AllowPrivate
	for _, s := range f.Sources {
		c.Sources = append(c.Sources, pull.Source{Name: s.Name, URL: s.URL})
	}
}
