package server

import (
	"fmt"
	"os"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/cleave-video/cleave/deliver/frames"
	"github.com/cleave-video/cleave/ingest/pull"
	"github.com/cleave-video/cleave/internal/size"
	"github.com/cleave-video/cleave/store/s3"
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
	S3            *FileS3       `yaml:"s3"`
	Spool         string        `yaml:"spool"`
	SpoolFree     size.Bytes    `yaml:"spool_free"`
	Target        time.Duration `yaml:"target"`
	MaxChunk      time.Duration `yaml:"max_chunk"`
	Window        time.Duration `yaml:"window"`
	Grace         time.Duration `yaml:"grace"`
	Part          time.Duration `yaml:"part"`
	LowLatency    *bool         `yaml:"low_latency"`
	Takeover      bool          `yaml:"takeover"`
	Streams       int           `yaml:"streams"`
	PerAddress    int           `yaml:"streams_per_address"`
	Viewers       int           `yaml:"viewers"`
	ViewersEach   int           `yaml:"viewers_per_address"`
	Waiting       int           `yaml:"waiting"`
	WaitingEach   int           `yaml:"waiting_per_address"`
	Memory        size.Bytes    `yaml:"memory"`
	StreamMemory  size.Bytes    `yaml:"stream_memory"`
	Viewer        size.Bytes    `yaml:"viewer"`
	AllowPrivate  bool          `yaml:"allow_private"`
	Sources       []FileSource  `yaml:"sources"`
	Files         []FileFolder  `yaml:"files"`
	FilesIndex    size.Bytes    `yaml:"files_index"`
	Encryption    []Encryption  `yaml:"encryption"`
	Encode        *Encode       `yaml:"encode"`
	Retention     []Retention   `yaml:"retention"`

	Responses     map[string]string `yaml:"responses"`
	WriteDeadline time.Duration     `yaml:"write_deadline"`
	TLSCoalesce   *bool             `yaml:"tls_coalesce"`

	OnDemandTimeout time.Duration `yaml:"on_demand_timeout"`
	OnDemandIdle    time.Duration `yaml:"on_demand_idle"`
}

// FileFolder is a folder of stored files.
type FileFolder struct {
	Name string `yaml:"name"`
	Dir  string `yaml:"dir"`
}

// FileSource is a declared source.
type FileSource struct {
	Name     string `yaml:"name"`
	URL      string `yaml:"url"`
	OnDemand bool   `yaml:"on_demand"`
}

// FileS3 is a bucket that chunks are kept in. Keys that are left out are those of the
// environment, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN.
type FileS3 struct {
	Endpoint  string `yaml:"endpoint"`
	Bucket    string `yaml:"bucket"`
	Prefix    string `yaml:"prefix"`
	Region    string `yaml:"region"`
	AccessKey string `yaml:"access_key"`
	SecretKey string `yaml:"secret_key"`
	Insecure  bool   `yaml:"insecure"` // without TLS
	PathStyle bool   `yaml:"path_style"`
}

func (f *FileS3) config() *s3.Config {
	c := &s3.Config{
		Endpoint: f.Endpoint, Bucket: f.Bucket, Prefix: f.Prefix, Region: f.Region, AccessKey: f.AccessKey, SecretKey: f.SecretKey,
		Secure: !f.Insecure, PathStyle: f.PathStyle,
	}
	if c.AccessKey == "" && c.SecretKey == "" {
		c.AccessKey, c.SecretKey, c.Token = os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY"), os.Getenv("AWS_SESSION_TOKEN")
	}
	return c
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
	fill(map[*string]string{
		&c.HTTP:          f.HTTP,
		&c.HTTPS:         f.HTTPS,
		&c.RTMP:          f.RTMP,
		&c.RTMPS:         f.RTMPS,
		&c.SRT:           f.SRT,
		&c.SRTPassphrase: f.SRTPassphrase,
		&c.RTSP:          f.RTSP,
		&c.RTSPS:         f.RTSPS,
		&c.RTP:           f.RTSPUDP,
		&c.Admin:         f.Admin,
		&c.TLSCert:       f.TLSCert,
		&c.TLSKey:        f.TLSKey,
		&c.Data:          f.Data,
		&c.Spool:         f.Spool,
	})
	fill(map[*time.Duration]time.Duration{
		&c.SRTLatency:      f.SRTLatency,
		&c.OnDemandTimeout: f.OnDemandTimeout,
		&c.OnDemandIdle:    f.OnDemandIdle,
		&c.Live.Target:     f.Target,
		&c.Live.MaxChunk:   f.MaxChunk,
		&c.Live.Window:     f.Window,
		&c.Live.Grace:      f.Grace,
		&c.Live.Part:       f.Part,
		&c.WriteDeadline:   f.WriteDeadline,
	})
	fill(map[*int64]int64{
		&c.Live.Memory: int64(f.Memory), &c.Live.StreamMemory: int64(f.StreamMemory), &c.Live.Viewer: int64(f.Viewer),
		&c.SpoolFree: int64(f.SpoolFree), &c.FilesIndex: int64(f.FilesIndex),
	})
	fill(map[*int]int{
		&c.Live.Streams:           f.Streams,
		&c.Live.PerAddress:        f.PerAddress,
		&c.Live.Viewers:           f.Viewers,
		&c.Live.ViewersPerAddress: f.ViewersEach,
		&c.Live.Waiting:           f.Waiting,
		&c.Live.WaitingPerAddress: f.WaitingEach,
	})
	if c.S3 == nil && f.S3 != nil {
		c.S3 = f.S3.config()
	}
	if off(f.LowLatency) {
		c.Live.Part = -1
	}
	f.answers(c)
	if len(c.Encryption) == 0 {
		c.Encryption = f.Encryption
	}
	if c.Encode == nil {
		c.Encode = f.Encode
	}
	if len(c.Retention) == 0 {
		c.Retention = f.Retention
	}
	c.Live.Takeover = c.Live.Takeover || f.Takeover
	c.AllowPrivate = c.AllowPrivate || f.AllowPrivate
	for _, s := range f.Sources {
		c.Sources = append(c.Sources, pull.Source{Name: s.Name, URL: s.URL, OnDemand: s.OnDemand})
	}
	for _, d := range f.Files {
		c.Files = append(c.Files, frames.Folder{Name: d.Name, Dir: d.Dir})
	}
}

// answers fills in what c leaves open of how answers are written.
func (f *File) answers(c *Config) {
	if c.Responses == nil {
		c.Responses = f.Responses
	}
	c.EachRecord = c.EachRecord || off(f.TLSCoalesce)
}

// fill gives each setting that is not given its value.
func fill[T comparable](settings map[*T]T) {
	var none T
	for to, from := range settings {
		if *to == none {
			*to = from
		}
	}
}

// off reports whether what may be left out is false.
func off(b *bool) bool { return b != nil && !*b }
