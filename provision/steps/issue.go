package steps

import (
	"fmt"
	"strings"
	"time"

	"github.com/dripstat/failover/provision"
)

// Kinds of what has a certificate issued; issue performs them. names are the certificate's, path is where it is sealed.
const (
	// CertificateOrder {certificate store path names run} → {order, and the values for each name of a challenge}
	CertificateOrder provision.Kind = "certificate.order"
	// CertificateValidate {certificate store path names run order}: the authority has looked at the challenges.
	CertificateValidate provision.Kind = "certificate.validate"
	// CertificateFinalize {certificate store path names run order}: the authority has made the certificate.
	CertificateFinalize provision.Kind = "certificate.finalize"
	// CertificateIssue {certificate store path names run order} → {fingerprint not_after sealed}: it is here, sealed, and would do.
	CertificateIssue provision.Kind = "certificate.issue"
)

// issues reports whether steps of a kind ask an authority.
func issues(k provision.Kind) bool {
	return k == CertificateOrder || k == CertificateValidate || k == CertificateFinalize || k == CertificateIssue
}

func issueID(name string) provision.StepID { return provision.StepID("issue/" + name) }

// issued adds all that brings a certificate into being, and its fetch from where it is sealed. Servers wait for that: their
// login depends on its key, and none is made before there is a certificate for it.
func (b *builder) issued(c provision.Certificate, f provision.CertificateFacts) {
	x := f.Issue
	with := func() map[string]provision.Arg {
		return map[string]provision.Arg{"certificate": provision.Lit(c.Name), "store": provision.Lit(x.Store), "path": provision.Lit(x.Path),
			"names": provision.Lit(c.Names), "run": provision.Lit(string(b.run))}
	}
	say := func(detail string) provision.Say {
		return provision.Say{Stage: provision.StagePrepare, Thing: "certificate " + c.Name, Detail: detail}
	}
	issue := provision.Step{ID: issueID(c.Name), Kind: CertificateIssue, With: with(),
		Within: provision.Duration(2 * time.Minute), Expect: provision.Duration(2 * time.Second), Say: say(fmt.Sprintf("issued during the run, sealed into %s", x.Sealed))}
	var clear []provision.Step
	if len(x.Challenges) > 0 {
		order := b.add(provision.Step{ID: provision.StepID("order/" + c.Name), Kind: CertificateOrder, With: with(),
			Within: provision.Duration(3 * time.Minute), Expect: provision.Duration(3 * time.Second), Say: say("ordered from " + x.By + " for " + strings.Join(c.Names, ", "))})
		ordered := func() map[string]provision.Arg {
			w := with()
			w["order"] = provision.From(order, "order")
			return w
		}
		needs := []provision.StepID{order}
		for _, ch := range x.Challenges {
			set, gone := b.challenge(c, ch, order)
			needs = append(needs, set)
			clear = append(clear, gone)
		}
		validate := b.add(provision.Step{ID: provision.StepID("validate/" + c.Name), Kind: CertificateValidate, Needs: needs, With: ordered(),
			Within: provision.Duration(5 * time.Minute), Expect: provision.Duration(5 * time.Second), Say: say("validated and made by " + x.By)})
		finalize := b.add(provision.Step{ID: provision.StepID("finalize/" + c.Name), Kind: CertificateFinalize, Needs: []provision.StepID{order, validate}, With: ordered(),
			Within: provision.Duration(5 * time.Minute), Expect: provision.Duration(3 * time.Second), Say: say("validated and made by " + x.By)})
		issue.Needs, issue.With = []provision.StepID{order, finalize}, ordered()
	}
	b.add(issue)
	for _, gone := range clear {
		gone.Needs = append(gone.Needs, issue.ID)
		b.add(gone)
	}
	b.add(provision.Step{
		ID: fetchID(c.Name), Kind: CertificateFetch, Volatile: true, Needs: []provision.StepID{issue.ID},
		With:   map[string]provision.Arg{"certificate": provision.Lit(c.Name), "fingerprint": provision.From(issue.ID, "fingerprint"), "sealed": provision.From(issue.ID, "sealed")},
		Within: provision.Duration(2 * time.Minute), Expect: provision.Duration(expectMoment), Say: say(""),
	})
}
