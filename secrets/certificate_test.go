package secrets

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"
)

var t0 = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// made is a certificate with its key, made for one test.
type made struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func (m made) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: m.cert.Raw})
}

func (m made) keyPEM(t *testing.T) []byte {
	t.Helper()
	b, err := x509.MarshalPKCS8PrivateKey(m.key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: b})
}

func issue(t *testing.T, name string, by *made, change func(*x509.Certificate), key crypto.Signer) made {
	t.Helper()
	if key == nil {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		key = k
	}
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<60))
	c := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: t0.Add(-24 * time.Hour), NotAfter: t0.Add(90 * 24 * time.Hour), BasicConstraintsValid: true}
	if change != nil {
		change(c)
	}
	parent, signer := c, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	x, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return made{x, key}
}

func ca(c *x509.Certificate) { c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign }

func leaf(names ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.DNSNames, c.ExtKeyUsage = names, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
}

func cat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// safe makes copies: ParseCertificate owns what it is given.
func parse(chain, key []byte) (*Certificate, error) {
	return ParseCertificate(bytes.Clone(chain), bytes.Clone(key))
}

func TestParseCertificate(t *testing.T) {
	root := issue(t, "root", nil, ca, nil)
	middle := issue(t, "middle", &root, ca, nil)
	site := issue(t, "site", &middle, leaf("www.example.com"), nil)
	other := issue(t, "other", &root, leaf("other.example.com"), nil)
	key := site.keyPEM(t)
	sec1, err := x509.MarshalECPrivateKey(site.key.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	ec := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1})
	encrypted := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")})
	request := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: []byte("x")})
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")})
	legacy := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00"}, Bytes: []byte("x")})
	full := cat(site.pem(), middle.pem(), root.pem())
	for name, c := range map[string]struct {
		chain, key []byte
		want       string // of the error
		subjects   string
	}{
		"chain and key":        {cat(site.pem(), middle.pem()), key, "", "site middle"},
		"all in one":           {cat(key, full), nil, "", "site middle root"},
		"key first":            {key, full, "", "site middle root"},
		"wrong order":          {cat(root.pem(), middle.pem(), site.pem()), key, "", "site middle root"},
		"leaf alone":           {site.pem(), key, "", "site"},
		"a stray one":          {cat(site.pem(), other.pem(), middle.pem()), key, "", "site middle"},
		"words around":         {cat([]byte("subject=site\n"), site.pem(), []byte("\nend")), key, "", "site"},
		"SEC 1 key":            {site.pem(), ec, "", "site"},
		"wrong key":            {site.pem(), other.keyPEM(t), "does not belong", ""},
		"no certificate":       {nil, key, "no CERTIFICATE", ""},
		"no key":               {full, nil, "no PRIVATE KEY", ""},
		"wrong key for all":    {cat(middle.pem(), root.pem()), key, "does not belong to any of the 2 certificates", ""},
		"a request":            {request, key, "what was sent to the authority", ""},
		"a public key":         {public, key, `no CERTIFICATE block in it, but a "PUBLIC KEY"`, ""},
		"two keys, one locked": {cat(site.pem(), key), encrypted, "more than one private key", ""},
		"two keys":             {cat(site.pem(), key), other.keyPEM(t), "more than one private key", ""},
		"encrypted":            {site.pem(), encrypted, "encrypted with a passphrase", ""},
		"encrypted, legacy":    {site.pem(), legacy, "encrypted with a passphrase", ""},
		"broken key":           {site.pem(), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("canary-in-key")}), "does not parse", ""},
		"broken cert":          {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}), key, "does not parse", ""},
		"nothing":              {nil, nil, "no CERTIFICATE", ""},
		"DER":                  {site.cert.Raw, key, "PEM is expected", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parse(c.chain, c.key)
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Fatalf("%v; want %q", err, c.want)
				}
				if strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), base64.StdEncoding.EncodeToString([]byte("canary-in-key"))) {
					t.Error("the error holds the key")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var s []string
			for _, x := range got.Chain {
				s = append(s, x.Subject.CommonName)
			}
			if strings.Join(s, " ") != c.subjects || got.Leaf.Subject.CommonName != "site" {
				t.Errorf("chain is %v", s)
			}
			pair, err := tls.X509KeyPair(got.Bundle().Bytes(), got.Bundle().Bytes())
			if err != nil || len(pair.Certificate) != len(got.Chain) {
				t.Errorf("the bundle is not one: %v", err)
			}
			if x, err := got.TLS(); err != nil || len(x.Certificate) != len(got.Chain) {
				t.Error(err)
			}
			if len(got.Fingerprint()) != 64 || strings.Contains(fmt.Sprintf("%+v %#v", got.key, got.key), "PRIVATE") {
				t.Error("the fingerprint is short, or the key shows")
			}
		})
	}
}

