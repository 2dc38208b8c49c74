package acme

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/dripstat/failover/secrets"
	"github.com/dripstat/failover/secrets/acme/acmetest"
	"github.com/dripstat/failover/secrets/age"
	"github.com/dripstat/failover/secrets/secretstest"
)

// zone is a name server that answers TXT questions.
type zone struct {
	address string
	mu      sync.Mutex
	sets    map[string][]string
}

func (z *zone) put(sets map[string][]string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.sets = sets
}

func newZone(t *testing.T) *zone {
	t.Helper()
	z := &zone{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	z.address = l.Addr().String()
	s := &dns.Server{Listener: l, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(r)
		z.mu.Lock()
		for _, v := range z.sets[strings.ToLower(r.Question[0].Name)] {
			rr, err := dns.NewRR(r.Question[0].Name + " 60 IN TXT " + v)
			if err != nil {
				t.Error(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		z.mu.Unlock()
		_ = w.WriteMsg(m)
	})}
	go func() { _ = s.ActivateAndServe() }()
	t.Cleanup(func() { _ = s.Shutdown() })
	return z
}

// bench is an authority, a zone, and a folder to seal into.
type bench struct {
	*testing.T
	dir   string
	zone  *zone
	ca    *acmetest.Server
	roots string
}

func newBench(t *testing.T, o acmetest.Options) *bench {
	t.Helper()
	b := &bench{T: t, dir: t.TempDir(), zone: newZone(t)}
	o.NameServer = b.zone.address
	b.ca = acmetest.Start(t, o)
	b.roots = string(b.ca.Root(0))
	id, _, err := age.NewIdentity()
	b.no(err)
	b.no(os.WriteFile(filepath.Join(b.dir, "id.txt"), id.Bytes(), 0o600))
	b.no(os.WriteFile(filepath.Join(b.dir, "ca.pem"), b.ca.CA, 0o600))
	return b
}

func (b *bench) no(err error) {
	b.Helper()
	if err != nil {
		b.Fatalf("%v (next: %s)", err, secrets.HintOf(err))
	}
}

// store is a new process's view of it.
func (b *bench) store() *Store {
	return &Store{Directory: b.ca.Directory, CA: "ca.pem", Dir: b.dir, KeyID: b.ca.KeyID, KeyMAC: secrets.NewValue([]byte(b.ca.HMAC)), Email: "ops@shop.test",
		Sealed: &age.Store{File: "issued.age", Identity: "id.txt", Dir: b.dir, Env: func(string) (string, bool) { return "", false }}}
}

func request(run string) secrets.Request {
	return secrets.Request{Run: run, Path: "edge", Names: []string{"www.shop.test", "shop.test", "*.shop.test"}}
}

// until waits for a stage.
func (b *bench) until(s *Store, r secrets.Request, want secrets.Stage) error {
	b.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		p, err := s.Progress(b.Context(), r)
		if err != nil || p.Stage >= want {
			return err
		}
		if time.Now().After(end) {
			b.Fatalf("still at %+v", p)
		}
	}
}

// order orders, and gives the request with the order.
func (b *bench) order(s *Store, r secrets.Request) (secrets.Request, secrets.Order) {
	b.Helper()
	b.no(s.Order(b.Context(), r))
	o, ok, err := s.Ordered(b.Context(), r)
	b.no(err)
	if !ok {
		b.Fatal("nothing is sealed of the order")
	}
	r.Order = o.URL
	return r, o
}

// finish goes from an answered order to a sealed certificate, each step by a process of its own, and each done twice: as after
// an outcome that nobody knows.
func (b *bench) finish(r secrets.Request) *secrets.Certificate {
	b.Helper()
	for _, f := range []func() error{
		func() error { return b.store().Validate(b.Context(), r) },
		func() error { return b.until(b.store(), r, secrets.Ready) },
		func() error { return b.store().Finalize(b.Context(), r) },
		func() error { return b.until(b.store(), r, secrets.Valid) },
		func() error { return b.store().Issue(b.Context(), r) },
	} {
		b.no(f())
		b.no(f())
	}
	c, err := b.store().Issued(b.Context(), r)
	b.no(err)
	if c == nil {
		b.Fatal("nothing is sealed")
	}
	return c
}

func TestIssue(t *testing.T) {
	b := newBench(t, acmetest.Options{})
	rung := secrets.Rung{Ref: secrets.Ref{Store: "le", Path: "edge"}, Backend: b.store(), Names: request("").Names}
	tried := rung.Try(t.Context(), false)
	if tried.Err != nil || tried.Offer == nil || len(tried.Offer.Challenges) != 2 || tried.Offer.Sealed != "issued.age" || !strings.HasPrefix(tried.Offer.By, "127.0.0.1:") {
		t.Fatalf("%+v %v", tried.Offer, tried.Err)
	}
	if _, err := os.Stat(filepath.Join(b.dir, "issued.age")); err == nil || b.ca.Accounts()+b.ca.Orders() > 0 {
		t.Fatal("an offer has changed something")
	}
	r, o := b.order(b.store(), request("run-1"))
	if len(o.Challenges["_acme-challenge.shop.test."]) != 2 || len(o.Challenges["_acme-challenge.www.shop.test."]) != 1 {
		t.Fatalf("%+v", o.Challenges)
	}
	b.zone.put(o.Challenges)
	c := b.finish(r)
	roots, err := secrets.Roots(b.roots)
	b.no(err)
	if ps := c.Inspect(r.Names, roots, time.Now(), 0); len(ps) > 0 {
		t.Errorf("%v", ps)
	}
	if info, err := os.Stat(filepath.Join(b.dir, "issued.age")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	if b.ca.Orders() != 1 || b.ca.Finalized() != 1 {
		t.Errorf("%d orders, %d certificates", b.ca.Orders(), b.ca.Finalized())
	}
	// From now on it is a place like any other, and nobody is asked.
	b.ca.Instead = func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusTeapot); return true }
	rung.Backend = b.store()
	tried = rung.Try(t.Context(), false)
	if tried.Err != nil || tried.Offer != nil || tried.Certificate.Fingerprint() != c.Fingerprint() {
		t.Errorf("%+v", tried)
	}
	// A name more, and it will not do; there is nobody to issue another.
	rung.Names = append(rung.Names, "more.test")
	if tried = rung.Try(t.Context(), false); !secrets.Elsewhere(tried.Err) || !strings.Contains(tried.Err.Error(), "answers 418") {
		t.Errorf("%v", tried.Err)
	}
}

