package planfile

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zclconf/go-cty/cty"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/templates"
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

// image is a text, or { name = PATTERN, newest = true }.
func (x *block) image() provision.ImageWant {
	v, ok := x.value("image")
	if !ok {
		return provision.ImageWant{}
	}
	if s, ok := asText(v); ok {
		if strings.TrimSpace(s) == "" {
			x.wrong("image", "", "is empty")
		}
		if strings.ContainsAny(s, "*?") && s != Placeholder {
			x.wrong("image", fmt.Sprintf(`image = { name = %s, newest = true }`, x.show("image", s)), "is a pattern")
		}
		return provision.ImageWant{Name: s}
	}
	w := provision.ImageWant{}
	newest := false
	f, ok := x.object("image", v, "name", "newest")
	if !ok {
		return w
	}
	name, isText := asText(f["name"])
	if f["name"] == cty.NilVal || !isText || name == "" {
		x.wrong("image", `image = { name = "debian-12-*", newest = true }`, "needs a name")
		return w
	}
	if n := f["newest"]; n != cty.NilVal && n.IsKnown() {
		if n.Type() != cty.Bool {
			x.wrong("image", "", "has a newest that is neither true nor false")
			return w
		}
		newest = n.True()
	}
	if newest {
		if _, err := path.Match(name, ""); err != nil {
			x.wrong("image", "", "has a pattern that is not one")
		}
		return provision.ImageWant{Pattern: name}
	}
	if strings.ContainsAny(name, "*?") && name != Placeholder {
		x.wrong("image", "newest = true", "has a pattern for a name, and does not say which of the images")
	}
	return provision.ImageWant{Name: name}
}

// object gives the fields of an object that may hold only these. A null field is absent.
func (x *block) object(attr string, v cty.Value, names ...string) (map[string]cty.Value, bool) {
	if !v.IsKnown() || v.IsNull() || !v.Type().IsObjectType() && !v.Type().IsMapType() {
		x.wrong(attr, "add: "+example(x.kind, attr), "must be a text or an object")
		return nil, false
	}
	out := map[string]cty.Value{}
	good := true
	for it := v.ElementIterator(); it.Next(); {
		k, e := it.Element()
		n := k.AsString()
		if !contains(names, n) {
			x.d.errorf(x.keyRange(attr, n), meant(n, names), "%s of %s has no %q", attr, x.what, n)
			good = false
			continue
		}
		if !e.IsNull() {
			out[n] = e
		}
	}
	return out, good
}

// flavors is a text, an object, or a list of both: a ladder.
func (x *block) flavors() []provision.FlavorWant {
	v, ok := x.value("flavor")
	if !ok {
		return nil
	}
	if !v.IsKnown() {
		return []provision.FlavorWant{{Name: Placeholder}}
	}
	rungs := []cty.Value{v}
	if v.Type().IsTupleType() || v.Type().IsListType() || v.Type().IsSetType() {
		rungs = v.AsValueSlice()
	}
	if len(rungs) == 0 {
		x.wrong("flavor", "add: "+example("server", "flavor"), "is empty")
	}
	var out []provision.FlavorWant
	for i, r := range rungs {
		w, ok := x.flavor(r, i)
		if !ok {
			continue
		}
		if slices.Contains(out, w) && w.Name != Placeholder {
			x.wrongItem("flavor", i, "take it out", "has the same twice")
		}
		out = append(out, w)
	}
	return out
}

func (x *block) flavor(v cty.Value, i int) (w provision.FlavorWant, ok bool) {
	if s, isText := asText(v); isText {
		if s == "" {
			x.wrongItem("flavor", i, "", "has an empty name")
		}
		return provision.FlavorWant{Name: s}, s != ""
	}
	f, ok := x.object("flavor", v, "vcpus", "ram", "disk", "largest")
	if !ok {
		return w, false
	}
	for n, e := range f {
		if !e.IsKnown() {
			return provision.FlavorWant{Name: Placeholder}, true
		}
		switch n {
		case "vcpus":
			n, err := wholeOf(e)
			if err != nil || n < 1 || n > 4096 {
				x.wrongItem("flavor", i, "", "has vcpus that are not a whole number from 1 to 4096")
				ok = false
			}
			w.VCPUs = n
		case "ram":
			s, _ := asText(e)
			b, err := size(s)
			if err != nil {
				x.wrongItem("flavor", i, `ram = "60GiB"`, "has ram that %v", err)
				ok = false
			}
			w.RAMMB = mebibytes(b)
		case "disk":
			s, _ := asText(e)
			b, err := size(s)
			if err != nil {
				x.wrongItem("flavor", i, `disk = "40GB"`, "has a disk that %v", err)
				ok = false
			}
			w.DiskGB = gigabytes(b, s)
		case "largest":
			if e.Type() != cty.Bool {
				x.wrongItem("flavor", i, "", "has a largest that is neither true nor false")
				ok = false
				continue
			}
			w.Largest = e.True()
		}
	}
	if ok && w == (provision.FlavorWant{}) {
		x.wrongItem("flavor", i, `{ vcpus = 8, ram = "32GiB" }`, "has an object that asks for nothing")
		ok = false
	}
	return w, ok
}

