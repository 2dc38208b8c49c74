package preflight

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dripstat/failover/provision"
)

// server resolves one block's wishes.
func (j *judgement) server(s provision.Server, inv provision.Inventory) {
	thing := "server." + s.Name
	f := provision.ServerFacts{UserData: j.seen.userData[s.Name], Hedge: s.Hedge}
	image, ok := j.image(s, inv, thing)
	f.Image = image
	if ok && inv.Flavors != nil {
		f.Rungs = j.rungs(s, inv, image, thing)
	}
	f.Networks, f.Floating = j.networks(s, inv, thing)
	for _, n := range f.Networks {
		if n.Free >= s.Count && n.Free < s.Count+f.Hedge {
			j.unhedge(s, &f, fmt.Sprintf("network %s has %d free addresses", n.Name, n.Free))
		}
	}
	for _, name := range s.SecurityGroups {
		i := slices.IndexFunc(inv.SecurityGroups, func(g provision.NamedID) bool { return g.Name == name || g.ID == name })
		j.facts.Checks++
		if i < 0 && inv.SecurityGroups != nil {
			j.find(provision.Refuse, "security group", thing, s.Pos, "there are: "+names(inv.SecurityGroups, func(g provision.NamedID) string { return g.Name }),
				"%s has no security group %q", inv.Region, name)
		} else if i >= 0 {
			f.Groups = append(f.Groups, inv.SecurityGroups[i])
		}
	}
	j.facts.Servers[s.Name] = f
}

// unhedge goes without the servers that would only make the run faster: their lack stops no emergency.
func (j *judgement) unhedge(s provision.Server, f *provision.ServerFacts, why string) {
	f.Hedge = 0
	j.find(provision.Warn, "hedge", "server."+s.Name, s.Pos, "", "%s: there is no room for the hedge of %d beside the %d that are needed; the run goes without", why, s.Hedge, s.Count)
}

func (j *judgement) image(s provision.Server, inv provision.Inventory, thing string) (provision.Image, bool) {
	found, read := inv.Images[s.Name]
	if !read {
		return provision.Image{}, false // said in Unread
	}
	j.facts.Checks++
	if len(found) == 0 {
		j.find(provision.Refuse, "image", thing, s.Pos, "openstack --os-region-name "+inv.Region+" image list; what differs in one region goes into region \""+inv.Region+"\" { image = ... }",
			"%s has no image %q", inv.Region, s.Image.String())
		return provision.Image{}, false
	}
	active := slices.DeleteFunc(slices.Clone(found), func(i provision.Image) bool { return i.Status != "active" })
	if len(active) == 0 {
		j.find(provision.Refuse, "image", thing, s.Pos, "", "image %s is %s, not active", found[0].Name, found[0].Status)
		return provision.Image{}, false
	}
	if s.Image.Pattern == "" && len(active) > 1 {
		j.find(provision.Warn, "image", thing, s.Pos, "name it by its id", "%d images are called %q; the newest, %s, is taken", len(active), s.Image.Name, active[0].ID)
	}
	return active[0], true
}

// rungs resolves the ladder: each flavor that exists and fits, in each zone.
func (j *judgement) rungs(s provision.Server, inv provision.Inventory, image provision.Image, thing string) []provision.Rung {
	zones := s.Zones
	for _, z := range s.Zones {
		j.facts.Checks++
		if inv.Zones != nil && !slices.Contains(inv.Zones, z) {
			j.find(provision.Refuse, "zone", thing, s.Pos, "there are: "+strings.Join(inv.Zones, ", "), "%s has no availability zone %q that is up", inv.Region, z)
		}
	}
	if len(zones) == 0 {
		zones = []string{""}
	}
	var rungs []provision.Rung
	var not []string
	for _, want := range s.Flavors {
		j.facts.Checks++
		fl, why := pick(want, inv.Flavors, image, s.Volume)
		if why != "" {
			not = append(not, why)
			continue
		}
		for _, z := range zones {
			r := provision.Rung{Flavor: fl, Zone: z}
			if !slices.Contains(rungs, r) {
				rungs = append(rungs, r)
			}
		}
	}
	weight := provision.Warn
	if len(rungs) == 0 {
		weight = provision.Refuse
	}
	for _, w := range not {
		j.find(weight, "flavor", thing, s.Pos, "there are: "+flavorNames(inv.Flavors), "%s", w)
	}
	return rungs
}

// pick finds the flavor that a rung of the plan means, or says why there is none.
func pick(w provision.FlavorWant, all []provision.Flavor, image provision.Image, v provision.Volume) (provision.Flavor, string) {
	if w.Name != "" {
		i := slices.IndexFunc(all, func(f provision.Flavor) bool { return f.Name == w.Name || f.ID == w.Name })
		if i < 0 {
			return provision.Flavor{}, fmt.Sprintf("there is no flavor %q", w.Name)
		}
		return all[i], unfit(all[i], image, v)
	}
	var fits []provision.Flavor
	for _, f := range all {
		if !f.Disabled && f.VCPUs >= w.VCPUs && f.RAMMB >= w.RAMMB && (f.DiskGB >= w.DiskGB || f.DiskGB == 0 && v.SizeGB >= w.DiskGB && v.SizeGB > 0) && unfit(f, image, v) == "" {
			fits = append(fits, f)
		}
	}
	if len(fits) == 0 {
		return provision.Flavor{}, "no flavor is the " + w.String()
	}
	slices.SortStableFunc(fits, func(a, b provision.Flavor) int {
		// RAM is what clouds charge by; equal RAM is settled by cores, then disk, then name.
		for _, d := range []int{a.RAMMB - b.RAMMB, a.VCPUs - b.VCPUs, a.DiskGB - b.DiskGB, strings.Compare(a.Name, b.Name)} {
			if d != 0 {
				return d
			}
		}
		return 0
	})
	if w.Largest {
		return fits[len(fits)-1], ""
	}
	return fits[0], ""
}

