package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/planfile"
	"github.com/dripstat/failover/provision/rackspace"
	"github.com/dripstat/failover/provision/sandbox"
	"github.com/dripstat/failover/secrets"
	"github.com/dripstat/failover/secrets/age"
	"github.com/dripstat/failover/templates"

	agelib "filippo.io/age"
)

// sandboxOptions are the flags that shape a sandbox.
type sandboxOptions struct {
	kind   sandboxKind
	faults []string
}

// sandboxKind is the cloud that a sandbox imitates, as --sandbox says it; empty: there is none.
type sandboxKind string

const (
	sandboxOpenStack sandboxKind = "openstack"
	sandboxRackspace sandboxKind = "rackspace"
	sandboxFlex      sandboxKind = "flex"
)

// sandboxKinds are those that there are, for completion.
func sandboxKinds() []string {
	return []string{string(sandboxOpenStack), string(sandboxRackspace), string(sandboxFlex)}
}

// String is the kind.
func (k *sandboxKind) String() string { return string(*k) }

// Type is what help calls it.
func (k *sandboxKind) Type() string { return "cloud" }

// Set takes a kind, and what a flag without a value once took.
func (k *sandboxKind) Set(s string) error {
	switch kind := sandboxKind(s); {
	case slices.Contains(sandboxKinds(), s):
		*k = kind
	case s == "true":
		*k = sandboxOpenStack
	case s == "false":
		*k = ""
	default:
		return errors.New("there are openstack, rackspace and flex")
	}
	return nil
}

// fits refuses a plan whose clouds are not of the sandbox's kind: nothing there would answer as they do. Beside Flex stands as much of
// Rackspace's first cloud as keeps zones.
func (k sandboxKind) fits(plan provision.Plan) error {
	made := func(c provision.Cloud) bool {
		return slices.ContainsFunc(plan.Servers, func(s provision.Server) bool { return s.Cloud == c.Name }) ||
			slices.ContainsFunc(plan.Balancers, func(b provision.Balancer) bool { return b.Cloud == c.Name })
	}
	if k == sandboxFlex {
		for _, c := range plan.Clouds {
			if c.Rackspace != nil && made(c) {
				return usage("failover --sandbox=rackspace --plan FILE", "what is made in cloud.%s is of Rackspace's first cloud, of which this sandbox has Cloud DNS alone", c.Name)
			}
		}
		return nil
	}
	for _, c := range plan.Clouds {
		if is := map[bool]sandboxKind{true: sandboxRackspace, false: sandboxOpenStack}[c.Rackspace != nil]; is != k {
			return usage("failover --sandbox="+string(is)+" --plan FILE; a plan with clouds of both kinds runs in neither, but in --sandbox=flex where the first one keeps zones alone", "cloud.%s of the plan is %s, and the sandbox is %s", c.Name, is, k)
		}
	}
	return nil
}

// shape makes a sandbox of this kind.
func (k sandboxKind) shape(o *sandbox.Options) {
	switch k {
	case sandboxRackspace:
		o.Rackspace = &sandbox.Rackspace{}
	case sandboxFlex:
		o.Flex = true
	case sandboxOpenStack:
	}
}

// box is a sandbox with the folder that holds its plan, its sealed certificate and its runs.
type box struct {
	cloud *sandbox.Cloud
	dir   string
	kept  bool // it is somebody else's to close
	tidy  func()
}

// homeAddress is what the name points at before a run: TEST-NET-3 (RFC 5737), where nothing can answer.
const homeAddress = "203.0.113.10"

// openBox starts the sandbox and gives the plan to run in it: the user's own under --plan, else the
// built-in one, whose home region is dark.
func (a *App) openBox(ctx context.Context, o *runOptions) (plan provision.Plan, b *box, err error) {
	if a.box != nil {
		plan, err = a.rehearse(o.shared)
		plan.Operator = pick(o.me, plan.Operator)
		return plan, a.box, err
	}
	dir, err := os.MkdirTemp("", "failover-sandbox-")
	if err != nil {
		return plan, nil, err
	}
	b = &box{dir: dir, tidy: a.tidy(func() { _ = os.RemoveAll(dir) })}
	defer func() {
		if err != nil {
			b.close()
			b = nil
		}
	}()
	kind := o.sandbox.kind
	so := sandbox.Options{TLS: true, Boot: 2 * time.Second, SSHDelay: 500 * time.Millisecond, DNSDelay: 300 * time.Millisecond}
	kind.shape(&so)
	for _, f := range o.sandbox.faults {
		fault, err := sandbox.ParseFault(f)
		if err != nil {
			return plan, b, &exitError{code: exitUsage, err: err}
		}
		so.Faults = append(so.Faults, fault)
	}
	if o.shared.plan != "" {
		if plan, err = a.rehearse(o.shared); err == nil {
			err = kind.fits(plan)
		}
	} else {
		plan, err = b.builtIn(a, kind, o.shared)
		if err == nil && !hasRegionDark(o.sandbox.faults) {
			dark, _ := sandbox.ParseFault("region-dark=" + plan.Home + ":hang")
			so.Faults = append(so.Faults, dark)
		}
	}
	if err != nil {
		return plan, b, err
	}
	plan.Operator = pick(o.me, plan.Operator)
	b.seed(&so, plan)
	if b.cloud, err = sandbox.Start(ctx, so); err == nil && b.cloud.SingleAddress() {
		_, _ = fmt.Fprintln(a.Err, "only 127.0.0.1 can be bound here, so each name gets one server (Linux gives each its own address)")
		plan = oneEach(plan)
	}
	return plan, b, err
}

