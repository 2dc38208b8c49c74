package sandbox

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strings"
	"time"
)

// secretItem is a secret of barbican's: its payload comes back as it was given.
type secretItem struct {
	id, region, name, kind, typ string
	payload                     []byte
	created                     time.Time
	order                       int
}

// keyContainer names secrets by what they are of a certificate.
type keyContainer struct {
	id, region, name, kind string
	refs                   []containerRef
	consumers              []obj
	created                time.Time
	order                  int
}

type containerRef struct {
	Name   string `json:"name"`
	Secret string `json:"secret_ref"`
}

var barbicanRoutes = []route{
	on("!GET /", func(k *call) (int, any) {
		return 300, obj{"versions": []obj{{"id": "v1", "status": "CURRENT", "links": []obj{{"rel": "self", "href": k.self("/v1/")}}}}}
	}),
	on("GET /v1/secrets", secretList),
	on("POST /v1/secrets", secretCreate),
	on("GET /v1/secrets/{id}", secretShow),
	on("GET /v1/secrets/{id}/payload", secretPayload),
	on("DELETE /v1/secrets/{id}", secretDelete),
	on("GET /v1/containers", containerList),
	on("POST /v1/containers", containerCreate),
	on("GET /v1/containers/{id}", containerShow),
	on("DELETE /v1/containers/{id}", containerDelete),
}

// barbicanError is pecan's.
// https://opendev.org/openstack/barbican/src/branch/stable/zed/barbican/api/controllers/__init__.py
func barbicanError(_ *call, status int, msg string) any {
	return obj{"code": status, "title": statusTitle(status), "description": msg}
}

func (c *Cloud) secretsOf(region string) []*secretItem {
	return ofRegion(c.secrets, region, func(s *secretItem) (string, int) { return s.region, s.order })
}

func (c *Cloud) containersOf(region string) []*keyContainer {
	return ofRegion(c.containers, region, func(x *keyContainer) (string, int) { return x.region, x.order })
}

// nameQuery is the filter of a list: barbican unescapes it once more than others do.
func (k *call) nameQuery() string {
	name := k.URL.Query().Get("name")
	if s, err := url.QueryUnescape(name); err == nil {
		return s
	}
	return name
}

func (k *call) secretView(s *secretItem) obj {
	v := obj{"name": s.name, "status": "ACTIVE", "secret_type": s.kind, "secret_ref": k.self("/v1/secrets/" + s.id), "algorithm": nil, "bit_length": nil, "mode": nil,
		"expiration": nil, "creator_id": k.c.user, "created": novaTime(s.created), "updated": novaTime(s.created)}
	if s.payload != nil {
		v["content_types"] = obj{"default": s.typ}
	}
	return v
}

// novaTime is a time without a zone.
func novaTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05") }

func secretList(k *call) (int, any) {
	list, name := []obj{}, k.nameQuery()
	for _, s := range k.c.secretsOf(k.region) {
		if name == "" || s.name == name {
			list = append(list, k.secretView(s))
		}
	}
	return k.cut("secrets", list)
}

// cut gives one page: barbican counts offsets.
func (k *call) cut(key string, list []obj) (int, any) {
	q := k.URL.Query()
	from, limit := min(num(q.Get("offset"), 0), len(list)), num(q.Get("limit"), 10)
	to := min(from+max(limit, 1), len(list))
	out := obj{key: list[from:to], "total": len(list)}
	if to < len(list) {
		q.Set("offset", itoa(to))
		out["next"] = k.self(k.URL.Path + "?" + q.Encode())
	}
	return 200, out
}

func secretCreate(k *call) (int, any) {
	var in struct {
		Name, Payload string
		Kind          string `json:"secret_type"`
		Type          string `json:"payload_content_type"`
		Encoding      string `json:"payload_content_encoding"`
	}
	if k.decode(&in) != nil {
		return k.err(400, "Provided object does not match schema 'Secret'")
	}
	s := &secretItem{id: uuid(), region: k.region, name: in.Name, kind: in.Kind, typ: in.Type, created: k.now, order: k.c.nextOrder()}
	if s.kind == "" {
		s.kind = "opaque"
	}
	switch {
	case !slices.Contains([]string{"symmetric", "passphrase", "private", "public", "certificate", "opaque"}, s.kind):
		return k.err(400, "Provided object does not match schema 'Secret': '%s' is not one of the secret types. Invalid property: 'secret_type'", s.kind)
	case in.Payload == "" || in.Type == "":
		return k.err(400, "Provided object does not match schema 'Secret': If 'payload' is supplied, 'payload_content_type' must also be supplied.")
	case in.Encoding == "base64":
		b, err := base64.StdEncoding.DecodeString(in.Payload)
		if err != nil {
			return k.err(400, "Unable to decode request data.")
		}
		s.payload = b
	case in.Type != "text/plain":
		return k.err(400, "payload_content_encoding must be specified when payload_content_type is '%s'.", in.Type)
	default:
		s.payload = []byte(strings.TrimSpace(in.Payload)) // so does barbican, to the final newline's loss
	}
	k.c.secrets[s.id] = s
	if strings.Contains(in.Name, "private-key") && k.c.take("store-reply-lost") {
		k.lose = true
	}
	return 201, obj{"secret_ref": k.self("/v1/secrets/" + s.id)}
}

