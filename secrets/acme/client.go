package acme

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"github.com/dripstat/failover/secrets"
)

const (
	answerFor = 20 * time.Second // one request
	// patience is how long an authority may ask to be left alone before the run gives up instead: an outage goes on.
	patience = time.Minute
)

// call is one conversation with the authority. acmez sends a request again where the connection broke, newOrder too, and
// would sleep meanwhile (acme/http.go, httpReq): the transport ends the call at the first error of a POST, so that the engine
// looks before anything is sent twice. It also keeps what acmez drops of an answer: when to ask again.
type call struct {
	*acme.Client
	end context.CancelCauseFunc

	mu    sync.Mutex
	next  http.RoundTripper
	after time.Duration
}

func (s *Store) call(ctx context.Context) (context.Context, *call, error) {
	h, err := s.http()
	if err != nil {
		return ctx, nil, err
	}
	c := &call{next: h.Transport}
	ctx, c.end = context.WithCancelCause(ctx)
	c.Client = &acme.Client{Directory: s.Directory, UserAgent: s.UserAgent, HTTPClient: &http.Client{Transport: c, Timeout: answerFor, CheckRedirect: h.CheckRedirect},
		PollTimeout: 1} // FinalizeOrder is not to wait for the certificate
	return ctx, c, nil
}

// RoundTrip is http.RoundTripper's.
func (c *call) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := c.next.RoundTrip(r)
	if err != nil {
		if r.Method == http.MethodPost {
			c.end(err)
		}
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.after = retryAfter(res.Header.Get("Retry-After"), time.Now())
	return res, nil
}

func retryAfter(h string, now time.Time) time.Duration {
	if n, err := strconv.Atoi(h); err == nil && n > 0 {
		return time.Duration(n) * time.Second
	}
	if t, err := http.ParseTime(h); err == nil && t.After(now) {
		return t.Sub(now)
	}
	return 0
}

// failed makes an error of ours out of acmez's. ctx is the call's.
func (c *call) failed(ctx context.Context, by, doing string, err error) error {
	c.mu.Lock()
	after := c.after
	c.mu.Unlock()
	var p acme.Problem
	if !errors.As(err, &p) {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return &secrets.Error{Away: true, What: fmt.Sprintf("%s did not answer (%s)", by, doing), Err: bare(err)}
	}
	out := &secrets.Error{What: fmt.Sprintf("%s: %s", by, problem(p))}
	switch {
	case p.Type == acme.ProblemTypeRateLimited && (after == 0 || after > patience):
		out.What = by + " limits the rate of " + doing
		if after > 0 {
			out.What += " until " + time.Now().Add(after).UTC().Format("2006-01-02 15:04 MST")
		}
		out.What += ": " + problem(p)
		out.Hint = "take another place of the certificate (from = [...]), or wait; what is sealed already is used again without asking"
	case after > 0 && after <= patience && (p.Status == http.StatusTooManyRequests || p.Status == http.StatusServiceUnavailable || p.Type == acme.ProblemTypeRateLimited):
		out.Away, out.After = true, after
	case p.Status >= 500:
		out.Away = true
	case p.Type == acme.ProblemTypeExternalAccountRequired:
		out.Hint = "ask the authority for a key id and an HMAC key, and add external_account { ... } to the acme block"
	case p.Type == acme.ProblemTypeUserActionRequired:
		out.Hint = "the terms have changed; follow " + p.Instance
	case p.Type == acme.ProblemTypeAccountDoesNotExist, p.Type == acme.ProblemTypeUnauthorized && doing == "accounts":
		out.Hint = "the account's key is sealed with the certificate; where the directory has forgotten it, seal into another file (seal)"
	case p.Type == acme.ProblemTypeCAA:
		out.Hint = "a CAA record of the name does not allow this authority: add it there, or take another directory"
	}
	return out
}

// problem gives an authority's words in one line, with those on each name.
func problem(p acme.Problem) string {
	words := []string{strings.TrimPrefix(p.Type, acme.ProblemTypeNamespace)}
	if p.Detail != "" {
		words = append(words, p.Detail)
	}
	for _, s := range p.Subproblems {
		words = append(words, strings.TrimSpace(s.Identifier.Value+" "+s.Detail))
	}
	text := []rune(strings.Join(strings.Fields(strings.Join(words, ": ")), " "))
	if len(text) > 400 {
		text = append(text[:400], '…')
	}
	return string(text)
}

// bare takes the wrapping off that net/http and acmez add, which repeats the URL.
func bare(err error) error {
	for {
		in := errors.Unwrap(err)
		if in == nil || errors.Is(in, context.DeadlineExceeded) || errors.Is(in, context.Canceled) {
			return err
		}
		err = in
	}
}

