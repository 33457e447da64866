package server

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cleave-video/cleave/cut"
	"github.com/cleave-video/cleave/deliver/keys"
	"github.com/cleave-video/cleave/live"
	"github.com/cleave-video/cleave/seal"
	"github.com/cleave-video/cleave/seal/vault"
)

// KeysDir is the folder of keys in the data folder.
const KeysDir = "+keys"

// Encryption says how the streams are encrypted whose names match.
type Encryption struct {
	// Streams are patterns of names, in which "*" stands for anything; none: all.
	Streams []string    `yaml:"streams"`
	Scheme  seal.Scheme `yaml:"scheme"`
	// Rotation is when the key changes; zero: when the server is started anew.
	Rotation Rotation `yaml:"key_rotation"`

	// Keys are in a file, or come from a service, which is asked with a token; else they
	// are made.
	KeyFile         string `yaml:"key_file"`
	KeyService      string `yaml:"key_service"`
	KeyServiceToken string `yaml:"key_service_token"`

	// Keys are given to who shows one of the tokens, or to everybody if they are public;
	// or, if there is a URL, not by this server.
	KeyTokens  []string `yaml:"key_tokens"`
	PublicKeys bool     `yaml:"public_keys"`
	KeyURL     string   `yaml:"key_url"` // with "{kid}" for a key's ID

	KeyFormat  cut.KeyFormat `yaml:"key_format"`  // of samples in HLS; empty: cut.Identity
	LicenseURL string        `yaml:"license_url"` // of ClearKey in the manifest, with "{stream}" for the name

	AllowClear bool `yaml:"allow_clear"` // viewers of packets see them in the clear
}

// Rotation is after how many chunks, or how much time, a key changes: "30", "10m".
type Rotation struct {
	Chunks uint64
	Every  time.Duration
}

// UnmarshalText reads a number or a duration.
func (r *Rotation) UnmarshalText(text []byte) (err error) {
	s := strings.TrimSpace(string(text))
	if n, err := strconv.ParseUint(s, 10, 32); err == nil {
		*r = Rotation{Chunks: n}
		return nil
	}
	*r = Rotation{}
	if r.Every, err = time.ParseDuration(s); err != nil || r.Every < 0 {
		return fmt.Errorf("%q is neither a number of chunks, as 30, nor a time, as 10m", s)
	}
	return nil
}

// matches reports whether a name matches a pattern.
func matches(pattern, name string) bool {
	first, rest, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == name
	}
	if !strings.HasPrefix(name, first) {
		return false
	}
	for name = name[len(first):]; ; name = name[1:] {
		if matches(rest, name) {
			return true
		}
		if name == "" {
			return false
		}
	}
}

func (e *Encryption) matches(name string) bool {
	return len(e.Streams) == 0 || slices.ContainsFunc(e.Streams, func(p string) bool { return matches(p, name) })
}

// validate reports which settings are wrong together, and why.
func (e *Encryption) validate(parts bool) error {
	scheme, err := seal.ParseScheme(string(e.Scheme))
	switch {
	case err != nil:
		return err
	case scheme == seal.None && (e.KeyFile != "" || e.KeyService != "" || len(e.KeyTokens) > 0 || e.KeyURL != "" || e.LicenseURL != "" || e.Rotation != Rotation{} || e.PublicKeys || e.KeyFormat == cut.ClearKey):
		return errors.New("keys are set up, but nothing is to be encrypted: choose a scheme")
	case scheme == seal.None:
		return nil
	case e.KeyFormat != "" && e.KeyFormat != cut.Identity && e.KeyFormat != cut.ClearKey:
		return fmt.Errorf("key_format %q is neither identity nor clearkey", e.KeyFormat)
	case slices.ContainsFunc(e.Streams, func(p string) bool { return strings.Count(p, "*") > 4 }):
		return errors.New("streams: a pattern has at most four *")
	}
	if err := errors.Join(e.validateKeys(), e.validatePlayers()); err != nil {
		return err
	}
	x := e.sealing("s", &vault.Vault{})
	if err := x.Validate(parts); err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), "live: "))
	}
	return nil
}

