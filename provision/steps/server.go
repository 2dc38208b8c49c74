package steps

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/templates"
)

// Kinds of what a server needs and is; openstack performs them.
const (
	// KeypairCreate {cloud name public_key} → {name}
	KeypairCreate provision.Kind = "keypair.create"
	KeypairDelete provision.Kind = "keypair.delete"
	// GroupCreate {cloud name description rules run slot} → {id name}
	GroupCreate provision.Kind = "group.create"
	GroupDelete provision.Kind = "group.delete"
	// GroupClose {cloud group port cidr} → {}: what opens exactly this port, from cidr or from anywhere, is removed.
	GroupClose provision.Kind = "group.close"
	// ServerGroupCreate {cloud name policy} → {id}
	ServerGroupCreate provision.Kind = "servergroup.create"
	ServerGroupDelete provision.Kind = "servergroup.delete"
	// ServerCreate {cloud name service run slot image flavor flavor_name volume_gb volume_type zone networks
	// key host_key groups servergroup user_data config_drive metadata want_floating} → {id address ipv4 ipv6 fixed addresses flavor zone created
	// launched}; host_key names the certificate that the throwaway host key is derived from; fixed is its IPv4 address on the first of its
	// networks, as a load balancer beside it reaches it.
	ServerCreate provision.Kind = "server.create"
	ServerDelete provision.Kind = "server.delete"
	// FloatingIPCreate {cloud server port network run slot} → {id address}; port goes before server
	FloatingIPCreate provision.Kind = "floatingip.create"
	FloatingIPDelete provision.Kind = "floatingip.delete"
	// ConsoleHostKeys {cloud server} → {host_keys}
	ConsoleHostKeys provision.Kind = "console.hostkeys"
)

// What steps usually take, for people only; from runs on a KVM cloud.
const (
	expectBoot   = 110 * time.Second
	expectMoment = time.Second
)

// server adds everything of one Server block, from its groups to the proof of each slot.
func (b *builder) server(s provision.Server) {
	f := b.facts.Servers[s.Name]
	s.Hedge = f.Hedge
	cloud := provision.Lit(s.Cloud)
	var needs []provision.StepID
	with := map[string]provision.Arg{
		"cloud":        cloud,
		"service":      provision.Lit(b.plan.Service),
		"run":          provision.Lit(string(b.run)),
		"image":        provision.Lit(f.Image.ID),
		"networks":     provision.Lit(ids(f.Networks)),
		"user_data":    provision.Lit(string(f.UserData)),
		"config_drive": provision.Lit(s.ConfigDrive),
		"metadata":     provision.Lit(s.Metadata),
	}
	switch {
	case s.Pulls():
		c, _ := b.plan.Certificate(s.Certificate)
		needs = append(needs, fetchID(c.Name)) // what is wrapped is what was judged
		with["user_data"] = provision.Lit(strings.ReplaceAll(string(f.UserData), templates.PullFingerprint, b.facts.Certificates[c.Name].Fingerprint))
		with["wrap"] = provision.Lit(map[string]any{"certificate": c.Name, "seconds": int(s.Deliver.Wrap.TTL / time.Second)})
	case s.Certificate != "":
		id := b.add(provision.Step{
			ID: provision.StepID("keypair/" + s.Name), Kind: KeypairCreate, Needs: []provision.StepID{b.loginKey(s.Certificate)},
			With: map[string]provision.Arg{"cloud": cloud, "name": provision.Lit(b.tag(s.Name)),
				"public_key": provision.From(loginID, "public_key")},
			Undo: provision.Undo{Kind: KeypairDelete, Take: []string{"cloud", "name"}}, Within: provision.Duration(2 * time.Minute), Expect: provision.Duration(expectMoment),
			Say: provision.Say{Stage: provision.StagePrepare, Thing: "login key", Detail: "in memory, for this run alone"},
		})
		needs, with["key"] = append(needs, id), provision.From(id, "name")
		if b.noConsole(s) { // what the key is derived from must be in memory as the server is asked for
			needs, with["host_key"] = append(needs, fetchID(s.Certificate), loginID), provision.Lit(s.Certificate)
		}
	}
	groups := make([]string, 0, len(f.Groups)+1)
	for _, g := range f.Groups {
		groups = append(groups, g.Name)
	}
	if len(s.Open) > 0 {
		id := b.openGroup(s)
		needs = append(needs, id)
		groups = append(groups, b.tag(s.Name))
	}
	with["groups"] = provision.Lit(groups)
	if s.Spread && len(s.Slots()) > 1 {
		id := b.add(provision.Step{
			ID: provision.StepID("spread/" + s.Name), Kind: ServerGroupCreate,
			With: map[string]provision.Arg{"cloud": cloud, "name": provision.Lit(b.tag(s.Name)), "policy": provision.Lit("anti-affinity")},
			Undo: provision.Undo{Kind: ServerGroupDelete, Take: []string{"cloud", "id", "name"}}, Within: provision.Duration(2 * time.Minute), Expect: provision.Duration(expectMoment),
			Say: provision.Say{Stage: provision.StagePrepare, Thing: s.Name, Detail: "no two on one hypervisor"},
		})
		needs, with["servergroup"] = append(needs, id), provision.From(id, "id")
	}
	needs = b.heldBack(needs, "server."+s.Name)
	if s.FloatingIP != "" {
		with["want_floating"] = provision.Lit(true)
	}

	var delivered []provision.StepID
	for _, slot := range s.Slots() {
		delivered = append(delivered, b.slot(s, f, slot, with, needs)...)
	}
	if len(s.Open) > 0 && !s.KeepSSH && s.Certificate != "" && !s.Pulls() {
		id := b.add(provision.Step{
			ID: provision.StepID("close/" + s.Name), Kind: GroupClose,
			Needs:  append(delivered, groupID(s)),
			With:   map[string]provision.Arg{"cloud": cloud, "group": provision.From(groupID(s), "id"), "port": provision.Lit(s.SSH.Port)},
			Within: provision.Duration(2 * time.Minute), Expect: provision.Duration(expectMoment),
			Say: provision.Say{Stage: provision.StageClose, Thing: s.Name, Detail: fmt.Sprintf("port %d, once the certificate is delivered", s.SSH.Port)},
		})
		if s.Pooled() { // once it is delivered to all that will have it
			b.step(id).Quorum = &provision.Quorum{Want: len(s.Slots())}
		}
	}
	if s.Pooled() {
		b.enough(s)
	}
}