func (x *block) gigabytes(attr string, v cty.Value) int {
	s, _ := asText(v)
	b, err := size(s)
	if err != nil {
		x.wrong(attr, attr+` = "40GB"`, "%v", err)
		return 0
	}
	return gigabytes(b, s)
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

// userData renders once what will be written onto the server, so that a mistake is found now and not by a
// machine that boots and does nothing.
func (d *decoder) userData(x *block, s *provision.Server, p provision.Plan) {
	vars, unset := x.texted("vars")
	s.Vars = vars
	if s.Template != "" && s.UserData != "" && x.has("template") && x.has("user_data") {
		x.wrong("user_data", "keep one of them", "is given beside template")
		return
	}
	if s.UserData != "" {
		if x.has("vars") {
			x.wrong("vars", "use template = PATH instead of user_data", "has nothing to go into: user_data is sent as it is")
		}
		if _, err := templates.Pack([]byte(s.UserData), 0); err != nil && s.UserData != Placeholder {
			if x.marked["user_data"] { // the error may quote it
				err = errors.New("cloud-init would not understand it, or it is too large")
			}
			x.wrong("user_data", "", "will not do: %v", err)
		}
		return
	}
	if s.Template == Placeholder {
		return
	}
	if s.Template == "" {
		if x.has("vars") {
			x.wrong("vars", `template = "tls-proxy", "plain", or a file of yours`, "has no template to go into")
		}
		return
	}
	in := Input(*s, p, "")
	in.Vars = map[string]string{}
	for k, v := range vars {
		if !unset[k] {
			in.Vars[k] = v
		}
	}
	var out []byte
	var err error
	if slices.Contains(templates.Names(), s.Template) {
		out, err = templates.Render(s.Template, in)
	} else {
		src, ferr := d.readFile(s.Template, x.marked["template"])
		if ferr != nil {
			var ce *callError
			_ = errors.As(ferr, &ce)
			hint := "built-in templates are tls-proxy and plain; anything else is a file beside the plan"
			if n := nearest(s.Template, templates.Names()); n != "" {
				hint = fmt.Sprintf("did you mean %q?", n)
			}
			d.add(x.where("template"), fmt.Sprintf("there is no template %s", x.show("template", s.Template)), ce.what, hint)
			return
		}
		s.TemplateText = string(src)
		for k := range unset {
			in.Vars[k] = Placeholder
		}
		out, err = templates.RenderFile(s.Template, src, in)
	}
	if err == nil && len(unset) == 0 {
		_, err = templates.Pack(out, 0)
	}
	var unknown *templates.UnknownVarError
	var bad *templates.VarError
	switch {
	case err == nil:
	case errors.As(err, &unknown):
		d.errorf(x.keyRange("vars", unknown.Name), meant(unknown.Name, unknown.Valid), "template %s has no variable %q", unknown.Template, unknown.Name)
	case errors.As(err, &bad):
		d.errorf(x.keyRange("vars", bad.Name), "", "%v", err)
	default:
		d.errorf(x.where("template"), "", "the template of %s does not work: %v", x.what, err)
	}
}

// Input is what a server's template is rendered with, in one region.
func Input(s provision.Server, p provision.Plan, region string) templates.Input {
	if region == "" {
		region = p.Home
		if len(p.Regions) > 0 {
			region = p.Regions[0]
		}
		if !word(region) {
			region = "REGION"
		}
	}
	in := templates.Input{Service: p.Service, Region: region, Server: s.Name, Hostname: s.Name + "-1", LoginUser: s.SSH.User, Vars: s.Vars}
	if !word(in.Service) {
		in.Service = "service"
	}
	if c, ok := p.Certificate(s.Certificate); ok {
		in.Certificate, in.CertificatePath = c.Name, templates.CertificatePath(c.Name, c.Persist)
	}
	if s.Ready != nil {
		if u, err := url.Parse(s.Ready.URL); err == nil {
			in.Health, in.Port = u.Path, readyPort(s.Ready)
		}
	}
	return in
}
