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
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
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
	doc, at, err := s.read(ctx, path)
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

// read finds a node that answers, logs in there, and reads.
func (s *Store) read(ctx context.Context, path string) (secrets.Value, place, error) {
	if s.client != nil { // logged in before
		doc, at, err := s.get(ctx, path)
		if err == nil || !secrets.Elsewhere(err) || ctx.Err() != nil {
			return doc, at, err
		}
		s.client = nil
	}
	addresses := s.Addresses
	if len(addresses) == 0 {
		addresses = []string{""}
	}
	var said []string
	hint := ""
	for _, a := range addresses {
		doc, at, err := s.readAt(ctx, a, path)
		if err == nil || !secrets.Elsewhere(err) {
			return doc, at, err
		}
		if said = append(said, err.Error()); hint == "" {
			hint = secrets.HintOf(err)
		}
		var mine *answerError
		if ctx.Err() != nil || errors.As(err, &mine) { // the cluster has answered: the next node would say the same
			break
		}
	}
	return secrets.Value{}, place{}, &secrets.Error{Away: true, What: strings.Join(said, "; "), Hint: hint}
}

// answerError is a no of Vault's to a request that it understood.
type answerError struct{ what string }

func (e *answerError) Error() string { return e.what }

func (s *Store) readAt(ctx context.Context, address, path string) (secrets.Value, place, error) {
	c, err := s.dial(address)
	if err != nil {
		return secrets.Value{}, place{}, err
	}
	s.where = c.Address()
	if err := s.health(ctx, c); err != nil {
		return secrets.Value{}, place{}, err
	}
	if err := s.login(ctx, c); err != nil {
		return secrets.Value{}, place{}, err
	}
	s.client = c
	doc, at, err := s.get(ctx, path)
	if err != nil {
		s.client = nil
	}
	return doc, at, err
}

// dial makes a client; it asks nobody.
func (s *Store) dial(address string) (*api.Client, error) {
	conf := api.DefaultConfig()
	if conf.Error != nil {
		return nil, &secrets.Error{Away: true, What: "the environment's settings for Vault cannot be used", Err: conf.Error, Hint: "look at BAO_ and VAULT_ variables"}
	}
	if address != "" {
		conf.Address, conf.AgentAddress = address, "" // an agent of the environment is not what the plan names
	}
	if s.CA != "" {
		ca := s.CA
		if !filepath.IsAbs(ca) {
			ca = filepath.Join(s.Dir, ca)
		}
		if err := conf.ConfigureTLS(&api.TLSConfig{CACert: ca}); err != nil {
			return nil, &secrets.Error{Away: true, What: "ca of Vault cannot be used", Err: err}
		}
	}
	conf.MaxRetries, conf.Timeout = 0, answerFor // the ladder, and the other addresses, are the second try
	c, err := api.NewClient(conf)
	if err != nil {
		return nil, &secrets.Error{Away: true, What: "Vault's address cannot be used", Err: err}
	}
	if s.Namespace != "" {
		c.SetNamespace(s.Namespace)
	}
	return c, nil
}

// health says of a node that is of no use why.
func (s *Store) health(ctx context.Context, c *api.Client) error {
	limit, cancel := context.WithTimeout(ctx, connectFor)
	defer cancel()
	plain := c.WithNamespace("") // health is asked of the node, not in a namespace
	plain.ClearToken()
	h, err := plain.Sys().HealthWithContext(limit)
	away := func(hint, f string, a ...any) error {
		return &secrets.Error{Away: true, What: "Vault at " + s.where + " " + fmt.Sprintf(f, a...), Hint: hint}
	}
	switch {
	case err != nil && limit.Err() != nil:
		return away("", "does not answer within %s", connectFor)
	case err != nil:
		return away("", "cannot be reached: %s", short(err))
	case !h.Initialized:
		return away("vault operator init, or name another address", "is not initialised")
	case h.Sealed && h.Standby:
		return away("vault operator unseal, at each node", "is sealed, and on standby")
	case h.Sealed:
		return away("vault operator unseal", "is sealed")
	}
	return nil
}

