package sandbox

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"crypto/md5"

	"golang.org/x/crypto/ssh"
)

const novaMaxMicro = 93 // 2.93 is Zed's

var novaRoutes = []route{
	on("!GET /", func(k *call) (int, any) { return 200, obj{"versions": []obj{k.novaV20(), k.novaV21()}} }),
	on("!GET /v2.1", func(k *call) (int, any) { return 200, obj{"version": k.novaV21()} }),
	on("POST /v2.1/servers", serverCreate),
	on("GET /v2.1/servers", func(k *call) (int, any) { return serverList(k, false) }),
	on("GET /v2.1/servers/detail", func(k *call) (int, any) { return serverList(k, true) }),
	on("GET /v2.1/servers/{id}", serverShow),
	on("PUT /v2.1/servers/{id}", serverUpdate),
	on("DELETE /v2.1/servers/{id}", serverDelete),
	on("POST /v2.1/servers/{id}/action", serverAction),
	on("GET /v2.1/servers/{id}/metadata", metadataShow),
	on("PUT /v2.1/servers/{id}/metadata", metadataSet),
	on("POST /v2.1/servers/{id}/metadata", metadataSet),
	on("DELETE /v2.1/servers/{id}/metadata/{key}", metadataDelete),
	on("GET /v2.1/servers/{id}/tags", tagsShow),
	on("PUT /v2.1/servers/{id}/tags", tagsSet),
	on("DELETE /v2.1/servers/{id}/tags", tagsSet),
	on("GET /v2.1/servers/{id}/tags/{tag}", tagShow),
	on("PUT /v2.1/servers/{id}/tags/{tag}", tagAdd),
	on("DELETE /v2.1/servers/{id}/tags/{tag}", tagDelete),
	on("GET /v2.1/servers/{id}/ips", serverIPs),
	on("GET /v2.1/servers/{id}/os-interface", serverInterfaces),
	on("GET /v2.1/servers/{id}/os-security-groups", serverSecGroups),
	on("GET /v2.1/servers/{id}/os-volume_attachments", serverVolumes),
	on("GET /v2.1/flavors", func(k *call) (int, any) { return flavorList(k, false) }),
	on("GET /v2.1/flavors/detail", func(k *call) (int, any) { return flavorList(k, true) }),
	on("GET /v2.1/flavors/{id}", flavorShow),
	on("GET /v2.1/flavors/{id}/os-extra_specs", func(k *call) (int, any) { return 200, obj{"extra_specs": obj{}} }),
	on("GET /v2.1/os-keypairs", keypairList),
	on("POST /v2.1/os-keypairs", keypairCreate),
	on("GET /v2.1/os-keypairs/{name}", keypairShow),
	on("DELETE /v2.1/os-keypairs/{name}", keypairDelete),
	on("GET /v2.1/os-server-groups", groupList),
	on("POST /v2.1/os-server-groups", groupCreate),
	on("GET /v2.1/os-server-groups/{id}", groupShow),
	on("DELETE /v2.1/os-server-groups/{id}", groupDelete),
	on("GET /v2.1/os-availability-zone", func(k *call) (int, any) {
		list := []obj{}
		for _, z := range k.c.opts.AZs {
			list = append(list, obj{"zoneName": z, "zoneState": obj{"available": true}, "hosts": nil})
		}
		return 200, obj{"availabilityZoneInfo": list}
	}),
	on("GET /v2.1/os-availability-zone/detail", func(k *call) (int, any) {
		return k.err(403, "Policy doesn't allow os_compute_api:os-availability-zone:detail to be performed.")
	}),
	on("GET /v2.1/limits", limitsShow),
	on("GET /v2.1/os-quota-sets/{project}", quotaShow),
	on("GET /v2.1/os-quota-sets/{project}/detail", quotaShow),
	on("GET /v2.1/os-hypervisors", func(k *call) (int, any) {
		return k.err(403, "Policy doesn't allow os_compute_api:os-hypervisors:list to be performed.")
	}),
}

