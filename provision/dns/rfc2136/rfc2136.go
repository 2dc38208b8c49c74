// Package rfc2136 changes a zone by signed DNS UPDATE messages to its primary name server.
//
// A change is one message: its prerequisites state the set that was read before, so that the server
// itself refuses when someone else changed it meanwhile (RFC 2136 section 3.2; values are compared, TTLs are not).
package rfc2136

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/dns"
)

// Zone is one zone at its primary.
type Zone struct {
	zone   string // with the final dot
	server string // host:port
	key    string
	algo   string
	secret string // base64; lives as long as the process: miekg/dns wants a string
}

// timeout bounds one exchange with the primary.
const timeout = 10 * time.Second

// New gives the zone; nothing is sent.
func New(zone string, c provision.RFC2136) (*Zone, error) {
	z := &Zone{zone: mdns.Fqdn(zone), server: c.Server, key: mdns.Fqdn(c.KeyName), secret: string(c.Secret.Bytes())}
	if _, _, err := net.SplitHostPort(z.server); err != nil {
		z.server = net.JoinHostPort(z.server, "53")
	}
	if _, err := base64.StdEncoding.DecodeString(z.secret); err != nil {
		return nil, &provision.Error{What: "the TSIG secret is not base64", Hint: "take it as tsig-keygen or the key file has it"} // err would quote it
	}
	switch a := strings.TrimSuffix(strings.ToLower(c.Algorithm), "."); a {
	case "", "hmac-sha256":
		z.algo = mdns.HmacSHA256
	case "hmac-sha1", "hmac-sha224", "hmac-sha384", "hmac-sha512":
		z.algo = a + "."
	default:
		return nil, fmt.Errorf("TSIG algorithm %q is not known; use hmac-sha256, hmac-sha384 or hmac-sha512", c.Algorithm)
	}
	return z, nil
}

// Get asks the primary.
func (z *Zone) Get(ctx context.Context, name, typ string) (provision.RRset, error) {
	return dns.Ask(ctx, z.server, name, typ)
}

// Set sends one UPDATE with prerequisites.
func (z *Zone) Set(ctx context.Context, old, next provision.RRset) error {
	m, err := update(z.zone, old, next)
	if err != nil {
		return err
	}
	c := mdns.Client{Net: "tcp", Timeout: timeout}
	if z.key != "." {
		m.SetTsig(z.key, z.algo, 300, time.Now().Unix())
		c.TsigSecret = map[string]string{z.key: z.secret}
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	r, _, err := c.ExchangeContext(ctx, m, z.server)
	if err != nil {
		return &provision.Error{What: "the update of " + next.Name + " was not answered by " + z.server, Err: err, Class: classOf(err)}
	}
	switch r.Rcode {
	case mdns.RcodeSuccess:
		return nil
	case mdns.RcodeNXRrset, mdns.RcodeYXRrset, mdns.RcodeYXDomain, mdns.RcodeNameError:
		return fmt.Errorf("%s: %w", z.server, dns.ErrChanged)
	}
	e := &provision.Error{What: fmt.Sprintf("%s refused to update %s", z.server, next.Name), Said: mdns.RcodeToString[r.Rcode]}
	switch r.Rcode {
	case mdns.RcodeRefused, mdns.RcodeNotAuth:
		e.Hint = fmt.Sprintf("let key %s update this zone at the server (BIND: allow-update or update-policy), and compare both clocks", z.key)
	case mdns.RcodeServerFailure:
		e.Class = provision.Transient
	}
	return e
}

// classOf: a connection that was refused changed nothing; of anything later nobody knows.
func classOf(err error) provision.Class {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return provision.Transient
	}
	if errors.Is(err, mdns.ErrSig) || errors.Is(err, mdns.ErrTime) || errors.Is(err, mdns.ErrSecret) || errors.Is(err, mdns.ErrAuth) {
		return provision.Final
	}
	return provision.Unknown
}

// update builds the message: prerequisites from old, then the replacement.
func update(zone string, old, next provision.RRset) (*mdns.Msg, error) {
	m := new(mdns.Msg)
	m.SetUpdate(zone)
	was, err := records(old)
	if err != nil {
		return nil, err
	}
	will, err := records(next)
	if err != nil {
		return nil, err
	}
	head := &mdns.ANY{Hdr: mdns.RR_Header{Name: next.Name, Rrtype: mdns.StringToType[next.Type], Class: mdns.ClassINET}}
	if len(was) > 0 {
		m.Used(was)
	} else {
		m.RRsetNotUsed([]mdns.RR{head})
	}
	m.RemoveRRset([]mdns.RR{head})
	if len(will) > 0 {
		m.Insert(will)
	}
	return m, nil
}

func records(s provision.RRset) ([]mdns.RR, error) {
	out := make([]mdns.RR, 0, len(s.Values))
	for _, v := range s.Values {
		rr, err := mdns.NewRR(fmt.Sprintf("%s %d IN %s %s", s.Name, s.TTL, s.Type, v))
		if err != nil || rr == nil {
			return nil, fmt.Errorf("%q is no %s record for %s", v, s.Type, s.Name)
		}
		out = append(out, rr)
	}
	return out, nil
}

// Settled is always Done: an UPDATE is answered when it holds.
func (z *Zone) Settled(context.Context, string, string) (provision.Status, error) {
	return provision.Status{State: provision.Done}, nil
}

// NameServers asks the primary for the zone's NS records.
func (z *Zone) NameServers(ctx context.Context) ([]string, error) {
	set, err := dns.Ask(ctx, z.server, z.zone, "NS")
	if err != nil {
		return nil, err
	}
	if len(set.Values) == 0 {
		return nil, &provision.Error{What: z.server + " has no zone " + z.zone, Hint: "look at the zone's name and at server in the dns block"}
	}
	for i, v := range set.Values {
		set.Values[i] = strings.TrimSuffix(v, ".")
	}
	return set.Values, nil
}
