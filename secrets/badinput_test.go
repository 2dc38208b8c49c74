package secrets

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// withSHA1 signs a certificate of an RSA issuer anew, with SHA-1, which crypto/x509 refuses to make. sha256WithRSAEncryption and
// sha1WithRSAEncryption differ in one byte (RFC 8017, appendix C).
func withSHA1(t *testing.T, c *x509.Certificate, by *rsa.PrivateKey) *x509.Certificate {
	t.Helper()
	oid := []byte{0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b}
	weak := append(bytes.Clone(oid[:10]), 0x05)
	tbs := bytes.ReplaceAll(c.RawTBSCertificate, oid, weak)
	sum := sha1.Sum(tbs)
	sig, err := rsa.SignPKCS1v15(rand.Reader, by, crypto.SHA1, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	der, err := asn1.Marshal(struct {
		TBS asn1.RawValue
		Alg pkix.AlgorithmIdentifier
		Sig asn1.BitString
	}{asn1.RawValue{FullBytes: tbs}, pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 5}, Parameters: asn1.NullRawValue}, asn1.BitString{Bytes: sig, BitLength: 8 * len(sig)}})
	if err != nil {
		t.Fatal(err)
	}
	x, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if x.SignatureAlgorithm != x509.SHA1WithRSA {
		t.Fatal(x.SignatureAlgorithm)
	}
	return x
}

func rsaKey(t *testing.T, bits int) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Each mistake has one sentence of its own, and no other.
func TestBadInput(t *testing.T) {
	rootKey := rsaKey(t, 2048)
	root := issue(t, "root", nil, ca, rootKey)
	middleKey := rsaKey(t, 2048)
	middle := issue(t, "middle", &root, ca, middleKey)
	pool := x509.NewCertPool()
	pool.AddCert(root.cert)
	good := issue(t, "site", &middle, leaf("www.example.com"), nil)
	wild := issue(t, "site", &middle, leaf("*.example.com"), nil)
	t.Setenv("GODEBUG", "rsa1024min=0") // or Go makes no such key
	small, tiny := issue(t, "site", &middle, leaf("www.example.com"), rsaKey(t, 1024)), issue(t, "site", &middle, leaf("www.example.com"), rsaKey(t, 512))
	nameless := issue(t, "www.example.com", &middle, nil, nil)
	weakLeaf := made{withSHA1(t, good.cert, middleKey), good.key}
	weakMiddle := made{withSHA1(t, middle.cert, rootKey), middle.key}
	for name, c := range map[string]struct {
		site  made
		chain []made
		names []string
		now   time.Duration
		want  string
	}{
		"good":                        {good, []made{middle}, []string{"www.example.com"}, 0, ""},
		"wrong order":                 {good, []made{root, middle}, []string{"www.example.com"}, 0, ""}, // it is put in order
		"expired":                     {good, []made{middle}, nil, 91 * 24 * time.Hour, "expired on 2026-08-30 12:00 UTC"},
		"not yet valid":               {good, []made{middle}, nil, -48 * time.Hour, "is not valid before 2026-05-31 12:00 UTC"},
		"missing intermediate":        {good, nil, nil, 0, `has a chain that ends at "CN=middle", which no trusted root signed: an intermediate is missing, or the plan needs ca`},
		"RSA 1024":                    {small, []made{middle}, nil, 0, "has an RSA key of 1024 bits; clients refuse less than 2048"},
		"RSA 512":                     {tiny, []made{middle}, nil, 0, "has an RSA key of 512 bits; clients refuse less than 2048"},
		"SHA-1 leaf":                  {weakLeaf, []made{middle}, nil, 0, "has a SHA-1 signature (CN=site), which clients refuse: have it issued anew"},
		"SHA-1 intermediate":          {good, []made{weakMiddle}, nil, 0, "has a SHA-1 signature (CN=middle), which clients refuse: have it issued anew"},
		"not covered":                 {good, []made{middle}, []string{"api.example.com"}, 0, "does not cover api.example.com; it covers www.example.com"},
		"wildcard depth":              {wild, []made{middle}, []string{"a.b.example.com"}, 0, "does not cover a.b.example.com; it covers *.example.com (the * of *.example.com stands for one label, not for a.b)"},
		"a wildcard's own parent":     {wild, []made{middle}, []string{"example.com"}, 0, "does not cover example.com; it covers *.example.com (*.example.com does not stand for example.com itself)"},
		"a wildcard of another":       {wild, []made{middle}, []string{"www.example.org"}, 0, "does not cover www.example.org; it covers *.example.com"},
		"a name in the subject alone": {nameless, []made{middle}, []string{"www.example.com"}, 0, "does not cover www.example.com; it names no DNS name at all (its subject, CN=www.example.com, counts for no client)"},
	} {
		t.Run(name, func(t *testing.T) {
			text := c.site.pem()
			for _, m := range c.chain {
				text = append(text, m.pem()...)
			}
			got, err := parse(text, c.site.keyPEM(t))
			if err != nil {
				t.Fatal(err)
			}
			var said []string
			for _, p := range got.Inspect(c.names, pool, t0.Add(c.now), 21*24*time.Hour) {
				if !p.Fatal {
					t.Errorf("%q does not refuse", p.What)
				}
				said = append(said, p.What)
			}
			if s := strings.Join(said, "; "); s != c.want {
				t.Errorf("%q\nwant %q", s, c.want)
			}
		})
	}
}

