package browser

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// Tests of several packages begin at once, and the first of them installs: an npm that
// runs beside another in one folder destroys what that has made.
func TestInstallOnce(t *testing.T) {
	dir := t.TempDir()
	npm := filepath.Join(dir, "npm")
	// It makes the folder as npm ci does: away with the old one first.
	script := "#!/bin/sh\nset -e\necho run >> runs\nrm -rf node_modules\nmkdir node_modules\nfor i in 1 2 3 4 5 6 7 8 9; do mkdir node_modules/$i; done\nrmdir node_modules/9\n"
	if err := os.WriteFile(npm, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	for i, lock := range []string{"{}\n", "{ }\n"} {
		if err := os.WriteFile(filepath.Join(dir, "package-lock.json"), []byte(lock), 0o644); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if out, err := install(npm, dir); err != nil {
					t.Errorf("%v\n%s", err, out)
				}
			})
		}
		wg.Wait()
		runs, err := os.ReadFile(filepath.Join(dir, "runs"))
		if want := 4 * (i + 1); err != nil || len(runs) != want {
			t.Errorf("after lock file %d npm ran for %q, %v; want one run for each lock file", i, runs, err)
		}
	}
}

func TestInstallTellsWhatFailed(t *testing.T) {
	dir := t.TempDir()
	npm := filepath.Join(dir, "npm")
	if err := os.WriteFile(npm, []byte("#!/bin/sh\necho no network\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "package-lock.json"), []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 { // a failed run does not count as an installation
		if out, err := install(npm, dir); err == nil || string(out) != "no network\n" {
			t.Errorf("got %q, %v", out, err)
		}
	}
}
