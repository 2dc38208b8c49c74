package env

import (
	"encoding/base64"
	"strings"
	"sync"
	"testing"

	"github.com/dripstat/failover/secrets/secretstest"
)

func TestBackend(t *testing.T) {
	for name, c := range map[string]struct {
		s    Store
		code func([]byte) string
	}{
		"PEM":    {Store{Chain: "TLS_{path}_CHAIN", Key: "TLS_{path}_KEY"}, func(b []byte) string { return string(b) }},
		"base64": {Store{Chain: "{path}_CHAIN", Key: "{path}_KEY"}, base64.StdEncoding.EncodeToString},
		"one":    {Store{Chain: "{path}"}, func(b []byte) string { return strings.ReplaceAll(string(b), "\n", `\n`) }},
	} {
		t.Run(name, func(t *testing.T) {
			secretstest.Run(t, func(t *testing.T) secretstest.Subject {
				var mu sync.Mutex
				vars := map[string]string{}
				s := c.s
				s.Look = func(n string) (string, bool) {
					mu.Lock()
					defer mu.Unlock()
					v, ok := vars[n]
					return v, ok
				}
				return secretstest.Subject{Backend: &s,
					Put: func(_ *testing.T, path string, chain, key []byte) bool {
						if s.Key == "" {
							vars[Name(s.Chain, path)] = c.code(append(chain, key...))
							return true
						}
						vars[Name(s.Chain, path)], vars[Name(s.Key, path)] = c.code(chain), c.code(key)
						return true
					},
					Lose: func(*testing.T) { clear(vars) },
				}
			})
		})
	}
}

func TestNames(t *testing.T) {
	if got := Name("TLS_{path}", "tls/www.shop-1.test"); got != "TLS_TLS_WWW_SHOP_1_TEST" {
		t.Error(got)
	}
	s := &Store{Chain: "C", Key: "K"}
	if s.Names("")[0] != "K" || (&Store{Chain: "C"}).Names("")[0] != "C" || !strings.Contains(s.Remarks("")[0].What, "(K)") {
		t.Error(s.Names(""))
	}
}
