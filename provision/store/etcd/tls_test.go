//go:build etcd

package etcd

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dripstat/failover/provision/store"
	"github.com/dripstat/failover/provision/store/etcd/etcdtest"
)

// Members that are known by a CA and want a certificate themselves.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	ca, caKey := issue(t, at("ca"), nil, nil)
	issue(t, at("member"), ca, caKey)
	issue(t, at("client"), ca, caKey)
	issue(t, at("stranger"), nil, nil)
	c := etcdtest.Start(t, 1, "https", "--cert-file", at("member.pem"), "--key-file", at("member-key.pem"), "--trusted-ca-file", at("ca.pem"), "--client-cert-auth")
	o := Options{Endpoints: c.Endpoints(), CA: at("ca.pem"), Cert: at("client.pem"), Key: at("client-key.pem")}
	s := open(t, o)
	var err error
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if err = s.Append(t.Context(), "k", []byte("x\n")); err == nil {
			break
		}
	}
	must(t, err)
	for name, edit := range map[string]func(*Options){
		"no certificate":            func(o *Options) { o.Cert, o.Key = "", "" },
		"a stranger's certificate":  func(o *Options) { o.Cert, o.Key = at("stranger.pem"), at("stranger-key.pem") },
		"members that nobody knows": func(o *Options) { o.CA = at("stranger.pem") },
	} {
		o := o
		edit(&o)
		if _, err := open(t, o).Read(t.Context(), "k"); err == nil || errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := New(Options{Endpoints: []string{"https://127.0.0.1:1"}, CA: at("none.pem")}); err == nil {
		t.Error("a CA that is not there")
	}
	if _, err := New(Options{Endpoints: []string{"127.0.0.1:2379"}}); err == nil {
		t.Error("an endpoint that is no URL")
	}
}

// issue writes a certificate, signed by a CA or by itself, with its key beside it.
func issue(t *testing.T, path string, ca *x509.Certificate, caKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	c := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: filepath.Base(path)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, IsCA: ca == nil, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	if ca == nil {
		ca, caKey = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, ca, &key.PublicKey, caKey)
	must(t, err)
	priv, err := x509.MarshalECPrivateKey(key)
	must(t, err)
	must(t, os.WriteFile(path+".pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	must(t, os.WriteFile(path+"-key.pem", pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: priv}), 0o600))
	c, err = x509.ParseCertificate(der)
	must(t, err)
	return c, key
}
