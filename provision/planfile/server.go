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
	d.opens[s.Name+"/"] = !x.has("open") && !x.has("security_groups")
	if len(x.label) > 40 {
		d.errorf(x.at, "40 characters at most", "the name of %s is too long for a host name", x.what)
	}
	for _, r := range x.blocks["region"] {
		if !d.knownRegion(r, p) {
			continue
		}
		over := x.over(r)
		o := d.oneServer(over, p)
		o.Pos = pos(r.at)
		d.opens[s.Name+"/"+r.label] = !over.has("open") && !over.has("security_groups")
		if s.In == nil {
			s.In = map[string]*provision.Server{}
		}
		s.In[r.label] = &o
	}
	return s
}

// knownRegion refuses what differs in a region that the plan never goes to.
func (d *decoder) knownRegion(r *block, p provision.Plan) bool {
	known := slices.Compact(slices.Clone(p.Regions))
	if p.Home != "" && !slices.Contains(known, p.Home) {
		known = append(known, p.Home)
	}
	if len(p.Regions) > 0 && !slices.Contains(known, r.label) && !slices.Contains(known, Placeholder) {
		d.errorf(r.at, meant(r.label, known), "%q is neither among regions nor home", r.label)
		return false
	}
	return true
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
		c, _ := p.Certificate(s.Certificate)
		s.Ready = d.ready(b, c.Names, s.Certificate, 0)
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
	switch {
	case s.Ready.Plain(): // the load balancers that it is a member of are let in once they are known
		tcp(readyPort(s.Ready), "me")
	case s.Ready != nil || s.Certificate != "":
		tcp(readyPort(s.Ready), "any")
	}
	if s.Template == "tls-proxy" {
		tcp(80, "any")
	}
	if s.Certificate != "" && !s.Pulls() {
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
	if r.Plain() {
		return 80
	}
	return 443
}

// ready decodes what must be answered. names are those that a certificate covers, called by the first of them; listen, where
// it is not 0, is the only port that there is.
func (d *decoder) ready(b *block, names []string, certificate string, listen int) *provision.Ready {
	attr := "https"
	if b.has("http") && !b.has("https") {
		attr = "http"
	}
	r := &provision.Ready{
		URL: b.need(attr), Status: b.whole("status", 200, 100, 599), Body: b.text("body", ""),
		Within:    b.time("within", 5*time.Minute, time.Second, time.Second, 24*time.Hour),
		Successes: b.whole("successes", 3, 1, 100), CA: b.roots("ca"),
	}
	switch {
	case b.has("http") && b.has("https"):
		b.wrong("http", "keep one of them", "is given beside https")
	case !b.has(attr) && listen == 0:
		d.errorf(b.at, "add: "+example("server.ready", "https"), "%s needs https", b.what)
	}
	if r.URL == "" || r.URL == Placeholder {
		return r
	}
	u, err := url.Parse(r.URL)
	next := attr + ` = "` + attr + `://www.example.com/health"`
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "":
		b.wrong(attr, next, "is %s, which is not a URL", b.show(attr, r.URL))
		return r
	case u.Scheme != attr && attr == "http":
		b.wrong(attr, next, "is %s, which is not http", b.show(attr, r.URL))
		r.URL = ""
		return r
	case u.Scheme != attr:
		b.wrong(attr, next, "is %s, which is not https: DNS is moved only to servers that prove who they are", b.show(attr, r.URL))
		r.URL = ""
		return r
	}
	if u.Port() != "" {
		if _, err := port(u.Port()); err != nil {
			b.wrong(attr, next, "%v", err)
		}
	}
	if !dnsName(u.Hostname()) {
		b.wrong(attr, next, "must have the public name of the service in it")
		return r
	}
	if listen != 0 && readyPort(r) != listen {
		b.wrong(attr, fmt.Sprintf("ask port %d, or listen = %d", listen, readyPort(r)), "asks port %d, where the load balancer does not listen", readyPort(r))
	}
	if len(names) > 0 && !slices.Contains(names, Placeholder) && !covered(u.Hostname(), names) && attr == "https" {
		b.wrong(attr, fmt.Sprintf("add it to names of certificate %q, or ask under one of: %s", certificate, strings.Join(names, ", ")),
			"asks for %s, which certificate %q need not cover", b.show(attr, u.Hostname()), certificate)
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
