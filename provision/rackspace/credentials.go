package rackspace

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"strings"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/secrets"
)

// Identity services: of all accounts, and of those that were opened in London.
// https://docs.rackspace.com/docs/cloud-identity/general-api-info/service-access-endpoints
const (
	Endpoint   = "https://identity.api.rackspacecloud.com/v2.0/"
	EndpointUK = "https://lon.identity.api.rackspacecloud.com/v2.0/"
)

// Credentials is who logs in. One of APIKey and Password is set.
type Credentials struct {
	Source   string // where they came from, for messages
	URLs     []string
	Username string
	APIKey   secrets.Value
	Password secrets.Value
	Account  string // the account's number; empty: what the user belongs to
}

// Options is what the program knows and a plan does not say.
type Options struct {
	Env    func(string) (string, bool) // nil: os.LookupEnv
	Region string                      // LON has an identity service of its own
	Home   string                      // folder of the user; empty: os.UserHomeDir
}

// Find completes what the plan says by the environment, and that by the file that Rackspace's own tools read:
// RAX_USERNAME and RAX_API_KEY, RS_USERNAME and RS_API_KEY or RS_PASSWORD, then RAX_CREDS_FILE, RAX_CREDENTIALS or
// ~/.rackspace_cloud_credentials. What is still missing then is an error that says where it may be put.
//
// The names are those of the Ansible modules (https://docs.ansible.com/ansible/2.9/modules/rax_module.html) and of
// gophercloud's first version; the file is pyrax's (https://github.com/pycontribs/pyrax/blob/master/docs/getting_started.md).
func Find(said Credentials, o Options) (Credentials, error) {
	if o.Env == nil {
		o.Env = os.LookupEnv
	}
	env := func(names ...string) string {
		for _, n := range names {
			if v, ok := o.Env(n); ok && v != "" {
				return v
			}
		}
		return ""
	}
	c := said
	if c.Source == "" {
		c.Source = "the plan"
	}
	if c.Username == "" && c.APIKey.IsZero() && c.Password.IsZero() {
		c.Source = "the environment"
		c.Username = env("RAX_USERNAME", "RS_USERNAME")
		c.APIKey = value(env("RAX_API_KEY", "RS_API_KEY"))
		c.Password = value(env("RS_PASSWORD"))
		if c.Username == "" && c.APIKey.IsZero() && c.Password.IsZero() {
			if err := fromFile(&c, env("RAX_CREDS_FILE", "RAX_CREDENTIALS"), o.Home); err != nil {
				return c, err
			}
		}
	}
	if len(c.URLs) == 0 {
		if u := env("RS_AUTH_URL"); u != "" {
			c.URLs = []string{u}
		} else if o.Region == "LON" {
			c.URLs = []string{EndpointUK}
		} else {
			c.URLs = []string{Endpoint}
		}
	}
	for i, u := range c.URLs {
		if !strings.HasPrefix(u, "http://") && !strings.HasPrefix(u, "https://") {
			return c, &provision.Error{What: "the identity URL " + u + " is not an http or https URL", Class: provision.Final}
		}
		u = strings.TrimRight(u, "/")
		if !strings.HasSuffix(u, "/v2.0") {
			u += "/v2.0"
		}
		c.URLs[i] = u + "/"
	}
	switch {
	case c.Username == "":
		return c, &provision.Error{What: c.Source + " gives no user name for Rackspace", Hint: `add: username = env("RAX_USERNAME")`, Class: provision.Final}
	case c.APIKey.IsZero() && c.Password.IsZero():
		return c, &provision.Error{What: c.Source + " gives no API key for Rackspace", Hint: `add: api_key = env("RAX_API_KEY"); it is under My Profile in the control panel`, Class: provision.Final}
	}
	return c, nil
}

// fromFile reads "[rackspace_cloud]", "username = ..." and "api_key = ...".
func fromFile(c *Credentials, path, home string) error {
	named := path != ""
	if !named {
		if home == "" {
			var err error
			if home, err = os.UserHomeDir(); err != nil {
				home = ""
			}
		}
		path = filepath.Join(home, ".rackspace_cloud_credentials")
	}
	text, err := os.ReadFile(path)
	switch {
	case err != nil && !named:
		return &provision.Error{What: "no credentials for Rackspace: the plan gives none, RAX_USERNAME and RAX_API_KEY are not set, and there is no " + path,
			Hint: `add: username = env("RAX_USERNAME") and api_key = env("RAX_API_KEY")`, Class: provision.Final}
	case err != nil:
		return &provision.Error{What: "the credentials of Rackspace cannot be read", Err: err, Class: provision.Final}
	}
	defer clear(text)
	c.Source = path
	section := ""
	for sc := bufio.NewScanner(bytes.NewReader(text)); sc.Scan(); {
		line := strings.TrimSpace(sc.Text())
		if s, ok := strings.CutPrefix(line, "["); ok {
			section = strings.TrimSuffix(s, "]")
			continue
		}
		k, v, ok := strings.Cut(line, "=")
		if !ok || section != "rackspace_cloud" || strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") {
			continue
		}
		switch v = strings.TrimSpace(v); strings.TrimSpace(k) {
		case "username":
			c.Username = v
		case "api_key":
			c.APIKey = value(v)
		case "password":
			c.Password = value(v)
		case "tenant_id":
			c.Account = v
		}
	}
	return nil
}

func value(s string) secrets.Value {
	if s == "" {
		return secrets.Value{}
	}
	return secrets.NewValue([]byte(s))
}