// login gets the client a token.
func (s *Store) login(ctx context.Context, c *api.Client) error {
	l := s.Login
	mount := func(given, usual string) string {
		if given == "" {
			return usual
		}
		return strings.Trim(given, "/")
	}
	switch {
	case !l.Token.IsZero():
		c.SetToken(strings.TrimSpace(string(l.Token.Bytes())))
		return nil
	case l.AppRole != nil:
		data := map[string]any{"role_id": l.AppRole.RoleID}
		if !l.AppRole.SecretID.IsZero() {
			id, err := s.secretID(ctx, c)
			if err != nil {
				return err
			}
			data["secret_id"] = id
		}
		return s.enter(ctx, c, "approle", mount(l.AppRole.Mount, "approle")+"/login", data)
	case l.Userpass != nil:
		return s.enter(ctx, c, "userpass", mount(l.Userpass.Mount, "userpass")+"/login/"+l.Userpass.Username, map[string]any{"password": string(l.Userpass.Password.Bytes())})
	case l.JWT != nil:
		return s.signed(ctx, c, "jwt", mount(l.JWT.Mount, "jwt"), l.JWT, "")
	case l.Kubernetes != nil:
		return s.signed(ctx, c, "kubernetes", mount(l.Kubernetes.Mount, "kubernetes"), l.Kubernetes, podToken)
	}
	if c.Token() != "" { // of the environment
		return nil
	}
	home, err := os.UserHomeDir()
	if err == nil {
		var b []byte
		if b, err = os.ReadFile(filepath.Join(home, ".vault-token")); err == nil && len(b) > 0 {
			c.SetToken(strings.TrimSpace(string(b)))
			return nil
		}
	}
	return &secrets.Error{Away: true, What: "there is no token for Vault", Hint: "vault login, or VAULT_TOKEN, or a way to log in, in the plan"}
}

// secretID gives the role's secret, out of its wrapping where it has one. A wrapping is opened once and kept.
func (s *Store) secretID(ctx context.Context, c *api.Client) (string, error) {
	r := s.Login.AppRole
	if !r.Wrapped {
		return strings.TrimSpace(string(r.SecretID.Bytes())), nil
	}
	token := strings.TrimSpace(string(r.SecretID.Bytes()))
	alarm := &secrets.Error{Away: true, Hint: "ask for a new one: vault write -wrap-ttl=1h -f auth/approle/role/ROLE/secret-id. Where nobody of you has used it, somebody else has: destroy the role's secret ids"}
	// Who could put a wrapping of his own here would have us log in as somebody else.
	look, err := c.Logical().WriteWithContext(ctx, "sys/wrapping/lookup", map[string]any{"token": token})
	if err != nil || look == nil {
		alarm.What = "the wrapped secret_id has been used, or is too old"
		return "", alarm
	}
	if from, _ := look.Data["creation_path"].(string); !strings.HasSuffix(from, "/secret-id") {
		alarm.What = fmt.Sprintf("the wrapped secret_id was made at %q, which makes no secret ids", from)
		return "", alarm
	}
	got, err := c.Logical().UnwrapWithContext(ctx, token)
	c.ClearToken()
	id := ""
	if err == nil && got != nil {
		id, _ = got.Data["secret_id"].(string)
	}
	if id == "" {
		alarm.What = "the wrapped secret_id could not be unwrapped"
		return "", alarm
	}
	s.Login.AppRole = &AppRole{Mount: r.Mount, RoleID: r.RoleID, SecretID: secrets.NewValue([]byte(id))}
	return id, nil
}

