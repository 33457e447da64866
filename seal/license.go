package seal

import (
	"encoding/base64"
	"encoding/json"
)

// License returns what a ClearKey server answers: keys, as JSON. W3C EME 9.1.4, RFC 7518 6.4
func License(keys []Key) ([]byte, error) {
	type jwk struct {
		Kty string `json:"kty"`
		Kid string `json:"kid"`
		K   string `json:"k"`
	}
	var license struct {
		Keys []jwk  `json:"keys"`
		Type string `json:"type"`
	}
	license.Type = "temporary"
	text := base64.RawURLEncoding.EncodeToString
	for i := range keys {
		license.Keys = append(license.Keys, jwk{"oct", text(keys[i].ID[:]), text(keys[i].Key[:])})
	}
	return json.Marshal(&license)
}