// unfit says why an image cannot run on a flavor.
func unfit(f provision.Flavor, i provision.Image, v provision.Volume) string {
	switch {
	case f.Disabled:
		return fmt.Sprintf("flavor %s is disabled", f.Name)
	case f.DiskGB == 0 && v.SizeGB == 0:
		return fmt.Sprintf("flavor %s has no disk and the plan names no volume { size = ... } to boot from", f.Name)
	case f.DiskGB > 0 && f.DiskGB < i.MinDiskGB:
		return fmt.Sprintf("flavor %s has a disk of %d GB, image %s needs %d", f.Name, f.DiskGB, i.Name, i.MinDiskGB)
	case f.DiskGB == 0 && v.SizeGB < i.MinDiskGB:
		return fmt.Sprintf("the volume of %d GB is too small for image %s, which needs %d", v.SizeGB, i.Name, i.MinDiskGB)
	case f.RAMMB < i.MinRAMMB:
		return fmt.Sprintf("flavor %s has %d MiB of memory, image %s needs %d", f.Name, f.RAMMB, i.Name, i.MinRAMMB)
	case f.Class != "" && !admits(i.Classes, f.Class):
		return fmt.Sprintf("flavor %s is of the class %s, and image %s says that it runs on %s (its flavor_classes)", f.Name, f.Class, i.Name, i.Classes)
	case f.Arch != "" && i.Architecture != "" && f.Arch != i.Architecture:
		return fmt.Sprintf("flavor %s is %s, image %s is %s", f.Name, f.Arch, i.Name, i.Architecture)
	}
	return ""
}

// admits reads flavor_classes: words by comma, * is every class, a ! before one takes it out, wherever it stands.
// https://docs.rackspace.com/docs/cloud-servers/flavors
func admits(classes, class string) bool {
	if strings.TrimSpace(classes) == "" {
		return true
	}
	in := false
	for w := range strings.SplitSeq(classes, ",") {
		switch strings.TrimSpace(w) {
		case "!" + class:
			return false
		case "*", class:
			in = true
		}
	}
	return in
}

func (j *judgement) networks(s provision.Server, inv provision.Inventory, thing string) ([]provision.Network, *provision.Network) {
	if inv.Networks == nil {
		return nil, nil
	}
	all := func(n provision.Network) string { return n.Name }
	var out []provision.Network
	get := func(name string) *provision.Network {
		j.facts.Checks++
		i := slices.IndexFunc(inv.Networks, func(n provision.Network) bool { return n.Name == name || n.ID == name })
		if i < 0 {
			j.find(provision.Refuse, "network", thing, s.Pos, "there are: "+names(inv.Networks, all), "%s has no network %q", inv.Region, name)
			return nil
		}
		n := inv.Networks[i]
		switch {
		case !n.Active:
			j.find(provision.Warn, "network", thing, s.Pos, "", "network %s is not ACTIVE", n.Name)
		case n.Free >= 0 && n.Free < s.Count:
			j.find(provision.Refuse, "network", thing, s.Pos, "", "network %s has %d free addresses, %d are needed", n.Name, n.Free, s.Count)
		}
		return &n
	}
	for _, name := range s.Networks {
		if n := get(name); n != nil {
			out = append(out, *n)
			if n.External && !n.Shared { // https://docs.openstack.org/nova/latest/configuration/policy.html: network:attach_external_network
				j.find(provision.Warn, "network", thing, s.Pos, "networks = [...] of your own, and floating_ip = \""+n.Name+"\"",
					"network %s is external and not shared: most clouds let nobody but administrators put servers into it", n.Name)
			}
		}
	}
	var floating *provision.Network
	if s.FloatingIP != "" {
		if floating = get(s.FloatingIP); floating != nil && !floating.External {
			j.find(provision.Refuse, "network", thing, s.Pos, "", "network %s is not external: it has no floating addresses", floating.Name)
		}
	}
	if j.wants(s.Name, "AAAA") && !slices.ContainsFunc(out, func(n provision.Network) bool { return n.IPv6 }) {
		j.find(provision.Refuse, "network", thing, s.Pos, "", "an AAAA record points to it, but none of its networks has IPv6")
	}
	return out, floating
}

// wants reports whether a record of the type is moved to the block.
func (j *judgement) wants(server, typ string) bool {
	for _, z := range j.plan.Zones {
		for _, r := range z.Records {
			if r.Type == typ && slices.Contains(r.To, server) {
				return true
			}
		}
	}
	return false
}

func names[T any](list []T, name func(T) string) string {
	out := make([]string, 0, len(list))
	for _, x := range list {
		out = append(out, name(x))
	}
	slices.Sort(out)
	if len(out) > 12 {
		return strings.Join(out[:12], ", ") + fmt.Sprintf(" and %d more", len(out)-12)
	}
	if len(out) == 0 {
		return "(none)"
	}
	return strings.Join(out, ", ")
}

func flavorNames(fs []provision.Flavor) string {
	return names(fs, func(f provision.Flavor) string { return f.Name })
}
