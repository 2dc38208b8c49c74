package sandbox

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// dnsRecord is one record of Rackspace's Cloud DNS, which knows no record sets: values of one name and type are records
// beside each other, each with an id and a TTL of its own.
type dnsRecord struct {
	id, name, kind, data, comment string // name without the final dot
	ttl, priority                 int
	created, updated              time.Time
}

var cloudDNSRoutes = []route{
	on("GET /v1.0/{account}/domains", domainList),
	on("GET /v1.0/{account}/domains/{domain}", domainShow),
	on("GET /v1.0/{account}/domains/{domain}/records", recordList),
	on("GET /v1.0/{account}/domains/{domain}/records/{record}", recordShow),
	on("POST /v1.0/{account}/domains/{domain}/records", recordAdd),
	on("PUT /v1.0/{account}/domains/{domain}/records", recordPut),
	on("PUT /v1.0/{account}/domains/{domain}/records/{record}", recordPut),
	on("DELETE /v1.0/{account}/domains/{domain}/records", recordDelete),
	on("DELETE /v1.0/{account}/domains/{domain}/records/{record}", recordDelete),
	on("GET /v1.0/{account}/status", jobList),
	on("GET /v1.0/{account}/status/{job}", jobShow),
	on("GET /v1.0/{account}/limits", func(*call) (int, any) {
		return 200, obj{"rates": obj{"rate": []obj{}}, "absolute": obj{"limit": []obj{{"name": "domains", "value": 500}, {"name": "records per domain", "value": 500}}}}
	}),
}

// cloudDNSError is flat, without a root.
func cloudDNSError(_ *call, status int, msg string) any {
	if m, ok := strings.CutPrefix(msg, "validation: "); ok {
		return obj{"validationErrors": obj{"messages": []string{m}}, "code": status}
	}
	return obj{"code": status, "message": map[int]string{400: "Bad Request", 401: "Unauthorized", 404: "Object not Found.", 500: "Main fault"}[status], "details": msg}
}

func undotted(name string) string { return strings.TrimSuffix(name, ".") }

// records are made of what the zone held from the start.
func (z *zone) seedRecords(c *Cloud) {
	for _, rs := range z.list() {
		if rs.kind == "SOA" {
			continue
		}
		for _, v := range rs.values {
			z.records = append(z.records, c.newRecord(rs.name, rs.kind, v, rs.ttlOr(z.ttl), rs.created))
		}
	}
}

func (c *Cloud) newRecord(name, kind, data string, ttl int, now time.Time) *dnsRecord {
	r := &dnsRecord{id: fmt.Sprintf("%s-%d", kind, 6817000+c.nextOrder()), name: undotted(name), kind: kind, data: data, ttl: ttl, created: now, updated: now}
	if p, host, ok := strings.Cut(data, " "); ok && kind == "MX" {
		r.priority, _ = strconv.Atoi(p)
		r.data = host
	}
	if kind == "CNAME" || kind == "NS" || kind == "MX" {
		r.data = undotted(r.data)
	}
	return r
}

// publish brings the set that the records of a key make on its way to the name server.
func (c *Cloud) publish(z *zone, key rrKey, now time.Time) {
	var values []string
	ttl := z.ttl
	for _, r := range z.records {
		if r.name == undotted(key.name) && r.kind == key.kind {
			v := r.data
			if key.kind == "CNAME" || key.kind == "NS" || key.kind == "MX" {
				v = fqdn(v)
			}
			if key.kind == "MX" {
				v = fmt.Sprintf("%d %s", r.priority, v)
			}
			values, ttl = append(values, v), r.ttl
		}
	}
	rs := z.find(key)
	if len(values) == 0 {
		if rs != nil {
			delete(z.sets, rs.id)
		}
		c.submit(z, key, nil, now, true)
		return
	}
	if rs == nil {
		rs = &rrset{id: uuid(), name: key.name, kind: key.kind, created: now, version: 1, action: "NONE", order: c.nextOrder()}
		z.sets[rs.id] = rs
	}
	rs.values, rs.ttl, rs.updated = values, &ttl, now
	rs.last = c.submit(z, key, &rrData{ttl, values}, now, true)
}

// domain finds the zone of the path, as it is now.
func (k *call) domain() (*zone, int, any) {
	if k.vars["account"] != k.c.account {
		status, val := k.err(401, "unauthorized")
		return nil, status, val
	}
	for _, z := range k.c.zones {
		if z.number(k.c) == k.vars["domain"] {
			z.settle(k.now)
			return z, 0, nil
		}
	}
	status, val := k.err(404, "Domain %s does not exist", k.vars["domain"])
	return nil, status, val
}

// number is a domain's id: an integer before release 1.0.35 of 2021, a UUID since, for those that are new.
func (z *zone) number(c *Cloud) string {
	if c.first().Old {
		return strconv.Itoa(2725000 + z.order)
	}
	return z.id
}

