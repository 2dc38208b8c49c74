package openstack

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"

	"github.com/dripstat/failover/provision"
)

// serverArgs are those of server.create.
type serverArgs struct {
	Cloud        string            `json:"cloud"`
	Name         string            `json:"name"`
	Service      string            `json:"service"`
	Run          string            `json:"run"`
	Slot         string            `json:"slot"`
	Image        string            `json:"image"`
	Flavor       string            `json:"flavor"`
	FlavorName   string            `json:"flavor_name"`
	VolumeGB     int               `json:"volume_gb"`
	VolumeType   string            `json:"volume_type"`
	Zone         string            `json:"zone"`
	Networks     []string          `json:"networks"`
	Key          string            `json:"key"`
	Groups       []string          `json:"groups"`
	ServerGroup  string            `json:"servergroup"`
	UserData     string            `json:"user_data"`
	ConfigDrive  bool              `json:"config_drive"`
	Metadata     map[string]string `json:"metadata"`
	WantFloating bool              `json:"want_floating"`
}

// checkServer finds the slot's server in the run's one list.
func (c *Cloud) checkServer(ctx context.Context, a serverArgs) (provision.Status, error) {
	if c.absent(ServerCreate, a.Run+"/"+a.Slot) {
		return absent()
	}
	w := c.watch(a.Run)
	list, at, again, err := w.look(ctx)
	if err != nil {
		return provision.Status{Again: again}, err
	}
	s, note, ok := c.pick(list, a.Slot)
	if !ok {
		if seen, ok := w.expected(a.Slot, at, c.isGone); ok {
			return provision.Status{State: provision.Working, Seen: seen, Again: again}, nil
		}
		// A list that is empty, or behind, does not undo an answer: the server itself is asked for.
		if s, ok, err = c.own(ctx, w.answeredWith(a.Slot)); err != nil || !ok {
			return provision.Status{State: provision.Absent}, err
		}
	}
	// The id goes along from the first: an attempt that runs out of time is cleared away by it.
	st := provision.Status{State: provision.Working, Out: provision.Values{"id": s.ID}, Seen: s.seen() + note, Again: again}
	switch s.Status {
	case "ERROR":
		st.State, st.Again = provision.Failed, 0
		st.Seen = "ERROR" + note
		if m := c.fault(ctx, s); m != "" {
			st.Seen += ": " + m
		}
	case "ACTIVE":
		out := c.describe(s, a)
		if out.Text("address") == "" {
			st.Seen = "ACTIVE (no address yet)" + note
			break
		}
		if state, seen := s.automation(); c.legacy && state != provision.Done {
			st.State, st.Seen = state, "ACTIVE ("+seen+")"+note
			break
		}
		st.State, st.Out, st.Again = provision.Done, out, 0
	}
	return st, nil
}

// pick takes the oldest server of the slot that is not in ERROR; the others are told of.
func (c *Cloud) pick(list []server, slot string) (s server, note string, ok bool) {
	var mine []server
	for _, x := range list {
		if x.carries(provision.TagSlot, slot) && !x.going() && !c.isGone(x.ID) {
			mine = append(mine, x)
		}
	}
	if len(mine) == 0 {
		return server{}, "", false
	}
	slices.SortStableFunc(mine, func(x, y server) int {
		return cmp.Or(boolCompare(x.Status == "ERROR", y.Status == "ERROR"), cmp.Compare(x.Created, y.Created), cmp.Compare(x.ID, y.ID))
	})
	if len(mine) > 1 {
		note = fmt.Sprintf(" [%d servers carry this slot; %s is taken, %s is not]", len(mine), mine[0].ID, mine[1].ID)
	}
	return mine[0], note, true
}

// own reads the server that a create of ours was answered with, unless it is gone.
func (c *Cloud) own(ctx context.Context, id string) (server, bool, error) {
	if id == "" || c.isGone(id) {
		return server{}, false, nil
	}
	s, ok, err := c.server(ctx, id)
	return s, ok && !s.going(), err
}

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

