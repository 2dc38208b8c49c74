package openstack

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dripstat/failover/provision"
	"github.com/gophercloud/gophercloud/v2"
)

// settings is everything that is needed to speak to a cloud, from whatever place it came.
type settings struct {
	source string // for messages: where it came from
	urls   []string
	// regional says that they are this region's own: each region has an identity service.
	regional bool
	auth     gophercloud.AuthOptions
	scope    *gophercloud.AuthScope // nil: what the credentials bring
	// identity is how to log in with them.
	identity Identity
	iface    string
	ca       []byte
	cert     *tls.Certificate
}

// bare is the union of an entry of clouds.yaml, of OS_* variables and of a plan's block.
type bare struct {
	source, dir string
	auth        tree // auth_url, username, ...
	top         tree // cacert, interface, ...
}

// envNames maps OS_* variables to the keys of clouds.yaml, below auth or beside it.
func envNames() (auth, top map[string]string) {
	auth = map[string]string{}
	for _, k := range []string{
		"auth_url", "username", "user_id", "password", "passcode", "token", "project_name", "project_id", "tenant_name", "tenant_id",
		"domain_name", "domain_id", "user_domain_name", "user_domain_id", "project_domain_name", "project_domain_id",
		"default_domain", "default_domain_id", "default_domain_name", "system_scope", "trust_id",
		"application_credential_id", "application_credential_name", "application_credential_secret",
	} {
		auth["OS_"+strings.ToUpper(k)] = k
	}
	auth["OS_AUTH_TOKEN"] = "token"
	top = map[string]string{}
	for _, k := range []string{"auth_type", "cacert", "cert", "key", "interface", "endpoint_type", "insecure"} {
		top["OS_"+strings.ToUpper(k)] = k
	}
	return auth, top
}

func configure(cfg provision.OpenStack, region string, o Options) (settings, error) {
	if o.Identity != nil {
		return settings{source: o.Identity.Source, urls: o.Identity.URLs, identity: *o.Identity, iface: "public"}, nil
	}
	b, err := find(cfg, o)
	if err != nil {
		return settings{}, err
	}
	override(&b, cfg, o)
	return b.settings(region)
}

// find looks up the entry that the plan names, or OS_CLOUD, or OS_* variables.
func find(cfg provision.OpenStack, o Options) (bare, error) {
	given := len(cfg.AuthURLs) > 0 && (cfg.Username != "" || cfg.ApplicationCredentialID != "")
	entry := cfg.Entry
	if entry == "" && !given {
		if v, ok := o.Env("OS_CLOUD"); ok && v != "" && v != "envvars" {
			entry = v
		}
	}
	switch {
	case entry != "":
		return fromFiles(entry, o)
	case given:
		return bare{source: "the plan", dir: o.Dir, auth: tree{}, top: tree{}}, nil
	}
	b := bare{source: "OS_* variables", auth: tree{}, top: tree{}}
	auth, top := envNames()
	for env, key := range auth {
		if v, ok := o.Env(env); ok && v != "" {
			b.auth[key] = v
		}
	}
	for env, key := range top {
		if v, ok := o.Env(env); ok && v != "" {
			b.top[key] = v
		}
	}
	if b.auth.text("auth_url") == "" && len(cfg.AuthURLs) == 0 {
		return bare{}, &provision.Error{What: "no credentials: the plan names no entry of clouds.yaml, and neither OS_CLOUD nor OS_AUTH_URL is set",
			Hint: available(o), Class: provision.Final}
	}
	return b, nil
}

