// Package barbican takes certificates from Barbican, the key manager of OpenStack.
//
// It turns a certificate container, or two secrets, named by name, id or href, into a *secrets.Certificate, through a
// client that it is given. It only reads, and asks nobody but that client: of an href only the id is used.
package barbican

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/keymanager/v1/containers"
	barbican "github.com/gophercloud/gophercloud/v2/openstack/keymanager/v1/secrets"

	"github.com/dripstat/failover/secrets"
)

// Store is a Barbican as a backend of secrets.
type Store struct {
	// Client gives the key manager of a region.
	Client func(ctx context.Context) (*gophercloud.ServiceClient, error)
	// Chain and Key name two secrets, with {path} for the path that is asked for; both empty: path is a certificate
	// container (https://docs.openstack.org/barbican/latest/api/reference/containers.html).
	Chain, Key string
}

// Certificate reads it. Where Barbican is not reached, does not let us in or has nothing of this name, nothing is known of
// the certificate; several of one name, a container without its parts, and a key with a passphrase are wrong.
func (s *Store) Certificate(ctx context.Context, path string) (*secrets.Certificate, error) {
	c, err := s.Client(ctx)
	if err != nil {
		return nil, &secrets.Error{Away: true, What: "there is no key manager", Err: err}
	}
	var chain, key secrets.Value
	if s.Chain != "" {
		chain, key, err = pair(ctx, c, secrets.Fill(s.Chain, path), secrets.Fill(s.Key, path))
	} else {
		chain, key, err = container(ctx, c, path)
	}
	if err != nil {
		return nil, err
	}
	out, err := secrets.Read(chain, key)
	if err != nil {
		return nil, fmt.Errorf("what Barbican holds as %s will not do: %w", path, err)
	}
	return out, nil
}

var uuid = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// id gives the id at the end of an id or href; "" for a name.
func id(s string) string {
	s = strings.TrimRight(s, "/")
	if m := uuid.FindString(s); m == s || strings.Contains(s, "://") {
		return m
	}
	return ""
}

// failed says what went wrong without the body of an answer.
func failed(what string, err error) error {
	switch {
	case gophercloud.ResponseCodeIs(err, http.StatusNotFound):
		return &secrets.Error{Away: true, What: "Barbican has no " + what, Hint: "openstack secret container list; openstack secret list"}
	case gophercloud.ResponseCodeIs(err, http.StatusForbidden), gophercloud.ResponseCodeIs(err, http.StatusUnauthorized):
		return &secrets.Error{Away: true, What: "Barbican does not let us read the " + what, Hint: "the role creator may, or an ACL: openstack acl user add --user USER --operation-type read HREF"}
	case gophercloud.ResponseCodeIs(err, http.StatusNotAcceptable):
		return fmt.Errorf("the %s is not text", what)
	}
	for _, code := range []int{500, 502, 503, 504, 429} {
		if gophercloud.ResponseCodeIs(err, code) {
			return &secrets.Error{Away: true, What: fmt.Sprintf("Barbican answered %d when it was asked for the %s", code, what)}
		}
	}
	return &secrets.Error{Away: true, What: "Barbican does not give the " + what, Err: err}
}

// container reads the parts of a certificate container.
func container(ctx context.Context, c *gophercloud.ServiceClient, path string) (chain, key secrets.Value, err error) {
	what := fmt.Sprintf("container %q", path)
	at := id(path)
	if at == "" {
		pages, err := containers.List(c, containers.ListOpts{Name: path}).AllPages(ctx)
		if err != nil {
			return chain, key, failed(what, err)
		}
		list, err := containers.ExtractContainers(pages)
		if err != nil {
			return chain, key, failed(what, err)
		}
		switch len(list) {
		case 0:
			return chain, key, &secrets.Error{Away: true, What: "Barbican has no " + what, Hint: "openstack secret container list"}
		case 1:
			at = id(list[0].ContainerRef)
		default:
			return chain, key, &secrets.Error{What: fmt.Sprintf("Barbican has %d containers %q", len(list), path), Hint: "name it by its href: openstack secret container list"}
		}
	}
	got, err := containers.Get(ctx, c, at).Extract()
	if err != nil {
		return chain, key, failed(what, err)
	}
	if got.Type != "certificate" {
		return chain, key, &secrets.Error{What: fmt.Sprintf("the %s is of type %s", what, got.Type), Hint: "openstack secret container create --type certificate"}
	}
	refs := map[string]string{}
	for _, r := range got.SecretRefs {
		refs[r.Name] = id(r.SecretRef)
	}
	for _, need := range []string{"certificate", "private_key"} {
		if refs[need] == "" {
			return chain, key, &secrets.Error{What: fmt.Sprintf("the %s has no %s", what, need)}
		}
	}
	if refs["private_key_passphrase"] != "" {
		return chain, key, &secrets.Error{What: fmt.Sprintf("the private key of the %s has a passphrase of its own", what), Hint: "store the plain key: Barbican encrypts it itself"}
	}
	parts := []secrets.Value{}
	for _, name := range []string{"certificate", "intermediates"} {
		if refs[name] == "" {
			continue
		}
		v, err := payload(ctx, c, refs[name], name+" of the "+what)
		if err != nil {
			return chain, key, err
		}
		parts = append(parts, v)
	}
	if key, err = payload(ctx, c, refs["private_key"], "private key of the "+what); err != nil {
		return chain, key, err
	}
	return secrets.Join(parts...), key, nil
}

// pair reads two secrets.
func pair(ctx context.Context, c *gophercloud.ServiceClient, chainName, keyName string) (chain, key secrets.Value, err error) {
	if chain, err = named(ctx, c, chainName); err != nil {
		return chain, key, err
	}
	if keyName == "" {
		return chain, key, nil
	}
	if key, err = named(ctx, c, keyName); err != nil {
		chain.Wipe()
	}
	return chain, key, err
}

func named(ctx context.Context, c *gophercloud.ServiceClient, name string) (secrets.Value, error) {
	what := fmt.Sprintf("secret %q", name)
	at := id(name)
	if at == "" {
		pages, err := barbican.List(c, barbican.ListOpts{Name: name}).AllPages(ctx)
		if err != nil {
			return secrets.Value{}, failed(what, err)
		}
		list, err := barbican.ExtractSecrets(pages)
		if err != nil {
			return secrets.Value{}, failed(what, err)
		}
		switch len(list) {
		case 0:
			return secrets.Value{}, &secrets.Error{Away: true, What: "Barbican has no " + what, Hint: "openstack secret list"}
		case 1:
			at = id(list[0].SecretRef)
		default:
			return secrets.Value{}, &secrets.Error{What: fmt.Sprintf("Barbican has %d secrets %q", len(list), name), Hint: "name it by its href: openstack secret list"}
		}
	}
	return payload(ctx, c, at, what)
}

// payload reads one secret as it was stored: as another type Barbican gives 406.
// https://docs.openstack.org/barbican/latest/api/reference/secrets.html
func payload(ctx context.Context, c *gophercloud.ServiceClient, id, what string) (secrets.Value, error) {
	meta, err := barbican.Get(ctx, c, id).Extract()
	if err != nil {
		return secrets.Value{}, failed(what, err)
	}
	accept := meta.ContentTypes["default"]
	if accept == "" {
		return secrets.Value{}, &secrets.Error{What: "the " + what + " has no payload"}
	}
	b, err := barbican.GetPayload(ctx, c, id, barbican.GetPayloadOpts{PayloadContentType: accept}).Extract()
	if err != nil {
		return secrets.Value{}, failed(what, err)
	}
	return secrets.NewValue(b), nil
}