func (k *call) secretItem() (*secretItem, int, any) {
	if s := k.c.secrets[k.vars["id"]]; s != nil && s.region == k.region {
		return s, 0, nil
	}
	status, val := k.err(404, "Not Found. Sorry but your secret is in another castle.")
	return nil, status, val
}

func secretShow(k *call) (int, any) {
	s, status, val := k.secretItem()
	if s == nil {
		return status, val
	}
	return 200, k.secretView(s)
}

func secretPayload(k *call) (int, any) {
	s, status, val := k.secretItem()
	if s == nil {
		return status, val
	}
	if a := k.Header.Get("Accept"); a != "" && a != "*/*" && a != s.typ {
		return k.err(406, "Secret payload retrieval issue seen - Secret store plugin does not support this content type.")
	}
	k.header.Set("Content-Type", s.typ)
	return 200, rawBody(s.payload)
}

func secretDelete(k *call) (int, any) {
	s, status, val := k.secretItem()
	if s == nil {
		return status, val
	}
	delete(k.c.secrets, s.id)
	return 204, nil
}

func (k *call) containerView(x *keyContainer) obj {
	refs := []obj{}
	for _, r := range x.refs {
		refs = append(refs, obj{"name": r.Name, "secret_ref": r.Secret})
	}
	return obj{"name": x.name, "type": x.kind, "status": "ACTIVE", "container_ref": k.self("/v1/containers/" + x.id), "secret_refs": refs,
		"consumers": append([]obj{}, x.consumers...), "creator_id": k.c.user, "created": novaTime(x.created), "updated": novaTime(x.created)}
}

func containerList(k *call) (int, any) {
	list, name := []obj{}, k.nameQuery()
	for _, x := range k.c.containersOf(k.region) {
		if name == "" || x.name == name {
			list = append(list, k.containerView(x))
		}
	}
	return k.cut("containers", list)
}

// containerCreate takes only hrefs of its own.
// https://opendev.org/openstack/barbican/src/branch/stable/zed/barbican/common/validators.py (ContainerValidator)
func containerCreate(k *call) (int, any) {
	var in struct {
		Name, Type string
		Refs       []containerRef `json:"secret_refs"`
	}
	if k.decode(&in) != nil {
		return k.err(400, "Provided object does not match schema 'Container'")
	}
	var names []string
	for _, r := range in.Refs {
		id, ours := strings.CutPrefix(r.Secret, k.self("/v1/secrets/"))
		switch s := k.c.secrets[id]; {
		case !ours:
			return k.err(400, "No support for value set on field 'secret_ref' on schema 'Container Certificate': Secret_ref does not match the configured hostname, please try again")
		case s == nil || s.region != k.region:
			return k.err(404, "Secret provided for '%s' doesn't exist.", r.Name)
		case slices.Contains(names, r.Name):
			return k.err(400, "Provided object does not match schema 'Container': Duplicate reference names are not allowed. Invalid property: 'secret_refs'")
		}
		names = append(names, r.Name)
	}
	if in.Type == "certificate" && !slices.Contains(names, "certificate") {
		return k.err(400, "Provided object does not match schema 'Container Certificate': The minimum required reference name is 'certificate' for Certificate type. Invalid property: 'secret_refs'")
	}
	x := &keyContainer{id: uuid(), region: k.region, name: in.Name, kind: in.Type, refs: in.Refs, created: k.now, order: k.c.nextOrder()}
	k.c.containers[x.id] = x
	return 201, obj{"container_ref": k.self("/v1/containers/" + x.id)}
}

func (k *call) keyContainer() (*keyContainer, int, any) {
	if x := k.c.containers[k.vars["id"]]; x != nil && x.region == k.region {
		return x, 0, nil
	}
	status, val := k.err(404, "Not Found. Sorry but your container is in another castle.")
	return nil, status, val
}

func containerShow(k *call) (int, any) {
	x, status, val := k.keyContainer()
	if x == nil {
		return status, val
	}
	return 200, k.containerView(x)
}

func containerDelete(k *call) (int, any) {
	x, status, val := k.keyContainer()
	if x == nil {
		return status, val
	}
	delete(k.c.containers, x.id)
	return 204, nil
}

// part gives the payload of one secret of a container by its name there.
func (c *Cloud) part(x *keyContainer, name string) []byte {
	for _, r := range x.refs {
		if r.Name == name {
			if s := c.secrets[r.Secret[strings.LastIndexByte(r.Secret, '/')+1:]]; s != nil {
				return s.payload
			}
		}
	}
	return nil
}
