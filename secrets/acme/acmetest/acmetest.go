// Package acmetest starts a real ACME server for tests: Let's Encrypt's Pebble (https://github.com/letsencrypt/pebble), in this
// process, behind TLS on loopback. It validates for real, asking the name server that it is told of. What Pebble has no
// word for (a rate that is limited) is answered in its place, over the same protocol, by Instead.
//
// It is for tests alone; nothing of it is linked into failover. It brings three small modules.
package acmetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
)

// Options shape a server.
type Options struct {
	NameServer string        // host:port that challenges are looked for at, by TCP
	External   bool          // accounts must be bound to an external one: Server.KeyID and Server.HMAC
	Lifetime   time.Duration // of certificates; 0: 90 days
	Roots      int           // beside the first, for alternate chains
	CommonName bool          // certificates have one: their first name, as Let's Encrypt's profile "classic" gives it
}

// Server is an ACME server that runs.
type Server struct {
	Directory string // URL
	CA        []byte // PEM: vouches for the server's own TLS
	KeyID     string // of the external account
	HMAC      string

	// Instead, where it gives true, has answered in the server's place.
	Instead func(w http.ResponseWriter, r *http.Request) bool

	pebble *ca.CAImpl
	mu     sync.Mutex
	posts  map[string]int
	final  map[string]bool // orders that a certificate was asked for
}

// environment is what Pebble reads: no random pause before a validation, and no proof of before counts.
var environment = sync.OnceValue(func() error {
	for k, v := range map[string]string{"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_AUTHZREUSE": "0"} {
		if err := os.Setenv(k, v); err != nil {
			return err
		}
	}
	return nil
})

// Start gives a server until the test ends.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	if err := environment(); err != nil {
		t.Fatal(err)
	}
	cert, root, err := certificate()
	if err != nil {
		t.Fatal(err)
	}
	quiet := log.New(io.Discard, "", 0)
	if os.Getenv("ACMETEST_LOG") != "" {
		quiet = log.New(os.Stderr, "pebble ", 0)
	}
	store := db.NewMemoryStore()
	s := &Server{CA: root, posts: map[string]int{}, final: map[string]bool{}}
	s.pebble = ca.New(quiet, store, "", "ecdsa", o.Roots, 1, map[string]ca.Profile{"default": {ValidityPeriod: uint64(o.Lifetime / time.Second), PromoteCommonName: o.CommonName}}) //nolint:gosec // not negative
	if o.External {
		key := make([]byte, 32)
		_, _ = rand.Read(key)
		s.KeyID, s.HMAC = "kid-1", base64.RawURLEncoding.EncodeToString(key)
		if err := store.AddExternalAccountKeyByID(s.KeyID, s.HMAC); err != nil {
			t.Fatal(err)
		}
	}
	front := wfe.New(quiet, store, va.New(quiet, 0, 0, false, o.NameServer, store), s.pebble, []string{"pebble.test"}, false, o.External, 1, 1)
	handler := front.Handler()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, ErrorLog: quiet, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			path, of, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
			c := &counted{ResponseWriter: w, count: func() {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.posts[path]++
				if path == "finalize-order" {
					s.final[of] = true
				}
			}}
			defer c.end()
			w = c
		}
		if s.Instead != nil && s.Instead(w, r) {
			return
		}
		handler.ServeHTTP(w, r)
	})}
	go func() {
		_ = server.Serve(tls.NewListener(l, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}}))
	}()
	t.Cleanup(func() { _ = server.Close() })
	s.Directory = "https://" + l.Addr().String() + wfe.DirectoryPath
	return s
}

// Root is what clients of the certificates trust, PEM. n is 0, or up to Options.Roots.
func (s *Server) Root(n int) []byte { return s.pebble.GetRootCert(n).PEM() }

// RootName is its common name.
func (s *Server) RootName(n int) string {
	b, _ := pem.Decode(s.Root(n))
	c, err := x509.ParseCertificate(b.Bytes)
	if err != nil {
		panic(err)
	}
	return c.Subject.CommonName
}

// counted counts a request as it is answered, but for those that are refused: Pebble refuses some nonces at random, to see that
// they are asked again.
type counted struct {
	http.ResponseWriter
	count func()
}

func (c *counted) WriteHeader(status int) {
	if status != http.StatusBadRequest && c.count != nil {
		c.count()
	}
	c.count = nil
	c.ResponseWriter.WriteHeader(status)
}

// end counts one that was never answered.
func (c *counted) end() {
	if c.count != nil {
		c.count()
	}
}

func (c *counted) Write(b []byte) (int, error) {
	if c.count != nil {
		c.WriteHeader(http.StatusOK)
	}
	return c.ResponseWriter.Write(b)
}

// Orders counts the requests for an order, but for those that were refused.
func (s *Server) Orders() int { return s.sent("order-plz") }

// Finalized counts the orders that a certificate was asked for.
func (s *Server) Finalized() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.final)
}

// Accounts counts the requests for an account.
func (s *Server) Accounts() int { return s.sent("sign-me-up") }

func (s *Server) sent(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.posts[path]
}

// Limited answers orders as an authority does whose rate is limited, for a while. RFC 8555 section 6.6.
func Limited(after string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/order-plz") {
			return false
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.Header().Set("Retry-After", after)
		w.WriteHeader(http.StatusTooManyRequests)
		_ = json.NewEncoder(w).Encode(map[string]any{"type": "urn:ietf:params:acme:error:rateLimited", "status": 429, "detail": "too many certificates already issued"})
		return true
	}
}

// certificate makes one for the server's own TLS, and what vouches for it.
func certificate() (tls.Certificate, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "the directory"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), err
}
