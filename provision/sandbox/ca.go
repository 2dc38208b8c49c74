package sandbox

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"time"
)

// CA is a certificate authority made on the spot, a root and an intermediate,
// for certificates that only this sandbox's clients trust.
type CA struct {
	root, inter *x509.Certificate
	interKey    *ecdsa.PrivateKey
}

// NewCA makes one, valid for a year.
func NewCA() (*CA, error) {
	now := time.Now()
	tmpl := func(name string, maxPath int) *x509.Certificate {
		return &x509.Certificate{Subject: pkix.Name{CommonName: name, Organization: []string{"failover sandbox"}},
			NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0), IsCA: true, BasicConstraintsValid: true,
			MaxPathLen: maxPath, MaxPathLenZero: maxPath == 0, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	}
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	ca := &CA{}
	t := tmpl("Sandbox Root", 1)
	if ca.root, err = sign(t, t, rootKey.Public(), rootKey); err != nil {
		return nil, err
	}
	if ca.interKey, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	ca.inter, err = sign(tmpl("Sandbox Intermediate", 0), ca.root, ca.interKey.Public(), rootKey)
	return ca, err
}

func sign(t, parent *x509.Certificate, public crypto.PublicKey, by *ecdsa.PrivateKey) (*x509.Certificate, error) {
	t.SerialNumber = new(big.Int).SetBytes(randBytes(16))
	der, err := x509.CreateCertificate(rand.Reader, t, parent, public, by)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// Issue makes a certificate for names (DNS names and IP addresses), valid for 90
// days, and returns it with the intermediate after it, and its key as PKCS #8.
func (ca *CA) Issue(names ...string) (certPEM, keyPEM []byte, err error) {
	return ca.IssueFor(90*24*time.Hour, names...)
}

// IssueFor is Issue for another span from now on; a negative one makes a
// certificate that has expired.
func (ca *CA) IssueFor(valid time.Duration, names ...string) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if certPEM, err = ca.Renew(key, valid, names...); err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return certPEM, pemOf("PRIVATE KEY", der), nil
}

// IssueRSA is Issue with an RSA key, which is all that some load balancers take.
func (ca *CA) IssueRSA(names ...string) (certPEM, keyPEM []byte, err error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, nil, err
	}
	if certPEM, err = ca.Renew(key, 90*24*time.Hour, names...); err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return certPEM, pemOf("PRIVATE KEY", der), nil
}

// Renew makes a certificate for a key that is there already, with the intermediate after it.
func (ca *CA) Renew(key crypto.Signer, valid time.Duration, names ...string) ([]byte, error) {
	end := time.Now().Add(valid)
	t := &x509.Certificate{NotBefore: min2(time.Now(), end).Add(-time.Hour), NotAfter: end,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, n)
		}
	}
	if len(names) > 0 {
		t.Subject.CommonName = names[0]
	}
	leaf, err := sign(t, ca.inter, key.Public(), ca.interKey)
	if err != nil {
		return nil, err
	}
	return append(pemOf("CERTIFICATE", leaf.Raw), pemOf("CERTIFICATE", ca.inter.Raw)...), nil
}

func min2(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func pemOf(kind string, der []byte) []byte {
	var b bytes.Buffer
	pem.Encode(&b, &pem.Block{Type: kind, Bytes: der})
	return b.Bytes()
}

// PEM is the root, for a client's trust store.
func (ca *CA) PEM() []byte { return pemOf("CERTIFICATE", ca.root.Raw) }

// Pool is a trust store with only the root.
func (ca *CA) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(ca.root)
	return p
}