func (c *Cloud) isGone(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gone[id]
}

// fault gives nova's reason for ERROR, from the list where it has one, else from the server itself.
func (c *Cloud) fault(ctx context.Context, s server) string {
	if s.Fault == nil {
		var one struct {
			Server server `json:"server"`
		}
		api, _, err := c.compute(ctx, mvTags)
		if err != nil || api.get(ctx, "read the server", api.url("servers/"+url.PathEscape(s.ID)), &one) != nil || one.Server.Fault == nil {
			return ""
		}
		s = one.Server
	}
	return cut(scrub(s.Fault.Message))
}

// describe gives the outputs of a server that is there.
func (c *Cloud) describe(s server, a serverArgs) provision.Values {
	type ip struct {
		addr     netip.Addr
		floating bool
	}
	var all []ip
	for _, name := range c.order(s, a.Networks) {
		for _, x := range s.Addresses[name] {
			if ad, err := netip.ParseAddr(x.Addr); err == nil {
				all = append(all, ip{ad, x.Type == "floating"})
			}
		}
	}
	// A load balancer beside the server reaches it by its own address on the first of its networks.
	fixed := ""
	for _, x := range all {
		if x.addr.Is4() && !x.floating && fixed == "" {
			fixed = x.addr.String()
		}
	}
	if c.legacy { // on both networks, whichever is the first: what it decrypts stays off the public one
		for _, x := range s.Addresses["private"] {
			if ad, err := netip.ParseAddr(x.Addr); err == nil && ad.Is4() {
				fixed = ad.String()
			}
		}
	}
	rank := func(x ip) int {
		switch {
		case x.addr.Is4() && x.floating:
			return 0
		case x.addr.Is4() && public(x.addr):
			return 1
		case x.addr.Is4():
			return 2
		case public(x.addr):
			return 3
		}
		return 4
	}
	slices.SortStableFunc(all, func(x, y ip) int { return rank(x) - rank(y) })
	v4, v6, addresses := "", "", []any{}
	for _, x := range all {
		addresses = append(addresses, x.addr.String())
		switch {
		case x.addr.Is4() && v4 == "":
			v4 = x.addr.String()
		case x.addr.Is6() && v6 == "":
			v6 = x.addr.String()
		}
	}
	return provision.Values{
		"id": s.ID, "address": first(v4, v6), "ipv4": v4, "ipv6": v6, "fixed": fixed, "addresses": addresses,
		"flavor": first(a.FlavorName, s.Flavor.Name, s.Flavor.ID), "zone": s.Zone, "created": s.Created, "launched": s.Launched,
	}
}

// order gives the names of the server's networks as the plan orders them, others after.
func (c *Cloud) order(s server, ids []string) []string {
	if c.legacy && len(ids) == 0 { // both are there: the world is behind the first
		ids = []string{publicNet, serviceNet}
	}
	names := slices.Sorted(maps.Keys(s.Addresses))
	c.mu.Lock()
	defer c.mu.Unlock()
	at := func(name string) int {
		if i := slices.IndexFunc(ids, func(id string) bool { return c.nets[id] == name }); i >= 0 {
			return i
		}
		return len(ids)
	}
	slices.SortStableFunc(names, func(a, b string) int { return at(a) - at(b) })
	return names
}

// public says whether an address looks like one that the world can reach.
func public(a netip.Addr) bool {
	cgnat := netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, 0, 0}), 10)
	return a.IsGlobalUnicast() && !a.IsPrivate() && !cgnat.Contains(a)
}

