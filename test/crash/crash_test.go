package crash

import (
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// build builds the server.
func build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "cleave")
	if out, err := exec.Command("go", "build", "-o", binary, "github.com/cleave-video/cleave/cmd/cleave").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}

// TestKill kills a server 40 times, and 15 times one that has a spool; `make crash` does
// so 500 and 100 times.
func TestKill(t *testing.T) {
	binary := build(t)
	for name, kills := range map[string]int{"disk": 40, "spool": 15} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() {
				kills = 5
			}
			c := Config{Binary: binary, Data: filepath.Join(t.TempDir(), "data"), Kills: kills, Seed: 1}
			if name == "spool" {
				c.Args = Spool(c.Data)
			}
			r, err := Run(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range r.Findings {
				t.Error(f)
			}
			if r.Broken > 0 {
				t.Log(r.Log)
			}
			t.Logf("%+v in %v", r.Counts, r.Took)
			if r.Committed < kills || r.Playlists < 5*kills || r.Fetched < 2*kills || r.Parts < kills/2 {
				t.Errorf("too little was seen: %+v", r.Counts)
			}
		})
	}
}
