package planfile

import (
	"net/url"

	"github.com/dripstat/failover/provision"
)

func (d *decoder) rackspace(b *block) *provision.Rackspace {
	r := &provision.Rackspace{Username: b.text("username", ""), APIKey: b.secret("api_key"), Password: b.secret("password"),
		Account: b.text("account", ""), AuthURLs: b.texts("auth_url")}
	for _, u := range r.AuthURLs {
		if w, err := url.Parse(u); u != Placeholder && (err != nil || w.Scheme != "https" && w.Scheme != "http" || w.Host == "") {
			b.wrong("auth_url", `auth_url = "https://identity.api.rackspacecloud.com/v2.0/"`, "has %s, which is not a URL", b.show("auth_url", u))
		}
	}
	switch {
	case b.has("api_key") && b.has("password"):
		b.wrong("password", "keep api_key; with a password an account with two factors asks for a code", "is given beside api_key")
	case b.has("username") && !b.has("api_key") && !b.has("password"):
		d.errorf(b.where("username"), `add: api_key = env("RAX_API_KEY")`, "%s gives username without api_key", b.what)
	case !b.has("username") && b.has("api_key"):
		d.errorf(b.where("api_key"), `add: username = env("RAX_USERNAME")`, "%s gives api_key without username", b.what)
	case !b.has("username") && b.has("password"):
		d.errorf(b.where("password"), `add: username = env("RAX_USERNAME")`, "%s gives password without username", b.what)
	}
	return r
}

// firstCloud refuses what Rackspace's first cloud does not have, and fills in what is always so there: no firewall stands
// before its servers, and user-data comes on a drive.
func (d *decoder) firstCloud(x *block, s *provision.Server, p provision.Plan) {
	if c, _ := p.Cloud(s.Cloud); c.Rackspace == nil {
		return
	}
	for _, no := range []struct {
		attr, lacks, hint string
		asked             bool
	}{
		{"spread", "server groups", "take it out; count and need keep the service up where one hypervisor fails", s.Spread},
		{"zones", "availability zones", "take it out; a ladder of flavors is the way around a lack of room", len(s.Zones) > 0},
		{"floating_ip", "floating addresses", "take it out; every server there has a public address of its own", s.FloatingIP != ""},
		{"security_groups", "security groups for new servers", "take it out; let vars { setup = ... } set a firewall up on the server itself", len(s.SecurityGroups) > 0},
		{"open", "security groups for new servers", "take it out; every port is open there, and vars { setup = ... } can set a firewall up on the server itself", x.has("open") && len(s.Open) > 0},
	} {
		if no.asked && !d.failedAt(x.where(no.attr)) {
			d.errorf(x.where(no.attr), no.hint, "%s asks for %s, and cloud.%s, Rackspace's first cloud, has no %s", x.what, no.attr, s.Cloud, no.lacks)
		}
	}
	if s.Deliver != nil && s.Deliver.Wrap != nil { // whether a token was used before is read there
		d.errorf(x.only("deliver").where("by"), `by = "ssh"`, "%s has vault-wrap, which needs the console of the server, and cloud.%s, Rackspace's first cloud, has none", x.what, s.Cloud)
	}
	s.Open = nil
	if b := x.only("ssh"); b == nil || !b.has("user") {
		s.SSH.User = "root" // of Rackspace's own images, whatever their system
	}
	if x.has("config_drive") && !s.ConfigDrive && !d.failedAt(x.where("config_drive")) {
		x.wrong("config_drive", "take it out", "is false, and Rackspace's first cloud hands user-data over in no other way")
	}
	s.ConfigDrive = true // https://docs.rackspace.com/docs/cloud-servers/create-a-server: user_data "is used with config_drive"
}

// keeper refuses a cloud that does not have the DNS service that is named.
func (d *decoder) keeper(x *block, provider provision.DNSProvider, p provision.Plan) {
	name, kind := "", ""
	switch {
	case provider.Designate != nil:
		name, kind = provider.Designate.Cloud, "designate"
	case provider.CloudDNS != nil:
		name, kind = provider.CloudDNS.Cloud, "clouddns"
	}
	c, ok := p.Cloud(name)
	switch {
	case !ok:
	case kind == "designate" && c.Rackspace != nil:
		d.errorf(x.only(kind).where("cloud"), "write clouddns { cloud = cloud."+name+" }: it keeps zones there", "%s takes designate of cloud.%s, and Rackspace's first cloud has none", x.what, name)
	case kind == "clouddns" && c.OpenStack != nil:
		d.errorf(x.only(kind).where("cloud"), "write designate { cloud = cloud."+name+" }, or name a cloud block with rackspace { ... }", "%s takes Rackspace's Cloud DNS of cloud.%s, which is OpenStack", x.what, name)
	}
}

// keyManagers refuses a key manager of a cloud that has none.
func (d *decoder) keyManagers(top *block, p provision.Plan) {
	for i, s := range p.Secrets {
		if s.Barbican == nil {
			continue
		}
		if c, _ := p.Cloud(s.Barbican.Cloud); c.Rackspace != nil {
			x := top.blocks["secrets"][i]
			d.errorf(x.only("barbican").where("cloud"), `use another backend: age { file = "secrets.age" }`, "%s takes the key manager of cloud.%s, and Rackspace's first cloud has none", x.what, s.Barbican.Cloud)
		}
	}
}
