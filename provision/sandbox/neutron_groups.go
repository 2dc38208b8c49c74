package sandbox

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

type secRule struct {
	id, group, direction, ethertype, description string
	protocol                                     *string
	portMin, portMax                             *int
	remoteGroup, remotePrefix                    *string
}

// same is neutron's notion of a duplicate: everything but id and description. All addresses are no prefix.
func (r *secRule) same(o *secRule) bool {
	key := func(r *secRule) string {
		prefix := str(r.remotePrefix)
		if p, ok := prefix.(string); ok && strings.HasSuffix(p, "/0") {
			prefix = nil
		}
		return fmt.Sprint(r.direction, r.ethertype, str(r.protocol), intp(r.portMin), intp(r.portMax), str(r.remoteGroup), prefix)
	}
	return key(r) == key(o)
}

func str(p *string) any {
	if p == nil {
		return nil
	}
	return *p
}

func intp(p *int) any {
	if p == nil {
		return nil
	}
	return *p
}

func (c *Cloud) groupsOf(region string) []*secGroup {
	return ofRegion(c.secgrps, region, func(g *secGroup) (string, int) { return g.region, g.order })
}

// secGroupByName finds a group by name or id, as nova does.
func (c *Cloud) secGroupByName(region, name string) *secGroup {
	for _, g := range c.groupsOf(region) {
		if g.name == name || g.id == name {
			return g
		}
	}
	return nil
}

func (k *call) secRuleView(r *secRule) obj {
	return k.common(obj{"id": r.id, "security_group_id": r.group, "direction": r.direction, "ethertype": r.ethertype,
		"protocol": str(r.protocol), "port_range_min": intp(r.portMin), "port_range_max": intp(r.portMax),
		"remote_group_id": str(r.remoteGroup), "remote_ip_prefix": str(r.remotePrefix), "remote_address_group_id": nil,
		"description": r.description}, nil, stamp(k.c.started))
}

func (k *call) secRuleViews() (list []obj) {
	for _, g := range k.c.groupsOf(k.region) {
		for _, r := range g.rules {
			list = append(list, k.secRuleView(r))
		}
	}
	return list
}

func (k *call) secGroupView(g *secGroup) obj {
	rules := []obj{}
	for _, r := range g.rules {
		rules = append(rules, k.secRuleView(r))
	}
	return k.common(obj{"id": g.id, "name": g.name, "description": g.description, "stateful": true, "shared": false,
		"security_group_rules": rules}, g.tags, stamp(g.created))
}

func (k *call) secGroupViews() (list []obj) {
	for _, g := range k.c.groupsOf(k.region) {
		list = append(list, k.secGroupView(g))
	}
	return list
}

func (k *call) secGroup(id string) *secGroup {
	if g := k.c.secgrps[id]; g != nil && g.region == k.region {
		return g
	}
	return nil
}

type secGroupInput struct {
	Group struct {
		Name, Description *string
	} `json:"security_group"`
}

// secGroupCreate makes a group that lets everything out and nothing in. Names
// need not be unique in neutron; nova then finds the first one.
func secGroupCreate(k *call) (int, any) {
	var in secGroupInput
	if k.decode(&in) != nil {
		return k.malformed()
	}
	if q := k.c.opts.Quota.SecurityGroups; q >= 0 && len(k.c.groupsOf(k.region)) >= q {
		return k.err(409, "Quota exceeded for resources: ['security_group'].")
	}
	g := &secGroup{id: uuid(), region: k.region, created: k.now, order: k.c.nextOrder()}
	if in.Group.Name != nil {
		g.name = *in.Group.Name
	}
	if in.Group.Description != nil {
		g.description = *in.Group.Description
	}
	if g.name == "default" {
		return k.err(409, "Default security group already exists.")
	}
	for _, eth := range []string{"IPv4", "IPv6"} {
		g.rules = append(g.rules, &secRule{id: uuid(), group: g.id, direction: "egress", ethertype: eth})
	}
	k.c.secgrps[g.id] = g
	return 201, obj{"security_group": k.secGroupView(g)}
}

func secGroupUpdate(k *call) (int, any) {
	g := k.secGroup(k.vars["id"])
	if g == nil {
		return k.err(404, "Security group %s does not exist", k.vars["id"])
	}
	var in secGroupInput
	if k.decode(&in) != nil {
		return k.malformed()
	}
	if in.Group.Name != nil {
		g.name = *in.Group.Name
	}
	if in.Group.Description != nil {
		g.description = *in.Group.Description
	}
	return 200, obj{"security_group": k.secGroupView(g)}
}

