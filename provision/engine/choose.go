package engine

import (
	"context"
	"slices"
	"strings"

	"github.com/dripstat/failover/provision"
)

// Choose performs slots.choose: of the slots that are there when it begins, it keeps as many as are wanted. It
// changes nothing; what it chose is in the journal, and so is chosen once.
type Choose struct{}

// Do has nothing to do.
func (Choose) Do(context.Context, provision.Step, provision.Values) error { return nil }

// Check takes the slots that are kept already first, then the others in their order. An argument named
// "ipv4 collector-1" is an output of that slot.
func (Choose) Check(_ context.Context, _ provision.Step, in provision.Values) (provision.Status, error) {
	var a struct {
		Want  int      `json:"want"`
		Slots []string `json:"slots"`
		Keep  []string `json:"keep"`
	}
	known := provision.Values{"want": in["want"], "slots": in["slots"]}
	if k, ok := in["keep"]; ok {
		known["keep"] = k
	}
	if err := known.Decode(&a); err != nil {
		return provision.Status{}, err
	}
	there := func(slot string) bool {
		for name := range in {
			if strings.HasSuffix(name, " "+slot) {
				return true
			}
		}
		return false
	}
	chosen := []string{}
	for _, slot := range append(slices.Clone(a.Keep), a.Slots...) {
		if len(chosen) < a.Want && there(slot) && !slices.Contains(chosen, slot) {
			chosen = append(chosen, slot)
		}
	}
	slices.SortFunc(chosen, func(x, y string) int { return slices.Index(a.Slots, x) - slices.Index(a.Slots, y) })
	out := provision.Values{provision.Chosen: chosen}
	for _, family := range []string{"ipv4", "ipv6", "fixed"} {
		list := []string{}
		for _, slot := range chosen {
			if v := in.Text(family + " " + slot); v != "" {
				list = append(list, v)
			}
		}
		if family != "fixed" || len(list) > 0 { // only servers behind a load balancer have it
			out[family] = list
		}
	}
	return provision.Status{State: provision.Done, Out: out}, nil
}
