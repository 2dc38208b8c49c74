package planfile

import (
	"crypto/x509"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dripstat/failover/provision"
)

// server decodes a block, and once more for each region that the plan says something different for.
func (d *decoder) server(x *block, p provision.Plan) provision.Server {
	s := d.oneServer(x, p)
	if len(x.label) > 40 {
		d.errorf(x.at, "40 characters at most", "the name of %s is too long for a host name", x.what)
	}
	known := slices.Compact(slices.Clone(p.Regions))
	if p.Home != "" && !slices.Contains(known, p.Home) {
		known = append(known, p.Home)
	}
	for _, r := range x.blocks["region"] {
		if len(p.Regions) > 0 && !slices.Contains(known, r.label) && !slices.Contains(known, Placeholder) {
			d.errorf(r.at, meant(r.label, known), "%q is neither among regions nor home", r.label)
			continue
		}
		o := d.oneServer(x.over(r), p)
		o.Pos = pos(r.at)
		if s.In == nil {
			s.In = map[string]*provision.Server{}
		}
		s.In[r.label] = &o
	}
	return s
}

func (d *decoder) oneServer(x *block, p provision.Plan) provision.Server {
	s := provision.Server{
		Name: x.label, Pos: pos(x.at), Cloud: x.ref("cloud", "cloud"), Count: x.whole("count", 1, 1, 500),
		Image: x.image(), Flavors: x.flavors(), Zones: x.texts("zones"), Networks: x.texts("networks"),
		FloatingIP: x.text("floating_ip", ""), Spread: x.flag("spread"), SecurityGroups: x.texts("security_groups"),
		KeepSSH: x.flag("keep_ssh"), ConfigDrive: x.flag("config_drive"), Template: x.text("template", ""), UserData: x.text("user_data", ""),
		Certificate: x.ref("certificate", "certificate"),
		Timeout:     x.time("timeout", 10*time.Minute, time.Second, 10*time.Second, 24*time.Hour),
		SSH:         provision.SSH{Port: 22},
	}
	s.Need, s.Hedge = x.whole("need", 0, 1, max(s.Count, 1)), x.whole("hedge", 0, 0, 50)
	s.Metadata, _ = x.texted("metadata")
	for _, k := range sorted(s.Metadata) {
		if len(k) > 255 || len(s.Metadata[k]) > 255 {
			d.errorf(x.keyRange("metadata", k), "", "metadata of %s: a key or a value is longer than 255 bytes", x.what)
		}
		if strings.HasPrefix(k, "failover_") {
			d.errorf(x.keyRange("metadata", k), "choose another name", "metadata of %s: failover_ is for failover's own tags", x.what)
		}
	}
	s.SSH.User = loginUser(s.Image)
	if b := x.only("ssh"); b != nil {
		s.SSH.User, s.SSH.Port, s.SSH.Via = b.text("user", s.SSH.User), b.whole("port", 22, 1, 65535), b.text("via", "")
		if !word(s.SSH.User) && s.SSH.User != Placeholder {
			b.wrong("user", "", "is not a user name")
		}
		if s.SSH.Via != "" && s.SSH.Via != Placeholder {
			user, host, ok := strings.Cut(s.SSH.Via, "@")
			if !ok || !word(user) || !hostPort(host) {
				b.wrong("via", `via = "me@jump.example.com:22"`, "is %s, which is not user@host or user@host:port", b.show("via", s.SSH.Via))
			}
		}
	}
	if b := x.only("deliver"); b != nil {
		s.Deliver = d.deliver(b, s, p)
	}
	if b := x.only("volume"); b != nil {
		v, ok := b.value("size")
		if ok && v.IsKnown() {
			s.Volume.SizeGB = b.gigabytes("size", v)
		}
		s.Volume.Type = b.text("type", "")
	}
	if b := x.only("ready"); b != nil {
		s.Ready = d.ready(b, s, p)
	}
	s.Open = x.open(s)
	d.firstCloud(x, &s, p)
	d.userData(x, &s, p)
	return s
}

