package steps

import (
	"strings"
	"time"

	"github.com/dripstat/failover/provision"
)

// HookRun {name run env addresses timeout} → {}: a command of the user's on the operator's machine; hook
// performs it. run is a list of words; a word that is itself a list is replaced by its elements.
const HookRun provision.Kind = "hook.run"

func hookID(name string) provision.StepID { return provision.StepID("step/" + name) }

// runHooks adds the user's own steps. Their words may hold addresses, which only the run knows: each run of
// literal words and each list of addresses is an argument of its own, word_00, word_01, ...
func (b *builder) runHooks() {
	for _, h := range b.plan.Hooks {
		var needs []provision.StepID
		with := map[string]provision.Arg{"name": provision.Lit(h.Name)}
		words := make([]string, 0, len(h.Run))
		seen := map[string]bool{}
		addressesOf := func(server string) provision.Arg {
			a := provision.Arg{List: true}
			of, from := b.addressesOf(server, "A")
			a.Of, needs = of, append(needs, from...)
			return a
		}
		for i, w := range h.Run {
			key := "word_" + string(rune('0'+i/10)) + string(rune('0'+i%10))
			if w.AddressesOf == "" {
				with[key] = provision.Lit(w.Text)
				words = append(words, w.Text)
				continue
			}
			with[key] = addressesOf(w.AddressesOf)
			words = append(words, "the addresses of "+w.AddressesOf)
		}
		for _, a := range h.After {
			kind, name, _ := strings.Cut(a, ".")
			switch kind {
			case "server", "load_balancer":
				key := name
				if kind != "server" {
					key = a
				}
				needs = append(needs, b.proofs[key]...)
				if !seen[key] {
					seen[key] = true
					with["addresses_"+strings.ReplaceAll(key, ".", "_")] = addressesOf(key)
				}
			case "dns":
				for _, z := range b.plan.Zones {
					if z.Name == name {
						for _, r := range z.Records {
							needs = append(needs, recordID("agree", z, r))
						}
					}
				}
			case "step":
				needs = append(needs, hookID(name))
			}
		}
		timeout := h.Timeout
		if timeout == 0 {
			timeout = 5 * time.Minute
		}
		b.add(provision.Step{
			ID: hookID(h.Name), Kind: HookRun, Needs: unique(needs), With: with, Within: provision.Duration(timeout),
			Expect: provision.Duration(5 * time.Second),
			Say:    provision.Say{Stage: provision.StageRun, Thing: h.Name, Detail: strings.Join(words, " ")},
		})
	}
	// A step that says before = step.x holds x back.
	for i, s := range b.graph.Steps {
		if s.Kind == HookRun {
			b.graph.Steps[i].Needs = unique(b.heldBack(s.Needs, "step."+strings.TrimPrefix(string(s.ID), "step/")))
		}
	}
}
