package rtmp

import (
	"net/url"
	"path"
	"strings"
	"unicode"
)

const maxName = 512

// splitQuery takes the query off a name as clients write it: "key?token=x".
func splitQuery(s string) (name string, query url.Values) {
	name, q, _ := strings.Cut(s, "?")
	query, err := url.ParseQuery(q)
	if err != nil {
		query = url.Values{}
	}
	return name, query
}

// cleanName joins an application and a stream key to "app/key". ok is false for
// what cannot be a name: without a key, too long, with dot elements, backslashes
// or characters that are not printed.
func cleanName(app, key string) (name string, ok bool) {
	app = strings.Trim(app, "/")
	app = strings.TrimSuffix(strings.TrimSuffix(app, "_definst_"), "/") // the default instance of FMS
	key = strings.Trim(key, "/")
	name = strings.Trim(app+"/"+key, "/")
	if key == "" || len(name) > maxName || path.Clean("/"+name) != "/"+name {
		return "", false
	}
	for _, r := range name {
		if !unicode.IsPrint(r) || r == '\\' || r == unicode.ReplacementChar {
			return "", false
		}
	}
	return name, true
}
