package openstack

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"github.com/dripstat/failover/provision"
)

// updateArgs are those of listener.update; Containers are hrefs, the default first.
type updateArgs struct {
	Cloud      string
	Balancer   string
	Listener   string
	ECDSA      bool
	Containers []string
}

// UnmarshalJSON puts the arguments "container CERTIFICATE" into their order.
func (a *updateArgs) UnmarshalJSON(b []byte) error {
	in, known := provision.Values{}, provision.Values{}
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	for name, v := range in {
		if !strings.HasPrefix(name, "container ") {
			known[name] = v
		}
	}
	var rest struct {
		Cloud    string   `json:"cloud"`
		Balancer string   `json:"balancer"`
		Listener string   `json:"listener"`
		Order    []string `json:"order"`
		ECDSA    bool     `json:"ecdsa"`
	}
	if err := known.Decode(&rest); err != nil {
		return err
	}
	*a = updateArgs{Cloud: rest.Cloud, Balancer: rest.Balancer, Listener: rest.Listener, ECDSA: rest.ECDSA}
	for _, c := range rest.Order {
		a.Containers = append(a.Containers, in.Text("container "+c))
	}
	return nil
}

// listener is octavia's, as far as its certificates go.
type listener struct {
	Status  string   `json:"provisioning_status"`
	Default string   `json:"default_tls_container_ref"`
	SNI     []string `json:"sni_container_refs"`
}

func (c *Cloud) checkListener(ctx context.Context, a updateArgs) (provision.Status, error) {
	st, ready, err := c.changeable(ctx, a.Balancer)
	if err != nil || !ready {
		return st, err
	}
	s, err := c.service(ctx, "load-balancer")
	if err != nil {
		return provision.Status{}, err
	}
	var got struct {
		Listener listener `json:"listener"`
	}
	none, err := s.missing(ctx, "read listener "+a.Listener, s.url("listeners/"+url.PathEscape(a.Listener)), &got)
	l := got.Listener
	switch {
	case err != nil:
		return provision.Status{}, err
	case none:
		return provision.Status{State: provision.Failed, Seen: "its listener is gone"}, nil
	case len(a.Containers) == 0:
		return provision.Status{}, &provision.Error{What: "there is no certificate to end TLS with", Class: provision.Final}
	case l.Default != a.Containers[0] || !sameSet(l.SNI, a.Containers[1:]):
		return absent()
	case l.Status == "ERROR":
		return provision.Status{State: provision.Failed, Seen: "its listener is in ERROR: octavia does not tell why"}, nil
	case l.Status != "ACTIVE":
		return provision.Status{State: provision.Working, Seen: "its listener: " + l.Status, Again: pace / 2}, nil
	}
	return done(provision.Values{"containers": a.Containers})
}

// sameSet compares without order: octavia keeps none among the certificates for further names.
func sameSet(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// updateListener names all containers at once: sent twice it changes nothing more.
// https://docs.openstack.org/api-ref/load-balancer/v2/#update-a-listener
func (c *Cloud) updateListener(ctx context.Context, a updateArgs) error {
	s, err := c.service(ctx, "load-balancer")
	if err != nil {
		return err
	}
	if len(a.Containers) == 0 {
		return &provision.Error{What: "there is no certificate to end TLS with", Class: provision.Final}
	}
	l := map[string]any{"default_tls_container_ref": a.Containers[0], "sni_container_refs": a.Containers[1:]}
	if a.ECDSA {
		l["tls_ciphers"] = ciphers
	}
	return certificateNotRead(s.put(ctx, "end TLS with another certificate", s.url("listeners/"+url.PathEscape(a.Listener)), map[string]any{"listener": l}, nil))
}
