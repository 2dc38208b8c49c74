package cli

import (
	"flag"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// apartEnv names, in a process of its own, the test that it is for.
const apartEnv = "FAILOVER_TEST_APART"

// apart says whether this test runs in a process of its own beside all others, and has it do so: the environment, which it sets, is a process's. What
// is said there of failures and skips is said here.
func apart(t *testing.T) bool {
	t.Helper()
	if os.Getenv(apartEnv) == t.Name() {
		return false
	}
	t.Parallel()
	which := "^" + t.Name() + "$"
	if _, sub, ok := strings.Cut(flag.Lookup("test.run").Value.String(), "/"); ok {
		which += "/" + sub
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run="+which, "-test.v", "-test.timeout=10m") //nolint:gosec // this very binary
	cmd.Env = append(os.Environ(), apartEnv+"="+t.Name())
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()+" ") {
		t.Errorf("%v\n%s", err, out)
	} else {
		t.Logf("%s", out)
	}
	return true
}
