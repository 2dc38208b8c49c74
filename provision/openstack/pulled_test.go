package openstack

import (
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