// ident writes an id in the form of the release.
func (c *Cloud) ident(id string) any {
	if n, err := strconv.Atoi(id); err == nil && c.first().Old {
		return n
	}
	return id
}

const dnsTime = "2006-01-02T15:04:05.000-0700"

func (k *call) domainView(z *zone) obj {
	return obj{"id": k.c.ident(z.number(k.c)), "accountId": k.c.ident(k.c.account), "name": undotted(z.name), "ttl": z.ttl, "emailAddress": "hostmaster@" + undotted(z.name),
		"created": z.created.Format(dnsTime), "updated": z.created.Format(dnsTime)}
}

func (k *call) recordView(r *dnsRecord) obj {
	v := obj{"id": r.id, "name": r.name, "type": r.kind, "data": r.data, "ttl": r.ttl, "created": r.created.Format(dnsTime), "updated": r.updated.Format(dnsTime)}
	if r.kind == "MX" {
		v["priority"] = r.priority
	}
	if r.comment != "" {
		v["comment"] = r.comment
	}
	return v
}

// pages cuts a list by limit and offset; an offset must be a multiple of the limit.
func pages(k *call, root string, all []obj) (int, any) {
	q := k.URL.Query()
	limit, offset := 100, 0
	if n, err := strconv.Atoi(q.Get("limit")); err == nil && n > 0 && n <= 100 {
		limit = n
	}
	if n, err := strconv.Atoi(q.Get("offset")); err == nil && n > 0 {
		offset = n
	}
	if offset%limit != 0 {
		return k.err(400, "validation: The offset must be a multiple of the limit")
	}
	total := len(all)
	all = all[min(offset, total):]
	out := obj{"totalEntries": total}
	if len(all) > limit {
		all = all[:limit]
		q.Set("offset", strconv.Itoa(offset+limit))
		q.Set("limit", strconv.Itoa(limit))
		out["links"] = []obj{{"rel": "next", "href": k.self(k.URL.Path) + "?" + q.Encode(), "content": ""}}
	}
	out[root] = all
	return 200, out
}

func domainList(k *call) (int, any) {
	all := []obj{}
	for _, z := range k.c.zoneList() {
		if n := k.URL.Query().Get("name"); n == "" || strings.EqualFold(n, undotted(z.name)) {
			all = append(all, k.domainView(z))
		}
	}
	return pages(k, "domains", all)
}

func domainShow(k *call) (int, any) {
	z, status, val := k.domain()
	if z == nil {
		return status, val
	}
	v, ns := k.domainView(z), []obj{}
	for _, n := range k.c.nsNames(z) {
		ns = append(ns, obj{"name": undotted(n)})
	}
	v["nameservers"] = ns
	if k.URL.Query().Get("showRecords") != "false" {
		list := []obj{}
		for _, r := range z.records {
			list = append(list, k.recordView(r))
		}
		v["recordsList"] = obj{"records": list, "totalEntries": len(list)}
	}
	return 200, v
}

// recordList filters by type, and by name and data only beside it; names with a space or an underscore find nothing.
func recordList(k *call) (int, any) {
	z, status, val := k.domain()
	if z == nil {
		return status, val
	}
	q := k.URL.Query()
	if q.Get("type") == "" && (q.Get("name") != "" || q.Get("data") != "") {
		return k.err(400, "validation: Record type is required for a search")
	}
	all := []obj{}
	for _, r := range z.records {
		if q.Get("type") != "" && r.kind != strings.ToUpper(q.Get("type")) || strings.ContainsAny(q.Get("name"), " _") ||
			q.Get("name") != "" && !strings.EqualFold(r.name, q.Get("name")) || q.Get("data") != "" && r.data != q.Get("data") {
			continue
		}
		all = append(all, k.recordView(r))
	}
	return pages(k, "records", all)
}

func (z *zone) record(id string) *dnsRecord {
	for _, r := range z.records {
		if r.id == id {
			return r
		}
	}
	return nil
}

func recordShow(k *call) (int, any) {
	z, status, val := k.domain()
	if z == nil {
		return status, val
	}
	if r := z.record(k.vars["record"]); r != nil {
		return 200, k.recordView(r)
	}
	return k.err(404, "Record %s does not exist", k.vars["record"])
}

// dnsLimited is the answer to too many requests: the documents name the header Reply-After, with an ISO date, and a
// recorded one has no body. The proxy that writes it before all other services has Retry-After, and a body.
// https://docs.rackspace.com/docs/cloud-dns/v1/general-api-info/limits
func (k *call) dnsLimited() (int, any) {
	if k.c.first().Old {
		k.header.Set("Retry-After", "1")
		return 413, obj{"overLimit": obj{"code": 413, "message": "OverLimit Retry...", "details": "Error Details..."}}
	}
	k.header.Set("Reply-After", k.now.Add(time.Second).UTC().Format(time.RFC3339))
	return 413, nil
}