// slot adds one server: create, address, identity, certificate, proof. It gives the delivery steps.
func (b *builder) slot(s provision.Server, f provision.ServerFacts, slot string, common map[string]provision.Arg, needs []provision.StepID) []provision.StepID {
	if s.Pooled() {
		b.at = slot
		defer func() { b.at = "" }()
	}
	with := maps.Clone(common)
	with["name"], with["slot"] = provision.Lit(slot), provision.Lit(slot)
	var ladder []map[string]provision.Arg
	for i, r := range f.Rungs {
		rung := map[string]provision.Arg{"flavor": provision.Lit(r.Flavor.ID), "flavor_name": provision.Lit(r.Flavor.Name), "zone": provision.Lit(r.Zone)}
		if r.Flavor.DiskGB == 0 && s.Volume.SizeGB > 0 {
			rung["volume_gb"], rung["volume_type"] = provision.Lit(s.Volume.SizeGB), provision.Lit(s.Volume.Type)
		} else if i > 0 {
			rung["volume_gb"] = provision.Lit(0)
		}
		if i == 0 {
			maps.Copy(with, rung)
		} else {
			ladder = append(ladder, rung)
		}
	}
	id := b.add(provision.Step{
		ID: serverID(slot), Kind: ServerCreate, Needs: needs, With: with, Ladder: ladder,
		Undo: provision.Undo{Kind: ServerDelete, Take: []string{"cloud", "id", "run", "slot"}}, Within: provision.Duration(s.Timeout), Expect: provision.Duration(expectBoot),
		Say: provision.Say{Stage: provision.StageCreate, Thing: slot, Detail: describe(f), Hint: tried(f, s.Pos)},
	})
	at := source{slot: slot, v4: provision.Output{Step: id, Name: "ipv4"}, v6: provision.Output{Step: id, Name: "ipv6"}}
	if f.Floating != nil {
		fip := b.add(provision.Step{
			ID: provision.StepID("address/" + slot), Kind: FloatingIPCreate, Needs: []provision.StepID{id},
			With: map[string]provision.Arg{"cloud": common["cloud"], "server": provision.From(id, "id"), "network": provision.Lit(f.Floating.ID),
				"run": common["run"], "slot": provision.Lit(slot)},
			Undo: provision.Undo{Kind: FloatingIPDelete, Take: []string{"cloud", "id", "run", "slot"}}, Within: provision.Duration(2 * time.Minute), Expect: provision.Duration(expectMoment),
			Say: provision.Say{Stage: provision.StageCreate, Thing: slot, Detail: "a floating address of " + f.Floating.Name},
		})
		at.v4 = provision.Output{Step: fip, Name: "address"}
	}
	b.addresses[s.Name] = append(b.addresses[s.Name], at)
	var delivered []provision.StepID
	before := []provision.StepID{id, at.v4.Step}
	switch {
	case s.Pulls():
		before = append(before, b.pulled(s, slot, id))
	case s.Certificate != "":
		delivered = append(delivered, b.deliver(s, slot, id, at))
		before = append(before, delivered...)
	}
	if s.Ready != nil {
		b.proofs[s.Name] = append(b.proofs[s.Name], b.prove(s, at, unique(before)))
	} else {
		b.proofs[s.Name] = append(b.proofs[s.Name], unique(before)...)
	}
	return delivered
}

