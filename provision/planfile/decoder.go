package planfile

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

// decoder holds one load. Everything that is wrong is appended to diags; decoding goes on with zero values.
type decoder struct {
	o        Options
	dir      string
	files    map[string][]byte
	read     map[string][]byte // by the name that the plan uses
	masks    map[string][]span
	withheld []string
	labels   map[string][]string // kind → names of its blocks
	vars     map[string]cty.Value
	funcs    map[string]function.Function
	opens    map[string]bool // server blocks, and "/" and a region, that leave it to us who may come in
	diags    []Diagnostic
	issues   bool // some secrets block is ACME

	rehearsed bool // what is decoded is of a cloud that the sandbox takes the place of
}

// kinds are the words that begin a reference.
func kinds() []string {
	return []string{"cloud", "secrets", "certificate", "server", "load_balancer", "dns", "step"}
}

// block is one block whose words have been checked, with what it inherits.
type block struct {
	d      *decoder
	what   string // `server "collector"`
	kind   string
	label  string
	at     hcl.Range
	attrs  map[string]*hcl.Attribute
	under  map[string]*hcl.Attribute // of a region's override: the server's own, where both give it
	blocks map[string][]*block
	base   *block // of a region's override: what it lies on
	marked map[string]bool
}

// shape is what a block may hold. Attributes with ! are required; blocks with + take a label.
type shape struct {
	attrs  string
	blocks string
}

func shapes(kind string) shape {
	server := "cloud! image! flavor! count need hedge zones networks floating_ip spread security_groups open keep_ssh config_drive metadata template user_data vars certificate timeout"
	balancer := "cloud! existing members! terminate! member_port member_protocol network subnet floating_ip listen redirect_http connection_limit connection_limit_per_ip allowed_cidrs tls_versions algorithm provider flavor timeout"
	switch kind {
	case "plan":
		return shape{"service! home regions operator", "variable+ store cloud+ secrets+ certificate+ server+ load_balancer+ dns+ step+"}
	case "variable":
		return shape{"default description sensitive", ""}
	case "store":
		return shape{"", "file etcd"}
	case "store.file":
		return shape{"dir!", ""}
	case "store.etcd":
		return shape{"endpoints! ca cert key username password prefix", ""}
	case "cloud":
		return shape{"", "openstack rackspace"}
	case "cloud.openstack":
		return shape{"cloud auth_url ca_cert username password project domain application_credential_id application_credential_secret interface", ""}
	case "cloud.rackspace":
		return shape{"username api_key password account auth_url", ""}
	case "secrets":
		return shape{"", "age exec file env sops vault barbican acme"}
	case "secrets.age":
		return shape{"file! identity recipients", ""}
	case "secrets.acme":
		return shape{"directory! terms_agreed! seal! email ca key_type chain renew", "external_account"}
	case "secrets.acme.external_account":
		return shape{"kid! hmac!", ""}
	case "secrets.exec":
		return shape{"run chain key chain_field key_field timeout", ""}
	case "secrets.file", "secrets.env":
		return shape{"chain! key", ""}
	case "secrets.sops":
		return shape{"file! chain_field key_field timeout", ""}
	case "secrets.barbican":
		return shape{"cloud! chain key", ""}
	case "secrets.vault":
		return shape{"address namespace ca mount version chain_field key_field token", "approle userpass jwt kubernetes pki"}
	case "secrets.vault.pki":
		return shape{"role! seal! mount ttl mode key_type renew", ""}
	case "secrets.vault.approle":
		return shape{"role_id! secret_id wrapped mount", ""}
	case "secrets.vault.userpass":
		return shape{"username! password! mount", ""}
	case "secrets.vault.jwt":
		return shape{"role! token file mount", ""}
	case "secrets.vault.kubernetes":
		return shape{"role! file mount", ""}
	case "certificate":
		return shape{"from! path names! ca warn persist reload", ""}
	case "server":
		return shape{server, "ssh deliver ready volume region+"}
	case "server.region":
		return shape{strings.ReplaceAll(server, "!", ""), "ssh deliver ready volume"}
	case "server.ssh", "server.region.ssh":
		return shape{"user port via", ""}
	case "server.deliver", "server.region.deliver":
		return shape{"by layout path owner group mode persist reload password ttl address ca", ""}
	case "server.ready", "server.region.ready":
		return shape{"https http status body within successes ca", ""}
	case "server.volume":
		return shape{"size! type", ""}
	case "server.region.volume":
		return shape{"size type", ""}
	case "load_balancer":
		return shape{balancer, "ready health region+"}
	case "load_balancer.region":
		return shape{strings.ReplaceAll(balancer, "!", ""), "ready health"}
	case "load_balancer.ready":
		return shape{"https! status body within successes ca", ""}
	case "load_balancer.region.ready":
		return shape{"https status body within successes ca", ""}
	case "load_balancer.health", "load_balancer.region.health":
		return shape{"path status interval timeout rise fall", ""}
	case "dns":
		return shape{"zone! name_servers resolvers within", "designate clouddns rfc2136 route53 record+"}
	case "dns.designate", "dns.clouddns":
		return shape{"cloud!", ""}
	case "dns.rfc2136":
		return shape{"server! key! secret! algorithm", ""}
	case "dns.route53":
		return shape{"zone_id profile", ""}
	case "dns.record":
		return shape{"name type! ttl to values unproven", ""}
	case "step":
		return shape{"run! after before timeout", ""}
	}
	return shape{}
}

