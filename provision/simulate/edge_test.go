package simulate

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/sandbox"
	"github.com/dripstat/failover/secrets"
)

// The certificates of all seeds, of one authority, by what each is to the one that a run begins with.
const (
	original = iota
	sameKey  // renewed with its key
	otherKey // renewed with another one
	elliptic // and with one of another kind
	generations
)

// keys are theirs.
var keys struct {
	once  sync.Once
	err   error
	ca    string
	pairs [generations]struct {
		chain, key  []byte
		fingerprint string
	}
}

// issue makes them once, in a bubble of their own: they are valid by that clock, and the first seed that wants one is not to have another
// chance than all after it.
func issue(t *testing.T) {
	t.Helper()
	keys.once.Do(func() { synctest.Test(t, func(*testing.T) { keys.err = issueAll("www." + zone) }) })
}

func issueAll(name string) (err error) {
	ca, err := sandbox.NewCA()
	if err != nil {
		return err
	}
	keys.ca = string(ca.PEM())
	for g := range keys.pairs {
		p := &keys.pairs[g]
		switch g {
		case sameKey:
			first := &keys.pairs[original]
			block, _ := pem.Decode(first.key)
			parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				return err
			}
			p.key = first.key
			if p.chain, err = ca.Renew(parsed.(crypto.Signer), 60*24*time.Hour, name); err != nil {
				return err
			}
		case elliptic:
			p.chain, p.key, err = ca.Issue(name)
		default: // Rackspace's load balancers take no others
			p.chain, p.key, err = ca.IssueRSA(name)
		}
		if err != nil {
			return err
		}
		c, err := edge(g)
		if err != nil {
			return err
		}
		p.fingerprint = c.Fingerprint()
	}
	return nil
}

// edge gives a copy of one.
func edge(generation int) (*secrets.Certificate, error) {
	if keys.err != nil {
		return nil, keys.err
	}
	p := keys.pairs[generation]
	return secrets.ParseCertificate(slices.Clone(p.chain), slices.Clone(p.key))
}

// generation tells which has a fingerprint.
func generation(fingerprint string) int {
	for g, p := range keys.pairs {
		if p.fingerprint == fingerprint {
			return g
		}
	}
	return original
}

// inMemory is the certificate that a graph fetches, which whatever ends TLS for the servers is given.
func inMemory(g provision.Graph) func(string) *secrets.Certificate {
	return func(name string) *secrets.Certificate {
		s, _ := g.Step(provision.StepID("certificate/" + name))
		c, _ := edge(generation(provision.Values{"f": s.With["fingerprint"].Is}.Text("f")))
		return c
	}
}
