package planfile

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/templates"
)

// wrapped is the word for a certificate that the server fetches itself.
const wrapped = "vault-wrap"

// deliverBy reads how the certificate gets onto the server: over SSH (nil), or fetched by the server out of a wrapping.
func (d *decoder) deliverBy(b *block, s provision.Server, p provision.Plan, c provision.Certificate, known bool) *provision.Wrap {
	ways := []string{"ssh", wrapped}
	switch by := b.text("by", "ssh"); {
	case by == Placeholder:
		return nil
	case !contains(ways, by):
		b.wrong("by", meant(by, ways), "is %s; a certificate is delivered by ssh, or fetched by the server (vault-wrap)", b.show("by", by))
		return nil
	case by == "ssh":
		for _, a := range []string{"ttl", "address", "ca"} {
			if b.has(a) {
				b.wrong(a, `add: by = "vault-wrap", or take it out`, "is for servers that fetch the certificate themselves")
			}
		}
		return nil
	}
	w := &provision.Wrap{TTL: b.time("ttl", 15*time.Minute, time.Second, time.Minute, 24*time.Hour), Addresses: b.texts("address"), CA: b.roots("ca")}
	if l := b.text("layout", ""); l == string(provision.LayoutPKCS12) {
		b.wrong("layout", `layout = "files", or by = "ssh"`, "is pkcs12, which a server that fetches the certificate itself does not make")
	}
	if v := s.UserData; strings.HasPrefix(strings.ToLower(v), "content-type:") || strings.HasPrefix(strings.ToLower(v), "mime-version:") {
		b.wrong("by", "make user_data #cloud-config or a script", "is vault-wrap, which user_data that is MIME cannot be joined with")
	}
	if known && len(c.From) > 0 {
		d.keptInVault(b, p, c, w)
	}
	for i, a := range w.Addresses {
		if u, err := url.Parse(a); a != Placeholder && (err != nil || u.Host == "" || u.Scheme != "https") {
			if !b.has("address") {
				b.wrong("by", `say it here: address = "https://vault.example.com:8200"`, "is vault-wrap, and the address of Vault, %s, is not https://HOST:PORT: the certificate would cross the network in the open", strconv.Quote(a))
				break
			}
			b.wrongItem("address", i, `address = "https://vault.example.com:8200"`, "has %s, which is not https://HOST:PORT: the certificate would cross the network in the open", b.show("address", a))
		}
	}
	return w
}

// keptInVault refuses places that a server cannot fetch from, and takes from the one that it can what the block does not say.
func (d *decoder) keptInVault(b *block, p provision.Plan, c provision.Certificate, w *provision.Wrap) {
	if len(c.From) > 1 {
		b.wrong("by", `name one place: from = secrets.vault`, "is vault-wrap, and certificate %q is from several places: a server fetches from the one Vault that its token is of", c.Name)
		return
	}
	st, ok := p.SecretStore(c.From[0].Store)
	switch {
	case !ok || st.Kind == "": // that was said
		return
	case st.Vault == nil:
		b.wrong("by", `by = "ssh", or keep it in a KV engine of Vault`, "is vault-wrap, and certificate %q is in secrets.%s, which is %s: only a KV engine of Vault wraps", c.Name, st.Name, st.Kind)
		return
	case st.Vault.PKI != nil:
		b.wrong("by", `by = "ssh", or keep it in a KV engine of Vault`, "is vault-wrap, and certificate %q is issued by Vault's PKI during the run: its key is made here, and Vault does not have it", c.Name)
		return
	}
	if len(w.Addresses) == 0 && !b.has("address") {
		if w.Addresses = st.Vault.Addresses; len(w.Addresses) == 0 {
			b.wrong("by", `add: address = "https://vault.example.com:8200"`, "is vault-wrap, and neither this block nor secrets.%s says where Vault is: a server does not have your environment", st.Name)
		}
	}
	if ca := st.Vault.CA; w.CA == "" && !b.has("ca") && ca != "" && ca != Placeholder {
		text, err := d.readFile(ca, false)
		if err != nil {
			b.wrong("by", `say it here: ca = file("vault-ca.pem")`, "is vault-wrap, and ca of secrets.%s cannot be read: %v", st.Name, err)
			return
		}
		w.CA = string(text)
	}
}

// pull is what the servers of a block need to know to fetch their certificate.
func pull(s provision.Server, p provision.Plan) templates.Pull {
	c, _ := p.Certificate(s.Certificate)
	st, _ := p.SecretStore(c.From[0].Store)
	v, end := st.Vault, s.Delivery(c)
	at := strings.Trim(c.From[0].Path, "/")
	mount := strings.Trim(v.Mount, "/")
	out := templates.Pull{Certificate: c.Name, Addresses: end.Wrap.Addresses, CA: end.Wrap.CA, Namespace: v.Namespace, At: c.From[0].Path, Chain: v.ChainField, Key: v.KeyField,
		Seconds: int(end.Wrap.TTL / time.Second), Layout: string(end.Layout), Path: end.Path, Owner: end.Chown(), Mode: end.Mode, Folder: folderMode(end.Mode), Shared: !end.Private(),
		Reload: end.Command, Paths: map[string]int{}}
	if len(out.Chain) == 0 {
		out.Chain = []string{"chain"}
	}
	if out.Key == "" {
		out.Key = "key"
	}
	if len(out.Reload) == 0 && end.Unit != "" && end.Unit != provision.ProxyUnit { // that one starts by itself when the file appears
		out.Reload = []string{"systemctl", "reload-or-restart", end.Unit}
	}
	if v.Version != 1 {
		out.Paths[mount+"/data/"+at] = 2
	}
	if v.Version != 2 {
		out.Paths[mount+"/"+at] = 1
	}
	return out
}

// folderMode lets those into a folder who may read the files in it.
func folderMode(mode string) string {
	bits, err := strconv.ParseUint(mode, 8, 12)
	if err != nil {
		return "0700"
	}
	return fmt.Sprintf("%04o", 0o700|bits&0o044|bits&0o044>>2)
}
