// Package issue turns a request for a certificate into one that is sealed on this machine.
//
// Its handlers ask an issuer of secrets, step by step: an order, its validation, its finalization, the chain. What is asked
// of DNS between them is not its affair. A key is never in what they are given or give, and no step of an order is
// taken again before it was looked at.
package issue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/secrets"
)

// Issuers gives the secrets blocks that issue, by name.
type Issuers func(store string) (secrets.Issuer, error)

// Judge says what is wrong with a certificate of the plan, as of one that was fetched.
type Judge func(certificate string, c *secrets.Certificate) error

// args are those of all kinds of this package.
type args struct {
	Certificate string   `json:"certificate"`
	Store       string   `json:"store"`
	Path        string   `json:"path"`
	Names       []string `json:"names"`
	Run         string   `json:"run"`
	Order       string   `json:"order"`
}

func (i Issuers) open(in provision.Values) (args, secrets.Issuer, secrets.Request, error) {
	var a args
	if err := in.Decode(&a); err != nil {
		return a, nil, secrets.Request{}, err
	}
	s, err := i(a.Store)
	return a, s, secrets.Request{Run: a.Run, Path: a.Path, Names: a.Names, Order: a.Order}, err
}

func (i Issuers) order(in provision.Values) (secrets.Orderer, secrets.Request, error) {
	a, s, r, err := i.open(in)
	if err != nil {
		return nil, r, err
	}
	o, ok := s.(secrets.Orderer)
	if !ok {
		return nil, r, &provision.Error{What: fmt.Sprintf("secrets.%s takes no orders any more", a.Store), Hint: "put the plan's block back as it was when the run began, or abandon the run"}
	}
	return o, r, nil
}

// send sends one request of an order; without an answer it may have come about.
func (i Issuers) send(ctx context.Context, in provision.Values, request func(secrets.Orderer, context.Context, secrets.Request) error) error {
	s, r, err := i.order(in)
	if err != nil {
		return err
	}
	return classed(request(s, ctx, r), provision.Unknown)
}

// classed says what the engine may do about an error of an issuer. without is the class of one that says nothing of the
// outcome.
func classed(err error, without provision.Class) error {
	if err == nil {
		return nil
	}
	var e *secrets.Error
	out := &provision.Error{Err: err, Hint: secrets.HintOf(err), Class: provision.Final}
	if secrets.Elsewhere(err) {
		out.Class = without
	}
	if errors.As(err, &e) && e.After > 0 { // it said when to come back: it did nothing
		out.Class, out.After = provision.Transient, e.After
	}
	out.What, out.Err = err.Error(), nil
	return out
}

// Order performs certificate.order.
type Order struct{ Issuers Issuers }

// Check is Done once an order of this run is sealed.
func (h Order) Check(ctx context.Context, _ provision.Step, in provision.Values) (provision.Status, error) {
	s, r, err := h.Issuers.order(in)
	if err != nil {
		return provision.Status{}, err
	}
	o, ok, err := s.Ordered(ctx, r)
	if err != nil || !ok {
		return provision.Status{State: provision.Absent}, classed(err, provision.Final)
	}
	out := provision.Values{"order": o.URL}
	for name, values := range o.Challenges {
		out[name] = append([]string{}, values...) // a list even where it is empty
	}
	return provision.Status{State: provision.Done, Out: out}, nil
}

// Do orders.
func (h Order) Do(ctx context.Context, _ provision.Step, in provision.Values) error {
	return h.Issuers.send(ctx, in, secrets.Orderer.Order)
}

// Validate performs certificate.validate.
type Validate struct{ Issuers Issuers }

// Check asks the authority how far it is.
func (h Validate) Check(ctx context.Context, _ provision.Step, in provision.Values) (provision.Status, error) {
	return h.Issuers.progress(ctx, in, secrets.Pending, secrets.Validating)
}

// Do asks it to look at the challenges.
func (h Validate) Do(ctx context.Context, _ provision.Step, in provision.Values) error {
	return h.Issuers.send(ctx, in, secrets.Orderer.Validate)
}

// Finalize performs certificate.finalize.
type Finalize struct{ Issuers Issuers }

// Check asks the authority how far it is.
func (h Finalize) Check(ctx context.Context, _ provision.Step, in provision.Values) (provision.Status, error) {
	return h.Issuers.progress(ctx, in, secrets.Ready, secrets.Processing)
}

// Do sends the request that the key is named in.
func (h Finalize) Do(ctx context.Context, _ provision.Step, in provision.Values) error {
	return h.Issuers.send(ctx, in, secrets.Orderer.Finalize)
}

// progress is Absent at the stage that a Do leads out of, Working at the one that it leads into, Done beyond.
func (i Issuers) progress(ctx context.Context, in provision.Values, absent, working secrets.Stage) (provision.Status, error) {
	s, r, err := i.order(in)
	if err != nil {
		return provision.Status{}, err
	}
	p, err := s.Progress(ctx, r)
	st := provision.Status{Seen: p.Seen, Again: p.After}
	switch {
	case err != nil:
		return st, classed(err, provision.Transient)
	case p.Stage > working:
		st.State = provision.Done
	case p.Stage == working:
		st.State = provision.Working
	case p.Stage == absent:
		st.State = provision.Absent
	default:
		return st, &provision.Error{What: "the order is back at where it was: " + p.Seen, Class: provision.Final}
	}
	return st, nil
}

// Issue performs certificate.issue.
type Issue struct {
	Issuers Issuers
	Judge   Judge
	Sealed  func(store string) string // the file, for people
}

// Check is Done once the certificate of this very request is sealed, and would do.
func (h Issue) Check(ctx context.Context, _ provision.Step, in provision.Values) (provision.Status, error) {
	a, s, r, err := h.Issuers.open(in)
	if err != nil {
		return provision.Status{}, err
	}
	c, err := s.Issued(ctx, r)
	if err != nil || c == nil {
		return provision.Status{State: provision.Absent}, classed(err, provision.Final)
	}
	defer c.Key().Wipe()
	if err := h.Judge(a.Certificate, c); err != nil {
		return provision.Status{}, err
	}
	return provision.Status{State: provision.Done, Out: provision.Values{"fingerprint": c.Fingerprint(), "not_after": c.Leaf.NotAfter.UTC().Format(time.RFC3339),
		"sealed": h.Sealed(a.Store)}}, nil
}

// Do takes the certificate and seals it.
func (h Issue) Do(ctx context.Context, _ provision.Step, in provision.Values) error {
	_, s, r, err := h.Issuers.open(in)
	if err != nil {
		return err
	}
	return classed(s.Issue(ctx, r), provision.Unknown)
}
