package barbican

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/dripstat/failover/secrets"
	"github.com/dripstat/failover/secrets/secretstest"
)

// fake speaks the documented shapes:
// https://docs.openstack.org/barbican/latest/api/reference/secrets.html
// https://docs.openstack.org/barbican/latest/api/reference/containers.html
// Hrefs carry another host, as those of a Barbican behind a balancer do.
type fake struct {
	secrets    map[string]secret
	containers map[string]map[string]any
	code       int // of every answer, where it is not 0
}

type secret struct {
	name, typ string
	payload   []byte
}

const elsewhere = "http://barbican.internal:9311/v1"

func uid(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	answer := func(v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
	if f.code != 0 || r.Method != http.MethodGet {
		http.Error(w, `{"code": 500, "title": "hunter2", "description": "hunter2"}`, max(f.code, 400))
		return
	}
	name, offset := r.URL.Query().Get("name"), r.URL.Query().Get("offset")
	switch {
	case len(parts) == 2 && parts[1] == "containers":
		list := []any{}
		for _, c := range f.containers {
			if c["name"] == name && offset == "" {
				list = append(list, c)
			}
		}
		answer(map[string]any{"containers": list, "total": len(list)})
	case len(parts) == 2 && parts[1] == "secrets":
		list := []any{}
		for id, s := range f.secrets {
			if s.name == name && offset == "" {
				list = append(list, f.meta(id, s))
			}
		}
		answer(map[string]any{"secrets": list, "total": len(list)})
	case len(parts) == 3 && parts[1] == "containers" && f.containers[parts[2]] != nil:
		answer(f.containers[parts[2]])
	case len(parts) >= 3 && parts[1] == "secrets":
		s, ok := f.secrets[parts[2]]
		switch {
		case !ok:
			http.NotFound(w, r)
		case len(parts) == 3:
			answer(f.meta(parts[2], s))
		case r.Header.Get("Accept") != s.typ:
			w.WriteHeader(http.StatusNotAcceptable)
		default:
			w.Header().Set("Content-Type", s.typ)
			_, _ = w.Write(s.payload)
		}
	default:
		http.NotFound(w, r)
	}
}

func (f *fake) meta(id string, s secret) map[string]any {
	return map[string]any{"status": "ACTIVE", "secret_type": "opaque", "name": s.name, "secret_ref": elsewhere + "/secrets/" + id, "content_types": map[string]string{"default": s.typ},
		"created": "2026-04-16T18:23:46", "updated": "2026-04-16T18:23:46", "expiration": nil, "bit_length": nil, "algorithm": nil, "mode": nil, "creator_id": "u"}
}

// put keeps a certificate container of a name; parts in pairs of a name and a payload.
func (f *fake) put(n int, name, typ string, parts ...string) {
	refs := []any{}
	for i := 0; i < len(parts); i += 2 {
		id := uid(n*10 + i)
		f.secrets[id] = secret{name + "-" + parts[i], "text/plain", []byte(parts[i+1])}
		refs = append(refs, map[string]string{"name": parts[i], "secret_ref": elsewhere + "/secrets/" + id})
	}
	f.containers[uid(n)] = map[string]any{"status": "ACTIVE", "type": typ, "name": name, "container_ref": elsewhere + "/containers/" + uid(n), "secret_refs": refs,
		"created": "2026-04-16T18:23:46", "updated": "2026-04-16T18:23:46", "consumers": []any{}, "creator_id": "u"}
}

func start(t *testing.T) (*fake, *httptest.Server, func(context.Context) (*gophercloud.ServiceClient, error)) {
	t.Helper()
	f := &fake{secrets: map[string]secret{}, containers: map[string]map[string]any{}}
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	return f, srv, func(context.Context) (*gophercloud.ServiceClient, error) {
		return &gophercloud.ServiceClient{ProviderClient: &gophercloud.ProviderClient{}, Endpoint: srv.URL + "/", ResourceBase: srv.URL + "/v1/", Type: "key-manager"}, nil
	}
}

func TestBackend(t *testing.T) {
	for name, s := range map[string]Store{"container": {}, "two secrets": {Chain: "{path}-certificate", Key: "{path}-private_key"}, "one secret": {Chain: "{path}-both"}} {
		t.Run(name, func(t *testing.T) {
			secretstest.Run(t, func(t *testing.T) secretstest.Subject {
				f, srv, client := start(t)
				s := s
				s.Client = client
				return secretstest.Subject{Backend: &s, Lose: func(*testing.T) { srv.Close() }, Put: func(_ *testing.T, path string, chain, key []byte) bool {
					f.put(1, path, "certificate", "certificate", string(chain), "private_key", string(key), "both", string(append(bytes.Clone(chain), key...)))
					return true
				}}
			})
		})
	}
}

func TestContainers(t *testing.T) {
	f, _, client := start(t)
	chain, key := secretstest.NewCA(t).Issue(t, "EC", time.Now().Add(time.Hour), "www.example.test")
	leaf, rest, _ := strings.Cut(string(chain), "-----END CERTIFICATE-----\n")
	leaf += "-----END CERTIFICATE-----\n"
	f.put(1, "edge", "certificate", "certificate", leaf, "intermediates", rest, "private_key", string(key))
	f.put(2, "twin", "certificate")
	f.put(3, "twin", "certificate")
	f.put(4, "generic", "generic", "certificate", leaf)
	f.put(5, "keyless", "certificate", "certificate", leaf)
	f.put(6, "locked", "certificate", "certificate", leaf, "private_key", string(key), "private_key_passphrase", "hunter2")
	octets := f.secrets[uid(10)]
	octets.typ = "application/octet-stream"
	f.secrets[uid(10)] = octets
	s := &Store{Client: client}
	for _, path := range []string{"edge", uid(1), elsewhere + "/containers/" + uid(1)} {
		if c, err := s.Certificate(t.Context(), path); err != nil || len(c.Chain) != 2 {
			t.Errorf("%s: %v", path, err)
		}
	}
	for path, want := range map[string]string{"twin": "has 2 containers", "generic": "is of type generic", "keyless": "has no private_key", "locked": "has a passphrase of its own"} {
		if _, err := s.Certificate(t.Context(), path); err == nil || secrets.Elsewhere(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := s.Certificate(t.Context(), uid(99)); !secrets.Elsewhere(err) || !strings.Contains(err.Error(), "has no container") {
		t.Error(err)
	}
	for code, want := range map[int]string{401: "does not let us read", 403: "does not let us read", 503: "answered 503", 500: "answered 500"} {
		f.code = code
		if _, err := s.Certificate(t.Context(), "edge"); !secrets.Elsewhere(err) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%d: %v", code, err)
		}
	}
}
