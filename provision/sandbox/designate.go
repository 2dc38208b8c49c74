package sandbox

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

var designateRoutes = []route{
	on("!GET /", func(k *call) (int, any) {
		list := []obj{}
		for _, v := range []string{"v2", "v2.0", "v2.1"} {
			status := "SUPPORTED"
			if v == "v2.1" {
				status = "CURRENT"
			}
			list = append(list, obj{"id": v, "status": status, "updated": "2022-06-29T00:00:00Z",
				"links": []obj{{"rel": "self", "href": k.self("/v2")}}})
		}
		return 200, obj{"versions": list}
	}),
	on("GET /v2/quotas", func(k *call) (int, any) {
		return 200, obj{"api_export_size": 1000, "recordset_records": k.c.opts.Quota.RecordSetRecords, "zone_records": 500, "zone_recordsets": 500, "zones": 10}
	}),
	on("GET /v2/zones", zoneList),
	on("GET /v2/zones/{zone}", func(k *call) (int, any) {
		if z := k.zone(); z != nil {
			return 200, k.zoneView(z)
		}
		return k.err(404, "zone_not_found: Could not find Zone")
	}),
	on("GET /v2/zones/{zone}/nameservers", func(k *call) (int, any) {
		z := k.zone()
		if z == nil {
			return k.err(404, "zone_not_found: Could not find Zone")
		}
		list := []obj{}
		for i, ns := range k.c.nsNames(z) {
			list = append(list, obj{"hostname": ns, "priority": i + 1})
		}
		return 200, obj{"nameservers": list}
	}),
	on("GET /v2/zones/{zone}/recordsets", func(k *call) (int, any) {
		if z := k.zone(); z != nil {
			return k.rrsets(z)
		}
		return k.err(404, "zone_not_found: Could not find Zone")
	}),
	on("GET /v2/recordsets", func(k *call) (int, any) { return k.rrsets(k.c.zoneList()...) }),
	on("POST /v2/zones/{zone}/recordsets", rrsetCreate),
	on("GET /v2/zones/{zone}/recordsets/{id}", func(k *call) (int, any) {
		z, rs, status, val := k.rrset()
		if rs == nil {
			return status, val
		}
		return 200, k.rrsetView(z, rs)
	}),
	on("PUT /v2/zones/{zone}/recordsets/{id}", rrsetUpdate),
	on("DELETE /v2/zones/{zone}/recordsets/{id}", rrsetDelete),
}

// designateError takes "type: message"; designate tells clients both.
func designateError(k *call, status int, msg string) any {
	kind, text, ok := strings.Cut(msg, ": ")
	if !ok || strings.Contains(kind, " ") {
		kind, text = map[int]string{400: "bad_request", 404: "not_found", 405: "method_not_allowed", 429: "too_many_requests"}[status], msg
	}
	if kind == "" {
		kind = "unknown"
	}
	if kind == "invalid_record" { // the schema's complaints come without a message of their own
		return obj{"code": status, "type": "invalid_object", "request_id": k.id,
			"errors": obj{"errors": []obj{{"path": []any{"records", 0}, "message": text, "validator": "format"}}}}
	}
	return obj{"code": status, "type": kind, "message": text, "request_id": k.id}
}

// checked gives the values as they will be read back. None at all is taken: designate keeps the set, and serves nothing.
func checked(key rrKey, values []string) ([]string, error) {
	if len(values) == 0 {
		return []string{}, nil
	}
	for _, v := range values {
		if _, err := canonical(key, 60, []string{v}); err != nil {
			return nil, fmt.Errorf("'%s' is not a '%s' Record", v, key.kind)
		}
	}
	return canonical(key, 60, values)
}

func (k *call) tooMany(values []string) bool {
	most := k.c.opts.Quota.RecordSetRecords
	return most >= 0 && len(values) > most
}

// send brings a set on its way, and gives the status of the answer. What has no values is ACTIVE at once, and is not
// sent: the name server goes on with what it had.
func (k *call) send(z *zone, rs *rrset, action string, settled int) int {
	rs.action, rs.last = action, nil
	if len(rs.values) == 0 {
		return settled
	}
	rs.last = k.c.submit(z, rrKey{rs.name, rs.kind}, &rrData{rs.ttlOr(z.ttl), rs.values}, k.now, true)
	return 202
}

// zone finds the zone of the path; settling it first makes every answer that of now.
func (k *call) zone() *zone {
	for _, z := range k.c.zones {
		z.settle(k.now)
		if z.id == k.vars["zone"] {
			return z
		}
	}
	return nil
}

