package vault

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/openbao/openbao/api/v2"

	"github.com/dripstat/failover/secrets"
)

// PKI is a PKI engine as an issuer: it has a certificate signed, or made, by a role, and seals it. To sign, the key is made
// here, and Vault never sees it.
type PKI struct {
	Vault   *Store // where it is and how to log in; its KV engine is not used
	Mount   string // empty: "pki"
	Role    string
	TTL     time.Duration // 0: the role's
	Make    bool          // Vault makes the key, too
	KeyType string        // p256, p384, rsa2048, rsa3072, rsa4096; empty: what the role wants. Not where Vault makes it
	Renew   time.Duration // a certificate that lasts for less is replaced; 0: a third of its life
	Sealed  secrets.Sealed

	mu sync.Mutex
}

var _ secrets.Issuer = (*PKI)(nil)

// Certificate gives what was issued before and sealed.
func (p *PKI) Certificate(ctx context.Context, path string) (*secrets.Certificate, error) {
	c, err := p.Sealed.Certificate(ctx, path)
	if err != nil && secrets.Elsewhere(err) {
		return nil, &secrets.Error{Away: true, What: "nothing that was issued is sealed here", Err: err, Hint: "bring " + p.Sealed.Name() + " here from the machine that has it"}
	}
	return c, err
}

// made is what is sealed beside a certificate: by whom it is, and for which run.
type made struct {
	Run  string `json:"run"`
	Role string `json:"role"` // with its mount
}

func item(path string) string { return "vault pki " + path }

func (p *PKI) mount() string {
	if m := strings.Trim(p.Mount, "/"); m != "" {
		return m
	}
	return "pki"
}

func (p *PKI) role() string { return p.mount() + "/roles/" + p.Role }

// verb is the path that is written to.
func (p *PKI) verb() string {
	if p.Make {
		return p.mount() + "/issue/" + p.Role
	}
	return p.mount() + "/sign/" + p.Role
}

func (p *PKI) made(ctx context.Context, path string) (made, error) {
	var m made
	v, err := p.Sealed.Item(ctx, item(path))
	if err != nil || v.IsZero() {
		return m, err
	}
	defer v.Wipe()
	if json.Unmarshal(v.Bytes(), &m) != nil {
		return m, fmt.Errorf("%s: what is sealed for %s cannot be read", p.Sealed.Name(), path)
	}
	return m, nil
}

// Stale says why what is sealed is not to be used again: another role issued it, or as secrets.Stale says.
func (p *PKI) Stale(ctx context.Context, path string, c *secrets.Certificate, names []string) (string, bool) {
	if m, err := p.made(ctx, path); err == nil && m.Role != "" && m.Role != p.role() {
		return "is of another role (" + m.Role + ")", false
	}
	return secrets.Stale(c, names, time.Now(), p.Renew)
}

// roleFacts are what a role says of the certificates that it gives.
type roleFacts struct {
	TTL           int64  `json:"ttl"`
	MaxTTL        int64  `json:"max_ttl"`
	KeyType       string `json:"key_type"`
	KeyBits       int    `json:"key_bits"`
	GenerateLease bool   `json:"generate_lease"`
}

// Offer logs in and reads: whether the token may write to the role, and what the role says. The token need not be allowed to
// read the role.
func (p *PKI) Offer(ctx context.Context, _ string, _ []string) (secrets.Offer, error) {
	o := secrets.Offer{By: "Vault, role " + p.Role, Sealed: p.Sealed.Name()}
	if err := p.Sealed.Ready(ctx); err != nil {
		return o, &secrets.Error{Away: true, What: "what is issued could not be sealed", Err: err, Hint: secrets.HintOf(err)}
	}
	p.Vault.mu.Lock()
	defer p.Vault.mu.Unlock()
	err := p.Vault.reach(ctx, func() error {
		may, err := p.Vault.client.Sys().CapabilitiesSelfWithContext(ctx, p.verb())
		if err != nil {
			return p.Vault.refused(ctx, err, "does not say what this token may", "")
		}
		if !slices.ContainsFunc(may, func(c string) bool { return c == "update" || c == "create" || c == "root" }) {
			return &secrets.Error{Away: true, Err: &answerError{"Vault at " + p.Vault.where + " does not let this token write to " + p.verb()},
				Hint: "a policy must allow: path \"" + p.verb() + "\" { capabilities = [\"update\"] }; or the token is too old: vault token lookup"}
		}
		o.Remarks, err = p.remarks(ctx)
		return err
	})
	return o, err
}