// What has become too old for a run is replaced, and where that cannot be, used all the same.
func TestTooOld(t *testing.T) {
	b := newBench(t, acmetest.Options{Lifetime: 48 * time.Hour})
	r, o := b.order(b.store(), request("run-1"))
	b.zone.put(o.Challenges)
	c := b.finish(r)
	s := b.store()
	s.Renew = 72 * time.Hour
	rung := secrets.Rung{Ref: secrets.Ref{Store: "le", Path: "edge"}, Backend: s, Names: r.Names}
	if tried := rung.Try(t.Context(), false); tried.Offer == nil || !strings.HasPrefix(tried.Offer.Why, "expires in 4") {
		t.Errorf("%+v", tried)
	}
	again, o := b.order(s, request("run-2"))
	if again.Order == r.Order {
		t.Fatal("an order that has given its certificate was taken up again")
	}
	if tried := rung.Try(t.Context(), false); tried.Offer == nil || len(tried.Remarks) != 1 || !strings.Contains(tried.Remarks[0].What, "an order of run run-2") {
		t.Errorf("%+v", tried)
	}
	b.zone.put(o.Challenges)
	if next := b.finish(again); next.Fingerprint() == c.Fingerprint() {
		t.Error("it is the same")
	}
	b.ca.Instead = func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	}
	tried := rung.Try(t.Context(), false)
	if tried.Certificate == nil || len(tried.Remarks) != 1 || !tried.Remarks[0].Warn || !strings.Contains(tried.Remarks[0].What, "no other can be issued now") {
		t.Errorf("%+v", tried)
	}
	s.Directory = strings.Replace(s.Directory, "127.0.0.1", "localhost", 1) // another one
	if why, usable := s.Stale(t.Context(), "edge", tried.Certificate, r.Names); usable || !strings.Contains(why, "of another directory") {
		t.Errorf("%q %v", why, usable)
	}
}

