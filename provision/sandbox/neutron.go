package sandbox

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

var neutronRoutes = []route{
	on("!GET /", func(k *call) (int, any) {
		return 200, obj{"versions": []obj{{"id": "v2.0", "status": "CURRENT", "links": []obj{{"rel": "self", "href": k.self("/v2.0/")}}}}}
	}),
	on("GET /v2.0", func(k *call) (int, any) {
		list := []obj{}
		for _, n := range []string{"network", "subnet", "port", "security-group", "floatingip"} {
			list = append(list, obj{"name": n, "collection": n + "s", "links": []obj{{"rel": "self", "href": k.self("/v2.0/" + n + "s")}}})
		}
		return 200, obj{"resources": list}
	}),
	on("GET /v2.0/networks", func(k *call) (int, any) { return k.list("networks", k.networkViews()) }),
	on("GET /v2.0/networks/{id}", func(k *call) (int, any) { return k.one("network", k.networkViews(), "Network %s could not be found.") }),
	on("GET /v2.0/subnets", func(k *call) (int, any) { return k.list("subnets", k.subnetViews()) }),
	on("GET /v2.0/subnets/{id}", func(k *call) (int, any) { return k.one("subnet", k.subnetViews(), "Subnet %s could not be found.") }),
	on("GET /v2.0/ports", func(k *call) (int, any) { return k.list("ports", k.portViews()) }),
	on("GET /v2.0/ports/{id}", func(k *call) (int, any) { return k.one("port", k.portViews(), "Port %s could not be found.") }),
	on("POST /v2.0/ports", portCreate),
	on("PUT /v2.0/ports/{id}", portUpdate),
	on("DELETE /v2.0/ports/{id}", portDelete),
	on("GET /v2.0/security-groups", func(k *call) (int, any) { return k.list("security_groups", k.secGroupViews()) }),
	on("GET /v2.0/security-groups/{id}", func(k *call) (int, any) {
		return k.one("security_group", k.secGroupViews(), "Security group %s does not exist")
	}),
	on("POST /v2.0/security-groups", secGroupCreate),
	on("PUT /v2.0/security-groups/{id}", secGroupUpdate),
	on("DELETE /v2.0/security-groups/{id}", secGroupDelete),
	on("GET /v2.0/security-group-rules", func(k *call) (int, any) { return k.list("security_group_rules", k.secRuleViews()) }),
	on("GET /v2.0/security-group-rules/{id}", func(k *call) (int, any) {
		return k.one("security_group_rule", k.secRuleViews(), "Security group rule %s does not exist")
	}),
	on("POST /v2.0/security-group-rules", secRuleCreate),
	on("DELETE /v2.0/security-group-rules/{id}", secRuleDelete),
	on("GET /v2.0/floatingips", func(k *call) (int, any) { return k.list("floatingips", k.fipViews()) }),
	on("GET /v2.0/floatingips/{id}", func(k *call) (int, any) {
		return k.one("floatingip", k.fipViews(), "Floating IP %s could not be found")
	}),
	on("POST /v2.0/floatingips", fipCreate),
	on("PUT /v2.0/floatingips/{id}", fipUpdate),
	on("DELETE /v2.0/floatingips/{id}", fipDelete),
	on("GET /v2.0/quotas/{project}", func(k *call) (int, any) { return neutronQuota(k, false) }),
	on("GET /v2.0/quotas/{project}/details", func(k *call) (int, any) { return neutronQuota(k, true) }),
	on("GET /v2.0/quotas/{project}/details.json", func(k *call) (int, any) { return neutronQuota(k, true) }),
	on("GET /v2.0/network-ip-availabilities", ipAvailability),
	on("GET /v2.0/network-ip-availabilities/{id}", ipAvailability),
	on("GET /v2.0/extensions", func(k *call) (int, any) { return k.list("extensions", extensionViews()) }),
	on("GET /v2.0/extensions/{alias}", func(k *call) (int, any) {
		for _, e := range extensionViews() {
			if e["alias"] == k.vars["alias"] {
				return 200, obj{"extension": e}
			}
		}
		return k.err(404, "Extension with alias %s does not exist", k.vars["alias"])
	}),
	on("GET /v2.0/{kind}/{id}/tags", neutronTags),
	on("PUT /v2.0/{kind}/{id}/tags", neutronTags),
	on("DELETE /v2.0/{kind}/{id}/tags", neutronTags),
	on("GET /v2.0/{kind}/{id}/tags/{tag}", neutronTags),
	on("PUT /v2.0/{kind}/{id}/tags/{tag}", neutronTags),
	on("DELETE /v2.0/{kind}/{id}/tags/{tag}", neutronTags),
}

