package sandbox

import (
	"bytes"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

type clbInput struct {
	Name      *string        `json:"name"`
	Protocol  *string        `json:"protocol"`
	Port      *int           `json:"port"`
	Algorithm *string        `json:"algorithm"`
	Timeout   *int           `json:"timeout"`
	Redirect  *bool          `json:"httpsRedirect"`
	Half      *bool          `json:"halfClosed"`
	VIPs      []vipInput     `json:"virtualIps"`
	Nodes     []nodeInput    `json:"nodes"`
	Access    []accessInput  `json:"accessList"`
	Throttle  map[string]int `json:"connectionThrottle"`
	Monitor   *cloudMonitor  `json:"healthMonitor"`
	Metadata  []metaInput    `json:"metadata"`
}

type vipInput struct{ Type, IPVersion string }

type metaInput struct{ Key, Value string }

type accessInput struct{ Address, Type string }

type nodeInput struct {
	Address   string
	Port      int
	Condition string
	Type      string
	Weight    *int
}

// clbCreate takes all but TLS, which can be configured only later.
// https://docs.rackspace.com/docs/cloud-load-balancers/v1/api-reference/load-balancers
func clbCreate(k *call) (int, any) {
	c := k.c
	var in struct {
		Balancer *clbInput `json:"loadBalancer"`
	}
	dec := json.NewDecoder(bytes.NewReader(k.body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&in); err != nil || in.Balancer == nil {
		return k.err(400, "validation: The object is not valid")
	}
	a := in.Balancer
	x := &cloudLB{number: 71000 + c.nextOrder(), algorithm: "RANDOM", timeout: 30, port: 80, throttle: obj{}, metadata: []obj{}}
	switch {
	case a.Name == nil || *a.Name == "" || len(*a.Name) > 128:
		return k.err(400, "validation: Must provide a name for the load balancer of 128 characters or fewer.")
	case a.Protocol == nil || *a.Protocol != "HTTP" && *a.Protocol != "HTTPS" && *a.Protocol != "TCP":
		return k.err(400, "validation: Load balancer protocol is invalid. Please specify a valid protocol.")
	case len(a.VIPs) == 0:
		return k.err(400, "validation: Must provide at least 1 virtual ip for the load balancer.")
	case a.Redirect != nil && *a.Redirect && *a.Protocol == "HTTP":
		return k.err(400, "validation: HTTPS Redirect is only available for HTTPS, or HTTP with SSL termination of secure traffic only on port 443.")
	case len(c.balancersOf(k.region)) >= c.opts.Quota.LoadBalancers:
		return 413, obj{"overLimit": obj{"code": 413, "message": "Your account is currently over the limit so your request could not be processed."}} // and no Retry-After
	}
	x.protocol = *a.Protocol
	if a.Port != nil {
		x.port = *a.Port
	}
	if a.Algorithm != nil {
		x.algorithm = *a.Algorithm
	}
	v4, v6 := false, false
	for _, v := range a.VIPs {
		v4, v6 = v4 || v.IPVersion != "IPV6", v6 || v.IPVersion != "IPV4"
		if v.Type != "PUBLIC" || v.IPVersion != "" && v.IPVersion != "IPV4" && v.IPVersion != "IPV6" {
			return k.err(400, "validation: Virtual ip type is invalid.")
		}
	}
	b := &balancer{id: strconv.Itoa(x.number), region: k.region, name: *a.Name, created: k.now, updated: k.now, order: c.nextOrder(), clb: x}
	for _, m := range a.Metadata {
		x.metadata = append(x.metadata, obj{"id": len(x.metadata) + 1, "key": m.Key, "value": m.Value})
	}
	if msg := k.settings(b, *a); msg != "" {
		return k.err(400, "validation: %s", msg)
	}
	if status, val := k.addNodes(b, a.Nodes); status != 0 {
		return status, val
	}
	for _, n := range c.networks {
		if n.region == k.region && n.name == "public" {
			b.network, b.port = n.id, c.newPort(n, "clb-"+b.id, k.now)
		}
	}
	if b.port == nil || !v4 {
		return 500, obj{"outOfVirtualIps": obj{"code": 500, "message": "Out of virtual IPs. Please contact support so they can allocate more virtual IPs."}}
	}
	if v6 && !c.opts.Rackspace.Old { // the documents' table says both, their older samples have one
		x.v6 = c.vip6(b.order)
	}
	b.front = newFront(c, b)
	c.balancers[b.id] = b
	b.build()
	b.busy, b.busyWith = k.now.Add(c.opts.BalancerDelay), "BUILD"
	if f := c.faults["balancer-slow"]; f != nil {
		b.busy = k.now.Add(f.d)
	}
	if c.take("balancer-stuck") {
		b.busy = k.now.AddDate(10, 0, 0)
	}
	b.failed = c.take("balancer-error")
	k.lose = c.take("balancer-reply-lost")
	if c.take("balancer-reply-empty") {
		return 202, nil
	}
	return 202, obj{"loadBalancer": k.clbView(b, true)}
}

// vip6 is an address of the range for documentation (RFC 3849), which Dial leads to the load balancer.
func (c *Cloud) vip6(n int) netip.Addr {
	return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0x47, 0x01, c.base, 13: byte(n >> 16), 14: byte(n >> 8), 15: byte(n)})
}

