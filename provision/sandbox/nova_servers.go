package sandbox

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

func itoa(n int) string { return strconv.Itoa(n) }

func (k *call) server() *server {
	if s := k.c.servers[k.vars["id"]]; s != nil && s.region == k.region {
		return s
	}
	return nil
}

func (k *call) noServer() (int, any) {
	return k.err(404, "Instance %s could not be found.", k.vars["id"])
}

// addresses are those of the server's ports, by network, floating ones beside the
// fixed ones that they lead to.
func (k *call) addresses(s *server) obj {
	out := obj{}
	if !s.at(k.now).networked {
		return out
	}
	for _, p := range k.c.portList(s.region) {
		if p.server != s.id {
			continue
		}
		name := k.c.networks[p.network].name
		list, _ := out[name].([]obj)
		add := func(ip, kind string) {
			list = append(list, obj{"addr": ip, "version": 4, "OS-EXT-IPS:type": kind, "OS-EXT-IPS-MAC:mac_addr": p.mac})
		}
		add(p.ip.String(), "fixed")
		for _, f := range k.c.fipList(s.region) {
			if f.port == p.id {
				add(f.ip.String(), "floating")
			}
		}
		out[name] = list
	}
	return out
}

func (k *call) serverView(s *server) obj {
	st, c := s.at(k.now), k.c
	meta := s.metadata
	if meta == nil {
		meta = map[string]string{}
	}
	meta = k.automation(s, st, meta)
	groups := []obj{}
	for _, g := range s.secgroups {
		groups = append(groups, obj{"name": g})
	}
	vols := []obj{}
	for _, v := range c.volumes {
		if v.server == s.id {
			o := obj{"id": v.id}
			if k.micro >= 3 {
				o["delete_on_termination"] = v.deleteWithServer
			}
			vols = append(vols, o)
		}
	}
	o := obj{
		"id": s.id, "name": s.name, "status": st.status, "tenant_id": c.project, "user_id": c.user,
		"metadata": meta, "hostId": "", "created": stamp(s.created), "updated": stamp(s.updated),
		"addresses": k.addresses(s), "accessIPv4": "", "accessIPv6": "", "links": k.links("servers", s.id),
		"OS-DCF:diskConfig": "MANUAL", "OS-EXT-AZ:availability_zone": "", "config_drive": "", "key_name": nil,
		"OS-SRV-USG:launched_at": nil, "OS-SRV-USG:terminated_at": nil,
		"OS-EXT-STS:task_state": nil, "OS-EXT-STS:vm_state": st.vm, "OS-EXT-STS:power_state": st.power,
		"os-extended-volumes:volumes_attached": vols, "image": "",
	}
	if s.image != nil {
		o["image"] = obj{"id": s.image.id, "links": k.links("images", s.image.id)[1:]}
	}
	if k.micro >= 47 {
		o["flavor"] = obj{"vcpus": s.flavor.VCPUs, "ram": s.flavor.RAMMB, "disk": s.flavor.DiskGB, "ephemeral": 0,
			"swap": 0, "original_name": s.flavor.Name, "extra_specs": obj{}}
	} else {
		o["flavor"] = obj{"id": s.flavor.id, "links": k.links("flavors", s.flavor.id)[1:]}
	}
	if st.placed {
		o["hostId"], o["OS-EXT-AZ:availability_zone"] = s.hostID(c.project), s.az
	}
	if s.configDrive {
		o["config_drive"] = "True"
	}
	if s.key != nil {
		o["key_name"] = s.key.name
	}
	if st.task != "" {
		o["OS-EXT-STS:task_state"] = st.task
	}
	switch st.status {
	case "ACTIVE":
		o["progress"] = 0
		o["OS-SRV-USG:launched_at"] = s.created.Add(s.boot).UTC().Format(microStamp)
		o["updated"] = stamp(s.created.Add(s.boot))
	case "BUILD":
		o["progress"] = 0
	case "ERROR":
		o["fault"] = obj{"code": 500, "created": stamp(s.created.Add(s.boot)), "message": s.failure}
		o["updated"] = stamp(s.created.Add(s.boot))
	}
	if st.status != "ERROR" || st.placed {
		o["security_groups"] = groups
	}
	since := func(micro int, key string, value any) {
		if k.micro >= micro {
			o[key] = value
		}
	}
	since(9, "locked", false)
	since(19, "description", nullable(s.description))
	since(26, "tags", append([]string{}, s.tags...))
	since(63, "trusted_image_certificates", nil)
	since(71, "server_groups", []string{})
	since(73, "locked_reason", nil)
	if k.micro >= 90 {
		o["OS-EXT-SRV-ATTR:hostname"] = s.hostname()
	}
	if k.micro >= 71 && s.group != "" {
		o["server_groups"] = []string{s.group}
	}
	return o
}

