package cli

import (
	"bytes"
	"compress/gzip"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"software.sslmate.com/src/go-pkcs12"
)

// needles are the forms in which a private key could leave this process.
type needles map[string][]byte

// forms adds everything that bytes of a secret could look like.
func (n needles) forms(name string, secret []byte) {
	n[name+" raw"] = secret
	n[name+" hex"] = []byte(hex.EncodeToString(secret))
	n[name+" HEX"] = []byte(strings.ToUpper(hex.EncodeToString(secret)))
	n[name+" base64"] = []byte(base64.RawStdEncoding.EncodeToString(secret))
	n[name+" base64url"] = []byte(base64.RawURLEncoding.EncodeToString(secret))
}

// secretsOf gives the needles of a PEM private key.
func secretsOf(t *testing.T, keyPEM []byte) needles {
	t.Helper()
	block, _ := pem.Decode(keyPEM)
	if block == nil {
		t.Fatal("the key is not PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		t.Fatalf("a %T has no public half", key)
	}
	public, err := x509.MarshalPKIXPublicKey(signer.Public())
	if err != nil {
		t.Fatal(err)
	}
	n := needles{}
	n.forms("DER", block.Bytes)
	for line := range strings.Lines(string(keyPEM)) {
		if line = strings.TrimSpace(line); len(line) <= 20 || strings.HasPrefix(line, "-----") {
			continue
		}
		// A line of the public half alone is no secret: a CSR, or a certificate, may hold the very same text.
		if b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(line, "=")); err == nil && bytes.Contains(public, b) {
			continue
		}
		n["PEM line "+line[:4]] = []byte(line)
	}
	if k, ok := key.(*ecdsa.PrivateKey); ok {
		d, err := k.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		n.forms("scalar", d)
	}
	return n
}

var base64Run = regexp.MustCompile(`[A-Za-z0-9+/_-]{64,}`)

// in looks into the text, and into whatever is packed in it: base64 and gzip, twice over.
func (n needles) in(text []byte, depth int) []string {
	var hits []string
	// JSON and shells may break lines in their own way.
	flat := strings.NewReplacer("\n", "", `\n`, "", "\r", "", " ", "").Replace(string(text))
	for name, secret := range n {
		if bytes.Contains(text, secret) || strings.Contains(flat, string(secret)) {
			hits = append(hits, name)
		}
	}
	if depth == 0 {
		return hits
	}
	for _, run := range base64Run.FindAllString(flat, -1) {
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			if b, err := enc.DecodeString(run); err == nil {
				hits = append(hits, n.in(b, depth-1)...)
			}
		}
	}
	if z, err := gzip.NewReader(bytes.NewReader(text)); err == nil {
		if b, err := io.ReadAll(io.LimitReader(z, 16<<20)); err == nil {
			hits = append(hits, n.in(b, depth-1)...)
		}
	}
	return hits
}

// No private key is in a request, an event, a line of output, the journal, or any file of this machine but those that
// it is kept in, wherever it is kept, and in whatever form it ends; nor is the password of a keystore.
func TestPrivateKeyLeavesOnlyOverSSH(t *testing.T) {
	if apart(t) {
		return
	}
	bundle := ending{files: []string{"/run/failover/tls/edge.pem"}, owner: "root:root", mode: 0o600}
	for _, p := range everyPlace() {
		t.Run(p.name, func(t *testing.T) { leaks(t, p, bundle) })
	}
	for _, e := range endings() {
		if !strings.Contains(e.block, "layout") { // a bundle in another place is the same bytes on the same way
			continue
		}
		t.Run(e.name, func(t *testing.T) { leaks(t, place{name: "age", block: sealedBlock}, e) })
	}
}

