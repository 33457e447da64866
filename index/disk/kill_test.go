package disk

import (
	"bufio"
	"bytes"
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
	storedisk "github.com/cleave-video/cleave/store/disk"
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
	st, err := storedisk.Open(filepath.Join(root, killStore))
	if err != nil {
		t.Fatal(err)
	}
	list := indextest.Entries(8, killEntries)
	for i := len(got); i < len(list); i++ {
		b := killBody(i)
		if err := st.Put(context.Background(), list[i].Object, bytes.NewReader(b), int64(len(b))); err != nil {
			t.Fatal(err)
		}
		if err := d.Add(context.Background(), name, list[i]); err != nil {
			t.Fatal(err)
		}
		fmt.Println("added", i)
	}
}

const (
	killEntries = 4000
	killStore   = "+objects"
)

// killBody is the object of an entry.
func killBody(i int) []byte { return bytes.Repeat([]byte(fmt.Sprintf("%08d", i)), 2000+i%3000) }

// TestKill kills a process that stores objects and adds their entries, a number of
// times: what it said it added is there, and at most one entry more; each entry's
// object is there to the byte, and at most one object more.
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
		killObjects(t, root, list[:added])
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if added < 10 {
		t.Errorf("only %d were added", added)
	}
}

// killObjects checks the objects of entries.
func killObjects(t *testing.T, root string, list []index.Entry) {
	t.Helper()
	st, err := storedisk.Open(filepath.Join(root, killStore))
	if err != nil {
		t.Fatal(err)
	}
	for i := range list {
		o, err := st.Open(t.Context(), list[i].Object)
		if err != nil {
			t.Errorf("entry %d: %v", i, err)
			continue
		}
		b := make([]byte, o.Size())
		_, err = o.ReadAt(b, 0)
		o.Close()
		if err != nil || !bytes.Equal(b, killBody(i)) {
			t.Errorf("entry %d: another object of %d bytes, %v", i, len(b), err)
		}
	}
	n := 0
	for _, err := range st.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n < len(list) || n > len(list)+1 {
		t.Errorf("%d objects, %d entries", n, len(list))
	}
}
