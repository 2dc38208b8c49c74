package deliver

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/secrets"
)

// creating stands for the handler of server.create: it keeps what it is given.
type creating struct {
	sent  []string
	err   error
	state provision.State
}

func (c *creating) Check(_ context.Context, _ provision.Step, in provision.Values) (provision.Status, error) {
	if in["wrap"] != nil {
		return provision.Status{}, errors.New("it is given an argument that it does not know")
	}
	return provision.Status{State: c.state, Seen: "ERROR"}, nil
}

func (c *creating) Do(_ context.Context, _ provision.Step, in provision.Values) error {
	c.sent = append(c.sent, in.Text("user_data"))
	return c.err
}

// Each request gets a token of its own; what came to nothing is used up; the arguments of the step stay as they were.
func TestWrapped(t *testing.T) {
	var spent []string
	fresh, made := true, 0
	c := &creating{state: provision.Absent}
	h := &Wrapped{Create: c, Place: "PLACE",
		Wrap: func(_ context.Context, certificate string, ttl time.Duration) (secrets.Value, error) {
			if certificate != "edge" || ttl != 5*time.Minute {
				t.Errorf("wraps %s for %s", certificate, ttl)
			}
			made++
			return secrets.NewValue([]byte("token-" + strings.Repeat("i", made))), nil
		},
		Spend: func(_ context.Context, _ string, token secrets.Value) (bool, error) {
			spent = append(spent, string(token.Bytes()))
			return fresh, nil
		}}
	s := provision.Step{ID: "server/web-1"}
	in := provision.Values{"user_data": "a PLACE b", "wrap": map[string]any{"certificate": "edge", "seconds": 300}}
	do := func() error { return h.Do(t.Context(), s, in) }
	c.err = &provision.Error{What: "no room", Class: provision.Transient}
	if do() == nil {
		t.Error("the error is lost")
	}
	c.err = &provision.Error{What: "timeout", Class: provision.Unknown}
	_ = do()
	if !slices.Equal(spent, []string{"token-i"}) {
		t.Errorf("of an unknown outcome: %v are used up", spent)
	}
	c.err = nil
	if err := do(); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.sent, []string{"a token-i b", "a token-ii b", "a token-iii b"}) || !slices.Equal(spent, []string{"token-i", "token-ii"}) {
		t.Errorf("sent %q, used up %q", c.sent, spent)
	}
	if in.Text("user_data") != "a PLACE b" || in["wrap"] == nil {
		t.Errorf("the step's arguments are %v now", in)
	}
	if _, err := h.Check(t.Context(), s, in); err != nil || len(spent) != 2 {
		t.Errorf("a look uses up a token: %v %v", spent, err)
	}
	c.state, fresh = provision.Failed, false
	if st, err := h.Check(t.Context(), s, in); err != nil || len(spent) != 3 || !strings.Contains(st.Seen, "somebody else may have used it") {
		t.Errorf("a failed server: %v, %v, %v", st, spent, err)
	}
	if err := h.Do(t.Context(), s, provision.Values{"user_data": "PLACE"}); err != nil || made != 3 || c.sent[3] != "PLACE" {
		t.Errorf("a server without a wrapping: %v, %d tokens, %q", err, made, c.sent)
	}
	if err := h.Do(t.Context(), s, provision.Values{"user_data": "none", "wrap": in["wrap"]}); err == nil || strings.Contains(err.Error(), "token-") {
		t.Errorf("without a place: %v", err)
	}
}