// neutronError carries the name of the exception as its type.
func neutronError(_ *call, status int, msg string) any {
	kind := map[int]string{400: "HTTPBadRequest", 403: "PolicyNotAuthorized", 404: "HTTPNotFound", 409: "Conflict", 429: "TooManyRequests"}[status]
	for _, t := range []struct{ words, kind string }{
		{"Quota exceeded", "OverQuota"}, {"Network ", "NetworkNotFound"}, {"Port ", "PortNotFound"},
		{"Security group rule already", "SecurityGroupRuleExists"}, {"Security group rule", "SecurityGroupRuleNotFound"},
		{"Security group ", "SecurityGroupNotFound"}, {"Security Group ", "SecurityGroupInUse"},
		{"Floating IP", "FloatingIPNotFound"}, {"Cannot associate", "FloatingIPPortAlreadyAssociated"},
		{"External network", "ExternalGatewayForFloatingIPNotFound"},
	} {
		if (status == 404 || status == 409) && strings.HasPrefix(msg, t.words) {
			kind = t.kind
			break
		}
	}
	if kind == "" {
		kind = "HTTPInternalServerError"
	}
	return obj{"NeutronError": obj{"type": kind, "message": msg, "detail": ""}}
}

// list filters views by query parameters that are attributes of theirs, as
// neutron does, and by tags.
func (k *call) list(key string, views []obj) (int, any) {
	q := k.URL.Query()
	for name, want := range q {
		views = slices.DeleteFunc(views, func(v obj) bool { return !neutronMatch(v, name, want) })
	}
	part, more, ok := page(k, views, func(v obj) string { return fmt.Sprint(v["id"]) })
	if !ok {
		return k.err(400, "Invalid input for operation: The resource identified by marker %s could not be found.", q.Get("marker"))
	}
	if part == nil {
		part = []obj{}
	}
	// A full page always names a next one, which may be empty.
	if n, err := strconv.Atoi(q.Get("limit")); err == nil && n > 0 && len(part) == n {
		more = true
	}
	last := ""
	if more {
		last = fmt.Sprint(part[len(part)-1]["id"])
	}
	if fields := q["fields"]; len(fields) > 0 {
		part = slices.Clone(part)
		for i, v := range part {
			part[i] = obj{}
			for _, f := range fields {
				if x, ok := v[f]; ok {
					part[i][f] = x
				}
			}
		}
	}
	out := obj{key: part}
	if more {
		out[key+"_links"] = []obj{{"rel": "next", "href": k.self(k.next(last))}}
	}
	return 200, out
}

func neutronMatch(v obj, name string, want []string) bool {
	have, _ := v["tags"].([]string)
	tags := strings.Split(want[0], ",")
	switch name {
	case "tags":
		return hasTags(have, tags, false)
	case "tags-any":
		return hasTags(have, tags, true)
	case "not-tags":
		return !hasTags(have, tags, false)
	case "not-tags-any":
		return !hasTags(have, tags, true)
	case "fixed_ips":
		fixed, _ := v["fixed_ips"].([]obj)
		return slices.ContainsFunc(fixed, func(f obj) bool {
			return !slices.ContainsFunc(want, func(w string) bool {
				key, val, _ := strings.Cut(w, "=")
				return fmt.Sprint(f[key]) != val
			})
		})
	case "limit", "marker", "page_reverse", "fields", "sort_key", "sort_dir":
		return true
	}
	val, known := v[name]
	if list, ok := val.([]string); ok {
		return slices.ContainsFunc(want, func(w string) bool { return slices.Contains(list, w) })
	}
	return !known || slices.ContainsFunc(want, func(w string) bool { return strings.EqualFold(fmt.Sprint(val), w) })
}

func (k *call) one(key string, views []obj, missing string) (int, any) {
	for _, v := range views {
		if v["id"] == k.vars["id"] {
			return 200, obj{key: v}
		}
	}
	return k.err(404, missing, k.vars["id"])
}

func tagList(t []string) []string { return append([]string{}, t...) }

func (k *call) common(o obj, tags []string, created string) obj {
	o["project_id"], o["tenant_id"], o["tags"], o["revision_number"] = k.c.project, k.c.project, tagList(tags), 1
	o["created_at"], o["updated_at"] = created, created
	if o["description"] == nil {
		o["description"] = ""
	}
	return o
}

func (c *Cloud) netList(region string) []*network {
	return ofRegion(c.networks, region, func(n *network) (string, int) {
		return n.region, int(n.cidr.Addr().As4()[2]) + 256*int(n.cidr.Addr().As4()[0])
	})
}

func (k *call) networkViews() (list []obj) {
	for _, n := range k.c.netList(k.region) {
		list = append(list, k.common(obj{"id": n.id, "name": n.name, "status": "ACTIVE", "admin_state_up": true,
			"shared": n.external && !k.c.opts.Flex, "router:external": n.external, "subnets": []string{n.subnet}, "mtu": 1500,
			"port_security_enabled": true, "availability_zone_hints": []string{}, "availability_zones": k.c.opts.AZs,
			"ipv4_address_scope": nil, "ipv6_address_scope": nil}, n.tags, stamp(k.c.started)))
	}
	return list
}

