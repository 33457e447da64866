package verify

import (
	"flag"
	"testing"

	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "write the table of rules in docs/verify.md anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
