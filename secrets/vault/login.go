package vault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/openbao/openbao/api/v2"

	"github.com/dripstat/failover/secrets"
)

// reach finds a node that answers, logs in there, and asks it.
func (s *Store) reach(ctx context.Context, ask func() error) error {
	if s.client != nil { // logged in before
		err := ask()
		if err == nil || !secrets.Elsewhere(err) || ctx.Err() != nil {
			return err
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
		err := s.reachAt(ctx, a, ask)
		if err == nil || !secrets.Elsewhere(err) {
			return err
		}
		if said = append(said, err.Error()); hint == "" {
			hint = secrets.HintOf(err)
		}
		var mine *answerError
		if errors.As(err, &mine) { // the cluster has answered: the next node would say the same
			return &secrets.Error{Away: true, Err: &answerError{strings.Join(said, "; ")}, Hint: hint}
		}
		if ctx.Err() != nil {
			break
		}
	}
	return &secrets.Error{Away: true, What: strings.Join(said, "; "), Hint: hint}
}

// answerError is a no of Vault's to a request that it understood.
type answerError struct{ what string }

func (e *answerError) Error() string { return e.what }

func (s *Store) reachAt(ctx context.Context, address string, ask func() error) error {
	c, err := s.dial(address)
	if err != nil {
		return err
	}
	s.where = c.Address()
	if err := s.health(ctx, c); err != nil {
		return err
	}
	if err := s.login(ctx, c); err != nil {
		return err
	}
	s.client = c
	if err = ask(); err != nil {
		s.client = nil
	}
	return err
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
