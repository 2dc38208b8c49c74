package acme

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"github.com/dripstat/failover/secrets"
)

// Order begins one: the key of the certificate is made here, and sealed with the order before Order returns. An order of
// before for the same names, of whichever run, that is still good is taken up instead: orders are counted.
func (s *Store) Order(ctx context.Context, r secrets.Request) error {
	ctx, c, err := s.call(ctx)
	if err != nil {
		return err
	}
	defer c.end(nil)
	account, err := s.account(ctx, c)
	if err != nil {
		return err
	}
	before, err := s.order(ctx, r.Path)
	if err != nil {
		return err
	}
	defer before.wipe()
	if before != nil && before.fits(s.Directory, r.Names) && !before.Issued && before.Account == account.Location {
		now, err := c.GetOrder(ctx, account, acme.Order{Location: before.URL})
		var p acme.Problem
		if err != nil && !errors.As(err, &p) {
			return c.failed(ctx, host(s.Directory), "orders", err)
		}
		if err == nil && now.Status != acme.StatusInvalid && (now.Expires.IsZero() || time.Until(now.Expires) > 10*time.Minute) {
			before.Run = r.Run
			return s.keep(ctx, r.Path, before)
		}
	}
	o := &order{Run: r.Run, Directory: s.Directory, Account: account.Location, Names: r.Names}
	defer o.wipe()
	if before != nil {
		o.Before = before.from()
	}
	if _, o.Key, err = secrets.NewKey(s.KeyType); err != nil {
		return err
	}
	var ids []acme.Identifier
	for _, n := range r.Names {
		ids = append(ids, acme.Identifier{Type: "dns", Value: n})
	}
	made, err := c.NewOrder(ctx, account, acme.Order{Identifiers: ids})
	if err != nil {
		return c.failed(ctx, host(s.Directory), "orders", err)
	}
	o.URL = made.Location
	if o.Challenges, err = s.challenges(ctx, c, account, made); err != nil {
		return err
	}
	return s.keep(ctx, r.Path, o)
}

// challenges gives what is to be found where: of names that are not proven already.
func (s *Store) challenges(ctx context.Context, c *call, account acme.Account, o acme.Order) (map[string][]string, error) {
	out := map[string][]string{}
	for _, n := range o.Identifiers {
		out[challengeName(n.Value)] = []string{}
	}
	for _, at := range o.Authorizations {
		a, err := c.GetAuthorization(ctx, account, at)
		if err != nil {
			return nil, c.failed(ctx, host(s.Directory), "authorizations", err)
		}
		if a.Status != acme.StatusPending {
			continue
		}
		ch, ok := dns01(a)
		if !ok {
			return nil, &secrets.Error{What: fmt.Sprintf("%s takes no DNS-01 proof of %s", host(s.Directory), a.Identifier.Value)}
		}
		name := challengeName(a.Identifier.Value)
		if v := `"` + ch.DNS01KeyAuthorization() + `"`; !slices.Contains(out[name], v) {
			out[name] = append(out[name], v)
		}
	}
	for _, v := range out {
		slices.Sort(v)
	}
	return out, nil
}

func dns01(a acme.Authorization) (acme.Challenge, bool) {
	i := slices.IndexFunc(a.Challenges, func(c acme.Challenge) bool { return c.Type == acme.ChallengeTypeDNS01 })
	if i < 0 {
		return acme.Challenge{}, false
	}
	return a.Challenges[i], true
}

// Ordered gives the order that is sealed for this run.
func (s *Store) Ordered(ctx context.Context, r secrets.Request) (secrets.Order, bool, error) {
	o, err := s.order(ctx, r.Path)
	if err != nil || o == nil {
		return secrets.Order{}, false, err
	}
	o.wipe()
	return secrets.Order{URL: o.URL, Challenges: o.Challenges}, o.Run == r.Run && o.fits(s.Directory, r.Names) && !o.Issued, nil
}

// at opens a conversation about the order of a request. The caller wipes the order and ends the call.
func (s *Store) at(ctx context.Context, r secrets.Request) (context.Context, *call, *order, acme.Account, acme.Order, error) {
	var account acme.Account
	var now acme.Order
	o, err := s.ours(ctx, r)
	if err != nil {
		return ctx, nil, nil, account, now, err
	}
	if account, err = s.known(ctx, o); err != nil {
		o.wipe()
		return ctx, nil, nil, account, now, err
	}
	ctx, c, err := s.call(ctx)
	if err != nil {
		o.wipe()
		return ctx, nil, nil, account, now, err
	}
	if now, err = c.GetOrder(ctx, account, acme.Order{Location: o.URL}); err != nil {
		err = c.failed(ctx, host(s.Directory), "orders", err)
		o.wipe()
		c.end(nil)
		return ctx, nil, nil, account, now, err
	}
	return ctx, c, o, account, now, nil
}

// Validate asks the authority to look at every challenge that it has not looked at.
func (s *Store) Validate(ctx context.Context, r secrets.Request) error {
	ctx, c, o, account, now, err := s.at(ctx, r)
	if err != nil {
		return err
	}
	defer c.end(nil)
	defer o.wipe()
	for _, at := range now.Authorizations {
		a, err := c.GetAuthorization(ctx, account, at)
		if err != nil {
			return c.failed(ctx, host(s.Directory), "authorizations", err)
		}
		if ch, ok := dns01(a); ok && a.Status == acme.StatusPending && ch.Status == acme.StatusPending {
			if _, err := c.InitiateChallenge(ctx, account, ch); err != nil {
				return c.failed(ctx, host(s.Directory), "validations", err)
			}
		}
	}
	return nil
}

