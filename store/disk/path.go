package disk

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cleave-video/cleave/store"
)

// An object's path is its key, but where the last part of the key begins with a
// number of at least perShard, a folder is put between: "cam1/1/0000005000.chunk"
// lies in "cam1/1/+10-4/0000005000.chunk". Chunks are numbered, so that no folder
// has more than perShard files of them, and the oldest leave whole folders empty.
// No key contains shardMark.
const (
	perShard  = 1024
	shardMark = '+'
)

// path returns the file of a key.
func (d *Disk) path(key string) (string, error) {
	if err := store.CheckKey(key); err != nil {
		return "", err
	}
	if key == tmpDir || strings.HasPrefix(key, tmpDir+"/") {
		return "", fmt.Errorf("%w: %q is reserved", store.ErrKey, key)
	}
	dir, base := "", key
	if i := strings.LastIndexByte(key, '/'); i >= 0 {
		dir, base = key[:i], key[i+1:]
	}
	return filepath.Join(d.root, filepath.FromSlash(dir), shard(base), base), nil
}

// shard returns the folder that is put before a name, or "": a mark, the number
// of digits that the name begins with, and their value by perShard.
func shard(name string) string {
	digits := 0
	for digits < len(name) && '0' <= name[digits] && name[digits] <= '9' {
		digits++
	}
	if digits > 18 {
		return ""
	}
	n, err := strconv.ParseUint(name[:digits], 10, 64)
	if err != nil || n < perShard {
		return ""
	}
	return fmt.Sprintf("%c%d-%d", shardMark, digits, n/perShard)
}

// leastIn returns a name that none in that shard comes before.
func leastIn(shard string) (string, bool) {
	w, k, ok := strings.Cut(strings.TrimPrefix(shard, string(shardMark)), "-")
	digits, err1 := strconv.Atoi(w)
	n, err2 := strconv.ParseUint(k, 10, 64)
	if !ok || err1 != nil || err2 != nil || digits > 18 {
		return "", false
	}
	return fmt.Sprintf("%0*d", digits, n*perShard), true
}
