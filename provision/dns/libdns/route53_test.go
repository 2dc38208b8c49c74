package libdns

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/dns"
)

// fakeRoute53 speaks the two calls of Route 53's REST-XML protocol that a run makes, for one hosted zone:
// ListResourceRecordSets and ChangeResourceRecordSets (API version 2013-04-01). No real one can be had
// without an account; it checks nothing of signatures, quotas or propagation.
type fakeRoute53 struct {
	mu   sync.Mutex
	sets map[string]recordSet // by name and type
	puts int
}

type recordSet struct {
	Name    string   `xml:"Name"`
	Type    string   `xml:"Type"`
	TTL     int      `xml:"TTL"`
	Records []record `xml:"ResourceRecords>ResourceRecord"`
}

type record struct {
	Value string `xml:"Value"`
}

func (f *fakeRoute53) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !strings.HasSuffix(strings.TrimSuffix(r.URL.Path, "/"), "/2013-04-01/hostedzone/Z123/rrset") {
		http.Error(w, `<ErrorResponse><Error><Type>Sender</Type><Code>NoSuchHostedZone</Code><Message>no such zone</Message></Error></ErrorResponse>`, 404)
		return
	}
	if r.Method == http.MethodGet {
		var out struct {
			XMLName xml.Name    `xml:"ListResourceRecordSetsResponse"`
			Sets    []recordSet `xml:"ResourceRecordSets>ResourceRecordSet"`
			Trunc   bool        `xml:"IsTruncated"`
			Max     int         `xml:"MaxItems"`
		}
		for _, s := range f.sets {
			out.Sets = append(out.Sets, s)
		}
		out.Max = 1000
		_ = xml.NewEncoder(w).Encode(out)
		return
	}
	var in struct {
		Changes []struct {
			Action string    `xml:"Action"`
			Set    recordSet `xml:"ResourceRecordSet"`
		} `xml:"ChangeBatch>Changes>Change"`
	}
	body, _ := io.ReadAll(r.Body)
	if err := xml.Unmarshal(body, &in); err != nil {
		http.Error(w, err.Error(), 400)
		return
	}
	for _, c := range in.Changes {
		key := c.Set.Name + "/" + c.Set.Type
		if c.Action == "DELETE" {
			delete(f.sets, key)
		} else {
			f.sets[key] = c.Set
		}
		f.puts++
	}
	_, _ = fmt.Fprint(w, `<ChangeResourceRecordSetsResponse><ChangeInfo><Id>/change/C1</Id><Status>PENDING</Status><SubmittedAt>2026-01-01T00:00:00Z</SubmittedAt></ChangeInfo></ChangeResourceRecordSetsResponse>`)
}

func atRoute53(t *testing.T) (*Zone, *fakeRoute53) {
	f := &fakeRoute53{sets: map[string]recordSet{
		"www.example.com./A":     {"www.example.com.", "A", 300, []record{{"192.0.2.2"}, {"192.0.2.1"}}},
		"example.com./NS":        {"example.com.", "NS", 172800, []record{{"ns1.example.net."}, {"ns2.example.net."}}},
		"mail.example.com./AAAA": {"mail.example.com.", "AAAA", 60, []record{{"2001:db8::1"}}},
	}}
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	for k, v := range map[string]string{"AWS_ENDPOINT_URL": srv.URL, "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "not-a-secret",
		"AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/nonexistent", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent", "AWS_PROFILE": ""} {
		t.Setenv(k, v)
	}
	return Route53("example.com", provision.Route53{ZoneID: "Z123"}), f
}

func TestRoute53(t *testing.T) {
	z, f := atRoute53(t)
	ctx := t.Context()
	old, err := z.Get(ctx, "www.example.com.", "A")
	if err != nil || old.TTL != 300 || !slices.Equal(old.Values, []string{"192.0.2.1", "192.0.2.2"}) {
		t.Fatal(old, err)
	}
	next := provision.RRset{Name: "www.example.com.", Type: "A", TTL: 60, Values: []string{"198.51.100.7", "198.51.100.8", "198.51.100.9"}}
	if err := z.Set(ctx, old, next); err != nil {
		t.Fatal(err)
	}
	if got, err := z.Get(ctx, "www.example.com.", "A"); err != nil || got.TTL != 60 || !slices.Equal(got.Values, next.Values) {
		t.Error("the whole set is replaced:", got, err)
	}
	if f.puts != 1 {
		t.Errorf("%d changes were sent for one set", f.puts)
	}
	if err := z.Set(ctx, old, next); !errors.Is(err, dns.ErrChanged) {
		t.Errorf("someone else's set was overwritten: %v", err)
	}
	none := provision.RRset{Name: "new.example.com.", Type: "A"}
	if got, err := z.Get(ctx, none.Name, "A"); err != nil || len(got.Values) != 0 {
		t.Error(got, err)
	}
	made := provision.RRset{Name: "new.example.com.", Type: "A", TTL: 60, Values: []string{"198.51.100.7"}}
	if err := z.Set(ctx, none, made); err != nil {
		t.Error(err)
	}
	if err := z.Set(ctx, made, none); err != nil {
		t.Error(err)
	}
	if got, err := z.Get(ctx, none.Name, "A"); err != nil || len(got.Values) != 0 {
		t.Error("it was not removed:", got, err)
	}
	if got, err := z.Get(ctx, "mail.example.com.", "AAAA"); err != nil || !slices.Equal(got.Values, []string{"2001:db8::1"}) {
		t.Error(got, err)
	}
}

func TestRoute53WithoutCredentials(t *testing.T) {
	z, _ := atRoute53(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	if _, err := z.Get(t.Context(), "www.example.com.", "A"); err == nil || !strings.Contains(err.Error(), "no credentials for Route 53") {
		t.Error(err)
	}
	z = Route53("example.com", provision.Route53{ZoneID: "Z123", Profile: "absent"})
	if _, err := z.Get(t.Context(), "www.example.com.", "A"); err == nil || !strings.Contains(err.Error(), "absent") {
		t.Error("a missing profile must be an error, not the end of the process:", err)
	}
}
