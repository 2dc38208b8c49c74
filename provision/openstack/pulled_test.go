package openstack

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPulledLines(t *testing.T) {
	print := strings.Repeat("ab", 32)
	a := pulledArgs{Certificate: "edge", Fingerprint: print}
	good := "failover: certificate edge is in place, SHA-256 " + print
	for _, tt := range []struct {
		name, console, alarm, failed string
		fetched                      bool
	}{
		{name: "nothing yet", console: "booting\r\nfailover: certificate edge: Vault at https://v is not reached (timed out); trying on\r\n"},
		{name: "fetched", console: "[ 1.0] x\r\n" + good + "\r\nlogin:", fetched: true},
		{name: "behind a prefix", console: "[   20.1] cloud-init[500]: " + good, fetched: true},
		{name: "written into", console: "failover: certificate edge is in pl[ 9.1] IPv6: up\r\nace, SHA-256 " + print},
		{name: "another certificate of the server", console: "failover: certificate api is in place, SHA-256 " + print + "\r\nfailover: ALARM: certificate api: no"},
		{name: "another fingerprint", console: "failover: certificate edge is in place, SHA-256 " + strings.Repeat("cd", 32)},
		{name: "alarm, whatever else is there", console: good + "\r\nfailover: ALARM: certificate edge: used before\r\n", alarm: "used before", fetched: true},
		{name: "failed", console: "failover: FAILED: certificate edge: no user app yet, for 300 s", failed: "no user app yet, for 300 s"},
	} {
		alarm, failed, fetched := pulledLines(tt.console, a)
		if alarm != tt.alarm || failed != tt.failed || fetched != tt.fetched {
			t.Errorf("%s: %q %q %v", tt.name, alarm, failed, fetched)
		}
	}
}

// Consoles as a real Debian 12 with cloud-init 22.4.2 has printed them, where the script was run by it (TestServerFetchesAsItBoots).
func TestPulledLinesOfARealConsole(t *testing.T) {
	const print = "8b51c7daf827bc62b042142f1db0e1f4b1e3d9cd7643bbca4440e23fe1d17f98"
	for file, want := range map[string]struct {
		alarm   string
		fetched bool
	}{
		"console-fetched.txt": {"", true},
		"console-alarm.txt":   {"the wrapping token was used before, or is older than 900 s (Vault: 400 wrapping token is not valid or does not exist)", false},
	} {
		text, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		alarm, failed, fetched := pulledLines(string(text), pulledArgs{Certificate: "edge", Fingerprint: print})
		if alarm != want.alarm || failed != "" || fetched != want.fetched {
			t.Errorf("%s: %q %q %v", file, alarm, failed, fetched)
		}
		if _, _, fetched := pulledLines(string(text), pulledArgs{Certificate: "edge", Fingerprint: strings.Repeat("0", 64)}); fetched {
			t.Errorf("%s: another certificate is taken for it", file)
		}
	}
}