func nullable(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// serverList knows the filters name (a regular expression, as MySQL's), status,
// tags, tags-any, not-tags, not-tags-any (since 2.26), and ignores others as nova
// ignores those that a member may not use. Newest first, as nova sorts.
func serverList(k *call, detail bool) (int, any) {
	q := k.URL.Query()
	list := k.c.serverList(k.region)
	slices.Reverse(list)
	keep := func(f func(*server) bool) { list = slices.DeleteFunc(list, func(s *server) bool { return !f(s) }) }
	if n := q.Get("name"); n != "" {
		re, err := regexp.Compile("(?i)" + n)
		if err != nil {
			return k.err(400, "Invalid filter: name")
		}
		keep(func(s *server) bool { return re.MatchString(s.name) })
	}
	if want := q.Get("status"); want != "" {
		keep(func(s *server) bool { return strings.EqualFold(s.at(k.now).status, want) })
	}
	if id := q.Get("uuid"); id != "" {
		keep(func(s *server) bool { return s.id == id })
	}
	if k.micro >= 26 {
		for _, f := range []struct {
			key      string
			any, not bool
		}{{"tags", false, false}, {"tags-any", true, false}, {"not-tags", false, true}, {"not-tags-any", true, true}} {
			if v := q.Get(f.key); v != "" {
				keep(func(s *server) bool { return hasTags(s.tags, strings.Split(v, ","), f.any) != f.not })
			}
		}
	}
	part, more, ok := page(k, list, func(s *server) string { return s.id })
	if !ok {
		return k.err(400, "marker [%s] not found", q.Get("marker"))
	}
	views := []obj{}
	for _, s := range part {
		if detail {
			v := k.serverView(s)
			if s.unscheduled {
				delete(v, "fault") // such a server is in cell0, where nova's list does not look for reasons
			}
			views = append(views, v)
		} else {
			views = append(views, obj{"id": s.id, "name": s.name, "links": k.links("servers", s.id)})
		}
	}
	out := obj{"servers": views}
	if more {
		out["servers_links"] = []obj{{"rel": "next", "href": k.self(k.next(part[len(part)-1].id))}}
	}
	return 200, out
}

func hasTags(have, want []string, any bool) bool {
	n := 0
	for _, t := range want {
		if slices.Contains(have, t) {
			n++
		}
	}
	if any {
		return n > 0
	}
	return n == len(want)
}

func serverShow(k *call) (int, any) {
	if s := k.server(); s != nil {
		return 200, obj{"server": k.serverView(s)}
	}
	return k.noServer()
}

func serverUpdate(k *call) (int, any) {
	s := k.server()
	if s == nil {
		return k.noServer()
	}
	var in struct {
		Server struct{ Name, Description *string }
	}
	if k.decode(&in) != nil {
		return k.malformed()
	}
	if in.Server.Name != nil && *in.Server.Name != "" {
		s.name = *in.Server.Name
	}
	if in.Server.Description != nil {
		s.description = *in.Server.Description
	}
	return 200, obj{"server": k.serverView(s)}
}

// serverDelete answers at once; the server is seen "deleting" for a while and then
// is a 404. Its machine is cut off at once. Rackspace's documents have 204 in a table and 202 in the text above it.
func serverDelete(k *call) (int, any) {
	s := k.server()
	if s == nil {
		return k.noServer()
	}
	if s.deleted.IsZero() {
		s.deleted, s.deletion = k.now, min(k.c.opts.Boot/5, 3e9)
		s.machine.stop()
	}
	if k.c.first().Old {
		return 202, nil
	}
	return 204, nil
}

func serverAction(k *call) (int, any) {
	s := k.server()
	if s == nil {
		return k.noServer()
	}
	var in map[string]any
	if k.decode(&in) != nil || len(in) != 1 {
		return k.malformed()
	}
	for name, arg := range in {
		if name != "os-getConsoleOutput" {
			return k.err(400, "There is no such action: %s", name)
		}
		if !s.at(k.now).placed {
			return k.err(409, "Instance %s is not ready", s.id)
		}
		out := s.console(k.now)
		a, _ := arg.(map[string]any)
		if n := num(a["length"], -1); n >= 0 {
			lines := strings.Split(out, "\n")
			out = strings.Join(lines[max(0, len(lines)-n):], "\n")
		}
		return 200, obj{"output": out}
	}
	return k.malformed()
}

func serverIPs(k *call) (int, any) {
	if s := k.server(); s != nil {
		return 200, obj{"addresses": k.addresses(s)}
	}
	return k.noServer()
}

func serverInterfaces(k *call) (int, any) {
	s := k.server()
	if s == nil {
		return k.noServer()
	}
	list := []obj{}
	for _, p := range k.c.portList(k.region) {
		if p.server == s.id {
			list = append(list, obj{"port_id": p.id, "net_id": p.network, "mac_addr": p.mac, "port_state": "ACTIVE",
				"fixed_ips": []obj{{"ip_address": p.ip.String(), "subnet_id": k.c.networks[p.network].subnet}}})
		}
	}
	return 200, obj{"interfaceAttachments": list}
}

func serverSecGroups(k *call) (int, any) {
	s := k.server()
	if s == nil {
		return k.noServer()
	}
	list := []obj{}
	for _, n := range s.secgroups {
		if g := k.c.secGroupByName(k.region, n); g != nil {
			list = append(list, obj{"id": g.id, "name": g.name, "description": g.description, "tenant_id": k.c.project, "rules": []obj{}})
		}
	}
	return 200, obj{"security_groups": list}
}

func serverVolumes(k *call) (int, any) {
	s := k.server()
	if s == nil {
		return k.noServer()
	}
	list := []obj{}
	for _, v := range k.c.volumes {
		if v.server == s.id {
			list = append(list, obj{"id": v.id, "volumeId": v.id, "serverId": s.id, "device": "/dev/vda", "delete_on_termination": v.deleteWithServer})
		}
	}
	return 200, obj{"volumeAttachments": list}
}
