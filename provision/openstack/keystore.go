package openstack

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/secrets"
)

// Keys gives a certificate of the plan that is in this process's memory; nil where it is not.
type Keys func(certificate string) *secrets.Certificate

// storeArgs are those of certificate.store.
type storeArgs struct {
	Cloud       string `json:"cloud"`
	Certificate string `json:"certificate"`
	Fingerprint string `json:"fingerprint"`
	Name        string `json:"name"`
	Run         string `json:"run"`
	Slot        string `json:"slot"`
}

// The parts of a certificate container, as barbican and octavia name them.
// https://docs.openstack.org/barbican/latest/api/reference/containers.html
const (
	partCertificate   = "certificate"
	partIntermediates = "intermediates"
	partKey           = "private_key"
)

// stored is a secret or a container.
type stored struct {
	Name      string `json:"name"`
	Status    string `json:"status"`
	Secret    string `json:"secret_ref"`
	Container string `json:"container_ref"`
	Refs      []struct {
		Name   string `json:"name"`
		Secret string `json:"secret_ref"`
	} `json:"secret_refs"`
}

// idOf gives the id at the end of an href; of its host nothing is used.
func idOf(href string) string {
	href = strings.TrimRight(href, "/")
	return href[strings.LastIndexByte(href, '/')+1:]
}

// keyed lists what barbican has of one name: kind is "containers" or "secrets". The name holds the run's ULID.
func keyed(ctx context.Context, s service, kind, name string) ([]stored, error) {
	got := map[string]json.RawMessage{}
	if err := s.get(ctx, "list "+kind+" of the key manager", s.url(kind+query("name", name, "limit", "100")), &got); err != nil {
		return nil, err
	}
	var out []stored
	if err := json.Unmarshal(got[kind], &out); err != nil {
		return nil, &provision.Error{What: "list " + kind + " of the key manager: the answer of barbican cannot be read", Class: provision.Final}
	}
	return slices.DeleteFunc(out, func(x stored) bool { return x.Name != name }), nil
}

// containers lists all that this user may see.
func containers(ctx context.Context, s service) ([]stored, error) {
	return listKeyed(ctx, s, "containers")
}

// listKeyed lists "containers" or "secrets", page by page: barbican counts offsets.
func listKeyed(ctx context.Context, s service, kind string) ([]stored, error) {
	var all []stored
	for {
		page := map[string]json.RawMessage{}
		if err := s.get(ctx, "list "+kind+" of the key manager", s.url(kind+query("limit", "100", "offset", strconv.Itoa(len(all)))), &page); err != nil {
			return nil, err
		}
		var items []stored
		var total int
		if json.Unmarshal(page[kind], &items) != nil || json.Unmarshal(page["total"], &total) != nil {
			return nil, &provision.Error{What: "list " + kind + " of the key manager: the answer of barbican cannot be read", Class: provision.Final}
		}
		all = append(all, items...)
		if len(items) == 0 || len(all) >= total {
			return all, nil
		}
	}
}

func partName(name, part string) string { return name + "." + strings.ReplaceAll(part, "_", "-") }

func (c *Cloud) checkStored(ctx context.Context, a storeArgs) (provision.Status, error) {
	if out, ok := c.just(CertificateStore, a.Name); ok {
		return done(out)
	}
	s, err := c.service(ctx, "key-manager")
	if err != nil {
		return provision.Status{}, err
	}
	all, err := keyed(ctx, s, "containers", a.Name)
	switch {
	case err != nil:
		return provision.Status{}, err
	case len(all) == 0:
		return absent()
	}
	return done(provision.Values{"id": idOf(all[0].Container), "container": all[0].Container})
}

// storeIn puts the parts into secrets of their own, then names them in a container. A part that is there already, of an
// attempt whose reply was lost, is taken.
func storeIn(keys Keys) func(*Cloud, context.Context, storeArgs) error {
	return func(c *Cloud, ctx context.Context, a storeArgs) error {
		cert := keys(a.Certificate)
		if cert == nil || cert.Fingerprint() != a.Fingerprint {
			return fmt.Errorf("certificate %s is no longer in memory", a.Certificate)
		}
		s, err := c.service(ctx, "key-manager")
		if err != nil {
			return err
		}
		refs := []any{}
		for _, part := range []struct {
			name string
			text secrets.Value
		}{{partCertificate, chainPEM(cert, 0, 1)}, {partIntermediates, chainPEM(cert, 1, len(cert.Chain))}, {partKey, cert.Key()}} {
			if part.text.IsZero() {
				continue
			}
			href, err := s.secret(ctx, partName(a.Name, part.name), part.text)
			if err != nil {
				return err
			}
			refs = append(refs, map[string]any{"name": part.name, "secret_ref": href})
		}
		var out stored
		if err := s.post(ctx, "make certificate container "+a.Slot, s.url("containers"),
			map[string]any{"type": "certificate", "name": a.Name, "secret_refs": refs}, &out); err != nil {
			return err
		}
		if out.Container == "" {
			return &provision.Error{What: "make certificate container " + a.Slot + ": barbican's answer names none", Class: provision.Unknown}
		}
		c.remember(CertificateStore, a.Name, provision.Values{"id": idOf(out.Container), "container": out.Container})
		return nil
	}
}

