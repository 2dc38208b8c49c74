package rackspacetest_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/dns/clouddns"
)

// zone is the fixtures' domain.
func (r *replay) zone() *clouddns.Zone {
	r.t.Helper()
	sc, err := r.cloud(credentials()).CloudDNS(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return clouddns.New(sc, "example.com.")
}

func set(values ...string) provision.RRset {
	return provision.RRset{Name: "www.example.com.", Type: "A", TTL: 5771, Values: values}
}

func testDNS(t *testing.T) {
	const look, show, read, put, add, remove = "dns: look for a domain", "dns: show a domain", "dns: read records of a type", "dns: change records", "dns: add records", "dns: delete records"
	const job, list = "dns: ask for a job", "dns: list jobs"
	have := set("192.0.2.8", "192.0.2.9")
	get := func(t *testing.T, z *clouddns.Zone, want ...string) {
		t.Helper()
		got, err := z.Get(t.Context(), "www.example.com.", "A")
		if err != nil || !slices.Equal(got.Values, want) || len(want) > 0 && got.TTL != 5771 {
			t.Errorf("%+v %v, want %q", got, err, want)
		}
	}
	client(t, "read", func(t *testing.T, r *replay) {
		for _, answer := range []string{"one, its id a text", "one, its id a number"} {
			r.next(look, answer)
			get(t, r.zone(), have.Values...)
		}
		if q := r.last("GET", "/records"); q.URL.Path != "/v1.0/123456/domains/2725233/records" || q.Host != "dns.api.rackspacecloud.com" {
			t.Errorf("%s %s", q.Host, q.URL)
		}
		r.next(look, "nothing")
		r.next(read, "nothing")
		get(t, r.zone(), have.Values...)
		r.next(read, "a page that is not the last")
		get(t, r.zone(), have.Values...)
		if q := r.last("GET", "/records"); q.URL.Query().Get("offset") != "100" {
			t.Errorf("%s", q.URL)
		}
		r.next(read, "none")
		get(t, r.zone())
		r.next(look, "none")
		_, err := r.zone().Get(t.Context(), "www.example.com.", "A")
		fails(t, err, provision.Final, "no such domain in this account")
		for _, answer := range []string{"its id a text", "its id a number"} {
			r.next(show, answer)
			if ns, err := r.zone().NameServers(t.Context()); err != nil || !slices.Equal(ns, []string{"ns1.example.net", "ns2.example.net"}) {
				t.Errorf("%q %v", ns, err)
			}
		}
	})
	client(t, "readings are repeated", func(t *testing.T, r *replay) {
		for _, answer := range []string{"any: too many requests, by one name", "any: too many requests, by the other", "any: the token has ended", "any: broken", "any: away"} {
			r.next(look, answer)
			get(t, r.zone(), have.Values...)
		}
	})
	to := func(r *replay, next provision.RRset) error {
		next.TTL = 300
		return r.zone().Set(r.t.Context(), have, next)
	}
	moved := set("198.51.100.7", "198.51.100.8")
	client(t, "change", func(t *testing.T, r *replay) {
		r.next(job, "running")
		r.next(job, "an update that is done")
		fine(t, to(r, moved))
		if q := r.last("GET", "/status/3593a5e9-83af-4eb8-ae1a-25f07b747d80"); q.Host != "dns.api.rackspacecloud.com" || q.URL.Path != "/v1.0/123456/status/3593a5e9-83af-4eb8-ae1a-25f07b747d80" {
			t.Errorf("it was asked for by the callback's host: %s %s", q.Host, q.URL)
		}
		r.next(put, "done at once")
		fine(t, to(r, moved))
		if n := r.asked(job, "an update that is done"); n != 1 {
			t.Errorf("a job that was done at once was asked for: %d", n)
		}
		for answer, says := range map[string]string{"not valid": "Record TTL must be greater than or equal to 300", "a record that is gone": "Object not Found"} {
			r.next(put, answer)
			fails(t, to(r, moved), provision.Final, says)
		}
		r.next(job, "failed, as it is not valid")
		fails(t, to(r, moved), provision.Final, "Must provide a name for each record")
		r.next(job, "none") // it may have been done all the same
		fails(t, to(r, moved), provision.Unknown, "Object not Found")
		for answer, least := range map[string]time.Duration{"any: too many requests, by one name": time.Second, "any: too many requests, by the other": time.Second} {
			r.next(put, answer)
			if e := fails(t, to(r, moved), provision.Transient, "over a limit"); e.After < least || e.After > 3*time.Second {
				t.Errorf("%s: after %s", answer, e.After)
			}
		}
	})
	client(t, "add and delete", func(t *testing.T, r *replay) {
		r.next(job, "an update that is done")
		r.next("dns: ask for the job of an addition", "done")
		fine(t, to(r, set("198.51.100.7", "198.51.100.8", "198.51.100.9")))
		r.next(add, "over a limit of the domain")
		r.next(job, "an update that is done")
		fails(t, to(r, set("198.51.100.7", "198.51.100.8", "198.51.100.9")), provision.Final, "Limit of 500 records per domain")
		r.next(job, "an update that is done")
		r.next("dns: add records that are there", "accepted")
		r.next("dns: ask for the job of records that are there", "failed")
		fails(t, to(r, set("198.51.100.7", "198.51.100.8", "198.51.100.9")), provision.Final, "The object already exists")
		r.next(remove, "accepted")
		r.next("dns: ask for the job of a deletion", "done by half") // what is left is found and gone on with
		if e := fails(t, to(r, set()), provision.Transient, "One or more items could not be deleted"); !strings.Contains(e.Said, "A-6817755") {
			t.Errorf("%q does not name what is left", e.Said)
		}
		if q := r.last("DELETE", "/records"); !slices.Equal(q.URL.Query()["id"], []string{"A-6817754", "A-6817755"}) {
			t.Errorf("%s", q.URL)
		}
	})
	client(t, "jobs that run", func(t *testing.T, r *replay) {
		for answer, busy := range map[string]bool{"one that runs, by the sample": true, "one that runs, by the text": true, "none": false} {
			r.next(list, answer)
			got, err := r.zone().Busy(t.Context(), "www.example.com.", "A")
			if err != nil || (got != "") != busy {
				t.Errorf("%s: %q %v", answer, got, err)
			}
		}
	})
}
