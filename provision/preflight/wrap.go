package preflight

import (
	"context"

	"github.com/dripstat/failover/provision"
)

// wraps tries, for each block whose servers fetch their certificate themselves, whether it would be wrapped for them. Whether a server
// reaches Vault is not known from here.
func (r *reader) wraps(ctx context.Context) {
	for _, s := range r.plan.Servers {
		if _, ok := r.seen.certificates[s.Certificate]; !ok || !s.Pulls() || r.src.Wrap == nil { // that it is not to be had was said
			continue
		}
		if err := r.src.Wrap(ctx, s.Certificate, s.Deliver.Wrap.TTL); err != nil {
			r.found(refuse("wrapping", "server."+s.Name, s.Pos, err))
			continue
		}
		r.mu.Lock()
		r.seen.checks++
		r.seen.findings = append(r.seen.findings, provision.Finding{Weight: provision.Noted, Check: "wrapping", Thing: "server." + s.Name, Pos: s.Pos,
			What: "each server gets a token in its user-data that gives certificate " + s.Certificate + " and its key to whoever uses it first, within " + s.Deliver.Wrap.TTL.String() + "; where that is not the server, the run says so"})
		r.mu.Unlock()
	}
}