// createServer sends the one request that makes the server.
func (c *Cloud) createServer(ctx context.Context, a serverArgs) error {
	want := mvTags
	if a.VolumeType != "" {
		want = mvVolumeType
	}
	s, minor, err := c.compute(ctx, want)
	if err != nil {
		return err
	}
	c.tried(ServerCreate, a.Run+"/"+a.Slot)
	w := c.watch(a.Run)
	var out struct {
		Server struct {
			ID string `json:"id"`
		} `json:"server"`
	}
	err = s.post(ctx, "create server "+a.Name, s.url("servers"), c.body(a, minor), &out)
	if err == nil && out.Server.ID == "" {
		err = &provision.Error{What: "create server " + a.Name + ": nova's answer names no server", Class: provision.Unknown}
	}
	if err != nil {
		if provision.ClassOf(err) == provision.Unknown {
			w.unanswered(a.Slot)
		}
		return err
	}
	w.made(a.Slot, out.Server.ID)
	return nil
}

// packFrom is the size from which user-data is packed, as preflight has reckoned (templates.Pack): below it people can still read it.
const packFrom = 8 << 10

// packed gives user-data as cloud-init takes it, gzipped where that helps. It is packed here and no sooner: a step holds text, and JSON
// would spoil anything else.
func packed(data []byte) []byte {
	if len(data) <= packFrom {
		return data
	}
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // it knows this level
	if _, err := z.Write(data); err != nil || z.Close() != nil || b.Len() >= len(data) {
		return data
	}
	return b.Bytes()
}

func (c *Cloud) body(a serverArgs, minor int) map[string]any {
	meta := map[string]string{}
	maps.Copy(meta, a.Metadata)
	meta[provision.TagService], meta[provision.TagRun], meta[provision.TagSlot] = a.Service, a.Run, a.Slot
	srv := map[string]any{"name": a.Name, "flavorRef": a.Flavor, "metadata": meta}
	if a.VolumeGB > 0 {
		bdm := map[string]any{"uuid": a.Image, "source_type": "image", "destination_type": "volume", "boot_index": 0,
			"volume_size": a.VolumeGB, "delete_on_termination": true}
		if a.VolumeType != "" && minor >= mvVolumeType {
			bdm["volume_type"] = a.VolumeType
		}
		srv["block_device_mapping_v2"] = []any{bdm}
		if c.legacy { // it is empty, and there: https://github.com/rackerlabs/docs-cloud-servers/blob/master/src/common/samples/server-create-boot-vol-req.json
			srv["imageRef"] = ""
		}
	} else {
		srv["imageRef"] = a.Image
	}
	switch {
	case len(a.Networks) > 0:
		nets := []any{}
		for _, id := range a.Networks {
			nets = append(nets, map[string]any{"uuid": id})
		}
		srv["networks"] = nets
	case minor >= mvAutoNetwork:
		srv["networks"] = "auto"
	}
	if len(a.Groups) > 0 {
		groups := []any{}
		for _, g := range a.Groups {
			c.mu.Lock()
			id := c.groups[g]
			c.mu.Unlock()
			groups = append(groups, map[string]any{"name": first(id, g)}) // nova takes an id there as well, and a name may be there twice
		}
		srv["security_groups"] = groups
	}
	if a.Zone != "" {
		srv["availability_zone"] = a.Zone
	}
	if a.Key != "" {
		srv["key_name"] = a.Key
	}
	if a.UserData != "" {
		srv["user_data"] = base64.StdEncoding.EncodeToString(packed([]byte(a.UserData)))
	}
	if a.ConfigDrive {
		srv["config_drive"] = true
	}
	if minor >= mvTags {
		tags := []string{"failover"}
		for _, t := range []string{provision.TagService + "=" + a.Service, provision.TagRun + "=" + a.Run, provision.TagSlot + "=" + a.Slot} {
			if taggable(t) {
				tags = append(tags, t)
			}
		}
		srv["tags"] = tags
	}
	body := map[string]any{"server": srv}
	if a.ServerGroup != "" {
		body["os:scheduler_hints"] = map[string]any{"group": a.ServerGroup}
	}
	return body
}
