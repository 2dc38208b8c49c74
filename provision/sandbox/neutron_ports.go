package sandbox

import "bytes"

// visible hides the ports of a server that nova has not come to yet.
func (k *call) visible(p *port) bool {
	s := k.c.servers[p.server]
	return s == nil || !p.owned || s.at(k.now).networked || !s.deleted.IsZero()
}

func (k *call) portView(p *port) obj {
	o := obj{"id": p.id, "name": p.name, "network_id": p.network, "mac_address": p.mac, "admin_state_up": true,
		"status": "DOWN", "device_id": "", "device_owner": "", "security_groups": tagList(p.groups),
		"fixed_ips":             []obj{{"subnet_id": k.c.networks[p.network].subnet, "ip_address": p.ip.String()}},
		"allowed_address_pairs": []obj{}, "port_security_enabled": true, "binding:vnic_type": "normal", "extra_dhcp_opts": []obj{}}
	if s := k.c.servers[p.server]; s != nil {
		o["device_id"], o["device_owner"] = s.id, "compute:"+s.az
		if s.at(k.now).networked {
			o["status"] = "ACTIVE"
		}
	}
	for _, b := range k.c.balancers {
		if b.port == p {
			o["device_id"], o["device_owner"] = "lb-"+b.id, "Octavia"
		}
	}
	return k.common(o, p.tags, stamp(p.created))
}

func (k *call) portViews() (list []obj) {
	for _, p := range k.c.portList(k.region) {
		if k.visible(p) {
			list = append(list, k.portView(p))
		}
	}
	return list
}

func portCreate(k *call) (int, any) {
	var in struct {
		Port struct {
			Name           string
			NetworkID      string    `json:"network_id"`
			SecurityGroups *[]string `json:"security_groups"`
		}
	}
	if k.decode(&in) != nil {
		return k.malformed()
	}
	n := k.c.networkOf(k.region, in.Port.NetworkID)
	if n == nil {
		return k.err(404, "Network %s could not be found.", in.Port.NetworkID)
	}
	groups := []string{k.c.secGroupByName(k.region, "default").id}
	if in.Port.SecurityGroups != nil {
		groups = *in.Port.SecurityGroups
	}
	for _, id := range groups {
		if g := k.c.secgrps[id]; g == nil || g.region != k.region {
			return k.err(404, "Security group %s does not exist", id)
		}
	}
	if q := k.c.opts.Quota.Ports; q >= 0 && len(k.c.portList(k.region)) >= q {
		return k.err(409, "Quota exceeded for resources: ['port'].")
	}
	p := k.c.newPort(n, in.Port.Name, k.now)
	if p == nil {
		return k.err(409, "No more IP addresses available on network %s.", n.id)
	}
	p.groups = groups
	return 201, obj{"port": k.portView(p)}
}

func (k *call) port() *port {
	if p := k.c.ports[k.vars["id"]]; p != nil && p.region == k.region {
		return p
	}
	return nil
}

func portUpdate(k *call) (int, any) {
	p := k.port()
	if p == nil {
		return k.err(404, "Port %s could not be found.", k.vars["id"])
	}
	var in struct {
		Port struct {
			Name           *string
			SecurityGroups *[]string `json:"security_groups"`
		}
	}
	if k.decode(&in) != nil {
		return k.malformed()
	}
	if in.Port.Name != nil {
		p.name = *in.Port.Name
	}
	if in.Port.SecurityGroups != nil {
		for _, id := range *in.Port.SecurityGroups {
			if g := k.c.secgrps[id]; g == nil || g.region != k.region {
				return k.err(404, "Security group %s does not exist", id)
			}
		}
		p.groups = *in.Port.SecurityGroups
	}
	return 200, obj{"port": k.portView(p)}
}

func portDelete(k *call) (int, any) {
	p := k.port()
	if p == nil {
		return k.err(404, "Port %s could not be found.", k.vars["id"])
	}
	k.c.removePort(p)
	return 204, nil
}

func (c *Cloud) fipList(region string) []*floatingIP {
	return ofRegion(c.fips, region, func(f *floatingIP) (string, int) { return f.region, f.order })
}

