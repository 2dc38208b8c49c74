package sandbox

import "slices"

var groupPolicies = []string{"affinity", "anti-affinity", "soft-affinity", "soft-anti-affinity"}

func (c *Cloud) groupList(region string) []*serverGroup {
	return ofRegion(c.groups, region, func(g *serverGroup) (string, int) { return g.region, g.order })
}

func (k *call) groupView(g *serverGroup) obj {
	o := obj{"id": g.id, "name": g.name, "members": append([]string{}, g.members...)}
	if k.micro >= 64 {
		o["policy"], o["rules"] = g.policy, obj{}
	} else {
		o["policies"], o["metadata"] = []string{g.policy}, obj{}
	}
	if k.micro >= 13 {
		o["project_id"], o["user_id"] = k.c.project, k.c.user
	}
	return o
}

func groupList(k *call) (int, any) {
	list := []obj{}
	for _, g := range k.c.groupList(k.region) {
		list = append(list, k.groupView(g))
	}
	return 200, obj{"server_groups": list}
}

// groupCreate takes policies, a list of one, below 2.64 and policy from there on.
func groupCreate(k *call) (int, any) {
	var in struct {
		Group struct {
			Name     string   `json:"name"`
			Policy   *string  `json:"policy"`
			Policies []string `json:"policies"`
		} `json:"server_group"`
	}
	if k.decode(&in) != nil || in.Group.Name == "" {
		return k.malformed()
	}
	g := in.Group
	policy := ""
	switch {
	case k.micro >= 64 && g.Policies != nil:
		return k.err(400, "Invalid input for field/attribute server_group. Additional properties are not allowed ('policies' was unexpected)")
	case k.micro < 64 && g.Policy != nil:
		return k.err(400, "Invalid input for field/attribute server_group. Additional properties are not allowed ('policy' was unexpected)")
	case k.micro >= 64 && g.Policy == nil:
		return k.err(400, "Invalid input for field/attribute server_group. 'policy' is a required property")
	case k.micro < 64 && len(g.Policies) != 1:
		return k.err(400, "Invalid input for field/attribute policies. 'policies' is a required property of exactly one item")
	case k.micro >= 64:
		policy = *g.Policy
	default:
		policy = g.Policies[0]
	}
	known := groupPolicies
	if k.micro < 15 {
		known = known[:2]
	}
	if !slices.Contains(known, policy) {
		return k.err(400, "Invalid input for field/attribute policy. Value: %s. '%[1]s' is not one of %v", policy, known)
	}
	if q := k.c.opts.Quota.ServerGroups; q >= 0 && len(k.c.groupList(k.region)) >= q {
		return k.err(403, "Quota exceeded, too many server groups.")
	}
	sg := &serverGroup{id: uuid(), region: k.region, name: g.Name, policy: policy, order: k.c.nextOrder()}
	k.c.groups[sg.id] = sg
	return 200, obj{"server_group": k.groupView(sg)}
}

func (k *call) group() *serverGroup {
	if g := k.c.groups[k.vars["id"]]; g != nil && g.region == k.region {
		return g
	}
	return nil
}

func groupShow(k *call) (int, any) {
	if g := k.group(); g != nil {
		return 200, obj{"server_group": k.groupView(g)}
	}
	return k.err(404, "Instance group %s could not be found.", k.vars["id"])
}

// groupDelete deletes a group even when it has members, as nova does.
func groupDelete(k *call) (int, any) {
	g := k.group()
	if g == nil {
		return k.err(404, "Instance group %s could not be found.", k.vars["id"])
	}
	delete(k.c.groups, g.id)
	return 204, nil
}
