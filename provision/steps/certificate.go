package steps

import (
	"fmt"
	"strings"
	"time"

	"github.com/dripstat/failover/provision"
)

// Kinds of what brings a certificate onto a server; deliver performs them.
const (
	// LoginCreate {certificate fingerprint run} → {public_key}: an SSH key in this process's memory, derived from
	// the certificate's key and the run, so that whoever may fetch the certificate can resume the run.
	LoginCreate provision.Kind = "login.create"
	// CertificateFetch {certificate fingerprint sealed} → {fingerprint source}: into this process's memory, from the first place
	// of its ladder that gives it. sealed is where the run has sealed one that it was issued.
	CertificateFetch provision.Kind = "certificate.fetch"
	// CertificateDeliver {certificate fingerprint address port user via host_keys rotated layout path owner mode reload command
	// password slot} → {fingerprint}: password names the server block of the plan that has one.
	CertificateDeliver provision.Kind = "certificate.deliver"
	// CertificatePulled {cloud server certificate fingerprint} → {fingerprint}: the server has fetched it itself, as its console tells;
	// openstack performs it.
	CertificatePulled provision.Kind = "certificate.pulled"
)

const loginID provision.StepID = "login"

func fetchID(name string) provision.StepID { return provision.StepID("certificate/" + name) }

// loginKey adds the run's login key once, for the first certificate that needs it.
func (b *builder) loginKey(certificate string) provision.StepID {
	if _, ok := b.graph.Step(loginID); !ok {
		b.add(provision.Step{
			ID: loginID, Kind: LoginCreate, Volatile: true, Within: provision.Duration(time.Minute), Needs: []provision.StepID{fetchID(certificate)},
			With: map[string]provision.Arg{"certificate": provision.Lit(certificate), "run": provision.Lit(string(b.run)),
				"fingerprint": provision.From(fetchID(certificate), "fingerprint")},
			Say: provision.Say{Stage: provision.StagePrepare, Thing: "login key", Detail: "in memory, for this run alone"},
		})
	}
	return loginID
}

// certificates adds the fetch of every certificate that a server presents.
func (b *builder) certificates() {
	for _, c := range b.plan.Certificates {
		f, ok := b.facts.Certificates[c.Name]
		if !ok {
			continue
		}
		if f.Issue != nil {
			b.issued(c, f)
			continue
		}
		days := int(f.NotAfter.Sub(b.facts.At).Hours() / 24)
		b.add(provision.Step{
			ID: fetchID(c.Name), Kind: CertificateFetch, Volatile: true,
			With:   map[string]provision.Arg{"certificate": provision.Lit(c.Name), "fingerprint": provision.Lit(f.Fingerprint)},
			Within: provision.Duration(2 * time.Minute), Expect: provision.Duration(expectMoment),
			Say: provision.Say{Stage: provision.StagePrepare, Thing: "certificate " + c.Name, Detail: fmt.Sprintf("from %s, expires in %d days", f.Source, days)},
		})
	}
}

// deliver adds the server's host key and the delivery to one slot.
func (b *builder) deliver(s provision.Server, slot string, server provision.StepID, at source) provision.StepID {
	c, _ := b.plan.Certificate(s.Certificate)
	identity := provision.Step{
		ID: provision.StepID("hostkey/" + slot), Kind: ConsoleHostKeys, Needs: []provision.StepID{server},
		With:   map[string]provision.Arg{"cloud": provision.Lit(s.Cloud), "server": provision.From(server, "id")},
		Within: provision.Duration(10 * time.Minute), Expect: provision.Duration(20 * time.Second),
		Say: provision.Say{Stage: provision.StageDeliver, Thing: slot},
	}
	from := "host key from the console"
	if b.noConsole(s) {
		b.rotate(&identity, s, slot, at)
		from = "host key changed at the first login"
	}
	keys := b.add(identity)
	end := s.Delivery(c)
	with := map[string]provision.Arg{
		"certificate": provision.Lit(c.Name),
		"fingerprint": provision.From(fetchID(c.Name), "fingerprint"),
		"address":     {Of: []provision.Output{at.v4}},
		"port":        provision.Lit(s.SSH.Port),
		"user":        provision.Lit(s.SSH.User),
		"via":         provision.Lit(s.SSH.Via),
		"host_keys":   provision.From(keys, "host_keys"),
		"path":        provision.Lit(end.Path),
		"reload":      provision.Lit(end.Unit),
		"slot":        provision.Lit(slot),
	}
	for name, text := range map[string]string{"layout": string(end.Layout), "owner": end.Chown(), "mode": end.Mode} {
		if text != map[string]string{"layout": "bundle", "owner": "root:root", "mode": "0600"}[name] {
			with[name] = provision.Lit(text)
		}
	}
	if b.noConsole(s) {
		with["rotated"] = provision.Lit(true)
	}
	if len(end.Command) > 0 {
		with["command"] = provision.Lit(end.Command)
	}
	if !end.Password.IsZero() { // which one it is, not what it is
		with["password"] = provision.Lit("server." + s.Name)
	}
	return b.add(provision.Step{
		ID: provision.StepID("deliver/" + slot), Kind: CertificateDeliver,
		Needs:  unique([]provision.StepID{server, at.v4.Step, keys, fetchID(c.Name), loginID}),
		With:   with,
		Within: provision.Duration(5 * time.Minute), Expect: provision.Duration(5 * time.Second),
		Say: provision.Say{Stage: provision.StageDeliver, Thing: slot, Detail: "certificate " + c.Name + ending(end) + " over SSH, " + from},
	})
}

// pulled adds the wait for a server that fetches the certificate itself. Once it is up, it has as long as its token lives, then some minutes for
// the owner of the files and for what it reloads.
func (b *builder) pulled(s provision.Server, slot string, server provision.StepID) provision.StepID {
	c, _ := b.plan.Certificate(s.Certificate)
	end := s.Delivery(c)
	return b.add(provision.Step{
		ID: provision.StepID("pull/" + slot), Kind: CertificatePulled, Needs: []provision.StepID{server},
		With: map[string]provision.Arg{"cloud": provision.Lit(s.Cloud), "server": provision.From(server, "id"),
			"certificate": provision.Lit(c.Name), "fingerprint": provision.Lit(b.facts.Certificates[c.Name].Fingerprint)},
		Within: provision.Duration(end.Wrap.TTL + 11*time.Minute), Expect: provision.Duration(20 * time.Second),
		Say: provision.Say{Stage: provision.StageDeliver, Thing: slot, Detail: "fetches certificate " + c.Name + ending(end) + " from Vault itself, and says so on its console",
			Hint: "the console of the server says more: openstack console log show; can it reach Vault?"},
	})
}

// ending says where a certificate ends, where that is not the usual place in the usual form.
func ending(d provision.Delivery) string {
	out := ""
	if d.Layout != provision.LayoutBundle {
		out += " as " + string(d.Layout)
	}
	if !strings.HasPrefix(d.Path, "/run/failover/tls/") {
		out += " into " + d.Path
	}
	return out
}