// settings applies what has a place of its own too. The text says what is wrong.
func (k *call) settings(b *balancer, a clbInput) string {
	x := b.clb
	for _, i := range a.Access {
		if i.Type != "ALLOW" && i.Type != "DENY" {
			return "Access list type is invalid."
		}
		if _, err := netip.ParsePrefix(i.Address); err != nil {
			if _, err := netip.ParseAddr(i.Address); err != nil {
				return "Network item address is invalid."
			}
		}
		if slices.ContainsFunc(x.access, func(o obj) bool { return o["address"] == i.Address }) {
			return "A single address or subnet definition is considered unique."
		}
		x.access = append(x.access, obj{"id": 1000 + len(x.access), "address": i.Address, "type": i.Type})
	}
	if len(x.access) > 100 {
		return "Access list must not exceed 100 items."
	}
	if t := a.Throttle; t != nil {
		for _, name := range []string{"maxConnections", "minConnections", "maxConnectionRate", "rateInterval"} {
			if _, ok := t[name]; !ok && len(x.throttle) == 0 {
				return "Must provide all attributes when the connection throttle is created."
			}
		}
		if t["maxConnections"] < 0 || t["maxConnections"] > 100000 {
			return "maxConnections must be between 0 and 100000."
		}
		x.throttle = obj{}
		for name, v := range t {
			x.throttle[name] = v
		}
	}
	if m := a.Monitor; m != nil {
		if m.Delay < 1 || m.Delay > 3600 || m.Timeout < 1 || m.Timeout > 300 || m.Attempts < 1 || m.Attempts > 10 {
			return "Delay, timeout and attemptsBeforeDeactivation of the health monitor are out of range."
		}
		if m.Type != "CONNECT" {
			if _, err := regexp.Compile(m.Status); err != nil || m.Status == "" || !strings.HasPrefix(m.Path, "/") || m.Type != "HTTP" && m.Type != "HTTPS" {
				return "Must provide a type, a path and a status regex for the health monitor."
			}
		}
		x.monitor = m
	}
	if a.Algorithm != nil && !slices.Contains(clbAlgorithms, *a.Algorithm) {
		return "Load balancing algorithm is invalid. Please specify a valid algorithm."
	}
	return ""
}

func clbUpdate(k *call, b *balancer) (int, any) {
	var a clbInput
	if k.unwrap("loadBalancer", &a) != nil || len(a.VIPs)+len(a.Nodes)+len(a.Access)+len(a.Metadata) > 0 || a.Monitor != nil || a.Throttle != nil {
		return k.err(400, "validation: The object is not valid")
	}
	x := b.clb
	if a.Redirect != nil && *a.Redirect && (x.tls == nil || !x.tls.enabled || !x.tls.only || x.tls.port != 443) {
		return k.err(400, "validation: HTTPS Redirect is only available for HTTPS, or HTTP with SSL termination of secure traffic only on port 443.")
	}
	if msg := k.settings(b, a); msg != "" {
		return k.err(400, "validation: %s", msg)
	}
	if a.Redirect != nil {
		x.redirect = *a.Redirect
	}
	if a.Name != nil {
		b.name = *a.Name
	}
	if a.Algorithm != nil {
		x.algorithm = *a.Algorithm
	}
	if a.Port != nil {
		x.port = *a.Port
	}
	if a.Timeout != nil {
		x.timeout = *a.Timeout
	}
	k.clbChange(b)
	return 202, nil
}

// addNodes gives status 0 where all could be added.
func (k *call) addNodes(b *balancer, list []nodeInput) (int, any) {
	x := b.clb
	if most := k.c.opts.Quota.Members; len(x.nodes)+len(list) > most {
		return k.err(413, "Nodes must not exceed %d per load balancer.", most)
	}
	made := slices.Clone(x.nodes)
	for _, n := range list {
		if _, err := netip.ParseAddr(n.Address); err != nil || n.Port < 1 || n.Port > 65535 {
			return k.err(400, "validation: Node ip is invalid. Please specify a valid ip.")
		}
		if !slices.Contains([]string{"ENABLED", "DISABLED", "DRAINING"}, n.Condition) {
			return k.err(400, "validation: Node condition is invalid.")
		}
		if slices.ContainsFunc(made, func(o *cloudNode) bool { return o.member.address == n.Address && o.member.port == n.Port }) {
			return k.err(422, "Duplicate nodes detected. One or more nodes already configured on load balancer.")
		}
		id := 185000 + k.c.nextOrder()
		x := &cloudNode{id: id, condition: n.Condition, kind: "PRIMARY", weight: 1, member: &lbMember{id: strconv.Itoa(id), address: n.Address, port: n.Port, weight: 1, created: k.now}}
		if n.Type == "SECONDARY" {
			x.kind = n.Type
		}
		if n.Weight != nil {
			x.weight = *n.Weight
		}
		made = append(made, x)
	}
	x.nodes = made
	return 0, nil
}

