package peer

import "testing"

func TestKey(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.1:1935":            "192.0.2.1",
		"192.0.2.1":                 "192.0.2.1",
		"[::ffff:192.0.2.1]:80":     "192.0.2.1",
		"[2001:db8:1:2:3:4:5:6]:80": "2001:db8:1:2::/64",
		"2001:db8:1:2::9":           "2001:db8:1:2::/64",
		"[fe80::1%eth0]:80":         "fe80::/64",
		"[::1]:80":                  "::/64",
		"@":                         "@",
		"":                          "",
	} {
		if got := Key(address); got != want {
			t.Errorf("%q: %q, want %q", address, got, want)
		}
	}
}
