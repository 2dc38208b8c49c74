package dns

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/dripstat/failover/provision"
)

// held is a zone that holds one set.
type held struct {
	Zone
	values []string
}

func (h held) Get(context.Context, string, string) (provision.RRset, error) {
	return provision.RRset{Values: h.values}, nil
}

func TestRelease(t *testing.T) {
	for _, tt := range []struct {
		name     string
		provider []string
		served   []string
		silent   bool
		state    provision.State
		err      string
	}{
		{"home again", []string{"203.0.113.10"}, []string{"203.0.113.10"}, false, provision.Done, ""},
		{"no such record", nil, nil, false, provision.Done, ""},
		{"the provider holds one", []string{"203.0.113.10", "198.51.100.1"}, nil, false, "", "still points to 198.51.100.1"},
		{"it was made later", []string{"198.51.100.9"}, nil, false, "", "still points to 198.51.100.9"},
		{"written otherwise", []string{"2001:db8::0:1"}, nil, false, "", "still points to"},
		{"a name server is late", []string{"203.0.113.10"}, []string{"198.51.100.1"}, false, provision.Working, ""},
		{"a name server is silent", []string{"203.0.113.10"}, nil, true, provision.Working, ""},
	} {
		r := Release{Zones: Zones{"public": held{values: tt.provider}}, Ask: func(context.Context, string, string, string) (provision.RRset, error) {
			if tt.silent {
				return provision.RRset{}, errors.New("no answer")
			}
			return provision.RRset{Values: tt.served}, nil
		}}
		st, err := r.Check(t.Context(), provision.Step{}, provision.Values{"zone": "public", "old": map[string]any{"name": "www.shop.test.", "type": "A"},
			"ours": []string{"198.51.100.1", "2001:db8::1"}, "values": []string{"198.51.100.9"}, "name_servers": []string{"ns1"}})
		if st.State != tt.state || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %q, %v", tt.name, st.State, err)
		}
	}
}