func nodesAdd(k *call, b *balancer) (int, any) {
	var in struct{ Nodes []nodeInput }
	if k.decode(&in) != nil || len(in.Nodes) == 0 {
		return k.err(400, "validation: Must provide at least 1 node.")
	}
	before := len(b.clb.nodes)
	if status, val := k.addNodes(b, in.Nodes); status != 0 {
		return status, val
	}
	k.clbChange(b)
	return 202, obj{"nodes": k.nodeViews(b.clb.nodes[before:])}
}

// nodeUpdate changes condition, weight and type; what cannot be changed is refused where it is given.
func nodeUpdate(k *call, b *balancer) (int, any) {
	var in map[string]any
	if k.unwrap("node", &in) != nil || len(in) == 0 {
		return k.err(400, "validation: The object is not valid")
	}
	for name := range in {
		if name != "condition" && name != "weight" && name != "type" {
			return k.err(400, "validation: Node %s field cannot be modified.", name)
		}
	}
	for _, n := range b.clb.nodes {
		if strconv.Itoa(n.id) != k.vars["node"] {
			continue
		}
		if v, ok := in["condition"].(string); ok {
			n.condition = v
		}
		if v, ok := in["weight"].(float64); ok {
			n.weight = int(v)
		}
		k.clbChange(b)
		return 202, nil
	}
	return k.err(404, "Node with id #%s not found for loadbalancer #%d", k.vars["node"], b.clb.number)
}

func nodesDelete(k *call, b *balancer) (int, any) {
	ids := k.URL.Query()["id"]
	if id := k.vars["node"]; id != "" {
		ids = []string{id}
	}
	left := slices.DeleteFunc(slices.Clone(b.clb.nodes), func(n *cloudNode) bool { return slices.Contains(ids, strconv.Itoa(n.id)) })
	if len(ids) > 10 || len(left)+len(ids) != len(b.clb.nodes) {
		return k.err(400, "validation: Node ids %s are not a part of your loadbalancer", strings.Join(ids, ","))
	}
	b.clb.nodes = left
	k.clbChange(b)
	return 202, nil
}

func accessAdd(k *call, b *balancer) (int, any) {
	var in struct {
		List []accessInput `json:"accessList"`
		One  *accessInput  `json:"networkItem"` // as libcloud sends a single one
	}
	if k.decode(&in) != nil {
		return k.err(400, "validation: The object is not valid")
	}
	if in.One != nil {
		in.List = append(in.List, *in.One)
	}
	if msg := k.settings(b, clbInput{Access: in.List}); msg != "" || len(in.List) == 0 {
		return k.err(400, "validation: %s", msg)
	}
	k.clbChange(b)
	return 202, nil
}

func monitorPut(k *call, b *balancer) (int, any) {
	var m cloudMonitor
	if k.unwrap("healthMonitor", &m) != nil {
		return k.err(400, "validation: The object is not valid")
	}
	if msg := k.settings(b, clbInput{Monitor: &m}); msg != "" {
		return k.err(400, "validation: %s", msg)
	}
	k.clbChange(b)
	return 202, nil
}

// throttlePut is answered 200 by the documents. 202 is what libcloud insists on, and what gophercloud's tests had.
// https://github.com/rackspace/gophercloud/blob/master/rackspace/lb/v1/throttle/fixtures.go
func throttlePut(k *call, b *balancer) (int, any) {
	var t map[string]int
	if k.unwrap("connectionThrottle", &t) != nil {
		return k.err(400, "validation: The object is not valid")
	}
	if msg := k.settings(b, clbInput{Throttle: t}); msg != "" {
		return k.err(400, "validation: %s", msg)
	}
	k.clbChange(b)
	return 202, nil
}

func vipAdd(k *call, b *balancer) (int, any) {
	var in vipInput
	if k.decode(&in) != nil || in.Type != "PUBLIC" || in.IPVersion != "IPV6" {
		return k.err(400, "validation: Only IPv6 virtual ips can be added.")
	}
	b.clb.v6 = k.c.vip6(b.order)
	k.clbChange(b)
	views := k.vipViews(b)
	return 202, views[len(views)-1]
}

