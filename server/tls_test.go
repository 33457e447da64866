package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cleave-video/cleave/live"
)

// writePair writes a certificate of its own for a name, as changed at a time.
func writePair(t *testing.T, dir, name string, changed time.Time) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "EC PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, changed, changed); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func common(t *testing.T, c *tls.Certificate) string {
	t.Helper()
	x, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return x.Subject.CommonName
}

// A certificate that was replaced is used from the next look on; one that cannot be
// read leaves the old one.
func TestCertificateReload(t *testing.T) {
	dir := t.TempDir()
	now := time.Unix(1_700_000_000, 0)
	cert, key := writePair(t, dir, "first", now)
	c, err := loadCertificate(cert, key, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if got := common(t, c.at(now)); got != "first" {
		t.Errorf("%s", got)
	}
	writePair(t, dir, "second", now.Add(time.Minute))
	if got := common(t, c.at(now.Add(checkEvery-1))); got != "first" {
		t.Errorf("%s before it is time to look", got)
	}
	if got := common(t, c.at(now.Add(checkEvery))); got != "second" {
		t.Errorf("%s", got)
	}
	if err := os.WriteFile(cert, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := common(t, c.at(now.Add(2*checkEvery))); got != "second" {
		t.Errorf("%s after a broken one", got)
	}
	writePair(t, dir, "third", now.Add(2*time.Minute))
	if got := common(t, c.at(now.Add(3*checkEvery))); got != "third" {
		t.Errorf("%s", got)
	}
	for _, files := range [][2]string{{"", "x"}, {"x", ""}, {"/nowhere", key}} {
		if _, err := (&Config{TLSCert: files[0], TLSKey: files[1]}).certificate(); err == nil || !strings.Contains(err.Error(), "--tls-cert") {
			t.Errorf("%v: %v", files, err)
		}
	}
}

// RTMPS and RTSPS are published to, HTTPS is published to and read.
func TestTLS(t *testing.T) {
	t.Parallel()
	ffmpeg, curl := need(t, "ffmpeg"), need(t, "curl")
	cert, key := writePair(t, t.TempDir(), "localhost", time.Now())
	s := startWith(t, Config{Live: live.Config{Target: time.Second}, TLSCert: cert, TLSKey: key})
	for name, to := range map[string][]string{
		"live/rtmps": {"-f", "flv", "rtmps://" + s.addrs.RTMPS.String() + "/live/rtmps"},
		"live/rtsps": {"-f", "rtsp", "-rtsp_transport", "tcp", "rtsps://" + s.addrs.RTSPS.String() + "/live/rtsps"},
		"live/https": {"-f", "mpegts", "-method", "PUT", "https://" + s.addrs.HTTPS.String() + "/live/https.ts"},
	} {
		t.Run(name, func(t *testing.T) {
			stop := publishBy(t, ffmpeg, append(strings.Fields(testPicture), to...)...)
			defer stop()
			arrives(t, s, name, h264AndAAC...)
		})
	}
	out, err := exec.CommandContext(t.Context(), curl, "-sS", "-f", "--http2", "--cacert", cert, "-o", "/dev/null", "-w", "%{http_version}", "https://"+s.addrs.HTTPS.String()+"/").CombinedOutput()
	if err != nil || string(out) != "2" {
		t.Errorf("HTTPS: %v %s", err, out)
	}
}
