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
	have, ok, err := c.keypair(ctx, a.Name)
	switch {
	case err != nil:
		return provision.Status{}, err
	case !ok:
		return absent()
	case !sameKey(have.PublicKey, a.PublicKey):
		return provision.Status{State: provision.Failed, Out: provision.Values{"name": a.Name}, Seen: "a key pair of this name holds another key"}, nil
	}
	return done(provision.Values{"name": a.Name})
}

type keypair struct {
	Name      string `json:"name"`
	PublicKey string `json:"public_key"`
}

// keypair reads one; ok is false where there is none. Rackspace's first cloud documents their list alone, which has the keys.
// https://github.com/rackerlabs/docs-cloud-servers/blob/master/src/common/samples/keypair-list-rsp.json
func (c *Cloud) keypair(ctx context.Context, name string) (k keypair, ok bool, err error) {
	s, err := c.service(ctx, "compute")
	if err != nil {
		return k, false, err
	}
	if !c.legacy {
		var one struct {
			Keypair keypair `json:"keypair"`
		}
		none, err := s.missing(ctx, "read key pair "+name, s.url("os-keypairs/"+url.PathEscape(name)), &one)
		return one.Keypair, !none && err == nil, err
	}
	var list struct {
		Keypairs []struct {
			Keypair keypair `json:"keypair"`
		} `json:"keypairs"`
	}
	err = s.get(ctx, "look for key pair "+name, s.url("os-keypairs"), &list)
	for _, x := range list.Keypairs {
		if x.Keypair.Name == name {
			k, ok = x.Keypair, true
		}
	}
	return k, ok, err
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
	_, ok, err := c.keypair(ctx, a.Name)
	if err != nil {
		return provision.Status{}, err
	}
	if !ok {
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