func (k *call) zoneView(z *zone) obj {
	status, action := "ACTIVE", "NONE"
	for _, ch := range z.changes {
		if ch.pending(k.now) {
			status, action = "PENDING", "UPDATE"
		}
	}
	return obj{"id": z.id, "pool_id": "794ccc2c-d751-44fe-b57f-8894c9f5c842", "project_id": k.c.project, "name": z.name,
		"email": strings.Replace(strings.TrimSuffix(z.email, "."), ".", "@", 1), "ttl": z.ttl, "serial": z.serial, "status": status,
		"action": action, "description": nil, "masters": []string{}, "type": "PRIMARY", "transferred_at": nil, "version": z.version,
		"created_at": microTime(z.created), "updated_at": microTime(z.updated), "attributes": obj{},
		"links": obj{"self": k.self("/v2/zones/" + z.id)}}
}

func zoneList(k *call) (int, any) {
	var list []*zone
	for _, z := range k.c.zoneList() {
		z.settle(k.now)
		if glob(k.URL.Query().Get("name"), z.name) {
			list = append(list, z)
		}
	}
	part, more, ok := page(k, list, func(z *zone) string { return z.id })
	if !ok {
		return k.err(400, "marker_not_found: Marker not found")
	}
	views := []obj{}
	for _, z := range part {
		views = append(views, k.zoneView(z))
	}
	links := obj{"self": k.self(k.URL.Path)}
	if more {
		links["next"] = k.self(k.next(part[len(part)-1].id))
	}
	return 200, obj{"zones": views, "links": links, "metadata": obj{"total_count": len(list)}}
}

// glob is designate's filter: an exact value, or one with * in it.
func glob(pattern, s string) bool {
	if pattern == "" {
		return true
	}
	ok, _ := path.Match(strings.ToLower(pattern), s)
	return ok
}

func (k *call) rrsetView(z *zone, rs *rrset) obj {
	status, action := "ACTIVE", "NONE"
	if rs.last.pending(k.now) {
		status, action = "PENDING", rs.action
	}
	var ttl any
	if rs.ttl != nil {
		ttl = *rs.ttl
	}
	values := rs.values
	if rs.kind == "SOA" {
		values = []string{z.soaText(k.c.nsNames(z)[0])}
	}
	return obj{"id": rs.id, "zone_id": z.id, "zone_name": z.name, "project_id": k.c.project, "name": rs.name, "type": rs.kind,
		"records": values, "ttl": ttl, "status": status, "action": action, "description": nullable(rs.description), "version": rs.version,
		"created_at": microTime(rs.created), "updated_at": microTime(rs.updated),
		"links": obj{"self": k.self("/v2/zones/" + z.id + "/recordsets/" + rs.id)}}
}

func (k *call) rrsets(zones ...*zone) (int, any) {
	q := k.URL.Query()
	views := []obj{}
	for _, z := range zones {
		z.settle(k.now)
		for _, rs := range z.list() {
			if !glob(q.Get("name"), rs.name) || !glob(strings.ToLower(q.Get("type")), strings.ToLower(rs.kind)) ||
				q.Get("data") != "" && !slices.ContainsFunc(rs.values, func(x string) bool { return glob(q.Get("data"), strings.ToLower(x)) }) {
				continue
			}
			if v := k.rrsetView(z, rs); q.Get("status") == "" || q.Get("status") == v["status"] {
				views = append(views, v)
			}
		}
	}
	part, more, ok := page(k, views, func(v obj) string { return v["id"].(string) })
	if !ok {
		return k.err(400, "marker_not_found: Marker not found")
	}
	links := obj{"self": k.self(k.URL.RequestURI())}
	if more {
		links["next"] = k.self(k.next(part[len(part)-1]["id"].(string)))
	}
	if part == nil {
		part = []obj{}
	}
	return 200, obj{"recordsets": part, "links": links, "metadata": obj{"total_count": len(views)}}
}

func (k *call) rrset() (*zone, *rrset, int, any) {
	z := k.zone()
	if z == nil {
		status, val := k.err(404, "zone_not_found: Could not find Zone")
		return nil, nil, status, val
	}
	rs := z.sets[k.vars["id"]]
	if rs == nil {
		status, val := k.err(404, "recordset_not_found: Could not find RecordSet")
		return z, nil, status, val
	}
	return z, rs, 0, nil
}

type rrsetInput struct {
	Name        string    `json:"name"`
	Type        string    `json:"type"`
	TTL         *int      `json:"ttl"`
	Records     *[]string `json:"records"`
	Description *string   `json:"description"`
}

