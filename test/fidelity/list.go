package fidelity

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// folders of the media that hold the containers cut reads.
var folders = []string{"mp4", "fmp4", "ts", "flv", "raw", "audio"}

// Files lists the files below a folder of media, by name.
func Files(media string) (l []string, err error) {
	for _, kind := range folders {
		found, err := filepath.Glob(filepath.Join(media, kind, "*"))
		if err != nil {
			return nil, err
		}
		slices.Sort(found)
		l = append(l, found...)
	}
	return l, nil
}

// ReadKeys reads KEYS.tsv: by name, which packets of the first video track are key
// pictures.
func ReadKeys(media string) (map[string][]int, error) {
	f, err := os.Open(filepath.Join(media, "KEYS.tsv"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	l := map[string][]int{}
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		row := strings.Split(s.Text(), "\t")
		if len(row) < 5 {
			continue
		}
		var at []int
		for _, field := range strings.Fields(row[4]) {
			n, err := strconv.Atoi(field)
			if err != nil {
				at = nil
				break
			}
			at = append(at, n)
		}
		if at != nil {
			l[row[0]] = at
		}
	}
	return l, s.Err()
}
