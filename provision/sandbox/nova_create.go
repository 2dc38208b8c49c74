package sandbox

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

type createInput struct {
	Name        string            `json:"name"`
	ImageRef    string            `json:"imageRef"`
	FlavorRef   any               `json:"flavorRef"`
	Networks    json.RawMessage   `json:"networks"`
	KeyName     string            `json:"key_name"`
	Metadata    map[string]string `json:"metadata"`
	Tags        []string          `json:"tags"`
	UserData    string            `json:"user_data"`
	AZ          string            `json:"availability_zone"`
	ConfigDrive any               `json:"config_drive"`
	AdminPass   string            `json:"adminPass"`
	Description string            `json:"description"`
	DiskConfig  string            `json:"OS-DCF:diskConfig"`
	MinCount    any               `json:"min_count"`
	MaxCount    any               `json:"max_count"`
	SecGroups   []struct {
		Name string `json:"name"`
	} `json:"security_groups"`
	BDM []struct {
		BootIndex   any    `json:"boot_index"`
		UUID        string `json:"uuid"`
		Source      string `json:"source_type"`
		Destination string `json:"destination_type"`
		Size        any    `json:"volume_size"`
		Delete      any    `json:"delete_on_termination"`
	} `json:"block_device_mapping_v2"`
}

var createFields = map[string]int{ // the field and the microversion since which it is allowed
	"name": 1, "imageRef": 1, "flavorRef": 1, "networks": 1, "key_name": 1, "metadata": 1, "user_data": 1,
	"availability_zone": 1, "config_drive": 1, "adminPass": 1, "OS-DCF:diskConfig": 1, "min_count": 1, "max_count": 1,
	"security_groups": 1, "block_device_mapping_v2": 1, "block_device_mapping": 1, "accessIPv4": 1, "accessIPv6": 1,
	"return_reservation_id": 1, "description": 19, "tags": 52, "trusted_image_certificates": 63, "host": 74,
	"hypervisor_hostname": 74, "hostname": 90,
}

type novaNet struct {
	UUID    string `json:"uuid"`
	Port    string `json:"port"`
	FixedIP string `json:"fixed_ip"`
}

