// Package secretstest says what every backend of secrets must do, and makes certificates to try it with.
//
// It turns a backend and a way to put things into it into a list of tests. It is for tests alone; keys are made at test
// time and written to no file that a test does not ask for.
package secretstest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dripstat/failover/secrets"
)

// Subject is one backend under test.
type Subject struct {
	Backend secrets.Backend
	// Put keeps texts at a path as a team would: usually a PEM chain and a PEM key, sometimes what is neither. It gives
	// false where the tool that a team would use refuses to keep such a thing.
	Put func(t *testing.T, path string, chain, key []byte) bool
	// Lose makes the backend as one that cannot be reached. nil: it cannot be lost.
	Lose func(t *testing.T)
	// Fixed says that all paths are one: what is absent cannot be asked for.
	Fixed bool
}

// Run tests a backend; fresh makes one with nothing in it.
func Run(t *testing.T, fresh func(t *testing.T) Subject) {
	ca := NewCA(t)
	get := func(t *testing.T, s Subject, path string) (*secrets.Certificate, error) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		return s.Backend.Certificate(ctx, path)
	}
	put := func(t *testing.T, s Subject, path string, chain, key []byte) {
		t.Helper()
		if !s.Put(t, path, bytes.Clone(chain), bytes.Clone(key)) {
			t.Skip("such a thing cannot be put there")
		}
	}
	// refused checks an error: which kind it is, and that it shows nothing of a key.
	refused := func(t *testing.T, err error, elsewhere bool, key []byte) {
		t.Helper()
		if err == nil {
			t.Fatal("no error")
		}
		if secrets.Elsewhere(err) != elsewhere {
			t.Errorf("Elsewhere is %v of: %v", !elsewhere, err)
		}
		if strings.ContainsAny(err.Error(), "\n\r") {
			t.Errorf("the error has several lines: %q", err)
		}
		Silent(t, key, err.Error(), secrets.HintOf(err))
	}
	for _, kind := range []string{"EC", "RSA"} {
		t.Run("gives what is kept, "+kind, func(t *testing.T) {
			s := fresh(t)
			chain, key := ca.Issue(t, kind, time.Now().Add(24*time.Hour), "www.example.test", "*.example.test")
			put(t, s, "edge", chain, key)
			c, err := get(t, s, "edge")
			if err != nil {
				t.Fatal(err)
			}
			if c.Leaf.DNSNames[0] != "www.example.test" || len(c.Chain) != 2 || !sameKey(t, c.Key().Bytes(), key) {
				t.Errorf("got %v, a chain of %d", c.Leaf.DNSNames, len(c.Chain))
			}
			print := c.Fingerprint()
			c.Key().Wipe() // what one user wipes, the next must get all the same
			again, err := get(t, s, "edge")
			if err != nil || again.Fingerprint() != print || !sameKey(t, again.Key().Bytes(), key) {
				t.Errorf("the second time: %v", err)
			}
		})
	}
	t.Run("one that has expired is given, not judged", func(t *testing.T) {
		s := fresh(t)
		chain, key := ca.Issue(t, "EC", time.Now().Add(-time.Hour), "www.example.test")
		put(t, s, "edge", chain, key)
		if _, err := get(t, s, "edge"); err != nil {
			t.Error(err)
		}
	})
	t.Run("several at once", func(t *testing.T) {
		s := fresh(t)
		chain, key := ca.Issue(t, "EC", time.Now().Add(time.Hour), "www.example.test")
		put(t, s, "edge", chain, key)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if c, err := get(t, s, "edge"); err != nil {
					t.Error(err)
				} else {
					c.Key().Wipe()
				}
			})
		}
		wg.Wait()
	})
	t.Run("nothing at this path", func(t *testing.T) {
		s := fresh(t)
		if s.Fixed {
			_, err := get(t, s, "edge")
			refused(t, err, true, nil)
			return
		}
		chain, key := ca.Issue(t, "EC", time.Now().Add(time.Hour), "www.example.test")
		put(t, s, "edge", chain, key)
		_, err := get(t, s, "absent")
		refused(t, err, true, key)
		if err != nil && !strings.Contains(strings.ToLower(err.Error()), "absent") {
			t.Errorf("the error does not name the path: %v", err)
		}
	})
	t.Run("the key of another", func(t *testing.T) {
		s := fresh(t)
		chain, _ := ca.Issue(t, "EC", time.Now().Add(time.Hour), "www.example.test")
		_, key := ca.Issue(t, "EC", time.Now().Add(time.Hour), "www.example.test")
		put(t, s, "edge", chain, key)
		_, err := get(t, s, "edge")
		refused(t, err, false, key)
	})
	t.Run("a broken key", func(t *testing.T) {
		s := fresh(t)
		chain, key := ca.Issue(t, "EC", time.Now().Add(time.Hour), "www.example.test")
		b, _ := pem.Decode(key)
		broken := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: b.Bytes[:len(b.Bytes)-9]})
		put(t, s, "edge", chain, broken)
		_, err := get(t, s, "edge")
		refused(t, err, false, broken)
	})
	t.Run("an encrypted key", func(t *testing.T) { // somebody may be asked for its passphrase, further up
		s := fresh(t)
		chain, key := ca.Issue(t, "EC", time.Now().Add(time.Hour), "www.example.test")
		b, _ := pem.Decode(key)
		locked, err := x509.EncryptPEMBlock(rand.Reader, b.Type, b.Bytes, []byte("hunter2hunter2"), x509.PEMCipherAES256) //nolint:staticcheck // as people have it
		if err != nil {
			t.Fatal(err)
		}
		put(t, s, "edge", chain, pem.EncodeToMemory(locked))
		_, err = get(t, s, "edge")
		refused(t, err, false, key)
		var le *secrets.LockedError
		if !errors.As(err, &le) {
			t.Fatalf("%v is no LockedError", err)
		}
		c, err := le.Unlock(secrets.NewValue([]byte("hunter2hunter2")))
		if err != nil || !sameKey(t, c.Key().Bytes(), key) {
			t.Errorf("unlocked: %v", err)
		}
	})
	t.Run("what is no PEM at all", func(t *testing.T) {
		s := fresh(t)
		put(t, s, "edge", []byte("hunter2hunter2-chain"), []byte("hunter2hunter2-key"))
		_, err := get(t, s, "edge")
		refused(t, err, false, nil)
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error shows what was there: %v", err)
		}
	})
	t.Run("it cannot be reached", func(t *testing.T) {
		s := fresh(t)
		if s.Lose == nil {
			t.Skip("it cannot be lost")
		}
		chain, key := ca.Issue(t, "EC", time.Now().Add(time.Hour), "www.example.test")
		put(t, s, "edge", chain, key)
		s.Lose(t)
		_, err := get(t, s, "edge")
		refused(t, err, true, key)
	})
	t.Run("nobody waits any more", func(t *testing.T) {
		s := fresh(t)
		chain, key := ca.Issue(t, "EC", time.Now().Add(time.Hour), "www.example.test")
		put(t, s, "edge", chain, key)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		if _, err := s.Backend.Certificate(ctx, "edge"); err != nil {
			refused(t, err, true, key)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

func sameKey(t *testing.T, a, b []byte) bool {
	t.Helper()
	x, _ := pem.Decode(a)
	y, _ := pem.Decode(b)
	return x != nil && y != nil && bytes.Equal(x.Bytes, y.Bytes)
}

// Silent fails where a text holds a PEM private key in any form.
func Silent(t *testing.T, keyPEM []byte, texts ...string) {
	t.Helper()
	b, _ := pem.Decode(keyPEM)
	if b == nil {
		return
	}
	needles := []string{string(b.Bytes), hex.EncodeToString(b.Bytes), base64.StdEncoding.EncodeToString(b.Bytes), base64.StdEncoding.EncodeToString(keyPEM)[:40]}
	for line := range strings.Lines(string(keyPEM)) {
		if line = strings.TrimSpace(line); len(line) > 20 && !strings.HasPrefix(line, "-----") {
			needles = append(needles, line)
		}
	}
	for _, text := range texts {
		for _, n := range needles {
			if strings.Contains(text, n) {
				t.Error("a private key shows")
			}
		}
	}
}

// CA is an authority of a test, with an intermediate.
type CA struct {
	root, middle *x509.Certificate
	key          crypto.Signer
}

// NewCA makes one.
func NewCA(t testing.TB) *CA {
	t.Helper()
	rootKey, middleKey := ecKey(t), ecKey(t)
	root := sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "test root"}, IsCA: true, KeyUsage: x509.KeyUsageCertSign, NotAfter: time.Now().Add(240 * time.Hour)}, nil, rootKey.Public(), rootKey)
	middle := sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "test intermediate"}, IsCA: true, KeyUsage: x509.KeyUsageCertSign, NotAfter: time.Now().Add(240 * time.Hour)}, root, middleKey.Public(), rootKey)
	return &CA{root, middle, middleKey}
}

// PEM is the root, for a plan's ca.
func (c *CA) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.root.Raw})
}

// Issue makes a leaf until a time, for names, with a key of kind EC or RSA: the chain without the root, and the key.
func (c *CA) Issue(t testing.TB, kind string, until time.Time, names ...string) (chain, key []byte) {
	t.Helper()
	k := ecKey(t)
	if kind == "RSA" {
		r, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		k = r
	}
	leaf := sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: names[0]}, DNSNames: names, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, NotAfter: until}, c.middle, k.Public(), c.key)
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []*x509.Certificate{leaf, c.middle} {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: x.Raw})...)
	}
	return chain, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func ecKey(t testing.TB) crypto.Signer {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func sign(t testing.TB, c, by *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<60))
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber, c.NotBefore, c.BasicConstraintsValid = serial, time.Now().Add(-48*time.Hour), true
	if by == nil {
		by = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, by, pub, key)
	if err != nil {
		t.Fatal(err)
	}
	x, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return x
}