// http gives the client that all calls share the connections of.
func (s *Store) http() (*http.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client != nil {
		return s.client, nil
	}
	t := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: answerFor, IdleConnTimeout: time.Minute,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
	if s.CA != "" {
		path := s.CA
		if !filepath.IsAbs(path) {
			path = filepath.Join(s.Dir, path)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, &secrets.Error{Away: true, What: "ca of the directory cannot be read", Err: err}
		}
		if t.TLSClientConfig.RootCAs, err = secrets.Roots(string(text)); err != nil {
			return nil, &secrets.Error{Away: true, What: s.CA, Err: err}
		}
	}
	s.client = &http.Client{Transport: t, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if len(via) > 3 || r.URL.Host != via[0].URL.Host {
			return errors.New("it leads to another place")
		}
		return nil
	}}
	return s.client, nil
}

// directory is what Offer reads of one.
type directory struct {
	NewOrder string `json:"newOrder"`
	Meta     struct {
		ExternalAccountRequired bool     `json:"externalAccountRequired"`
		CAAIdentities           []string `json:"caaIdentities"`
	} `json:"meta"`
}

// directory asks for it, not acmez, which remembers what it was told half a day ago (acme/client.go, directories).
func (s *Store) directory(ctx context.Context) (directory, error) {
	var d directory
	away := func(err error, format string, a ...any) error {
		return &secrets.Error{Away: true, What: host(s.Directory) + " " + fmt.Sprintf(format, a...), Err: err, Hint: "curl " + s.Directory}
	}
	h, err := s.http()
	if err != nil {
		return d, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Directory, nil)
	if err != nil {
		return d, err
	}
	if s.UserAgent != "" { // an empty one would be sent as none, which RFC 8555 section 6.1 forbids
		req.Header.Set("User-Agent", s.UserAgent)
	}
	res, err := h.Do(req)
	if err != nil {
		return d, away(bare(err), "is not reached")
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	switch {
	case err != nil:
		return d, away(err, "broke off")
	case res.StatusCode != http.StatusOK:
		return d, away(nil, "answers %s where its directory should be", res.Status)
	case json.Unmarshal(b, &d) != nil || d.NewOrder == "":
		return d, away(nil, "gives something else where its directory should be")
	}
	return d, nil
}

// account gives the one of the directory: its key is sealed before the directory hears of it, and to ask for a new account
// with a key that has one gives that (RFC 8555 section 7.3.1).
func (s *Store) account(ctx context.Context, c *call) (acme.Account, error) {
	var none acme.Account
	sealed, err := s.Sealed.Item(ctx, s.accountItem())
	if err != nil {
		return none, err
	}
	if sealed.IsZero() {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return none, err
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return none, errors.New("the account's key cannot be sealed")
		}
		sealed = secrets.NewValue(der)
		if err := s.Sealed.Put(ctx, secrets.Entry{Name: s.accountItem(), Item: sealed}); err != nil {
			sealed.Wipe()
			return none, err
		}
	}
	defer sealed.Wipe()
	key, err := signer(sealed.Bytes())
	if err != nil {
		return none, fmt.Errorf("%s: what is sealed for the account at %s is no key", s.Sealed.Name(), host(s.Directory))
	}
	a := acme.Account{PrivateKey: key, TermsOfServiceAgreed: true}
	if s.Email != "" {
		a.Contact = []string{"mailto:" + s.Email}
	}
	if _, err := c.GetDirectory(ctx); err != nil {
		return none, c.failed(ctx, host(s.Directory), "its directory", err)
	}
	if s.KeyID != "" {
		if err := a.SetExternalAccountBinding(ctx, c.Client, acme.EAB{KeyID: s.KeyID, MACKey: strings.TrimRight(string(s.KeyMAC.Bytes()), "=")}); err != nil {
			return none, &secrets.Error{What: "the HMAC key of the external account will not do: it must be base64url, as the authority gives it"} // err may quote it
		}
	}
	a, err = c.NewAccount(ctx, a)
	if err != nil {
		return none, c.failed(ctx, host(s.Directory), "accounts", err)
	}
	if a.Status != "" && a.Status != acme.StatusValid {
		return none, &secrets.Error{What: fmt.Sprintf("the account at %s is %s", host(s.Directory), a.Status), Hint: "seal into another file (seal), which begins with a new account"}
	}
	return a, nil
}

// known gives the account of an order that was made before.
func (s *Store) known(ctx context.Context, o *order) (acme.Account, error) {
	sealed, err := s.Sealed.Item(ctx, s.accountItem())
	if err != nil {
		return acme.Account{}, err
	}
	defer sealed.Wipe()
	key, err := signer(sealed.Bytes())
	if err != nil {
		return acme.Account{}, fmt.Errorf("%s holds no key of the account at %s", s.Sealed.Name(), host(s.Directory))
	}
	return acme.Account{PrivateKey: key, Location: o.Account}, nil
}

func signer(der []byte) (crypto.Signer, error) {
	k, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errors.New("it does not parse") // x509's message may quote the key
	}
	s, ok := k.(crypto.Signer)
	if !ok {
		return nil, errors.New("it cannot sign")
	}
	return s, nil
}
