package openstack

import (
	"context"
	"net/url"
	"strings"

	"github.com/dripstat/failover/provision"
)

type keypairArgs struct {
	Cloud     string `json:"cloud"`
	Name      string `json:"name"`
	PublicKey string `json:"public_key"`
	Run       string `json:"run"`
}

func (c *Cloud) checkKeypair(ctx context.Context, a keypairArgs) (provision.Status, error) {
	if out, ok := c.just(KeypairCreate, a.Name); ok {
		return done(out)
	}
	if c.absent(KeypairCreate, a.Name) {
		return absent()
	}
	s, err := c.service(ctx, "compute")
	if err != nil {
		return provision.Status{}, err
	}
	var got struct {
		Keypair struct {
			PublicKey string `json:"public_key"`
		} `json:"keypair"`
	}
	none, err := s.missing(ctx, "read key pair "+a.Name, s.url("os-keypairs/"+url.PathEscape(a.Name)), &got)
	switch {
	case err != nil:
		return provision.Status{}, err
	case none:
		return absent()
	case !sameKey(got.Keypair.PublicKey, a.PublicKey):
		return provision.Status{State: provision.Failed, Out: provision.Values{"name": a.Name}, Seen: "a key pair of this name holds another key"}, nil
	}
	return done(provision.Values{"name": a.Name})
}

// sameKey compares type and key, not the comment.
func sameKey(a, b string) bool {
	x, y := strings.Fields(a), strings.Fields(b)
	return len(x) >= 2 && len(y) >= 2 && x[0] == y[0] && x[1] == y[1]
}

func (c *Cloud) createKeypair(ctx context.Context, a keypairArgs) error {
	s, err := c.service(ctx, "compute")
	if err != nil {
		return err
	}
	c.tried(KeypairCreate, a.Name)
	body := map[string]any{"keypair": map[string]any{"name": a.Name, "public_key": a.PublicKey}}
	if err := s.post(ctx, "create key pair "+a.Name, s.url("os-keypairs"), body, nil); err != nil {
		return err
	}
	c.remember(KeypairCreate, a.Name, provision.Values{"name": a.Name})
	return nil
}

func (c *Cloud) checkNoKeypair(ctx context.Context, a deleteArgs) (provision.Status, error) {
	s, err := c.service(ctx, "compute")
	if err != nil {
		return provision.Status{}, err
	}
	var got struct{}
	none, err := s.missing(ctx, "read key pair "+a.Name, s.url("os-keypairs/"+url.PathEscape(a.Name)), &got)
	if err != nil {
		return provision.Status{}, err
	}
	if none {
		return done(provision.Values{"name": a.Name})
	}
	return absent()
}

func (c *Cloud) deleteKeypair(ctx context.Context, a deleteArgs) error {
	s, err := c.service(ctx, "compute")
	if err != nil {
		return err
	}
	c.forget(KeypairCreate, a.Name)
	return s.remove(ctx, "delete key pair "+a.Name, s.url("os-keypairs/"+url.PathEscape(a.Name)))
}
