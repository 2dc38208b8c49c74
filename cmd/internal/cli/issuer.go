package cli

import (
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/secrets"
	"github.com/dripstat/failover/secrets/acme"
	"github.com/dripstat/failover/secrets/vault"
)

// issues reports whether a secrets block has certificates made.
func issues(st provision.SecretStore) bool { return sealsInto(st) != "" }

// sealsInto gives the age block that such a secrets block names, "" for one that issues nothing.
func sealsInto(st provision.SecretStore) string {
	switch {
	case st.ACME != nil:
		return st.ACME.Seal
	case st.Vault != nil && st.Vault.PKI != nil:
		return st.Vault.PKI.Seal
	}
	return ""
}

// issuer makes what a secrets block of such a kind names. What it seals into is there already. It asks nobody.
func (s *site) issuer(st provision.SecretStore, rehearsal bool) secrets.Backend {
	if st.Vault != nil {
		x := st.Vault.PKI
		return &vault.PKI{Vault: vaultStore(*st.Vault, s.plan.Dir), Mount: x.Mount, Role: x.Role, TTL: x.TTL, Make: x.Issue, KeyType: x.KeyType, Renew: x.Renew, Sealed: s.seal(x.Seal)}
	}
	x := st.ACME
	a := &acme.Store{Directory: x.Directory, Email: x.Email, CA: x.CA, Dir: s.plan.Dir, KeyID: x.KID, KeyMAC: x.HMAC, KeyType: x.KeyType, Chain: x.Chain, Renew: x.Renew,
		Sealed: s.seal(x.Seal), UserAgent: "failover/" + version()}
	if rehearsal && !here(x.Directory) { // its zone is on loopback; failures are counted by the hour
		a.Unseen = "an authority elsewhere cannot see the sandbox's DNS, so that it is not asked"
	}
	return a
}

// seal gives the age block that an issuer seals into.
func (s *site) seal(name string) secrets.Sealed {
	sealed, _ := s.stores[name].(secrets.Sealed)
	return sealed
}

// here reports whether a URL is of this machine.
func here(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	a, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && a.IsLoopback()
}

// issuerOf finds the issuer of a step.
func (s *site) issuerOf(store string) (secrets.Issuer, error) {
	if i, ok := s.stores[store].(secrets.Issuer); ok {
		return i, nil
	}
	return nil, &provision.Error{What: fmt.Sprintf("the plan has no secrets block %q that issues any more", store), Hint: "put it back, or give the plan that the run began with: --plan FILE"}
}

// judge holds against a certificate that was issued what preflight would.
func (s *site) judge(name string, c *secrets.Certificate) error {
	p, ok := s.plan.Certificate(name)
	if !ok {
		return &provision.Error{What: fmt.Sprintf("the plan has no certificate block %q any more", name), Hint: "give the plan that the run began with: --plan FILE"}
	}
	roots, err := secrets.Roots(p.CA)
	if err != nil {
		return err
	}
	var wrong []string
	for _, x := range c.Inspect(p.Names, roots, time.Now(), 0) {
		if x.Fatal {
			wrong = append(wrong, x.What)
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return &provision.Error{What: "the certificate that was issued " + strings.Join(wrong, "; "),
		Hint: "it is sealed, and is not ordered again; mend the plan (ca, names, directory), abandon this run and start a new one", Class: provision.Final}
}

// sealedAt says where an issuer seals, for whoever goes on with the run on another machine.
func (s *site) sealedAt(store string) string {
	st, _ := s.plan.SecretStore(store)
	file := ""
	if into, ok := s.plan.SecretStore(sealsInto(st)); ok && into.Age != nil {
		file = into.Age.File
	}
	if host, err := os.Hostname(); err == nil {
		return file + " on " + host
	}
	return file
}
