package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/deliver"
	"github.com/dripstat/failover/provision/dns"
	"github.com/dripstat/failover/provision/dns/clouddns"
	"github.com/dripstat/failover/provision/dns/designate"
	"github.com/dripstat/failover/provision/dns/libdns"
	"github.com/dripstat/failover/provision/dns/rfc2136"
	"github.com/dripstat/failover/provision/engine"
	"github.com/dripstat/failover/provision/hook"
	"github.com/dripstat/failover/provision/issue"
	"github.com/dripstat/failover/provision/openstack"
	"github.com/dripstat/failover/provision/planfile"
	"github.com/dripstat/failover/provision/preflight"
	"github.com/dripstat/failover/provision/rackspace/balancer"
	"github.com/dripstat/failover/provision/steps"
	"github.com/dripstat/failover/provision/verify"
	"github.com/dripstat/failover/secrets"
	"github.com/dripstat/failover/secrets/age"
	"github.com/dripstat/failover/secrets/barbican"
	"github.com/dripstat/failover/secrets/env"
	"github.com/dripstat/failover/secrets/exec"
	"github.com/dripstat/failover/secrets/file"
	"github.com/dripstat/failover/secrets/sops"
	"github.com/dripstat/failover/secrets/vault"
	"github.com/dripstat/failover/templates"
)

// site is everything that a plan names, for one region, ready to be spoken to. Making it dials nothing.
type site struct {
	app    *App
	plan   provision.Plan // for the region
	region string
	clouds openstack.Clouds
	fronts balancer.Regions // of Rackspace's first cloud: its load balancers
	zones  dns.Zones
	stores map[string]secrets.Backend // one each, so that a person is asked for a passphrase once
	hidden []string                   // variables of the environment with private keys: no command gets them
	keeper *deliver.Keeper
	dial   func(ctx context.Context, network, addr string) (net.Conn, error) // nil: the network
}

// newSite wires a plan. box is nil but under --sandbox.
func (a *App) newSite(plan provision.Plan, region string, box *box) (*site, error) {
	s := &site{app: a, plan: plan.For(region), region: region, dial: a.dial, clouds: openstack.Clouds{}, fronts: balancer.Regions{}, zones: dns.Zones{}}
	s.keeper = &deliver.Keeper{Fetch: s.certificate}
	for _, c := range plan.Clouds {
		o := openstack.Options{Env: a.LookEnv, Dir: plan.Dir, UserAgent: "failover/" + version()}
		if plan.Home != region {
			o.Avoid = []string{plan.Home} // nothing on the way may need the region that is being left
		}
		var cfg provision.OpenStack
		var err error
		switch {
		case c.Rackspace != nil:
			o.Legacy = true
			o.Identity, err = s.rackspace(*c.Rackspace, box)
		case box != nil:
			o.CloudsYAML, cfg = box.cloudsYAML(c.Name)
		default:
			cfg = *c.OpenStack
		}
		if box != nil {
			o.CACert = box.cloud.CACert()
		}
		if err != nil {
			return nil, &exitError{code: exitUsage, err: provision.AsError("cloud."+c.Name, err)}
		}
		cloud, err := openstack.New(c.Name, cfg, region, o)
		if err != nil {
			return nil, &exitError{code: exitUsage, err: err}
		}
		s.clouds[c.Name] = cloud
		if c.Rackspace != nil {
			s.fronts[c.Name] = balancer.New(cloud.CloudLoadBalancers)
		}
	}
	s.hidden = keysInEnv(plan)
	s.stores = map[string]secrets.Backend{}
	for _, st := range plan.Secrets {
		if st.Barbican != nil { // another one in each region
			s.stores[st.Name] = s.backend(st)
			continue
		}
		if issues(st) { // once what they seal into is there
			continue
		}
		s.stores[st.Name] = a.once(plan.Digest+" "+plan.Dir+" "+st.Name, func() secrets.Backend { return s.backend(st) })
	}
	for _, st := range plan.Secrets {
		if issues(st) {
			s.stores[st.Name] = a.once(plan.Digest+" "+plan.Dir+" "+st.Name, func() secrets.Backend { return s.issuer(st, box != nil) })
		}
	}
	if box != nil {
		s.dial = box.cloud.Dial
		s.plan.Zones = box.zones(s.plan.Zones)
	}
	for _, z := range s.plan.Zones {
		zone, err := s.zone(z)
		if err != nil {
			return nil, &exitError{code: exitUsage, err: provision.AsError("dns."+z.Name, err)}
		}
		s.zones[z.Name] = zone
	}
	return s, nil
}