// override lets what the plan says win over what was found.
func override(b *bare, cfg provision.OpenStack, o Options) {
	if len(cfg.AuthURLs) > 0 {
		b.auth["auth_url"] = strings.Join(cfg.AuthURLs, ",")
	}
	if cfg.Username != "" {
		b.auth["username"] = cfg.Username
		delete(b.auth, "user_id")
	}
	if !cfg.Password.IsZero() {
		b.auth["password"] = string(cfg.Password.Bytes())
	}
	if cfg.Project != "" {
		for _, k := range []string{"project_id", "tenant_id", "tenant_name"} {
			delete(b.auth, k)
		}
		b.auth["project_name"] = cfg.Project
	}
	if cfg.Domain != "" {
		for _, k := range []string{"user_domain_id", "project_domain_id", "domain_id", "domain_name"} {
			delete(b.auth, k)
		}
		b.auth["user_domain_name"], b.auth["project_domain_name"] = cfg.Domain, cfg.Domain
	}
	if cfg.ApplicationCredentialID != "" {
		b.auth["application_credential_id"] = cfg.ApplicationCredentialID
	}
	if !cfg.ApplicationCredentialSecret.IsZero() {
		b.auth["application_credential_secret"] = string(cfg.ApplicationCredentialSecret.Bytes())
	}
	if cfg.CACert != "" {
		p := cfg.CACert
		if !filepath.IsAbs(p) {
			p = filepath.Join(o.Dir, p)
		}
		b.top["cacert"] = p
	}
	if cfg.Interface != "" {
		b.top["interface"] = cfg.Interface
	}
}

func (b bare) settings(region string) (settings, error) {
	bad := func(hint, format string, a ...any) (settings, error) {
		return settings{}, &provision.Error{What: b.source + ": " + fmt.Sprintf(format, a...), Hint: hint, Class: provision.Final}
	}
	s := settings{source: b.source}
	for _, u := range strings.Split(b.auth.text("auth_url"), ",") {
		if u = strings.TrimSpace(u); u == "" {
			continue
		}
		if !strings.HasPrefix(u, "http://") && !strings.HasPrefix(u, "https://") {
			return bad("", "auth_url %q is not an http or https URL", u)
		}
		here, err := inRegion(u, region)
		if err != nil {
			return bad(`there is one place to fill in: {region}; in clouds.yaml {region_name}, too`, "auth_url %q: %v", u, err)
		}
		s.regional = s.regional || here != u
		if u = identityURL(here); !slices.Contains(s.urls, u) {
			s.urls = append(s.urls, u)
		}
	}
	if len(s.urls) == 0 {
		return bad("", "auth_url is missing")
	}
	no := func(v string) bool { return slices.Contains([]string{"false", "no", "0"}, strings.ToLower(v)) }
	if v, i := b.top.text("verify"), b.top.text("insecure"); v != "" && no(v) || i != "" && !no(i) {
		return bad("give the cloud's own CA as cacert instead", "it asks to trust any certificate (verify, insecure), which failover refuses")
	}
	switch i := strings.TrimSuffix(first(b.top.text("interface"), b.top.text("endpoint_type"), "public"), "URL"); i {
	case "public", "internal", "admin":
		s.iface = i
	default:
		return bad("", "interface %q is not public, internal or admin", i)
	}
	if p := b.top.text("cacert"); p != "" {
		pem, err := os.ReadFile(b.path(p))
		if err != nil {
			return bad("", "cacert: %v", err)
		}
		s.ca = pem
	}
	if p := b.top.text("cert"); p != "" {
		cert, err := tls.LoadX509KeyPair(b.path(p), b.path(first(b.top.text("key"), p)))
		if err != nil {
			return bad("", "client certificate: %v", err)
		}
		s.cert = &cert
	}
	if what := b.credentials(&s); what != "" {
		return bad("", "%s", what)
	}
	s.identity = keystone(s.auth, s.scope != nil)
	return s, nil
}

