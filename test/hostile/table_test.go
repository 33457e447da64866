package hostile

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// testName is how docs/hostile.md names a test: its folder, then its function.
var testName = regexp.MustCompile("`([a-z0-9/]+)\\.((?:Test|Fuzz)[A-Za-z0-9]+)`")

// TestTable: every row of docs/hostile.md names tests that exist, or says why
// there is none yet.
func TestTable(t *testing.T) {
	root := filepath.Join("..", "..")
	b, err := os.ReadFile(filepath.Join(root, "docs", "hostile.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(string(b)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 4 || strings.TrimSpace(cells[0]) == "row" || strings.Contains(cells[0], "---") {
			continue
		}
		rows++
		names := testName.FindAllStringSubmatch(cells[3], -1)
		if len(names) == 0 && !strings.Contains(cells[2], "not yet") {
			t.Errorf("no test: %s", line)
		}
		for _, n := range names {
			if !exists(t, filepath.Join(root, n[1]), n[2]) {
				t.Errorf("%s has no %s: %s", n[1], n[2], line)
			}
		}
	}
	if rows < 30 {
		t.Errorf("%d rows", rows)
	}
}

func exists(t *testing.T, dir, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), "\nfunc "+name+"(") {
			return true
		}
	}
	return false
}
