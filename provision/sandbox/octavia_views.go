package sandbox

import "maps"

// What octavia tells of load balancers and their parts.

// partView is what octavia tells of every part.
func (k *call) partView(b *balancer, p lbPart) obj {
	return obj{"id": p.id, "name": p.name, "provisioning_status": p.at(b, k.now), "operating_status": b.operating(k.now), "admin_state_up": true,
		"project_id": k.c.project, "created_at": novaTime(p.born), "updated_at": novaTime(b.updated), "tags": tagList(p.tags)}
}

func (k *call) balancerView(b *balancer) obj {
	v := obj{"id": b.id, "name": b.name, "description": b.description, "provisioning_status": b.at(k.now), "operating_status": b.operating(k.now), "admin_state_up": true,
		"project_id": k.c.project, "created_at": novaTime(b.created), "updated_at": novaTime(b.updated), "vip_address": b.port.ip.String(), "vip_port_id": b.port.id,
		"vip_subnet_id": b.subnet, "vip_network_id": b.network, "additional_vips": []obj{}, "provider": b.provider, "flavor_id": nullable(b.flavor),
		"vip_qos_policy_id": nil, "tags": tagList(b.tags), "availability_zone": nil}
	listeners, pools := []obj{}, []obj{}
	for _, l := range b.listeners {
		listeners = append(listeners, obj{"id": l.id})
	}
	for _, p := range b.pools {
		pools = append(pools, obj{"id": p.id})
	}
	v["listeners"], v["pools"] = listeners, pools
	return v
}

func (k *call) memberView(b *balancer, m *lbMember) obj {
	op := "NO_MONITOR"
	if len(b.pools) > 0 && b.pools[0].monitor != nil {
		if op = "OFFLINE"; m.well {
			op = "ONLINE"
		}
	}
	status := "ACTIVE"
	if b.at(k.now) == "PENDING_UPDATE" {
		status = "PENDING_UPDATE"
	}
	return obj{"id": m.id, "name": m.name, "address": m.address, "protocol_port": m.port, "weight": m.weight, "subnet_id": nullable(m.subnet), "admin_state_up": !m.down,
		"provisioning_status": status, "operating_status": op, "project_id": k.c.project, "backup": false, "tags": []string{},
		"created_at": novaTime(m.created), "updated_at": nil, "monitor_port": nil, "monitor_address": nil}
}

func (k *call) listenerView(b *balancer, l *lbListener) obj {
	v := k.partView(b, l.lbPart)
	maps.Copy(v, obj{"protocol": l.protocol, "protocol_port": l.port, "connection_limit": l.limit, "allowed_cidrs": nil, "insert_headers": l.headers,
		"loadbalancers": []obj{{"id": b.id}}, "default_pool_id": nil, "default_tls_container_ref": nil, "sni_container_refs": []string{}, "tls_versions": l.versions})
	if l.pool != nil {
		v["default_pool_id"] = l.pool.id
	}
	if len(l.cidrs) > 0 {
		v["allowed_cidrs"] = l.cidrs
	}
	if len(l.containers) > 0 {
		v["default_tls_container_ref"], v["sni_container_refs"] = l.containers[0], tagList(l.containers[1:])
	}
	policies := []obj{}
	for _, p := range l.policies {
		policies = append(policies, obj{"id": p.id})
	}
	v["l7policies"] = policies
	return v
}

func (k *call) poolView(b *balancer, p *lbPool) obj {
	v := k.partView(b, p.lbPart)
	members := []obj{}
	for _, m := range p.members {
		members = append(members, obj{"id": m.id})
	}
	maps.Copy(v, obj{"protocol": p.protocol, "lb_algorithm": p.algorithm, "tls_enabled": p.tls, "loadbalancers": []obj{{"id": b.id}}, "healthmonitor_id": nil, "members": members})
	if p.monitor != nil {
		v["healthmonitor_id"] = p.monitor.id
	}
	return v
}

func (k *call) monitorView(b *balancer, p *lbPool) obj {
	m := p.monitor
	v := k.partView(b, m.lbPart)
	maps.Copy(v, obj{"type": m.kind, "delay": m.delay, "timeout": m.timeout, "max_retries": m.rise, "max_retries_down": m.fall, "url_path": m.path,
		"expected_codes": m.codes, "domain_name": nullable(m.host), "pools": []obj{{"id": p.id}}})
	return v
}

func (k *call) policyView(b *balancer, l *lbListener, p *lbPolicy) obj {
	v := k.partView(b, p.lbPart)
	rules := []obj{}
	for _, r := range p.rules {
		rules = append(rules, obj{"id": r.id})
	}
	maps.Copy(v, obj{"action": p.action, "listener_id": l.id, "redirect_prefix": nullable(p.prefix), "redirect_url": nullable(p.url), "redirect_pool_id": nil,
		"redirect_http_code": p.code, "position": p.position, "rules": rules})
	return v
}

func (k *call) ruleView(b *balancer, r *lbRule) obj {
	v := k.partView(b, r.lbPart)
	delete(v, "name")
	maps.Copy(v, obj{"type": r.kind, "compare_type": r.compare, "key": nullable(r.key), "value": r.value, "invert": r.invert})
	return v
}
