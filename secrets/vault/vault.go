// Package vault takes certificates from Vault and OpenBao.
//
// It turns an address, a way to log in, and a path of a KV engine (version 1 or 2) into a *secrets.Certificate. Several
// addresses are tried in turn; a node that is sealed, not initialised or on standby is named as such. What is secret goes
// from the body of the answer into a secrets.Value without a string in between. It changes nothing but what logging in
// does: a token is made, and a wrapped secret_id is used up.
package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/openbao/openbao/api/v2"

	"github.com/dripstat/failover/secrets"
)

const (
	connectFor = 3 * time.Second // to learn whether a node is there at all
	answerFor  = 10 * time.Second
	maxAnswer  = 1 << 20
)

// Store is a Vault as a backend of secrets. Its zero fields are those of the environment: BAO_ADDR, BAO_TOKEN,
// BAO_NAMESPACE, BAO_CACERT and their like, else the same with VAULT_.
type Store struct {
	Addresses []string // tried in turn
	Namespace string
	CA        string // path of a PEM file
	Mount     string // of the KV engine; empty: "secret"
	Version   int    // of the KV engine, 1 or 2; 0: it is asked
	// ChainField and KeyField are where in the secret they are (secrets.Pick); empty: "chain" and "key".
	ChainField []string
	KeyField   string
	Login      Login
	Dir        string // that paths are relative to

	mu      sync.Mutex
	client  *api.Client // logged in; nil before
	where   string
	remarks map[string][]secrets.Remark
}

// Login is at most one of its fields; none: BAO_TOKEN or VAULT_TOKEN, then the file that `vault login` leaves.
type Login struct {
	Token      secrets.Value
	AppRole    *AppRole
	Userpass   *Userpass
	JWT        *JWT
	Kubernetes *JWT
}

// AppRole logs in as a role.
type AppRole struct {
	Mount    string // empty: "approle"
	RoleID   string
	SecretID secrets.Value // empty where the role needs none
	Wrapped  bool          // SecretID is a response-wrapping token that holds it; it can be used once
}

// Userpass logs in as a user.
type Userpass struct {
	Mount    string // empty: "userpass"
	Username string
	Password secrets.Value
}

// JWT logs in with a token that somebody else has signed: CI, or Kubernetes for a service account.
type JWT struct {
	Mount string // empty: "jwt", or "kubernetes"
	Role  string
	Token secrets.Value
	File  string // that holds Token; empty for Kubernetes: where a pod has it
}

// podToken is where Kubernetes puts a service account's token.
// https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
const podToken = "/var/run/secrets/kubernetes.io/serviceaccount/token" //nolint:gosec // a path

// Certificate reads a secret. Where no address answers, none lets us in, or nothing is at path, nothing is known of the
// certificate; a secret without the fields, or with something else in them, is wrong.
func (s *Store) Certificate(ctx context.Context, path string) (*secrets.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	path = strings.Trim(path, "/")
	var doc secrets.Value
	var at place
	err := s.reach(ctx, func() (err error) {
		doc, at, err = s.get(ctx, path)
		return err
	})
	if err != nil {
		return nil, err
	}
	defer doc.Wipe()
	c, err := s.certificate(doc, at, path)
	if err != nil {
		return nil, &secrets.Error{What: fmt.Sprintf("what Vault holds at %s will not do", at.name), Err: err, Hint: secrets.HintOf(err)}
	}
	if s.remarks == nil {
		s.remarks = map[string][]secrets.Remark{}
	}
	s.remarks[path] = s.remark(ctx, doc, at)
	return c, nil
}

// Remarks notes which version of the secret it is, and how long the token is good.
func (s *Store) Remarks(path string) []secrets.Remark {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.remarks[strings.Trim(path, "/")]
}

// place is where a secret was read.
type place struct {
	version int
	name    string // mount and path, for people
}

// prefix is where in an answer the secret's own fields are.
func (p place) prefix() string {
	if p.version == 2 {
		return "data.data."
	}
	return "data."
}

func (s *Store) certificate(doc secrets.Value, at place, path string) (*secrets.Certificate, error) {
	chain, key := s.ChainField, s.KeyField
	if len(chain) == 0 {
		chain = []string{"chain"}
	}
	if key == "" {
		key = "key"
	}
	full := make([]string, len(chain))
	for i, f := range chain {
		full[i] = at.prefix() + f
	}
	return secrets.Fields(doc, path, full, at.prefix()+key)
}