// oneEach makes do with one server a block: all servers would have the same address.
func oneEach(plan provision.Plan) provision.Plan {
	one := func(s provision.Server) provision.Server {
		s.Count, s.Need, s.Hedge = 1, 1, 0
		return s
	}
	servers := make([]provision.Server, len(plan.Servers))
	for i, s := range plan.Servers {
		servers[i] = one(s)
		servers[i].In = map[string]*provision.Server{}
		for region, in := range s.In {
			o := one(*in)
			servers[i].In[region] = &o
		}
	}
	plan.Servers = servers
	return plan
}

func hasRegionDark(faults []string) bool {
	for _, f := range faults {
		if strings.HasPrefix(f, "region-dark") {
			return true
		}
	}
	return false
}

// builtIn writes the plan of templates.SandboxPlan with everything that it names, and loads it.
func (b *box) builtIn(a *App, kind sandboxKind, s shared) (provision.Plan, error) {
	var none provision.Plan
	ca, err := sandbox.NewCA()
	if err != nil {
		return none, err
	}
	chain, key, err := ca.Issue("collector.dripstat.test")
	if err != nil {
		return none, err
	}
	id, err := agelib.GenerateX25519Identity()
	if err != nil {
		return none, err
	}
	write := func(name string, content []byte) error {
		return os.WriteFile(filepath.Join(b.dir, name), content, 0o600)
	}
	for name, content := range map[string][]byte{"failover.hcl": templates.SandboxPlan(string(kind)), "ca.pem": ca.PEM(), "identity.txt": []byte(id.String() + "\n")} {
		if err := write(name, content); err != nil {
			return none, err
		}
	}
	if err := age.Add(filepath.Join(b.dir, "secrets.age"), "edge", chain, key, []agelib.Recipient{id.Recipient()}, []agelib.Identity{id}); err != nil {
		return none, err
	}
	vars, err := variables(s.vars)
	if err != nil {
		return none, err
	}
	plan, err := planfile.Load(filepath.Join(b.dir, "failover.hcl"), planfile.Options{Vars: vars, Env: a.LookEnv})
	plan.Files = nil // it is the built-in plan, wherever it lies for now
	return plan, err
}

// seed gives the sandbox what the plan names beside what it has anyway: regions, images, flavors, networks
// and records. Nothing is there twice: a name that means two images is a warning.
func (b *box) seed(so *sandbox.Options, plan provision.Plan) {
	images, flavors, networks := so.Builtin()
	add := func(list *[]string, x string) {
		for _, have := range *list {
			if have == x {
				return
			}
		}
		if x != "" {
			*list = append(*list, x)
		}
	}
	add(&so.Regions, plan.Home)
	for _, r := range plan.Regions {
		add(&so.Regions, r)
	}
	if len(so.Regions) == 0 {
		so.Regions = []string{"IAD", "ORD"}
	}
	fresh := func(known *[]string, name string) bool {
		if name == "" || slices.Contains(*known, name) {
			return false
		}
		*known = append(*known, name)
		return true
	}
	for _, r := range append([]string{""}, so.Regions...) {
		for _, s := range plan.For(r).Servers {
			name := s.Image.Name
			if p := s.Image.Pattern; p != "" && !slices.ContainsFunc(images, func(i string) bool { ok, _ := path.Match(p, i); return ok }) {
				name = strings.NewReplacer("*", "1", "?", "1").Replace(p)
			}
			if fresh(&images, name) {
				so.Images = append(so.Images, sandbox.Image{Name: name})
			}
			for _, z := range s.Zones {
				add(&so.AZs, z)
			}
			if c, ok := plan.Certificate(s.Certificate); ok {
				expect(so, s.Delivery(c))
			}
			for _, g := range s.SecurityGroups {
				if g != "default" {
					add(&so.SecurityGroups, g)
				}
			}
			for _, n := range append([]string{s.FloatingIP}, s.Networks...) {
				if fresh(&networks, n) {
					so.Networks = append(so.Networks, n)
				}
			}
			for _, f := range s.Flavors {
				if fresh(&flavors, f.Name) {
					so.Flavors = append(so.Flavors, sandbox.Flavor{Name: f.Name, VCPUs: 16, RAMMB: 64 << 10, DiskGB: 80})
				}
			}
		}
	}
	for _, r := range append([]string{""}, so.Regions...) {
		for _, b := range plan.For(r).Balancers {
			for _, n := range []string{b.Network, b.FloatingIP} {
				if fresh(&networks, n) {
					so.Networks = append(so.Networks, n)
				}
			}
			for _, f := range b.Flavors {
				add(&so.BalancerFlavors, f)
			}
		}
	}
	b.stand(so, plan)
	for _, z := range plan.Zones {
		zone := sandbox.Zone{Name: z.Zone + "."}
		for _, r := range z.Records {
			values := []string{homeAddress}
			switch r.Type {
			case "AAAA":
				values = []string{"2001:db8::10"}
			case "CNAME":
				values = []string{"home." + z.Zone + "."}
			}
			zone.Records = append(zone.Records, sandbox.Record{Name: z.FQDN(r), Type: r.Type, TTL: 300, Values: values})
		}
		so.Zones = append(so.Zones, zone)
	}
}

