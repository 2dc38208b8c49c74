// Package etcd is the store that a team shares: keys in etcd, spoken to through its HTTP/JSON gateway.
//
// A value that is swapped is one key. A value that is appended to is one key a chunk, named by the offset at
// which it begins and created if absent: a writer whose end is not the true end finds its offset taken, so
// two can never interleave. Every write is one Txn that compares, and so may be sent again when its fate is
// unknown. Once a fence is set, every append also compares the lease.
//
// It never waits longer than its time limits, never dials before it is used, and never logs a password.
package etcd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/dripstat/failover/secrets"
)

// Time limits. A member that hangs costs one attempt, not the whole request.
const (
	dialTime    = 2 * time.Second
	attemptTime = 1200 * time.Millisecond
	requestTime = 3 * time.Second
)

// Options say where etcd is and who asks.
type Options struct {
	Endpoints     []string // URLs
	CA, Cert, Key string   // PEM files; all may be empty
	Username      string
	Password      secrets.Value
	Prefix        string // of every key; "failover/" where it is empty
}

// Store keeps keys in etcd. It is safe for concurrent use.
type Store struct {
	client *client
	prefix string

	mu    sync.Mutex
	ends  map[string]*end
	fence *fence
}

// end is where the next chunk of a key begins. Its lock is held while it is being added to.
type end struct {
	mu       sync.Mutex
	known    bool
	appended bool // by us: reading moves it no more
	at       int
}

// fence is the lease that allows appends.
type fence struct {
	key  string
	mine func(value []byte) bool

	mu  sync.Mutex
	rev int64 // of the lease when it was last seen to be ours
}

// New gives the store; it reads the certificates' files and dials nothing.
func New(o Options) (*Store, error) {
	if len(o.Endpoints) == 0 {
		return nil, errors.New("etcd: no endpoints")
	}
	var ends []string
	for _, e := range o.Endpoints {
		u, err := url.Parse(e)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, fmt.Errorf("etcd: the endpoint %q is not http://HOST:PORT or https://HOST:PORT", e)
		}
		ends = append(ends, strings.TrimSuffix(e, "/"))
	}
	conf, err := o.tls()
	if err != nil {
		return nil, err
	}
	if o.Prefix == "" {
		o.Prefix = "failover/"
	}
	if !strings.HasSuffix(o.Prefix, "/") {
		o.Prefix += "/"
	}
	tr := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: dialTime}).DialContext,
		TLSClientConfig:     conf,
		TLSHandshakeTimeout: dialTime,
		IdleConnTimeout:     time.Minute,
		MaxIdleConnsPerHost: 4,
		ForceAttemptHTTP2:   false, // one connection a request: a stalled one holds nobody else up
	}
	return &Store{
		client: &client{ends: ends, http: &http.Client{Transport: tr}, user: o.Username, password: o.Password},
		prefix: o.Prefix, ends: map[string]*end{},
	}, nil
}

func (o Options) tls() (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CA != "" {
		pem, err := os.ReadFile(o.CA)
		if err != nil {
			return nil, fmt.Errorf("etcd: ca: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("etcd: ca: %s holds no PEM certificate", o.CA)
		}
	}
	if o.Cert != "" || o.Key != "" {
		pair, err := tls.LoadX509KeyPair(o.Cert, o.Key)
		if err != nil {
			return nil, fmt.Errorf("etcd: cert and key: %w", err)
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	return conf, nil
}

// Where names the store to people.
func (s *Store) Where() string { return "etcd at " + strings.Join(s.client.ends, ", ") }

// Close lets go of idle connections.
func (s *Store) Close() error {
	s.client.http.CloseIdleConnections()
	return nil
}

// Fence lets appends through only while the value of a key is ours, by the judgement of mine. It is compared
// in the same Txn as the write.
func (s *Store) Fence(key string, mine func(value []byte) bool) {
	s.mu.Lock()
	s.fence = &fence{key: key, mine: mine}
	s.mu.Unlock()
}

func (s *Store) end(key string) *end {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.ends[key]
	if e == nil {
		e = &end{}
		s.ends[key] = e
	}
	return e
}

// Ping asks for nothing, and gives an error where nobody answers.
func (s *Store) Ping(ctx context.Context) error {
	_, err := s.rangeOf(ctx, s.prefix+"ping", "", true)
	return err
}