// validateKeys reports what is wrong with where keys come from.
func (e *Encryption) validateKeys() error {
	switch {
	case e.KeyFile != "" && e.KeyService != "":
		return errors.New("key_file and key_service: keys come from one of them")
	case e.KeyService == "" && e.KeyServiceToken != "":
		return errors.New("key_service_token without key_service")
	case e.KeyURL != "" && e.KeyFile == "" && e.KeyService == "":
		return errors.New("with key_url keys must come from a file or a service: nobody else would know those that are made here")
	case e.KeyService != "":
		return (&seal.Service{URL: e.KeyService}).Validate()
	case e.KeyFile != "":
		_, err := seal.ReadFile(e.KeyFile)
		return err
	}
	return nil
}

// validatePlayers reports what is wrong with where players get keys.
func (e *Encryption) validatePlayers() error {
	guarded := len(e.KeyTokens) > 0
	switch {
	case e.KeyURL != "" && (guarded || e.PublicKeys):
		return errors.New("with key_url this server gives no keys: key_tokens and public_keys would be of no use")
	case e.KeyURL == "" && !guarded && !e.PublicKeys:
		return errors.New("who may have the keys? Set key_tokens; or key_url, if another server gives them; or public_keys, if everybody may")
	case guarded && e.PublicKeys:
		return errors.New("key_tokens and public_keys: either some may have the keys, or everybody")
	case slices.Contains(e.KeyTokens, ""):
		return errors.New("key_tokens: one is empty")
	case e.KeyURL != "" && !strings.Contains(e.KeyURL, "{kid}"):
		return errors.New("key_url: it must have {kid} in it, for keys change")
	}
	for _, x := range []struct{ name, url string }{{"key_url", e.KeyURL}, {"license_url", e.LicenseURL}} {
		if x.url == "" {
			continue
		}
		if strings.ContainsFunc(x.url, func(r rune) bool { return r < ' ' || r == '"' || r == 0x7f }) {
			return fmt.Errorf("%s: there is a quote or a control character in it", x.name)
		}
		if u, err := url.Parse(strings.NewReplacer("{kid}", "0", "{stream}", "s").Replace(x.url)); err != nil || !u.IsAbs() {
			return fmt.Errorf("%s: it must be absolute: players do not agree on what else it would be relative to", x.name)
		}
	}
	return nil
}

// sealing is the encryption of a stream whose name matches.
func (e *Encryption) sealing(name string, v *vault.Vault) *live.Sealing {
	x := &live.Sealing{
		Scheme: e.Scheme, Vault: v, Supply: seal.Random{}, Chunks: e.Rotation.Chunks, Every: e.Rotation.Every, AllowClear: e.AllowClear,
		KeyURL: e.KeyURL, ClearKey: e.KeyFormat == cut.ClearKey, LicenseURL: strings.ReplaceAll(e.LicenseURL, "{stream}", name),
	}
	switch {
	case e.KeyFile != "":
		x.Supply = seal.File(e.KeyFile)
	case e.KeyService != "":
		x.Supply = &seal.Service{URL: e.KeyService, Token: e.KeyServiceToken}
	}
	return x
}

// encryption is that of all streams.
type encryption struct {
	rules  []Encryption
	guards []*keys.Guard // of each rule
	vault  *vault.Vault  // nil: nothing is encrypted
}

// openEncryption opens the vault, if anything is to be encrypted.
func openEncryption(c *Config) (*encryption, error) {
	x := &encryption{rules: c.Encryption}
	if !slices.ContainsFunc(x.rules, func(e Encryption) bool { return e.encrypts() }) {
		return x, nil
	}
	for i := range x.rules {
		x.guards = append(x.guards, keys.NewGuard(x.rules[i].KeyTokens...))
	}
	var err error
	x.vault, err = vault.Open(filepath.Join(c.Data, KeysDir))
	return x, err
}

func (e *Encryption) encrypts() bool { return e.Scheme != "" && e.Scheme != seal.None }

// rule returns the number of the first rule for a name, or -1 if it is in the clear.
func (x *encryption) rule(name string) int {
	i := slices.IndexFunc(x.rules, func(e Encryption) bool { return e.matches(name) })
	if i >= 0 && !x.rules[i].encrypts() {
		return -1
	}
	return i
}

// of says how a stream is encrypted.
func (x *encryption) of(name string) *live.Sealing {
	i := x.rule(name)
	if i < 0 {
		return nil
	}
	return x.rules[i].sealing(name, x.vault)
}

// find says where the keys of a stream are that this server gives.
func (x *encryption) find(name string) (*vault.Vault, *keys.Guard) {
	i := x.rule(name)
	if i < 0 || x.rules[i].KeyURL != "" || live.CheckName(name) != nil {
		return nil, nil
	}
	return x.vault, x.guards[i]
}