func secGroupDelete(k *call) (int, any) {
	g := k.secGroup(k.vars["id"])
	if g == nil {
		return k.err(404, "Security group %s does not exist", k.vars["id"])
	}
	if g.name == "default" {
		return k.err(409, "Insufficient rights for removing default security group.")
	}
	for _, p := range k.c.ports {
		if slices.Contains(p.groups, g.id) {
			return k.err(409, "Security Group %s in use.", g.id)
		}
	}
	delete(k.c.secgrps, g.id)
	return 204, nil
}

// secRuleInput is one rule of a request; a request may hold several (neutron's bulk create, which keeps
// all of them or none).
type secRuleInput struct {
	Direction    string  `json:"direction"`
	Ethertype    string  `json:"ethertype"`
	Group        string  `json:"security_group_id"`
	Description  string  `json:"description"`
	Protocol     *string `json:"protocol"`
	PortMin      *int    `json:"port_range_min"`
	PortMax      *int    `json:"port_range_max"`
	RemoteGroup  *string `json:"remote_group_id"`
	RemotePrefix *string `json:"remote_ip_prefix"`
}

func secRuleCreate(k *call) (int, any) {
	var in struct {
		Rule  *secRuleInput  `json:"security_group_rule"`
		Rules []secRuleInput `json:"security_group_rules"`
	}
	if k.decode(&in) != nil || in.Rule == nil && in.Rules == nil {
		return k.malformed()
	}
	list := in.Rules
	if in.Rule != nil {
		list = []secRuleInput{*in.Rule}
	}
	var made []*secRule
	views := []any{}
	for _, i := range list {
		r, status, fault := k.addSecRule(i)
		if r == nil {
			for _, m := range made {
				g := k.secGroup(m.group)
				g.rules = slices.DeleteFunc(g.rules, func(x *secRule) bool { return x == m })
			}
			return status, fault
		}
		made = append(made, r)
		views = append(views, k.secRuleView(r))
	}
	if in.Rule != nil {
		return 201, obj{"security_group_rule": views[0]}
	}
	return 201, obj{"security_group_rules": views}
}

// addSecRule adds one rule, or says why not.
func (k *call) addSecRule(i secRuleInput) (*secRule, int, any) {
	refuse := func(status int, f string, a ...any) (*secRule, int, any) {
		status, fault := k.err(status, f, a...)
		return nil, status, fault
	}
	g := k.secGroup(i.Group)
	if i.Ethertype == "" {
		i.Ethertype = "IPv4"
	}
	switch {
	case i.Direction != "ingress" && i.Direction != "egress":
		return refuse(400, "Invalid input for direction. Reason: '%s' is not in ['ingress', 'egress'].", i.Direction)
	case g == nil:
		return refuse(404, "Security group %s does not exist", i.Group)
	case i.PortMin != nil && i.PortMax != nil && *i.PortMin > *i.PortMax:
		return refuse(400, "For TCP/UDP protocols, port_range_min must be <= port_range_max")
	case i.PortMin != nil && i.Protocol == nil:
		return refuse(400, "Must also specify protocol if port range is given.")
	case i.RemotePrefix != nil && !isPrefix(*i.RemotePrefix):
		return refuse(400, "Invalid CIDR %s given as IP prefix.", *i.RemotePrefix)
	case i.RemoteGroup != nil && i.RemotePrefix != nil:
		return refuse(400, "Only remote_ip_prefix or remote_group_id may be provided.")
	}
	r := &secRule{uuid(), g.id, i.Direction, i.Ethertype, i.Description, i.Protocol, i.PortMin, i.PortMax, i.RemoteGroup, i.RemotePrefix}
	n := 0
	for _, other := range k.c.groupsOf(k.region) {
		n += len(other.rules)
	}
	if q := k.c.opts.Quota.SecurityGroupRules; q >= 0 && n >= q {
		return refuse(409, "Quota exceeded for resources: ['security_group_rule'].")
	}
	for _, o := range g.rules {
		if o.same(r) {
			return refuse(409, "Security group rule already exists. Rule id is %s.", o.id)
		}
	}
	g.rules = append(g.rules, r)
	return r, 0, nil
}

func isPrefix(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	_, err := netip.ParsePrefix(s)
	return err == nil
}

func secRuleDelete(k *call) (int, any) {
	for _, g := range k.c.groupsOf(k.region) {
		for i, r := range g.rules {
			if r.id == k.vars["id"] {
				g.rules = slices.Delete(g.rules, i, i+1)
				return 204, nil
			}
		}
	}
	return k.err(404, "Security group rule %s does not exist", k.vars["id"])
}