func (s *Store) signed(ctx context.Context, c *api.Client, method, mount string, j *JWT, file string) error {
	token := string(j.Token.Bytes())
	if j.File != "" {
		file = j.File
		if !filepath.IsAbs(file) {
			file = filepath.Join(s.Dir, file)
		}
	}
	if j.Token.IsZero() {
		b, err := os.ReadFile(file)
		if err != nil {
			return &secrets.Error{Away: true, What: "the token to log in to Vault with cannot be read", Err: err}
		}
		token = string(b)
	}
	return s.enter(ctx, c, method, mount+"/login", map[string]any{"role": j.Role, "jwt": strings.TrimSpace(token)})
}

// enter logs in. Vault answers 500 to some credentials that it does not know.
func (s *Store) enter(ctx context.Context, c *api.Client, method, path string, data map[string]any) error {
	c.ClearToken()
	got, err := c.Logical().WriteWithContext(ctx, "auth/"+path, data)
	if err != nil || got == nil || got.Auth == nil || got.Auth.ClientToken == "" {
		if err == nil {
			err = errors.New("it gave no token")
		}
		return s.refused(ctx, err, "does not let us in by "+method, "vault write auth/"+path+" by hand says more")
	}
	c.SetToken(got.Auth.ClientToken)
	return nil
}

// refused says what Vault answered.
func (s *Store) refused(ctx context.Context, err error, what, hint string) error {
	out := &secrets.Error{Away: true, What: "Vault at " + s.where + " " + what + ": " + short(err), Hint: hint}
	var re *api.ResponseError
	switch {
	case ctx.Err() != nil:
		out.Err = ctx.Err()
	case errors.As(err, &re) && (re.StatusCode < 500 || strings.Contains(what, "let us in") && re.StatusCode == http.StatusInternalServerError):
		return &secrets.Error{Away: true, Err: &answerError{out.What}, Hint: hint}
	}
	return out
}

var secretRun = regexp.MustCompile(`[A-Za-z0-9+/_=-]{32,}|\b(hv[sbr]|[sbr])\.[A-Za-z0-9._-]{8,}|[0-9a-f]{8}-[0-9a-f-]{27}`)

// short gives the words of an error, without URLs, tokens and ids.
func short(err error) string {
	var re *api.ResponseError
	s := err.Error()
	if errors.As(err, &re) {
		s = strings.Join(re.Errors, ", ")
		if s == "" || re.RawError {
			s = http.StatusText(re.StatusCode)
		}
		s = strconv.Itoa(re.StatusCode) + ", " + s
	} else if i := strings.LastIndex(s, `": `); i >= 0 { // Get "https://...": dial tcp ...
		s = s[i+3:]
	}
	s = secretRun.ReplaceAllString(strings.Join(strings.Fields(s), " "), secrets.Placeholder)
	if r := []rune(s); len(r) > 200 {
		s = string(r[:200]) + "…"
	}
	return s
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

// body reads an answer into a buffer of the right size.
func (s *Store) body(ctx context.Context, path string) (secrets.Value, error) {
	limit, cancel := context.WithTimeout(ctx, answerFor)
	defer cancel()
	res, err := s.client.Logical().ReadRawWithContext(limit, path)
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
	if self, err := s.body(ctx, "auth/token/lookup-self"); err == nil {
		defer self.Wipe()
		var t struct {
			Data struct {
				TTL      int64    `json:"ttl"`
				Policies []string `json:"policies"`
			} `json:"data"`
		}
		if json.Unmarshal(self.Bytes(), &t) == nil {
			switch ttl := time.Duration(t.Data.TTL) * time.Second; {
			case ttl > 0:
				says = append(says, "the token is good for another "+ttl.Round(time.Minute).String())
			default:
				says = append(says, "the token does not expire")
			}
			if slices.Contains(t.Data.Policies, "root") {
				return []secrets.Remark{{What: strings.Join(says, "; ")}, {Warn: true, What: "a root token of Vault is used", Hint: "make one that may only read " + at.name}}
			}
		}
	}
	if len(says) == 0 {
		return nil
	}
	return []secrets.Remark{{What: strings.Join(says, "; ")}}
}