func (k *call) subnetViews() (list []obj) {
	for _, n := range k.c.netList(k.region) {
		first := n.cidr.Addr().Next()
		list = append(list, k.common(obj{"id": n.subnet, "name": n.name, "network_id": n.id, "cidr": n.cidr.String(),
			"ip_version": 4, "gateway_ip": first.String(), "enable_dhcp": true, "dns_nameservers": []string{}, "host_routes": []obj{},
			"allocation_pools": []obj{{"start": first.Next().String(), "end": n.lastIP()}}, "ipv6_address_mode": nil, "ipv6_ra_mode": nil,
			"service_types": []string{}, "subnetpool_id": nil}, nil, stamp(k.c.started)))
	}
	return list
}

func (n *network) lastIP() string {
	a := n.cidr.Addr().As4()
	return fmt.Sprintf("%d.%d.%d.254", a[0], a[1], a[2]+3)
}

func extensionViews() (list []obj) {
	for _, a := range []string{"standard-attr-tag", "standard-attr-timestamp", "standard-attr-revisions", "security-group",
		"external-net", "router", "quotas", "quota_details", "network-ip-availability", "port-security", "pagination", "sorting",
		"net-mtu", "availability_zone", "network_availability_zone", "project-id", "allowed-address-pairs"} {
		list = append(list, obj{"alias": a, "name": a, "description": "", "updated": "2016-01-01T00:00:00-00:00", "links": []obj{}})
	}
	return list
}

// ipAvailability is for administrators in neutron's default policy.
// ipAvailability shows nothing to those who may not see it, and says so only of a single network.
func ipAvailability(k *call) (int, any) {
	if k.vars["id"] == "" {
		return 200, obj{"network_ip_availabilities": []obj{}}
	}
	return k.err(404, "Network %s could not be found.", k.vars["id"])
}

func neutronQuota(k *call, detail bool) (int, any) {
	q, rules := k.c.opts.Quota, 0
	for _, g := range k.c.groupsOf(k.region) {
		rules += len(g.rules)
	}
	out := obj{}
	for name, v := range map[string][2]int{"network": {100, 0}, "subnet": {100, 0}, "port": {q.Ports, len(k.c.portList(k.region))},
		"router": {10, 0}, "floatingip": {q.FloatingIPs, len(k.c.fipList(k.region))}, "rbac_policy": {10, 0}, "subnetpool": {-1, 0},
		"security_group": {q.SecurityGroups, len(k.c.groupsOf(k.region))}, "security_group_rule": {q.SecurityGroupRules, rules}, "trunk": {-1, 0}} {
		if detail {
			out[name] = obj{"limit": v[0], "used": v[1], "reserved": 0}
		} else {
			out[name] = v[0]
		}
	}
	return 200, obj{"quota": out}
}

// tagsOf finds the tags of a network, port, security group or floating IP.
func (k *call) tagsOf(kind, id string) *[]string {
	c := k.c
	switch kind {
	case "networks":
		if n := c.networkOf(k.region, id); n != nil {
			return &n.tags
		}
	case "ports":
		if p := c.ports[id]; p != nil && p.region == k.region {
			return &p.tags
		}
	case "security-groups":
		if g := c.secgrps[id]; g != nil && g.region == k.region {
			return &g.tags
		}
	case "floatingips":
		if f := c.fips[id]; f != nil && f.region == k.region {
			return &f.tags
		}
	}
	return nil
}

func neutronTags(k *call) (int, any) {
	t := k.tagsOf(k.vars["kind"], k.vars["id"])
	if t == nil {
		return k.err(404, "Resource %s %s could not be found.", k.vars["kind"], k.vars["id"])
	}
	tag, single := k.vars["tag"]
	if single {
		tag, _ = url.PathUnescape(tag)
	}
	has := slices.Contains(*t, tag)
	switch {
	case single && k.Method == "PUT":
		if !has {
			*t = append(slices.Clone(*t), tag)
		}
		return 201, nil
	case single && !has:
		return k.err(404, "Tag %s could not be found.", tag)
	case single && k.Method == "DELETE":
		*t = slices.DeleteFunc(slices.Clone(*t), func(x string) bool { return x == tag })
		return 204, nil
	case single:
		return 204, nil
	case k.Method == "PUT":
		var in struct{ Tags []string }
		if k.decode(&in) != nil {
			return k.malformed()
		}
		*t = in.Tags
	case k.Method == "DELETE":
		*t = nil
		return 204, nil
	}
	return 200, obj{"tags": tagList(*t)}
}