// serverCreate checks in nova's order of complaint: schema, flavor, image, key,
// networks, quota. Nothing is made unless all of it holds.
func serverCreate(k *call) (int, any) {
	c := k.c
	var in struct {
		Server createInput `json:"server"`
		Hints  struct {
			Group string `json:"group"`
		} `json:"os:scheduler_hints"`
		Hints2 struct {
			Group string `json:"group"`
		} `json:"OS-SCH-HNT:scheduler_hints"`
	}
	var fields struct{ Server map[string]json.RawMessage }
	if k.decode(&fields) != nil || fields.Server == nil || k.decode(&in) != nil {
		return k.malformed()
	}
	for f := range fields.Server {
		if k.c.opts.Rackspace != nil && f == "personality" { // files to write; they are not written
			continue
		}
		if since := createFields[f]; since == 0 || k.micro < since {
			return k.err(400, "Invalid input for field/attribute server. Additional properties are not allowed ('%s' was unexpected)", f)
		}
	}
	s := in.Server
	ud, err := lenientBase64(s.UserData)
	flavorRef, _ := s.FlavorRef.(string)
	switch {
	case s.Name == "":
		return k.err(400, "Invalid input for field/attribute server. 'name' is a required property")
	case len(s.Name) > 255:
		return k.err(400, "Invalid input for field/attribute name. Value: %s. '%[1]s' is too long", s.Name)
	case flavorRef == "":
		return k.err(400, "Invalid input for field/attribute server. 'flavorRef' is a required property")
	case k.micro >= 37 && len(s.Networks) == 0:
		return k.err(400, "Invalid input for field/attribute server. 'networks' is a required property")
	case len(s.UserData) > 65535:
		return k.err(400, "Invalid input for field/attribute user_data. Value: ... is too long")
	case err != nil:
		return k.err(400, "Invalid input for field/attribute user_data. Value: ... is not a 'base64'")
	case badMetadata(s.Metadata) != "":
		return k.err(400, "Invalid input for field/attribute %s. Keys and values are of 1 to 255 characters", badMetadata(s.Metadata))
	case len(s.Tags) > 50:
		return k.err(400, "Invalid input for field/attribute tags. Value: %v is too long", s.Tags)
	case slices.ContainsFunc(s.Tags, badTag):
		return k.err(400, "Invalid input for field/attribute %d. Value: %v. A tag has 1 to 60 characters, no comma and no slash", slices.IndexFunc(s.Tags, badTag), s.Tags)
	}
	sv := &server{id: uuid(), region: k.region, name: s.Name, metadata: s.Metadata, tags: s.Tags, az: s.AZ,
		userData: ud, description: s.Description, created: k.now, updated: k.now,
		boot: c.opts.Boot, sshDelay: c.opts.SSHDelay, configDrive: s.ConfigDrive == true || s.ConfigDrive == "True" || s.ConfigDrive == "true"}
	if sv.flavor = c.flavorByID(k.region, flavorRef); sv.flavor == nil {
		return k.err(400, "Flavor %s could not be found.", flavorRef)
	}
	var vol *volume
	if status, val := k.disks(s, sv, &vol); status != 0 {
		return status, val
	}
	if s.KeyName != "" {
		if sv.key = c.keypairs[k.region+"/"+s.KeyName]; sv.key == nil {
			return k.err(400, "Invalid key_name provided.")
		}
	}
	if s.AZ == "" {
		sv.az = c.opts.AZs[c.order%len(c.opts.AZs)]
	} else if !slices.Contains(c.opts.AZs, s.AZ) {
		return k.err(400, "The requested availability zone is not available")
	}
	sv.secgroups = []string{"default"}
	if len(s.SecGroups) > 0 {
		sv.secgroups = nil
		for _, g := range s.SecGroups {
			found := c.secGroupByName(k.region, g.Name)
			if found == nil {
				return k.err(400, "Unable to find security_group with name or id '%s'", g.Name)
			}
			sv.secgroups = append(sv.secgroups, found.name)
		}
	}
	nets, status, val := k.networks(s.Networks)
	if status != 0 {
		return status, val
	}
	group := in.Hints.Group + in.Hints2.Group
	if group != "" {
		g := c.groups[group]
		if g == nil || g.region != k.region {
			return k.err(400, "Instance group %s could not be found.", group)
		}
		if q := c.opts.Quota.ServerGroupMembers; q >= 0 && len(g.members) >= q {
			return k.err(403, "Quota exceeded, too many servers in group")
		}
	}
	count := max(num(s.MinCount, 1), num(s.MaxCount, 1))
	if msg := c.overQuota(k.region, sv.flavor, count); msg != "" {
		if c.first().Old { // https://github.com/openstack/nova/blob/stable/icehouse/nova/api/openstack/compute/servers.py (QuotaError)
			k.header.Set("Retry-After", "0")
			return 413, obj{"overLimit": obj{"code": 413, "message": msg, "retryAfter": "0"}}
		}
		return k.err(403, "%s", msg)
	}
	if count != 1 {
		return k.err(400, "the sandbox makes one server with each request: min_count and max_count must be 1")
	}

	sv.order = c.nextOrder()
	sv.machine = newMachine(c, sv)
	c.servers[sv.id] = sv
	c.schedule(sv, group)
	if vol != nil {
		vol.server = sv.id
		c.volumes[vol.id] = vol
	}
	if !sv.unscheduled {
		for _, n := range nets {
			p := c.ports[n.Port]
			if p == nil {
				p = c.newPort(c.networks[n.UUID], "", k.now)
				if p == nil {
					continue // neutron's "No more IP addresses": a /22 holds more than any quota
				}
				p.owned = true
				for _, name := range sv.secgroups {
					p.groups = append(p.groups, c.secGroupByName(k.region, name).id)
				}
			}
			p.server = sv.id
		}
	}
	k.lose = c.take("reply-lost")
	pass := s.AdminPass
	if pass == "" {
		pass = secret()[:12]
	}
	k.header.Set("Location", k.self("/v2.1/servers/"+sv.id))
	groups := []obj{}
	for _, g := range sv.secgroups {
		groups = append(groups, obj{"name": g})
	}
	return 202, obj{"server": obj{"id": sv.id, "links": k.links("servers", sv.id), "OS-DCF:diskConfig": "MANUAL",
		"security_groups": groups, "adminPass": pass}}
}