func (k *call) fipView(f *floatingIP) obj {
	o := obj{"id": f.id, "floating_network_id": f.network, "floating_ip_address": f.ip.String(), "description": f.description,
		"port_id": nil, "fixed_ip_address": nil, "router_id": nil, "status": "DOWN", "port_details": nil, "port_forwardings": []obj{},
		"dns_domain": "", "dns_name": ""}
	if p := k.c.ports[f.port]; p != nil {
		o["port_id"], o["fixed_ip_address"], o["router_id"], o["status"] = p.id, p.ip.String(), "6d5d0e64-router-of-"+k.region, "ACTIVE"
	}
	return k.common(o, f.tags, stamp(f.created))
}

func (k *call) fipViews() (list []obj) {
	for _, f := range k.c.fipList(k.region) {
		list = append(list, k.fipView(f))
	}
	return list
}

type fipInput struct {
	FIP struct {
		Network     string  `json:"floating_network_id"`
		Port        *string `json:"port_id"`
		Description *string
	} `json:"floatingip"`
}

// associate ties f to a port. A router leads from every network but the external
// one to it; a port on the external network itself needs no floating IP.
func (k *call) associate(f *floatingIP, id string) (int, any) {
	p := k.c.ports[id]
	if p == nil || p.region != k.region {
		return k.err(404, "Port %s could not be found.", id)
	}
	if p.network == f.network {
		return k.err(404, "External network %s is not reachable from subnet %s.  Therefore, cannot associate Port %s with a Floating IP.",
			f.network, k.c.networks[p.network].subnet, p.id)
	}
	for _, o := range k.c.fips {
		if o.port == id && o != f {
			return k.err(409, "Cannot associate floating IP %s (%s) with port %s using fixed IP %s, as that fixed IP already has a floating IP on external network %s.",
				f.ip, f.id, id, p.ip, f.network)
		}
	}
	f.port = id
	return 0, nil
}

func fipCreate(k *call) (int, any) {
	var in fipInput
	if k.decode(&in) != nil {
		return k.malformed()
	}
	n := k.c.networkOf(k.region, in.FIP.Network)
	switch q := k.c.opts.Quota.FloatingIPs; {
	case n == nil:
		return k.err(404, "Network %s could not be found.", in.FIP.Network)
	case !n.external:
		return k.err(400, "Bad floatingip request: Network %s is not a valid external network.", n.id)
	case q >= 0 && len(k.c.fipList(k.region)) >= q:
		return k.err(409, "Quota exceeded for resources: ['floatingip'].")
	}
	ip, ok := k.c.freeIP(n)
	if !ok {
		return k.err(409, "No more IP addresses available on network %s.", n.id)
	}
	f := &floatingIP{id: uuid(), region: k.region, network: n.id, ip: ip, created: k.now, order: k.c.nextOrder()}
	if in.FIP.Description != nil {
		f.description = *in.FIP.Description
	}
	if in.FIP.Port != nil && *in.FIP.Port != "" {
		if status, val := k.associate(f, *in.FIP.Port); status != 0 {
			return status, val
		}
	}
	k.c.fips[f.id] = f
	return 201, obj{"floatingip": k.fipView(f)}
}

func (k *call) fip() *floatingIP {
	if f := k.c.fips[k.vars["id"]]; f != nil && f.region == k.region {
		return f
	}
	return nil
}

// fipUpdate follows neutron: a port_id of null, and an empty update, set the
// floating IP free.
// https://docs.openstack.org/api-ref/network/v2/#update-floating-ip
func fipUpdate(k *call) (int, any) {
	f := k.fip()
	if f == nil {
		return k.err(404, "Floating IP %s could not be found", k.vars["id"])
	}
	var in fipInput
	if k.decode(&in) != nil {
		return k.malformed()
	}
	if in.FIP.Description != nil {
		f.description = *in.FIP.Description
	}
	if in.FIP.Port != nil && *in.FIP.Port != "" {
		if status, val := k.associate(f, *in.FIP.Port); status != 0 {
			return status, val
		}
	} else if named := bytes.Contains(k.body, []byte(`"port_id"`)); named || in.FIP.Description == nil {
		f.port = ""
	}
	return 200, obj{"floatingip": k.fipView(f)}
}

func fipDelete(k *call) (int, any) {
	f := k.fip()
	if f == nil {
		return k.err(404, "Floating IP %s could not be found", k.vars["id"])
	}
	delete(k.c.fips, f.id)
	return 204, nil
}