// Finalize sends the request for the certificate. The chain is not waited for.
func (s *Store) Finalize(ctx context.Context, r secrets.Request) error {
	ctx, c, o, account, now, err := s.at(ctx, r)
	if err != nil {
		return err
	}
	defer c.end(nil)
	defer o.wipe()
	if now.Status != acme.StatusReady {
		return nil // what it is instead, Progress tells
	}
	key, err := signer(o.Key)
	if err != nil {
		return errors.New("the key that is sealed with the order does not parse")
	}
	req := &x509.CertificateRequest{DNSNames: o.Names}
	if len(o.Names[0]) <= 64 { // X.520's limit. Some that read certificates want a common name, Octavia among them; authorities without leave it out
		req.Subject.CommonName = o.Names[0]
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, req, key)
	if err != nil {
		return err
	}
	if now, err = c.FinalizeOrder(ctx, account, now, csr); err != nil && now.Status != acme.StatusProcessing && now.Status != acme.StatusInvalid {
		return c.failed(ctx, host(s.Directory), "certificates", err)
	}
	return nil
}

// Progress asks for the order, and where it waits for proof, for that.
func (s *Store) Progress(ctx context.Context, r secrets.Request) (secrets.Progress, error) {
	var p secrets.Progress
	ctx, c, o, account, now, err := s.at(ctx, r)
	if err != nil {
		return p, err
	}
	defer c.end(nil)
	o.wipe()
	p.Seen, p.After = "order "+now.Status, min(c.after, patience)
	switch now.Status {
	case acme.StatusReady:
		p.Stage = secrets.Ready
	case acme.StatusProcessing:
		p.Stage = secrets.Processing
	case acme.StatusValid:
		p.Stage = secrets.Valid
	case acme.StatusPending:
		return s.pending(ctx, c, account, now)
	default:
		return p, s.spent(ctx, c, account, now)
	}
	return p, nil
}

// pending looks how far the authority is with its own looking.
func (s *Store) pending(ctx context.Context, c *call, account acme.Account, o acme.Order) (secrets.Progress, error) {
	p := secrets.Progress{Stage: secrets.Validating, Seen: "order pending"}
	for _, at := range o.Authorizations {
		a, err := c.GetAuthorization(ctx, account, at)
		if err != nil {
			return p, c.failed(ctx, host(s.Directory), "authorizations", err)
		}
		p.After = max(p.After, min(c.after, patience))
		switch ch, _ := dns01(a); {
		case a.Status == acme.StatusValid:
		case a.Status != acme.StatusPending:
			return p, refused(host(s.Directory), a)
		case ch.Status == acme.StatusPending:
			p.Stage = secrets.Pending
		}
		p.Seen = a.Identifier.Value + " " + a.Status
	}
	return p, nil
}

// spent says why an order will never be more.
func (s *Store) spent(ctx context.Context, c *call, account acme.Account, o acme.Order) error {
	for _, at := range o.Authorizations {
		if a, err := c.GetAuthorization(ctx, account, at); err == nil && a.Status != acme.StatusValid && a.Status != acme.StatusPending {
			return refused(host(s.Directory), a)
		}
	}
	e := &secrets.Error{What: fmt.Sprintf("the order at %s is %s", host(s.Directory), o.Status), Hint: startAnew}
	if o.Error != nil {
		e.What += ": " + problem(*o.Error)
	}
	return e
}

const startAnew = "an order that has failed is over: abandon this run, mend what the authority names, and start a new one; authorities count failures by the hour"

func refused(by string, a acme.Authorization) error {
	e := &secrets.Error{What: fmt.Sprintf("%s does not take the proof of %s (%s)", by, a.Identifier.Value, a.Status), Hint: startAnew}
	for _, ch := range a.Challenges {
		if ch.Error != nil {
			e.What += ": " + problem(*ch.Error)
			break
		}
	}
	return e
}

// Issue takes the chain and seals it with its key. It is sealed before anybody judges it: what would not do would be the
// same the next time, and is not to be ordered in a loop.
func (s *Store) Issue(ctx context.Context, r secrets.Request) error {
	ctx, c, o, account, now, err := s.at(ctx, r)
	if err != nil {
		return err
	}
	defer c.end(nil)
	defer o.wipe()
	if o.Issued {
		return nil
	}
	if now.Certificate == "" {
		return &secrets.Error{Away: true, What: fmt.Sprintf("%s has no certificate of the order yet (%s)", host(s.Directory), now.Status)}
	}
	chains, err := c.GetCertificateChain(ctx, account, now.Certificate)
	if err != nil || len(chains) == 0 {
		return c.failed(ctx, host(s.Directory), "certificates", err)
	}
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: o.Key})
	defer clear(key)
	o.Issued = true
	kept := *o
	kept.Key = nil // it is with the certificate
	return s.keep(ctx, r.Path, &kept, secrets.Entry{Name: r.Path, Chain: s.preferred(chains), Key: secrets.NewValue(key)})
}

// preferred gives the chain that leads to the root that the plan names, else the authority's own choice.
func (s *Store) preferred(chains []acme.Certificate) []byte {
	for _, c := range chains {
		for rest := c.ChainPEM; s.Chain != ""; {
			var b *pem.Block
			if b, rest = pem.Decode(rest); b == nil {
				break
			}
			if x, err := x509.ParseCertificate(b.Bytes); err == nil && strings.EqualFold(x.Issuer.CommonName, s.Chain) {
				return c.ChainPEM
			}
		}
	}
	return chains[0].ChainPEM
}

// Issued gives the certificate of the order, once it is sealed.
func (s *Store) Issued(ctx context.Context, r secrets.Request) (*secrets.Certificate, error) {
	o, err := s.ours(ctx, r)
	if err != nil {
		return nil, err
	}
	defer o.wipe()
	if !o.Issued {
		return nil, nil
	}
	return s.Sealed.Certificate(ctx, r.Path)
}