// stand lets regions have the load balancers that the plan means to use, each with a member at which nothing answers.
func (b *box) stand(so *sandbox.Options, plan provision.Plan) {
	given := so.Standing
	for _, r := range so.Regions {
		if slices.ContainsFunc(given, func(s sandbox.Standing) bool { return s.Region == r }) {
			continue
		}
		for _, x := range plan.For(r).Balancers {
			if x.Existing == nil || so.Rackspace == nil {
				continue
			}
			name, member := x.Existing.Name, x.Existing.Member
			if name == "" {
				name = x.Name
			}
			if member == "" {
				member = homeAddress
			}
			so.Standing = append(so.Standing, sandbox.Standing{Region: r, Name: name, Members: []string{net.JoinHostPort(member, fmt.Sprint(x.MemberPort))}})
		}
	}
}

// expect lets servers have what a delivery takes for granted: the user that setup makes, the command that reloads a service,
// the password that it was told.
func expect(so *sandbox.Options, d provision.Delivery) {
	so.Users = append(so.Users, d.Owner, d.Group)
	if len(d.Command) > 0 {
		so.Commands = append(so.Commands, d.Command)
	}
	if !d.Password.IsZero() {
		so.Keystores = append(so.Keystores, string(d.Password.Bytes()))
	}
}

// cloudsYAML replaces a cloud block's credentials by the sandbox's.
func (b *box) cloudsYAML(name string) ([]byte, provision.OpenStack) {
	if u := b.cloud.FlexURL(); u != "" { // as a plan says it
		return nil, provision.OpenStack{AuthURLs: []string{u}, Username: b.cloud.Username(), Password: secrets.NewValue([]byte(b.cloud.APIKey())),
			Project: b.cloud.Project(), Domain: b.cloud.Domain()}
	}
	return b.cloud.CloudsYAML(name), provision.OpenStack{Entry: name}
}

// credentials are those of the sandbox's one user.
func (b *box) credentials() rackspace.Credentials {
	return rackspace.Credentials{Source: "the sandbox", URLs: []string{b.cloud.RackspaceURL()}, Username: b.cloud.Username(), APIKey: secrets.NewValue([]byte(b.cloud.APIKey()))}
}

// zones points every dns block at the sandbox's name server, whatever its provider: designate and
// Cloud DNS stay, all others become signed updates.
func (b *box) zones(in []provision.Zone) []provision.Zone {
	out := make([]provision.Zone, len(in))
	key, algo, secret := b.cloud.TSIG()
	for i, z := range in {
		z.NameServers = []string{b.cloud.NameServer()}
		if len(z.Resolvers) > 0 {
			z.Resolvers = z.NameServers
		}
		if z.Provider.Designate == nil && z.Provider.CloudDNS == nil {
			z.Provider = provision.DNSProvider{RFC2136: &provision.RFC2136{Server: b.cloud.NameServer(), KeyName: key, Algorithm: algo, Secret: secrets.NewValue([]byte(secret))}}
		}
		out[i] = z
	}
	return out
}

func (b *box) close() {
	if b == nil || b.kept {
		return
	}
	if b.cloud != nil {
		_ = b.cloud.Close()
	}
	_ = os.RemoveAll(b.dir)
	b.tidy()
}
