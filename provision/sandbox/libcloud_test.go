package sandbox

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// A client that knows nothing of this project finds what it expects: Apache libcloud, whose drivers were run against the live
// service for years. Debian has it as python3-libcloud.
func TestLibcloud(t *testing.T) {
	t.Parallel()
	python := ""
	for _, p := range []string{"python3", "/usr/bin/python3"} {
		if exec.CommandContext(t.Context(), p, "-c", "import libcloud").Run() == nil {
			python = p
			break
		}
	}
	if python == "" {
		t.Skip("there is no libcloud here: apt-get install python3-libcloud")
	}
	for name, r := range map[string]Rackspace{"as documented last": {}, "as documented first": {Offset: true, Old: true}, "quick jobs": {Quick: true, Texts: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := Start(t.Context(), Options{Rackspace: &r, Regions: []string{"DFW", "ORD"}, Boot: 200 * time.Millisecond, DNSDelay: 20 * time.Millisecond,
				Zones: []Zone{{Name: "dripstat.test.", Records: []Record{{Name: "collector.dripstat.test.", Type: "A", TTL: 300, Values: []string{"203.0.113.10"}}}}}})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
			c.mu.Lock()
			image := c.regions["ORD"].images[0].id
			c.mu.Unlock()
			cmd := exec.CommandContext(t.Context(), python, "-W", "ignore", "testdata/rackspace.py", strings.TrimSuffix(c.RackspaceURL(), "/v2.0/"), c.Username(), c.APIKey(), "ord")
			cmd.Stdin = strings.NewReader(image + "\n" + string(ssh.MarshalAuthorizedKey(newHostKeys()[0].PublicKey())))
			out, err := cmd.CombinedOutput()
			if err != nil || strings.Count(string(out), "ok ") < 30 {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