// An order of a run that died is gone on with by the next, with the same key: orders are counted.
func TestOrderIsTakenUp(t *testing.T) {
	b := newBench(t, acmetest.Options{})
	r, o := b.order(b.store(), request("run-1"))
	n := b.ca.Orders()
	again, _ := b.order(b.store(), request("run-2"))
	if again.Order != r.Order || b.ca.Orders() != n {
		t.Errorf("%s, then %s; %d orders", r.Order, again.Order, b.ca.Orders())
	}
	if _, ok, err := b.store().Ordered(t.Context(), request("run-1")); ok || err != nil {
		t.Errorf("the first run still has it: %v", err)
	}
	b.zone.put(o.Challenges)
	b.finish(again)
}

func TestRefusals(t *testing.T) {
	ctx := context.Background()
	t.Run("a challenge that is not answered", func(t *testing.T) {
		b := newBench(t, acmetest.Options{})
		r, _ := b.order(b.store(), request("run-1"))
		b.no(b.store().Validate(ctx, r))
		err := b.until(b.store(), r, secrets.Ready)
		if err == nil || secrets.Elsewhere(err) || !strings.Contains(err.Error(), "No TXT records found for DNS challenge") || !strings.Contains(secrets.HintOf(err), "abandon this run") {
			t.Fatal(err)
		}
		if again, _ := b.order(b.store(), request("run-2")); again.Order == r.Order {
			t.Error("an order that failed was taken up")
		}
	})
	t.Run("the rate is limited", func(t *testing.T) {
		b := newBench(t, acmetest.Options{})
		b.ca.Instead = acmetest.Limited("7200")
		err := b.store().Order(ctx, request("run-1"))
		want := time.Now().Add(2 * time.Hour).UTC().Format("2006-01-02 15:")
		if err == nil || secrets.Elsewhere(err) || !strings.Contains(err.Error(), "limits the rate of orders until "+want) || !strings.Contains(err.Error(), "too many certificates already issued") {
			t.Error(err)
		}
		if b.ca.Orders() != 1 {
			t.Errorf("asked %d times", b.ca.Orders())
		}
		b.ca.Instead = acmetest.Limited("3")
		err = b.store().Order(ctx, request("run-1"))
		var e *secrets.Error
		if !secrets.Elsewhere(err) || !asError(err, &e) || e.After != 3*time.Second {
			t.Errorf("a short wait: %+v", err)
		}
	})
	t.Run("the answer is lost", func(t *testing.T) { // and nothing is sent twice before anybody looked
		b := newBench(t, acmetest.Options{})
		b.ca.Instead = func(_ http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "/order-plz") {
				panic(http.ErrAbortHandler)
			}
			return false
		}
		if err := b.store().Order(ctx, request("run-1")); !secrets.Elsewhere(err) || b.ca.Orders() != 1 {
			t.Errorf("%d orders: %v", b.ca.Orders(), err)
		}
	})
	t.Run("no external account", func(t *testing.T) {
		b := newBench(t, acmetest.Options{External: true})
		s := b.store()
		s.KeyID = ""
		_, err := s.Offer(ctx, "edge", []string{"www.shop.test"})
		if err == nil || secrets.Elsewhere(err) || !strings.Contains(err.Error(), "wants an external account") {
			t.Error(err)
		}
		s.KeyID, s.KeyMAC = "kid-1", secrets.NewValue([]byte("hunter2*hunter2"))
		if err := s.Order(ctx, request("run-1")); err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "HMAC key of the external account") {
			t.Error(err)
		}
		s.KeyMAC = secrets.NewValue([]byte("aHVudGVyMg"))
		if err := s.Order(ctx, request("run-1")); err == nil || secrets.Elsewhere(err) || strings.Contains(err.Error(), "aHVudGVyMg") {
			t.Error(err)
		}
		r, o := b.order(b.store(), request("run-1"))
		b.zone.put(o.Challenges)
		b.finish(r)
	})
	t.Run("the file is elsewhere", func(t *testing.T) {
		b := newBench(t, acmetest.Options{})
		r, _ := b.order(b.store(), request("run-1"))
		b.no(os.Rename(filepath.Join(b.dir, "issued.age"), filepath.Join(b.dir, "away")))
		for _, f := range []func(context.Context, secrets.Request) error{b.store().Validate, b.store().Finalize, b.store().Issue} {
			if err := f(ctx, r); err == nil || secrets.Elsewhere(err) || !strings.Contains(secrets.HintOf(err), "bring issued.age here") {
				t.Error(err)
			}
		}
	})
	t.Run("a directory that nobody vouches for", func(t *testing.T) {
		b := newBench(t, acmetest.Options{})
		s := b.store()
		s.CA = ""
		if _, err := s.Offer(ctx, "edge", []string{"www.shop.test"}); !secrets.Elsewhere(err) || !strings.Contains(err.Error(), "certificate signed by unknown authority") {
			t.Error(err)
		}
	})
}

