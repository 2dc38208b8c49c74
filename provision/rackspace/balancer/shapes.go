package balancer

import (
	"cmp"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"

	"github.com/dripstat/failover/provision"
)

// ident is an id: a number in the documents, a text in some clients' recordings.
type ident string

// UnmarshalJSON takes both.
func (i *ident) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] != '"' {
		*i = ident(b)
		return nil
	}
	var s string
	err := json.Unmarshal(b, &s)
	*i = ident(s)
	return err
}

// flag is a truth value, which some samples of the documents write as a text: "halfClosed": "false".
type flag bool

// UnmarshalJSON takes both.
func (f *flag) UnmarshalJSON(b []byte) error {
	*f = flag(strings.EqualFold(strings.Trim(string(b), `"`), "true"))
	return nil
}

// status words of a load balancer. BUILD is PENDING_CREATE in some texts; whatever is none of these is work that goes on.
// https://docs.rackspace.com/docs/cloud-load-balancers/v1/api-reference/load-balancers
const (
	active    = "ACTIVE"
	failed    = "ERROR"
	suspended = "SUSPENDED"
	deleting  = "PENDING_DELETE"
	deleted   = "DELETED"
)

// loadBalancer is one as a list, or its own page, shows it. Nodes are in neither list.
type loadBalancer struct {
	ID         ident  `json:"id"`
	Name       string `json:"name"`
	Status     string `json:"status"`
	Protocol   string `json:"protocol"`
	Redirect   *flag  `json:"httpsRedirect"` // not in every answer
	VirtualIPs []struct {
		Address string `json:"address"`
		Type    string `json:"type"`
		Version string `json:"ipVersion"`
	} `json:"virtualIps"`
}

// going says that it is deleted or about to be.
func (b loadBalancer) going() bool { return b.Status == deleting || b.Status == deleted }

// broken says that only Rackspace's support can change it.
func (b loadBalancer) broken() bool { return b.Status == failed || b.Status == suspended }

// addresses gives the public virtual addresses, empty where there is none.
func (b loadBalancer) addresses() (v4, v6 string) {
	for _, x := range b.VirtualIPs {
		a, err := netip.ParseAddr(x.Address)
		switch {
		case err != nil || x.Type == "SERVICENET":
		case a.Unmap().Is4():
			v4 = cmp.Or(v4, a.Unmap().String())
		default:
			v6 = cmp.Or(v6, a.String())
		}
	}
	return v4, v6
}

// sorted puts those that serve or may yet serve first, then the oldest: ids count up.
func sorted(list []loadBalancer) []loadBalancer {
	slices.SortStableFunc(list, func(x, y loadBalancer) int {
		bad := map[bool]int{true: 1}
		return cmp.Or(bad[x.broken()]-bad[y.broken()], len(x.ID)-len(y.ID), cmp.Compare(x.ID, y.ID))
	})
	return list
}

// node is a member. status is the monitor's word, and ONLINE from the first: only condition is ours.
// https://docs.rackspace.com/docs/cloud-load-balancers/v1/api-reference/nodes
type node struct {
	ID        ident  `json:"id"`
	Address   string `json:"address"`
	Port      int    `json:"port"`
	Condition string `json:"condition"`
	Status    string `json:"status"`
}

// find gives the one at an address.
func find(nodes []node, address string, port int) (node, bool) {
	i := slices.IndexFunc(nodes, func(n node) bool { return n.Port == port && provision.SameAddress(n.Address, address) })
	if i < 0 {
		return node{}, false
	}
	return nodes[i], true
}

// termination is what is shown of how TLS ends there: never the key.
type termination struct {
	Certificate string `json:"certificate"`
	Port        int    `json:"securePort"`
	Enabled     flag   `json:"enabled"`
	Only        flag   `json:"secureTrafficOnly"`
	Protocols   []struct {
		Name   string `json:"securityProtocolName"`
		Status string `json:"securityProtocolStatus"`
	} `json:"securityProtocols"`
}

// item is one of an access list: those with ALLOW go before those with DENY.
// https://docs.rackspace.com/docs/cloud-load-balancers/v1/api-reference/access-lists
type item struct {
	Address string `json:"address"`
	Type    string `json:"type"`
}

// same compares networks however they are written: an address is a network of one.
func (i item) same(o item) bool {
	if i.Type != o.Type {
		return false
	}
	network := func(s string) netip.Prefix {
		if a, err := netip.ParseAddr(s); err == nil {
			return netip.PrefixFrom(a, a.BitLen())
		}
		p, _ := netip.ParsePrefix(s)
		return p.Masked()
	}
	return i.Address == o.Address || network(i.Address).IsValid() && network(i.Address) == network(o.Address)
}