// remarks says what the role and the token say of how long things last.
func (p *PKI) remarks(ctx context.Context) ([]secrets.Remark, error) {
	var out []secrets.Remark
	var says []string
	role, err := p.facts(ctx)
	if err != nil {
		return nil, err
	}
	switch max := time.Duration(role.MaxTTL) * time.Second; {
	case p.TTL > 0 && max > 0 && p.TTL > max:
		says = append(says, fmt.Sprintf("the role gives certificates for %s at most, the plan wants %s", max, p.TTL))
	case p.TTL > 0:
		says = append(says, "the certificate is for "+p.TTL.String())
	case role.TTL > 0:
		says = append(says, "the role gives certificates for "+(time.Duration(role.TTL)*time.Second).String())
	}
	token, root := p.Vault.token(ctx)
	if token != "" {
		says = append(says, token)
	}
	if len(says) > 0 {
		out = append(out, secrets.Remark{What: strings.Join(says, "; ")})
	}
	if role.GenerateLease { // https://developer.hashicorp.com/vault/api-docs/secret/pki#generate_lease
		out = append(out, secrets.Remark{Warn: true, What: "certificates of this role are leases: Vault revokes them when the token that asked for them ends",
			Hint: "vault patch " + p.role() + " generate_lease=false"})
	}
	if root {
		out = append(out, secrets.Remark{Warn: true, What: "a root token of Vault is used", Hint: "make one that may only update " + p.verb()})
	}
	if family := strings.TrimRight(p.KeyType, "0123456789"); !p.Make && family != "" && (role.KeyType == "rsa" || role.KeyType == "ec") && (family == "rsa") != (role.KeyType == "rsa") {
		return out, &secrets.Error{What: fmt.Sprintf("role %s wants a key of type %s", p.Role, role.KeyType), Hint: "say it in the plan: key_type = \"" + map[string]string{"rsa": "rsa2048", "ec": "p256"}[role.KeyType] + "\""}
	}
	return out, nil
}

// facts reads the role, where the token may. That there is none is known from a plain no only of a token that may.
func (p *PKI) facts(ctx context.Context) (roleFacts, error) {
	var doc struct {
		Data roleFacts `json:"data"`
	}
	v, err := p.Vault.body(ctx, p.role())
	var re *api.ResponseError
	switch {
	case errors.As(err, &re) && re.StatusCode == http.StatusForbidden:
		return doc.Data, nil
	case errors.As(err, &re) && re.StatusCode == http.StatusNotFound:
		return doc.Data, &secrets.Error{Away: true, Err: &answerError{"Vault at " + p.Vault.where + " has no " + p.role()}, Hint: "vault list " + p.mount() + "/roles; mount and role are the plan's to say"}
	case err != nil:
		return doc.Data, p.Vault.refused(ctx, err, "does not give "+p.role(), "")
	}
	defer v.Wipe()
	_ = json.Unmarshal(v.Bytes(), &doc) // what is not said is not judged
	return doc.Data, nil
}

// answer is what the engine gives of a certificate.
type answer struct {
	Data struct {
		Certificate string   `json:"certificate"`
		CAChain     []string `json:"ca_chain"`
		IssuingCA   string   `json:"issuing_ca"`
	} `json:"data"`
}

