package secrets

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Certificate is a chain, leaf first, with the private key of its leaf.
type Certificate struct {
	Leaf  *x509.Certificate
	Chain []*x509.Certificate // leaf first; the root, if it was there, stays
	key   Value               // PEM, one block
}

// ParseCertificate reads certificates and exactly one private key from PEM text in any order and any
// split between the two arguments (keyPEM may be empty when chainPEM holds both). It takes ownership of
// both. Certificates are put in order, leaf first; the leaf is the one that the key belongs to.
// Every error is one sentence that names the mistake and never holds a byte of the key.
func ParseCertificate(chainPEM, keyPEM []byte) (*Certificate, error) {
	var certs []*x509.Certificate
	var keyBlock []byte
	locked, other := false, ""
	for _, in := range [][]byte{chainPEM, keyPEM} {
		for {
			var b *pem.Block
			if b, in = pem.Decode(in); b == nil {
				break
			}
			switch {
			case b.Type == "CERTIFICATE":
				c, err := x509.ParseCertificate(b.Bytes)
				if err != nil {
					return nil, fmt.Errorf("a CERTIFICATE block does not parse: %w", err)
				}
				certs = append(certs, c)
			case strings.HasSuffix(b.Type, "PRIVATE KEY"):
				if keyBlock != nil {
					clear(keyBlock)
					clear(b.Bytes)
					return nil, errors.New("there is more than one private key: keep the one that belongs to the certificate")
				}
				locked = b.Type == "ENCRYPTED PRIVATE KEY" || b.Headers["DEK-Info"] != ""
				keyBlock = pem.EncodeToMemory(b)
				clear(b.Bytes)
			default:
				other = b.Type
			}
		}
	}
	if len(certs) == 0 {
		clear(keyBlock)
		switch other {
		case "":
			return nil, errors.New("there is no CERTIFICATE block in it (PEM is expected)")
		case "CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST":
			return nil, errors.New("there is a CERTIFICATE REQUEST in it and no CERTIFICATE: it is what was sent to the authority, not what came back")
		}
		return nil, fmt.Errorf("there is no CERTIFICATE block in it, but a %.40q", other)
	}
	if keyBlock == nil {
		return nil, errors.New("there is no PRIVATE KEY block in it (PEM is expected)")
	}
	if locked {
		return nil, &LockedError{certs: certs, key: NewValue(keyBlock)}
	}
	return assemble(certs, NewValue(keyBlock))
}

// assemble puts a chain and the key of its leaf together. It takes ownership of the key, which it wipes where it fails.
func assemble(certs []*x509.Certificate, key Value) (made *Certificate, err error) {
	defer func() {
		if err != nil {
			key.Wipe()
		}
	}()
	c := &Certificate{key: key}
	signer, err := c.signer()
	if err != nil {
		return nil, err
	}
	for i, x := range certs {
		if pub, ok := x.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); ok && pub.Equal(signer.Public()) {
			c.Leaf = x
			certs = append(certs[:i:i], certs[i+1:]...)
			break
		}
	}
	if c.Leaf == nil && len(certs) > 1 {
		return nil, fmt.Errorf("the private key does not belong to any of the %d certificates (the first is %s)", len(certs), certs[0].Subject)
	}
	if c.Leaf == nil {
		return nil, fmt.Errorf("the private key does not belong to the certificate (%s)", certs[0].Subject)
	}
	c.Chain = order(c.Leaf, certs)
	return c, nil
}

// signed reports whether a certificate's key made another one's signature. That of SHA-1 is not looked at: Go refuses to, and
// Inspect says so.
func signed(by, x *x509.Certificate) bool {
	err := x.CheckSignatureFrom(by)
	var weak x509.InsecureAlgorithmError
	return err == nil || errors.As(err, &weak)
}

// order puts the issuers behind the leaf, nearest first; certificates that sign nothing here are left out.
func order(leaf *x509.Certificate, rest []*x509.Certificate) []*x509.Certificate {
	chain := []*x509.Certificate{leaf}
	for at := leaf; ; {
		i := 0
		for ; i < len(rest); i++ {
			if bytes.Equal(rest[i].RawSubject, at.RawIssuer) && signed(rest[i], at) && !rest[i].Equal(at) {
				break
			}
		}
		if i == len(rest) {
			return chain
		}
		at = rest[i]
		chain = append(chain, at)
		rest = append(rest[:i:i], rest[i+1:]...)
	}
}

// errKey says that a key does not parse.
var errKey = errors.New("the private key does not parse")

func (c *Certificate) signer() (crypto.Signer, error) {
	b, _ := pem.Decode(c.key.Bytes())
	var k any
	var err error
	switch b.Type {
	case "EC PRIVATE KEY":
		k, err = x509.ParseECPrivateKey(b.Bytes)
	case "RSA PRIVATE KEY":
		k, err = x509.ParsePKCS1PrivateKey(b.Bytes)
	default:
		k, err = x509.ParsePKCS8PrivateKey(b.Bytes)
	}
	clear(b.Bytes)
	if err != nil {
		return nil, errKey // x509's message may quote the key
	}
	s, ok := k.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a private key of type %T cannot sign", k)
	}
	return s, nil
}

// TLS gives the certificate in the form that crypto/tls serves.
func (c *Certificate) TLS() (tls.Certificate, error) {
	s, err := c.signer()
	if err != nil {
		return tls.Certificate{}, err
	}
	t := tls.Certificate{PrivateKey: s, Leaf: c.Leaf}
	for _, x := range c.Chain {
		t.Certificate = append(t.Certificate, x.Raw)
	}
	return t, nil
}

