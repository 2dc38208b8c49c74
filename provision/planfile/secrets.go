package planfile

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/secrets"
)

// backends are the blocks of which a secrets block holds one.
func backends() []string {
	return strings.Fields(shapes("secrets").blocks)
}

func (d *decoder) secretStore(x *block) provision.SecretStore {
	s := provision.SecretStore{Name: x.label, Pos: pos(x.at)}
	var b *block
	for _, kind := range backends() {
		switch y := x.only(kind); {
		case y == nil:
		case b != nil:
			d.errorf(y.at, "keep one of them; a certificate may name several secrets blocks: from = [secrets.a, secrets.b]", "%s has more than one place", x.what)
		default:
			s.Kind, b = kind, y
		}
	}
	if b == nil && d.said(x.what+" has no ") { // a word was misspelt, and that was said
		return s
	}
	if b == nil {
		d.errorf(x.at, `add: age { file = "secrets.age" }`, "%s does not say where its secrets are", x.what)
		return s
	}
	switch s.Kind {
	case "age":
		s.Age = d.age(b)
	case "exec":
		s.Exec = d.exec(b)
	case "file":
		s.File = &provision.FileStore{Chain: b.need("chain"), Key: b.text("key", "")}
	case "env":
		s.Env = &provision.EnvStore{Chain: b.need("chain"), Key: b.text("key", "")}
		for _, a := range []string{"chain", "key"} {
			if v := b.text(a, ""); v != "" && v != Placeholder && !variableName(v) {
				b.wrong(a, a+` = "TLS_`+strings.ToUpper(a)+`"`, "is %s, which is not the name of a variable", b.show(a, v))
			}
		}
	case "sops":
		s.SOPS = &provision.SOPSStore{File: b.need("file"), ChainField: b.fields("chain_field"), KeyField: b.field("key_field"), Timeout: b.patience()}
	}
	switch s.Kind {
	case "acme":
		s.ACME, d.issues = d.acme(b), true
	case "vault":
		s.Vault = d.vault(b)
	case "barbican":
		s.Barbican = &provision.BarbicanStore{Cloud: b.ref("cloud", "cloud"), Chain: b.text("chain", ""), Key: b.text("key", "")}
		if b.has("key") && !b.has("chain") {
			b.wrong("key", `add: chain = "{path}-chain"`, "needs chain beside it")
		}
	}
	return s
}

// vault reads where a Vault is and how to log in; what is not given is the environment's.
func (d *decoder) vault(b *block) *provision.VaultStore {
	v := &provision.VaultStore{Addresses: b.texts("address"), Namespace: b.text("namespace", ""), CA: b.text("ca", ""), Mount: b.text("mount", "secret"),
		Version: b.whole("version", 0, 1, 2), ChainField: b.fields("chain_field"), KeyField: b.field("key_field")}
	for i, a := range v.Addresses {
		if a == Placeholder {
			continue
		}
		u, err := url.Parse(a)
		switch {
		case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
			b.wrongItem("address", i, `address = "https://vault.example.com:8200"`, "has %s, which is not https://HOST:PORT", b.show("address", a))
		case slices.Contains(v.Addresses[:i], a):
			b.wrongItem("address", i, "take it out", "has %s twice", b.show("address", a))
		}
	}
	if strings.Trim(v.Mount, "/") == "" {
		b.wrong("mount", `mount = "secret"`, "is empty")
	}
	if y := b.only("pki"); y != nil {
		v.PKI = d.pki(y)
		for _, a := range []string{"mount", "version", "chain_field", "key_field"} {
			if b.has(a) {
				b.wrong(a, map[bool]string{true: "write it into pki { ... }", false: "take it out"}[a == "mount"], "is of a KV engine, and pki issues")
			}
		}
	}
	v.Login.Token = b.secret("token")
	ways := 0
	if b.has("token") {
		ways++
	}
	for _, method := range []string{"approle", "userpass", "jwt", "kubernetes"} {
		y := b.only(method)
		if y == nil {
			continue
		}
		if ways++; ways > 1 {
			d.errorf(y.at, "keep one of them", "%s has more than one way to log in", b.what)
			continue
		}
		v.Login = provision.VaultLogin{Method: method, Mount: y.text("mount", ""), File: y.text("file", "")}
		switch method {
		case "approle":
			v.Login.Role, v.Login.Secret, v.Login.Wrapped = y.need("role_id"), y.secret("secret_id"), y.flag("wrapped")
			if v.Login.Wrapped && !y.has("secret_id") {
				y.wrong("wrapped", `add: secret_id = env("WRAPPED_SECRET_ID")`, "needs secret_id beside it: the wrapping token")
			}
		case "userpass":
			v.Login.Username, v.Login.Secret = y.need("username"), y.secret("password")
		case "jwt":
			v.Login.Role, v.Login.Token = y.need("role"), y.secret("token")
			if y.has("token") == y.has("file") {
				d.errorf(y.at, `token = env("VAULT_ID_TOKEN"), or file = "/path/of/it"`, "%s needs one of token and file", y.what)
			}
		case "kubernetes":
			v.Login.Role = y.need("role")
		}
	}
	return v
}

