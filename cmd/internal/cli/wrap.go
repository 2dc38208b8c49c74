package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/secrets"
	"github.com/dripstat/failover/secrets/vault"
)

// wrapper gives the Vault that keeps a certificate of the plan, and its path there.
func (s *site) wrapper(certificate string) (*vault.Store, string, error) {
	c, ok := s.plan.Certificate(certificate)
	if ok && len(c.From) == 1 {
		if v, ok := s.stores[c.From[0].Store].(*vault.Store); ok {
			return v, c.From[0].Path, nil
		}
	}
	return nil, "", &provision.Error{What: fmt.Sprintf("the plan keeps certificate %q in no KV engine of Vault any more", certificate), Hint: "put it back, or give the plan that the run began with: --plan FILE"}
}

// wrap has a certificate wrapped. A Vault that does not answer is asked again; its no is final.
func (s *site) wrap(ctx context.Context, certificate string, ttl time.Duration) (secrets.Value, error) {
	v, path, err := s.wrapper(certificate)
	if err != nil {
		return secrets.Value{}, err
	}
	token, err := v.Wrap(ctx, path, ttl)
	if err != nil {
		out := &provision.Error{What: "certificate " + certificate + " is not wrapped", Err: err, Hint: secrets.HintOf(err), Class: provision.Transient}
		if vault.Answered(err) {
			out.Class = provision.Final
		}
		return token, out
	}
	return token, nil
}

func (s *site) spend(ctx context.Context, certificate string, token secrets.Value) (bool, error) {
	v, _, err := s.wrapper(certificate)
	if err != nil {
		return false, err
	}
	return v.Spend(ctx, token)
}

// tryWrap has a certificate wrapped as for a server, and uses the token up at once: what a policy says of the time that a wrapping may have is
// told in no other way.
func (s *site) tryWrap(ctx context.Context, certificate string, ttl time.Duration) error {
	token, err := s.wrap(ctx, certificate, ttl)
	if err != nil {
		return err
	}
	defer token.Wipe()
	fresh, err := s.spend(ctx, certificate, token)
	if err == nil && !fresh {
		err = &provision.Error{What: "the token of a wrapping that was made a moment ago is of no use any more", Hint: "does something between here and Vault use it?"}
	}
	return err
}
