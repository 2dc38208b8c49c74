// Package acme has certificates issued by ACME (RFC 8555), by DNS-01.
//
// It turns a directory and names into an order, an order whose challenges somebody answers into a chain, and seals what must
// not be lost before it is needed: the account's key, the certificate's key with the order that it is for, and the chain.
// The DNS is not its affair. It never makes a second order where one of before is still good, never waits, and no error
// holds a key.
package acme

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dripstat/failover/secrets"
)

// Store is an authority as a backend of secrets.
type Store struct {
	Directory string // URL
	Email     string // who is told when something is wrong with the account; may be empty
	CA        string // path of a PEM file with the authority of the directory's own TLS; empty: the system's
	Dir       string // that CA is relative to
	KeyID     string // of an external account; empty: none
	KeyMAC    secrets.Value
	KeyType   string        // of the certificate: p256 (default), p384, rsa2048, rsa3072, rsa4096
	Chain     string        // common name of the root that the chain is to lead to, where there is a choice
	Renew     time.Duration // a certificate that lasts for less is replaced; 0: a third of its life
	Sealed    secrets.Sealed
	UserAgent string
	// Unseen says why the directory could not see the names' zone, of a rehearsal; "" where it can.
	Unseen string

	mu     sync.Mutex
	client *http.Client
}

// Certificate gives what was issued before and sealed.
func (s *Store) Certificate(ctx context.Context, path string) (*secrets.Certificate, error) {
	c, err := s.Sealed.Certificate(ctx, path)
	if err != nil && secrets.Elsewhere(err) {
		return nil, &secrets.Error{Away: true, What: "nothing that was issued is sealed here", Err: err, Hint: "bring " + s.Sealed.Name() + " here from the machine that has it"}
	}
	return c, err
}

// Stale says why what is sealed is not to be used again: another directory issued it, or as secrets.Stale says.
func (s *Store) Stale(ctx context.Context, path string, c *secrets.Certificate, names []string) (string, bool) {
	why, usable := secrets.Stale(c, names, time.Now(), s.Renew)
	if o, err := s.order(ctx, path); err == nil && o != nil {
		o.wipe()
		if from := o.from(); from != "" && from != s.Directory {
			return "is of another directory (" + host(from) + ")", false
		}
	}
	return why, usable
}

// Offer asks for the directory, and looks whether the result could be sealed.
func (s *Store) Offer(ctx context.Context, path string, names []string) (secrets.Offer, error) {
	o := secrets.Offer{By: host(s.Directory), Sealed: s.Sealed.Name()}
	if s.Unseen != "" {
		return o, &secrets.Error{Away: true, What: s.Unseen, Hint: "rehearse with a Pebble on this machine (docs/secrets/acme.md), or name a second place"}
	}
	for _, n := range names {
		if c := challengeName(n); !slices.Contains(o.Challenges, c) {
			o.Challenges = append(o.Challenges, c)
		}
	}
	if err := s.Sealed.Ready(ctx); err != nil {
		return o, &secrets.Error{Away: true, What: "what is issued could not be sealed", Err: err, Hint: secrets.HintOf(err)}
	}
	dir, err := s.directory(ctx)
	if err != nil {
		return o, err
	}
	o.Identities = dir.Meta.CAAIdentities
	if dir.Meta.ExternalAccountRequired && s.KeyID == "" {
		account, err := s.Sealed.Item(ctx, s.accountItem())
		if err != nil || account.IsZero() {
			return o, &secrets.Error{What: o.By + " wants an external account", Hint: "ask the authority for a key id and an HMAC key, and add: external_account { kid = \"...\", hmac = env(\"EAB_HMAC\") }, one attribute a line"}
		}
		account.Wipe()
	}
	if pending, err := s.order(ctx, path); err == nil && pending != nil && pending.fits(s.Directory, names) && !pending.Issued {
		pending.wipe()
		o.Remarks = append(o.Remarks, secrets.Remark{What: "an order of run " + short(pending.Run) + " is gone on with, if it is still good"})
	}
	return o, nil
}

// challengeName is where a name's challenge is answered: RFC 8555 section 8.4. A wildcard's is that of its base.
func challengeName(name string) string {
	return "_acme-challenge." + strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(name, "*."), ".")) + "."
}

func host(directory string) string {
	if u, err := url.Parse(directory); err == nil && u.Host != "" {
		return u.Host
	}
	return directory
}

func short(run string) string { return run[:min(7, len(run))] }

// order is what is sealed of one: everything that a process needs to go on with it.
type order struct {
	Run        string              `json:"run"`
	Directory  string              `json:"directory"`
	Account    string              `json:"account"` // URL
	URL        string              `json:"url"`
	Names      []string            `json:"names"`
	Challenges map[string][]string `json:"challenges"`
	Key        []byte              `json:"key"` // PKCS #8
	Issued     bool                `json:"issued"`
	Before     string              `json:"before,omitempty"` // directory of the certificate that is sealed until this one is issued
}

// from is the directory of the certificate that is sealed.
func (o *order) from() string {
	if o.Issued {
		return o.Directory
	}
	return o.Before
}

func (o *order) wipe() {
	if o != nil {
		clear(o.Key)
		o.Key = nil
	}
}

func (o *order) fits(directory string, names []string) bool {
	a, b := slices.Sorted(slices.Values(o.Names)), slices.Sorted(slices.Values(names))
	return o.Directory == directory && slices.Equal(a, b)
}

func orderItem(path string) string { return "acme order " + path }

func (s *Store) accountItem() string { return "acme account " + s.Directory }

// order gives what is sealed of the order for a path, nil where there is none.
func (s *Store) order(ctx context.Context, path string) (*order, error) {
	v, err := s.Sealed.Item(ctx, orderItem(path))
	if err != nil || v.IsZero() {
		return nil, err
	}
	defer v.Wipe()
	var o order
	if json.Unmarshal(v.Bytes(), &o) != nil {
		return nil, fmt.Errorf("%s: what is sealed of the order for %s cannot be read", s.Sealed.Name(), path)
	}
	return &o, nil
}

// entry is the order as a change of what is sealed.
func (o *order) entry(path string) (secrets.Entry, error) {
	b, err := json.Marshal(o)
	if err != nil {
		return secrets.Entry{}, fmt.Errorf("the order for %s cannot be sealed", path) // json's message may hold values
	}
	return secrets.Entry{Name: orderItem(path), Item: secrets.NewValue(b)}, nil
}

func (s *Store) keep(ctx context.Context, path string, o *order, more ...secrets.Entry) error {
	e, err := o.entry(path)
	if err != nil {
		return err
	}
	defer e.Item.Wipe()
	return s.Sealed.Put(ctx, append(more, e)...)
}

// ours gives the sealed order of a request; another one, or none, is an error: without its key the order is worth nothing.
func (s *Store) ours(ctx context.Context, r secrets.Request) (*order, error) {
	o, err := s.order(ctx, r.Path)
	switch {
	case err != nil:
		return nil, err
	case o == nil:
		return nil, &secrets.Error{What: "the key of the order " + r.Order + " is not sealed in " + s.Sealed.Name() + " on this machine",
			Hint: "bring " + s.Sealed.Name() + " here from the machine that made the order, then: failover resume. Where it is lost: failover abandon, and start anew"}
	case o.URL != r.Order:
		o.wipe()
		return nil, &secrets.Error{What: "another order is sealed for " + r.Path + " in " + s.Sealed.Name() + " by now (of run " + short(o.Run) + ")", Hint: "abandon this run and start a new one"}
	}
	return o, nil
}
