package openstack

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/dripstat/failover/provision"
)

type groupArgs struct {
	Cloud       string      `json:"cloud"`
	Name        string      `json:"name"`
	Description string      `json:"description"`
	Rules       []groupRule `json:"rules"`
	Service     string      `json:"service"`
	Run         string      `json:"run"`
	Slot        string      `json:"slot"`
}

// groupRule lets traffic in. CIDR "any" (or nothing) is everybody, over IPv4 and IPv6.
type groupRule struct {
	Protocol string `json:"protocol"`
	PortMin  int    `json:"port_min"`
	PortMax  int    `json:"port_max"`
	CIDR     string `json:"cidr"`
}

// rule is neutron's.
type rule struct {
	ID        string  `json:"id,omitempty"`
	Group     string  `json:"security_group_id"`
	Direction string  `json:"direction"`
	Ethertype string  `json:"ethertype"`
	Protocol  *string `json:"protocol"`
	PortMin   *int    `json:"port_range_min"`
	PortMax   *int    `json:"port_range_max"`
	Prefix    *string `json:"remote_ip_prefix"`
}

type group struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Description string `json:"description"`
	Project     string `json:"project_id"`
	Rules       []rule `json:"security_group_rules"`
}

// mark is what neutron's descriptions carry, which every version of it has and a filter finds.
func mark(run, slot string) string {
	s := provision.TagRun + "=" + run
	if slot != "" {
		s += " " + provision.TagSlot + "=" + slot
	}
	return s
}

// describeFor puts the mark behind what people read.
func describeFor(text, run, slot string) string {
	m := "[" + mark(run, slot) + "]"
	if text == "" {
		return m
	}
	return bound(text, 250-len(m)) + " " + m
}

// expand makes neutron's rules of ours.
func (r groupRule) expand(id string) []rule {
	one := func(ether, prefix string) rule {
		out := rule{Group: id, Direction: "ingress", Ethertype: ether}
		if p := strings.ToLower(r.Protocol); p != "" && p != "any" {
			if p == "icmp" && ether == "IPv6" {
				p = "ipv6-icmp"
			}
			out.Protocol = &p
		}
		if r.PortMin > 0 {
			lo, hi := r.PortMin, max(r.PortMin, r.PortMax)
			out.PortMin, out.PortMax = &lo, &hi
		}
		if prefix != "" {
			out.Prefix = &prefix
		}
		return out
	}
	switch c := r.CIDR; {
	case c == "" || c == "any":
		return []rule{one("IPv4", ""), one("IPv6", "")}
	case strings.Contains(c, ":"):
		return []rule{one("IPv6", prefixOf(c))}
	default:
		return []rule{one("IPv4", prefixOf(c))}
	}
}

// prefixOf gives the canonical form; all addresses of a family are no prefix at all.
func prefixOf(c string) string {
	if a, err := netip.ParseAddr(c); err == nil {
		return netip.PrefixFrom(a, a.BitLen()).String()
	}
	p, err := netip.ParsePrefix(c)
	switch {
	case err != nil:
		return c // neutron says what is wrong with it
	case p.Bits() == 0:
		return ""
	}
	return p.Masked().String()
}

// key makes equal what means the same.
func (r rule) key() string {
	proto, prefix, lo, hi := "", "", 0, 0
	if r.Protocol != nil {
		proto = strings.NewReplacer("ipv6-icmp", "icmp", "icmpv6", "icmp").Replace(*r.Protocol)
	}
	if r.Prefix != nil {
		prefix = prefixOf(*r.Prefix)
	}
	if r.PortMin != nil {
		lo, hi = *r.PortMin, *r.PortMin
	}
	if r.PortMax != nil {
		hi = *r.PortMax
	}
	return fmt.Sprint(r.Direction, r.Ethertype, proto, lo, hi, prefix)
}