// example is what to type for something that is required.
func example(kind, name string) string {
	switch kind + "." + name {
	case "plan.service":
		return `service = "dripstat"`
	case "server.cloud", "load_balancer.cloud", "dns.designate.cloud", "secrets.barbican.cloud":
		return "cloud = cloud.main"
	case "dns.clouddns.cloud":
		return "cloud = cloud.rax"
	case "server.image":
		return `image = "debian-12"`
	case "server.flavor":
		return `flavor = "m1.4xlarge", or flavor = { vcpus = 8, ram = "32GiB" }`
	case "certificate.from":
		return "from = secrets.sealed"
	case "certificate.path":
		return `path = "edge"`
	case "certificate.names":
		return `names = ["www.example.com"]`
	case "load_balancer.existing", "load_balancer.region.existing":
		return `existing = "NAME", or existing = { member = "ADDRESS" }`
	case "load_balancer.members", "load_balancer.region.members":
		return "members = server.NAME"
	case "load_balancer.terminate", "load_balancer.region.terminate":
		return "terminate = certificate.NAME"
	case "server.ready.https", "load_balancer.ready.https":
		return `https = "https://www.example.com/health"`
	case "server.volume.size":
		return `size = "40GB"`
	case "dns.zone":
		return `zone = "example.com"`
	case "dns.record.type":
		return `type = "A"`
	case "step.run":
		return `run = ["./script", server.NAME.addresses]`
	case "secrets.age.file":
		return `file = "secrets.age"`
	case "secrets.file.chain":
		return `chain = "tls/{path}/fullchain.pem", and key = "tls/{path}/privkey.pem"`
	case "secrets.env.chain":
		return `chain = "TLS_CHAIN", and key = "TLS_KEY"`
	case "secrets.vault.approle.role_id":
		return `role_id = "..."; vault read auth/approle/role/ROLE/role-id shows it`
	case "secrets.vault.userpass.password":
		return `password = env("VAULT_PASSWORD")`
	case "secrets.acme.directory":
		return `directory = "https://acme-v02.api.letsencrypt.org/directory"`
	case "secrets.acme.terms_agreed":
		return "terms_agreed = true, once you have read the terms of the directory"
	case "secrets.acme.seal", "secrets.vault.pki.seal":
		return `seal = secrets.issued, and: secrets "issued" { age { file = "issued.age" } }`
	case "secrets.acme.external_account.hmac":
		return `hmac = env("EAB_HMAC")`
	case "secrets.sops.file":
		return `file = "secrets.enc.yaml"`
	case "store.etcd.endpoints":
		return `endpoints = ["https://etcd-1.example.com:2379", "https://etcd-2.example.com:2379"]`
	case "store.file.dir":
		return `dir = "/var/lib/failover"`
	}
	return name + ` = "..."`
}

func fields(s string) (names []string, flagged map[string]bool) {
	flagged = map[string]bool{}
	for _, w := range strings.Fields(s) {
		n := strings.TrimRight(w, "!+")
		names = append(names, n)
		flagged[n] = n != w
	}
	return names, flagged
}

// open reads one body: its attributes and blocks, and what does not belong there. Blocks within are opened too.
func (d *decoder) open(body hcl.Body, kind, what, label string, at hcl.Range) *block {
	b := &block{d: d, kind: kind, what: what, label: label, at: at, attrs: map[string]*hcl.Attribute{}, blocks: map[string][]*block{}, marked: map[string]bool{}}
	s := shapes(kind)
	attrs, required := fields(s.attrs)
	blocks, labelled := fields(s.blocks)
	schema := &hcl.BodySchema{}
	for _, n := range attrs {
		schema.Attributes = append(schema.Attributes, hcl.AttributeSchema{Name: n})
	}
	for _, n := range blocks {
		x := hcl.BlockHeaderSchema{Type: n}
		if labelled[n] {
			x.LabelNames = []string{"name"}
		}
		schema.Blocks = append(schema.Blocks, x)
	}
	content, diags := body.Content(schema)
	wrong := map[string]bool{} // names that are there in a wrong form: not missing
	for _, x := range diags {
		d.bodyError(x, kind, what, attrs, blocks, wrong)
	}
	for n, a := range content.Attributes {
		b.attrs[n] = a
	}
	for _, x := range content.Blocks {
		l := ""
		if len(x.Labels) > 0 {
			l = x.Labels[0]
		}
		path, called := kind+"."+x.Type, name(x.Type, l)+" of "+what
		if kind == "plan" {
			path, called = x.Type, name(x.Type, l)
		}
		inner := d.open(x.Body, path, called, l, x.DefRange)
		b.blocks[x.Type] = append(b.blocks[x.Type], inner)
	}
	for _, n := range blocks {
		list := b.blocks[n]
		if !labelled[n] && len(list) > 1 {
			d.errorf(list[1].at, "keep one of them", "%s has more than one %s block", what, n)
		}
		seen := map[string]bool{}
		for _, x := range list {
			if labelled[n] && seen[x.label] {
				d.errorf(x.at, "give it another name", "there is more than one %s", x.what)
			}
			seen[x.label] = true
		}
	}
	if kind != "plan" {
		for _, n := range attrs {
			if required[n] && b.attrs[n] == nil && !wrong[n] {
				d.errorf(at, "add: "+example(kind, n), "%s needs %s", what, n)
			}
		}
	}
	return b
}

