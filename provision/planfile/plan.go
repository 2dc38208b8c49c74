package planfile

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/dripstat/failover/provision"
)

const day = 24 * time.Hour

// plan decodes all files as if they were one. Labels are collected first, so that a reference to a block
// that has mistakes of its own is not one mistake more.
func (d *decoder) plan(names []string, bodies []hcl.Body) provision.Plan {
	start := hcl.Range{Filename: names0(names), Start: hcl.InitialPos, End: hcl.InitialPos}
	top := &block{d: d, kind: "plan", what: "the plan", at: start, attrs: map[string]*hcl.Attribute{}, blocks: map[string][]*block{}, marked: map[string]bool{}}
	for _, body := range bodies {
		b := d.open(body, "plan", "the plan", "", start)
		for n, a := range b.attrs {
			if old := top.attrs[n]; old != nil {
				d.errorf(a.NameRange, "keep one of them", "%s is given twice; the other is at %s", n, pos(old.NameRange))
				continue
			}
			top.attrs[n] = a
		}
		for k, list := range b.blocks {
			for _, x := range list {
				for _, y := range top.blocks[k] {
					if x.label == y.label {
						d.errorf(x.at, "give it another name, or keep one of them", "there is more than one %s; the other is at %s", x.what, pos(y.at))
					}
				}
			}
			top.blocks[k] = append(top.blocks[k], list...)
		}
	}
	for _, k := range append(kinds(), "variable") {
		for _, x := range top.blocks[k] {
			if !contains(d.labels[k], x.label) {
				d.labels[k] = append(d.labels[k], x.label)
			}
			if !word(x.label) || strings.Contains(x.label, ".") {
				d.errorf(x.at, "letters, digits, - and _", "%q is not a good name for a %s", x.label, k)
			}
		}
	}
	d.funcs = d.functions()
	d.variables(top)

	var p provision.Plan
	d.header(top, &p)
	for _, x := range top.blocks["cloud"] {
		p.Clouds = append(p.Clouds, d.cloud(x))
	}
	for _, x := range top.blocks["secrets"] {
		p.Secrets = append(p.Secrets, d.secretStore(x))
	}
	d.seals(top, p)
	d.keyManagers(top, p)
	for _, x := range top.blocks["certificate"] {
		p.Certificates = append(p.Certificates, d.certificate(x, p))
	}
	for _, x := range top.blocks["server"] {
		p.Servers = append(p.Servers, d.server(x, p))
	}
	for _, x := range top.blocks["load_balancer"] {
		p.Balancers = append(p.Balancers, d.balancer(x, p))
	}
	d.letIn(&p)
	d.plainMembers(p)
	for _, x := range top.blocks["dns"] {
		p.Zones = append(p.Zones, d.zone(x, p))
	}
	for _, x := range top.blocks["step"] {
		p.Hooks = append(p.Hooks, d.step(x))
	}
	if len(p.Servers)+len(p.Hooks) == 0 && !slices.ContainsFunc(p.Zones, func(z provision.Zone) bool { return len(z.Records) > 0 }) {
		d.errorf(start, `a plan has at least one server "NAME" { ... }, dns record or step; failover init writes an example`, "there is nothing to do in this plan")
	}
	d.records(p)
	d.challenged(top, p)
	d.sealedTwice(top, p)
	d.circles(p)
	return p
}

func names0(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return names[0]
}