// lacks gives the wanted rules that a group has not.
func (g group) lacks(a groupArgs) []rule {
	have := map[string]bool{}
	for _, r := range g.Rules {
		have[r.key()] = true
	}
	var out []rule
	for _, w := range a.Rules {
		for _, r := range w.expand(g.ID) {
			if !have[r.key()] {
				have[r.key()] = true
				out = append(out, r)
			}
		}
	}
	return out
}

// findGroup looks for the run's group of that name.
func (c *Cloud) findGroup(ctx context.Context, s service, a groupArgs) (group, bool, error) {
	var got struct {
		Groups []group `json:"security_groups"`
	}
	if err := s.get(ctx, "look for security group "+a.Name, s.url("security-groups"+query("name", a.Name)), &got); err != nil {
		return group{}, false, err
	}
	for _, g := range got.Groups {
		if a.Run == "" || strings.Contains(g.Description, mark(a.Run, "")) {
			c.mu.Lock()
			c.groups[a.Name] = g.ID
			c.mu.Unlock()
			return g, true, nil
		}
	}
	return group{}, false, nil
}

func (c *Cloud) checkGroup(ctx context.Context, a groupArgs) (provision.Status, error) {
	if out, ok := c.just(GroupCreate, a.Name); ok {
		return done(out)
	}
	if c.absent(GroupCreate, a.Name) {
		return absent()
	}
	s, err := c.service(ctx, "network")
	if err != nil {
		return provision.Status{}, err
	}
	g, ok, err := c.findGroup(ctx, s, a)
	if err != nil {
		return provision.Status{}, err
	}
	if !ok {
		return absent()
	}
	if n := len(g.lacks(a)); n > 0 {
		return provision.Status{State: provision.Absent, Seen: fmt.Sprintf("the group is there, %d of its rules are not", n)}, nil
	}
	return done(provision.Values{"id": g.ID, "name": g.Name})
}

// createGroup makes the group, or takes the run's own that is there, and adds all missing rules in one request.
func (c *Cloud) createGroup(ctx context.Context, a groupArgs) error {
	s, err := c.service(ctx, "network")
	if err != nil {
		return err
	}
	fresh := c.absent(GroupCreate, a.Name)
	c.tried(GroupCreate, a.Name)
	var out struct {
		Group group `json:"security_group"`
	}
	ok := false
	if !fresh {
		if out.Group, ok, err = c.findGroup(ctx, s, a); err != nil {
			return err
		}
	}
	if !ok {
		body := map[string]any{"security_group": map[string]any{"name": a.Name, "description": describeFor(a.Description, a.Run, a.Slot)}}
		if err := s.post(ctx, "create security group "+a.Name, s.url("security-groups"), body, &out); err != nil {
			return err
		}
	}
	g := out.Group
	c.mu.Lock()
	c.groups[a.Name] = g.ID
	c.mu.Unlock()
	// The tags are for people who search by tag; what counts is the description. Old clouds have no tags.
	tagged := make(chan struct{})
	go func() {
		defer close(tagged)
		tags := []string{"failover", mark(a.Run, "")}
		if a.Slot != "" {
			tags = append(tags, provision.TagSlot+"="+a.Slot)
		}
		_ = s.put(ctx, "tag security group", s.url("security-groups/"+url.PathEscape(g.ID)+"/tags"), map[string]any{"tags": tags}, nil)
	}()
	defer func() { <-tagged }()
	if missing := g.lacks(a); len(missing) > 0 {
		if err := s.post(ctx, "add rules to security group "+a.Name, s.url("security-group-rules"), map[string]any{"security_group_rules": missing}, nil); err != nil {
			return err
		}
	}
	c.remember(GroupCreate, a.Name, provision.Values{"id": g.ID, "name": a.Name})
	return nil
}