// Issue has the certificate signed, or made, and seals it. An answer that was lost leaves one that nobody has the key of, or
// that expires unused: the next asks for another.
func (p *PKI) Issue(ctx context.Context, r secrets.Request) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	ask := map[string]any{"common_name": r.Names[0], "alt_names": strings.Join(r.Names, ","), "format": "pem"}
	if p.TTL > 0 {
		ask["ttl"] = p.TTL.String()
	}
	var key []byte
	if p.Make {
		ask["private_key_format"] = "pkcs8"
	} else {
		kind, err := p.kind(ctx)
		if err != nil {
			return err
		}
		csr, der, err := request(kind, r.Names)
		if err != nil {
			return err
		}
		defer clear(der)
		ask["csr"] = csr
		key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
		defer clear(key)
	}
	doc, err := p.write(ctx, ask)
	if err != nil {
		return err
	}
	defer doc.Wipe()
	if p.Make {
		v, err := secrets.Pick(doc.Bytes(), "data.private_key", "")
		if err != nil {
			return &secrets.Error{What: "what Vault answers will not do", Err: err}
		}
		defer v.Wipe()
		key = v.Bytes()
	}
	var a answer
	if json.Unmarshal(doc.Bytes(), &a) != nil || a.Data.Certificate == "" {
		return &secrets.Error{What: "Vault answers with something that is no certificate"}
	}
	chain := append([]string{a.Data.Certificate}, a.Data.CAChain...)
	if len(a.Data.CAChain) == 0 {
		chain = append(chain, a.Data.IssuingCA)
	}
	m, err := json.Marshal(made{Run: r.Run, Role: p.role()})
	if err != nil {
		return err
	}
	return p.Sealed.Put(ctx, secrets.Entry{Name: item(r.Path), Item: secrets.NewValue(m)}, secrets.Entry{Name: r.Path, Chain: []byte(strings.Join(chain, "\n")), Key: secrets.NewValue(key)})
}

// write sends the request. A no of Vault's is an answer.
func (p *PKI) write(ctx context.Context, ask map[string]any) (secrets.Value, error) {
	s := p.Vault
	s.mu.Lock()
	defer s.mu.Unlock()
	var doc secrets.Value
	err := s.reach(ctx, func() (err error) {
		limit, cancel := context.WithTimeout(ctx, answerFor)
		defer cancel()
		req := s.client.NewRequest(http.MethodPost, "/v1/"+p.verb())
		if err := req.SetJSONBody(ask); err != nil {
			return err
		}
		doc, err = whole(s.client.RawRequestWithContext(limit, req)) // not Logical().Write, which makes a string of the key
		if err != nil {
			return s.refused(ctx, err, "does not write to "+p.verb(), "vault read "+p.role()+" shows what the role allows")
		}
		return nil
	})
	var no *answerError
	if errors.As(err, &no) {
		return doc, &secrets.Error{What: no.what, Hint: secrets.HintOf(err)}
	}
	return doc, err
}

// kind is the type of key that is made here.
func (p *PKI) kind(ctx context.Context) (string, error) {
	if p.KeyType != "" {
		return p.KeyType, nil
	}
	p.Vault.mu.Lock()
	defer p.Vault.mu.Unlock()
	kind := "p256"
	err := p.Vault.reach(ctx, func() error {
		role, err := p.facts(ctx)
		if role.KeyType == "rsa" {
			kind = "rsa2048"
			if role.KeyBits == 3072 || role.KeyBits == 4096 {
				kind = fmt.Sprintf("rsa%d", role.KeyBits)
			}
		} else if role.KeyBits == 384 {
			kind = "p384"
		}
		return err
	})
	return kind, err
}

// request makes a key, PKCS #8, and what asks for a certificate of it.
func request(kind string, names []string) (csr string, key []byte, err error) {
	k, key, err := secrets.NewKey(kind)
	if err != nil {
		return "", nil, err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: names[0]}, DNSNames: names}, k)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})), key, err
}

// Issued gives the certificate that was sealed for the run of a request.
func (p *PKI) Issued(ctx context.Context, r secrets.Request) (*secrets.Certificate, error) {
	m, err := p.made(ctx, r.Path)
	if err != nil || m.Run != r.Run || m.Role != p.role() {
		return nil, err
	}
	return p.Sealed.Certificate(ctx, r.Path)
}
