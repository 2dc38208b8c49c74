// Package libdns lets any provider of the libdns family stand behind dns.Zone.
//
// libdns knows no prerequisites: the set is read and compared immediately before it is replaced, which
// leaves a moment in which someone else's change would be overwritten. Designate and RFC 2136 have
// adapters of their own; RFC 2136's is free of that moment.
package libdns

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/libdns/libdns"
	"github.com/libdns/route53"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/dns"
)

// Provider is what the adapter needs of a libdns provider: SetRecords replaces whole RRsets.
type Provider interface {
	libdns.RecordGetter
	libdns.RecordSetter
	libdns.RecordDeleter
}

// Zone is one zone at a libdns provider.
type Zone struct {
	zone     string // with the final dot
	provider Provider
	// check, where there is one, must give nil before the provider is used.
	check   func(ctx context.Context) error
	mu      sync.Mutex
	checked bool
}

// usable runs the check until it was passed once.
func (z *Zone) usable(ctx context.Context) error {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.check == nil || z.checked {
		return nil
	}
	err := z.check(ctx)
	z.checked = err == nil
	return err
}

// New gives the zone; nothing is sent.
func New(zone string, p Provider) *Zone {
	return &Zone{zone: strings.TrimSuffix(zone, ".") + ".", provider: p}
}

// Route53 gives a zone at Amazon, with credentials from its usual environment and files.
func Route53(zone string, c provision.Route53) *Zone {
	z := New(zone, &route53.Provider{HostedZoneID: c.ZoneID, Profile: c.Profile, SkipRoute53SyncOnDelete: true})
	z.check = func(ctx context.Context) error {
		// libdns/route53 v1.6.2 ends the process where this configuration does not load (client.go, init): it is
		// tried here first, so that a missing profile is a finding.
		var opts []func(*config.LoadOptions) error
		if c.Profile != "" {
			opts = append(opts, config.WithSharedConfigProfile(c.Profile))
		}
		cfg, err := config.LoadDefaultConfig(ctx, opts...)
		if err == nil {
			_, err = cfg.Credentials.Retrieve(ctx)
		}
		if err != nil {
			return &provision.Error{What: "there are no credentials for Route 53", Err: err,
				Hint: "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile: route53 { profile = ... }"}
		}
		return nil
	}
	return z
}

// Get reads the zone and picks the set.
func (z *Zone) Get(ctx context.Context, name, typ string) (provision.RRset, error) {
	set := provision.RRset{Name: name, Type: typ}
	if err := z.usable(ctx); err != nil {
		return set, err
	}
	recs, err := z.provider.GetRecords(ctx, z.zone)
	if err != nil {
		return set, z.failed("reading", err)
	}
	rel := libdns.RelativeName(name, z.zone)
	for _, r := range recs {
		rr := r.RR()
		if !strings.EqualFold(rr.Name, rel) || rr.Type != typ {
			continue
		}
		set.TTL = int(rr.TTL / time.Second)
		set.Values = append(set.Values, presented(typ, rr.Data))
	}
	slices.Sort(set.Values)
	return set, nil
}

// Set compares, then replaces the whole set in one call of the provider.
func (z *Zone) Set(ctx context.Context, old, next provision.RRset) error {
	have, err := z.Get(ctx, next.Name, next.Type)
	if err != nil {
		return err
	}
	if !dns.Same(have.Values, old.Values) || len(old.Values) > 0 && have.TTL != old.TTL {
		return dns.ErrChanged
	}
	if len(next.Values) == 0 {
		_, err = z.provider.DeleteRecords(ctx, z.zone, z.records(old))
	} else {
		_, err = z.provider.SetRecords(ctx, z.zone, z.records(next))
	}
	if err != nil {
		e := z.failed("changing", err)
		e.Class = provision.Unknown
		return e
	}
	return nil
}

func (z *Zone) records(s provision.RRset) []libdns.Record {
	out := make([]libdns.Record, 0, len(s.Values))
	for _, v := range s.Values {
		rr := libdns.RR{Name: libdns.RelativeName(s.Name, z.zone), Type: s.Type, TTL: time.Duration(s.TTL) * time.Second, Data: bare(s.Type, v)}
		if r, err := rr.Parse(); err == nil {
			out = append(out, r)
		} else {
			out = append(out, rr)
		}
	}
	return out
}

// presented gives a value as zone files have it. libdns keeps the text of a TXT record bare
// (https://pkg.go.dev/github.com/libdns/libdns#TXT), all others of ours quote it.
func presented(typ, data string) string {
	if typ != "TXT" {
		return data
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(data) + `"`
}

func bare(typ, value string) string {
	if typ != "TXT" {
		return value
	}
	return strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(strings.TrimSuffix(strings.TrimPrefix(value, `"`), `"`))
}

func (z *Zone) failed(verb string, err error) *provision.Error {
	return &provision.Error{What: fmt.Sprintf("%s zone %s failed", verb, strings.TrimSuffix(z.zone, ".")), Err: err, Class: provision.Transient}
}

// Settled is always Done: libdns says nothing about it, the name servers are asked.
func (z *Zone) Settled(context.Context, string, string) (provision.Status, error) {
	return provision.Status{State: provision.Done}, nil
}

// NameServers asks the system's resolver for the zone's NS records.
func (z *Zone) NameServers(ctx context.Context) ([]string, error) {
	ns, err := net.DefaultResolver.LookupNS(ctx, z.zone)
	if err != nil {
		return nil, z.failed("looking up the name servers of", err)
	}
	out := make([]string, len(ns))
	for i, n := range ns {
		out[i] = strings.TrimSuffix(n.Host, ".")
	}
	return out, nil
}