var novaFaults = map[int]string{400: "badRequest", 401: "unauthorized", 403: "forbidden", 404: "itemNotFound",
	405: "badMethod", 409: "conflictingRequest", 413: "overLimit", 415: "badMediaType", 429: "overLimit",
	501: "notImplemented", 503: "serviceUnavailable"}

func novaError(_ *call, status int, msg string) any {
	name := novaFaults[status]
	if name == "" {
		name = "computeFault"
	}
	return obj{name: obj{"code": status, "message": msg}}
}

func (k *call) novaV20() obj {
	return obj{"id": "v2.0", "status": "SUPPORTED", "version": "", "min_version": "", "updated": "2011-01-21T11:33:21Z",
		"links": []obj{{"rel": "self", "href": k.self("/v2/")}}}
}

func (k *call) novaV21() obj {
	return obj{"id": "v2.1", "status": "CURRENT", "version": fmt.Sprintf("2.%d", novaMaxMicro), "min_version": "2.1",
		"updated": "2013-07-23T11:33:21Z", "links": []obj{{"rel": "self", "href": k.self("/v2.1/")}},
		"media-types": []obj{{"base": "application/json", "type": "application/vnd.openstack.compute+json;version=2.1"}}}
}

// microversion reads the two headers that name one; without any it is 2.1.
// https://docs.openstack.org/api-guide/compute/microversions.html
func (k *call) microversion() (int, any) {
	v := k.Header.Get("X-OpenStack-Nova-API-Version")
	for _, h := range k.Header.Values("OpenStack-API-Version") {
		if t, ok := strings.CutPrefix(h, "compute "); ok {
			v = strings.TrimSpace(t)
		}
	}
	k.header.Set("Vary", "OpenStack-API-Version, X-OpenStack-Nova-API-Version")
	if v == "latest" {
		v = fmt.Sprintf("2.%d", novaMaxMicro)
	}
	if v != "" {
		major, minor, _ := strings.Cut(v, ".")
		m, err := strconv.Atoi(minor)
		if _, e := strconv.Atoi(major); e != nil || err != nil {
			return k.err(400, "API Version String %s is of invalid format. Must be of format MajorNum.MinorNum.", v)
		}
		if major != "2" || m < 1 || m > novaMaxMicro {
			return k.err(406, "Version %s is not supported by the API. Minimum is 2.1 and maximum is 2.%d.", v, novaMaxMicro)
		}
		k.micro = m
	}
	k.header.Set("X-OpenStack-Nova-API-Version", fmt.Sprintf("2.%d", k.micro))
	k.header.Set("OpenStack-API-Version", fmt.Sprintf("compute 2.%d", k.micro))
	return 0, nil
}

func (k *call) links(kind, id string) []obj {
	return []obj{{"rel": "self", "href": k.self("/v2.1/" + kind + "/" + id)}, {"rel": "bookmark", "href": k.self("/" + kind + "/" + id)}}
}

func (k *call) flavorView(f *flavor, detail bool) obj {
	o := obj{"id": f.id, "name": f.Name, "links": k.links("flavors", f.id)}
	if k.micro >= 55 {
		o["description"] = nil
	}
	if !detail {
		return o
	}
	o["ram"], o["disk"], o["vcpus"], o["swap"] = f.RAMMB, f.DiskGB, f.VCPUs, any("")
	if k.micro >= 75 {
		o["swap"] = 0
	}
	o["OS-FLV-EXT-DATA:ephemeral"], o["OS-FLV-DISABLED:disabled"] = 0, false
	o["os-flavor-access:is_public"], o["rxtx_factor"] = true, 1.0
	if k.micro >= 61 {
		o["extra_specs"] = obj{}
	}
	if f.Class != "" {
		o["OS-FLV-WITH-EXT-SPECS:extra_specs"] = obj{"class": f.Class, "policy_class": f.Class + "_flavor", "disk_io_index": "40", "number_of_data_disks": "0"}
	}
	return o
}

