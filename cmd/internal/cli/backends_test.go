package cli

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	agelib "filippo.io/age"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/sandbox"
	"github.com/dripstat/failover/provision/steps"
	"github.com/dripstat/failover/secrets"
	"github.com/dripstat/failover/secrets/acme/acmetest"
)

// place is one backend with the plan's own certificate in it.
type place struct {
	name  string
	block string                       // of the secrets block
	keep  func(t *testing.T, b *bench) // puts b.chain and b.key there
	open  []string                     // files that the key is kept in, in the open
	say   string                       // a part of what a dry run says of it
	needs func(t *testing.T) (skip string)
	edits []string
	page  func(t *testing.T, b *bench) // puts them where the backend's page says
}

// sealedBlock is what the built-in plan has.
const sealedBlock = "  age {\n    file     = \"secrets.age\"\n    identity = \"identity.txt\"\n  }\n"

func lay(names ...string) func(*testing.T, *bench) {
	return func(_ *testing.T, b *bench) {
		text := map[string][]byte{"chain.pem": b.chain, "key.pem": b.key, "both.pem": append(bytes.Clone(b.key), b.chain...)}
		for _, n := range names {
			b.no(os.WriteFile(b.path(n), text[n], 0o600))
		}
	}
}

// inBarbican makes a container, as a run makes one for a load balancer. What that sends is not of the run that follows.
func inBarbican(t *testing.T, b *bench) {
	s := b.site()
	cert, err := secrets.ParseCertificate(bytes.Clone(b.chain), bytes.Clone(b.key))
	b.no(err)
	s.keeper.Keep("edge", secrets.Got{Tried: secrets.Tried{Certificate: cert}})
	b.no(s.handlers("01")[steps.CertificateStore].Do(t.Context(), provision.Step{}, provision.Values{"cloud": "main", "certificate": "edge", "fingerprint": cert.Fingerprint(), "name": "edge"}))
	b.arranged = len(b.cloud.Requests())
}

// morePlaces are those that need a server, of tests under a tag of their own.
var morePlaces []place

// morePages arranges what pages speak of that need a server, by the page's name.
var morePages = map[string]func(t *testing.T, b *bench){}

// everyPlace is all backends that there are.
func everyPlace() []place {
	return append(morePlaces, []place{
		{name: "age", block: sealedBlock},
		{name: "exec", block: "  exec {\n    run = [\"cat\", \"both.pem\"]\n  }\n", keep: lay("both.pem"), open: []string{"both.pem"}},
		{name: "exec, two commands", block: "  exec {\n    chain = [\"cat\", \"chain.pem\"]\n    key   = [\"cat\", \"key.pem\"]\n  }\n", keep: lay("chain.pem", "key.pem"), open: []string{"key.pem"}},
		{name: "exec, JSON", block: "  exec {\n    run         = [\"cat\", \"{path}.json\"]\n    chain_field = \"login.fields.name=crt.value\"\n    key_field   = \"login.fields.name=key.value\"\n  }\n",
			keep: func(t *testing.T, b *bench) {
				doc, err := json.Marshal(map[string]any{"login": map[string]any{"fields": []map[string]string{{"name": "crt", "value": string(b.chain)}, {"name": "key", "value": string(b.key)}}}})
				b.no(err)
				b.no(os.WriteFile(b.path("edge.json"), doc, 0o600))
			}, open: []string{"edge.json"}},
		{name: "file", block: "  file {\n    chain = \"chain.pem\"\n    key   = \"{path}.key\"\n  }\n",
			keep: func(t *testing.T, b *bench) {
				lay("chain.pem")(t, b)
				b.no(os.WriteFile(b.path("edge.key"), b.key, 0o644)) //nolint:gosec // it is to be warned of
			}, open: []string{"edge.key"}, say: "others on this machine may use the private key: edge.key has mode 0644"},
		{name: "env", block: "  env {\n    chain = \"TLS_{path}_CHAIN\"\n    key   = \"TLS_{path}_KEY\"\n  }\n",
			keep: func(t *testing.T, b *bench) {
				b.env["TLS_EDGE_CHAIN"], b.env["TLS_EDGE_KEY"] = string(b.chain), base64.StdEncoding.EncodeToString(b.key)
				for _, k := range []string{"TLS_EDGE_CHAIN", "TLS_EDGE_KEY"} { // and truly: what is run must not get it
					t.Setenv(k, b.env[k])
				}
			}, say: "the private key is in the environment of this process (TLS_EDGE_KEY)"},
		{name: "barbican", block: "  barbican {\n    cloud = cloud.main\n  }\n", keep: inBarbican},
		{name: "sops", block: "  sops {\n    file = \"secrets.yaml\"\n  }\n", needs: func(*testing.T) string {
			if _, err := exec.LookPath("sops"); err != nil {
				return "sops is not on this machine: go install github.com/getsops/sops/v3/cmd/sops@v3.9.4"
			}
			return ""
		}, keep: func(t *testing.T, b *bench) {
			id, err := agelib.GenerateX25519Identity()
			b.no(err)
			t.Setenv("SOPS_AGE_KEY", id.String())
			doc, err := json.Marshal(map[string]any{"edge": map[string]string{"chain": string(b.chain), "key": string(b.key)}})
			b.no(err)
			cmd := exec.CommandContext(t.Context(), "sops", "--encrypt", "--age", id.Recipient().String(), "--input-type", "json", "--output-type", "yaml", "/dev/stdin")
			cmd.Stdin = bytes.NewReader(doc)
			out, err := cmd.Output()
			b.no(err)
			b.no(os.WriteFile(b.path("secrets.yaml"), out, 0o600))
		}},
	}...)
}

