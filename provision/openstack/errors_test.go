package openstack

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/dripstat/failover/provision"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		status        int
		header, value string
		date          string
		want          time.Duration
		ok            bool
	}{
		{429, "Retry-After", "7", "", 7 * time.Second, true},
		{413, "Retry-After", "1.5", "", 1500 * time.Millisecond, true},
		{503, "Reply-After", "2", "", 2 * time.Second, true},
		{429, "Retry-After", "Sun, 01 Mar 2026 03:00:09 GMT", "", 9 * time.Second, true},
		{429, "Retry-After", "Sun, 01 Mar 2026 03:00:09 GMT", "Sun, 01 Mar 2026 03:00:05 GMT", 4 * time.Second, true},
		{429, "Retry-After", "2026-03-01T03:00:03Z", "", 3 * time.Second, true},
		{429, "Retry-After", "2026-03-01T02:00:00.5", "", 0, true},
		{429, "Retry-After", "soon", "", 0, false},
		{429, "", "", "", 0, false},
		{429, "Retry-After", "-4", "", 0, false},
		{200, "Retry-After", "7", "", 0, false},
	} {
		h := http.Header{}
		if tt.header != "" {
			h.Set(tt.header, tt.value)
		}
		if tt.date != "" {
			h.Set("Date", tt.date)
		}
		got, ok := retryAfter(&http.Response{StatusCode: tt.status, Header: h}, now)
		if got != tt.want || ok != tt.ok {
			t.Errorf("%d %s: %s: %v %v", tt.status, tt.header, tt.value, got, ok)
		}
	}
}

// Rackspace's clouds answer 413 to both: what passes names its end, what does not has none.
func TestBothKindsOf413(t *testing.T) {
	for name, tt := range map[string]struct {
		header http.Header
		body   string
		class  provision.Class
		says   string
	}{
		"a rate":          {http.Header{"Retry-After": {"3"}}, `{"overLimit":{"code":413,"message":"OverLimit Retry...","retryAt":"2010-08-01T00:00:00Z"}}`, provision.Transient, "too many requests"},
		"a rate, by date": {http.Header{"Reply-After": {"2126-03-01T03:00:09Z"}}, ``, provision.Transient, "too many requests"},
		"a limit":         {nil, `{"overLimit":{"code":413,"message":"Quota exceeded for ram"}}`, provision.Final, "over quota"},
		"a limit of DNS":  {nil, `{"message":"Your account is currently over the limit so your request could not be processed.","code":413,"details":"Limit of 500 records per domain has been reached."}`, provision.Final, "over the account's limit"},
		"no wait":         {http.Header{"Retry-After": {"0"}}, ``, provision.Final, "over the account's limit"},
	} {
		err := explain("nova", http.MethodPost, "create server a", gophercloud.ErrUnexpectedResponseCode{Actual: 413, ResponseHeader: tt.header, Body: []byte(tt.body)})
		if provision.ClassOf(err) != tt.class || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, class %v", name, err, provision.ClassOf(err))
		}
	}
}

func TestSaid(t *testing.T) {
	for _, tt := range []struct{ body, want string }{
		{`{"badRequest": {"code": 400, "message": "Invalid key_name provided."}}`, "nova: Invalid key_name provided."},
		{`{"NeutronError": {"type": "OverQuota", "message": "Quota exceeded for resources: ['port'].", "detail": ""}}`, "nova: Quota exceeded for resources: ['port']."},
		{`{"error": {"code": 401, "title": "Unauthorized", "message": "The request requires authentication."}}`, "nova: The request requires authentication."},
		{`{"code": 404, "type": "zone_not_found", "message": "Could not find Zone"}`, "nova: Could not find Zone"},
		{`<html><head><title>503</title></head><body><h1>Service Unavailable</h1> No server is available.</body></html>`, "nova: Service Unavailable No server is available."},
		{`{"x": {"message": "user_data. Value: ` + strings.Repeat("QUJD", 30) + ` is too long"}}`, "nova: user_data. Value: (…) is too long"},
		{`{"x": {"message": "adminPass: 'hunter2' refused"}}`, "nova: adminPass: (…)' refused"},
		{``, ""},
		{`{}`, ""},
	} {
		if got := said("nova", []byte(tt.body)); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
	if got := said("nova", []byte(`{"x": {"message": "`+strings.Repeat("long words ", 100)+`"}}`)); len([]rune(got)) > maxSaid+len("nova: ") {
		t.Errorf("%d runes", len([]rune(got)))
	}
}

func TestRules(t *testing.T) {
	id := "g"
	n := func(rs []rule) (out []string) {
		for _, r := range rs {
			out = append(out, r.key())
		}
		return out
	}
	got := n(groupRule{"tcp", 443, 443, "any"}.expand(id))
	got = append(got, n(groupRule{"icmp", 0, 0, "::/0"}.expand(id))...)
	got = append(got, n(groupRule{"tcp", 22, 22, "192.0.2.7"}.expand(id))...)
	got = append(got, n(groupRule{"tcp", 22, 22, "2001:DB8::1/64"}.expand(id))...)
	want := "ingressIPv4tcp443 443| ingressIPv6tcp443 443| ingressIPv6icmp0 0| ingressIPv4tcp22 22192.0.2.7/32| ingressIPv6tcp22 222001:db8::/64"
	squash := func(s string) string { return strings.NewReplacer("|", "", " ", "").Replace(s) }
	if squash(strings.Join(got, " ")) != squash(want) {
		t.Errorf("%q", got)
	}
	proto, lo := "ipv6-icmp", 443
	g := group{ID: id, Rules: []rule{{Direction: "ingress", Ethertype: "IPv6", Protocol: &proto}, {Direction: "ingress", Ethertype: "IPv4", Protocol: ptr("tcp"), PortMin: &lo, PortMax: &lo}}}
	if got := g.lacks(groupArgs{Rules: []groupRule{{"tcp", 443, 443, "any"}, {"icmp", 0, 0, "::/0"}}}); len(got) != 1 || got[0].Ethertype != "IPv6" || *got[0].Protocol != "tcp" {
		t.Errorf("%+v", got)
	}
}

func ptr[T any](v T) *T { return &v }

func TestVersioned(t *testing.T) {
	for _, tt := range [][3]string{
		{"https://x/", "v2.0/", "https://x/v2.0/"}, {"https://x/network/v2.0/", "v2.0/", "https://x/network/v2.0/"},
		{"https://x/image/v1/", "v2/", "https://x/image/v2/"}, {"https://v2.example/", "v2/", "https://v2.example/v2/"},
	} {
		if got := versioned(tt[0], tt[1]); got != tt[2] {
			t.Errorf("%s: %s", tt[0], got)
		}
	}
}