func serverID(slot string) provision.StepID { return provision.StepID("server/" + slot) }

func groupID(s provision.Server) provision.StepID { return provision.StepID("group/" + s.Name) }

// openGroup adds the security group that is made for the run. Rules are JSON-shaped for the handler.
func (b *builder) openGroup(s provision.Server) provision.StepID {
	rules := []any{}
	for _, r := range s.Open {
		for _, cidr := range b.cidrs(s, r.From) {
			rule := map[string]any{"protocol": r.Protocol, "cidr": cidr}
			if r.Port > 0 {
				rule["port_min"], rule["port_max"] = r.Port, max(r.Port, r.PortMax)
			}
			rules = append(rules, rule)
		}
	}
	return b.add(provision.Step{
		ID: groupID(s), Kind: GroupCreate,
		With: map[string]provision.Arg{"cloud": provision.Lit(s.Cloud), "name": provision.Lit(b.tag(s.Name)),
			"description": provision.Lit(fmt.Sprintf("%s of %s, made by failover run %s", s.Name, b.plan.Service, b.run)),
			"rules":       provision.Lit(rules), "run": provision.Lit(string(b.run)), "slot": provision.Lit(s.Name)},
		Undo: provision.Undo{Kind: GroupDelete, Take: []string{"cloud", "id", "name", "run", "slot"}}, Within: provision.Duration(2 * time.Minute), Expect: provision.Duration(expectMoment),
		Say: provision.Say{Stage: provision.StagePrepare, Thing: s.Name, Detail: "open " + openText(s.Open)},
	})
}

func (b *builder) cidrs(s provision.Server, from string) []string {
	switch from {
	case "any":
		return []string{"0.0.0.0/0", "::/0"}
	case "me":
		return []string{b.facts.Operator}
	case "balancers":
		return b.facts.Servers[s.Name].Balancers
	}
	return []string{from}
}

// openText gives "443, 80 from any; 22 from me".
func openText(rules []provision.OpenRule) string {
	var from []string
	ports := map[string][]string{}
	for _, r := range rules {
		p := strconv.Itoa(r.Port)
		switch {
		case r.Port == 0:
			p = r.Protocol
		case r.PortMax > r.Port:
			p += "-" + strconv.Itoa(r.PortMax)
		}
		if r.Port > 0 && r.Protocol != "tcp" {
			p += "/" + r.Protocol
		}
		if ports[r.From] == nil {
			from = append(from, r.From)
		}
		ports[r.From] = append(ports[r.From], p)
	}
	out := make([]string, len(from))
	for i, f := range from {
		out[i] = strings.Join(ports[f], ", ") + " from " + f
	}
	return strings.Join(out, "; ")
}

// tried says what the ladder held and where another rung would go.
func tried(f provision.ServerFacts, pos provision.Pos) string {
	var rungs []string
	for _, r := range f.Rungs {
		rung := r.Flavor.Name
		if r.Zone != "" {
			rung += " in " + r.Zone
		}
		rungs = append(rungs, rung)
	}
	where := "the server block"
	if p := pos.String(); p != "" {
		where += " (" + p + ")"
	}
	return fmt.Sprintf("the ladder was %s; add a rung to flavor or zones in %s and start anew, or try the same again: failover resume", strings.Join(rungs, ", "), where)
}

func describe(f provision.ServerFacts) string {
	if len(f.Rungs) == 0 {
		return f.Image.Name
	}
	fl := f.Rungs[0].Flavor
	out := fmt.Sprintf("%s (%d vCPU, %s), %s", fl.Name, fl.VCPUs, ram(fl.RAMMB), f.Image.Name)
	if z := f.Rungs[0].Zone; z != "" {
		out += ", zone " + z
	}
	return out
}

func ram(mb int) string {
	if mb%1024 == 0 {
		return fmt.Sprintf("%d GiB", mb/1024)
	}
	return fmt.Sprintf("%d MiB", mb)
}

func ids(ns []provision.Network) []string {
	out := make([]string, len(ns))
	for i, n := range ns {
		out[i] = n.ID
	}
	return out
}

func unique(in []provision.StepID) []provision.StepID {
	out := make([]provision.StepID, 0, len(in))
	seen := map[provision.StepID]bool{}
	for _, x := range in {
		if !seen[x] {
			seen[x] = true
			out = append(out, x)
		}
	}
	return out
}