func (s *site) zone(z provision.Zone) (dns.Zone, error) {
	switch p := z.Provider; {
	case p.Designate != nil:
		return dns.Late(func(ctx context.Context) (dns.Zone, error) {
			sc, err := s.clouds[p.Designate.Cloud].DNS(ctx)
			if err != nil {
				return nil, err
			}
			return designate.New(sc, z.Zone), nil
		}), nil
	case p.CloudDNS != nil:
		return dns.Late(func(ctx context.Context) (dns.Zone, error) {
			sc, err := s.clouds[p.CloudDNS.Cloud].CloudDNS(ctx)
			if err != nil {
				return nil, err
			}
			return clouddns.New(sc, z.Zone), nil
		}), nil
	case p.RFC2136 != nil:
		return rfc2136.New(z.Zone, *p.RFC2136)
	case p.Route53 != nil:
		return libdns.Route53(z.Zone, *p.Route53), nil
	}
	return nil, errors.New("has no provider")
}

// once gives the backend of before where there was one: what a person was asked, and a token that works once, are
// remembered from one region to the next.
func (a *App) once(key string, make func() secrets.Backend) secrets.Backend {
	if a.backends == nil {
		a.backends = map[string]secrets.Backend{}
	}
	if a.backends[key] == nil {
		a.backends[key] = make()
	}
	return a.backends[key]
}

// backend makes what a secrets block names. It asks nobody.
func (s *site) backend(st provision.SecretStore) secrets.Backend {
	dir := s.plan.Dir
	switch {
	case st.Exec != nil:
		x := st.Exec
		return &exec.Store{Run: x.Run, Chain: x.Chain, Key: x.Key, ChainField: x.ChainField, KeyField: x.KeyField, Dir: dir, Timeout: x.Timeout, Without: s.hidden}
	case st.File != nil:
		return &file.Store{Chain: st.File.Chain, Key: st.File.Key, Dir: dir}
	case st.Env != nil:
		return &env.Store{Chain: st.Env.Chain, Key: st.Env.Key, Look: s.app.LookEnv}
	case st.SOPS != nil:
		x := st.SOPS
		return &sops.Store{File: x.File, ChainField: x.ChainField, KeyField: x.KeyField, Dir: dir, Timeout: x.Timeout, Without: s.hidden}
	}
	switch {
	case st.Vault != nil:
		return vaultStore(*st.Vault, dir)
	case st.Barbican != nil:
		return &barbican.Store{Client: s.clouds[st.Barbican.Cloud].KeyManager, Chain: st.Barbican.Chain, Key: st.Barbican.Key}
	}
	return &age.Store{File: st.Age.File, Identity: st.Age.Identity, For: st.Age.Recipients, Dir: dir, Env: s.app.LookEnv, Ask: s.app.askSecret()}
}

func vaultStore(v provision.VaultStore, dir string) *vault.Store {
	s := &vault.Store{Addresses: v.Addresses, Namespace: v.Namespace, CA: v.CA, Mount: v.Mount, Version: v.Version, ChainField: v.ChainField, KeyField: v.KeyField, Dir: dir}
	switch l := v.Login; l.Method {
	case "approle":
		s.Login.AppRole = &vault.AppRole{Mount: l.Mount, RoleID: l.Role, SecretID: l.Secret, Wrapped: l.Wrapped}
	case "userpass":
		s.Login.Userpass = &vault.Userpass{Mount: l.Mount, Username: l.Username, Password: l.Secret}
	case "jwt":
		s.Login.JWT = &vault.JWT{Mount: l.Mount, Role: l.Role, Token: l.Token, File: l.File}
	case "kubernetes":
		s.Login.Kubernetes = &vault.JWT{Mount: l.Mount, Role: l.Role, File: l.File}
	default:
		s.Login.Token = l.Token
	}
	return s
}

// keysInEnv gives the variables that hold private keys of a plan's certificates.
func keysInEnv(plan provision.Plan) []string {
	var out []string
	for _, c := range plan.Certificates {
		for _, ref := range c.From {
			if st, _ := plan.SecretStore(ref.Store); st.Env != nil {
				out = append(out, (&env.Store{Chain: st.Env.Chain, Key: st.Env.Key}).Names(ref.Path)...)
			}
		}
	}
	return out
}