func (d *decoder) header(top *block, p *provision.Plan) {
	if !top.has("service") {
		d.errorf(top.at, "add: "+example("plan", "service"), "the plan needs service, the name of what is moved")
	}
	p.Service = top.need("service")
	if s := p.Service; s != "" && s != Placeholder && !word(s) {
		top.wrong("service", "letters, digits, . - and _, 63 at most: it becomes part of names and tags", "is %s, which will not do", top.show("service", s))
	}
	region := func(attr, s string) {
		if s != Placeholder && !word(s) {
			top.wrong(attr, "", "has %s, which is not the name of a region", top.show(attr, s))
		}
	}
	if p.Home = top.text("home", ""); p.Home != "" {
		region("home", p.Home)
	}
	p.Regions = top.texts("regions")
	for i, r := range p.Regions {
		region("regions", r)
		if slices.Contains(p.Regions[:i], r) && r != Placeholder {
			top.wrongItem("regions", i, "take it out", "has %s twice", top.show("regions", r))
		}
	}
	if p.Operator = top.text("operator", ""); p.Operator != "" && p.Operator != Placeholder && !addressOrCIDR(p.Operator) {
		top.wrong("operator", `operator = "203.0.113.7" or "203.0.113.0/24"`, "is %s, which is neither an address nor a network", top.show("operator", p.Operator))
	}
	if s := top.only("store"); s != nil {
		p.Store = d.store(s)
	}
}

// variables gives each variable its value: --var, FAILOVER_VAR_name, default.
func (d *decoder) variables(top *block) {
	d.vars = map[string]cty.Value{}
	given := make([]string, 0, len(d.o.Vars))
	for n := range d.o.Vars {
		given = append(given, n)
	}
	slices.Sort(given)
	for _, n := range given {
		if !contains(d.labels["variable"], n) {
			d.add(hcl.Range{}, fmt.Sprintf("--var %s: the plan declares no such variable", n), "", meant(n, d.labels["variable"]))
		}
	}
	out := map[string]cty.Value{}
	for _, x := range top.blocks["variable"] {
		if v, ok := d.variable(x); ok {
			out[x.label] = v
		}
	}
	d.vars = out // only now: a default does not see other variables
}

func (d *decoder) variable(x *block) (cty.Value, bool) {
	secret := x.flag("sensitive")
	_ = x.text("description", "")
	var def cty.Value
	hasDef := x.has("default")
	if hasDef {
		v, ok := d.eval(x.attrs["default"].Expr, "default of "+x.what, secret)
		if !ok {
			return cty.NilVal, false
		}
		def = v
	}
	from := "--var " + x.label
	text, found := d.o.Vars[x.label]
	if !found {
		from = "FAILOVER_VAR_" + x.label
		text, found = d.o.Env(from)
	}
	var v cty.Value
	switch {
	case found:
		if secret {
			d.withhold(text)
		}
		var err error
		if v, err = typed(text, def); err != nil {
			d.errorf(x.at, "", "%s: variable %q %v", from, x.label, err)
			return cty.NilVal, false
		}
	case hasDef:
		v = def
		if s, ok := asText(unmarked(v)); ok && secret {
			d.withhold(s)
		}
	case d.o.Offline:
		v = cty.UnknownVal(cty.String)
	default:
		d.errorf(x.at, fmt.Sprintf("--var %s=..., or export FAILOVER_VAR_%s=...", x.label, x.label), "variable %q has no value and no default", x.label)
		return cty.NilVal, false
	}
	if secret {
		v = v.Mark(sensitive{})
	}
	return v, true
}

func unmarked(v cty.Value) cty.Value {
	v, _ = v.UnmarkDeep()
	return v
}

// typed reads a variable's text as the type that its default has. Its errors do not hold the text.
func typed(text string, def cty.Value) (cty.Value, error) {
	if def == cty.NilVal || unmarked(def).IsNull() || unmarked(def).Type() == cty.String {
		return cty.StringVal(text), nil
	}
	t := unmarked(def).Type()
	if t.IsPrimitiveType() {
		v, err := convert.Convert(cty.StringVal(strings.TrimSpace(text)), t)
		if err != nil {
			return cty.NilVal, fmt.Errorf("must be a %s, as its default is", t.FriendlyName())
		}
		return v, nil
	}
	e, diags := hclsyntax.ParseExpression([]byte(text), "", hcl.InitialPos)
	if diags.HasErrors() {
		return cty.NilVal, fmt.Errorf(`must be written as in a plan: ["a", "b"]`)
	}
	v, diags := e.Value(nil)
	if diags.HasErrors() || v.IsNull() {
		return cty.NilVal, fmt.Errorf(`must be written as in a plan: ["a", "b"]`)
	}
	isList := func(t cty.Type) bool { return t.IsTupleType() || t.IsListType() || t.IsSetType() }
	if isList(t) != isList(v.Type()) || v.Type().IsPrimitiveType() {
		return cty.NilVal, fmt.Errorf("must be a list or an object, as its default is")
	}
	return v, nil
}