// lenientBase64 passes over what is no base64, as Python's decoder does, on which nova's schema stands; only the
// length must be right.
func lenientBase64(s string) ([]byte, error) {
	s = strings.Map(func(r rune) rune {
		if r == '+' || r == '/' || r == '=' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' {
			return r
		}
		return -1
	}, s)
	return base64.StdEncoding.DecodeString(s)
}

func num(v any, def int) int {
	switch n := v.(type) {
	case float64:
		return int(n)
	case string:
		i := 0
		for _, r := range n {
			i = i*10 + int(r-'0')
		}
		return i
	}
	return def
}

func badTag(t string) bool { return t == "" || len(t) > 60 || strings.ContainsAny(t, ",/") }

// badMetadata names what nova would complain of.
func badMetadata(m map[string]string) string {
	for key, v := range m {
		if key == "" || len(key) > 255 || len(v) > 255 {
			return cmp.Or(key, "metadata")
		}
	}
	if len(m) > 128 {
		return "metadata"
	}
	return ""
}

// disks settles what the server boots from: an image, or a volume made from one.
func (k *call) disks(s createInput, sv *server, vol **volume) (int, any) {
	ref := s.ImageRef
	for _, b := range s.BDM {
		if num(b.BootIndex, -1) != 0 {
			continue
		}
		switch {
		case b.Source == "image" && b.Destination == "volume":
			if num(b.Size, 0) == 0 {
				return k.err(400, "Block Device Mapping is Invalid: Images with destination_type 'volume' need to have a non-zero size specified")
			}
			*vol = &volume{id: uuid(), region: k.region, sizeGB: num(b.Size, 0), deleteWithServer: b.Delete == true || b.Delete == "true"}
			ref = b.UUID
		case b.Source == "image" && b.Destination == "local":
			ref = b.UUID
		default:
			return k.err(400, "Block Device Mapping is Invalid: failed to get volume %s.", b.UUID)
		}
	}
	if ref == "" {
		return k.err(400, "Invalid imageRef provided.")
	}
	im := k.c.imageByID(k.region, ref[strings.LastIndex(ref, "/")+1:])
	if im == nil {
		return k.err(400, "Can not find requested image")
	}
	sv.bootImage = im
	if *vol == nil {
		sv.image = im
	}
	switch f := sv.flavor; {
	case f.RAMMB < im.MinRAMMB:
		return k.err(400, "Flavor's memory is too small for requested image.")
	case *vol == nil && f.DiskGB == 0:
		return k.err(403, "Only volume-backed servers are allowed for flavors with zero disk.")
	case *vol == nil && f.DiskGB < im.MinDiskGB:
		return k.err(400, "Flavor's disk is smaller than the minimum size specified in image metadata. Flavor disk is %d bytes, minimum size is %d bytes.", f.DiskGB<<30, im.MinDiskGB<<30)
	case *vol != nil && (*vol).sizeGB < im.MinDiskGB:
		return k.err(400, "Volume is smaller than the minimum size specified in image metadata. Volume size is %d bytes, minimum size is %d bytes.", (*vol).sizeGB<<30, im.MinDiskGB<<30)
	}
	return 0, nil
}