func (k *call) badRRset(z *zone, in rrsetInput) (int, any) {
	switch {
	case !strings.HasSuffix(in.Name, "."):
		return k.err(400, "invalid_object: Provided object does not match schema: '%s' is not a 'hostname' with a final dot", in.Name)
	case !dns.IsSubDomain(z.name, fqdn(in.Name)):
		return k.err(400, "invalid_recordset_location: RecordSet is not contained within it's parent zone")
	case in.TTL != nil && (*in.TTL < 1 || *in.TTL > 1<<31-1):
		return k.err(400, "invalid_object: Provided object does not match schema: ttl %d is not between 1 and 2147483647", *in.TTL)
	}
	return 0, nil
}

func rrsetCreate(k *call) (int, any) {
	z := k.zone()
	if z == nil {
		return k.err(404, "zone_not_found: Could not find Zone")
	}
	var in rrsetInput
	if k.decode(&in) != nil {
		return k.err(400, "invalid_json: Request Body is not valid JSON")
	}
	if status, val := k.badRRset(z, in); status != 0 {
		return status, val
	}
	key := rrKey{fqdn(in.Name), strings.ToUpper(in.Type)}
	if key.kind == "SOA" || key.kind == "NS" && key.name == z.name {
		return k.err(400, "bad_request: Creating a %s recordset at the apex is not allowed", key.kind)
	}
	for _, rs := range z.sets {
		if rs.name == key.name && rs.kind == key.kind {
			return k.err(409, "duplicate_recordset: Duplicate RecordSet")
		}
		if rs.name == key.name && (rs.kind == "CNAME" || key.kind == "CNAME") {
			return k.err(400, "invalid_recordset_location: CNAME recordsets may not share a name with any other records")
		}
	}
	var values []string
	if in.Records != nil {
		values = *in.Records
	}
	values, err := checked(key, values)
	if err != nil {
		return k.err(400, "invalid_record: %s", err)
	}
	if k.tooMany(values) {
		return k.err(413, "over_quota: Quota exceeded for recordset_records.")
	}
	rs := &rrset{id: uuid(), name: key.name, kind: key.kind, ttl: in.TTL, values: values, created: k.now, version: 1, action: "CREATE", order: k.c.nextOrder()}
	if in.Description != nil {
		rs.description = *in.Description
	}
	z.sets[rs.id] = rs
	k.header.Set("Location", k.self("/v2/zones/"+z.id+"/recordsets/"+rs.id))
	return k.send(z, rs, "CREATE", 201), k.rrsetView(z, rs)
}

// rrsetUpdate replaces the whole record set: what records holds is all there will be.
func rrsetUpdate(k *call) (int, any) {
	z, rs, status, val := k.rrset()
	if rs == nil {
		return status, val
	}
	var in rrsetInput
	var raw map[string]any
	if k.decode(&in) != nil || k.decode(&raw) != nil {
		return k.err(400, "invalid_json: Request Body is not valid JSON")
	}
	if in.Name == "" {
		in.Name = rs.name
	}
	if status, val := k.badRRset(z, in); status != 0 {
		return status, val
	}
	if rs.kind == "SOA" || rs.kind == "NS" && rs.name == z.name {
		return k.err(400, "bad_request: Updating a root zone %s record is not allowed", rs.kind)
	}
	if fqdn(in.Name) != rs.name || in.Type != "" && !strings.EqualFold(in.Type, rs.kind) {
		return k.err(400, "bad_request: Updating a recordset name or type is not allowed")
	}
	key, values := rrKey{rs.name, rs.kind}, rs.values
	if in.Records != nil {
		var err error
		if values, err = checked(key, *in.Records); err != nil {
			return k.err(400, "invalid_record: %s", err)
		}
	}
	if k.tooMany(values) {
		return k.err(413, "over_quota: Quota exceeded for recordset_records.")
	}
	if _, named := raw["ttl"]; named { // null: back to the zone's
		rs.ttl = in.TTL
	}
	if in.Description != nil {
		rs.description = *in.Description
	}
	rs.values, rs.updated, rs.version = values, k.now, rs.version+1
	return k.send(z, rs, "UPDATE", 200), k.rrsetView(z, rs)
}

func rrsetDelete(k *call) (int, any) {
	z, rs, status, val := k.rrset()
	if rs == nil {
		return status, val
	}
	if rs.kind == "SOA" || rs.kind == "NS" && rs.name == z.name {
		return k.err(403, "forbidden: Deleting a root zone %s record is not allowed", rs.kind)
	}
	rs.gone, rs.action, rs.updated, rs.version = true, "DELETE", k.now, rs.version+1
	rs.last = k.c.submit(z, rrKey{rs.name, rs.kind}, nil, k.now, true)
	return 202, k.rrsetView(z, rs)
}
