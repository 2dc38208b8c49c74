package verify

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/dripstat/failover/provision"
)

// Without TLS something answers, and only a member's proof may ask so.
func TestPlain(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != name+":"+strings.Split(r.Context().Value(http.LocalAddrContextKey).(interface{ String() string }).String(), ":")[1] {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		_, _ = io.WriteString(w, "all is well")
	}))
	defer srv.Close()
	_, port, _ := strings.Cut(strings.TrimPrefix(srv.URL, "http://"), ":")
	in := provision.Values{"addresses": []any{"127.0.0.1"}, "url": "http://" + name + ":" + port + "/health", "status": 200, "body": "well", "successes": 1, "ca": ""}
	st, err := (&Prove{Plain: true}).Check(t.Context(), provision.Step{ID: "prove/web-1"}, in)
	if err != nil || st.State != provision.Done {
		t.Errorf("%+v %v", st, err)
	}
	if st, err := (&Prove{}).Check(t.Context(), provision.Step{ID: "prove/web-1"}, in); err == nil || st.State == provision.Done || !strings.Contains(err.Error(), "is not an https URL") {
		t.Errorf("service.prove without TLS: %+v %v", st, err)
	}
	in["status"] = 204
	if st, err := (&Prove{Plain: true}).Check(t.Context(), provision.Step{ID: "prove/web-1"}, in); err != nil || st.State != provision.Working || !strings.Contains(st.Seen, "answers 200, wanted 204") {
		t.Errorf("%+v %v", st, err)
	}
}

// Every further name must be presented its own certificate.
func TestAlso(t *testing.T) {
	t.Parallel()
	s := serve(t, time.Hour, []string{name, "api.shop.test"}, ok)
	in := provision.Values{"addresses": []any{"198.51.100.7"}, "url": "https://" + name + "/health", "status": 200, "successes": 1, "ca": string(s.ca.PEM()), "fingerprint": s.leaf}
	prove := func(also ...any) (provision.Status, error) {
		in["also"] = also
		return (&Prove{Dial: s.dial}).Check(t.Context(), provision.Step{ID: "prove/edge-vip"}, in)
	}
	if st, err := prove(map[string]any{"name": "api.shop.test", "fingerprint": s.leaf, "ca": string(s.ca.PEM())}); err != nil || st.State != provision.Done {
		t.Errorf("%+v %v", st, err)
	}
	for says, x := range map[string]map[string]any{
		"another certificate":         {"name": "api.shop.test", "fingerprint": "f00d", "ca": string(s.ca.PEM())},
		"certificate for other names": {"name": "other.test", "fingerprint": s.leaf, "ca": string(s.ca.PEM())},
		"that no trusted root signed": {"name": "api.shop.test", "fingerprint": s.leaf, "ca": ""},
	} {
		if st, err := prove(x); err != nil || st.State != provision.Working || !strings.Contains(st.Seen, says) {
			t.Errorf("%v: %+v %v", x, st, err)
		}
	}
}
