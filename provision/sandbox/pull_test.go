package sandbox

import (
	"testing"

	"github.com/dripstat/failover/templates"
)

// The sandbox finds in user-data what templates put there, beside what was there before.
func TestPullIsFound(t *testing.T) {
	for _, text := range []string{"#cloud-config\nusers:\n  - name: anna\n", "#cloud-config\nusers:\n  - name: anna # ü\n"} {
		out, err := templates.WithPull([]byte(text), templates.Pull{Certificate: "ed'ge", Paths: map[string]int{"secret/data/ü": 2}, Seconds: 7})
		if err != nil {
			t.Fatal(err)
		}
		if out, err = templates.Pack(out, 0); err != nil {
			t.Fatal(err)
		}
		cfg := parseUserData(out)
		if cfg.pull == nil || cfg.pull.Certificate != "ed'ge" || cfg.pull.Token != templates.PullToken || cfg.pull.Paths["secret/data/ü"] != 2 || cfg.pull.TTL != 7 || len(cfg.users) != 1 {
			t.Errorf("%q: %+v", text, cfg)
		}
	}
}