func name(kind, label string) string {
	if label == "" {
		return kind
	}
	return fmt.Sprintf("%s %q", kind, label)
}

func quotedWord(s string) string {
	m := regexp.MustCompile(`"([^"]*)"`).FindStringSubmatch(s)
	if m == nil {
		return ""
	}
	return m[1]
}

// bodyError says which word does not belong in a block.
func (d *decoder) bodyError(x *hcl.Diagnostic, kind, what string, attrs, blocks []string, wrong map[string]bool) {
	var at hcl.Range
	if x.Subject != nil {
		at = *x.Subject
	}
	if what == "" {
		what = "a plan"
	}
	word := quotedWord(x.Detail)
	all := slices.Concat(attrs, blocks)
	switch x.Summary {
	case "Unsupported argument", "Extraneous JSON object property":
		if slices.Contains(blocks, word) {
			wrong[word] = true
			d.errorf(at, fmt.Sprintf("write %s { ... } without =", word), "%s is a block, not an attribute", word)
			return
		}
		d.errorf(at, meant(word, all), "%s has no attribute %q", what, word)
	case "Unsupported block type":
		if slices.Contains(attrs, word) {
			wrong[word] = true
			d.errorf(at, fmt.Sprintf("write %s = ...", word), "%s is an attribute, not a block: the = is missing", word)
			return
		}
		d.errorf(at, meant(word, all), "%s has no block %q", what, word)
	default:
		switch {
		case strings.HasPrefix(x.Summary, "Missing name for "):
			k := strings.TrimPrefix(x.Summary, "Missing name for ")
			d.errorf(at, fmt.Sprintf("%s \"NAME\" { ... }", k), "this %s block has no name", k)
		case strings.HasPrefix(x.Summary, "Extraneous label for "):
			k := strings.TrimPrefix(x.Summary, "Extraneous label for ")
			d.errorf(at, "take the extra name out", "this %s block has a name too many", k)
		default:
			d.addHCL(hcl.Diagnostics{x}, what, false)
		}
	}
}

// only gives the one block of a kind, or nil.
func (b *block) only(kind string) *block {
	if len(b.blocks[kind]) == 0 {
		return nil
	}
	return b.blocks[kind][0]
}

// has reports whether an attribute is given.
func (b *block) has(name string) bool { return b.attrs[name] != nil }

// where is the place of an attribute's value, or of the block where it is not given.
func (b *block) where(name string) hcl.Range {
	if a := b.attrs[name]; a != nil {
		return a.Expr.Range()
	}
	return b.at
}

// own reports whether an attribute or a block in it is given by itself, and not by what it lies on.
func (b *block) own(name string) bool {
	if len(b.blocks[name]) > 0 {
		return b.base == nil || len(b.base.blocks[name]) == 0 || b.base.blocks[name][0] != b.blocks[name][0]
	}
	return b.has(name) && (b.base == nil || b.base.attrs[name] != b.attrs[name])
}

// over gives the block as it is with another's attributes on top. template and user_data exclude each
// other, so that giving one takes the other away.
func (b *block) over(o *block) *block {
	out := *b
	out.what, out.marked, out.base = o.what, map[string]bool{}, b
	out.attrs = map[string]*hcl.Attribute{}
	out.under = map[string]*hcl.Attribute{}
	out.blocks = map[string][]*block{}
	for n, a := range b.attrs {
		if n == "template" && o.has("user_data") || n == "user_data" && o.has("template") || n == "vars" && (o.has("user_data") || o.has("template")) {
			continue
		}
		out.attrs[n] = a
	}
	for n, a := range o.attrs {
		if out.attrs[n] != nil {
			out.under[n] = out.attrs[n]
		}
		out.attrs[n] = a
	}
	for k, list := range b.blocks {
		if k != "region" {
			out.blocks[k] = list
		}
	}
	for k, list := range o.blocks {
		if len(out.blocks[k]) == 1 && len(list) == 1 {
			list = []*block{out.blocks[k][0].over(list[0])}
		}
		out.blocks[k] = list
	}
	return &out
}