// ladder gives the places of one of the plan's certificates.
func (s *site) ladder(name string) ([]secrets.Rung, error) {
	c, ok := s.plan.Certificate(name)
	if !ok { // of a run that began with another plan
		return nil, &provision.Error{What: fmt.Sprintf("the plan has no certificate block %q any more", name), Hint: "put it back, or give the plan that the run began with: --plan FILE"}
	}
	var out []secrets.Rung
	for _, ref := range c.From {
		out = append(out, secrets.Rung{Ref: ref, Backend: s.stores[ref.Store], Names: c.Names, Ask: s.app.askOnce(ref.String())})
	}
	return out, nil
}

// certificate fetches one of the plan's certificates: the one with this fingerprint, or with "" the first that there is.
func (s *site) certificate(ctx context.Context, name, fingerprint string) (secrets.Got, error) {
	rungs, err := s.ladder(name)
	if err != nil {
		return secrets.Got{}, err
	}
	got, err := secrets.Climb(ctx, rungs, fingerprint)
	if err != nil {
		return got, &provision.Error{Err: err, What: "it is not to be had", Hint: secrets.HintOf(err)}
	}
	return got, nil
}

// kept is certificate without an offer to issue one: what is delivered again is what somebody has renewed.
func (s *site) kept(ctx context.Context, name string) (secrets.Got, error) {
	rungs, err := s.ladder(name)
	if err != nil {
		return secrets.Got{}, err
	}
	for i := range rungs {
		rungs[i].Kept = true
	}
	got, err := secrets.Climb(ctx, rungs, "")
	if err != nil {
		return got, &provision.Error{Err: err, What: "it is not to be had", Hint: secrets.HintOf(err)}
	}
	s.keeper.Keep(name, got)
	return got, nil
}

// former finds a certificate that was in use before the one that the plan names now: another place may still have it, failover seal keeps
// the one that it replaces, or somebody says under which path.
func (s *site) former(ctx context.Context, name, fingerprint, path string) (secrets.Got, error) {
	own, err := s.ladder(name)
	if err != nil {
		return secrets.Got{}, err
	}
	rungs := own
	if path != "" {
		rungs = nil
	}
	for _, r := range own {
		switch {
		case path != "":
			r.Ref.Path = path
		case r.Ref.Path != "":
			r.Ref.Path += age.Former
		default:
			continue
		}
		rungs = append(rungs, r)
	}
	got, err := secrets.Climb(ctx, rungs, fingerprint)
	if err != nil {
		return got, &provision.Error{Err: err, What: "the certificate that the servers have is not to be had any more", Hint: secrets.HintOf(err)}
	}
	return got, nil
}

// keystorePassword is the one that the plan has for a server block ("server.app").
func (s *site) keystorePassword(server string) secrets.Value {
	srv, _ := s.plan.Server(strings.TrimPrefix(server, "server."))
	if srv.Deliver == nil {
		return secrets.Value{}
	}
	return srv.Deliver.Password
}

// sources are what preflight reads.
func (s *site) sources() preflight.Sources {
	src := preflight.Sources{
		Inventory: map[string]func(context.Context, []provision.Server) (provision.Inventory, error){},
		Zones:     map[string]preflight.Zone{},
		Ask:       dns.Ask,
		Render: func(srv provision.Server, limit int) ([]byte, error) {
			data, err := planfile.UserData(s.plan, srv, s.region, limit)
			if c, _ := s.plan.Cloud(srv.Cloud); err == nil && c.Rackspace != nil && srv.Certificate != "" { // what will be sent holds a host key beside it
				_, err = templates.HostKey(data, strings.Repeat("x\n", 200), "ssh-ed25519 x", limit)
			}
			return data, err
		},
		Certificate: func(ctx context.Context, name string) (secrets.Got, error) {
			c, err := s.certificate(ctx, name, "")
			if err == nil {
				s.keeper.Keep(name, c)
			}
			return c, err
		},
		Wrap: s.tryWrap,
	}
	for name, c := range s.clouds {
		if s.idle(name) {
			continue
		}
		src.Inventory[name] = func(ctx context.Context, servers []provision.Server) (provision.Inventory, error) {
			balancers := slices.DeleteFunc(slices.Clone(s.plan.Balancers), func(b provision.Balancer) bool { return b.Cloud != name })
			inv, err := c.Inventory(ctx, openstack.Query{Service: s.plan.Service, Servers: servers, Balancers: balancers})
			if s.elsewhere(name, err) {
				return provision.Inventory{Cloud: name, Region: s.region, Servers: []provision.Live{}}, nil
			}
			if front := s.fronts[name]; front != nil && len(balancers) > 0 && err == nil {
				front.Inventory(ctx, s.plan.Service, balancers, &inv)
			}
			return inv, err
		}
	}
	for name, z := range s.zones {
		src.Zones[name] = z
	}
	return src
}

