package planfile

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/dripstat/failover/provision"
)

func (d *decoder) age(b *block) *provision.AgeStore {
	a := &provision.AgeStore{File: b.need("file"), Identity: b.text("identity", ""), Recipients: b.texts("recipients")}
	for i, r := range a.Recipients {
		if strings.HasPrefix(strings.ToUpper(r), "AGE-SECRET-KEY-") { // in the wrong place
			d.withhold(r)
		}
		if r != Placeholder && !strings.HasPrefix(r, "age1") {
			b.wrongItem("recipients", i, "age-keygen -y IDENTITY-FILE shows it", "has something that does not begin with age1")
		}
	}
	return a
}

// acme reads an authority, and where what it issues is sealed.
func (d *decoder) acme(b *block) *provision.ACMEStore {
	a := &provision.ACMEStore{Directory: b.need("directory"), Email: b.text("email", ""), CA: b.text("ca", ""), Seal: b.ref("seal", "secrets"),
		KeyType: b.keyType("p256"), Chain: b.text("chain", ""), Renew: b.renew()}
	if u, err := url.Parse(a.Directory); a.Directory != "" && a.Directory != Placeholder && (err != nil || u.Scheme != "https" || u.Host == "") {
		b.wrong("directory", example(b.kind, "directory"), "is %s, which is not an https URL", b.show("directory", a.Directory))
	}
	if a.Email != "" && a.Email != Placeholder && (!strings.Contains(a.Email, "@") || strings.ContainsAny(a.Email, " ,:?")) {
		b.wrong("email", `email = "ops@example.com"`, "is %s, which is not an address", b.show("email", a.Email))
	}
	if b.has("terms_agreed") && !b.flag("terms_agreed") && !d.failedAt(b.where("terms_agreed")) {
		b.wrong("terms_agreed", example(b.kind, "terms_agreed"), "is false: a directory makes no account then")
	}
	if y := b.only("external_account"); y != nil {
		a.KID, a.HMAC = y.need("kid"), y.secret("hmac")
	}
	return a
}

// pki reads a role that issues, and where what it issues is sealed.
func (d *decoder) pki(b *block) *provision.VaultPKI {
	v := &provision.VaultPKI{Mount: b.text("mount", "pki"), Role: b.need("role"), TTL: b.time("ttl", 0, time.Second, time.Minute, 3650*day),
		KeyType: b.keyType(""), Seal: b.ref("seal", "secrets"), Renew: b.renew()}
	modes := []string{"sign", "issue"}
	switch mode := b.text("mode", "sign"); {
	case mode == Placeholder:
	case !slices.Contains(modes, mode):
		b.wrong("mode", meant(mode, modes), "is %s", b.show("mode", mode))
	case mode == "issue":
		v.Issue = true
		if b.has("key_type") {
			b.wrong("key_type", "take it out; the role says which keys it makes", `is for mode = "sign", where the key is made here`)
		}
	}
	if strings.Trim(v.Mount, "/") == "" {
		b.wrong("mount", `mount = "pki"`, "is empty")
	}
	return v
}

func (b *block) keyType(usual string) string {
	types := []string{"p256", "p384", "rsa2048", "rsa3072", "rsa4096"}
	t := b.text("key_type", usual)
	if b.has("key_type") && t != Placeholder && !slices.Contains(types, t) {
		b.wrong("key_type", meant(t, types), "is %s", b.show("key_type", t))
	}
	return t
}

func (b *block) renew() time.Duration { return b.time("renew", 0, day, time.Minute, 3650*day) }

// seals refuses to seal into anything but an age block: the others are not this program's to write.
func (d *decoder) seals(top *block, p provision.Plan) {
	for i, s := range p.Secrets {
		var into string
		var b *block
		switch x := top.blocks["secrets"][i]; {
		case s.ACME != nil:
			into, b = s.ACME.Seal, x.only("acme")
		case s.Vault != nil && s.Vault.PKI != nil:
			into, b = s.Vault.PKI.Seal, x.only("vault").only("pki")
		}
		if to, ok := p.SecretStore(into); ok && to.Age == nil && to.Kind != "" {
			b.wrong("seal", example(b.kind, "seal"), "is secrets.%s, which is %s: only age seals", into, to.Kind)
		}
	}
}

// sealedTwice refuses two certificates that would be sealed over each other.
func (d *decoder) sealedTwice(top *block, p provision.Plan) {
	type place struct{ seal, path string }
	seen := map[place]string{}
	for i, c := range p.Certificates {
		for _, ref := range c.From {
			s, _ := p.SecretStore(ref.Store)
			at := place{path: ref.Path}
			switch {
			case s.ACME != nil:
				at.seal = s.ACME.Seal
			case s.Vault != nil && s.Vault.PKI != nil:
				at.seal = s.Vault.PKI.Seal
			}
			x := top.blocks["certificate"][i]
			if at.seal == "" || at.path == "" || at.path == Placeholder || d.failedAt(x.where("path")) {
				continue
			}
			if other, twice := seen[at]; twice {
				x.wrong("path", `path = "`+c.Name+`"`, "is where certificate %q is sealed, too: secrets.%s", other, at.seal)
				break
			}
			seen[at] = c.Name
		}
	}
}

// challenged refuses a name that ACME would ask for a proof of where the plan can write none.
func (d *decoder) challenged(top *block, p provision.Plan) {
	for i, c := range p.Certificates {
		x := top.blocks["certificate"][i]
		for _, ref := range c.From {
			if s, _ := p.SecretStore(ref.Store); s.ACME == nil {
				continue
			}
			for k, n := range c.Names {
				held := slices.ContainsFunc(p.Zones, func(z provision.Zone) bool {
					return z.Zone == "" || z.Zone == Placeholder || n == Placeholder || strings.EqualFold(n, z.Zone) || strings.HasSuffix(strings.ToLower(n), "."+strings.ToLower(z.Zone))
				})
				if !held && !d.failedAt(x.where("names")) {
					x.wrongItem("names", k, "add a dns block for its zone, or take secrets."+ref.Store+" out of from", "has %s, which lies in no dns block of the plan: secrets.%s would ask for a proof there", x.show("names", n), ref.Store)
				}
			}
		}
	}
}