// checkNoGroup looks by id, or by name and mark where the id is not known.
func (c *Cloud) checkNoGroup(ctx context.Context, a deleteArgs) (provision.Status, error) {
	s, err := c.service(ctx, "network")
	if err != nil {
		return provision.Status{}, err
	}
	if a.ID == "" {
		_, ok, err := c.findGroup(ctx, s, groupArgs{Name: a.Name, Run: a.Run})
		if err != nil {
			return provision.Status{}, err
		}
		if !ok {
			return c.noneSeen(GroupDelete, a.key())
		}
		c.noisy(GroupDelete, a.key())
		return absent()
	}
	var got struct {
		Group group `json:"security_group"`
	}
	none, err := s.missing(ctx, "read security group "+a.ID, s.url("security-groups/"+url.PathEscape(a.ID)+query("fields", "id", "fields", "description")), &got)
	switch {
	case err != nil:
		return provision.Status{}, err
	case none:
		return done(provision.Values{"id": a.ID})
	case a.Run != "" && !strings.Contains(got.Group.Description, mark(a.Run, "")):
		return provision.Status{}, notOurs("security group", a.ID, a.Run)
	}
	return absent()
}

// deleteGroup is refused while a port still uses the group, which passes once its servers are gone.
func (c *Cloud) deleteGroup(ctx context.Context, a deleteArgs) error {
	s, err := c.service(ctx, "network")
	if err != nil {
		return err
	}
	if a.Name != "" {
		c.forget(GroupCreate, a.Name)
	}
	id := a.ID
	if id == "" {
		g, ok, err := c.findGroup(ctx, s, groupArgs{Name: a.Name, Run: a.Run})
		if err != nil || !ok {
			return err
		}
		id = g.ID
	}
	err = s.remove(ctx, "delete security group "+id, s.url("security-groups/"+url.PathEscape(id)))
	return whileInUse(err)
}

// whileInUse makes a conflict transient: what uses the thing is going.
func whileInUse(err error) error {
	var pe *provision.Error
	if errors.As(err, &pe) && strings.Contains(pe.What, "in conflict") {
		pe.Class = provision.Transient
		pe.After = max(pe.After, pace)
	}
	return err
}

type closeArgs struct {
	Cloud string `json:"cloud"`
	Group string `json:"group"`
	Port  int    `json:"port"`
	CIDR  string `json:"cidr"` // empty: from anywhere
	Run   string `json:"run"`
}

// openings are the ingress rules for exactly that port, and from exactly there where that is given.
func (c *Cloud) openings(ctx context.Context, s service, a closeArgs) ([]rule, error) {
	var got struct {
		Rules []rule `json:"security_group_rules"`
	}
	err := s.get(ctx, "read the rules of security group "+a.Group, s.url("security-group-rules"+query("security_group_id", a.Group, "direction", "ingress")), &got)
	return slices.DeleteFunc(got.Rules, func(r rule) bool {
		return r.PortMin == nil || r.PortMax == nil || *r.PortMin != a.Port || *r.PortMax != a.Port || a.CIDR != "" && !r.is(a.CIDR)
	}), err
}

func (c *Cloud) checkClosed(ctx context.Context, a closeArgs) (provision.Status, error) {
	s, err := c.service(ctx, "network")
	if err != nil {
		return provision.Status{}, err
	}
	open, err := c.openings(ctx, s, a)
	if err != nil {
		return provision.Status{}, err
	}
	if len(open) == 0 {
		return done(provision.Values{})
	}
	return provision.Status{State: provision.Absent, Seen: fmt.Sprintf("%d rules open port %d", len(open), a.Port)}, nil
}

func (c *Cloud) closePort(ctx context.Context, a closeArgs) error {
	s, err := c.service(ctx, "network")
	if err != nil {
		return err
	}
	open, err := c.openings(ctx, s, a)
	if err != nil {
		return err
	}
	for _, r := range open {
		if err := s.remove(ctx, fmt.Sprintf("close port %d", a.Port), s.url("security-group-rules/"+url.PathEscape(r.ID))); err != nil {
			return err
		}
	}
	return nil
}
