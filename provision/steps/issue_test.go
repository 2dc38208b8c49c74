package steps

import (
	"slices"
	"testing"

	"github.com/dripstat/failover/provision"
)

// unissued makes the full plan's certificate one that is nowhere yet.
func unissued(plan *provision.Plan, facts provision.Facts) {
	plan.Certificates[0].Names = []string{"collector.dripstat.com", "*.dripstat.com"}
	facts.Certificates["edge"] = provision.CertificateFacts{Names: plan.Certificates[0].Names, Source: "secrets.le", Issue: &provision.IssueFacts{
		Store: "le", Path: "edge", By: "acme.example.com", Sealed: "issued.age", Challenges: []provision.Challenge{
			{For: "_acme-challenge.collector.dripstat.com.", Zone: "public", Name: "_acme-challenge.collector.dripstat.com.", NameServers: []string{"ns1.dripstat.com"}},
			{For: "_acme-challenge.dripstat.com.", Zone: "public", Name: "proofs.dripstat.com.", NameServers: []string{"ns1.dripstat.com"}},
		}}}
}

// No server is asked for before there is a certificate for it, and what proves a server knows which one.
func TestIssuedBeforeServers(t *testing.T) {
	plan, facts := fullPlan()
	unissued(&plan, facts)
	g := build(t, plan, facts)
	for _, s := range g.Steps {
		switch s.Kind {
		case ServerCreate, FloatingIPCreate:
			if !before(g, "issue/edge", s.ID) {
				t.Errorf("%s does not wait for the certificate", s.ID)
			}
		case ServiceProve, ServiceConfirm:
			if of := s.With["fingerprint"].Of; len(of) != 1 || of[0].Step != "issue/edge" || !slices.Contains(s.Needs, "issue/edge") {
				t.Errorf("%s takes its fingerprint from %v", s.ID, s.With["fingerprint"])
			}
		}
	}
	for _, gone := range []provision.StepID{"unchallenge/edge/_acme-challenge.dripstat.com", "unchallenge/edge/_acme-challenge.collector.dripstat.com"} {
		if !before(g, "issue/edge", gone) || before(g, gone, "certificate/edge") {
			t.Errorf("%s is not beside the way", gone)
		}
	}
}

// A run that ended anywhere leaves its values to be taken out, those that it may have put and no others; what it has taken out
// itself is not looked for again. The certificate stays.
func TestReverseOfChallenges(t *testing.T) {
	plan, facts := fullPlan()
	unissued(&plan, facts)
	g := build(t, plan, facts)
	ordered := []provision.Event{{Type: provision.StepIntent, Step: "order/edge"}, {Type: provision.StepDone, Step: "order/edge", Out: provision.Values{"order": "https://acme.example.com/1",
		"_acme-challenge.dripstat.com.": []any{`"one"`}, "_acme-challenge.collector.dripstat.com.": []any{`"two"`}}}}
	const set, unset = "challenge/edge/_acme-challenge.dripstat.com", "unchallenge/edge/_acme-challenge.dripstat.com"
	for name, c := range map[string]struct {
		events []provision.Event
		want   int
	}{
		"ordered":       {ordered, 0},
		"about to be":   {append(slices.Clone(ordered), provision.Event{Type: provision.StepIntent, Step: set, Kind: ChallengeSet}), 1},
		"put":           {append(slices.Clone(ordered), provision.Event{Type: provision.StepIntent, Step: set}, provision.Event{Type: provision.StepDone, Step: set, Out: provision.Values{"values": []any{`"one"`}}}), 1},
		"taken out too": {append(slices.Clone(ordered), provision.Event{Type: provision.StepIntent, Step: set}, provision.Event{Type: provision.StepDone, Step: set}, provision.Event{Type: provision.StepDone, Step: unset}), 0},
	} {
		rev := Reverse(g, c.events, run)
		if err := rev.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if len(rev.Steps) != c.want {
			t.Errorf("%s: %+v", name, rev.Steps)
			continue
		}
		for _, s := range rev.Steps {
			if v := (provision.Values{"values": s.With["values"].Is}).List("values"); s.Kind != ChallengeClear || !slices.Equal(v, []string{`"one"`}) || s.With["name"].Is != "proofs.dripstat.com." || s.With["zone"].Is != "public" {
				t.Errorf("%s: %+v", name, s)
			}
		}
	}
}

// An authority's no is not the region's.
func TestRefusedByAnAuthorityIsNotInside(t *testing.T) {
	plan, facts := fullPlan()
	unissued(&plan, facts)
	g := build(t, plan, facts)
	for kind, want := range map[provision.Kind]bool{CertificateOrder: false, CertificateValidate: false, CertificateFinalize: false, CertificateIssue: false, ServerCreate: true} {
		if got := Inside(g, []provision.Event{{Type: provision.StepFailed, Step: "x", Kind: kind, Final: true}}); got != want {
			t.Errorf("%s: %v", kind, got)
		}
	}
}