// handlers is the one explicit map from kinds to behaviour.
func (s *site) handlers(run provision.RunID) map[provision.Kind]engine.Handler {
	prove := &verify.Prove{Dial: s.dial}
	m := map[provision.Kind]engine.Handler{
		steps.CertificateOrder:    issue.Order{Issuers: s.issuerOf},
		steps.CertificateValidate: issue.Validate{Issuers: s.issuerOf},
		steps.CertificateFinalize: issue.Finalize{Issuers: s.issuerOf},
		steps.CertificateIssue:    issue.Issue{Issuers: s.issuerOf, Judge: s.judge, Sealed: s.sealedAt},
		steps.ChallengeSet:        &dns.ChallengeSet{Zones: s.zones},
		steps.ChallengeClear:      dns.ChallengeClear{Zones: s.zones},
		steps.SlotsChoose:         engine.Choose{},
		steps.LoginCreate:         deliver.LoginCreate{Keeper: s.keeper},
		steps.LoginRecall:         deliver.LoginRecall{Keeper: s.keeper, Former: s.former},
		steps.LoginReplace:        &deliver.LoginReplace{Keeper: s.keeper, Dial: s.dial, Jump: s.app.jump},
		steps.CertificateFetch:    deliver.CertificateFetch{Keeper: s.keeper},
		steps.HostKeyRotate:       &deliver.HostKeyRotate{Keeper: s.keeper, Dial: s.dial, Jump: s.app.jump},
		steps.CertificateDeliver:  &deliver.Deliver{Keeper: s.keeper, Dial: s.dial, Jump: s.app.jump, Password: s.keystorePassword},
		steps.ServiceProve:        prove,
		steps.MemberProve:         &verify.Prove{Dial: s.dial, Plain: true},
		steps.ServiceConfirm:      &verify.Confirm{Prove: verify.Prove{Dial: s.dial}, Lookup: dns.Ask},
		steps.DNSLower:            dns.Lower(s.zones),
		steps.DNSMove:             dns.Move(s.zones),
		steps.DNSRestore:          dns.Restore(s.zones),
		steps.DNSAgree:            &dns.Agree{Zones: s.zones},
		steps.DNSExpire:           dns.Expire{},
		steps.DNSRelease:          dns.Release{Zones: s.zones},
		steps.DNSResolvers:        dns.Resolvers{},
		steps.HookRun:             &hook.Run{Dir: s.plan.Dir, Service: s.plan.Service, Region: s.region, Run: run, Without: s.hidden},
	}
	for kind, h := range openstack.Handlers(s.clouds, s.keeper.Certificate) {
		m[kind] = h
	}
	for kind, h := range balancer.Handlers(s.fronts, s.keeper.Certificate) {
		m[kind] = h
	}
	m[steps.ServerCreate] = deliver.FirstHostKey{Handler: m[steps.ServerCreate], Keeper: s.keeper, Merge: func(data []byte, private, public string) ([]byte, error) {
		return templates.HostKey(data, private, public, 0)
	}}
	m[steps.ServerCreate] = &deliver.Wrapped{Create: m[steps.ServerCreate], Wrap: s.wrap, Spend: s.spend, Place: templates.PullToken}
	return m
}

// close lets go of connections and wipes private keys.
func (s *site) close() {
	for _, c := range s.clouds {
		c.Close()
	}
	s.keeper.Forget()
}

// jump is how a jump host is logged in to: with the agent's keys, its host key from known_hosts.
func (a *App) jump(ctx context.Context) (ssh.ClientConfig, error) {
	var none ssh.ClientConfig
	sock := a.env("SSH_AUTH_SOCK")
	if sock == "" {
		return none, &provision.Error{What: "a jump host needs your SSH agent, and SSH_AUTH_SOCK is not set", Hint: "ssh-add, then run again"}
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", sock)
	if err != nil {
		return none, &provision.Error{What: "the SSH agent does not answer", Err: err}
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return none, err
	}
	check, err := knownhosts.New(filepath.Join(home, ".ssh", "known_hosts"))
	if err != nil {
		return none, &provision.Error{What: "the jump host's key cannot be checked", Err: err, Hint: "log in to the jump host once with ssh"}
	}
	return ssh.ClientConfig{User: a.env("USER"), Auth: []ssh.AuthMethod{ssh.PublicKeysCallback(agent.NewClient(conn).Signers)}, HostKeyCallback: check}, nil
}