// bench gives one whose plan takes its certificate from the place alone.
func (p place) bench(t *testing.T, edits ...string) *bench {
	t.Helper()
	if p.needs != nil {
		if why := p.needs(t); why != "" {
			t.Skip(why)
		}
	}
	b := newBench(t, nil, slices.Concat([]string{sealedBlock, p.block}, p.edits, edits)...)
	if p.keep != nil {
		b.no(os.Remove(b.path("secrets.age")))
		p.keep(t, b)
	}
	return b
}

// Each backend says in a dry run what there is to say of it, and the run that follows is in TestPrivateKeyLeavesOnlyOverSSH.
func TestPlacesSpeak(t *testing.T) {
	for _, p := range everyPlace() {
		t.Run(p.name, func(t *testing.T) {
			b := p.bench(t)
			b.must(exitDone, "--region", "ORD", "--sandbox", "--dry-run")
			if out := flat(b.out.String()); !strings.Contains(out, "from secrets.sandbox, expires in") || !strings.Contains(out, p.say) {
				t.Errorf("want %q in\n%s", p.say, b.out.String())
			}
		})
	}
}

// Commands of the user's own do not get a private key that is in this process's environment.
func TestCommandsDoNotGetTheKey(t *testing.T) {
	for _, p := range everyPlace() {
		if p.name != "env" {
			continue
		}
		b := p.bench(t, `dns "public" {`, "step \"look\" {\n  run    = [\"sh\", \"-c\", \"env >\\\"$0\\\"\", \"env.txt\"]\n  before = dns.public\n}\n\ndns \"public\" {")
		b.must(exitDone, "--region", "ORD", "--sandbox", "--yes")
		text, err := os.ReadFile(filepath.Join(b.dir, "env.txt"))
		b.no(err)
		if !bytes.Contains(text, []byte("FAILOVER_REGION=ORD")) || !bytes.Contains(text, []byte("TLS_EDGE_CHAIN=")) || bytes.Contains(text, []byte("TLS_EDGE_KEY")) {
			t.Errorf("the command has\n%s", text)
		}
	}
}