// chainPEM is certificates of the chain as text, with a final newline.
func chainPEM(c *secrets.Certificate, from, to int) secrets.Value {
	var b bytes.Buffer
	for _, x := range c.Chain[min(from, len(c.Chain)):min(to, len(c.Chain))] {
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: x.Raw}) // a buffer takes everything
	}
	return secrets.NewValue(b.Bytes())
}

// secret gives the href of a secret, which is made unless it is there. The body is written by hand, into a buffer that is
// wiped: no copy of a key is left in one of encoding/json's own.
func (s service) secret(ctx context.Context, name string, text secrets.Value) (string, error) {
	have, err := keyed(ctx, s, "secrets", name)
	if err != nil {
		return "", err
	}
	if len(have) > 0 {
		return have[0].Secret, nil
	}
	body := secretBody(name, text)
	defer body.Wipe()
	what := "put a part of the certificate into the key manager"
	resp, err := s.Request(ctx, http.MethodPost, s.url("secrets"), &gophercloud.RequestOpts{OkCodes: []int{201}, RawBody: bytes.NewReader(body.Bytes()),
		MoreHeaders: map[string]string{"Content-Type": "application/json"}, KeepResponseBody: true})
	if err != nil {
		return "", explain(s.name, http.MethodPost, what, withoutBody(err))
	}
	defer resp.Body.Close()
	var out stored
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil || out.Secret == "" {
		return "", &provision.Error{What: what + ": the answer of barbican cannot be read", Class: provision.Unknown}
	}
	return out.Secret, nil
}

// withoutBody drops what barbican says in a refusal of a key: it might quote what it refuses.
func withoutBody(err error) error {
	var u gophercloud.ErrUnexpectedResponseCode
	if errors.As(err, &u) && u.Actual != http.StatusForbidden && u.Actual != http.StatusRequestEntityTooLarge {
		u.Body = nil
		return u
	}
	return err
}

// secretBody is the request that stores text under a name. Text is PEM, so nothing in it needs escaping but line ends.
// Barbican loses the final newline of a text/plain payload; base64 of it comes back as it went in.
func secretBody(name string, text secrets.Value) secrets.Value {
	quoted, _ := json.Marshal(name) // a string is always JSON
	plain := text.Bytes()
	out := make([]byte, 0, len(plain)+bytes.Count(plain, []byte("\n"))+len(quoted)+128) // as large as it gets: growing would leave copies
	out = append(out, `{"name":`...)
	out = append(out, quoted...)
	out = append(out, `,"secret_type":"opaque","payload_content_type":"text/plain","payload":"`...)
	for _, ch := range plain {
		switch ch {
		case '\n':
			out = append(out, '\\', 'n')
		case '\r':
		default:
			out = append(out, ch)
		}
	}
	return secrets.NewValue(append(out, `"}`...))
}

// remains gives what barbican has of a certificate, of its renewals, too, but not of keep: hrefs below its root, containers first. The name of
// a renewal's container is that of the run's and one word more. Barbican finds only whole names, so all are looked at.
func (s service) remains(ctx context.Context, name, keep string) ([]string, error) {
	var out []string
	of := func(x, name string) bool { return x == name || strings.HasPrefix(x, name+".") }
	for _, kind := range []string{"containers", "secrets"} {
		all, err := listKeyed(ctx, s, kind)
		if err != nil {
			return nil, err
		}
		for _, x := range all {
			if of(x.Name, name) && (keep == "" || !of(x.Name, keep)) {
				out = append(out, kind+"/"+url.PathEscape(idOf(first(x.Container, x.Secret))))
			}
		}
	}
	return out, nil
}

func (c *Cloud) checkNotStored(ctx context.Context, a deleteArgs) (provision.Status, error) {
	s, err := c.service(ctx, "key-manager")
	if err != nil {
		return provision.Status{}, err
	}
	left, err := s.remains(ctx, a.Name, a.Keep)
	switch {
	case err != nil:
		return provision.Status{}, err
	case len(left) > 0:
		c.noisy(CertificateRemove, a.key())
		return absent()
	case a.ID == "":
		return c.noneSeen(CertificateRemove, a.key())
	}
	return done(provision.Values{"id": a.ID})
}

func (c *Cloud) removeStored(ctx context.Context, a deleteArgs) error {
	s, err := c.service(ctx, "key-manager")
	if err != nil {
		return err
	}
	c.forget(CertificateStore, a.Name)
	left, err := s.remains(ctx, a.Name, a.Keep)
	if err != nil {
		return err
	}
	for _, path := range left {
		if err := s.remove(ctx, "take the certificate out of the key manager", s.url(path)); err != nil {
			return err
		}
	}
	return nil
}
