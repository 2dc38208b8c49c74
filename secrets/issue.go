package secrets

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"strings"
	"time"
)

// Issuer is a Backend that can have a certificate made: an authority. Certificate gives what it had made before, which it
// keeps sealed. Offer changes nothing; Issue and what an Orderer does beside it change something elsewhere, and seal what
// they must not lose before they return.
//
// An error that Elsewhere is true of says nothing of the outcome; every other one is an answer, and asking again would
// give the same.
type Issuer interface {
	Backend
	// Stale says why what is kept at path is to be replaced, "" where it will do; usable, whether it would do tonight all
	// the same.
	Stale(ctx context.Context, path string, c *Certificate, names []string) (why string, usable bool)
	// Offer says how a certificate would be issued, or why none would be, as far as reading tells.
	Offer(ctx context.Context, path string, names []string) (Offer, error)
	// Issue makes the certificate of a request and seals it. An Orderer's order must be finalized before.
	Issue(ctx context.Context, r Request) error
	// Issued gives the certificate that Issue has sealed for this very request, nil where there is none. It asks nobody.
	Issued(ctx context.Context, r Request) (*Certificate, error)
}

// Orderer is an Issuer that wants to see first that the names are ours: ACME (RFC 8555). Each of its steps can be asked
// for how far it is, and begun again when nobody knows.
type Orderer interface {
	Issuer
	// Order begins an order, or takes up one of before that is still good for these names.
	Order(ctx context.Context, r Request) error
	// Ordered gives what is sealed of the order of this run; false where there is none. It asks nobody.
	Ordered(ctx context.Context, r Request) (Order, bool, error)
	// Validate asks the authority to look at the challenges.
	Validate(ctx context.Context, r Request) error
	// Finalize asks it for the certificate.
	Finalize(ctx context.Context, r Request) error
	// Progress asks how far the order is. An order that will never be more is an error.
	Progress(ctx context.Context, r Request) (Progress, error)
}

// Request is one certificate of one run.
type Request struct {
	Run   string
	Path  string // where it is sealed
	Names []string
	Order string // the order's URL, of an Orderer
}

// Offer is what an Issuer would do. It holds no secret.
type Offer struct {
	By         string   // who issues, for people: "acme-v02.api.letsencrypt.org"
	Sealed     string   // the file that it is sealed into, as the plan names it
	Why        string   // what is wrong with the one that is kept; "" where there is none
	Challenges []string // names at which it asks for a proof, with the final dot
	Identities []string // by which CAA records name it (RFC 8659); empty: it does not say
	Remarks    []Remark
}

// Order is one at an Orderer: its URL, and the values to be found at the names of Offer.Challenges, in presentation form. A
// name that needs no proof has none.
type Order struct {
	URL        string
	Challenges map[string][]string
}

// Stage is how far an order is.
type Stage int

// The stages of an order, in turn.
const (
	Pending    Stage = iota // the challenges are not looked at yet
	Validating              // they are
	Ready                   // proven, and not finalized yet
	Processing              // the certificate is being made
	Valid                   // it is there
)

// Progress is how far an order is.
type Progress struct {
	Stage Stage
	Seen  string        // the authority's own words
	After time.Duration // when it wants to be asked again; 0: it did not say
}

// Entry is one change of a Sealed: a certificate, or an item.
type Entry struct {
	Name  string
	Chain []byte // PEM, of a certificate
	Key   Value  // PEM, of a certificate
	Item  Value  // of an item
}

// Sealed keeps what an Issuer makes, on this machine, sealed: certificates, and items beside them (an account's key, an order
// with the key that belongs to no certificate yet).
type Sealed interface {
	Backend
	// Item gives a copy of one; the zero Value where there is none, or no file yet.
	Item(ctx context.Context, name string) (Value, error)
	// Put makes all changes in one step, durably; it makes the file where there is none.
	Put(ctx context.Context, changes ...Entry) error
	// Ready says whether Put would work, as far as reading tells.
	Ready(ctx context.Context) error
	// Name is the file, as the plan names it.
	Name() string
}

// ask lets an Issuer offer a certificate where what it keeps will not do.
func (t *Tried) ask(ctx context.Context, issuer Issuer, r Rung) {
	if t.Err != nil && !Elsewhere(t.Err) { // what is sealed there was changed: that is a person's to look at
		return
	}
	why, usable := "", false
	if t.Err == nil {
		if why, usable = issuer.Stale(ctx, r.Ref.Path, t.Certificate, r.Names); why == "" {
			return
		}
	}
	offer, err := issuer.Offer(ctx, r.Ref.Path, r.Names)
	switch {
	case err == nil:
		if t.Certificate != nil {
			t.Certificate.Key().Wipe()
		}
		offer.Why = why
		*t = Tried{Ref: t.Ref, Offer: &offer, Remarks: offer.Remarks}
	case usable:
		t.Remarks = append(t.Remarks, Remark{Warn: true, What: fmt.Sprintf("the one that is kept %s, and no other can be issued now: %s", why, err), Hint: HintOf(err)})
	default:
		if t.Certificate != nil {
			t.Certificate.Key().Wipe()
		}
		*t = Tried{Ref: t.Ref, Err: err}
	}
}

// Stale is what every Issuer holds against a certificate that it made before: it is to last for another part of its life,
// by default a third (which is when ACME clients renew: https://letsencrypt.org/docs/integration-guide/#when-to-renew), and to
// cover the names. Its chain is not judged: another one would have the same.
func Stale(c *Certificate, names []string, now time.Time, renew time.Duration) (why string, usable bool) {
	var missing []string
	for _, n := range names {
		if c.Leaf.VerifyHostname(n) != nil {
			missing = append(missing, n)
		}
	}
	if renew <= 0 {
		renew = c.Leaf.NotAfter.Sub(c.Leaf.NotBefore) / 3
	}
	left := c.Leaf.NotAfter.Sub(now)
	switch {
	case len(missing) > 0:
		return "does not cover " + strings.Join(missing, ", "), false
	case left <= 0:
		return "has expired", false
	case left < renew:
		return fmt.Sprintf("expires in %s", span(left)), true
	}
	return "", true
}

// NewKey makes the key of a certificate that is to be issued, and gives it as PKCS #8 too. kind is p256 (or ""), p384, rsa2048,
// rsa3072 or rsa4096.
func NewKey(kind string) (crypto.Signer, []byte, error) {
	var k crypto.Signer
	var err error
	switch kind {
	case "", "p256":
		k, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "p384":
		k, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "rsa2048", "rsa3072", "rsa4096":
		k, err = rsa.GenerateKey(rand.Reader, map[string]int{"rsa2048": 2048, "rsa3072": 3072, "rsa4096": 4096}[kind])
	default:
		err = fmt.Errorf("%q is no type of key", kind)
	}
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(k)
	return k, der, err
}

func span(d time.Duration) string {
	if d >= 48*time.Hour {
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	}
	return d.Round(time.Minute).String()
}
