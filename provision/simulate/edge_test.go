package simulate

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/dripstat/failover/provision/sandbox"
	"github.com/dripstat/failover/secrets"
)

// keys are of the one certificate of all seeds.
var keys struct {
	once       sync.Once
	err        error
	ca         []byte
	chain, key []byte
}

// issue makes it once, in a bubble of its own: it is valid by that clock, and the first seed that wants it is not to have another chance than all
// after it.
func issue(t *testing.T) {
	t.Helper()
	keys.once.Do(func() {
		synctest.Test(t, func(*testing.T) {
			ca, err := sandbox.NewCA()
			if err != nil {
				keys.err = err
				return
			}
			keys.ca = ca.PEM()
			keys.chain, keys.key, keys.err = ca.IssueRSA("www." + zone) // Rackspace's load balancers take no others
		})
	})
}

// edge gives a copy of it.
func edge() (*secrets.Certificate, string, error) {
	if keys.err != nil {
		return nil, "", keys.err
	}
	c, err := secrets.ParseCertificate(slices.Clone(keys.chain), slices.Clone(keys.key))
	return c, string(keys.ca), err
}

// inMemory is the certificate of whatever ends TLS for the servers.
func inMemory(string) *secrets.Certificate {
	c, _, _ := edge()
	return c
}
