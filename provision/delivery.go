package provision

import (
	"path"
	"strconv"
	"strings"

	"github.com/dripstat/failover/secrets"
)

// Layout is the form that a certificate has on a server.
type Layout string

// The layouts. Files of a folder change together.
const (
	// LayoutBundle is one PEM file: the chain, leaf first, then the key. haproxy reads it.
	LayoutBundle Layout = "bundle"
	// LayoutFiles is a folder with cert.pem, chain.pem, fullchain.pem and privkey.pem, as certbot names them.
	LayoutFiles Layout = "files"
	// LayoutPKCS12 is a folder with keystore.p12, and with keystore.password where the plan gives no password.
	LayoutPKCS12 Layout = "pkcs12"
)

// Folder reports whether the layout is a folder of files and not one file.
func (l Layout) Folder() bool { return l == LayoutFiles || l == LayoutPKCS12 }

// Delivery says where on a server a certificate ends, and in which form.
type Delivery struct {
	Layout   Layout        // empty: bundle
	Path     string        // of the file, or of the folder; empty: failover's own place
	Owner    string        // a user there, or a uid; empty: root
	Group    string        // empty: the owner's own
	Mode     string        // octal, of each file; empty: 0600
	Persist  bool          // failover's own place is on a disk, not in memory
	Unit     string        // systemd unit to reload after each delivery; empty: none
	Command  []string      // to run there after each delivery, instead of Unit
	Password secrets.Value // of a PKCS#12 file; zero: each delivery makes one and puts it beside the file
}

// ProxyUnit is the systemd unit of the template tls-proxy that reads the certificate.
const ProxyUnit = "failover-proxy.service"

// Delivery gives where the certificate of the block ends, with all that the plan leaves open decided.
func (s Server) Delivery(c Certificate) Delivery {
	d := Delivery{Persist: c.Persist, Unit: c.Reload, Command: c.Command}
	if s.Deliver != nil {
		d = *s.Deliver
	}
	if d.Layout == "" {
		d.Layout = LayoutBundle
	}
	if d.Path == "" {
		name := c.Name
		if !d.Layout.Folder() {
			name += ".pem"
		}
		d.Path = path.Join("/run/failover/tls", name)
		if d.Persist {
			d.Path = path.Join("/etc/failover/tls", name)
		}
	}
	if d.Mode == "" {
		d.Mode = "0600"
	}
	if d.Unit == "" && len(d.Command) == 0 && s.Template == "tls-proxy" {
		d.Unit = ProxyUnit
	}
	return d
}

// Private reports whether root alone has to reach the files: then their folder is closed to everybody else.
func (d Delivery) Private() bool {
	return (d.Owner == "" || d.Owner == "root" || d.Owner == "0") && (d.Group == "" || d.Group == "root" || d.Group == "0")
}

// Chown is the owner as chown takes it. "app:" is the user with the group that is its own; chown takes no number so, and
// a number without a group has root's.
func (d Delivery) Chown() string {
	owner, group := d.Owner, d.Group
	if owner == "" {
		owner = "root"
	}
	if _, err := strconv.Atoi(owner); group == "" && (owner == "root" || err == nil) {
		group = "root"
	}
	return owner + ":" + group
}

// InMemory reports whether the path is in a file system that systemd keeps in memory.
func (d Delivery) InMemory() bool {
	return strings.HasPrefix(d.Path, "/run/") || strings.HasPrefix(d.Path, "/dev/shm/")
}
