package sandbox

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

type recordInput struct {
	ID, Name, Type, Data, Comment string
	TTL                           *int
	Priority                      *int
}

// check is what the service says of a record at once, before there is a job.
func (in recordInput) check(z *zone, kind string) string {
	switch {
	case in.TTL != nil && *in.TTL < 300:
		return "validation: Record TTL must be greater than or equal to 300"
	case in.Name != "" && !dns.IsSubDomain(z.name, fqdn(in.Name)):
		return "validation: Record name is not in the domain"
	case len(in.Comment) > 160:
		return "validation: Comment must be 160 characters or less"
	}
	if in.Data != "" && (kind == "A" || kind == "AAAA" || kind == "CNAME") {
		data := in.Data
		if kind == "CNAME" {
			data = fqdn(data)
		}
		if _, err := canonical(rrKey{z.name, kind}, 300, []string{data}); err != nil {
			return "validation: Record data is invalid for type " + kind
		}
	}
	return ""
}

func recordAdd(k *call) (int, any) {
	z, status, val := k.domain()
	if z == nil {
		return status, val
	}
	var in struct{ Records []recordInput }
	if k.decode(&in) != nil || len(in.Records) == 0 || len(in.Records) > 100 {
		return k.err(400, "validation: Records are required")
	}
	for _, r := range in.Records {
		if r.Name == "" || r.Type == "" || r.Data == "" {
			return k.err(400, "validation: Record name, type and data are required")
		}
		if bad := r.check(z, r.Type); bad != "" {
			return k.err(400, "%s", bad)
		}
	}
	return k.accept(z, func(now time.Time) (any, *dnsFail) {
		var made []*dnsRecord
		for _, r := range in.Records {
			for _, have := range slices.Concat(z.records, made) {
				same := strings.EqualFold(have.name, r.Name)
				if same && have.kind == r.Type && have.data == r.Data || same && (have.kind == "CNAME") != (r.Type == "CNAME") {
					return nil, &dnsFail{Message: "Item already exists", Code: 409, Details: fmt.Sprintf("The record %s %s is in conflict with one that exists", r.Type, r.Name)}
				}
			}
			ttl := z.ttl
			if r.TTL != nil {
				ttl = *r.TTL
			}
			n := k.c.newRecord(r.Name, r.Type, r.Data, ttl, now)
			n.comment = r.Comment
			made = append(made, n)
		}
		views := []obj{}
		z.records = append(z.records, made...)
		for _, r := range made {
			views = append(views, k.recordView(r))
			k.c.publish(z, rrKey{fqdn(r.name), r.kind}, now)
		}
		return obj{"records": views}, nil
	})
}

// recordPut changes one or many, all or none. Name and type cannot change.
func recordPut(k *call) (int, any) {
	z, status, val := k.domain()
	if z == nil {
		return status, val
	}
	var in struct{ Records []recordInput }
	if id := k.vars["record"]; id != "" {
		var one recordInput
		if k.decode(&one) != nil {
			return k.err(400, "validation: Record is required")
		}
		one.ID = id
		in.Records = []recordInput{one}
	} else if k.decode(&in) != nil || len(in.Records) == 0 || len(in.Records) > 100 {
		return k.err(400, "validation: Records are required")
	}
	for _, r := range in.Records {
		have := z.record(r.ID)
		if have == nil {
			return k.err(404, "Record %s does not exist", r.ID)
		}
		if r.Name == "" || !strings.EqualFold(r.Name, have.name) {
			return k.err(400, "validation: Record name cannot be changed")
		}
		if bad := r.check(z, have.kind); bad != "" {
			return k.err(400, "%s", bad)
		}
	}
	return k.accept(z, func(now time.Time) (any, *dnsFail) {
		for _, r := range in.Records {
			if z.record(r.ID) == nil {
				return nil, &dnsFail{Message: "Object not Found.", Code: 404, Details: "Record " + r.ID + " does not exist"}
			}
		}
		keys := map[rrKey]bool{}
		for _, r := range in.Records {
			have := z.record(r.ID)
			if r.Data != "" {
				have.data = r.Data
			}
			if r.TTL != nil {
				have.ttl = *r.TTL
			}
			if r.Priority != nil {
				have.priority = *r.Priority
			}
			have.comment, have.updated = r.Comment, now
			keys[rrKey{fqdn(have.name), have.kind}] = true
		}
		for key := range keys {
			k.c.publish(z, key, now)
		}
		return nil, nil // an update's job has no response
	})
}

// recordDelete is not transactional: with dns-delete-half the first record of several goes and the job fails.
func recordDelete(k *call) (int, any) {
	z, status, val := k.domain()
	if z == nil {
		return status, val
	}
	ids := k.URL.Query()["id"]
	if id := k.vars["record"]; id != "" {
		ids = []string{id}
	}
	if len(ids) == 0 {
		return k.err(400, "validation: Record ids are required")
	}
	half := len(ids) > 1 && k.c.take("dns-delete-half")
	return k.accept(z, func(now time.Time) (any, *dnsFail) {
		for i, id := range ids {
			if half && i > 0 {
				return nil, undeleted(z, id)
			}
			r := z.record(id)
			if r == nil {
				return nil, undeleted(z, id)
			}
			z.records = slices.DeleteFunc(z.records, func(x *dnsRecord) bool { return x == r })
			k.c.publish(z, rrKey{fqdn(r.name), r.kind}, now)
		}
		return nil, nil
	})
}