func (d *decoder) cloud(x *block) provision.Cloud {
	d.rehearsed = d.o.Rehearsal
	defer func() { d.rehearsed = false }()
	c := provision.Cloud{Name: x.label, Pos: pos(x.at)}
	o, r := x.only("openstack"), x.only("rackspace")
	switch {
	case o != nil && r != nil:
		d.errorf(r.at, "keep one of them; two clouds are two blocks", "%s says more than once how to reach it", x.what)
	case r != nil:
		c.Rackspace = d.rackspace(r)
	case o == nil:
		d.errorf(x.at, `add: openstack { cloud = "..." } with the name of an entry of clouds.yaml, openstack {} for the OS_* variables, or rackspace {} for RAX_USERNAME and RAX_API_KEY`, "%s does not say how to reach it", x.what)
	}
	if o == nil {
		return c
	}
	c.OpenStack = &provision.OpenStack{
		Entry: o.text("cloud", ""), AuthURLs: o.texts("auth_url"), CACert: o.text("ca_cert", ""),
		Username: o.text("username", ""), Password: o.secret("password"), Project: o.text("project", ""), Domain: o.text("domain", ""),
		ApplicationCredentialID: o.text("application_credential_id", ""), ApplicationCredentialSecret: o.secret("application_credential_secret"),
		Interface: o.text("interface", "public"),
	}
	for _, given := range c.OpenStack.AuthURLs {
		u := strings.ReplaceAll(given, "{region}", "x") // where each region has an identity service of its own
		if strings.ContainsAny(u, "{}") {
			o.wrong("auth_url", `auth_url = "https://keystone.{region}.example.com/v3"`, "has %s; the only thing that is filled in is {region}", o.show("auth_url", given))
			continue
		}
		if w, err := url.Parse(u); u != Placeholder && (err != nil || w.Scheme != "https" && w.Scheme != "http" || w.Host == "") {
			o.wrong("auth_url", `auth_url = "https://identity.example.com/v3"`, "has %s, which is not a URL", o.show("auth_url", given))
		}
	}
	if i := c.OpenStack.Interface; i != Placeholder && i != "public" && i != "internal" && i != "admin" {
		o.wrong("interface", meant(i, []string{"public", "internal", "admin"}), "is %s", o.show("interface", i))
	}
	if !o.has("cloud") {
		for _, pair := range [][2]string{{"username", "password"}, {"application_credential_id", "application_credential_secret"}} {
			for i := range pair {
				if o.has(pair[i]) && !o.has(pair[1-i]) {
					d.errorf(o.where(pair[i]), fmt.Sprintf(`add: %s = env("...")`, pair[1-i]), "%s gives %s without %s", o.what, pair[i], pair[1-i])
				}
			}
		}
	}
	return c
}

func (d *decoder) certificate(x *block, p provision.Plan) provision.Certificate {
	c := provision.Certificate{
		Name: x.label, Pos: pos(x.at), From: d.ladder(x, p), Names: x.texts("names"), CA: x.roots("ca"),
		Warn: x.time("warn", 21*day, day, 0, 3650*day), Persist: x.flag("persist"),
	}
	c.Reload, c.Command = x.reload()
	for i, n := range c.Names {
		if n != Placeholder && !dnsName(n) {
			x.wrongItem("names", i, "", "has %s, which is not a DNS name", x.show("names", n))
		}
		if n != Placeholder && slices.Contains(c.Names[:i], n) {
			x.wrongItem("names", i, "take it out", "has %s twice", x.show("names", n))
		}
	}
	if v, ok := x.value("names"); ok && v.IsKnown() && len(c.Names) == 0 && !d.failedAt(x.where("names")) {
		x.wrong("names", "add: "+example("certificate", "names"), "is empty: nothing would say whether this certificate is the right one")
	}
	return c
}