func leaks(t *testing.T, p place, end ending) {
	tmp := t.TempDir() // not parallel: the environment is the process's
	for _, k := range []string{"TMPDIR", "HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"} {
		t.Setenv(k, tmp)
	}
	b := p.bench(t, end.edits()...)
	keys := secretsOf(t, b.key)
	if len(keys) < 10 {
		t.Fatalf("only %d forms are looked for", len(keys))
	}
	for name, secret := range keys { // the search itself must be able to find
		packed := base64.StdEncoding.EncodeToString(append([]byte(strings.Repeat("x", 60)), secret...))
		if len(keys.in(secret, 0)) == 0 || len(keys.in([]byte(`{"user_data":"`+packed+`"}`), 2)) == 0 {
			t.Fatalf("the search does not find %s", name)
		}
	}
	b.must(exitDone, "--region", "ORD", "--sandbox", "--dry-run")
	b.must(exitDone, "--region", "ORD", "--sandbox", "--yes", "--json")
	if s := b.sourceOf("edge"); s != "secrets.sandbox" {
		t.Errorf("the certificate is from %q", s)
	}
	run := string(b.events()[0].Run)
	b.passwords(keys, end)
	b.must(exitDone, "deliver", "--dry-run")
	b.must(exitDone, "deliver", "--yes", "--json") // the other command that delivers
	b.passwords(keys, end)                         // made anew
	b.must(exitDone, "status")
	b.must(exitDone, "status", "--json")

	// The login key is derived from the certificate's; its seed must stay here as well.
	seed, err := hkdf.Key(sha256.New, b.key, []byte(run), "failover login key v1", ed25519.SeedSize)
	b.no(err)
	keys.forms("login seed", seed)
	public, err := ssh.NewPublicKey(ed25519.NewKeyFromSeed(seed).Public())
	b.no(err)
	if pairs := b.cloud.Snapshot().KeyPairs; len(pairs) != 1 || !strings.HasPrefix(pairs[0].PublicKey, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(public)))) {
		t.Fatalf("the login key is not derived as this test thinks; it would look for the wrong one: %+v", pairs)
	}

	b.sweep(keys, tmp, p.open, 2)
	// And it did get there: to be silent because nothing was delivered would prove nothing.
	for _, s := range b.cloud.Snapshot().Servers {
		if !bytes.Contains(b.delivered(s.ID, end), bytes.TrimSpace(b.key)) {
			t.Errorf("%s has no key", s.Name)
		}
		for _, name := range end.files {
			_, mode, owner, err := b.cloud.ReadFile(s.ID, name)
			if err != nil || uint32(mode.Perm()) != end.mode || owner != end.owner {
				t.Errorf("%s: %s is %v of %s, %v", s.Name, name, mode, owner, err)
			}
		}
	}
	b.no(os.WriteFile(filepath.Join(tmp, "control"), b.key, 0o600))
	if text, _ := os.ReadFile(filepath.Join(tmp, "control")); len(keys.in(text, 0)) == 0 {
		t.Error("a key in a file is not found")
	}
}

// sweep looks for keys in all that was sent to the cloud, printed and written, but for the files that are to hold one. runs is
// how many journals there are.
func (b *bench) sweep(keys needles, tmp string, open []string, runs int) {
	t := b.t
	t.Helper()
	found := func(where string, text []byte) {
		for _, hit := range keys.in(text, 2) {
			t.Errorf("%s holds the private key (%s)", where, hit)
		}
	}
	for _, r := range b.cloud.Requests()[b.arranged:] {
		found(r.Method+" "+r.Path, append([]byte(r.Query+"\n"), r.Body...))
	}
	found("standard output", []byte(b.out.String()))
	found("standard error", []byte(b.err.String()))
	files, journals := 0, 0
	for _, dir := range []string{b.dir, tmp} {
		b.no(filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			files++
			if rel, rerr := filepath.Rel(b.dir, path); rerr == nil && slices.Contains(open, rel) {
				return err
			}
			if strings.HasSuffix(path, ".jsonl") {
				journals++
			}
			found(path, text)
			return err
		}))
	}
	if files < 5 || journals != runs {
		t.Errorf("%d files and %d journals were looked into", files, journals)
	}
}

// passwords adds those of the keystores that servers have now to what is looked for.
func (b *bench) passwords(n needles, end ending) {
	b.t.Helper()
	if !strings.Contains(end.block, "pkcs12") {
		return
	}
	n.forms("the plan's password", []byte(b.env["KEYSTORE_PASSWORD"]))
	for _, s := range b.cloud.Snapshot().Servers {
		if p, _, _, err := b.cloud.ReadFile(s.ID, filepath.Dir(end.files[0])+"/keystore.password"); err == nil {
			n.forms("the password of "+s.Name+" "+string(p[:4]), p)
		}
	}
}

// delivered gives the key, as PEM, that is in what a server has.
func (b *bench) delivered(server string, end ending) []byte {
	b.t.Helper()
	text, _, _, err := b.cloud.ReadFile(server, end.files[0])
	b.no(err)
	if !strings.HasSuffix(end.files[0], ".p12") {
		return text
	}
	password, _, _, err := b.cloud.ReadFile(server, filepath.Dir(end.files[0])+"/keystore.password")
	if err != nil {
		password = []byte(b.env["KEYSTORE_PASSWORD"])
	}
	key, _, _, err := pkcs12.DecodeChain(text, string(password))
	b.no(err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	b.no(err)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}