// exec reads commands: one that prints everything, or one each.
func (d *decoder) exec(b *block) *provision.ExecStore {
	e := &provision.ExecStore{Run: b.command("run"), Chain: b.command("chain"), Key: b.command("key"), ChainField: b.fields("chain_field"), KeyField: b.field("key_field"), Timeout: b.patience()}
	switch {
	case b.has("run") && (b.has("chain") || b.has("key")):
		b.wrong("run", "keep run, or chain and key", "is there beside other commands")
	case b.has("chain") != b.has("key"):
		have, want := "chain", "key"
		if b.has("key") {
			have, want = want, have
		}
		b.wrong(have, fmt.Sprintf(`add: %s = ["pass", "show", "tls/{path}/%s"], or let run print both`, want, want), "needs %s beside it", want)
	case !b.has("run") && !b.has("chain"):
		d.errorf(b.at, `add: run = ["pass", "show", "tls/{path}"]`, "%s has no command", b.what)
	case !b.has("run"):
		for _, a := range []string{"chain_field", "key_field"} {
			if b.has(a) {
				b.wrong(a, "take it out, or use run", "is for run: chain and key print PEM")
			}
		}
	}
	return e
}

// command is words that no shell takes apart.
func (b *block) command(name string) []string {
	words := b.texts(name)
	if a := b.attrs[name]; a != nil && !b.d.failedAt(b.where(name)) && (len(words) == 0 || words[0] == "") {
		b.wrong(name, name+` = ["pass", "show", "tls/{path}"]`, "must begin with a command")
		return nil
	}
	if len(words) == 1 && strings.ContainsAny(words[0], " \t") && words[0] != Placeholder {
		b.wrong(name, name+` = ["pass", "show", "tls/{path}"]`, "is one word with spaces in it; no shell takes it apart")
	}
	return words
}

// field is the place of a text in a JSON document.
func (b *block) field(name string) string {
	s := b.text(name, "")
	b.dots(name, 0, s)
	return s
}

func (b *block) fields(name string) []string {
	out := b.texts(name)
	for i, s := range out {
		b.dots(name, i, s)
	}
	if b.has(name) && len(out) == 0 && !b.d.failedAt(b.where(name)) {
		b.wrong(name, name+` = "tls.chain"`, "is empty")
	}
	return out
}

func (b *block) dots(name string, i int, s string) {
	if b.has(name) && s != Placeholder && slices.Contains(strings.Split(s, "."), "") {
		b.wrongItem(name, i, name+` = "tls.chain"; a dot that belongs to a name is written \\.`, "is %s, which has an empty name between its dots", b.show(name, s))
	}
}

// patience bounds a command; preflight as a whole takes 20 s.
func (b *block) patience() time.Duration {
	return b.time("timeout", 10*time.Second, time.Second, time.Second, 10*time.Minute)
}

func variableName(s string) bool {
	for i, r := range strings.ReplaceAll(s, "{path}", "P") {
		letter := r == '_' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z'
		if digit := r >= '0' && r <= '9'; !letter && (i == 0 || !digit) {
			return false
		}
	}
	return s != ""
}

// usesPath reports whether a store keeps several certificates, under paths.
func usesPath(s provision.SecretStore) bool {
	var texts []string
	switch {
	case s.Exec != nil:
		texts = slices.Concat(s.Exec.Run, s.Exec.Chain, s.Exec.Key, s.Exec.ChainField, []string{s.Exec.KeyField})
	case s.File != nil:
		texts = []string{s.File.Chain, s.File.Key}
	case s.Env != nil:
		texts = []string{s.Env.Chain, s.Env.Key}
	case s.Barbican != nil && s.Barbican.Chain != "":
		texts = []string{s.Barbican.Chain, s.Barbican.Key}
	case s.SOPS != nil && len(s.SOPS.ChainField) > 0 && s.SOPS.KeyField != "":
		texts = append([]string{s.SOPS.File, s.SOPS.KeyField}, s.SOPS.ChainField...)
	default:
		return true
	}
	return slices.ContainsFunc(texts, func(t string) bool { return strings.Contains(t, "{path}") })
}

// ladder reads from and path of a certificate: one place or several, and where in each.
func (d *decoder) ladder(x *block, p provision.Plan) []secrets.Ref {
	var stores []string
	for _, t := range x.refs("from", "secrets") {
		stores = append(stores, t.name)
	}
	if len(stores) == 0 && x.has("from") && !d.failedAt(x.where("from")) {
		x.wrong("from", "add: "+example("certificate", "from"), "is empty")
	}
	v, given := x.value("path")
	paths := map[string]string{}
	switch text, ok := asText(v); {
	case !given:
	case ok:
		if text == "" {
			x.wrong("path", "add: "+example("certificate", "path"), "is empty")
			return refs(stores, paths)
		}
		for _, s := range stores {
			paths[s] = text
		}
	default:
		fields, ok := x.object("path", v, stores...)
		if !ok {
			return refs(stores, paths)
		}
		for s, f := range fields {
			text, ok := asText(f)
			if !ok || text == "" {
				d.errorf(x.keyRange("path", s), "", "path of %s has something for %s that is not a text", x.what, s)
				return refs(stores, paths)
			}
			paths[s] = text
		}
	}
	for _, s := range stores {
		st, _ := p.SecretStore(s)
		if paths[s] != "" || !usesPath(st) || x.has("path") && d.failedAt(x.where("path")) {
			continue
		}
		if given {
			x.wrong("path", "add: "+s+` = "edge" to it`, "does not say where it is in secrets.%s", s)
			continue
		}
		d.errorf(x.at, "add: "+example("certificate", "path"), "%s needs path", x.what)
		break
	}
	return refs(stores, paths)
}

func refs(stores []string, paths map[string]string) []secrets.Ref {
	var out []secrets.Ref
	for _, s := range slices.Compact(stores) {
		out = append(out, secrets.Ref{Store: s, Path: paths[s]})
	}
	return out
}
