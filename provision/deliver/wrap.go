package deliver

import (
	"context"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/secrets"
)

// Handler performs steps of one kind, as the engine knows it.
type Handler interface {
	Check(ctx context.Context, s provision.Step, in provision.Values) (provision.Status, error)
	Do(ctx context.Context, s provision.Step, in provision.Values) error
}

// Wrapped performs server.create for servers that fetch their certificate themselves: right before a server is asked for, it puts a token into
// the user-data that goes with this one request. The token is in no graph, event or journal, and a server that is there is given no other.
type Wrapped struct {
	Create Handler // asks for the server
	// Wrap has the place that keeps a certificate of the plan wrap it for as long, and gives the token.
	Wrap func(ctx context.Context, certificate string, ttl time.Duration) (secrets.Value, error)
	// Spend uses a token up. fresh says that nobody had used it before.
	Spend func(ctx context.Context, certificate string, token secrets.Value) (fresh bool, err error)
	// Place is what stands in user-data where the token goes.
	Place string

	mu   sync.Mutex
	made map[provision.StepID]secrets.Value // tokens of attempts of which a server may have come
}

// plainArgs gives the arguments as Create knows them, and those of the wrapping; certificate is "" where there is none.
func plainArgs(in provision.Values) (out provision.Values, certificate string, ttl time.Duration, err error) {
	var w struct {
		Wrap struct {
			Certificate string `json:"certificate"`
			Seconds     int    `json:"seconds"`
		} `json:"wrap"`
	}
	if in["wrap"] == nil {
		return in, "", 0, nil
	}
	if err := (provision.Values{"wrap": in["wrap"]}).Decode(&w); err != nil {
		return nil, "", 0, err
	}
	out = maps.Clone(in)
	delete(out, "wrap")
	return out, w.Wrap.Certificate, time.Duration(w.Wrap.Seconds) * time.Second, nil
}

// Check looks as Create does. The token of a server that failed is used up, so that it opens nothing once the server is gone; where somebody has
// used it already, that is said.
func (h *Wrapped) Check(ctx context.Context, s provision.Step, in provision.Values) (provision.Status, error) {
	plain, certificate, _, err := plainArgs(in)
	if err != nil {
		return provision.Status{}, err
	}
	st, err := h.Create.Check(ctx, s, plain)
	if err == nil && st.State == provision.Failed && certificate != "" && !h.spend(ctx, s.ID, certificate) {
		st.Seen += "; the token for certificate " + certificate + " that it was given has been used, or is too old: where the server had not come up, somebody else may have used it"
	}
	return st, err
}

// Do makes a token, and asks for a server with it.
func (h *Wrapped) Do(ctx context.Context, s provision.Step, in provision.Values) error {
	plain, certificate, ttl, err := plainArgs(in)
	if err != nil || certificate == "" {
		if err != nil {
			return err
		}
		return h.Create.Do(ctx, s, plain)
	}
	if !strings.Contains(in.Text("user_data"), h.Place) {
		return &provision.Error{What: "the user-data of this run has no place for a token", Hint: "it began with another version of failover: abandon it and start a new one", Class: provision.Final}
	}
	h.spend(ctx, s.ID, certificate) // of a request before that has come to nothing
	token, err := h.Wrap(ctx, certificate, ttl)
	if err != nil {
		return err
	}
	h.mu.Lock()
	if h.made == nil {
		h.made = map[provision.StepID]secrets.Value{}
	}
	h.made[s.ID] = token
	h.mu.Unlock()
	// It becomes part of a text, as what the request is made of is one; it is spent before that is collected.
	plain["user_data"] = strings.ReplaceAll(in.Text("user_data"), h.Place, string(token.Bytes()))
	err = h.Create.Do(ctx, s, plain)
	if err != nil && provision.ClassOf(err) != provision.Unknown { // there is no server
		h.spend(ctx, s.ID, certificate)
	}
	return err
}

// spend uses up the token of a step, if there is one, and reports whether nobody else had.
func (h *Wrapped) spend(ctx context.Context, id provision.StepID, certificate string) bool {
	h.mu.Lock()
	token, ok := h.made[id]
	delete(h.made, id)
	h.mu.Unlock()
	if !ok {
		return true
	}
	defer token.Wipe()
	fresh, err := h.Spend(ctx, certificate, token)
	return fresh || err != nil // a Vault that does not answer proves nothing; the token ends by itself
}
