package main

import (
	"errors"

	"github.com/cleave-video/cleave/cut"
	"github.com/cleave-video/cleave/seal"
	"github.com/cleave-video/cleave/server"
)

// liveKeyFlags are the flags of encryption of all streams; a configuration file can say
// more, and of each stream something else.
type liveKeyFlags struct {
	Encrypt     string          `default:"none" enum:"none,aes-128,cbcs,cenc" help:"Encrypt every stream, whatever the configuration file says: ${enum}; aes-128 without low latency only."`
	KeyFile     string          `name:"key-file" type:"path" placeholder:"FILE" help:"Keys to use, one a line: ID:KEY or ID:KEY:IV in hexadecimal. Without it keys are made."`
	KeyRotation server.Rotation `name:"key-rotation" placeholder:"N|TIME" help:"Use the next key after N chunks, or so much time, as 10m."`
	KeyToken    []string        `name:"key-token" env:"CLEAVE_KEY_TOKEN" placeholder:"TEXT" help:"Give keys to players that show this."`
	PublicKeys  bool            `name:"public-keys" help:"Give keys to everybody."`
	KeyFormat   string          `name:"key-format" default:"identity" enum:"identity,clearkey" help:"Who decrypts samples of HLS: identity is the player, clearkey a browser's module, as hls.js needs it."`
	LicenseURL  string          `name:"license-url" placeholder:"URL" help:"Where ClearKey players of the DASH manifest ask for keys, {stream} for its name."`
	AllowClear  bool            `name:"allow-clear" help:"Let viewers of FLV, TS, RTMP and frames see encrypted streams in the clear."`
}

// encryption is nil unless a scheme is chosen.
func (f *liveKeyFlags) encryption() ([]server.Encryption, error) {
	e := server.Encryption{
		Scheme: seal.Scheme(f.Encrypt), Rotation: f.KeyRotation, KeyFile: f.KeyFile, KeyTokens: f.KeyToken, PublicKeys: f.PublicKeys,
		KeyFormat: cut.KeyFormat(f.KeyFormat), LicenseURL: f.LicenseURL, AllowClear: f.AllowClear,
	}
	if e.Scheme != seal.None {
		return []server.Encryption{e}, nil
	}
	if f.KeyFile != "" || f.KeyRotation != (server.Rotation{}) || f.PublicKeys || f.LicenseURL != "" || f.AllowClear || e.KeyFormat == cut.ClearKey {
		return nil, errors.New("keys are set up, but nothing is to be encrypted: choose --encrypt")
	}
	return nil, nil
}