func TestInspect(t *testing.T) {
	root := issue(t, "root", nil, ca, nil)
	middle := issue(t, "middle", &root, ca, nil)
	roots := x509.NewCertPool()
	roots.AddCert(root.cert)
	weak := func(t *testing.T, bits int) crypto.Signer {
		t.Setenv("GODEBUG", "rsa1024min=0")
		k, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	const www = "www.example.com"
	for name, c := range map[string]struct {
		names  []string
		change func(*x509.Certificate)
		key    func(*testing.T) crypto.Signer
		short  bool // no intermediate
		now    time.Time
		roots  *x509.CertPool
		want   []string // "!" marks what is fatal
	}{
		"good":            {names: []string{www}, change: leaf(www)},
		"wildcard":        {names: []string{www, "api.example.com"}, change: leaf("*.example.com")},
		"soon":            {change: leaf(www), now: t0.Add(80 * 24 * time.Hour), want: []string{"expires in 10 days"}},
		"expired":         {change: leaf(www), now: t0.Add(91 * 24 * time.Hour), want: []string{"!expired on 2026-08-30"}},
		"not yet":         {change: leaf(www), now: t0.Add(-48 * time.Hour), want: []string{"!is not valid before 2026-05-31"}},
		"not covered":     {names: []string{www, "x.example.org"}, change: leaf(www), want: []string{"!does not cover x.example.org; it covers www.example.com"}},
		"below wildcard":  {names: []string{"a.b.example.com"}, change: leaf("*.example.com"), want: []string{"!does not cover a.b"}},
		"no intermediate": {change: leaf(www), short: true, want: []string{`!ends at "CN=middle"`}},
		"other root":      {change: leaf(www), roots: x509.NewCertPool(), want: []string{"!no trusted root"}},
		"client only": {change: func(c *x509.Certificate) {
			leaf(www)(c)
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		}, want: []string{"!does not verify"}},
		"RSA 1024": {change: leaf(www), key: func(t *testing.T) crypto.Signer { return weak(t, 1024) }, want: []string{"!has an RSA key of 1024 bits"}},
		"RSA 2048": {change: leaf(www), key: func(t *testing.T) crypto.Signer { return weak(t, 2048) }},
		"Ed25519": {change: leaf(www), key: func(t *testing.T) crypto.Signer {
			_, k, err := ed25519.GenerateKey(rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			return k
		}},
		"two mistakes": {names: []string{"x.example.org"}, change: leaf(www), now: t0.Add(91 * 24 * time.Hour), want: []string{"!expired", "!does not cover"}},
	} {
		t.Run(name, func(t *testing.T) {
			var k crypto.Signer
			if c.key != nil {
				k = c.key(t)
			}
			site := issue(t, "site", &middle, c.change, k)
			chain := cat(site.pem(), middle.pem())
			if c.short {
				chain = site.pem()
			}
			cert, err := parse(chain, site.keyPEM(t))
			if err != nil {
				t.Fatal(err)
			}
			if c.now.IsZero() {
				c.now = t0
			}
			if c.roots == nil {
				c.roots = roots
			}
			got := cert.Inspect(c.names, c.roots, c.now, 21*24*time.Hour)
			if len(got) != len(c.want) {
				t.Fatalf("%+v; want %q", got, c.want)
			}
			for i, w := range c.want {
				w, fatal := strings.CutPrefix(w, "!")
				if got[i].Fatal != fatal || !strings.Contains(got[i].What, w) {
					t.Errorf("%+v; want %q", got[i], c.want[i])
				}
			}
		})
	}
}

func TestRoots(t *testing.T) {
	root := issue(t, "root", nil, ca, nil)
	if p, err := Roots(""); p != nil || err != nil {
		t.Error("without a CA it is not the system's")
	}
	p, err := Roots(string(root.pem()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := root.cert.Verify(x509.VerifyOptions{Roots: p, CurrentTime: t0}); err != nil {
		t.Error(err)
	}
	if _, err := Roots("nonsense"); err == nil {
		t.Error("nonsense was taken for a CA")
	}
}
