package sandbox

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"slices"
	"strings"
)

type balancerInput struct {
	Name, Description, Provider string
	Network                     string `json:"vip_network_id"`
	Subnet                      string `json:"vip_subnet_id"`
	Flavor                      string `json:"flavor_id"`
	Tags                        []string
}

// taken reads the one thing that a request is to make, and refuses what octavia does not know. Of what stands within it octavia can
// do nothing either: Zed answers 500 to each of its parts within another, and leaves those of a load balancer PENDING_CREATE
// for good, so this one takes none.
func taken[T any](k *call, name string) (T, int, any) {
	var in map[string]json.RawMessage
	var out T
	if err := json.Unmarshal(k.body, &in); err != nil || in[name] == nil {
		status, val := k.malformed()
		return out, status, val
	}
	var fields map[string]json.RawMessage
	_ = json.Unmarshal(in[name], &fields) // what is no object fails below
	for _, within := range []string{"listeners", "pools", "l7policies", "default_pool", "healthmonitor", "members", "rules"} {
		if fields[within] != nil {
			status, val := k.err(500, "'dict' object has no attribute '_sa_instance_state'")
			return out, status, val
		}
	}
	dec := json.NewDecoder(bytes.NewReader(in[name]))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&out); err != nil {
		if strings.Contains(err.Error(), "unknown field") {
			status, val := k.err(400, "Unknown attribute: %s", strings.Trim(err.Error()[strings.LastIndexByte(err.Error(), ' ')+1:], `"`))
			return out, status, val
		}
		status, val := k.malformed()
		return out, status, val
	}
	return out, 0, nil
}

// balancerCreate makes a load balancer with nothing in it.
func balancerCreate(k *call) (int, any) {
	c := k.c
	a, status, val := taken[balancerInput](k, "loadbalancer")
	if status != 0 {
		return status, val
	}
	b := &balancer{id: uuid(), region: k.region, name: a.Name, description: a.Description, provider: a.Provider, flavor: a.Flavor, tags: a.Tags,
		created: k.now, updated: k.now, order: c.nextOrder()}
	if b.provider == "" {
		b.provider = "amphora"
	}
	n := c.networkOf(k.region, a.Network)
	switch {
	case a.Network == "" && a.Subnet == "":
		return k.err(400, "Validation failure: VIP must contain one of: vip_port_id, vip_network_id, vip_subnet_id.")
	case n == nil:
		return k.err(400, "Network %s not found.", a.Network)
	case a.Subnet != "" && a.Subnet != n.subnet:
		return k.err(400, "Validation failure: Supplied VIP network_id does not contain the supplied subnet_id.")
	case !slices.ContainsFunc(providers, func(p [2]string) bool { return p[0] == b.provider }):
		return k.err(400, "Provider '%s' is not enabled.", b.provider)
	case a.Flavor != "" && !slices.ContainsFunc(c.opts.BalancerFlavors, func(f string) bool { return flavorID(k.region, f) == a.Flavor }):
		return k.err(400, "Validation failure: Invalid flavor_id.")
	}
	if q := c.opts.Quota.LoadBalancers; q >= 0 && len(c.balancersOf(k.region)) >= q {
		return k.err(403, "Quota has been met for resources: Load Balancer")
	}
	b.network, b.subnet = n.id, n.subnet
	if b.port = c.newPort(n, "octavia-lb-"+b.id, k.now); b.port == nil {
		return k.err(409, "No more IP addresses available on network %s.", n.id)
	}
	b.front = newFront(c, b)
	c.balancers[b.id] = b
	b.busy, b.busyWith = k.now.Add(c.opts.BalancerDelay), "PENDING_CREATE"
	if f := c.faults["balancer-slow"]; f != nil {
		b.busy = k.now.Add(f.d)
	}
	if c.take("balancer-stuck") {
		b.busy = k.now.AddDate(10, 0, 0)
	}
	b.failed = c.take("balancer-error")
	k.lose = c.take("balancer-reply-lost")
	return 201, obj{"loadbalancer": k.balancerView(b)}
}

// certificateOf reads a container as octavia does: the chain and the key, which must belong together.
func (c *Cloud) certificateOf(region, href string) (tls.Certificate, error) {
	x := c.containers[href[strings.LastIndexByte(href, '/')+1:]]
	if x == nil || x.region != region || x.kind != "certificate" {
		return tls.Certificate{}, errors.New("no such container")
	}
	chain := slices.Concat(c.part(x, "certificate"), []byte("\n"), c.part(x, "intermediates"))
	cert, err := tls.X509KeyPair(chain, c.part(x, "private_key"))
	if err == nil && cert.Leaf.Subject.CommonName == "" { // Zed's Octavia was seen to fail at it
		err = errors.New("no common name")
	}
	return cert, err
}
