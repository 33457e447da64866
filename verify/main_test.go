package verify

import "flag"

var update = flag.Bool("update", false, "write the table of rules in docs/verify.md anew")