// encrypted makes keys as openssl writes them, by the way that they are encrypted.
func encrypted(t *testing.T, key []byte) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	b, _ := pem.Decode(key)
	for name, alg := range map[string]x509.PEMCipher{"legacy DES3": x509.PEMCipher3DES, "legacy AES-256": x509.PEMCipherAES256} {
		l, err := x509.EncryptPEMBlock(rand.Reader, b.Type, b.Bytes, []byte("open sesame"), alg) //nolint:staticcheck // as people have it
		if err != nil {
			t.Fatal(err)
		}
		out[name] = pem.EncodeToMemory(l)
	}
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Log("no openssl: PKCS#8 is not tried")
		return out
	}
	file := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(file, key, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"PKCS#8 AES-256, SHA-256": {"-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA256"},
		"PKCS#8 AES-128, SHA-1":   {"-v2", "aes-128-cbc", "-v2prf", "hmacWithSHA1"},
		"PKCS#8 AES-192, SHA-512": {"-v2", "aes-192-cbc", "-v2prf", "hmacWithSHA512"},
		"PKCS#8 DES3":             {"-v2", "des3"},
		"PKCS#8 scrypt":           {"-scrypt"},
	} {
		text, err := exec.CommandContext(t.Context(), "openssl", append([]string{"pkcs8", "-topk8", "-in", file, "-passout", "pass:open sesame"}, args...)...).Output()
		if err != nil {
			t.Fatal(name, err)
		}
		out[name] = text
	}
	return out
}

// An encrypted key opens with its passphrase and with no other, whoever wrote it.
func TestUnlock(t *testing.T) {
	root := issue(t, "root", nil, ca, nil)
	for kind, k := range map[string]crypto.Signer{"EC": nil, "RSA": rsaKey(t, 2048)} {
		site := issue(t, "site", &root, leaf("www.example.com"), k)
		plain := site.keyPEM(t)
		for name, key := range encrypted(t, plain) {
			t.Run(kind+" "+name, func(t *testing.T) {
				_, err := parse(site.pem(), key)
				var locked *LockedError
				if !errors.As(err, &locked) || !strings.Contains(err.Error(), "no terminal to ask") {
					t.Fatal(err)
				}
				if s := fmt.Sprintf("%v %+v %#v", locked, locked, *locked); strings.Contains(s, "PRIVATE KEY") {
					t.Errorf("it shows what it holds: %s", s)
				}
				if _, err := locked.Unlock(NewValue([]byte("open barley"))); !errors.Is(err, errPassphrase) {
					t.Errorf("a wrong passphrase: %v", err)
				}
				c, err := locked.Unlock(NewValue([]byte("open sesame")))
				if err != nil {
					t.Fatal(err)
				}
				if s, err := c.signer(); err != nil || !site.key.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(s.Public()) {
					t.Error("another key", err)
				}
			})
		}
	}
	other := issue(t, "other", &root, leaf("www.example.com"), nil)
	for _, key := range encrypted(t, other.keyPEM(t)) {
		_, err := parse(issue(t, "site", &root, leaf("www.example.com"), nil).pem(), key)
		var locked *LockedError
		if !errors.As(err, &locked) {
			t.Fatal(err)
		}
		if _, err := locked.Unlock(NewValue([]byte("open sesame"))); err == nil || !strings.Contains(err.Error(), "does not belong") {
			t.Errorf("the key of another: %v", err)
		}
	}
}

