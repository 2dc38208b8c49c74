package dns

import (
	"context"
	"slices"
	"testing"

	"github.com/dripstat/failover/provision"
)

func txt(ttl int, values ...string) provision.RRset {
	return provision.RRset{Name: "_acme-challenge.shop.test.", Type: "TXT", TTL: ttl, Values: values}
}

// What is put is put beside what is there, what is taken out is what was put, and a set that is empty then goes.
func TestChallenge(t *testing.T) {
	for name, c := range map[string]struct{ before, during, after provision.RRset }{
		"nothing there":                {txt(0), txt(60, `"Mine"`, `"mine"`), txt(0)},
		"another's":                    {txt(300, `"another's"`), txt(300, `"Mine"`, `"another's"`, `"mine"`), txt(300, `"another's"`)},
		"one of ours, from a crash":    {txt(60, `"Mine"`), txt(60, `"Mine"`, `"mine"`), txt(0)},
		"one that differs in its case": {txt(60, `"MINE"`), txt(60, `"MINE"`, `"Mine"`, `"mine"`), txt(60, `"MINE"`)},
	} {
		t.Run(name, func(t *testing.T) {
			z := &zone{set: c.before}
			set := &ChallengeSet{Zones: Zones{"public": z}, Ask: func(context.Context, string, string, string) (provision.RRset, error) { return z.set, nil }}
			gone := ChallengeClear{Zones: set.Zones}
			in := provision.Values{"zone": "public", "name": c.before.Name, "values": []any{`"mine"`, `"Mine"`}, "name_servers": []any{"ns1", "ns2"}}
			look := func(h interface {
				Check(context.Context, provision.Step, provision.Values) (provision.Status, error)
			}, want provision.State) {
				t.Helper()
				if st, err := h.Check(t.Context(), provision.Step{}, in); err != nil || st.State != want {
					t.Fatalf("%+v %v, want %s", st, err, want)
				}
			}
			holds := func(want provision.RRset) {
				t.Helper()
				if !slices.Equal(z.set.Values, want.Values) || len(want.Values) > 0 && z.set.TTL != want.TTL {
					t.Fatalf("it holds %+v, want %+v", z.set, want)
				}
			}
			look(set, provision.Absent)
			if err := set.Do(t.Context(), provision.Step{}, in); err != nil {
				t.Fatal(err)
			}
			holds(c.during)
			look(set, provision.Done)
			look(gone, provision.Absent)
			if err := gone.Do(t.Context(), provision.Step{}, in); err != nil {
				t.Fatal(err)
			}
			holds(c.after)
			look(gone, provision.Done)
		})
	}
}

func TestChallengeWaitsForEveryNameServer(t *testing.T) {
	z := &zone{set: txt(60, `"mine"`), settled: provision.Status{State: provision.Working}}
	behind := true
	h := &ChallengeSet{Zones: Zones{"public": z}, Ask: func(_ context.Context, server, _, _ string) (provision.RRset, error) {
		if server == "ns2" && behind {
			return txt(0), nil
		}
		return txt(60, "mine"), nil // without its quotes
	}}
	in := provision.Values{"zone": "public", "name": z.set.Name, "values": []any{`"mine"`}, "name_servers": []any{"ns1", "ns2"}}
	st, err := h.Check(t.Context(), provision.Step{}, in)
	if err != nil || st.State != provision.Working || st.Seen != "1 of 2 have it; ns2 does not have it yet" {
		t.Errorf("%+v %v", st, err)
	}
	z.settled = provision.Status{State: provision.Failed, Seen: "ERROR"}
	if st, err = h.Check(t.Context(), provision.Step{}, in); err != nil || st.State != provision.Failed || len(st.Out) == 0 {
		t.Errorf("%+v %v", st, err)
	}
	behind = false
	if st, err = h.Check(t.Context(), provision.Step{}, in); err != nil || st.State != provision.Done {
		t.Errorf("%+v %v", st, err)
	}
	// What is proven already needs nothing of anybody.
	in["values"] = []any{}
	gets := z.gets
	if st, err = h.Check(t.Context(), provision.Step{}, in); err != nil || st.State != provision.Done || z.gets != gets {
		t.Errorf("%+v %v", st, err)
	}
}

// Who answers challenges of the same name at the same time is not overwritten: the set is read again.
func TestChallengeChangedMeanwhile(t *testing.T) {
	z := &zone{fail: ErrChanged}
	in := provision.Values{"zone": "public", "name": "a.", "values": []any{`"mine"`}}
	for _, err := range []error{(&ChallengeSet{Zones: Zones{"public": z}}).Do(t.Context(), provision.Step{}, in), ChallengeClear{Zones{"public": z}}.Do(t.Context(), provision.Step{}, in)} {
		if provision.ClassOf(err) != provision.Transient {
			t.Errorf("%v is %s", err, provision.ClassOf(err))
		}
	}
}