// credentials chooses the method and says what is missing.
func (b bare) credentials(s *settings) string {
	a := b.auth
	dom, domID := a.text("domain_name"), a.text("domain_id")
	byDefault := first(a.text("default_domain_id"), a.text("default_domain"))
	if byDefault == "" && a.text("default_domain_name") == "" {
		byDefault = "default" // what every OpenStack client assumes
	}
	domain := func(kind string) (id, name string) {
		if id = a.text(kind + "_domain_id"); id != "" {
			return id, ""
		}
		if name = a.text(kind + "_domain_name"); name != "" {
			return "", name
		}
		switch {
		case domID != "":
			return domID, ""
		case dom != "":
			return "", dom
		case byDefault != "":
			return byDefault, ""
		}
		return "", a.text("default_domain_name")
	}
	project := first(a.text("project_name"), a.text("tenant_name"))
	projectID := first(a.text("project_id"), a.text("tenant_id"))
	kind := strings.TrimPrefix(strings.TrimPrefix(b.top.text("auth_type"), "v3"), "v2")
	o := &s.auth
	switch {
	case projectID != "":
		s.scope = &gophercloud.AuthScope{ProjectID: projectID}
	case project != "":
		s.scope = &gophercloud.AuthScope{ProjectName: project}
		s.scope.DomainID, s.scope.DomainName = domain("project")
	case a.text("system_scope") != "":
		s.scope = &gophercloud.AuthScope{System: true}
	case domID != "" || dom != "":
		s.scope = &gophercloud.AuthScope{DomainID: domID, DomainName: dom}
	}
	if t := a.text("trust_id"); t != "" {
		s.scope = &gophercloud.AuthScope{TrustID: t}
	}
	switch {
	case kind == "applicationcredential" || kind == "" && (a.text("application_credential_id") != "" || a.text("application_credential_name") != ""):
		s.scope = nil // it brings its own
		o.ApplicationCredentialSecret = a.text("application_credential_secret")
		if o.ApplicationCredentialSecret == "" {
			return "application_credential_secret is missing"
		}
		if o.ApplicationCredentialID = a.text("application_credential_id"); o.ApplicationCredentialID != "" {
			return ""
		}
		if o.ApplicationCredentialName = a.text("application_credential_name"); o.ApplicationCredentialName == "" {
			return "application_credential_id is missing"
		}
		if o.UserID = a.text("user_id"); o.UserID != "" {
			return ""
		}
		if o.Username = a.text("username"); o.Username == "" {
			return "an application credential given by name needs username or user_id too"
		}
		o.DomainID, o.DomainName = domain("user")
	case kind == "token" || kind == "" && a.text("token") != "" && a.text("password") == "":
		if o.TokenID = a.text("token"); o.TokenID == "" {
			return "token is missing"
		}
	case kind == "" || kind == "password":
		o.Password, o.Passcode = a.text("password"), a.text("passcode")
		switch {
		case a.text("user_id") != "":
			o.UserID = a.text("user_id")
		case a.text("username") != "":
			o.Username = a.text("username")
			o.DomainID, o.DomainName = domain("user")
		default:
			return "username is missing"
		}
		if o.Password == "" {
			return "password is missing"
		}
	default:
		return fmt.Sprintf("auth_type %q is not password, token or v3applicationcredential", b.top.text("auth_type"))
	}
	o.Scope = s.scope
	return ""
}

// inRegion puts a region where an identity URL has a place for it: {region}, or {region_name} as other clients of clouds.yaml have it. In a
// host it is in lower case, as catalogs write hosts; in a path it is as it is.
// https://opendev.org/openstack/openstacksdk/src/branch/master/openstack/config/loader.py (auth_url.format)
func inRegion(u, region string) (string, error) {
	scheme, rest, _ := strings.Cut(u, "://")
	host, path, slash := strings.Cut(rest, "/")
	fill := func(s, with string) string {
		return strings.NewReplacer("{region}", with, "{region_name}", with).Replace(s)
	}
	out := scheme + "://" + fill(host, strings.ToLower(region))
	if slash {
		out += "/" + fill(path, region)
	}
	switch {
	case strings.ContainsAny(out, "{}"):
		return "", errors.New("it has a place for something else than a region")
	case out == u:
		return u, nil
	case region == "" || strings.ContainsFunc(region, func(r rune) bool {
		return r != '-' && r != '_' && r != '.' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}):
		return "", fmt.Errorf("region %q cannot stand in it", region) // with a slash in it, the password would go to another host
	}
	return out, nil
}

// identityURL gives the v3 root: the version is told, not discovered, which saves a round trip.
func identityURL(u string) string {
	u = strings.TrimRight(u, "/")
	if v2, ok := strings.CutSuffix(u, "/v2.0"); ok {
		u = v2
	}
	if !strings.HasSuffix(u, "/v3") {
		u += "/v3"
	}
	return u + "/"
}

func (b bare) path(p string) string {
	if rest, ok := strings.CutPrefix(p, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	if filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(b.dir, p)
}

func first(s ...string) string {
	for _, x := range s {
		if x != "" {
			return x
		}
	}
	return ""
}