func (k *call) networks(raw json.RawMessage) (nets []novaNet, status int, val any) {
	c := k.c
	var word string
	if json.Unmarshal(raw, &word) == nil && len(raw) > 0 {
		switch {
		case word == "none" && k.micro >= 37:
			return nil, 0, nil
		case word == "auto" && k.micro >= 37:
			raw = nil
		default:
			status, val = k.err(400, "Invalid input for field/attribute networks. Value: %s. '%[1]s' is not of type 'array'", word)
			return
		}
	}
	if len(raw) > 0 && json.Unmarshal(raw, &nets) != nil {
		status, val = k.malformed()
		return
	}
	if c.opts.Rackspace != nil {
		nets = c.legacyNets(k.region, nets)
	}
	if len(nets) == 0 {
		// Without a choice nova takes the only network there is; here are always two.
		status, val = k.err(409, "Multiple possible networks found, use a Network ID to be more specific.")
		return
	}
	for i, n := range nets {
		if n.Port != "" {
			p := c.ports[n.Port]
			if p == nil || p.region != k.region {
				status, val = k.err(400, "Port %s could not be found.", n.Port)
				return
			}
			if p.server != "" {
				status, val = k.err(409, "Port %s is still in use.", n.Port)
				return
			}
			continue
		}
		switch net := c.networkOf(k.region, n.UUID); {
		case net == nil:
			status, val = k.err(400, "Network %s could not be found.", n.UUID)
			return
		case net.external && c.opts.Flex: // it is not shared
			status, val = k.err(403, "It is not allowed to create an interface on external network %s", n.UUID)
			return
		}
		nets[i].Port = ""
	}
	return nets, 0, nil
}

// overQuota answers nova's TooManyInstances, which names every resource in want.
func (c *Cloud) overQuota(region string, f *flavor, count int) string {
	u, q := c.usage(region), c.opts.Quota
	var names, req, used, limit []string
	for _, r := range []struct {
		name           string
		req, use, most int
	}{{"cores", count * f.VCPUs, u.cores, q.Cores}, {"instances", count, u.instances, q.Instances}, {"ram", count * f.RAMMB, u.ram, q.RAMMB}} {
		if r.most >= 0 && r.use+r.req > r.most {
			names, req = append(names, r.name), append(req, itoa(r.req))
			used, limit = append(used, itoa(r.use)), append(limit, itoa(r.most))
		}
	}
	if names == nil {
		return ""
	}
	j := func(s []string) string { return strings.Join(s, ", ") }
	return "Quota exceeded for " + j(names) + ": Requested " + j(req) + ", but already used " + j(used) + " of " + j(limit) + " " + j(names)
}

// placement knows no host that is large enough, and nova adds nothing; or the scheduler's filters took the last one.
const (
	noValidHost = "No valid host was found. "
	noHostLeft  = noValidHost + "There are not enough hosts available."
)

// schedule gives the server a host, or decides now how its boot will fail.
func (c *Cloud) schedule(s *server, group string) {
	if f := c.faults["slow-boot"]; f != nil && (f.n < 0 || f.seen < f.n) {
		f.seen++
		s.boot = f.d
	}
	taken := map[int]bool{}
	var g *serverGroup
	if group != "" {
		g = c.groups[group]
		s.group = g.id
		for _, id := range g.members {
			if m := c.servers[id]; m != nil && !m.unscheduled {
				taken[m.host] = true
			}
		}
		g.members = append(g.members, s.id)
	}
	s.host = s.order % c.opts.Hosts
	switch {
	case g != nil && strings.HasSuffix(g.policy, "anti-affinity"):
		for i := 0; i < c.opts.Hosts && taken[s.host]; i++ {
			s.host = (s.host + 1) % c.opts.Hosts
		}
		if taken[s.host] && g.policy == "anti-affinity" {
			s.unscheduled, s.failure = true, noHostLeft
		}
	case g != nil:
		for h := range taken {
			s.host = h
		}
	}
	if c.noRoom(s.flavor.Name) {
		s.unscheduled, s.failure = true, noValidHost
	}
	if s.unscheduled {
		s.boot = min(s.boot/5, 5*time.Second)
	} else if c.take("boot-error") {
		s.failure = "Exceeded maximum number of retries. Exhausted all hosts available for retrying build failures for instance " + s.id + "."
	}
	if c.take("wrong-host-key") {
		s.machine.liar = true
	}
}

func (c *Cloud) noRoom(flavor string) bool {
	f := c.faults["no-valid-host"]
	if f == nil {
		return false
	}
	if f.n >= 0 {
		return c.take("no-valid-host")
	}
	if f.word == "" {
		f.word = flavor // the first one tried
	}
	return f.word == flavor
}