// fence gives the first fenced block of a language of a page.
func fence(t *testing.T, page, language string) string {
	t.Helper()
	_, rest, ok := strings.Cut(page, "\n```"+language+"\n")
	if !ok {
		t.Fatalf("no %s in the page", language)
	}
	text, _, _ := strings.Cut(rest, "\n```\n")
	return text + "\n"
}

// Each page's blocks, as printed, in the place of those of the first plan of plan-language.md, run on the sandbox.
func TestPlansOfThePagesRun(t *testing.T) {
	base := regexp.MustCompile(`(?ms)^(secrets|certificate) .*?^}\n`).ReplaceAllString(fence(t, read(t, "docs", "plan-language.md"), "hcl"), "")
	pages, err := filepath.Glob(filepath.Join(top, "docs", "secrets", "*.md"))
	if err != nil || len(pages) < 4 {
		t.Fatal(pages, err)
	}
	arrange := map[string]func(t *testing.T, b *bench){
		"exec": func(t *testing.T, b *bench) { // a program that takes the words of the page
			lay("both.pem")(t, b)
			bin := t.TempDir()
			b.no(os.WriteFile(filepath.Join(bin, "pass"), []byte("#!/bin/sh\n[ \"$*\" = \"show tls/edge\" ] && exec cat both.pem\nexit 1\n"), 0o700)) //nolint:gosec // it is run
			t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
		},
		"file": func(_ *testing.T, b *bench) {
			dir := b.path("live/collector.dripstat.com")
			b.no(os.MkdirAll(dir, 0o700))
			b.no(os.WriteFile(filepath.Join(dir, "fullchain.pem"), b.chain, 0o600))
			b.no(os.WriteFile(filepath.Join(dir, "privkey.pem"), b.key, 0o600))
		},
		"acme": func(t *testing.T, b *bench) { // a Pebble that sees the sandbox's name server
			ca := acmetest.Start(t, acmetest.Options{NameServer: b.cloud.NameServer()})
			b.no(os.WriteFile(b.path("directory.pem"), ca.CA, 0o600))
			b.no(os.WriteFile(b.path("ca.pem"), ca.Root(0), 0o600))
			b.env["FAILOVER_VAR_directory"], b.env["FAILOVER_VAR_directory_ca"] = ca.Directory, "directory.pem"
		},
		"env": func(_ *testing.T, b *bench) {
			b.env["TLS_EDGE_CHAIN"], b.env["TLS_EDGE_KEY"] = string(b.chain), string(b.key)
		},
		"barbican": inBarbican,
		"sops": func(t *testing.T, b *bench) {
			for _, p := range everyPlace() {
				if p.name == "sops" {
					if why := p.needs(t); why != "" {
						t.Skip(why)
					}
					p.keep(t, b)
					b.no(os.Rename(b.path("secrets.yaml"), b.path("tls.enc.yaml")))
				}
			}
		},
	}
	for _, page := range pages {
		name := strings.TrimSuffix(filepath.Base(page), ".md")
		t.Run(name, func(t *testing.T) {
			for _, p := range morePlaces {
				if p.name == name {
					arrange[name] = p.page
				}
			}
			if f := morePages[name]; f != nil {
				arrange[name] = f
			}
			switch {
			case arrange[name] == nil && strings.HasPrefix(name, "vault"):
				t.Skip("a Vault is there under the build tag vault")
			case arrange[name] == nil:
				t.Fatal("nothing makes what this page speaks of")
			}
			base, own := base, fence(t, read(t, "docs", "secrets", name+".md"), "hcl")
			if strings.Contains(own, "\nserver ") {
				base = regexp.MustCompile(`(?ms)^server .*?^}\n`).ReplaceAllString(base, "")
			}
			b := newBenchOf(t, base+"\n"+own, "collector.dripstat.com", sandbox.Quota{}, nil)
			arrange[name](t, b)
			b.must(exitDone, "--region", "ORD", "--sandbox", "--yes", "--json")
			if s := b.sourceOf("edge"); !strings.HasPrefix(s, "secrets.") {
				t.Errorf("the certificate is from %q", s)
			}
		})
	}
}