// get reads one secret, whole, as the bytes that came.
func (s *Store) get(ctx context.Context, path string) (secrets.Value, place, error) {
	mount := strings.Trim(s.Mount, "/")
	if mount == "" {
		mount = "secret"
	}
	at := place{version: s.Version, name: mount + "/" + path}
	if at.version == 0 {
		at.version = s.engine(ctx, mount)
	}
	full := mount + "/" + path
	if at.version == 2 {
		full = mount + "/data/" + path
	}
	doc, err := s.body(ctx, full)
	var re *api.ResponseError
	switch {
	case err == nil:
		return doc, at, nil
	case errors.As(err, &re) && re.StatusCode == http.StatusNotFound:
		return doc, at, &secrets.Error{Away: true, Err: &answerError{fmt.Sprintf("Vault at %s has nothing at %s (KV version %d)", s.where, at.name, at.version)},
			Hint: fmt.Sprintf("vault kv get -mount=%s %s shows what is there; mount and version are the plan's to say", mount, path)}
	case errors.As(err, &re) && re.StatusCode == http.StatusForbidden:
		return doc, at, s.refused(ctx, err, "does not let this token read "+at.name, "a policy must allow: path \""+full+"\" { capabilities = [\"read\"] }; or the token is too old: vault token lookup")
	}
	return doc, at, s.refused(ctx, err, "does not give "+at.name, "")
}

// engine asks which version a KV engine is of, as the vault command does; 2 where it will not say.
func (s *Store) engine(ctx context.Context, mount string) int {
	doc, err := s.body(ctx, "sys/internal/ui/mounts/"+mount)
	if err != nil {
		return 2
	}
	defer doc.Wipe()
	var m struct {
		Data struct {
			Type    string
			Options map[string]string
		}
	}
	if json.Unmarshal(doc.Bytes(), &m) == nil && (m.Data.Type == "kv" || m.Data.Type == "generic") && m.Data.Options["version"] != "2" {
		return 1
	}
	return 2
}

// body reads from a path.
func (s *Store) body(ctx context.Context, path string) (secrets.Value, error) {
	limit, cancel := context.WithTimeout(ctx, answerFor)
	defer cancel()
	return whole(s.client.Logical().ReadRawWithContext(limit, path))
}

// whole reads an answer into a buffer of the right size.
func whole(res *api.Response, err error) (secrets.Value, error) {
	if res != nil {
		defer res.Body.Close()
	}
	if err != nil {
		return secrets.Value{}, err
	}
	size := int64(maxAnswer)
	if res.ContentLength > 0 {
		size = min(size, res.ContentLength)
	}
	b := make([]byte, size+1)
	n, err := io.ReadFull(res.Body, b)
	if err == nil || !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		clear(b)
		return secrets.Value{}, errors.New("the answer broke off, or is too long")
	}
	return secrets.NewValue(b[:n]), nil
}

// remark says which version was read, and how long the token is good yet.
func (s *Store) remark(ctx context.Context, doc secrets.Value, at place) []secrets.Remark {
	var says []string
	var v2 struct {
		Data struct {
			Metadata struct {
				Version     int       `json:"version"`
				CreatedTime time.Time `json:"created_time"`
			} `json:"metadata"`
		} `json:"data"`
	}
	if at.version == 2 && json.Unmarshal(doc.Bytes(), &v2) == nil && v2.Data.Metadata.Version > 0 {
		says = append(says, fmt.Sprintf("version %d of %s", v2.Data.Metadata.Version, v2.Data.Metadata.CreatedTime.UTC().Format(time.DateOnly)))
	}
	token, root := s.token(ctx)
	if token != "" {
		says = append(says, token)
	}
	if root {
		return []secrets.Remark{{What: strings.Join(says, "; ")}, {Warn: true, What: "a root token of Vault is used", Hint: "make one that may only read " + at.name}}
	}
	if len(says) == 0 {
		return nil
	}
	return []secrets.Remark{{What: strings.Join(says, "; ")}}
}

// token says how long the token is good yet, "" where Vault does not tell, and whether it may do anything.
func (s *Store) token(ctx context.Context) (says string, root bool) {
	self, err := s.body(ctx, "auth/token/lookup-self")
	if err != nil {
		return "", false
	}
	defer self.Wipe()
	var t struct {
		Data struct {
			TTL      int64    `json:"ttl"`
			Policies []string `json:"policies"`
		} `json:"data"`
	}
	if json.Unmarshal(self.Bytes(), &t) != nil {
		return "", false
	}
	says = "the token does not expire"
	if ttl := time.Duration(t.Data.TTL) * time.Second; ttl > 0 {
		says = "the token is good for another " + ttl.Round(time.Minute).String()
	}
	return says, slices.Contains(t.Data.Policies, "root")
}
