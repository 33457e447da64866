package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestNamesOfAnyBytes: a name need not be UTF-8; it is never read as another one.
func TestNamesOfAnyBytes(t *testing.T) {
	b, err := os.ReadFile("../../format/ts/testdata/av.ts")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	const in, config = "in\xff\xff.ts", "conf\xfe.yaml"
	if err := os.WriteFile(in, b, 0o644); err != nil {
		t.Skip("no such names here: ", err)
	}
	for i, args := range [][]string{{"-o", "a\xfe"}, {"-oa\xfd"}, {"--output", "a\xfc"}, {"--output=a\xfb"}} {
		if code, out := output(t, append([]string{"cut", "-q", in}, args...)...); code != exitDone {
			t.Fatalf("%d: exit %d\n%s", i, code, out)
		}
	}
	if err := os.WriteFile(config, []byte("no: such"), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, _ := output(t, "serve", "--config", config); code != exitUsage { // it was read
		t.Errorf("exit %d", code)
	}
	for _, want := range []string{"a\xfe", "a\xfd", "a\xfc", "a\xfb"} {
		if _, err := os.Stat(filepath.Join(want, "chunks.json")); err != nil {
			t.Error(err)
		}
	}
	if found, _ := filepath.Glob("*\ufffd*"); len(found) > 0 {
		t.Errorf("others were made: %q", found)
	}
}