func terminationShow(k *call, b *balancer) (int, any) {
	t := b.clb.tls
	if t == nil {
		return k.err(404, "No ssl termination found.") // where others are an empty object
	}
	versions := []obj{}
	for _, v := range clbVersions {
		versions = append(versions, obj{"securityProtocolName": v, "securityProtocolStatus": map[bool]string{false: "ENABLED", true: "DISABLED"}[t.off[v]]})
	}
	v := obj{"certificate": t.certificate, "enabled": k.truth(t.enabled), "secureTrafficOnly": k.truth(t.only), "securePort": t.port, "cipherProfile": "default", "securityProtocols": versions}
	if t.intermediate != "" {
		v["intermediateCertificate"] = t.intermediate
	}
	return 200, obj{"sslTermination": v}
}

// terminationPut takes the certificate with its key, or settings beside the one that is there. The key's name is written small.
// https://docs.rackspace.com/docs/cloud-load-balancers/v1/api-reference/ssl-termination
func terminationPut(k *call, b *balancer) (int, any) {
	var in struct {
		Port         *int   `json:"securePort"`
		Certificate  string `json:"certificate"`
		Key          string `json:"privatekey"`
		Intermediate string `json:"intermediateCertificate"`
		Enabled      *bool  `json:"enabled"`
		Only         *bool  `json:"secureTrafficOnly"`
		Protocols    []struct {
			Name   string `json:"securityProtocolName"`
			Status string `json:"securityProtocolStatus"`
		} `json:"securityProtocols"`
	}
	var exact map[string]map[string]json.RawMessage
	if k.decode(&exact) != nil || exact["sslTermination"] == nil || exact["sslTermination"]["privateKey"] != nil || k.unwrap("sslTermination", &in) != nil {
		return k.err(400, "validation: The object is not valid")
	}
	x := b.clb
	t := cloudTLS{enabled: true, off: map[string]bool{}}
	if x.tls != nil {
		t = *x.tls
	}
	if in.Certificate != "" || in.Key != "" {
		if in.Port == nil {
			return k.err(400, "validation: Must specify a secure port with a certificate.")
		}
		cert, err := clbCertificate(in.Certificate, in.Key, in.Intermediate)
		if err != nil {
			return k.err(400, "validation: %s", err.Error())
		}
		t.certificate, t.intermediate, t.cert = in.Certificate, in.Intermediate, cert
	} else if x.tls == nil || in.Intermediate != "" {
		return k.err(400, "validation: Must specify either both certificate and key, or neither.")
	}
	if in.Port != nil {
		t.port = *in.Port
	}
	if in.Enabled != nil {
		t.enabled = *in.Enabled
	}
	if in.Only != nil {
		t.only = *in.Only
	}
	if t.port == x.port || x.protocol == "HTTPS" {
		return k.err(400, "validation: Secure port must be unique to the existing LB protocol/port combination.")
	}
	for _, p := range in.Protocols {
		if !slices.Contains(clbVersions, p.Name) {
			return k.err(400, "validation: Security protocol name is invalid.")
		}
		t.off[p.Name] = p.Status == "DISABLED"
	}
	x.tls = &t
	k.clbChange(b)
	if in.Key != "" && k.c.take("store-reply-lost") {
		k.lose = true
	}
	if k.c.opts.Rackspace.Old { // https://github.com/lbrackspace/atlas-lb (SslTerminationResource.createSsl): what was sent, here without the key
		_, shown := terminationShow(k, b)
		return 202, shown
	}
	return 200, nil
}

// clbCertificate holds a key against its certificate and that against its issuers, in their order. Only RSA will do.
func clbCertificate(certificate, key, intermediate string) (tls.Certificate, error) {
	b, _ := pem.Decode([]byte(key))
	if b == nil || b.Type != "RSA PRIVATE KEY" {
		return tls.Certificate{}, errors.New("The private key could not be parsed.") //nolint:staticcheck // the service's words
	}
	cert, err := tls.X509KeyPair([]byte(certificate+"\n"+intermediate), []byte(key))
	if err != nil {
		return cert, errors.New("The private key does not match the certificate.") //nolint:staticcheck // the service's words
	}
	if _, ok := cert.PrivateKey.(*rsa.PrivateKey); !ok {
		return cert, errors.New("The private key is not an RSA key.") //nolint:staticcheck // the service's words
	}
	for i := range len(cert.Certificate) - 1 {
		child, err := x509.ParseCertificate(cert.Certificate[i])
		parent, perr := x509.ParseCertificate(cert.Certificate[i+1])
		if err != nil || perr != nil || child.CheckSignatureFrom(parent) != nil {
			return cert, errors.New("The intermediate certificates are not in the order of the chain.") //nolint:staticcheck // the service's words
		}
	}
	return cert, nil
}