// Bundle is the PEM file that haproxy reads: chain, leaf first, then the key. The caller wipes it after use.
func (c *Certificate) Bundle() Value {
	var n int
	blocks := make([][]byte, 0, len(c.Chain))
	for _, x := range c.Chain {
		b := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: x.Raw})
		blocks = append(blocks, b)
		n += len(b)
	}
	out := make([]byte, 0, n+len(c.key.Bytes())) // the right size at once: growing would leave copies of the key behind
	for _, b := range blocks {
		out = append(out, b...)
	}
	return NewValue(append(out, c.key.Bytes()...))
}

// ChainPEM gives the chain, leaf first, without the key.
func (c *Certificate) ChainPEM() []byte {
	var out bytes.Buffer
	for _, x := range c.Chain {
		_ = pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: x.Raw}) // a Buffer takes everything
	}
	return out.Bytes()
}

// Key gives the private key, PEM.
func (c *Certificate) Key() Value { return c.key }

// Fingerprint is the SHA-256 of the leaf's DER bytes, in hex.
func (c *Certificate) Fingerprint() string { return Fingerprint(c.Leaf) }

// Fingerprint is the SHA-256 of a certificate's DER bytes, in hex.
func Fingerprint(c *x509.Certificate) string {
	s := sha256.Sum256(c.Raw)
	return hex.EncodeToString(s[:])
}

// Problem is one thing that is wrong with a certificate. Fatal ones would make clients refuse it.
type Problem struct {
	Fatal bool
	What  string // one sentence without its subject: "expired on 2026-01-02"
}

// Inspect says what a client that trusts roots (nil: the system's) would hold against the certificate at
// time now under each of names, and warns when it expires within warn. It makes no network request.
func (c *Certificate) Inspect(names []string, roots *x509.CertPool, now time.Time, warn time.Duration) []Problem {
	var ps []Problem
	fatal := func(f string, a ...any) { ps = append(ps, Problem{true, fmt.Sprintf(f, a...)}) }
	day := func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }
	expired := false
	switch left := c.Leaf.NotAfter.Sub(now); {
	case now.Before(c.Leaf.NotBefore):
		fatal("is not valid before %s", day(c.Leaf.NotBefore))
		expired = true
	case left <= 0:
		fatal("expired on %s", day(c.Leaf.NotAfter))
		expired = true
	case left < warn:
		ps = append(ps, Problem{false, fmt.Sprintf("expires in %d days, on %s", int(left.Hours()/24), day(c.Leaf.NotAfter))})
	}
	for _, n := range names {
		if err := c.Leaf.VerifyHostname(n); err != nil {
			fatal("does not cover %s; %s", n, coverage(c.Leaf, n))
		}
	}
	switch k := c.Leaf.PublicKey.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() < 2048 {
			fatal("has an RSA key of %d bits; clients refuse less than 2048", k.N.BitLen())
		}
	case *ecdsa.PublicKey, ed25519.PublicKey:
	default:
		fatal("has a key of a kind that TLS clients do not know (%T)", k)
	}
	for _, x := range c.Chain {
		if x.SignatureAlgorithm == x509.SHA1WithRSA || x.SignatureAlgorithm == x509.ECDSAWithSHA1 {
			if !bytes.Equal(x.RawIssuer, x.RawSubject) { // a root's own signature is not checked by anyone
				fatal("has a SHA-1 signature (%s), which clients refuse: have it issued anew", x.Subject)
				return ps // nothing verifies what it signs, and that is no other mistake
			}
		}
	}
	inter := x509.NewCertPool()
	for _, x := range c.Chain[1:] {
		inter.AddCert(x)
	}
	at := now
	if expired {
		at = c.Leaf.NotBefore.Add(time.Second) // the chain is judged apart from the date
	}
	if _, err := c.Leaf.Verify(x509.VerifyOptions{Intermediates: inter, Roots: roots, CurrentTime: at}); err != nil {
		var ua x509.UnknownAuthorityError
		if errors.As(err, &ua) {
			last := c.Chain[len(c.Chain)-1]
			fatal("has a chain that ends at %q, which no trusted root signed: an intermediate is missing, or the plan needs ca", last.Issuer.String())
		} else {
			fatal("does not verify: %v", err)
		}
	}
	return ps
}

// coverage says what a certificate covers, and why a wildcard that seems to does not.
func coverage(leaf *x509.Certificate, name string) string {
	covers := "it covers " + strings.Join(leaf.DNSNames, ", ")
	if len(leaf.DNSNames) == 0 {
		return fmt.Sprintf("it names no DNS name at all (its subject, %s, counts for no client)", leaf.Subject)
	}
	for _, w := range leaf.DNSNames {
		parent, ok := strings.CutPrefix(strings.ToLower(w), "*.")
		switch n := strings.ToLower(name); {
		case !ok:
		case n == parent:
			return covers + fmt.Sprintf(" (%s does not stand for %s itself)", w, parent)
		case strings.HasSuffix(n, "."+parent):
			return covers + fmt.Sprintf(" (the * of %s stands for one label, not for %s)", w, strings.TrimSuffix(n, "."+parent))
		}
	}
	return covers
}

// Roots gives the system's roots with the PEM certificates of ca added; nil, which means the system's, for no ca.
func Roots(ca string) (*x509.CertPool, error) {
	if ca == "" {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM([]byte(ca)) {
		return nil, errors.New("ca holds no PEM certificate")
	}
	return pool, nil
}