func flavorList(k *call, detail bool) (int, any) {
	q := k.URL.Query()
	all := slices.Clone(k.c.regions[k.region].flavors)
	atLeast := func(key string, of func(*flavor) int) {
		if n, err := strconv.Atoi(q.Get(key)); err == nil {
			all = slices.DeleteFunc(all, func(f *flavor) bool { return of(f) < n })
		}
	}
	atLeast("minRam", func(f *flavor) int { return f.RAMMB })
	atLeast("minDisk", func(f *flavor) int { return f.DiskGB })
	part, more, ok := page(k, all, func(f *flavor) string { return f.id })
	if !ok {
		return k.err(400, "marker [%s] not found", q.Get("marker"))
	}
	list := []obj{}
	for _, f := range part {
		list = append(list, k.flavorView(f, detail))
	}
	out := obj{"flavors": list}
	if more {
		out["flavors_links"] = []obj{{"rel": "next", "href": k.self(k.next(part[len(part)-1].id))}}
	}
	return 200, out
}

func (c *Cloud) flavorByID(region, id string) *flavor {
	for _, f := range c.regions[region].flavors {
		if f.id == id {
			return f
		}
	}
	return nil
}

func flavorShow(k *call) (int, any) {
	if f := k.c.flavorByID(k.region, k.vars["id"]); f != nil {
		return 200, obj{"flavor": k.flavorView(f, true)}
	}
	return k.err(404, "Flavor %s could not be found.", k.vars["id"])
}

type usage struct{ instances, cores, ram int }

func (c *Cloud) usage(region string) (u usage) {
	for _, s := range c.serverList(region) {
		u.instances++
		u.cores += s.flavor.VCPUs
		u.ram += s.flavor.RAMMB
	}
	return u
}

func limitsShow(k *call) (int, any) {
	q, u := k.c.opts.Quota, k.c.usage(k.region)
	abs := obj{"maxTotalInstances": q.Instances, "maxTotalCores": q.Cores, "maxTotalRAMSize": q.RAMMB,
		"maxTotalKeypairs": q.KeyPairs, "maxServerGroups": q.ServerGroups, "maxServerGroupMembers": q.ServerGroupMembers,
		"maxServerMeta": 128, "totalInstancesUsed": u.instances, "totalCoresUsed": u.cores, "totalRAMUsed": u.ram,
		"totalServerGroupsUsed": len(k.c.groupList(k.region))}
	if k.micro < 36 { // neutron's business since 2.36
		abs["maxTotalFloatingIps"], abs["totalFloatingIpsUsed"] = -1, 0
		abs["maxSecurityGroups"], abs["totalSecurityGroupsUsed"], abs["maxSecurityGroupRules"] = -1, 0, -1
	}
	if k.micro < 39 {
		abs["maxImageMeta"] = 128
	}
	if k.micro < 57 {
		abs["maxPersonality"], abs["maxPersonalitySize"] = 5, 10240
	}
	return 200, obj{"limits": obj{"rate": []obj{}, "absolute": abs}}
}

func quotaShow(k *call) (int, any) {
	q, u := k.c.opts.Quota, k.c.usage(k.region)
	out := obj{"id": k.vars["project"]}
	for name, v := range map[string][2]int{"instances": {q.Instances, u.instances}, "cores": {q.Cores, u.cores},
		"ram": {q.RAMMB, u.ram}, "key_pairs": {q.KeyPairs, 0}, "server_groups": {q.ServerGroups, len(k.c.groupList(k.region))},
		"server_group_members": {q.ServerGroupMembers, 0}, "metadata_items": {128, 0}} {
		if strings.HasSuffix(k.URL.Path, "/detail") {
			out[name] = obj{"limit": v[0], "in_use": v[1], "reserved": 0}
		} else {
			out[name] = v[0]
		}
	}
	return 200, obj{"quota_set": out}
}

func (k *call) keypairView(p *keypair, more bool) obj {
	o := obj{"name": p.name, "public_key": p.public, "fingerprint": p.fingerprint}
	if k.micro >= 2 {
		o["type"] = "ssh"
	}
	if more {
		o["user_id"] = k.c.user
	}
	return o
}

