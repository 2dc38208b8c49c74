package preflight

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/dripstat/failover/provision"
)

// allowed warns of a CAA record that would have the authority refuse: the nearest at the name or above it counts (RFC 8659
// section 3). What lies above the plan's zone is not read. It only warns: the authority's own reading is what counts.
func (r *reader) allowed(ctx context.Context, c provision.Certificate, name string, identities []string) {
	base, wild := strings.CutPrefix(strings.ToLower(name), "*.")
	z, ok := zoneOf(r.plan, base+".")
	if !ok {
		return
	}
	for at := base + "."; len(at) > len(z.Zone); {
		set, err := r.src.Zones[z.Name].Get(ctx, at, "CAA")
		if err != nil {
			return
		}
		if len(set.Values) > 0 {
			who, judged := issuers(set.Values, wild)
			if !judged || slices.ContainsFunc(identities, func(id string) bool { return slices.Contains(who, strings.ToLower(id)) }) {
				return
			}
			lets := "nobody issue"
			if len(who) > 0 {
				lets = strings.Join(who, ", ") + " issue alone"
			}
			tag := map[bool]string{true: "issuewild", false: "issue"}[wild]
			r.found(provision.Finding{Weight: provision.Warn, Check: "certificate", Thing: "certificate." + c.Name, Pos: c.Pos,
				What: fmt.Sprintf("%s: a CAA record of %s lets %s; %s will refuse", name, strings.TrimSuffix(at, "."), lets, identities[0]),
				Hint: fmt.Sprintf("add to %s CAA: 0 %s %q", strings.TrimSuffix(at, "."), tag, identities[0])})
			return
		}
		_, at, _ = strings.Cut(at, ".")
	}
}

// issuers gives who may issue by a CAA set; false where it does not limit that. For a wildcard issuewild goes before issue.
func issuers(values []string, wild bool) (who []string, limited bool) {
	tags := map[string][]string{}
	for _, v := range values { // 0 issue "ca.example.net; account=230123"
		f := strings.SplitN(strings.TrimSpace(v), " ", 3)
		if len(f) < 3 {
			continue
		}
		domain, _, _ := strings.Cut(strings.Trim(strings.TrimSpace(f[2]), `"`), ";")
		tag := strings.ToLower(f[1])
		tags[tag] = append(tags[tag], strings.ToLower(strings.TrimSpace(domain)))
	}
	who, limited = tags["issue"], tags["issue"] != nil
	if wild && tags["issuewild"] != nil {
		who, limited = tags["issuewild"], true
	}
	return slices.DeleteFunc(who, func(d string) bool { return d == "" }), limited
}