// A person is asked, three times at most, wherever the place; without one it is a refusal and no reason to look elsewhere.
func TestPassphraseIsAskedFor(t *testing.T) {
	site := issue(t, "site", nil, leaf("www.example.com"), nil)
	b, _ := pem.Decode(site.keyPEM(t))
	l, err := x509.EncryptPEMBlock(rand.Reader, b.Type, b.Bytes, []byte("open sesame"), x509.PEMCipherAES128) //nolint:staticcheck // as people have it
	if err != nil {
		t.Fatal(err)
	}
	_, lockedErr := parse(site.pem(), pem.EncodeToMemory(l))
	for _, c := range []struct {
		says []string
		want string
		n    int
	}{
		{[]string{"open sesame"}, "", 1},
		{[]string{"wrong", "open sesame"}, "", 2},
		{[]string{"wrong", "wrong", "wrong", "open sesame"}, "does not open the private key", 3},
		{nil, "no terminal to ask", 0},
	} {
		var asked []string
		r := Rung{Ref: Ref{Store: "pass"}, Backend: kept{err: &Error{What: "edge will not do", Err: lockedErr}}}
		if c.says != nil {
			r.Ask = func(_ context.Context, q string) (Value, error) {
				asked = append(asked, q)
				return NewValue([]byte(c.says[len(asked)-1])), nil
			}
		}
		got, err := Climb(t.Context(), []Rung{r}, "")
		if len(asked) != c.n || n(asked) && !strings.Contains(asked[0], "secrets.pass") {
			t.Errorf("%q: asked %q", c.says, asked)
		}
		switch {
		case c.want == "" && (err != nil || got.Certificate == nil):
			t.Errorf("%q: %v", c.says, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || Elsewhere(err)):
			t.Errorf("%q: %v", c.says, err)
		}
	}
}

func n(l []string) bool { return len(l) > 0 }

// FuzzParseCertificate looks for what makes the parser panic, hang, or show a key.
func FuzzParseCertificate(f *testing.F) {
	for _, s := range []string{"", "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
		"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAAwAA==\n-----END ENCRYPTED PRIVATE KEY-----\n",
		"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n"} {
		f.Add([]byte(s), []byte(s))
	}
	site := issue(&testing.T{}, "site", nil, leaf("www.example.com"), nil)
	good := site.keyPEM(&testing.T{})
	f.Add(site.pem(), good)
	f.Add(cat(good, site.pem()), []byte(nil))
	b, _ := pem.Decode(good)
	if l, err := x509.EncryptPEMBlock(rand.Reader, b.Type, b.Bytes, []byte("x"), x509.PEMCipherAES128); err == nil { //nolint:staticcheck // as people have it
		f.Add(site.pem(), pem.EncodeToMemory(l))
	}
	f.Fuzz(func(t *testing.T, chain, key []byte) {
		c, err := ParseCertificate(bytes.Clone(chain), bytes.Clone(key))
		var locked *LockedError
		if errors.As(err, &locked) {
			c, err = locked.Unlock(NewValue([]byte("x")))
		}
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r") || strings.Contains(err.Error(), "BEGIN") {
				t.Errorf("the error shows what was read: %q", err)
			}
			return
		}
		if c.Leaf == nil || len(c.Chain) == 0 || c.Key().IsZero() {
			t.Error("a certificate without its parts")
		}
		_ = c.Inspect([]string{"www.example.com"}, x509.NewCertPool(), t0, time.Hour)
	})
}
