package server

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificate is a key pair of two files, which is read again when they change.
type certificate struct {
	cert, key string
	log       *slog.Logger

	mu      sync.Mutex // guards what follows
	pair    *tls.Certificate
	stamp   [2]time.Time // when the files were changed last
	checked time.Time
}

// checkEvery is how often handshakes look at the files.
const checkEvery = time.Second

// loadCertificate reads the files.
func loadCertificate(cert, key string, log *slog.Logger) (*certificate, error) {
	c := &certificate{cert: cert, key: key, log: log}
	stamp, err := c.stat()
	if err != nil {
		return nil, err
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, err
	}
	c.pair, c.stamp = &pair, stamp
	return c, nil
}

func (c *certificate) stat() (stamp [2]time.Time, err error) {
	for i, name := range []string{c.cert, c.key} {
		st, err := os.Stat(name)
		if err != nil {
			return stamp, err
		}
		stamp[i] = st.ModTime()
	}
	return stamp, nil
}

// at returns the pair as the files have it, looked at no more often than
// checkEvery. Files that cannot be read leave the pair as it was: they may be about
// to be replaced.
func (c *certificate) at(now time.Time) *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.checked) < checkEvery {
		return c.pair
	}
	c.checked = now
	stamp, err := c.stat()
	if err == nil && stamp == c.stamp {
		return c.pair
	}
	var pair tls.Certificate
	if err == nil {
		pair, err = tls.LoadX509KeyPair(c.cert, c.key)
	}
	if err != nil {
		c.log.Warn("the certificate is not read again", "err", err)
		return c.pair
	}
	c.pair, c.stamp = &pair, stamp
	c.log.Info("the certificate has been replaced", "file", c.cert)
	return c.pair
}

// config returns a configuration of servers.
func (c *certificate) config(protocols ...string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: protocols,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.at(time.Now()), nil },
	}
}

// certificate reads the key pair of c, nil if it has none.
func (c *Config) certificate() (*certificate, error) {
	if c.TLSCert == "" && c.TLSKey == "" {
		return nil, nil
	}
	if c.TLSCert == "" || c.TLSKey == "" {
		return nil, fmt.Errorf("server: --tls-cert and --tls-key go together")
	}
	pair, err := loadCertificate(c.TLSCert, c.TLSKey, c.Log)
	if err != nil {
		return nil, fmt.Errorf("server: --tls-cert, --tls-key: %w", err)
	}
	return pair, nil
}
