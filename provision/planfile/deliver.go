package planfile

import (
	"path"
	"regexp"
	"strings"

	"github.com/dripstat/failover/provision"
)

// account reports whether a text may be the name or the number of a user or group.
func account(s string) bool {
	return regexp.MustCompile(`^([a-z_][a-z0-9_-]{0,31}|[0-9]{1,10})$`).MatchString(s)
}

// layouts are the words that layout takes.
func layouts() []string {
	return []string{string(provision.LayoutBundle), string(provision.LayoutFiles), string(provision.LayoutPKCS12)}
}

// deliver reads where a server's certificate ends. What it does not say of persist and reload is the certificate's to say.
func (d *decoder) deliver(b *block, s provision.Server, p provision.Plan) *provision.Delivery {
	c, known := p.Certificate(s.Certificate)
	if s.Certificate == "" {
		d.errorf(b.at, "add: certificate = certificate.NAME", "%s has nothing to deliver: the server has no certificate", b.what)
	}
	out := provision.Delivery{Layout: provision.Layout(b.text("layout", "")), Path: b.text("path", ""), Owner: b.text("owner", ""), Group: b.text("group", ""),
		Mode: b.text("mode", ""), Persist: b.flag("persist"), Unit: c.Reload, Command: c.Command, Password: b.secret("password")}
	if !b.has("persist") {
		out.Persist = known && c.Persist
	}
	if b.has("reload") {
		out.Unit, out.Command = b.reload()
	}
	if l := string(out.Layout); b.has("layout") && l != Placeholder && !contains(layouts(), l) {
		b.wrong("layout", meant(l, layouts()), "is %s, which is not a layout", b.show("layout", l))
		out.Layout = ""
	}
	if s.Template == "tls-proxy" && out.Layout.Folder() {
		b.wrong("layout", `layout = "bundle", or another template`, "will not do for the template tls-proxy: haproxy reads one PEM file with chain and key")
	}
	if v := out.Owner; b.has("owner") && v != Placeholder && !account(v) {
		b.wrong("owner", `owner = "app"`, "is %s, which is not the name of a user", b.show("owner", v))
	}
	if v := out.Group; b.has("group") && v != Placeholder && !account(v) {
		b.wrong("group", `group = "app"`, "is %s, which is not the name of a group", b.show("group", v))
	}
	if m := out.Mode; b.has("mode") && m != Placeholder && !regexp.MustCompile(`^0?[46][04]0$`).MatchString(m) {
		b.wrong("mode", `mode = "0600", or "0640" with a group`, "is %s, which will not do for a private key: its owner reads it, its group may, nobody else", b.show("mode", m))
	}
	d.deliverPath(b, out)
	d.deliverPassword(b, out)
	return &out
}

// deliverPath wants a path that root can own: nothing below it may be somebody else's to replace.
func (d *decoder) deliverPath(b *block, out provision.Delivery) {
	p := out.Path
	if !b.has("path") || p == Placeholder {
		return
	}
	next := `path = "/etc/ssl/private/edge.pem"`
	if out.Layout.Folder() {
		next = `path = "/etc/app/tls", a folder of its own`
	}
	switch {
	case b.has("persist"):
		b.wrong("path", "keep path; one below /run is in memory, another is on a disk", "is there beside persist, which is about failover's own place")
	case !strings.HasPrefix(p, "/") || !regexp.MustCompile(`^[A-Za-z0-9._/-]+$`).MatchString(p):
		b.wrong("path", next, "is %s, which is not an absolute path of letters, digits and . _ - /", b.show("path", p))
	case path.Clean(p) != p || strings.Count(p, "/") < 2:
		b.wrong("path", next, "is %s; write it without //, . and .., with a folder before its last name", b.show("path", p))
	default:
		for _, bad := range []string{"/proc/", "/sys/", "/dev/", "/tmp/", "/var/tmp/", "/boot/"} {
			if strings.HasPrefix(p+"/", bad) && !strings.HasPrefix(p, "/dev/shm/") {
				b.wrong("path", next, "is in %s, which is no place for a private key", strings.TrimSuffix(bad, "/"))
			}
		}
	}
}

func (d *decoder) deliverPassword(b *block, out provision.Delivery) {
	pass := out.Password.Bytes()
	switch {
	case !b.has("password"):
	case out.Layout != provision.LayoutPKCS12 && string(out.Layout) != Placeholder && (!b.has("layout") || !d.failedAt(b.where("layout"))):
		b.wrong("password", `add: layout = "pkcs12", or take it out`, "is for the layout pkcs12 alone: PEM is delivered as it is")
	case string(pass) == Placeholder || b.d.failedAt(b.where("password")):
	case len(pass) < 6:
		b.wrong("password", `password = env("KEYSTORE_PASSWORD")`, "is shorter than 6 characters, which keytool refuses")
	default:
		for _, ch := range pass {
			if ch < 0x20 || ch > 0x7e {
				b.wrong("password", `password = env("KEYSTORE_PASSWORD")`, "has a character that is not printable ASCII: Java versions differ in how they read it")
				return
			}
		}
	}
}

// reload is a systemd unit in one text, or a command and its words in a list.
func (b *block) reload() (unit string, command []string) {
	v, ok := b.value("reload")
	if !ok {
		return "", nil
	}
	if text, ok := asText(v); ok {
		if text != Placeholder && !regexp.MustCompile(`^[A-Za-z0-9:_.@\\-]*$`).MatchString(text) {
			b.wrong("reload", `reload = ["systemctl", "restart", "app"]`, "is %s, which is not the name of a systemd unit; a command is a list of words", b.show("reload", text))
		}
		return text, nil
	}
	words := b.texts("reload")
	if !b.d.failedAt(b.where("reload")) && (len(words) == 0 || words[0] == "") {
		b.wrong("reload", `reload = ["systemctl", "restart", "app"]`, "must begin with a command")
	}
	return "", words
}