func sorted(m map[string]string) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// loginUser is the one that images of the usual names are made with.
func loginUser(w provision.ImageWant) string {
	n := strings.ToLower(w.Name + w.Pattern)
	for _, u := range []string{"ubuntu", "fedora", "rocky", "almalinux"} {
		if strings.Contains(n, u) {
			return u
		}
	}
	return "debian"
}

// open gives the rules. Where the plan says nothing of who may come in, and something is to be reached, the
// ports that this very block needs are opened; open = [] opens none.
func (x *block) open(s provision.Server) []provision.OpenRule {
	var out []provision.OpenRule
	if x.has("open") {
		for i, t := range x.texts("open") {
			if t == Placeholder {
				continue
			}
			r, err := openRule(t)
			if err != nil {
				x.wrongItem("open", i, `open = ["443/tcp from any", "22/tcp from me"]`, "has %s, which %v", x.show("open", t), err)
				continue
			}
			if slices.Contains(out, r) {
				x.wrongItem("open", i, "take it out", "has %s twice", x.show("open", t))
			}
			out = append(out, r)
		}
		return out
	}
	if x.has("security_groups") {
		return nil
	}
	tcp := func(p int, from string) {
		if r := (provision.OpenRule{Protocol: "tcp", Port: p, PortMax: p, From: from}); !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	if s.Ready != nil || s.Certificate != "" {
		tcp(readyPort(s.Ready), "any")
	}
	if s.Template == "tls-proxy" {
		tcp(80, "any")
	}
	if s.Certificate != "" {
		tcp(s.SSH.Port, "me")
	}
	return out
}

func readyPort(r *provision.Ready) int {
	if r == nil {
		return 443
	}
	u, err := url.Parse(r.URL)
	if err != nil {
		return 443
	}
	if n, err := strconv.Atoi(u.Port()); err == nil {
		return n
	}
	return 443
}

func (d *decoder) ready(b *block, s provision.Server, p provision.Plan) *provision.Ready {
	r := &provision.Ready{
		URL: b.need("https"), Status: b.whole("status", 200, 100, 599), Body: b.text("body", ""),
		Within:    b.time("within", 5*time.Minute, time.Second, time.Second, 24*time.Hour),
		Successes: b.whole("successes", 3, 1, 100), CA: b.roots("ca"),
	}
	if r.URL == "" || r.URL == Placeholder {
		return r
	}
	u, err := url.Parse(r.URL)
	const next = `https = "https://www.example.com/health"`
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "":
		b.wrong("https", next, "is %s, which is not a URL", b.show("https", r.URL))
		return r
	case u.Scheme != "https":
		b.wrong("https", next, "is %s, which is not https: DNS is moved only to servers that prove who they are", b.show("https", r.URL))
		return r
	}
	if u.Port() != "" {
		if _, err := port(u.Port()); err != nil {
			b.wrong("https", next, "%v", err)
		}
	}
	if !dnsName(u.Hostname()) {
		b.wrong("https", next, "must have the public name of the service in it")
		return r
	}
	if c, ok := p.Certificate(s.Certificate); ok && len(c.Names) > 0 && !slices.Contains(c.Names, Placeholder) && !covered(u.Hostname(), c.Names) {
		b.wrong("https", fmt.Sprintf("add it to names of certificate %q, or ask under one of: %s", c.Name, strings.Join(c.Names, ", ")),
			"asks for %s, which certificate %q need not cover", b.show("https", u.Hostname()), c.Name)
	}
	return r
}

// covered says whether a name is among names, of which some may be wildcards.
func covered(host string, names []string) bool {
	host = strings.ToLower(host)
	_, parent, _ := strings.Cut(host, ".")
	for _, n := range names {
		if n = strings.ToLower(n); n == host || n == "*."+parent {
			return true
		}
	}
	return false
}

// roots is PEM text of certificates.
func (b *block) roots(name string) string {
	s := b.text(name, "")
	if s == "" || s == Placeholder {
		return s
	}
	if !x509.NewCertPool().AppendCertsFromPEM([]byte(s)) {
		b.wrong(name, name+` = file("ca.pem")`, "holds no certificate (PEM)")
	}
	return s
}