func (c *Cloud) keypairList(region string) []*keypair {
	return ofRegion(c.keypairs, region, func(p *keypair) (string, int) { return p.region, p.order })
}

func keypairList(k *call) (int, any) {
	part, more, ok := page(k, k.c.keypairList(k.region), func(p *keypair) string { return p.name })
	if !ok {
		return k.err(400, "marker [%s] not found", k.URL.Query().Get("marker"))
	}
	list := []obj{}
	for _, p := range part {
		list = append(list, obj{"keypair": k.keypairView(p, false)})
	}
	out := obj{"keypairs": list}
	if more && k.micro >= 35 {
		out["keypairs_links"] = []obj{{"rel": "next", "href": k.self(k.next(part[len(part)-1].name))}}
	}
	return 200, out
}

func keypairCreate(k *call) (int, any) {
	var in struct {
		Keypair struct {
			Name      string `json:"name"`
			PublicKey string `json:"public_key"`
			Type      string `json:"type"`
			UserID    string `json:"user_id"`
		} `json:"keypair"`
	}
	if k.decode(&in) != nil {
		return k.malformed()
	}
	p := in.Keypair
	switch {
	case p.Name == "" || len(p.Name) > 255:
		return k.err(400, "Invalid input for field/attribute name. Value: %s. '%[1]s' is too short", p.Name)
	case strings.Trim(p.Name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_ @.") != "":
		return k.err(400, "Keypair data is invalid: Keypair name contains unsafe characters")
	case p.Type != "" && k.micro < 2:
		return k.err(400, "Invalid input for field/attribute keypair. Additional properties are not allowed ('type' was unexpected)")
	case p.PublicKey == "":
		// Before 2.92 nova would make a pair itself and send the private key: nobody here should want that.
		return k.err(400, "Invalid input for field/attribute keypair. 'public_key' is a required property")
	case k.c.keypairs[k.region+"/"+p.Name] != nil:
		return k.err(409, "Key pair '%s' already exists.", p.Name)
	case k.c.opts.Quota.KeyPairs >= 0 && len(k.c.keypairList(k.region)) >= k.c.opts.Quota.KeyPairs:
		return k.err(403, "Quota exceeded, too many key pairs.")
	}
	pub, _, _, _, err := ssh.ParseAuthorizedKey([]byte(p.PublicKey))
	if err != nil {
		return k.err(400, "Keypair data is invalid: failed to generate fingerprint")
	}
	sum := md5.Sum(pub.Marshal()) // nova's fingerprint, not a protection
	kp := &keypair{region: k.region, name: p.Name, public: p.PublicKey, created: k.now, order: k.c.nextOrder(),
		fingerprint: strings.TrimSuffix(strings.ReplaceAll(fmt.Sprintf("% x", sum), " ", ":"), ":")}
	k.c.keypairs[k.region+"/"+p.Name] = kp
	status := 200
	if k.micro >= 2 {
		status = 201
	}
	return status, obj{"keypair": k.keypairView(kp, true)}
}

func keypairShow(k *call) (int, any) {
	p := k.c.keypairs[k.region+"/"+k.vars["name"]]
	if p == nil {
		return k.err(404, "Keypair %s not found for user %s", k.vars["name"], k.c.user)
	}
	o := k.keypairView(p, true)
	o["id"], o["created_at"], o["deleted"], o["deleted_at"], o["updated_at"] = p.order, p.created.UTC().Format(microStamp), false, nil, nil
	return 200, obj{"keypair": o}
}

func keypairDelete(k *call) (int, any) {
	key := k.region + "/" + k.vars["name"]
	if k.c.keypairs[key] == nil {
		return k.err(404, "Keypair %s not found for user %s", k.vars["name"], k.c.user)
	}
	delete(k.c.keypairs, key)
	if k.micro >= 2 {
		return 204, nil
	}
	return 202, nil
}

const microStamp = "2006-01-02T15:04:05.000000"

func microTime(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format(microStamp)
}
