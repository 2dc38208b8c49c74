package rackspacetest_test

import (
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/dripstat/failover/provision/rackspace/rackspacetest"
)

// Every fixture says where it is from, and every contradiction has its sides.
func TestFixtures(t *testing.T) {
	apis := load(t)
	if len(apis) != 6 {
		t.Fatalf("%d services: %q", len(apis), slices.Sorted(maps.Keys(apis)))
	}
	for _, a := range apis {
		sides := map[string]map[string]bool{}
		side := func(of, side string) {
			if of == "" && side == "" {
				return
			}
			if of == "" || side == "" {
				t.Errorf("%s: %q is a side of %q", a.Name, side, of)
			}
			if sides[of] == nil {
				sides[of] = map[string]bool{}
			}
			sides[of][side] = true
		}
		seen := map[string]bool{}
		each(a, func(key string, e *rackspacetest.Exchange, x rackspacetest.Answer) {
			from := x.Source
			if e != nil {
				side(e.Of, e.Side)
				from = append(slices.Clone(e.Source), from...)
			}
			side(x.Of, x.Side)
			if seen[key] || x.Status == 0 || len(from) == 0 || from[0] == "" {
				t.Errorf("%s: twice, without a status, or without a document", key)
			}
			seen[key] = true
			if e == nil && x.Play.Never == "" && a.Exchange(x.Play.On) == nil {
				t.Errorf("%s: nothing meets it", key)
			}
		})
		for of, two := range sides {
			if len(two) < 2 {
				t.Errorf("%s: %s: only %q", a.Name, of, slices.Sorted(maps.Keys(two)))
			}
		}
		if !strings.HasPrefix(a.Source, "https://") || !strings.HasSuffix(a.Source, "/") {
			t.Errorf("%s: %q is no place for documents", a.Name, a.Source)
		}
	}
}

// Addresses are those that are for documents, or of nobody; no key, no token and no certificate is in a file.
func TestNothingReal(t *testing.T) {
	files, err := filepath.Glob("*.json")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	var allowed []netip.Prefix
	for _, p := range []string{"192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "10.0.0.0/8", "192.168.0.0/16", "127.0.0.0/8", "0.0.0.0/32", "2001:db8::/32"} {
		allowed = append(allowed, netip.MustParsePrefix(p))
	}
	address := regexp.MustCompile(`"[0-9a-f.:]+(/\d+)?"`)
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, q := range address.FindAllString(string(text), -1) {
			ip, _, _ := strings.Cut(strings.Trim(q, `"`), "/")
			a, err := netip.ParseAddr(ip)
			if err != nil {
				continue
			}
			found++
			if !slices.ContainsFunc(allowed, func(p netip.Prefix) bool { return p.Contains(a) }) {
				t.Errorf("%s: %s may be somebody's", f, ip)
			}
		}
		if found == 0 && (f == "balancers.json" || f == "servers.json" || f == "dns.json") {
			t.Errorf("%s: no address was found: this test looks for something else", f)
		}
		for _, never := range []string{"PRIVATE KEY", "BEGIN CERTIFICATE", "ssh-rsa", "ssh-ed25519"} {
			if strings.Contains(string(text), never) {
				t.Errorf("%s holds %q", f, never)
			}
		}
	}
}

// A shape is keys and types, wherever they stand.
func TestShape(t *testing.T) {
	got := rackspacetest.Shape(map[string]any{"a": []any{map[string]any{"b": 1.0, "c": nil}, map[string]any{"b": "x"}}, "d": true, "e": []any{}, "f": map[string]any{}})
	if want := []string{"a[].b number", "a[].b string", "d truth"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if got := rackspacetest.Lacks([]string{"m.{tag} string", "a number", "b number"}, []string{"m.failover_run string", "a string", "b number"}); !slices.Equal(got, []string{"a number"}) {
		t.Errorf("%q", got)
	}
}
