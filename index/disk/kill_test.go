package disk

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/cleave-video/cleave/index"
	"github.com/cleave-video/cleave/index/indextest"
)

// killEnv names the index that a process of TestKill adds to.
const killEnv = "CLEAVE_TEST_KILL"

// TestKilled is that process: it goes on from the last entry and says what it added.
func TestKilled(t *testing.T) {
	root := os.Getenv(killEnv)
	if root == "" {
		t.Skip("TestKill runs this in a process of its own")
	}
	d, err := Open(root, small)
	if err != nil {
		t.Fatal(err)
	}
	got, err := all(t, d)
	if err != nil {
		t.Fatal(err)
	}
	list := indextest.Entries(8, killEntries)
	for i := len(got); i < len(list); i++ {
		if err := d.Add(context.Background(), name, list[i]); err != nil {
			t.Fatal(err)
		}
		fmt.Println("added", i)
	}
}

const killEntries = 4000

// TestKill kills a process that adds entries, a number of times: what it said it
// added is there, and at most one entry more.
func TestKill(t *testing.T) {
	root := filepath.Join(t.TempDir(), "index")
	list := indextest.Entries(8, killEntries)
	added := 0
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 10 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$")
		cmd.Env = append(os.Environ(), killEnv+"="+root)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for until := added + 1 + rng.IntN(2*index.PerBlock/3); lines.Scan(); {
			if n, ok := strings.CutPrefix(lines.Text(), "added "); ok {
				i, err := strconv.Atoi(n)
				if err != nil || i > added+1 {
					t.Fatalf("%q after %d", lines.Text(), added)
				}
				added = i + 1
			}
			if added >= until {
				_ = cmd.Process.Kill()
			}
		}
		_ = cmd.Wait()
		d := open(t, root)
		got, err := all(t, d)
		if err != nil {
			t.Fatal(err)
		}
		prefix(t, fmt.Sprintf("round %d", round), got, list, added, added+1)
		added = len(got)
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if added < 10 {
		t.Errorf("only %d were added", added)
	}
}