func asError(err error, into **secrets.Error) bool {
	e, ok := err.(*secrets.Error) //nolint:errorlint // this very one
	*into = e
	return ok
}

// The chain is the one that leads to the root that is named.
func TestPreferredChain(t *testing.T) {
	b := newBench(t, acmetest.Options{Roots: 2})
	for n := range 3 {
		r := secrets.Request{Run: "run", Path: "edge" + string(rune('a'+n)), Names: []string{"www.shop.test"}}
		s := b.store()
		s.Chain, s.KeyType = b.ca.RootName(n), []string{"p256", "p384", "rsa2048"}[n]
		r, o := b.order(s, r)
		b.zone.put(o.Challenges)
		b.no(s.Validate(t.Context(), r))
		b.no(b.until(s, r, secrets.Ready))
		b.no(s.Finalize(t.Context(), r))
		b.no(b.until(s, r, secrets.Valid))
		b.no(s.Issue(t.Context(), r))
		c, err := s.Issued(t.Context(), r)
		b.no(err)
		if got := c.Chain[len(c.Chain)-1].Issuer.CommonName; got != s.Chain {
			t.Errorf("it leads to %q, wanted %q", got, s.Chain)
		}
	}
	if b.ca.Accounts() > 20 {
		t.Errorf("%d requests for an account", b.ca.Accounts())
	}
}

// What is sealed is given like that of any other backend.
func TestBackend(t *testing.T) {
	secretstest.Run(t, func(t *testing.T) secretstest.Subject {
		dir := t.TempDir()
		id, _, err := age.NewIdentity()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "id.txt"), id.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		sealed := &age.Store{File: "issued.age", Identity: "id.txt", Dir: dir}
		return secretstest.Subject{
			Backend: &Store{Directory: "https://127.0.0.1:1/dir", Sealed: sealed},
			Put: func(t *testing.T, path string, chain, key []byte) bool {
				return sealed.Put(t.Context(), secrets.Entry{Name: path, Chain: chain, Key: secrets.NewValue(key)}) == nil
			},
			Lose: func(t *testing.T) {
				if err := os.Remove(filepath.Join(dir, "issued.age")); err != nil {
					t.Fatal(err)
				}
			},
		}
	})
}
